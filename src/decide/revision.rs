//! Which revision a spec describes: a hash over what the user asked for, and nothing of what plimsoll adds to it.
//!
//! The hash is a promise: an operator that were to compute another one for an old spec would roll out every service of the cluster. So
//! defaults are outside it, an empty section is the same as an absent one, and golden files hold it (`revision/golden.json`).

mod refusals;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::render::quantity;
use super::snapshot::Contents;
use crate::api::ProductionServiceSpec;

pub use refusals::refusals;

/// Version of the hash. A field that is added to the sections does not change it: absent, it does not count.
const VERSION: u8 = 1;

/// Sections of the spec that are part of the revision as they stand.
const SECTIONS: [&str; 23] = [
    "image",
    "command",
    "args",
    "workingDir",
    "env",
    "envFrom",
    "resources",
    "volumes",
    "volumeMounts",
    "sidecars",
    "initContainers",
    "nodeSelector",
    "tolerations",
    "affinity",
    "priorityClassName",
    "imagePullSecrets",
    "securityContext",
    "podMetadata",
    "restart",
    "ports",
    "serviceAccount",
    "config",
    "health",
];

/// Fields whose presence says something even when they are empty.
const MEANINGFUL: [&str; 4] = ["emptyDir", "httpGet", "tcpSocket", "grpc"];

/// The revision that a spec describes, together with the `ConfigMaps` it refers to: ten hexadecimal digits.
#[must_use]
pub fn identity(spec: &ProductionServiceSpec, config_maps: &BTreeMap<String, Contents>) -> String {
    digest(&intent(spec, config_maps))
}

/// First ten hexadecimal digits of the SHA-256 of a value. Keys are in order: `serde_json` sorts them.
#[must_use]
pub fn digest(value: &Value) -> String {
    let hash = Sha256::digest(value.to_string());
    hash.iter().take(5).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What the user asked for, in one form for every way of writing it.
fn intent(spec: &ProductionServiceSpec, config_maps: &BTreeMap<String, Contents>) -> Value {
    let mut written = json!(spec);
    let mut intent: Map<String, Value> = SECTIONS.iter().map(|section| ((*section).to_owned(), written[section].take())).collect();
    intent.insert("spread".into(), written["availability"]["spread"].take());
    if let Some(account) = intent["serviceAccount"].as_object_mut() {
        // Annotations are applied to the live account at once.
        account.remove("annotations");
    }
    for section in ["resources", "volumes", "sidecars", "initContainers"] {
        plain_quantities(&mut intent[section]);
    }
    for reference in intent["config"]["configMapRefs"].as_array_mut().into_iter().flatten() {
        if let Some(contents) = reference["name"].as_str().and_then(|name| config_maps.get(name)) {
            reference["contents"] = json!({"text": contents.text, "binary": contents.binary});
        }
    }
    if intent["restart"] == "" {
        intent.remove("restart");
    }
    let mut intent = Value::Object(intent);
    prune(&mut intent);
    intent["v"] = VERSION.into();
    intent
}

/// Takes out what is absent or empty, but never an item of a list.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|name, field| MEANINGFUL.contains(&name.as_str()) && !field.is_null() || !is_empty(field));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn plain_quantities(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field) {
                    ("requests" | "limits", Value::Object(amounts)) => amounts.values_mut().for_each(plain),
                    ("sizeLimit", amount) => plain(amount),
                    (_, field) => plain_quantities(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain_quantities),
        _ => {}
    }
}

fn plain(amount: &mut Value) {
    let text = amount.as_str().map_or_else(|| amount.to_string(), ToOwned::to_owned);
    *amount = quantity::canonical(&text).into();
}
