//! Where pods go: tolerations and affinity, in Kubernetes' longer words.

use serde_json::{Value, json};

use super::ownership::selector;
use crate::api::pod::{Affinity, NodeExpression, ServiceNeighbour, Toleration, Topology};

/// Topology of a host.
pub const HOST: &str = "kubernetes.io/hostname";
/// Topology of a zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// A neighbour counts as much as a preference can.
const NEIGHBOUR_WEIGHT: i32 = 100;

/// Taints that the pods tolerate. Empty texts are absent ones, which is how the API server stores them.
#[must_use]
pub fn tolerations(tolerations: &[Toleration]) -> Vec<Value> {
    let rendered = |toleration: &Toleration| {
        let mut body = json!(toleration);
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, field| *field != "");
        }
        body
    };
    tolerations.iter().map(rendered).collect()
}

/// Required and preferred nodes and neighbours.
#[must_use]
pub fn affinity(affinity: &Affinity) -> Value {
    let required = (!affinity.required_nodes.is_empty())
        .then(|| json!({"nodeSelectorTerms": [{"matchExpressions": expressions(&affinity.required_nodes)}]}));
    let preferred: Vec<Value> = affinity
        .preferred_nodes
        .iter()
        .map(|nodes| json!({"weight": nodes.weight, "preference": {"matchExpressions": expressions(&nodes.expressions)}}))
        .collect();
    json!({
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": required,
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        },
        "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": neighbours(&affinity.near_services)},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": neighbours(&affinity.avoid_services)},
    })
}

fn expressions(expressions: &[NodeExpression]) -> Vec<Value> {
    expressions.iter().map(|expression| json!(expression)).collect()
}

fn neighbours(neighbours: &[ServiceNeighbour]) -> Vec<Value> {
    let term = |neighbour: &ServiceNeighbour| {
        let topology = match neighbour.topology {
            Topology::Host => HOST,
            Topology::Zone => ZONE,
        };
        json!({
            "weight": NEIGHBOUR_WEIGHT,
            "podAffinityTerm": {"labelSelector": {"matchLabels": selector(&neighbour.service, None)}, "topologyKey": topology},
        })
    };
    neighbours.iter().map(term).collect()
}
