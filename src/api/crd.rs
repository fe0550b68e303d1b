//! The `CustomResourceDefinition`, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::Value;

use super::ProductionService;

/// The definition that a cluster needs, as a JSON value ready to be printed.
///
/// Schema defaults are taken out: they would be written into every stored object and could never change afterwards.
///
/// # Errors
/// When the derived definition cannot be turned into JSON, which would be a bug in the derivation.
pub fn definition() -> serde_json::Result<Value> {
    let mut crd = serde_json::to_value(ProductionService::crd())?;
    without_defaults(&mut crd);
    Ok(crd)
}

/// The definition as Kubernetes' own type.
///
/// # Errors
/// As [`definition`].
pub fn typed() -> serde_json::Result<CustomResourceDefinition> {
    serde_json::from_value(definition()?)
}

fn without_defaults(value: &mut Value) {
    match value {
        Value::Object(map) => {
            // A property may be *called* "default"; a default is the one beside a type or an enumeration.
            if map.contains_key("type") || map.contains_key("enum") || map.contains_key("x-kubernetes-int-or-string") {
                map.remove("default");
            }
            map.values_mut().for_each(without_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(without_defaults),
        _ => {}
    }
}
