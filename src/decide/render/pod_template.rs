//! A revision's pod template: rendered once, when the revision is created, and never edited afterwards.
//!
//! What the team leaves open is filled in so that the pods run under Pod Security `restricted`, drain before they end, and are spread.

use serde_json::{Value, json};

use super::config::Copied;
use super::container::{self, some};
use super::ownership::{Owner, revision_name, selector};
use super::probe;
use super::scheduling;
use crate::decide::plan::{DRAIN_SECONDS, GRACE_SECONDS, Plan};

/// Name of the app's container.
pub const APP: &str = "app";
/// Seconds that an app has between SIGTERM and SIGKILL, when a long drain leaves less of the default grace period.
const SHUTDOWN_SECONDS: i32 = GRACE_SECONDS - DRAIN_SECONDS;

/// The template of the plan's revision. `pull_secrets` are those of the namespace's `default` account.
#[must_use]
pub fn pod_template(plan: &Plan, copied: &Copied, pull_secrets: &[String]) -> Value {
    let spec = &plan.spec;
    let mut labels = spec.pod_metadata.as_ref().map(|metadata| metadata.labels.clone()).unwrap_or_default();
    labels.extend(Owner::of(plan).labels(Some(&plan.revision)));
    let sidecars = spec.sidecars.iter().map(|sidecar| {
        let mut container = container::beside(sidecar, spec);
        container["restartPolicy"] = "Always".into();
        container
    });
    let init_containers: Vec<Value> = sidecars.chain(spec.init_containers.iter().map(|init| container::beside(init, spec))).collect();
    let account = spec.service_account.as_ref();
    let mut template = json!({
        "metadata": {
            "labels": labels,
            "annotations": spec.pod_metadata.as_ref().map(|metadata| &metadata.annotations),
        },
        "spec": {
            "serviceAccountName": account.and_then(|account| account.name.as_ref()).unwrap_or(&plan.name),
            "automountServiceAccountToken": account.and_then(|account| account.automount_token).unwrap_or(false),
            "enableServiceLinks": false,
            "securityContext": container::pod_security(spec.security_context.as_ref()),
            "terminationGracePeriodSeconds": grace_seconds(plan),
            "initContainers": init_containers,
            "containers": [app(plan, copied)],
            "volumes": volumes(plan, copied),
            "imagePullSecrets": image_pull_secrets(plan, pull_secrets),
            "nodeSelector": spec.node_selector,
            "tolerations": scheduling::tolerations(&spec.tolerations),
            "affinity": spec.affinity.as_ref().map(scheduling::affinity),
            "priorityClassName": spec.priority_class_name,
            "topologySpreadConstraints": topology_spread(plan),
        },
    });
    container::prune(&mut template);
    template
}

fn app(plan: &Plan, copied: &Copied) -> Value {
    let spec = &plan.spec;
    let health = spec.health.clone().unwrap_or_default();
    let drain = health.drain_seconds.unwrap_or(DRAIN_SECONDS);
    let mut env = copied.env(&revision_name(&plan.name, &plan.revision));
    env.extend(spec.env.iter().map(container::env_var));
    let mounts: Vec<Value> = spec.volume_mounts.iter().map(container::volume_mount).chain(copied.mounts()).collect();
    let ports: Vec<Value> = spec
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "containerPort": port.port, "protocol": port.protocol.unwrap_or_default()}))
        .collect();
    json!({
        "name": APP,
        "image": spec.image,
        "command": spec.command,
        "args": spec.args,
        "workingDir": spec.working_dir,
        "ports": ports,
        "env": env,
        "envFrom": spec.env_from.iter().map(container::env_from).collect::<Vec<_>>(),
        "resources": spec.resources.as_ref().map(container::resources),
        "volumeMounts": mounts,
        "startupProbe": probe::startup(health.startup.as_ref(), &spec.ports),
        "readinessProbe": probe::readiness(health.readiness.as_ref(), &spec.ports),
        "livenessProbe": probe::liveness(health.liveness.as_ref(), &spec.ports),
        // Endpoints go first: proxies hear of the end while the app still answers.
        "lifecycle": some(drain > 0, json!({"preStop": {"sleep": {"seconds": drain}}})),
        "securityContext": container::security(spec.security_context.as_ref()),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

/// The grace period; a drain longer than the default allows for moves the default up, so that the app always has time to shut down.
fn grace_seconds(plan: &Plan) -> i32 {
    let health = plan.spec.health.as_ref();
    let drain = health.and_then(|health| health.drain_seconds).unwrap_or(DRAIN_SECONDS);
    health.and_then(|health| health.termination_grace_seconds).unwrap_or(GRACE_SECONDS.max(drain.saturating_add(SHUTDOWN_SECONDS)))
}

fn volumes(plan: &Plan, copied: &Copied) -> Vec<Value> {
    let own = plan.spec.volumes.iter().map(container::volume);
    own.chain(copied.volume(&revision_name(&plan.name, &plan.revision))).collect()
}

/// Kubernetes takes an account's pull secrets only for pods that name none themselves. A revision that names some therefore gets the
/// namespace's as well; one that names none lives on those of its account, which follow the namespace's.
fn image_pull_secrets(plan: &Plan, pull_secrets: &[String]) -> Vec<Value> {
    if plan.spec.image_pull_secrets.is_empty() {
        return Vec::new();
    }
    super::service_account::image_pull_secrets(&plan.spec, pull_secrets)
}

fn topology_spread(plan: &Plan) -> Vec<Value> {
    let spread = plan.spec.availability.as_ref().and_then(|availability| availability.spread.clone()).unwrap_or_default();
    [(spread.hosts, scheduling::HOST), (spread.zones, scheduling::ZONE)]
        .into_iter()
        .filter(|(wanted, _)| wanted.unwrap_or(true))
        .map(|(_, topology)| {
            json!({
                "maxSkew": 1,
                "topologyKey": topology,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(&plan.name, Some(&plan.revision))},
            })
        })
        .collect()
}
