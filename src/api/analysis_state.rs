//! What the judge keeps in `status.rollout.analysis` (§13): types only.
//!
//! At most 1.5 KiB per objective. Numbers are decimal text with nine significant digits, several of a kind in one
//! string: the API has no floats, and a restart reads the same bits that a running operator goes on with.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Decimal numbers separated by spaces, nine significant digits each; `-inf` is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Numbers(#[schemars(length(max = 1536), regex(pattern = r"^[-+.0-9einfa ]*$"))] pub String);

/// Memory of the analysis, written by the operator only. Not meant for people; the verdict and its sentence stand in
/// `status.rollout`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisState {
    /// When the weight of the present step was reported. Absent before the first weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub step_since: Option<Timestamp>,
    /// Seconds covered by blocks of both revisions and the share of the start-time mixture begun by then; the same two
    /// for the candidate alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Numbers>,
    /// The share of the evidence that the candidate alone has, in percent: 0 where a control stays until the end of the bake. Fixed when the
    /// rollout begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone_percent: Option<u8>,
    /// One pod of the candidate that fails while the others do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_pod: Option<OnePodState>,
    /// What the candidate is short of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub saturation: Vec<SaturationState>,
    /// Stable's ready pods before the first weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_pods: Option<u32>,
    /// One entry per objective, in the order of the spec.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub objectives: Vec<ObjectiveState>,
}

/// Memory of one sick pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnePodState {
    /// Its uid; absent once it has come back in. There is no second time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub pod: Option<String>,
    /// When it was left out, or came back in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub since: Option<Timestamp>,
    /// ln of the evidence at that moment, and what the pod has failed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
}

/// Memory of one resource that the candidate is short of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SaturationState {
    /// `Processor`, `Memory` or `EventLoop`.
    #[schemars(length(max = 16))]
    pub resource: String,
    /// Since when, without a break.
    #[schemars(with = "String", length(max = 40))]
    pub since: Timestamp,
    /// When it was last seen.
    #[schemars(with = "String", length(max = 40))]
    pub until: Timestamp,
    /// The candidate's number, then stable's where it is known.
    pub numbers: Numbers,
}

/// Memory of one objective.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveState {
    /// The objective's name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Requests in this step: the candidate's, those of them that count, bad ones of these, stable's that count, bad ones of these; seconds
    /// measured since those that count were enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Numbers>,
    /// Stable before the first weight: requests, bad ones (errors only), seconds, pod-seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Numbers>,
    /// Latency, until its bounds are chosen: requests slower than each bound, as pairs (bound in microseconds, count).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slower: Option<Numbers>,
    /// ln of the evidence of the six alternatives, for the candidate alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<Numbers>,
    /// The share of the evidence that pod scores have (errors only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score_share: Option<Numbers>,
    /// What is compared: failures and pod scores for errors, up to three bounds for latency.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub components: Vec<ComponentState>,
    /// How stable's bad requests cluster; all that outlives the rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub calibrations: Vec<CalibrationState>,
}

/// Memory of one comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentState {
    /// For latency: requests slower than this many microseconds are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_microseconds: Option<i64>,
    /// Stable's expected share, the pseudo-requests behind it, the absolute margin.
    pub prior: Numbers,
    /// Stable's share before the first weight, the requests behind it, its requests per pod and second. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Numbers>,
    /// Stable's bad requests and requests, with recent ones weighing more.
    pub baseline: Numbers,
    /// ln of the evidence of the six alternatives, against stable now.
    pub now: Numbers,
    /// The same against stable before the rollout (latency only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Numbers>,
    /// ln of the evidence that the excess is below 0.2, 0.1, 0.05, 0.02, 0.01, 0.005.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusion: Option<Numbers>,
    /// Since the evidence was last at or below 1: the candidate's bad requests and requests, stable's; then the
    /// candidate's bad requests since the start.
    pub shown: Numbers,
}

/// Running sums over minutes of stable's pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CalibrationState {
    /// For latency: the bound, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound_microseconds: Option<i64>,
    /// Pod-minutes, bad requests, requests.
    pub seen: Numbers,
    /// S, V, SS, SV, VV, u of windows of one minute.
    pub one: Numbers,
    /// The same of windows of five minutes.
    pub five: Numbers,
    /// Variance of the pods' own shares, and the number of pods. Absent until two pods were seen for half an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differences: Option<Numbers>,
}

/// Since when the signals that need time have held without a break.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalMemory {
    /// A container of the candidate cannot be configured (`CreateContainerConfigError`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub config_error_since: Option<Timestamp>,
    /// An image of the candidate cannot be pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub image_pull_since: Option<Timestamp>,
    /// At least half of the candidate's pods have lost their readiness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 40))]
    pub readiness_lost_since: Option<Timestamp>,
}

/// A state that this version cannot read: the analysis starts anew at the current weight, and says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the analysis kept in status is unreadable ({what}); it starts anew")]
pub struct Unreadable {
    /// The part at fault.
    pub what: &'static str,
}

impl AnalysisState {
    /// What outlives the rollout: the calibration sums.
    #[must_use]
    pub fn settled(&self) -> Self {
        let objectives = self.objectives.iter().map(|objective| ObjectiveState {
            name: objective.name.clone(),
            calibrations: objective.calibrations.clone(),
            ..ObjectiveState::default()
        });
        Self { objectives: objectives.collect(), ..Self::default() }
    }
}
