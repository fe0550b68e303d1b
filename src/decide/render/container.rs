//! Containers, and the parts of a pod that are written almost as they are rendered.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::quantity;
use crate::api::ProductionServiceSpec;
use crate::api::pod::{Container, EnvFrom, EnvVar, Resources, SecurityContext};
use crate::api::values::Quantity;
use crate::api::volume::{KeyedSource, Volume, VolumeMount};

/// Fields whose presence says something even when they are empty.
const MEANINGFUL: [&str; 4] = ["emptyDir", "podSelector", "namespaceSelector", "tcpSocket"];

/// The value on a condition, else nothing.
#[must_use]
pub fn some(wanted: bool, value: Value) -> Value {
    if wanted { value } else { Value::Null }
}

/// Takes out what the API server would not keep: nulls, and lists and objects without anything in them. Items of lists stay.
pub fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|name, field| match field {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => !fields.is_empty() || MEANINGFUL.contains(&name.as_str()),
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

/// A sidecar or init container.
#[must_use]
pub fn beside(container: &Container, spec: &ProductionServiceSpec) -> Value {
    json!({
        "name": container.name,
        "image": container.image,
        "command": container.command,
        "args": container.args,
        "env": container.env.iter().map(env_var).collect::<Vec<_>>(),
        "resources": container.resources.as_ref().map(resources),
        "volumeMounts": container.volume_mounts.iter().map(volume_mount).collect::<Vec<_>>(),
        "securityContext": security(spec.security_context.as_ref()),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

/// Security of the pod: what holds for all of its containers.
#[must_use]
pub fn pod_security(given: Option<&SecurityContext>) -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": given.and_then(|given| given.run_as_user),
        "runAsGroup": given.and_then(|given| given.run_as_group),
        "fsGroup": given.and_then(|given| given.fs_group),
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

/// Security of each container: what can be said only there.
#[must_use]
pub fn security(given: Option<&SecurityContext>) -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": given.and_then(|given| given.read_only_root_filesystem),
    })
}

/// An environment variable.
#[must_use]
pub fn env_var(variable: &EnvVar) -> Value {
    let mut body = json!(variable);
    // An empty value is the absence of one, which is how the API server stores it.
    if body["value"] == "" {
        body["value"] = Value::Null;
    }
    body
}

/// A whole `ConfigMap` or Secret as environment variables.
#[must_use]
pub fn env_from(source: &EnvFrom) -> Value {
    json!({
        "prefix": source.prefix.as_ref().filter(|prefix| !prefix.is_empty()),
        "configMapRef": source.config_map_ref,
        "secretRef": source.secret_ref,
    })
}

/// Requests and limits.
#[must_use]
pub fn resources(resources: &Resources) -> Value {
    let texts = |amounts: &BTreeMap<String, Quantity>| -> Map<String, Value> {
        amounts.iter().map(|(name, amount)| (name.clone(), quantity::text(amount).into())).collect()
    };
    json!({"requests": texts(&resources.requests), "limits": texts(&resources.limits)})
}

/// Where a volume appears.
#[must_use]
pub fn volume_mount(mount: &VolumeMount) -> Value {
    json!({
        "name": mount.name,
        "mountPath": mount.mount_path,
        "subPath": mount.sub_path,
        "readOnly": mount.read_only.filter(|read_only| *read_only),
    })
}

/// A volume of the pod.
#[must_use]
pub fn volume(volume: &Volume) -> Value {
    let keyed = |source: &KeyedSource, name: &str| json!({name: source.name, "optional": source.optional, "items": source.items});
    json!({
        "name": volume.name,
        "emptyDir": volume.empty_dir.as_ref().map(|folder| json!({
            "sizeLimit": folder.size_limit.as_ref().map(quantity::text),
            "medium": some(folder.in_memory.unwrap_or(false), "Memory".into()),
        })),
        "configMap": volume.config_map.as_ref().map(|source| keyed(source, "name")),
        "secret": volume.secret.as_ref().map(|source| keyed(source, "secretName")),
        "persistentVolumeClaim": volume.persistent_volume_claim.as_ref().map(|claim| json!({
            "claimName": claim.claim_name,
            "readOnly": claim.read_only.filter(|read_only| *read_only),
        })),
    })
}
