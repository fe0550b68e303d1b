//! `spec.network`: which traffic may reach the pods and leave them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Which traffic may reach the pods and leave them. Enforced by the cluster's network plugin, if that can.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = (
    "(has(self.policy) && self.policy == 'isolated') || ((!has(self.allowFrom) || self.allowFrom.size() == 0) && (!has(self.allowTo) || self.allowTo.size() == 0) && !has(self.dns))",
    "allowFrom, allowTo and dns need policy: isolated; with policy open everything is allowed already"
))]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// How much traffic is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Who may reach the pods, on the ports of the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub allow_from: Vec<AllowFrom>,
    /// What the pods may reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub allow_to: Vec<AllowTo>,
    /// False: no DNS (port 53, UDP and TCP) either. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<bool>,
}

/// `open`: no NetworkPolicy is made. `isolated`: in come only the service's own pods, plimsoll where objectives are measured, and `allowFrom`;
/// out go only DNS and `allowTo`. Default: `open`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Policy {
    /// Everything.
    #[default]
    Open,
    /// Only what is said.
    Isolated,
}

/// A source of traffic. Set exactly one of `service`, `namespaceLabels` and `cidr`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = (
    "(has(self.service) ? 1 : 0) + (has(self.namespaceLabels) ? 1 : 0) + (has(self.cidr) ? 1 : 0) == 1",
    "a source is one of service, namespaceLabels and cidr: set exactly one"
))]
#[serde(rename_all = "camelCase")]
pub struct AllowFrom {
    /// The pods of another ProductionService of this namespace. Absent: one of the other two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub service: Option<String>,
    /// All pods of the namespaces with all of these labels. Absent: one of the other two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}))]
    #[x_kube(validation = rules::KEYS)]
    pub namespace_labels: Option<BTreeMap<String, String>>,
    /// A range of addresses in CIDR notation, such as `10.0.0.0/8`. Absent: one of the other two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 43))]
    #[x_kube(validation = rules::CIDR)]
    pub cidr: Option<String>,
    /// Number of one of `ports`, 1 to 65535. Default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// A destination of traffic. Set exactly one of `service`, `namespaceLabels` and `cidr`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = (
    "(has(self.service) ? 1 : 0) + (has(self.namespaceLabels) ? 1 : 0) + (has(self.cidr) ? 1 : 0) == 1",
    "a destination is one of service, namespaceLabels and cidr: set exactly one"
))]
#[serde(rename_all = "camelCase")]
pub struct AllowTo {
    /// The pods of another ProductionService of this namespace. Absent: one of the other two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub service: Option<String>,
    /// All pods of the namespaces with all of these labels. Absent: one of the other two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}))]
    #[x_kube(validation = rules::KEYS)]
    pub namespace_labels: Option<BTreeMap<String, String>>,
    /// A range of addresses in CIDR notation, such as `10.0.0.0/8`. Absent: one of the other two.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 43))]
    #[x_kube(validation = rules::CIDR)]
    pub cidr: Option<String>,
    /// The port there, TCP, 1 to 65535. Default: every port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}
