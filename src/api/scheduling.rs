//! On which nodes pods run: tolerations and affinity, with the few words that a team needs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// A taint that the pods tolerate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = rules::TOLERATIONS[0])]
#[x_kube(validation = rules::TOLERATIONS[1])]
#[x_kube(validation = rules::TOLERATIONS[2])]
#[serde(rename_all = "camelCase")]
pub struct Toleration {
    /// Key of the taint. Absent, with operator `Exists`: every key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub key: Option<String>,
    /// How the toleration matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint, with `Equal`. Absent: the empty value.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"))]
    pub value: Option<String>,
    /// Effect that is tolerated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
    /// Seconds to stay after a `NoExecute` taint appeared, 0 to 2147483647. Absent: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub toleration_seconds: Option<i32>,
}

/// How the toleration matches: `Equal`, key and value are those of the taint; `Exists`, the key is. Default: `Equal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// The key exists.
    Exists,
    /// Key and value are equal.
    Equal,
}

/// Effect that is tolerated: `NoSchedule` keeps new pods away, `PreferNoSchedule` does where possible, `NoExecute` takes running pods away
/// too. Absent: every effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// No new pods.
    NoSchedule,
    /// New pods elsewhere where possible.
    PreferNoSchedule,
    /// Running pods are evicted too.
    NoExecute,
}

/// Which nodes, and which pods for neighbours, the pods require or prefer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Affinity {
    /// Nodes whose labels match all of these are required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub required_nodes: Vec<NodeExpression>,
    /// Nodes whose labels match are preferred, each with its weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub preferred_nodes: Vec<PreferredNodes>,
    /// Services whose pods shall not be on the same topology, as a preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub avoid_services: Vec<ServiceNeighbour>,
    /// Services whose pods shall be on the same topology, as a preference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub near_services: Vec<ServiceNeighbour>,
}

/// An expression over a node's labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = rules::NODE_VALUES)]
#[serde(rename_all = "camelCase")]
pub struct NodeExpression {
    /// Key of the label.
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub key: String,
    /// `In` or `NotIn`: the label's value is one of the values, or none of them. `Exists` or `DoesNotExist`: the label is there, or is not.
    /// `Gt` or `Lt`: its value is a number above, or below, the one value.
    pub operator: NodeOperator,
    /// Values; exactly one whole number with `Gt` and `Lt`, none with `Exists` and `DoesNotExist`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63), regex(pattern = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")))]
    pub values: Vec<String>,
}

/// Operator of an expression over a node's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeOperator {
    /// The label's value is one of the values.
    In,
    /// It is none of them.
    NotIn,
    /// The label exists.
    Exists,
    /// It does not.
    DoesNotExist,
    /// Its value is a greater number than the one value.
    Gt,
    /// Its value is a smaller number than the one value.
    Lt,
}

/// Preferred nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredNodes {
    /// How much this preference counts, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,
    /// All of these must match.
    #[schemars(length(min = 1, max = 8))]
    pub expressions: Vec<NodeExpression>,
}

/// A neighbour to be avoided or sought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceNeighbour {
    /// Name of another ProductionService of this namespace.
    #[schemars(length(min = 1, max = 52), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub service: String,
    /// What "the same place" means: `host`, the same node, or `zone`.
    pub topology: Topology,
}

/// What "the same place" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Topology {
    /// The same node.
    Host,
    /// The same zone.
    Zone,
}
