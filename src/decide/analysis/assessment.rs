//! What the judge answers: verdicts, their reasons, their numbers.

use jiff::Timestamp;

/// What the judge says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Pass,
    /// Go back.
    Fail(FailReason),
    /// Wait.
    Pending(PendingReason),
}

/// Why a candidate is sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailReason {
    /// The evidence that it is worse than stable has reached its limit.
    Worse,
    /// Nearly all of its requests fail, and not stable's.
    Broken,
    /// One of its pods fails, and goes on failing.
    OnePod,
    /// The step's deadline passed without evidence, and `onNoEvidence` is `rollBack`.
    NoEvidence,
}

/// What a step waits for; the first that holds is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PendingReason {
    /// No pod answers.
    SourceDown,
    /// Fewer than half of the candidate's ready pods answer.
    Silent,
    /// Latency: the revisions' histograms have no bound in common.
    NoCommonBuckets,
    /// Pods answer, but no convention fits.
    UnknownConvention,
    /// The candidate has served no request in this step.
    NoTraffic,
    /// Stable has served no request in this step, and the candidate is not judged alone.
    NoControl,
    /// Stable fails so much that nothing can be told.
    StableBroken,
    /// Nearly all of the harm comes from one pod: the others decide.
    OnePod,
    /// The evidence against the candidate is above a tenth of its limit.
    AlarmRising,
    /// Every pod of the candidate is younger than the warm-up.
    WarmingUp,
    /// The soak, or the bake, is not over.
    Soaking,
    /// Fewer requests than `minRequests` in this step.
    TooFewRequests,
    /// A harmful excess is not excluded yet.
    NotYetExcluded,
    /// It answers well, and is short of processor time, memory or its event loop's.
    Saturated,
}

impl PendingReason {
    /// Its name as in status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SourceDown => "SourceDown",
            Self::Silent => "Silent",
            Self::NoCommonBuckets => "NoCommonBuckets",
            Self::UnknownConvention => "UnknownConvention",
            Self::NoTraffic => "NoTraffic",
            Self::NoControl => "NoControl",
            Self::StableBroken => "StableBroken",
            Self::OnePod => "OnePod",
            Self::AlarmRising => "AlarmRising",
            Self::WarmingUp => "WarmingUp",
            Self::Soaking => "Soaking",
            Self::TooFewRequests => "TooFewRequests",
            Self::NotYetExcluded => "NotYetExcluded",
            Self::Saturated => "Saturated",
        }
    }

    /// The deadline, and `onNoEvidence`, apply to it.
    pub(super) const fn lacks_evidence(self) -> bool {
        !matches!(self, Self::StableBroken | Self::OnePod | Self::AlarmRising | Self::Soaking | Self::Saturated)
    }
}

impl FailReason {
    /// Its name as in status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Worse => "Worse",
            Self::Broken => "Broken",
            Self::OnePod => "OnePod",
            Self::NoEvidence => "NoEvidence",
        }
    }
}

/// Bad requests (failed, or slow) of all that count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvidenceCounts {
    /// Failed or slow.
    pub bad: u64,
    /// All.
    pub total: u64,
}

/// Where one objective stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectiveVerdict {
    /// The objective's name.
    pub name: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Its evidence against the candidate, `E_i`; 1 is none.
    pub e: f64,
    /// The candidate's requests since the evidence was last at or below 1.
    pub candidate: EvidenceCounts,
    /// Stable's of the same time.
    pub stable: EvidenceCounts,
    /// The verdict in numbers, without what leads to it ("31 of 412 requests failed on …").
    pub sentence: String,
}

/// Where the rollout stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The rollout's verdict: Fail if any objective fails, Pass if all pass.
    pub verdict: Verdict,
    /// One entry per objective, in their order.
    pub objectives: Vec<ObjectiveVerdict>,
    /// E of the whole rollout.
    pub e: f64,
    /// 1/α: E at or above it sends the candidate back.
    pub limit: f64,
    /// For people: "rolled back at 5%: …", "passed: …", "holding at 5%: …".
    pub sentence: String,
    /// When time alone may change the verdict.
    pub wake: Option<Timestamp>,
}

impl EvidenceCounts {
    /// Adds to both.
    pub(super) fn add(&mut self, bad: u64, total: u64) {
        self.bad = self.bad.saturating_add(bad);
        self.total = self.total.saturating_add(total);
    }

    /// bad ÷ total; 0 of none.
    pub(super) fn share(&self) -> f64 {
        self.bad as f64 / self.total.max(1) as f64
    }
}
