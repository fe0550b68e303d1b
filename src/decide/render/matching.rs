//! Drift: does a live object still say what was rendered?
//!
//! Every rendered field has to be equal in the live object, quantities by their amount. What is live beyond that is a default of the API
//! server or somebody else's label, and stays; except where an addition changes the meaning: lists are compared whole, and so are the
//! objects in [`WHOLE`].

use serde_json::{Map, Value};

use super::quantity;

/// Objects in which a field that was not rendered changes the meaning: a selector selects less, a rule allows less.
const WHOLE: [&str; 5] = ["selector", "matchLabels", "podSelector", "namespaceSelector", "ipBlock"];
/// Lists whose items are objects that are compared whole.
const WHOLE_ITEMS: [&str; 6] = ["ingress", "egress", "from", "to", "metrics", "policyTypes"];
/// Lists to which others may add.
const OPEN: [&str; 2] = ["ownerReferences", "imagePullSecrets"];

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
        && rendered.iter().all(|(name, field)| match (name.as_str(), field, live.get(name)) {
            ("requests" | "limits", Value::Object(field), Some(Value::Object(live))) => amounts(field, live),
            ("sizeLimit" | "averageValue", field, Some(live)) => amount(field) == amount(live),
            (_, field, Some(live)) => equal(name, field, live, whole),
            (_, _, None) => false,
        })
}

fn amounts(rendered: &Map<String, Value>, live: &Map<String, Value>) -> bool {
    rendered.iter().all(|(name, rendered)| live.get(name).is_some_and(|live| amount(rendered) == amount(live)))
}

fn amount(value: &Value) -> Option<String> {
    value.as_str().map(quantity::canonical)
}
