//! The definition: what is committed is what the types say, and every rule of the schema holds at every field.

use std::path::Path;

use plimsoll::api::crd::definition;
use serde_json::{Map, Value};

/// Client-side apply keeps the whole object in an annotation, which Kubernetes limits to 256 KiB.
const MOST_BYTES: usize = 200 * 1024;

/// Noted in a schema by `below` when the object around it requires the field.
const REQUIRED: &str = "required by what holds it";

/// `UPDATE=1 cargo test --test it crd` writes the file anew.
#[test]
fn the_committed_definition_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds/plimsoll.dev_productionservices.yaml");
    let printed = serde_saphyr::to_string(&definition().unwrap()).unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == printed, "{} is not what `plimsoll crd` prints: run `make crds` and commit the result", path.display());
    let read: Value = serde_saphyr::from_str(&committed).unwrap();
    assert_eq!(read, definition().unwrap(), "the YAML does not read back as what was printed");
}

#[test]
fn client_side_apply_can_hold_it() {
    let bytes = serde_json::to_vec(&definition().unwrap()).unwrap().len();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes of JSON, {MOST_BYTES} at most");
}

#[test]
fn every_field_keeps_the_rules_of_the_schema() {
    let mut faults = Vec::new();
    let mut seen = 0;
    every_schema(&mut |path, schema| {
        seen += 1;
        faults.extend(faults_of(path, schema).into_iter().map(|fault| format!("{path}: {fault}")));
    });
    assert!(seen > 400, "only {seen} schemas were looked at");
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_oracle_sees_each_fault() {
    let cases = [
        (r#"{"type":"string","maxLength":5}"#, "no description"),
        (r#"{"type":"string","description":"A text."}"#, "no maxLength"),
        (r#"{"type":"array","maxItems":1,"description":"A list."}"#, "no items"),
        (r#"{"type":"array","items":{},"description":"A list."}"#, "no maxItems"),
        (r#"{"type":"object","additionalProperties":{},"description":"A map."}"#, "no maxProperties"),
        (r#"{"type":"object","additionalProperties":{},"maxProperties":2,"description":"A map."}"#, "no rule for the keys"),
        (r#"{"type":"object","description":"Anything."}"#, "neither properties nor additionalProperties"),
        (r#"{"type":"number","description":"A float."}"#, "type number"),
        (r#"{"type":"integer","default":1,"description":"A number."}"#, "default is not wanted"),
        (r#"{"type":"integer","nullable":true,"description":"A number."}"#, "nullable is not wanted"),
        (r#"{"type":"integer","format":"uint32","description":"A number."}"#, "format uint32"),
        (r#"{"type":"integer","description":"See [`Other`]."}"#, "markup"),
        (r#"{"type":"integer","description":"No end"}"#, "does not end a sentence"),
        (r#"{"description":"Untyped."}"#, "no type"),
    ];
    for (schema, expected) in cases {
        let schema: Map<String, Value> = serde_json::from_str(schema).unwrap();
        let faults = faults_of(".spec.x", &schema).join(", ");
        assert!(faults.contains(expected), "{schema:?}: {faults:?} instead of {expected:?}");
    }
}

/// What is wrong with one schema, taken by itself.
fn faults_of(path: &str, schema: &Map<String, Value>) -> Vec<String> {
    let mut faults = Vec::new();
    let has = |keyword: &str| schema.contains_key(keyword);
    for keyword in ["default", "nullable", "title", "oneOf", "anyOf", "allOf", "not", "x-kubernetes-preserve-unknown-fields"] {
        if has(keyword) {
            faults.push(format!("{keyword} is not wanted"));
        }
    }
    // Values of maps and lists are described by the field that holds them.
    let is_field = !path.ends_with("[]") && !path.ends_with("{}");
    match schema.get("description").and_then(Value::as_str) {
        Some(text) => faults.extend(faults_of_description(text)),
        None if is_field && path != ".metadata" && path != ".metadata.name" => faults.push("no description".into()),
        None => {}
    }
    faults.extend(faults_of_manual(path, schema));
    let int_or_string = has("x-kubernetes-int-or-string");
    match schema.get("type").and_then(Value::as_str) {
        None if int_or_string => faults.extend((!has("maxLength")).then(|| "no maxLength".into())),
        None => faults.push("no type".into()),
        Some("string") if !has("maxLength") && !has("enum") => faults.push("no maxLength".into()),
        Some("array") => {
            for keyword in ["maxItems", "items"] {
                faults.extend((!has(keyword)).then(|| format!("no {keyword}")));
            }
        }
        Some("object") if has("additionalProperties") => {
            faults.extend((!has("maxProperties")).then(|| "no maxProperties".into()));
            // A structural schema cannot limit keys; a rule can.
            let rules = schema.get("x-kubernetes-validations").map(Value::to_string).unwrap_or_default();
            faults.extend((!rules.contains("self.all(")).then(|| "no rule for the keys".into()));
        }
        Some("object") if schema.get("description").is_some_and(|text| text.to_string().contains("Write `{}`.")) => {}
        Some("object") if !has("properties") && path != ".metadata" => faults.push("neither properties nor additionalProperties".into()),
        Some("number") => faults.push("type number".into()),
        Some("integer") => match schema.get("format").and_then(Value::as_str) {
            None | Some("int32" | "int64") => {}
            Some(format) => faults.push(format!("format {format}")),
        },
        Some(_) => {}
    }
    faults
}

/// What a reader of `kubectl explain` would miss, since it shows the description only.
fn faults_of_manual(path: &str, schema: &Map<String, Value>) -> Vec<String> {
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let mut faults = Vec::new();
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        faults.extend((!description.contains(value)).then(|| format!("{description:?} does not explain {value}")));
    }
    if !path.starts_with(".spec.") || path.ends_with("[]") || path.ends_with("{}") {
        return faults;
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    for limit in ["minimum", "maximum"].into_iter().filter_map(|keyword| schema.get(keyword)).filter(|_| kind == "integer") {
        faults.extend((!description.contains(&limit.to_string())).then(|| format!("{description:?} does not say {limit}")));
    }
    for keyword in ["maxLength", "maxItems", "maxProperties"].into_iter().filter(|_| !schema.contains_key("enum") && !kind.is_empty()) {
        let said = |limit: &Value| description.contains(&limit.to_string()) || schema.get("minLength") == Some(limit);
        faults.extend(schema.get(keyword).filter(|limit| !said(limit)).map(|limit| format!("{description:?} does not say {limit}")));
    }
    if matches!(kind, "integer" | "boolean" | "string")
        && !schema.contains_key(REQUIRED)
        && !["Default", "bsent", "exactly one"].iter().any(|word| description.contains(word))
    {
        faults.push(format!("{description:?} does not say what holds when it is absent"));
    }
    faults
}

fn faults_of_description(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if ["[`", "`]", "](", "::", "  "].iter().any(|markup| text.contains(markup)) || text.matches('`').count() % 2 == 1 {
        faults.push(format!("markup in {text:?}"));
    }
    if !text.trim_end().ends_with(['.', '?', '!']) {
        faults.push(format!("{text:?} does not end a sentence"));
    }
    if text.replace("\n\n", "").contains('\n') {
        faults.push(format!("a line break inside a paragraph of {text:?}"));
    }
    faults
}

/// Calls `look` with the path of every schema below the root, and with the schema.
fn every_schema(look: &mut dyn FnMut(&str, &Map<String, Value>)) {
    let definition = definition().unwrap();
    let root = definition.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
    below(root, "", look);
}

fn below(schema: &Value, path: &str, look: &mut dyn FnMut(&str, &Map<String, Value>)) {
    let mut children = Vec::new();
    if let Some(Value::Object(properties)) = schema.get("properties") {
        children.extend(properties.iter().map(|(name, child)| (format!("{path}.{name}"), name.as_str(), child)));
    }
    children.extend(schema.get("items").map(|child| (format!("{path}[]"), "", child)));
    children.extend(schema.get("additionalProperties").map(|child| (format!("{path}{{}}"), "", child)));
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (path, name, child) in children {
        let mut own = child.as_object().unwrap_or_else(|| panic!("{path} is not a schema")).clone();
        if required.contains(&name.into()) {
            own.insert(REQUIRED.into(), true.into());
        }
        look(&path, &own);
        below(child, &path, look);
    }
}
