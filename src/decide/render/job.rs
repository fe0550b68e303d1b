//! The Job of a gate: one pod like those of the new revision, that ends.

use serde_json::{Value, json};

use super::container;
use super::ownership::{GATE, GATES_OF, Owner, ROLLOUT};
use crate::api::gates::JobGate;
use crate::decide::gates::job::{RETRIES, TIMEOUT_SECONDS, end};
use crate::decide::plan::Plan;
use crate::decide::snapshot::{Child, Kind, ObjectKey};
use crate::decide::strategy::{OrderedJob, Target};

/// Parts of a pod that only make sense where it serves.
const OF_A_SERVER: [&str; 2] = ["topologySpreadConstraints", "terminationGracePeriodSeconds"];
/// The same of its container.
const OF_A_SERVERS_CONTAINER: [&str; 5] = ["ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle"];

/// The Job that is ordered, with the pod template of its revision; `None` where the plan has no such gate any more.
#[must_use]
pub fn job(plan: &Plan, ordered: &OrderedJob, pod_template: &Value) -> Option<Value> {
    let gate = plan.gates.job(&ordered.gate).filter(|_| plan.revision == ordered.revision)?;
    let mut pod = pod_template["spec"].clone();
    if let Some(fields) = pod.as_object_mut() {
        fields.retain(|field, _| !OF_A_SERVER.contains(&field.as_str()));
    }
    pod["restartPolicy"] = "Never".into();
    pod["containers"] = json!([container_of(gate, ordered, &pod_template["spec"]["containers"][0])]);
    let mut body = json!({"spec": {
        "backoffLimit": gate.retries.unwrap_or(RETRIES),
        "activeDeadlineSeconds": gate.timeout_seconds.unwrap_or(TIMEOUT_SECONDS),
        // Never two at once.
        "podReplacementPolicy": "Failed",
        "template": {
            "metadata": {"labels": {GATES_OF: plan.name}, "annotations": pod_template["metadata"]["annotations"]},
            "spec": pod,
        },
    }});
    container::prune(&mut body);
    let mut body = Owner::of(plan).object(&ObjectKey::new(Kind::Job, &ordered.name), None, body);
    body["metadata"]["labels"][ROLLOUT] = ordered.rollout.clone().into();
    body["metadata"]["labels"][GATE] = ordered.gate.clone().into();
    Some(body)
}

fn container_of(gate: &JobGate, ordered: &OrderedJob, app: &Value) -> Value {
    let mut container = app.clone();
    if let Some(fields) = container.as_object_mut() {
        fields.retain(|field, _| !OF_A_SERVERS_CONTAINER.contains(&field.as_str()));
    }
    if let Some(image) = &gate.image {
        container["image"] = image.clone().into();
        (container["command"], container["args"], container["workingDir"]) = (Value::Null, Value::Null, Value::Null);
    }
    if !gate.command.is_empty() {
        container["command"] = json!(gate.command);
    }
    container["args"] = json!(gate.args);
    let mut env = app["env"].as_array().cloned().unwrap_or_default();
    let told = [("PLIMSOLL_ROLLOUT", &ordered.rollout), ("PLIMSOLL_REVISION", &ordered.revision)];
    let load = ordered.target.iter().map(|target| ("PLIMSOLL_TARGET_RATE", target));
    let own = told
        .into_iter()
        .chain(load)
        .map(|(name, value)| json!({"name": name, "value": value}))
        .chain(gate.env.iter().map(container::env_var));
    for variable in own {
        env.retain(|other| other["name"] != variable["name"]);
        env.push(variable);
    }
    container["env"] = env.into();
    if let Some(resources) = &gate.resources {
        container["resources"] = container::resources(resources);
    }
    container
}

/// Whether a Job stays: it belongs to the rollout that is on or to the last one, or has not ended. Work that has begun is never broken off.
#[must_use]
pub fn is_kept(job: &Child, target: &Target) -> bool {
    let rollout = job.body["metadata"]["labels"][ROLLOUT].as_str().unwrap_or_default();
    job.ours && (target.rollouts.contains(rollout) || end(&job.body).is_none())
}
