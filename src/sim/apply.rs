//! Server-side apply, as the API server merges it: who set a field keeps it until somebody else takes it over.
//!
//! Only one manager applies here, by force. What it leaves out and had applied before goes; what others have set stays, items that they have
//! added to a list whose items have a key included. A JSON patch takes those away.

use serde_json::{Map, Value, json};

use crate::decide::Kind;
use crate::decide::writes::Exchange;

/// Lists that are merged item by item. Every other list is replaced whole.
const KEYED: [&str; 8] =
    ["containers", "initContainers", "env", "ports", "volumes", "volumeMounts", "ownerReferences", "topologySpreadConstraints"];

/// Objects that are replaced whole.
const ATOMIC: [&str; 4] = ["selector", "podSelector", "namespaceSelector", "labelSelector"];

/// What `live` becomes when `wanted` is applied to it; `before` is what was applied last.
pub(super) fn applied(live: &Value, before: &Value, wanted: &Value) -> Value {
    field("", live, before, wanted)
}

fn field(name: &str, live: &Value, before: &Value, wanted: &Value) -> Value {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) if !ATOMIC.contains(&name) => object(live, before, wanted),
        (Value::Array(live), Value::Array(wanted)) if KEYED.contains(&name) => list(live, before, wanted),
        _ => wanted.clone(),
    }
}

fn object(live: &Map<String, Value>, before: &Value, wanted: &Map<String, Value>) -> Value {
    let dropped = live.iter().filter(|(name, _)| !wanted.contains_key(*name)).filter_map(|(name, value)| {
        // Of a section that is not asked for any more only what others have set in it stays.
        let rest = match (value, before.get(name)?) {
            (Value::Object(section), owned @ Value::Object(_)) => object(section, owned, &Map::new()),
            (Value::Array(items), owned) if KEYED.contains(&name.as_str()) => list(items, owned, &[]),
            _ => Value::Null,
        };
        let empty = rest.as_object().is_none_or(Map::is_empty) && rest.as_array().is_none_or(Vec::is_empty);
        Some((name, (!empty).then_some(rest)))
    });
    let mut merged = live.clone();
    for (name, rest) in dropped {
        match rest {
            Some(rest) => merged.insert(name.clone(), rest),
            None => merged.remove(name),
        };
    }
    for (name, value) in wanted {
        let (live, before) = (live.get(name).unwrap_or(&Value::Null), before.get(name).unwrap_or(&Value::Null));
        merged.insert(name.clone(), field(name, live, before, value));
    }
    Value::Object(merged)
}

fn list(live: &[Value], before: &Value, wanted: &[Value]) -> Value {
    let before: &[Value] = before.as_array().map_or(&[], Vec::as_slice);
    let find = |items: &[Value], item: &Value| items.iter().find(|other| key(other) == key(item)).cloned().unwrap_or_default();
    let ours = wanted.iter().map(|item| field("", &find(live, item), &find(before, item), item));
    let others = live.iter().filter(|item| find(wanted, item).is_null() && find(before, item).is_null()).cloned();
    Value::Array(ours.chain(others).collect())
}

/// By what an item is told from the others of its list.
fn key(item: &Value) -> Vec<Value> {
    let numbered = ["containerPort", "port"].iter().find(|field| !item[**field].is_null());
    if let Some(number) = numbered {
        let protocol = item["protocol"].as_str().unwrap_or("TCP");
        return vec![item[*number].clone(), protocol.into()];
    }
    ["uid", "mountPath", "topologyKey", "name"]
        .iter()
        .map(|field| item[*field].clone())
        .find(|value| !value.is_null())
        .into_iter()
        .collect()
}

/// Takes what JSON pointers name away, in their order.
pub(super) fn without(mut body: Value, pointers: &[String]) -> Value {
    for pointer in pointers {
        let Some((parent, name)) = pointer.rsplit_once('/') else { continue };
        match body.pointer_mut(parent) {
            Some(Value::Object(fields)) => {
                fields.remove(&name.replace("~1", "/").replace("~0", "~"));
            }
            Some(Value::Array(items)) => {
                if let Some(index) = name.parse().ok().filter(|index| *index < items.len()) {
                    items.remove(index);
                }
            }
            _ => {}
        }
    }
    body
}

/// The live object after the apply: what the API server sets itself is not the writer's.
pub(super) fn merged(live: &Value, before: &Value, wanted: &Value) -> Value {
    let mut body = applied(live, before, wanted);
    for field in ["uid", "creationTimestamp", "generation"] {
        body["metadata"][field] = live["metadata"][field].clone();
    }
    if !live["status"].is_null() {
        body["status"] = live["status"].clone();
    }
    body
}

/// Exchanges parts of an object; `None` where one is not what was seen.
pub(super) fn exchanged(mut body: Value, exchanges: &[Exchange]) -> Option<Value> {
    for exchange in exchanges {
        body.pointer_mut(&exchange.pointer).filter(|place| **place == exchange.seen)?.clone_from(&exchange.wanted);
    }
    Some(body)
}

/// Some of the defaults that a real API server fills in: a live object is never byte for byte what was sent.
pub(super) fn defaulted(kind: Kind, body: &mut Value) {
    let defaults = match kind {
        Kind::Deployment => json!({"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}),
        Kind::Service => {
            json!({"clusterIP": "10.0.0.10", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "type": "ClusterIP"})
        }
        _ => return,
    };
    if let (Some(spec), Some(defaults)) = (body["spec"].as_object_mut(), defaults.as_object()) {
        for (name, value) in defaults {
            spec.entry(name).or_insert_with(|| value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_set_a_field_keeps_it() {
        let cases = [
            ("a field that is left out goes", json!({"a": 1, "b": 2}), json!({"a": 1, "b": 2}), json!({"a": 1}), json!({"a": 1})),
            ("one that another has set stays", json!({"a": 1, "c": 3}), json!({"a": 1}), json!({"a": 2}), json!({"a": 2, "c": 3})),
            (
                "of a section only others' part stays",
                json!({"labels": {"ours": "1", "theirs": "2"}}),
                json!({"labels": {"ours": "1"}}),
                json!({}),
                json!({"labels": {"theirs": "2"}}),
            ),
            (
                "nothing stays of one that was all ours",
                json!({"labels": {"ours": "1"}}),
                json!({"labels": {"ours": "1"}}),
                json!({}),
                json!({}),
            ),
            (
                "an item that another has added stays",
                json!({"env": [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "C"}]}),
                json!({"env": [{"name": "A", "value": "1"}, {"name": "C"}]}),
                json!({"env": [{"name": "A", "value": "2"}]}),
                json!({"env": [{"name": "A", "value": "2"}, {"name": "B"}]}),
            ),
            (
                "a list without keys is replaced",
                json!({"args": ["a", "b"]}),
                json!({"args": ["a"]}),
                json!({"args": ["c"]}),
                json!({"args": ["c"]}),
            ),
        ];
        for (why, live, before, wanted, expected) in cases {
            assert_eq!(applied(&live, &before, &wanted), expected, "{why}");
        }
        let body = json!({"ports": [{"port": 1}, {"port": 2}], "a/b": 1});
        assert_eq!(without(body, &["/ports/1".to_owned(), "/a~1b".to_owned(), "/none/0".to_owned()]), json!({"ports": [{"port": 1}]}));
    }
}
