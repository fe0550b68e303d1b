//! The judge: counts of two revisions in, one verdict per objective out.
//!
//! ```text
//! pod's /metrics ─► exposition ─► convention ─► Counters
//! Scrape of Counters ─► increments ─► blocks ─► component (sequential, calibration, exclusion) ─► E ─► verdict ─► Assessment
//! pods' status ─► signals
//! ```
//! **Promised**: a candidate that is not worse than stable by more than the tolerance is sent back with probability of
//! at most `falseAlarm`, over the whole rollout with its bake, however often one looks. Every factor that reaches E is
//! an e-value given the past, so Ville's inequality holds at any time. What keeps that true, everywhere in this folder:
//! *whatever a factor is computed with was known before its block began*.
//!
//! Everything is a pure function; time is an argument. Sections (§) are those of the design page "Decisions".

pub mod convention;
pub mod exposition;
pub mod planning;
pub mod prometheus;
pub mod signals;
pub use crate::api::analysis_state as state;

mod assessment;
mod blocks;
mod calibration;
mod component;
mod exclusion;
mod foresight;
mod increments;
mod judge;
mod latency;
mod numbers;
mod objective;
mod one_pod;
mod parts;
mod pressure;
mod saturation;
mod score;
mod sentences;
mod sequential;
mod step;
mod step_counts;
mod verdict;

#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use assessment::{Assessment, EvidenceCounts, FailReason, ObjectiveVerdict, PendingReason, Verdict};
pub use convention::{Convention, Counters, Source, Unmeasured};
pub use judge::Judge;
pub use parts::Parts;
pub use pressure::Pressure;
pub use state::{AnalysisState, SignalMemory, Unreadable};

/// What the user asked for, with every default already filled in by `plan`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// α: the chance, over the whole rollout, to send back a version that is not worse. In (0, 1); default 0.01.
    pub false_alarm: f64,
    /// Absolute margin by which the candidate's failure share may exceed stable's. In [0, 1); default 0.001.
    pub tolerance: f64,
    /// Candidate requests without which no step passes. Default 200.
    pub min_requests: u64,
    /// Age since ready below which a pod is cold, in seconds: its errors count with the coarse margin only, its latency
    /// not before four times this age. Default 30.
    pub warm_up_seconds: i64,
    /// Seconds between two scrapes. Default 5.
    pub interval_seconds: i64,
    /// What the app's container may occupy, in bytes, where it is limited.
    pub memory_limit_bytes: Option<f64>,
    /// How long the bake lasts, in seconds.
    pub bake_seconds: i64,
    /// What is judged. Empty: every step passes once its soak is over; only the fast signals judge.
    pub objectives: Vec<Objective>,
    /// What the judge is made of; the benchmark leaves parts out.
    pub parts: Parts,
}

/// One objective of the service.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Its name in the spec.
    pub name: String,
    /// What it limits.
    pub kind: ObjectiveKind,
}

/// What an objective limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ObjectiveKind {
    /// The share of requests that fail (status ≥ 500).
    ErrorRate {
        /// The highest share that is still fine, in (0, 1).
        at_most: f64,
    },
    /// The share of requests that are slow.
    Latency {
        /// The percentile that has to be fast enough, in (0, 100).
        percentile: f64,
        /// How fast, in milliseconds.
        at_most_milliseconds: f64,
    },
}

/// What one pod's metrics page said.
#[derive(Debug, Clone, PartialEq)]
pub struct PodSample {
    /// The pod's uid.
    pub pod: String,
    /// The revision it runs (its label).
    pub revision: String,
    /// When the answer came in, or the older time that the page itself gives ([`Counters::at`]).
    pub at: Timestamp,
    /// When the container that answers was started; `None` if unknown. A change means that its counters began anew.
    pub started: Option<Timestamp>,
    /// When the pod last became ready; `None` while it is not.
    pub ready_since: Option<Timestamp>,
    /// Its cumulative counters.
    pub counters: Counters,
}

/// A ready pod that gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentPod {
    /// The pod's uid.
    pub pod: String,
    /// The revision it runs.
    pub revision: String,
    /// Why, for people ("connection refused", or an [`Unmeasured`] printed).
    pub why: String,
}

