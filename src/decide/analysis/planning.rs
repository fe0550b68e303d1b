//! How long a step has to be (§12): requests until an excess is found, and until one is excluded.

use super::exclusion::ENOUGH;
use super::objective::ERROR_RATIO;
use super::sequential::{FROM_THE_START, Null, STEPS, clamp_share};

/// A step to plan for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// s: stable's share of bad requests.
    pub stable: f64,
    /// φ: how failures cluster.
    pub phi: f64,
    /// The candidate's requests for each of stable's.
    pub ratio: f64,
}

/// KL(a‖b) of two shares.
fn divergence(a: f64, b: f64) -> f64 {
    let (a, b) = (clamp_share(a), clamp_share(b));
    a * libm::log(a / b) + (1.0 - a) * libm::log((1.0 - a) / (1.0 - b))
}

impl Plan {
    /// n(δ): the candidate's requests until an `excess` of failures is found, in the median; in 95 of 100 cases within twice as many. `weight`:
    /// the share of E that failed requests have.
    #[must_use]
    pub fn requests_to_find(&self, excess: f64, tolerance: f64, false_alarm: f64, weight: f64) -> f64 {
        let null = Null { ratio: ERROR_RATIO, margin: tolerance };
        let needed = libm::log(STEPS.len() as f64 / (false_alarm * weight * FROM_THE_START));
        self.phi * needed / divergence(self.stable + excess, null.at(self.stable)) * (1.0 + self.ratio)
    }

    /// The candidate's requests until an excess above `margin` is excluded.
    #[must_use]
    pub fn requests_to_exclude(&self, margin: f64) -> f64 {
        self.phi * ENOUGH / divergence(self.stable, self.stable + margin) * (1.0 + self.ratio)
    }
}
