//! How long a step has to be (§12): requests until an excess is found, and until one is excluded.

use super::exclusion::ENOUGH;
use super::judge::ERROR_SHARE;
use super::objective::{ERROR_RATIO, SCORE_SHARE};
use super::sequential::{FROM_THE_START, Null, STEPS, clamp_share};
use super::{ObjectiveKind, Settings};

/// The excess of failures that forecasts speak of: one point.
const EXCESS: f64 = 0.01;
/// Stable's share of failures where nothing is known of it.
const STABLE: f64 = 0.001;

/// What a step needs, as far as that can be told before anything is measured: stable fails 0.1% of its requests, and failures come alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// The candidate's requests until one point more failures is found, in the median; in 95 of 100 cases within twice as many.
    pub to_find: f64,
    /// Its requests until one point more is excluded.
    pub to_exclude: f64,
}

/// The forecast for a candidate with this share of the traffic, in percent; `None` where failures are no objective, or nobody is left to compare
/// with.
#[must_use]
pub fn forecast(settings: &Settings, weight: f64) -> Option<Forecast> {
    let errors = |kind: ObjectiveKind| matches!(kind, ObjectiveKind::ErrorRate { .. });
    let (errors, latencies): (Vec<_>, Vec<_>) = settings.objectives.iter().partition(|objective| errors(objective.kind));
    if errors.is_empty() || !(1.0..100.0).contains(&weight) {
        return None;
    }
    let share = if latencies.is_empty() { 1.0 } else { ERROR_SHARE } / errors.len() as f64 * (1.0 - SCORE_SHARE.1);
    let plan = Plan { stable: STABLE, phi: 1.0, ratio: weight / (100.0 - weight) };
    Some(Forecast {
        to_find: plan.requests_to_find(EXCESS, settings.tolerance, settings.false_alarm, share),
        to_exclude: plan.requests_to_exclude(EXCESS),
    })
}

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
