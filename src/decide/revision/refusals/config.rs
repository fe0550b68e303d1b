//! `spec.config`: the references, the names it gives, the places it takes, and its size.

use std::collections::BTreeMap;

use serde_json::json;

use super::Findings;
use super::text::{LONGEST_NAME, is_variable, wrong_path};
use crate::api::ProductionServiceSpec;
use crate::api::config::Config;
use crate::decide::snapshot::Contents;

/// Bytes of configuration, of the 1 MiB that a `ConfigMap` can hold.
const MOST_CONFIG: usize = 900 * 1024;
/// Bytes of a `ConfigMap`'s values.
const MOST_RECORD: usize = 1024 * 1024;
/// What a rendered pod template adds to what was written in the spec, and to each copy.
const TEMPLATE_OVERHEAD: usize = 24 * 1024;
const COPY_OVERHEAD: usize = 256;

pub fn check(spec: &ProductionServiceSpec, config_maps: &BTreeMap<String, Contents>, findings: &mut Findings) {
    let empty = Config::default();
    let config = spec.config.as_ref().unwrap_or(&empty);
    for (index, reference) in config.config_map_refs.iter().enumerate().filter(|(_, reference)| !config_maps.contains_key(&reference.name))
    {
        let problem = format!("ConfigMap {} does not exist in this namespace; create it", reference.name);
        findings.add("ConfigMapMissing", format!("spec.config.configMapRefs[{index}].name"), problem);
    }
    variables(spec, config, config_maps, findings);
    places(spec, config, config_maps, findings);
    size(spec, config, config_maps, findings);
}

/// Every variable of the app's container has one source.
fn variables(spec: &ProductionServiceSpec, config: &Config, config_maps: &BTreeMap<String, Contents>, findings: &mut Findings) {
    let mut sources: BTreeMap<&str, String> = BTreeMap::new();
    for (index, reference) in config.config_map_refs.iter().enumerate().filter(|(_, reference)| reference.mount.is_none()) {
        let Some(contents) = config_maps.get(&reference.name) else { continue };
        let path = format!("spec.config.configMapRefs[{index}]");
        for key in contents.binary.keys() {
            let problem = format!("key {key:?} of ConfigMap {} is binary and cannot be a variable; set mount to get files", reference.name);
            findings.add("InvalidVariable", &path, problem);
        }
        for key in contents.text.keys() {
            let what = format!("key {key:?} of ConfigMap {}", reference.name);
            if !is_variable(key) {
                findings.add(
                    "InvalidVariable",
                    &path,
                    format!("{what} is no name of a variable; rename the key, or set mount to get files"),
                );
            }
            once(&mut sources, key, path.clone(), findings);
        }
    }
    for name in config.env.keys() {
        if !is_variable(name) {
            let rule = "a name is letters, digits, '_', '-' and '.', does not begin with a digit, and has at most 200 characters";
            findings.add("InvalidVariable", "spec.config.env", format!("{name:?} is no name of a variable; {rule}"));
        }
        once(&mut sources, name, "spec.config.env".into(), findings);
    }
    for (index, variable) in spec.env.iter().enumerate() {
        once(&mut sources, &variable.name, format!("spec.env[{index}]"), findings);
    }
}

fn once<'a>(sources: &mut BTreeMap<&'a str, String>, name: &'a str, path: String, findings: &mut Findings) {
    match sources.get(name) {
        Some(earlier) => {
            findings.add("DuplicateVariable", path, format!("variable {name} is set by {earlier} already; keep one of the two"));
        }
        None => {
            sources.insert(name, path);
        }
    }
}

/// Every path in the app's container is one thing, and nothing lies inside a folder of copied files, which cannot be written to.
fn places(spec: &ProductionServiceSpec, config: &Config, config_maps: &BTreeMap<String, Contents>, findings: &mut Findings) {
    let mut places: BTreeMap<&str, String> = BTreeMap::new();
    for (index, mount) in spec.volume_mounts.iter().enumerate() {
        place(&mut places, mount.mount_path.trim_end_matches('/'), format!("spec.volumeMounts[{index}].mountPath"), findings);
    }
    let mut folders: Vec<(&str, String)> = Vec::new();
    for (index, reference) in config.config_map_refs.iter().enumerate() {
        let Some(folder) = &reference.mount else { continue };
        let path = format!("spec.config.configMapRefs[{index}].mount");
        let folder = folder.trim_end_matches('/');
        if let Some(problem) = wrong_path(folder) {
            findings.add("InvalidPath", &path, format!("{folder:?} {problem}"));
        }
        let keys = config_maps.get(&reference.name).into_iter().flat_map(|contents| contents.text.keys().chain(contents.binary.keys()));
        for key in keys.filter(|key| key.len() > LONGEST_NAME) {
            findings.add(
                "InvalidPath",
                &path,
                format!("key {key:?} of ConfigMap {} is longer than 200 characters; rename it", reference.name),
            );
        }
        place(&mut places, folder, path.clone(), findings);
        folders.push((folder, path));
    }
    for file in config.files.keys() {
        if let Some(problem) = wrong_path(file) {
            findings.add("InvalidPath", "spec.config.files", format!("{file:?} {problem}"));
        }
        place(&mut places, file, "spec.config.files".into(), findings);
    }
    for (place, path) in &places {
        let inside = |folder: &str| place.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        if let Some((folder, owner)) = folders.iter().find(|(folder, _)| inside(folder)) {
            findings.add("DuplicatePath", path, format!("{place} lies inside {folder}, which {owner} makes read-only; put it elsewhere"));
        }
    }
}

fn place<'a>(places: &mut BTreeMap<&'a str, String>, place: &'a str, path: String, findings: &mut Findings) {
    match places.get(place) {
        Some(earlier) => findings.add("DuplicatePath", path, format!("{place} is {earlier} already; keep one of the two")),
        None => {
            places.insert(place, path);
        }
    }
}

/// The copies, the accepted spec and the pod template have to fit into one `ConfigMap`.
fn size(spec: &ProductionServiceSpec, config: &Config, config_maps: &BTreeMap<String, Contents>, findings: &mut Findings) {
    let referenced = config.config_map_refs.iter().filter_map(|reference| config_maps.get(&reference.name));
    let referenced = referenced.flat_map(|contents| contents.text.values().chain(contents.binary.values()));
    let copies: Vec<usize> = config.files.values().chain(config.env.values()).chain(referenced).map(String::len).collect();
    let total: usize = copies.iter().sum();
    if total > MOST_CONFIG {
        let problem = format!(
            "{} KiB with the ConfigMaps it refers to, and 900 KiB is the most; move large files into the image or a volume",
            total.div_ceil(1024)
        );
        findings.add("ConfigTooLarge", "spec.config", problem);
        return;
    }
    let without_config = ProductionServiceSpec { config: None, ..spec.clone() };
    // Once as the accepted spec, once as the pod template.
    let written = 2 * json!(without_config).to_string().len() + TEMPLATE_OVERHEAD + copies.len() * COPY_OVERHEAD;
    if total + written > MOST_RECORD {
        let problem = format!(
            "{} KiB in all, and 1024 KiB is the most that a revision's ConfigMap holds; shorten env, args or config",
            (total + written).div_ceil(1024)
        );
        findings.add("ConfigTooLarge", "spec", problem);
    }
}
