//! What became of the gates that a rollout has reached, in `status.rollout.progress.gates`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::Moment;

/// An approval, as it was first seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The gate.
    #[schemars(length(max = 32))]
    pub gate: String,
    /// Who.
    #[schemars(length(max = 253))]
    pub by: String,
    /// When it was first seen.
    pub at: Moment,
    /// The admission policy made sure that `by` is who wrote it; else the word of whoever could write the resource has to do.
    pub verified: bool,
}

/// A gate that was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Its name; `dependsOn/SERVICE` for a service that this one depends on.
    #[schemars(length(max = 64))]
    pub name: String,
    /// `Waiting`, `Open`, `Closed` (the revision is taken back for it), or `Unknown`: it can never be known how it ended, so it waits for its
    /// deadline.
    pub state: GateState,
    /// When it was reached.
    pub since: Moment,
    /// When its time is over.
    pub deadline: Moment,
    /// What it waits for, or how it ended, in one sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// Its Job, from before it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobOrder>,
    /// Its load, once Prometheus was asked for the peak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadOrder>,
    /// Its request, from before it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookOrder>,
}

/// The request of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookOrder {
    /// Its `Idempotency-Key`: of this rollout, attempt and gate.
    #[schemars(length(max = 64))]
    pub key: String,
    /// The process of the operator that sends it, and no other: one that ended may have sent it.
    #[schemars(length(max = 128))]
    pub by: String,
    /// Which try it is.
    pub tries: i32,
    /// When it is sent, at the earliest.
    pub at: Moment,
    /// Why the try before came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub before: Option<String>,
}

/// The load of a load test.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadOrder {
    /// The peak, in requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub peak: Option<String>,
    /// What the Job is told to send, in requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 24))]
    pub target: Option<String>,
    /// Why the peak is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub silence: Option<String>,
}

/// The Job of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobOrder {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its uid, once it has been seen: from then on no other one takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
}

/// Where a gate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GateState {
    /// It waits.
    Waiting,
    /// It has let the rollout through.
    Open,
    /// It will not let the rollout through.
    Closed,
    /// It can never be known how it ended.
    Unknown,
}
