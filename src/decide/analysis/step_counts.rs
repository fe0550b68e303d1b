//! What was counted in the present step.

use super::component::whole;
use super::numbers::{parse_counts, print};
use super::state::{Numbers, Unreadable};

/// Requests of the present step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepCounts {
    /// All of the candidate's requests, also those of pods that are too young for latency: a step needs so many.
    pub served: u64,
    /// Those of them that count.
    pub candidate: u64,
    /// Bad ones of these.
    pub candidate_bad: u64,
    /// Stable's.
    pub stable: u64,
    /// Bad ones of these.
    pub stable_bad: u64,
    /// Seconds covered by blocks since those that count were as many as a step needs: an outage of the metrics covers none.
    pub enough_seconds: f64,
}

impl StepCounts {
    /// To status.
    pub fn write(&self) -> Numbers {
        let counts = [self.served, self.candidate, self.candidate_bad, self.stable, self.stable_bad].map(|count| count as f64);
        print(&[counts.as_slice(), &[self.enough_seconds]].concat())
    }

    /// From status.
    pub fn read(numbers: &Numbers, what: &'static str) -> Result<Self, Unreadable> {
        let [served, candidate, candidate_bad, stable, stable_bad, enough_seconds] = parse_counts(numbers, what)?;
        let [served, candidate, candidate_bad, stable, stable_bad] = [served, candidate, candidate_bad, stable, stable_bad].map(whole);
        Ok(Self { served, candidate, candidate_bad, stable, stable_bad, enough_seconds })
    }
}
