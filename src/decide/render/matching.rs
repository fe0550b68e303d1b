//! Drift: does a live object still say what was rendered?
//!
//! Every rendered field has to be equal in the live object, quantities by their amount. What is live beyond that is a default of the API
//! server or somebody else's label, and stays; except where an addition changes the meaning: lists are compared whole (where none was
//! rendered, those that make other code run), and so are selectors, the rules of a `NetworkPolicy` and the metrics of an autoscaler.

use serde_json::{Map, Value};

use super::quantity;

/// Objects in which a field that was not rendered changes the meaning: one that selects by more labels selects less.
const WHOLE: [&str; 5] = ["selector", "matchLabels", "podSelector", "namespaceSelector", "ipBlock"];
/// Lists whose items are compared whole.
const WHOLE_ITEMS: [&str; 3] = ["ingress", "egress", "metrics"];
/// Lists to which others may add: owners that do not control, and the registry credentials that some platforms write on every account.
const OPEN: [&str; 2] = ["ownerReferences", "imagePullSecrets"];
/// What tells the items of a list that several may write to apart.
const ITEM_KEYS: [&str; 3] = ["mountPath", "name", "topologyKey"];

/// Whether the live object has everything that was rendered.
#[must_use]
pub fn matches(rendered: &Value, live: &Value) -> bool {
    equal("", rendered, live, false)
}

fn equal(name: &str, rendered: &Value, live: &Value, whole: bool) -> bool {
    match (rendered, live) {
        (Value::Object(rendered), Value::Object(live)) => fields(rendered, live, whole || WHOLE.contains(&name)),
        (Value::Array(rendered), Value::Array(live)) if OPEN.contains(&name) => {
            rendered.iter().all(|item| live.iter().any(|other| equal("", item, other, false)))
        }
        (Value::Array(rendered), Value::Array(live)) => {
            let whole = whole || WHOLE_ITEMS.contains(&name);
            rendered.len() == live.len() && rendered.iter().zip(live).all(|(item, other)| equal("", item, other, whole))
        }
        _ => rendered == live,
    }
}

fn fields(rendered: &Map<String, Value>, live: &Map<String, Value>, whole: bool) -> bool {
    let nothing_added = !whole || live.keys().all(|name| rendered.contains_key(name));
    nothing_added
        && unasked(rendered, live).next().is_none()
        && rendered.iter().all(|(name, field)| match (name.as_str(), field, live.get(name)) {
            ("requests" | "limits", Value::Object(field), Some(Value::Object(live))) => amounts(field, live),
            ("sizeLimit" | "averageValue", field, Some(live)) => amount(field) == amount(live),
            (_, field, Some(live)) => equal(name, field, live, whole),
            (_, _, None) => false,
        })
}

/// What was not rendered in a pod or container and makes other code run, or the same code otherwise; and in a route's rule, that requests fare otherwise.
fn unasked(rendered: &Map<String, Value>, live: &Map<String, Value>) -> impl Iterator<Item = &'static str> {
    let lists: &[&str] = if rendered.contains_key("containers") {
        &["initContainers"]
    } else if rendered.contains_key("image") && rendered.contains_key("name") {
        &["command", "args", "env", "envFrom", "volumeMounts"]
    } else if rendered.contains_key("backendRefs") {
        &["filters", "retry", "sessionPersistence", "timeouts"]
    } else {
        &[]
    };
    lists.iter().copied().filter(|list| live.contains_key(*list) && !rendered.contains_key(*list))
}

fn amounts(rendered: &Map<String, Value>, live: &Map<String, Value>) -> bool {
    rendered.iter().all(|(name, rendered)| live.get(name).is_some_and(|live| amount(rendered) == amount(live)))
}

fn amount(value: &Value) -> Option<String> {
    value.as_str().map(quantity::canonical)
}

/// JSON pointers of list items that somebody else has added where lists are compared whole, in an order in which they can be removed.
///
/// A server-side apply takes back what it wrote itself and nothing else: an item of another field owner would be drift for ever. Whoever
/// applies removes these first.
#[must_use]
pub fn additions(rendered: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    added("", "", rendered, live, &mut found);
    found
}

