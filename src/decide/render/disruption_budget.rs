//! A revision's `PodDisruptionBudget`: how many of its pods a node drain may take at once.
//!
//! One per revision: a budget over both would count a broken candidate's pods as missing and block every drain.

use serde_json::{Value, json};

use super::ownership::{Owner, revision_key, selector};
use crate::api::values::IntOrPercent;
use crate::decide::plan::Plan;
use crate::decide::snapshot::Kind;

/// From this many replicas on, the default is a share of them.
const MANY: i32 = 10;

/// The budget of a revision.
#[must_use]
pub fn disruption_budget(plan: &Plan, revision: &str) -> Value {
    let key = revision_key(Kind::PodDisruptionBudget, &plan.name, revision);
    let given = plan.spec.availability.as_ref().and_then(|availability| availability.max_unavailable.clone());
    let default = if plan.replicas < MANY { IntOrPercent::Int(1) } else { IntOrPercent::Percent("10%".into()) };
    Owner::of(plan).object(
        &key,
        Some(revision),
        json!({"spec": {
            "maxUnavailable": given.unwrap_or(default),
            "selector": {"matchLabels": selector(&plan.name, Some(revision))},
            // Pods that do not serve must not hold a drain up.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }}),
    )
}
