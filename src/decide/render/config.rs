//! `spec.config`, copied: what goes into the revision's `ConfigMap`, and how the app's container gets at it.
//!
//! The keys: `file-<n>` for the n-th file by path, `env.<NAME>`, and `ref-<n>.<key>` for a key of the n-th reference. Files and folders
//! appear by `subPath`, so that what lies beside them in the image stays visible; the copy never changes, so nothing is missed by it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::config::Config;
use crate::decide::snapshot::Contents;

/// Volume of the copied files.
pub const VOLUME: &str = "plimsoll-config";

/// The copied configuration of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The copies, by key of the revision's `ConfigMap`.
    pub contents: Contents,
    /// Environment variables: name and key.
    variables: Vec<(String, String)>,
    /// Files of the volume: key and path.
    files: Vec<(String, String)>,
    /// Where they appear: path in the container and path in the volume.
    mounts: Vec<(String, String)>,
}

/// Key of the n-th file.
#[must_use]
pub fn file_key(index: usize) -> String {
    format!("file-{index}")
}

/// Key of an environment variable.
#[must_use]
pub fn variable_key(name: &str) -> String {
    format!("env.{name}")
}

/// Copies the configuration. A reference whose `ConfigMap` is missing has no copies; the spec is refused then.
#[must_use]
pub fn copied(config: &Config, config_maps: &BTreeMap<String, Contents>) -> Copied {
    let mut copied = Copied::default();
    for (index, reference) in config.config_map_refs.iter().enumerate() {
        let Some(contents) = config_maps.get(&reference.name) else { continue };
        let own_key = |key: &String| format!("ref-{index}.{key}");
        let keys = contents.text.keys().chain(contents.binary.keys());
        if let Some(folder) = &reference.mount {
            copied.files.extend(keys.map(|key| (own_key(key), format!("ref-{index}/{key}"))));
            copied.mounts.push((folder.clone(), format!("ref-{index}")));
        } else {
            copied.variables.extend(keys.map(|key| (key.clone(), own_key(key))));
        }
        copied.contents.text.extend(contents.text.iter().map(|(key, text)| (own_key(key), text.clone())));
        copied.contents.binary.extend(contents.binary.iter().map(|(key, bytes)| (own_key(key), bytes.clone())));
    }
    for (name, value) in &config.env {
        copied.variables.push((name.clone(), variable_key(name)));
        copied.contents.text.insert(variable_key(name), value.clone());
    }
    for (index, (path, text)) in config.files.iter().enumerate() {
        copied.files.push((file_key(index), file_key(index)));
        copied.mounts.push((path.clone(), file_key(index)));
        copied.contents.text.insert(file_key(index), text.clone());
    }
    copied
}

impl Copied {
    /// Environment variables out of the revision's `ConfigMap`.
    #[must_use]
    pub fn env(&self, config_map: &str) -> Vec<Value> {
        let variable = |(name, key): &(String, String)| json!({"name": name, "valueFrom": {"configMapKeyRef": {"name": config_map, "key": key, "optional": false}}});
        self.variables.iter().map(variable).collect()
    }

    /// Where the files appear in the app's container.
    pub fn mounts(&self) -> impl Iterator<Item = Value> {
        self.mounts.iter().map(|(path, inside)| json!({"name": VOLUME, "mountPath": path, "subPath": inside, "readOnly": true}))
    }

    /// The volume of the files, if there are any.
    #[must_use]
    pub fn volume(&self, config_map: &str) -> Option<Value> {
        let items: Vec<Value> = self.files.iter().map(|(key, path)| json!({"key": key, "path": path})).collect();
        (!self.mounts.is_empty()).then(|| json!({"name": VOLUME, "configMap": {"name": config_map, "optional": false, "items": items}}))
    }
}
