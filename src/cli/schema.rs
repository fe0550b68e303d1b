//! Checks a document against the definition's schema, offline and field by field, as the API server does at `kubectl apply`.
//!
//! What the schema says by itself is checked: fields, types, limits, patterns. The rules *between* fields are CEL and are left to the API
//! server; `decide` refuses what contradicts itself beyond them.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value};

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field: `spec.ports[0].port`.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

/// Names of fields that are listed where an unknown one resembles none of them.
const MOST_NAMES: usize = 30;

/// Every fault of `value`, which stands at `path`.
#[must_use]
pub fn faults(value: &Value, schema: &Value, path: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    check(value, schema, path, &mut faults);
    faults
}

fn check(value: &Value, schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    let fault = |what: String| Fault { path: path.to_owned(), message: format!("{what}.{}", meaning(schema)) };
    if let Some(what) = wrong_type(value, schema) {
        faults.push(fault(what));
        return;
    }
    faults.extend(broken_limits(value, schema).into_iter().map(fault));
    match value {
        Value::Object(fields) => check_fields(fields, schema, path, faults),
        Value::Array(items) => {
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if let Some(key) = key_of(item, schema).filter(|key| !seen.insert(key.clone())) {
                    faults.push(Fault { path: path.clone(), message: format!("{key} is there twice: remove or rename one") });
                }
                check(item, &schema["items"], &path, faults);
            }
        }
        _ => {}
    }
}

fn check_fields(fields: &Map<String, Value>, schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    let below = |name: &str| format!("{path}.{name}");
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            let message = format!("is missing: write it.{}", meaning(&schema["properties"][name]));
            faults.push(Fault { path: below(name), message });
        }
    }
    let known = schema["properties"].as_object();
    for (name, field) in fields {
        match (known.and_then(|known| known.get(name)), schema.get("additionalProperties")) {
            (Some(schema), _) | (None, Some(schema)) => check(field, schema, &below(name), faults),
            (None, None) => {
                let names: Vec<&str> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                faults.push(Fault { path: below(name), message: format!("there is no such field; {}", instead(name, &names)) });
            }
        }
    }
}

/// The key of an item in a list that is a map.
fn key_of(item: &Value, schema: &Value) -> Option<String> {
    let keys = schema["x-kubernetes-list-map-keys"].as_array()?;
    let said: Vec<_> = keys.iter().filter_map(Value::as_str).map(|key| format!("{key} {}", item[key])).collect();
    Some(said.join(", "))
}

fn wrong_type(value: &Value, schema: &Value) -> Option<String> {
    let number = value.is_i64() || value.is_u64();
    let (fits, wanted) = match schema["type"].as_str() {
        _ if schema["x-kubernetes-int-or-string"] == true => (value.is_number() || value.is_string(), "a number or a text"),
        Some("string") => (value.is_string(), "a text, in quotes where it looks like something else"),
        Some("integer") => (number, "a whole number, without quotes"),
        Some("boolean") => (value.is_boolean(), "true or false, without quotes"),
        Some("array") => (value.is_array(), "a list"),
        Some("object") => (value.is_object(), "a map of fields"),
        _ => (true, ""),
    };
    (!fits).then(|| {
        let is = match value {
            Value::Null => "is empty".to_owned(),
            Value::Array(_) => "is a list".to_owned(),
            Value::Object(_) => "is a map".to_owned(),
            scalar => format!("is {scalar}"),
        };
        format!("{is}: write {wanted}")
    })
}

