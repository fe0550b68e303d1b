//! The parts of a pod that a team may set: an allow-list of our own, with limits, instead of Kubernetes' types.
//!
//! Never here, whatever is asked: host namespaces and paths, privileged containers, added capabilities, host ports, a probe's `host`.

#![allow(clippy::struct_field_names, reason = "Kubernetes' own names")]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
pub use super::scheduling::{
    Affinity, NodeExpression, NodeOperator, PreferredNodes, ServiceNeighbour, TaintEffect, Toleration, TolerationOperator, Topology,
};
use super::values::Quantity;
use super::volume::VolumeMount;

/// A port that the app listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Name by which probes, metrics and Services refer to the port: lower-case letters, digits and dashes, at least one letter.
    #[schemars(length(min = 1, max = 15), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = rules::PORT_NAME)]
    pub name: String,
    /// Number of the port in the container and in the Service, 1 to 65535.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Transport protocol. Default: TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Protocol above it, for proxies: `http`, `https`, `grpc`, `kubernetes.io/h2c` and so on. Default: none said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub app_protocol: Option<String>,
}

/// Transport protocol: `TCP`, `UDP` or `SCTP`. Default: `TCP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// An environment variable: a literal value, or one taken from somewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = ("!has(self.value) || !has(self.valueFrom)", "set value or valueFrom, not both"))]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z][-._a-zA-Z0-9]*$"))]
    pub name: String,
    /// Its value; `$(NAME)` is replaced by an earlier variable. Absent: taken from `valueFrom`, or empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32768))]
    pub value: Option<String>,
    /// Where its value comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<ValueFrom>,
}

/// Where the value of an environment variable comes from. Set exactly one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = (
    "(has(self.configMapKeyRef) ? 1 : 0) + (has(self.secretKeyRef) ? 1 : 0) + (has(self.fieldRef) ? 1 : 0) + (has(self.resourceFieldRef) ? 1 : 0) == 1",
    "valueFrom is one of configMapKeyRef, secretKeyRef, fieldRef and resourceFieldRef: set exactly one"
))]
#[serde(rename_all = "camelCase")]
pub struct ValueFrom {
    /// A key of a ConfigMap of this namespace. Not part of the revision; see `config.configMapRefs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,
    /// A key of a Secret of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,
    /// A field of the pod itself, such as `metadata.name` or `status.podIP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldReference>,
    /// A resource of the container, such as `limits.memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldReference>,
}

/// A key of a ConfigMap or Secret of this namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
    /// True: the pod starts without the variable when the object or key is missing. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A field of the pod itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldReference {
    /// Path of the field, such as `metadata.name`, `metadata.labels['team']`, `status.podIP`.
    #[schemars(
        length(min = 1, max = 350),
        regex(
            pattern = r"^(metadata\.(name|namespace|uid)|metadata\.(labels|annotations)\['[-A-Za-z0-9_./]+'\]|spec\.(nodeName|serviceAccountName)|status\.(hostIP|hostIPs|podIP|podIPs))$"
        )
    )]
    pub field_path: String,
}

/// A resource of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceFieldReference {
    /// `requests.` or `limits.` with `cpu`, `memory` or `ephemeral-storage`, for example `limits.memory`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^(requests|limits)\.(cpu|memory|ephemeral-storage)$"))]
    pub resource: String,
}

/// A whole ConfigMap or Secret as environment variables. Set exactly one of the two references.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = ("has(self.configMapRef) != has(self.secretRef)", "envFrom is one of configMapRef and secretRef: set exactly one"))]
#[serde(rename_all = "camelCase")]
pub struct EnvFrom {
    /// A ConfigMap of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<OptionalReference>,
    /// A Secret of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<OptionalReference>,
    /// Text put before each name. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^([-._a-zA-Z][-._a-zA-Z0-9]*)?$"))]
    pub prefix: Option<String>,
}

/// An object of this namespace that may be allowed to be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OptionalReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// True: the pod starts without it when it is missing. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// An object of this namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// What a container asks for and what it is held to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = rules::REQUESTS)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler reserves, by resource: `cpu`, `memory`, `ephemeral-storage` or an extended one, with a quantity such as `250m`,
    /// `256Mi` or 1. Default: the limit, where one is set, else nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = rules::RESOURCES)]
    pub requests: BTreeMap<String, Quantity>,
    /// What the container is held to, by resource. Above its CPU limit it is slowed down, above its memory limit it is killed.
    /// Default: no limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = rules::RESOURCES)]
    pub limits: BTreeMap<String, Quantity>,
}

/// A sidecar or an init container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Name of the container; `app` is taken by the service itself.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = ("self != 'app'", "app is the name of the service's own container: write another one"))]
    pub name: String,
    /// Its image.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::IMAGE)]
    pub image: String,
    /// Entrypoint, in place of the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Arguments, in place of the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// CPU, memory and ephemeral storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Where volumes appear in the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub volume_mounts: Vec<VolumeMount>,
}

/// Labels and annotations for the pods. Keys under plimsoll.dev/, app.kubernetes.io/, kubernetes.io/ and argocd.argoproj.io/ are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMetadata {
    /// Labels for the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}))]
    #[x_kube(validation = rules::KEYS)]
    #[x_kube(validation = rules::RESERVED_KEYS)]
    pub labels: BTreeMap<String, String>,
    /// Annotations for the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "string", "maxLength": 4096}))]
    #[x_kube(validation = rules::KEYS)]
    #[x_kube(validation = rules::RESERVED_KEYS)]
    pub annotations: BTreeMap<String, String>,
}

/// User, group and root file system of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    /// Numeric user, 1 to 2147483647; 0 is root and refused. Needed when the image runs as root or names its user. Default: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    #[x_kube(validation = rules::NOT_ROOT)]
    pub run_as_user: Option<i64>,
    /// Numeric group, 1 to 2147483647; 0 is root's and refused. Default: the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    #[x_kube(validation = rules::NOT_ROOT_GROUP)]
    pub run_as_group: Option<i64>,
    /// Group that owns the volumes, 1 to 2147483647; 0 is root's and refused. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    #[x_kube(validation = rules::NOT_ROOT_GROUP)]
    pub fs_group: Option<i64>,
    /// True: the app can write only to its volumes. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
}

/// The identity that the pods run under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = (
    "!has(self.name) || !has(self.annotations) || self.annotations.size() == 0",
    "annotations belong to the service's own service account; one that exists (name) is used and never changed: annotate it yourself"
))]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccount {
    /// A service account of this namespace that exists; it is used and never changed. Default: one of the service's own name, made by plimsoll.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Annotations for the service account made by plimsoll (workload identity). Applied at once, not part of the revision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    #[x_kube(validation = rules::KEYS)]
    #[x_kube(validation = rules::RESERVED_KEYS)]
    pub annotations: BTreeMap<String, String>,
    /// True: the pods get a token for the Kubernetes API. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_token: Option<bool>,
}
