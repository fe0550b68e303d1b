//! What was found in a revision's metrics, as status keeps it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::Moment;

/// What was found in a revision's metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The revision.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// The convention that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub convention: Option<String>,
    /// What is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub missing: Option<String>,
}

/// Verdict and evidence of one objective.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveReport {
    /// Name of the objective.
    #[schemars(length(max = 32))]
    pub name: String,
    /// `Pass`, `Fail` or `Pending`.
    #[schemars(length(max = 16))]
    pub verdict: String,
    /// Why, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// Evidence that the candidate is worse, in decimal; at the rollout's limit it is sent back.
    #[schemars(length(max = 24))]
    pub evidence: String,
    /// Bad requests of requests on the candidate, as text.
    #[schemars(length(max = 48))]
    pub candidate: String,
    /// Bad requests of requests on stable, as text.
    #[schemars(length(max = 48))]
    pub stable: String,
    /// Its evidence at the last times that it was written, the oldest first, separated by spaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 480))]
    pub trend: String,
    /// What was found, or is missing, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub message: Option<String>,
}

/// Stable's past, out of Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryMemory {
    /// When it was taken in.
    pub at: Moment,
    /// Moments of it that were known; 0: nothing was.
    pub rounds: i32,
}

/// Answers to an objective that is a query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryMemory {
    /// Name of the objective.
    #[schemars(length(max = 32))]
    pub name: String,
    /// The last answers, oldest first: S held, F failed, I said nothing, E was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 40))]
    pub recent: String,
    /// Answers that held since the step's weight is in force.
    #[serde(default)]
    pub held: i32,
    /// When that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    /// The last number, of the candidate if the query names a revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub candidate: Option<String>,
    /// The last number of the stable revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub stable: Option<String>,
    /// Why the last answer was no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub silence: Option<String>,
}