fn broken_limits(value: &Value, schema: &Value) -> Vec<String> {
    let limit = |keyword: &str| schema[keyword].as_i64();
    let count = |most: &str, least: &str, count: usize, unit: &str| {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let above = limit(most).filter(|most| count > *most).map(|most| format!("has {count} {unit}: {most} at most"));
        above.or_else(|| limit(least).filter(|least| count < *least).map(|least| format!("has {count} {unit}: {least} at least")))
    };
    match value {
        Value::Number(number) => {
            let number = number.as_i64().unwrap_or_default();
            let below = limit("minimum").filter(|least| number < *least).map(|least| format!("{number} is below {least}"));
            let above = limit("maximum").filter(|most| number > *most).map(|most| format!("{number} is above {most}"));
            below.into_iter().chain(above).collect()
        }
        Value::String(text) => {
            let words: Vec<&str> = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let foreign = !words.is_empty() && !words.contains(&text.as_str());
            let length = count("maxLength", "minLength", text.chars().count(), "characters");
            let pattern = schema["pattern"].as_str().filter(|pattern| Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text)));
            let foreign = foreign.then(|| format!("{text:?} is not known: {}", instead(text, &words)));
            // A text of the wrong length seldom fits the pattern either, and one message is enough.
            foreign.or(length).or(pattern.map(|pattern| format!("{text:?} does not fit {pattern}"))).into_iter().collect()
        }
        Value::Array(items) => count("maxItems", "minItems", items.len(), "items").into_iter().collect(),
        Value::Object(fields) => count("maxProperties", "minProperties", fields.len(), "entries").into_iter().collect(),
        Value::Null | Value::Bool(_) => Vec::new(),
    }
}

/// What the field means, from its own documentation.
fn meaning(schema: &Value) -> String {
    schema["description"].as_str().map(|description| format!(" {description}")).unwrap_or_default()
}

/// What could have been meant.
fn instead(word: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (distance(&word.to_lowercase(), &name.to_lowercase()), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= 2.max(word.chars().count() / 3) => format!("did you mean {name}?"),
        _ if known.is_empty() => "remove it".to_owned(),
        _ if known.len() <= MOST_NAMES => format!("write one of {}", known.join(", ")),
        _ => "see kubectl explain productionservice".to_owned(),
    }
}

/// Letters to insert, remove or replace to get from one word to the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for column in 0..to.len() {
            let replaced = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_fault_is_named_with_its_remedy() {
        let definition = crate::api::crd::definition().unwrap();
        let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
        let cases = [
            // field, value                                     path                        part of the message
            ("replcas", json!(3), "spec.replcas", "there is no such field; did you mean replicas?"),
            ("replicas", json!("three"), "spec.replicas", "is \"three\": write a whole number"),
            ("replicas", json!(5000), "spec.replicas", "5000 is above 1000. Number of pods"),
            ("replicas", json!(null), "spec.replicas", "is empty"),
            ("image", json!(12), "spec.image", "is 12: write a text, in quotes"),
            ("ports", json!({"http": 80}), "spec.ports", "is a map: write a list"),
            ("ports", json!([{"name": "http"}]), "spec.ports[0].port", "is missing"),
            ("ports", json!([{"name": "a", "port": 1}, {"name": "a", "port": 2}]), "spec.ports[1]", "name \"a\" is there twice"),
            ("network", json!({"policy": "isolatd"}), "spec.network.policy", "did you mean isolated?"),
            ("network", json!({"policy": "x"}), "spec.network.policy", "write one of open, isolated"),
            ("control", json!({"abort": "xyz"}), "spec.control.abort", "has 3 characters: 10 at least"),
            ("control", json!({"abort": "zzzzzzzzzz"}), "spec.control.abort", "does not fit"),
            (
                "rollout",
                json!({"strategy": {"canary": {"steps": [{"weight": 0}]}}}),
                "spec.rollout.strategy.canary.steps[0].weight",
                "0 is below 1",
            ),
            ("gateway", json!({}), "spec.gateway", "see kubectl explain"),
        ];
        for (field, value, path, part) in cases {
            let mut spec = json!({"image": "shop:1"});
            spec[field] = value;
            let faults = faults(&spec, schema, "spec");
            assert_eq!(faults.len(), 1, "{field}: {faults:?}");
            assert_eq!(faults[0].path, path);
            assert!(faults[0].message.contains(part), "{field}: {:?} instead of {part:?}", faults[0].message);
        }
        assert_eq!(faults(&json!({"image": "shop:1", "replicas": 3}), schema, "spec"), []);
    }

    #[test]
    fn distances() {
        for (from, to, expected) in [("", "abc", 3), ("replcas", "replicas", 1), ("port", "ports", 1), ("soak", "soak", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}
