//! Objects as the cache keeps them: what decisions need, as compact JSON, parsed when a decision is made.

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use serde_json::Value;

use crate::api::ProductionService;
use crate::decide::analysis::{ContainerState, Ended, PodState, Waiting};
use crate::decide::render::ownership::{REVISION, SERVICE};
use crate::decide::{Kind, Pod};

/// The name by which our fields are known to the API server.
pub const FIELD_MANAGER: &str = "plimsoll";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A resourceVersion as a number, by which older and newer are told apart.
#[must_use]
pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The value of one of the object's labels, or nothing.
#[must_use]
pub fn label<'a>(object: &'a Value, label: &str) -> &'a str {
    object["metadata"]["labels"][label].as_str().unwrap_or_default()
}

/// The object's text field, or nothing.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Takes out what no decision needs: managedFields, the last applied configuration, the resourceVersion (kept beside it), and every status but
/// those of Deployments, of routes, of Jobs and of the service itself, which would only wake us up.
pub fn strip(object: &mut Value, keep_status: bool) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        metadata.remove("resourceVersion");
        metadata.remove("selfLink");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    if !keep_status && let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
}

/// Makes an object what is kept of a child: with the `apiVersion` and `kind` that lists leave out; of a `ConfigMap` the metadata only.
pub fn keep(object: &mut Value, kind: Kind) {
    strip(object, matches!(kind, Kind::Deployment | Kind::HttpRoute | Kind::GrpcRoute | Kind::Job));
    let (api_version, name, _) = kind.names();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".into(), api_version.into());
        fields.insert("kind".into(), name.into());
        if kind == Kind::ConfigMap {
            fields.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata"));
        }
        if kind == Kind::Job
            && let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.remove("template");
        }
        // Of its endpoints no more is of interest than how many are ready.
        if kind == Kind::EndpointSlice {
            fields.retain(|field, _| matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "endpoints"));
            for endpoint in fields.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
                *endpoint = serde_json::json!({"conditions": {"ready": endpoint["conditions"]["ready"]}});
            }
        }
    }
}

/// What the pods of a Job said last: the message of the container that ended last, which is the end of its log if it left none itself.
#[must_use]
pub fn last_words(pods: &[Value]) -> Option<String> {
    let ends = pods.iter().flat_map(|pod| {
        let of = |list: &str| pod["status"][list].as_array().cloned().unwrap_or_default();
        of("initContainerStatuses").into_iter().chain(of("containerStatuses"))
    });
    let ended = ends.map(|container| container["state"]["terminated"].clone()).filter(|end| !text(end, "/message").is_empty());
    let failed = ended.filter(|end| end["exitCode"] != 0);
    failed.max_by(|one, other| text(one, "/finishedAt").cmp(text(other, "/finishedAt"))).map(|end| text(&end, "/message").to_owned())
}

/// The manager that sets `spec.replicas` of a service by other ways than the scale subresource, which is the autoscaler's.
#[must_use]
pub fn replicas_manager(object: &Value) -> Option<String> {
    let managers = object["metadata"]["managedFields"].as_array()?;
    let sets = |entry: &&Value| entry["subresource"].as_str() != Some("scale") && entry["fieldsV1"]["f:spec"].get("f:replicas").is_some();
    managers.iter().find(sets).map(|entry| text(entry, "/manager").to_owned())
}

/// Names of the `ConfigMaps` whose contents the service's revision is made of.
pub fn references(service: &ProductionService) -> impl Iterator<Item = &str> {
    service.spec.config.iter().flat_map(|config| &config.config_map_refs).map(|reference| reference.name.as_str())
}

/// A pod as it is kept, and the node that it is on.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedPod {
    /// What decisions see of it, but for its node's readiness.
    pub pod: Pod,
    /// Its node.
    pub node: Option<Box<str>>,
}

/// What is kept of a pod; `None` if it is not one of a service's Deployments: labels alone make nobody's pod ours.
#[must_use]
pub fn pod(object: &core::Pod) -> Option<PlacedPod> {
    let metadata = &object.metadata;
    let labels = metadata.labels.as_ref()?;
    let revision = labels.get(REVISION)?;
    let deployment = format!("{}-{revision}-", labels.get(SERVICE)?);
    let made_by =
        |owner: &OwnerReference| owner.controller == Some(true) && owner.kind == "ReplicaSet" && owner.name.starts_with(&deployment);
    metadata.owner_references.iter().flatten().find(|owner| made_by(owner))?;
    let spec = object.spec.clone().unwrap_or_default();
    let status = object.status.clone().unwrap_or_default();
    let condition = |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
    let holds = |kind: &str| condition(kind).is_some_and(|condition| condition.status == "True");
    let readiness_changed = condition("Ready").and_then(|condition| time(condition.last_transition_time.as_ref()));
    let ready = holds("Ready");
    let started = time(status.start_time.as_ref());
    let was_ready = matches!((readiness_changed, started), (Some(changed), Some(started)) if changed.duration_since(started).as_secs() > 1);
    let app = spec.containers.first().map(|container| container.name.as_str());
    let statuses = || status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let running =
        statuses().find(|container| Some(container.name.as_str()) == app).and_then(|container| container.state.as_ref()?.running.as_ref());
    let state = PodState {
        pod: metadata.uid.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        revision: revision.clone(),
        ready,
        ready_since: readiness_changed.filter(|_| ready),
        lost_ready: readiness_changed.filter(|_| !ready && was_ready),
        node_ready: true,
        disrupted: holds("DisruptionTarget"),
        terminating: metadata.deletion_timestamp.is_some(),
        unschedulable: condition("PodScheduled")
            .filter(|condition| condition.status == "False")
            .map(|condition| condition.message.clone().unwrap_or_default()),
        containers: statuses().map(container).collect(),
    };
    let started = running.and_then(|running| time(running.started_at.as_ref()));
    Some(PlacedPod {
        pod: Pod { state, ip: status.pod_ip.filter(|ip| !ip.is_empty()), started },
        node: spec.node_name.map(String::into_boxed_str),
    })
}

fn container(status: &core::ContainerStatus) -> ContainerState {
    let state = status.state.clone().unwrap_or_default();
    let last = status.last_state.clone().unwrap_or_default().terminated;
    ContainerState {
        name: status.name.clone(),
        image: status.image.clone(),
        restarts: u32::try_from(status.restart_count).unwrap_or_default(),
        ever_started: state.running.is_some() || state.terminated.is_some() || last.is_some(),
        waiting: state
            .waiting
            .map(|waiting| Waiting { reason: waiting.reason.unwrap_or_default(), message: waiting.message.unwrap_or_default() }),
        terminated: state.terminated.is_some(),
        last_end: state.terminated.or(last).map(|end| Ended {
            reason: end.reason.unwrap_or_default(),
            exit_code: end.exit_code,
            at: time(end.finished_at.as_ref()),
            message: end.message.unwrap_or_default(),
        }),
    }
}

fn time(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// Whether a node is Ready.
#[must_use]
pub fn node_is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"))
}
