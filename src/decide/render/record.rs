//! A revision's record: its immutable `ConfigMap`, created before anything else of the revision.
//!
//! It holds the pod template as rendered, the spec as accepted and the copied configuration. Whatever happens later (drift, a deleted
//! Deployment, a spec that is not accepted, another version of plimsoll), the revision is made from it and never rendered anew.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::config::{self, Copied, file_key, variable_key};
use super::container::prune;
use super::ownership::{Owner, QUARANTINED, revision_key};
use super::pod_template::pod_template;
use crate::api::ProductionServiceSpec;
use crate::api::status::Quarantined;
use crate::decide::plan::Plan;
use crate::decide::snapshot::{Contents, Kind, Record};

/// Key of the pod template.
const POD_TEMPLATE: &str = "pod-template.json";
/// Key of the accepted spec.
const PLAN: &str = "plan.json";

/// Why a `ConfigMap` is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct Unreadable {
    /// The key that is wrong.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// The record of the plan's revision. `live`: the pod template of its Deployment, where only the record was lost: another version of plimsoll may
/// have rendered it, and rendering it anew would replace its pods.
#[must_use]
pub fn record(plan: &Plan, config_maps: &BTreeMap<String, Contents>, pull_secrets: &[String], live: Option<&Value>) -> Record {
    let copied = config::copied(&plan.spec.config.clone().unwrap_or_default(), config_maps);
    let pod_template = live.cloned().unwrap_or_else(|| pod_template(plan, &copied, pull_secrets));
    let spec = accepted(&plan.spec);
    let Copied { mut contents, .. } = copied;
    contents.text.insert(POD_TEMPLATE.into(), pod_template.to_string());
    contents.text.insert(PLAN.into(), json!(with_keys(&spec)).to_string());
    Record { pod_template, spec, contents }
}

/// The `ConfigMap` of a record, contents as they were when it was created. One of a quarantined revision says so, should the status ever be lost.
#[must_use]
pub fn config_map(plan: &Plan, revision: &str, record: &Record, quarantined: Option<&Quarantined>) -> Value {
    let key = revision_key(Kind::ConfigMap, &plan.name, revision);
    let mut body = json!({"immutable": true, "data": record.contents.text, "binaryData": record.contents.binary});
    prune(&mut body);
    if let Some(entry) = quarantined {
        body["metadata"]["annotations"][QUARANTINED] = json!(entry).to_string().into();
    }
    Owner::of(plan).object(&key, Some(revision), body)
}

impl Record {
    /// Reads a record out of its `ConfigMap`.
    ///
    /// # Errors
    /// Which key is missing or is not what it should be.
    pub fn from_config_map(body: &Value) -> Result<Self, Unreadable> {
        let texts = |section: &str| -> BTreeMap<String, String> {
            let entries = body[section].as_object().into_iter().flatten();
            entries.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned()))).collect()
        };
        let contents = Contents { text: texts("data"), binary: texts("binaryData") };
        let pod_template: Value = parsed(&contents, POD_TEMPLATE)?;
        if !pod_template["spec"]["containers"].is_array() {
            return Err(Unreadable { key: POD_TEMPLATE, problem: "is not a pod template: it has no spec.containers".into() });
        }
        let mut spec: ProductionServiceSpec = parsed(&contents, PLAN)?;
        with_contents(&mut spec, &contents);
        Ok(Self { pod_template, spec, contents })
    }
}

fn parsed<T: serde::de::DeserializeOwned>(contents: &Contents, key: &'static str) -> Result<T, Unreadable> {
    let text = contents.text.get(key).ok_or_else(|| Unreadable { key, problem: "is missing".into() })?;
    serde_json::from_str(text).map_err(|error| Unreadable { key, problem: format!("cannot be read: {error}") })
}

/// What is kept of a spec: commands belong to the moment, and replicas to whoever scales now.
fn accepted(spec: &ProductionServiceSpec) -> ProductionServiceSpec {
    ProductionServiceSpec { control: None, replicas: None, ..spec.clone() }
}

/// The spec with the keys of the copies instead of the configuration itself, which would otherwise be stored twice.
fn with_keys(spec: &ProductionServiceSpec) -> ProductionServiceSpec {
    let mut spec = spec.clone();
    if let Some(config) = &mut spec.config {
        config.files.values_mut().enumerate().for_each(|(index, text)| *text = file_key(index));
        config.env.iter_mut().for_each(|(name, value)| *value = variable_key(name));
    }
    spec
}

fn with_contents(spec: &mut ProductionServiceSpec, contents: &Contents) {
    let config = spec.config.iter_mut();
    for value in config.flat_map(|config| config.files.values_mut().chain(config.env.values_mut())) {
        if let Some(text) = contents.text.get(value) {
            value.clone_from(text);
        }
    }
}
