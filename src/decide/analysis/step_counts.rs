//! What was counted in the present step.

use super::component::whole;
use super::numbers::{parse_counts, print};
use super::state::{Numbers, Unreadable};

/// Requests of the present step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StepCounts {
    /// The candidate's requests that count.
    pub candidate: u64,
    /// Bad ones of these.
    pub candidate_bad: u64,
    /// Stable's.
    pub stable: u64,
    /// Bad ones of these.
    pub stable_bad: u64,
    /// Seconds covered by blocks since the candidate's requests were as many as a step needs: an outage of the metrics covers none.
    pub enough_seconds: f64,
}

impl StepCounts {
    /// To status.
    pub fn write(&self) -> Numbers {
        let counts = [self.candidate, self.candidate_bad, self.stable, self.stable_bad].map(|count| count as f64);
        print(&[counts.as_slice(), &[self.enough_seconds]].concat())
    }

    /// From status.
    pub fn read(numbers: &Numbers, what: &'static str) -> Result<Self, Unreadable> {
        let [candidate, candidate_bad, stable, stable_bad, enough_seconds] = parse_counts(numbers, what)?;
        let [candidate, candidate_bad, stable, stable_bad] = [candidate, candidate_bad, stable, stable_bad].map(whole);
        Ok(Self { candidate, candidate_bad, stable, stable_bad, enough_seconds })
    }
}
