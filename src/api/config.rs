//! `spec.config`: configuration that is part of the revision.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Configuration that is part of the revision. It is copied into an immutable ConfigMap of the revision, so a rollback brings the old
/// configuration back together with the old image. All of it together must stay
/// below 900 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::CONFIG_SIZE)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Files by absolute path in the app's container, with their contents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 262_144}))]
    #[x_kube(validation = rules::FILES)]
    #[x_kube(validation = rules::NO_FILE_BELOW_A_FILE)]
    pub files: BTreeMap<String, String>,
    /// Environment variables by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 128, "additionalProperties" = {"type": "string", "maxLength": 32_768}))]
    #[x_kube(validation = rules::ENV_NAMES)]
    pub env: BTreeMap<String, String>,
    /// ConfigMaps of this namespace whose contents become part of the revision: a change in one of them is rolled out like a new image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = rules::CONFIG_MOUNTS)]
    pub config_map_refs: Vec<ConfigMapReference>,
}

/// A ConfigMap of this namespace whose contents become part of the revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapReference {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Absolute folder in the app's container in which each key is a file. Default: none, each key is an environment variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 512))]
    #[x_kube(validation = rules::MOUNT_PATH)]
    pub mount: Option<String>,
}
