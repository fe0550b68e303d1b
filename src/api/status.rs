//! `status`: what every tool reads, and what the operator remembers.
//!
//! `status.rollout` is memory: decisions are made from it and from what the cluster shows. Everything else is report, derived anew at
//! each reconcile and never read back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis_state::{AnalysisState, SignalMemory};
use super::gate_status::{Approval, GateStatus};
use super::measured::Measured;
pub use super::measured::{HistoryMemory, ObjectiveReport, QueryMemory};
pub use super::values::Moment;

/// What plimsoll sees and remembers. Written by the operator only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProductionServiceStatus {
    /// `Ready`: the spec's own revision is promoted and its bake is over. `Reconciling`: something is going on. `Stalled`: nothing goes on
    /// without help. `Accepted`: the spec can be honoured. `Healthy`: what serves has the pods it needs, also while a new version is failing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the service stands, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What was decided last, or what is waited for and until when, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
    /// The rollout's step, of how many: `2/3`; `preview` before a blue-green switch. Absent when no rollout is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub step: Option<String>,
    /// The candidate's share of the traffic as measured: `33%`. Absent when no rollout is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub weight: Option<String>,
    /// Ready pods of the pods asked for, over the revisions that take traffic: `2/2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ready: Option<String>,
    /// Pods of the revisions that take traffic (the scale subresource).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Selector of exactly these pods (the scale subresource).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,
    /// The revision that was promoted last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable: Option<RevisionStatus>,
    /// The revision that is being rolled out, or back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<RevisionStatus>,
    /// Revisions that were taken back. They are not tried again without `control.retry`. The oldest of more than 20 are forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["revision"]))]
    pub quarantined: Vec<Quarantined>,
    /// Values that decide something and were not written in the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective>,
    /// The operator's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Memory>,
}

/// A condition, as everywhere in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of the condition.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// Why, in one word.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in one sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Moment,
    /// Generation of the spec that the condition is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known yet.
    Unknown,
}

/// Where the service stands, in one word. `Stable`: the spec's revision serves and its bake is over. `Progressing`: a revision is being brought
/// up, or in. `Paused`: a rollout waits for `control.paused` to end. `Baking`: the new revision has got all it shall get, the old one is kept
/// ready. `RollingBack`: the new revision is being taken back. `RolledBack`: the old revision serves again, the spec's is quarantined.
/// `Blocked`: nothing can go on until somebody does what the message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The spec's revision serves, and its bake is over.
    Stable,
    /// A revision is being brought up, or in.
    Progressing,
    /// A rollout waits because `control.paused` is set.
    Paused,
    /// The new revision has got all it shall get; the old one is kept ready.
    Baking,
    /// The new revision is being taken back.
    RollingBack,
    /// The spec's revision was taken back; the one before it serves.
    RolledBack,
    /// Nothing can be done before somebody changes something; `message` says what.
    Blocked,
}

/// A revision, as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Ten hexadecimal digits.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Its image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,
    /// Pods asked for.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Percent of the traffic: as the router reports it; without one, the share of the ready pods that take traffic.
    pub weight: i32,
    /// The naming convention that was found in its metrics, and what is missing there. Absent until it was measured in a rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub metrics: Option<String>,
}

/// A revision that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quarantined {
    /// Ten hexadecimal digits.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Its last attempt.
    pub attempt: i32,
    /// When it was taken back.
    pub at: Moment,
    /// Why, with the numbers.
    #[schemars(length(max = 1024))]
    pub reason: String,
}

/// Values that decide something and were not written in the spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// `canary`, `rolling` or `blueGreen`.
    #[schemars(length(max = 16))]
    pub strategy: String,
    /// The steps, each as "weight% for soak s", or the slices.
    #[schemars(length(max = 512))]
    pub steps: String,
    /// Pods that may exist at once during a rollout.
    pub most_pods: i32,
    /// Length of the bake, in seconds.
    pub bake_seconds: i32,
    /// What judges a new version: the objectives, or `fast signals only`.
    #[schemars(length(max = 512))]
    pub judged_by: String,
}

/// The operator's memory: decisions are made from it, and nothing takes effect before it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The revision that was promoted last. Absent until the first one has become ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub stable: Option<String>,
    /// Earlier stable revisions that are kept at 0 replicas, the latest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2), inner(length(max = 10)))]
    pub history: Vec<String>,
    /// Commands that were seen and carried out, so that they are not carried out again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub commands: Vec<Latched>,
    /// What was found in the metrics of stable and candidate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub measured: Vec<Measured>,
    /// The rollout that is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// How the last rollout ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Outcome>,
    /// What is known of stable's own scatter from earlier rollouts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<AnalysisState>,
}

