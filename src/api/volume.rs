//! Volumes that a pod may mount: an allow-list without host paths and without service account tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::values::Quantity;

/// A volume of the pod. Set exactly one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = (
    "(has(self.emptyDir) ? 1 : 0) + (has(self.configMap) ? 1 : 0) + (has(self.secret) ? 1 : 0) + (has(self.persistentVolumeClaim) ? 1 : 0) == 1",
    "a volume is one of emptyDir, configMap, secret and persistentVolumeClaim: set exactly one"
))]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Name by which `volumeMounts` refer to it. Names that begin with `plimsoll-` are taken.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = ("!self.startsWith('plimsoll-')", "names that begin with plimsoll- are taken by the volumes that plimsoll makes: write another one"))]
    pub name: String,
    /// An empty folder that lives as long as the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
    /// A ConfigMap of this namespace. Its contents are not part of the revision; see `config.configMapRefs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<KeyedSource>,
    /// A Secret of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<KeyedSource>,
    /// A PersistentVolumeClaim of this namespace. Both revisions mount it during a rollout: its access mode must allow that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimSource>,
}

/// An empty folder that lives as long as the pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDir {
    /// Size above which the pod is evicted. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
    /// True: in memory, counted against the containers' memory limits. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_memory: Option<bool>,
}

/// A ConfigMap or Secret as files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyedSource {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// True: the pod starts without it when it is missing. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Which keys become which files. Default: each key a file of its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub items: Vec<KeyToPath>,
}

/// A key that becomes a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyToPath {
    /// The key in the ConfigMap or Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
    /// The file, relative to the mount, without `..`, for example `conf/app.yaml`.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rules::PATH_IN_VOLUME)]
    pub path: String,
}

/// A PersistentVolumeClaim of this namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimSource {
    /// Name of the claim.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub claim_name: String,
    /// True: mounted for reading only. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// Where a volume appears in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// Absolute path in the container.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::MOUNT_PATH)]
    pub mount_path: String,
    /// Name of the volume.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// A folder or file inside the volume, without `..`. Default: the whole volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::PATH_IN_VOLUME)]
    pub sub_path: Option<String>,
    /// True: for reading only. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}