fn added(path: &str, name: &str, rendered: &Value, live: &Value, found: &mut Vec<String>) {
    match (rendered, live) {
        (Value::Object(rendered), Value::Object(live)) => {
            found.extend(unasked(rendered, live).map(|list| format!("{path}/{list}")));
            for (name, field) in rendered {
                if let Some(live) = live.get(name) {
                    added(&format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), name, field, live, found);
                }
            }
        }
        (Value::Array(rendered), Value::Array(live)) if !OPEN.contains(&name) && !WHOLE_ITEMS.contains(&name) => {
            let key = |item: &Value| ITEM_KEYS.iter().find_map(|key| item[*key].as_str().map(ToOwned::to_owned));
            // From the end, so that a removal does not move what is still to be removed.
            for (index, item) in live.iter().enumerate().rev() {
                let Some(name) = key(item) else { continue };
                match rendered.iter().find(|ours| key(ours).as_ref() == Some(&name)) {
                    Some(ours) => added(&format!("{path}/{index}"), "", ours, item, found),
                    None => found.push(format!("{path}/{index}")),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_rendered_has_to_be_there() {
        let deployment = |containers: Value| json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let cases = [
            ("equal", json!({"a": 1}), json!({"a": 1}), true),
            ("a default beside it", json!({"a": 1}), json!({"a": 1, "b": 2}), true),
            ("a changed field", json!({"a": 1}), json!({"a": 2}), false),
            ("a field that is gone", json!({"a": 1}), json!({}), false),
            (
                "others' labels stay",
                json!({"metadata": {"labels": {"a": "1"}}}),
                json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
                true,
            ),
            (
                "a selector is compared whole",
                json!({"spec": {"selector": {"a": "1"}}}),
                json!({"spec": {"selector": {"a": "1", "b": "2"}}}),
                false,
            ),
            (
                "so is a policy's rule: ports narrow it",
                json!({"ingress": [{"from": []}]}),
                json!({"ingress": [{"from": [], "ports": []}]}),
                false,
            ),
            ("an added rule", json!({"egress": []}), json!({"egress": [{}]}), false),
            ("an added metric", json!({"metrics": []}), json!({"metrics": [{"type": "Pods"}]}), false),
            ("an added container", deployment(json!([{"name": "app"}])), deployment(json!([{"name": "app"}, {"name": "miner"}])), false),
            ("an added init container", json!({"containers": []}), json!({"containers": [], "initContainers": [{"name": "miner"}]}), false),
            ("another command", json!([{"name": "app", "image": "a"}]), json!([{"name": "app", "image": "a", "command": ["sh"]}]), false),
            (
                "an added variable",
                json!({"name": "app", "image": "a"}),
                json!({"name": "app", "image": "a", "env": [{"name": "X"}]}),
                false,
            ),
            (
                "a container's defaults",
                deployment(json!([{"name": "app"}])),
                deployment(json!([{"name": "app", "imagePullPolicy": "Always"}])),
                true,
            ),
            ("the same amount", json!({"requests": {"cpu": "1000m"}}), json!({"requests": {"cpu": "1"}}), true),
            ("another amount", json!({"limits": {"memory": "1Gi"}}), json!({"limits": {"memory": "1G"}}), false),
            ("the same size", json!({"sizeLimit": "1024Ki"}), json!({"sizeLimit": "1Mi"}), true),
            (
                "amounts are compared only where amounts are meant",
                json!({"nodeSelector": {"a": "1000m"}}),
                json!({"nodeSelector": {"a": "1"}}),
                false,
            ),
            ("another owner", json!({"ownerReferences": [{"uid": "1"}]}), json!({"ownerReferences": [{"uid": "2"}, {"uid": "1"}]}), true),
            ("our ownership gone", json!({"ownerReferences": [{"uid": "1"}]}), json!({"ownerReferences": [{"uid": "2"}]}), false),
            (
                "a platform's credentials",
                json!({"imagePullSecrets": [{"name": "a"}]}),
                json!({"imagePullSecrets": [{"name": "dockercfg"}, {"name": "a"}]}),
                true,
            ),
        ];
        for (why, rendered, live, expected) in cases {
            assert_eq!(matches(&rendered, &live), expected, "{why}");
        }
    }

    #[test]
    fn what_others_added_to_whole_lists_is_named_from_the_end() {
        let rendered = json!({"spec": {"containers": [{"name": "app", "image": "a", "env": [{"name": "A"}]}], "ports": [{"name": "http"}], "args": ["x"]}});
        let live = json!({"spec": {
            "initContainers": [{"name": "first"}],
            "containers": [{"name": "miner"}, {"name": "app", "image": "b", "args": ["-v"], "env": [{"name": "A"}, {"name": "B"}]}, {"name": "spy"}],
            "ports": [{"name": "http"}],
            "args": ["x", "y"],
        }});
        let expected =
            ["/spec/initContainers", "/spec/containers/2", "/spec/containers/1/args", "/spec/containers/1/env/1", "/spec/containers/0"];
        assert_eq!(additions(&rendered, &live), expected);
        assert!(additions(&rendered, &rendered).is_empty());
    }
}