/// A command that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latched {
    /// The revision that it is for.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// The command: `abort`, `promoteNext` or `promoteFull`.
    pub command: Command,
}

/// A command of `spec.control`: `abort`, `promoteNext` or `promoteFull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    /// `abort`.
    Abort,
    /// `promote` to `next`.
    PromoteNext,
    /// `promote` to `full`.
    PromoteFull,
}

/// The rollout that is on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Identity of the rollout: revision and attempt.
    #[schemars(length(max = 16))]
    pub id: String,
    /// The candidate's revision.
    #[schemars(length(max = 10))]
    pub revision: String,
    /// Which attempt at this revision.
    pub attempt: i32,
    /// When it began.
    pub started: Moment,
    /// The step, counted from 0; as many as there are steps means full.
    pub step: i32,
    /// What is being done in the step. `Gated`: gates, windows or other services are waited for before the first pod. `Starting`: the very first
    /// revision comes up. `Shifting`: pods come up until the step's weight is in force.
    /// `Soaking`: the step is watched. `Baking`: the candidate has got all it shall get and is watched further. `RollingBack`: stable gets its
    /// pods back, then the traffic. `Draining`: pods that lost the traffic finish what they have.
    pub stage: Stage,
    /// When the stage began.
    pub since: Moment,
    /// Percent of the requests that the router was last asked to give the candidate. Absent without a router, and before the first weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub weight: Option<i32>,
    /// Since when the step's weight is seen to be in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_since: Option<Moment>,
    /// When waiting for pods ends. Moved only by one more ready pod than ever before.
    pub deadline: Moment,
    /// Most ready pods of the candidate seen so far.
    pub ready_high_water: i32,
    /// Approvals for this revision, each from the moment at which it was first seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    pub approvals: Vec<Approval>,
    /// Gates that were reached so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub gates: Vec<GateStatus>,
    /// The command to go on, until it has been carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ordered: Option<Command>,
    /// Why the candidate is being taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What is waited for, or was found, in one sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub sentence: String,
    /// When sentence, verdicts and analysis were last written: every 30 seconds, and with every decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved: Option<Moment>,
    /// Verdict and evidence of each objective.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub verdicts: Vec<ObjectiveReport>,
    /// Stable's past, once it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryMemory>,
    /// Answers to the objectives that are queries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub queries: Vec<QueryMemory>,
    /// Since when signals that need time have held.
    #[serde(default)]
    pub signals: SignalMemory,
    /// State of the analysis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisState>,
}

/// What is being done in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Stage {
    /// Gates, windows or other services are waited for; the revision has no pod yet.
    Gated,
    /// The very first revision comes up; there is nothing to go back to.
    Starting,
    /// Pods come up until the step's weight is in force.
    Shifting,
    /// The step is watched.
    Soaking,
    /// The candidate has got all it shall get and is watched further.
    Baking,
    /// Stable gets its pods back, then the traffic.
    RollingBack,
    /// The traffic is gone; the pods that lost it finish what they have.
    Draining,
}

/// Why a candidate is being taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// Why, in one word. `Analysis`: the numbers are worse than the running revision's. `Signal`: pods crash, are killed, cannot be pulled or
    /// lose their readiness. `ProgressDeadline`: they did not become ready in time. `Gate`: a gate did not let it through. `Abort`: by command. `Superseded`: the spec went on to a
    /// third revision. `Reverted`: it went back to the stable one.
    pub reason: CauseReason,
    /// Why, in one sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// Why a candidate is being taken back, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CauseReason {
    /// The numbers are worse than the running revision's.
    Analysis,
    /// Pods crash, are killed, cannot be pulled or lose their readiness.
    Signal,
    /// The pods did not become ready in time.
    ProgressDeadline,
    /// A gate did not let it through.
    Gate,
    /// `control.abort`.
    Abort,
    /// The spec went on to a third revision.
    Superseded,
    /// The spec went back to the stable revision.
    Reverted,
}

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The rollout.
    #[schemars(length(max = 16))]
    pub id: String,
    /// When it ended.
    pub at: Moment,
    /// Whether the revision was promoted.
    pub promoted: bool,
    /// Who had approved it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    pub approvals: Vec<Approval>,
    /// How, in one sentence.
    #[schemars(length(max = 1024))]
    pub message: String,
}
