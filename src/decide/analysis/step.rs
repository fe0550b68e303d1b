//! The present step, as the verdict sees it.

use jiff::{SignedDuration, Timestamp};

use super::Situation;

/// A Pass needs E below this share of its limit.
const RISING: f64 = 0.1;

/// The present step as seen now.
pub struct Step<'a> {
    /// Where the rollout stands.
    pub situation: &'a Situation<'a>,
    /// `None` while the weight is not reported.
    pub since: Option<Timestamp>,
    /// When `onNoEvidence` takes effect. `None` before the first measurement.
    pub deadline: Option<Timestamp>,
    /// ln E of the rollout.
    pub ln_e: f64,
    /// ln of its limit, 1/α.
    pub ln_limit: f64,
    /// The objective with the largest share of E.
    pub leading: Option<usize>,
}

impl Step<'_> {
    /// How long the weight has been reported.
    pub fn elapsed(&self) -> Option<SignedDuration> {
        self.since.map(|since| self.situation.now.duration_since(since))
    }

    /// A pod's name, for sentences.
    pub fn name_of(&self, pod: &str) -> String {
        let known = self.situation.pods.iter().find(|known| known.pod == pod);
        known.map_or_else(|| pod.to_owned(), |known| known.name.clone())
    }

    /// E is near its limit.
    pub fn rising(&self) -> bool {
        self.ln_e >= self.ln_limit + libm::log(RISING)
    }

    /// `onNoEvidence` takes effect.
    pub fn deadline_passed(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.situation.now >= deadline)
    }

    /// Seconds until `seconds` after the weight was reported.
    pub fn left(&self, seconds: i64) -> f64 {
        let passed = self.elapsed().map_or(0.0, |passed| passed.as_secs_f64());
        (seconds as f64 - passed).max(0.0).ceil()
    }

    /// When time alone may change the verdict.
    pub fn wake(&self) -> Option<Timestamp> {
        let soak = self.situation.soak_seconds;
        // Everything else moves with a measurement.
        let second = if self.situation.baking { soak.saturating_mul(2) } else { soak };
        let after = |seconds: i64| self.since.and_then(|since| since.saturating_add(SignedDuration::from_secs(seconds)).ok());
        [after(soak), after(second), self.deadline].into_iter().flatten().filter(|at| *at > self.situation.now).min()
    }
}