/// One round over all ready pods of both revisions.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrape {
    /// When the round ended.
    pub at: Timestamp,
    /// Usable answers, in any order.
    pub samples: Vec<PodSample>,
    /// Ready pods without one.
    pub silent: Vec<SilentPod>,
}

/// A pod as the watches show it.
#[expect(clippy::struct_excessive_bools, reason = "each is a condition that Kubernetes reports of its own")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodState {
    /// Its uid.
    pub pod: String,
    /// Its name, for sentences.
    pub name: String,
    /// The revision it runs (its label).
    pub revision: String,
    /// Condition `Ready`.
    pub ready: bool,
    /// When it last became ready; `None` while it is not.
    pub ready_since: Option<Timestamp>,
    /// Set while a pod that *was* ready is not: when it stopped. (`Ready=False` whose `lastTransitionTime` is later than
    /// the pod's `startTime` by more than a second; a pod that was never ready has the two equal.)
    pub lost_ready: Option<Timestamp>,
    /// Its node is Ready (true as well while it has none).
    pub node_ready: bool,
    /// Evicted, preempted or drained: condition `DisruptionTarget`.
    pub disrupted: bool,
    /// It has a deletion timestamp.
    pub terminating: bool,
    /// The message of `PodScheduled=False`, if it cannot be scheduled.
    pub unschedulable: Option<String>,
    /// Its containers, init containers first.
    pub containers: Vec<ContainerState>,
}

/// A container of a pod as its status shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// `restartCount`.
    pub restarts: u32,
    /// It runs, or has run before (`running`, `terminated` or `lastState.terminated` is set).
    pub ever_started: bool,
    /// `waiting`, if it waits.
    pub waiting: Option<Waiting>,
    /// It is terminated at this moment (not running, not waiting).
    pub terminated: bool,
    /// Its latest end: `terminated`, else `lastState.terminated`.
    pub last_end: Option<Ended>,
}

/// Why a container waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Such as `CrashLoopBackOff`, `ImagePullBackOff`.
    pub reason: String,
    /// The kubelet's words.
    pub message: String,
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// Such as `Error`, `OOMKilled`, `Completed`, `StartError`.
    pub reason: String,
    /// Its exit code.
    pub exit_code: i32,
    /// When; `None` if unknown.
    pub at: Option<Timestamp>,
    /// The last lines of its log or its termination message; may be empty.
    pub message: String,
}

/// Where the rollout stands when the judge looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Situation<'a> {
    /// Now.
    pub now: Timestamp,
    /// Name of the revision that is the control.
    pub stable: &'a str,
    /// Name of the revision that is judged.
    pub candidate: &'a str,
    /// The share of traffic that the candidate has, as measured, in percent.
    pub weight: f64,
    /// Since when this weight is *reported*. `None` before the first weight and while one is being shifted: nothing
    /// counts then. A new value starts a new step: its request count begins at 0, and what was pending is dropped.
    pub weight_since: Option<Timestamp>,
    /// The weight that a Pass of this step leads to, in percent (100 in the bake).
    pub next_weight: f64,
    /// The step's soak, or the bake.
    pub soak_seconds: i64,
    /// This is the bake.
    pub baking: bool,
    /// How long stable goes on serving. Only its value at the first scrape of the rollout counts.
    pub control: Control,
    /// When `on_no_evidence` takes effect: soak + progress deadline after the weight was reported.
    pub deadline: Option<Timestamp>,
    /// What happens then if there is no evidence.
    pub on_no_evidence: OnNoEvidence,
    /// The pods of both revisions.
    pub pods: &'a [PodState],
}

/// How long there is somebody to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Stable keeps serving a share to the end of the bake.
    UntilEnd,
    /// Stable serves in the steps and not in the bake: the candidate alone is evidence as well.
    InSteps,
    /// Stable never serves beside the candidate: the candidate alone is all the evidence.
    Never,
}

impl Control {
    /// `ω_a`: the share of E that the candidate alone has, in percent.
    pub(super) const fn alone_percent(self) -> u8 {
        match self {
            Self::UntilEnd => 0,
            Self::InSteps => 10,
            Self::Never => 100,
        }
    }
}

/// What a step without evidence leads to at its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNoEvidence {
    /// Stay, say so, and pass when evidence comes.
    Hold,
    /// Go back.
    RollBack,
    /// Go on.
    Promote,
}
