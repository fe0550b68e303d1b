//! `spec.control`: commands to a rollout that can be committed to Git.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Commands to a rollout. Each but `paused` names the revision that it is for and is carried out once: one that stays in Git afterwards is
/// silent, one that is removed again is not undone by that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// While true no rollout starts, takes a step or is promoted. Going back stays possible, by itself and by command. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Revision to be taken back now, whatever the numbers say: ten hexadecimal digits, as `status.candidate.revision` shows them. Works in
    /// every phase of a rollout. Absent: no command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 10, max = 10), regex(pattern = "^[0-9a-f]{10}$"))]
    pub abort: Option<String>,
    /// Revision to be moved on without waiting for time or evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promote: Option<Promote>,
    /// Revision that was taken back and shall be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Approvals of gates of a rollout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["revision", "gate", "by"]))]
    pub approve: Vec<Approve>,
}

/// Somebody agrees to a gate of one revision's rollout. It stays agreed to when the entry is removed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approve {
    /// The revision, ten hexadecimal digits.
    #[schemars(length(min = 10, max = 10), regex(pattern = "^[0-9a-f]{10}$"))]
    pub revision: String,
    /// Name of the gate.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub gate: String,
    /// Who agrees: the user name by which the API server knows the one who writes this entry. The chart's admission policy refuses any other;
    /// where it is not installed, status says `unverified`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^\S+$"))]
    pub by: String,
}

/// Moves a revision on without waiting for time or evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Promote {
    /// The revision, ten hexadecimal digits.
    #[schemars(length(min = 10, max = 10), regex(pattern = "^[0-9a-f]{10}$"))]
    pub revision: String,
    /// `next`: the next step. `full`: all the traffic that the strategy gives, then the bake.
    pub to: PromoteTo,
}

/// How far a revision is moved on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PromoteTo {
    /// The next step.
    Next,
    /// Past all steps, to the bake.
    Full,
}

/// Tries a revision again that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// The revision, ten hexadecimal digits.
    #[schemars(length(min = 10, max = 10), regex(pattern = "^[0-9a-f]{10}$"))]
    pub revision: String,
    /// Which attempt this shall be, 2 to 100. The first one was 1; a number that was already tried does nothing.
    #[schemars(range(min = 2, max = 100))]
    pub attempt: i32,
}
