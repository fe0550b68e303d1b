//! The `CustomResourceDefinition`, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;
use serde_json::{Map, Value, json};

use super::{ProductionService, rules};

/// The definition that a cluster needs, as a JSON value ready to be printed.
///
/// # Errors
/// When the derived definition cannot be turned into JSON, which would be a bug in the derivation.
pub fn definition() -> serde_json::Result<Value> {
    let mut crd = serde_json::to_value(ProductionService::crd())?;
    let schemas = crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten();
    for schema in schemas.filter_map(|version| version.pointer_mut("/schema/openAPIV3Schema")) {
        plain(schema);
        add_rules(schema)?;
    }
    Ok(crd)
}

/// The definition as Kubernetes' own type.
///
/// # Errors
/// As [`definition`].
pub fn typed() -> serde_json::Result<CustomResourceDefinition> {
    serde_json::from_value(definition()?)
}

/// Rules that belong to no single type.
fn add_rules(schema: &mut Value) -> serde_json::Result<()> {
    let (rule, message) = rules::NAME;
    schema["x-kubernetes-validations"] = json!([{"rule": rule, "message": message}]);
    // The limit of every name in Kubernetes, said here again because the rule's estimated cost depends on it.
    schema["properties"]["metadata"] = json!({"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}});
    schema["properties"]["spec"]["x-kubernetes-validations"] = serde_json::to_value(rules::of_spec())?;
    Ok(())
}

/// Takes out of a schema, and of all below it, what the derivation says and a user must not meet.
///
/// - `default`: it would be written into every stored object and could never change afterwards.
/// - `nullable`: a stored `null` is present to `has()`, and the rules would have to expect it everywhere.
/// - `oneOf`: its message is "must validate one and only one schema"; a rule with words stands in its place.
/// - `title` and formats that Kubernetes does not know; limits as `1.0`; line breaks inside a paragraph.
fn plain(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    for keyword in ["default", "nullable", "oneOf", "title"] {
        schema.remove(keyword);
    }
    if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
        schema.remove("format");
    }
    for limit in ["minimum", "maximum"] {
        whole(schema, limit);
    }
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    say_limit(schema);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(plain);
    }
    for below in ["items", "additionalProperties"] {
        schema.get_mut(below).into_iter().for_each(plain);
    }
}

/// `kubectl explain` shows descriptions and no limits: the limit on a size is added to the description.
fn say_limit(schema: &mut Map<String, Value>) {
    // An enumeration has no size, and where both ends are the same the description says what it is.
    if schema.contains_key("enum") || schema.contains_key("x-kubernetes-int-or-string") || schema.get("minLength") == schema.get("maxLength") {
        return;
    }
    let limit = [("maxLength", "characters"), ("maxItems", "entries"), ("maxProperties", "entries")]
        .into_iter()
        .find_map(|(keyword, what)| Some(format!(" At most {} {what}.", schema.get(keyword)?)));
    if let (Some(limit), Some(Value::String(description))) = (limit, schema.get_mut("description")) {
        description.push_str(&limit);
    }
}

fn whole(schema: &mut Map<String, Value>, limit: &str) {
    #[expect(clippy::cast_possible_truncation, reason = "limits are whole numbers far below 2^53")]
    if let Some(number) = schema.get(limit).and_then(Value::as_f64) {
        schema.insert(limit.to_owned(), json!(number as i64));
    }
}
