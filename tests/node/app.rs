//! The shop as scenarios deploy it.

use serde_json::{Map, Value, json};

/// A ProductionService called `shop` of this image, two pods, ready within a second; `more` is laid over its spec.
pub fn shop(image: &str, more: Value) -> Value {
    let mut service = json!({
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ProductionService",
        "metadata": { "name": "shop" },
        "spec": {
            "image": image,
            "ports": [{ "name": "http", "port": 8080 }],
            "replicas": 2,
            "resources": { "requests": { "cpu": "10m", "memory": "24Mi" }, "limits": { "memory": "64Mi" } },
            "health": { "readiness": { "httpGet": { "path": "/health/ready" }, "periodSeconds": 1 } },
            "rollout": { "bakeSeconds": 5, "strategy": { "canary": { "steps": [{ "weight": 30, "soakSeconds": 10 }] } } },
        },
    });
    lay_over(&mut service["spec"], more);
    service
}

/// The variable that makes the shop misbehave, as part of a spec.
pub fn environment(name: &str, value: &str) -> Value {
    json!({ "env": [{ "name": name, "value": value }] })
}

/// Objects are laid over each other field by field, everything else is replaced.
fn lay_over(base: &mut Value, more: Value) {
    match more {
        Value::Object(fields) => {
            if !base.is_object() {
                *base = Value::Object(Map::new());
            }
            for (name, value) in fields {
                lay_over(&mut base[name.as_str()], value);
            }
        }
        other => *base = other,
    }
}
