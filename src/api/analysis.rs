//! `spec.rollout.analysis`: how the new revision is compared with the running one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// How the new revision is compared with the running one. It judges by `spec.objectives`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// What counts as "not worse".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// Chance to send back a version that is not worse, over the whole rollout with its bake: a share such as `"1%"` or `"0.01"`, from 0.01% to
    /// 20%. A smaller one needs more failed requests before it acts. Default: 1%.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 12))]
    #[x_kube(validation = rules::FALSE_ALARM)]
    pub false_alarm: Option<String>,
    /// Requests that the new revision must have answered in a step before the step may pass, 0 to 1000000. Default: 200, with which a
    /// failure share above 1.5% would have been seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_requests: Option<i32>,
    /// What to do when a step's deadline passes without enough evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_no_evidence: Option<OnNoEvidence>,
    /// Seconds of a pod's life, from its readiness on, in which only plain breakage counts: caches are cold. Latency gets four times as long.
    /// 0 to 600. Default: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 600))]
    pub warm_up_seconds: Option<i32>,
    /// Seconds between two measurements, 5 to 3600. Each added second is paid in failed requests. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 3600))]
    pub interval_seconds: Option<i32>,
    /// Percent of the requests that a router leaves to the running revision until the bake has ended, 1 to 50: the control without which a small
    /// regression would not be found, and every outage of a shared database would send a good version back. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub bake_control_percent: Option<i32>,
}

/// What counts as "not worse".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compare {
    /// The failure share of the new revision may be this much above the running one's, measured side by side, beside a relative margin of a
    /// quarter: a share such as `"0.1%"` or `"0.001"`, up to 20%. Default: 0.1%.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 12))]
    #[x_kube(validation = rules::TOLERANCE)]
    pub tolerance: Option<String>,
}

/// What to do when a step's deadline passes without enough evidence. `hold`: stay at the step, say so, and go on when evidence comes.
/// `rollBack`: take the new revision back. `promote`: go on without evidence. Default: `hold`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OnNoEvidence {
    /// Stay at the step, say so, and go on when evidence comes.
    #[default]
    Hold,
    /// Take the new revision back.
    RollBack,
    /// Go on without evidence.
    Promote,
}
