//! The candidate judged alone, where stable does not stay to be compared with (§8, "Absolute or relative?").

use super::{ObjectiveMemory, Surroundings};
use crate::decide::analysis::ObjectiveKind;
use crate::decide::analysis::blocks::{ClosedBlock, side};
use crate::decide::analysis::component::whole;
use crate::decide::analysis::numbers::{parse, print};
use crate::decide::analysis::sequential::{Clock, Dispersion, Mixture, is_at_rest, log_factors_alone};
use crate::decide::analysis::state::{Numbers, Unreadable};

/// The candidate judged alone, against a fixed share.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Alone {
    mixture: Mixture,
    /// Since its E was last at or below 1.
    pub total: u64,
    /// Bad ones of these.
    pub bad: u64,
    /// Since the start.
    pub bad_since_start: u64,
}

impl Alone {
    /// ln E of the candidate alone.
    pub fn ln_e(&self, clock: &Clock) -> f64 {
        self.mixture.ln_e(clock)
    }

    /// Without evidence; what was bad since the start stays known.
    pub fn begin_anew(&mut self) {
        *self = Self { bad_since_start: self.bad_since_start, ..Self::default() };
    }

    pub(super) fn write(&self) -> Numbers {
        let counts = [self.total, self.bad, self.bad_since_start].map(|count| count as f64);
        print(&[self.mixture.0.as_slice(), &counts].concat())
    }

    pub(super) fn read(numbers: &Numbers) -> Result<Self, Unreadable> {
        let all: [f64; 9] = parse(numbers, "alone")?;
        let (mut mixture, mut counts) = (Mixture::default(), [0; 3]);
        mixture.0.iter_mut().zip(all).for_each(|(ln_a, number)| *ln_a = number);
        counts.iter_mut().zip(&all[6..]).for_each(|(count, number)| *count = whole(*number));
        let [total, bad, bad_since_start] = counts;
        Ok(Self { mixture, total, bad, bad_since_start })
    }
}

impl ObjectiveMemory {
    /// A block of the candidate alone: warm pods, against q (§8, "Absolute or relative?").
    pub fn step_alone(&mut self, block: &ClosedBlock, before: &Clock, gamma: f64, around: &Surroundings) {
        let warm_up = self.warm_up_seconds(around.warm_up_seconds);
        if is_at_rest(self.alone.ln_e(before)) {
            (self.alone.total, self.alone.bad) = (0, 0);
        }
        let mut factors = [0.0; 6];
        if let Some(component) = self.components.first() {
            let sides = component.bound.map_or_else(|| block.failures(Some(warm_up)), |bound| block.slower(warm_up, bound));
            let candidate = side(&sides.candidate);
            let past = component.past.map_or(0.0, |past| past.upper_share(component.phi()));
            let limit = match self.objective.kind {
                ObjectiveKind::ErrorRate { at_most } => 2.0 * at_most.max(past) + 0.01,
                ObjectiveKind::Latency { percentile, .. } => 2.0 * (1.0 - percentile / 100.0).max(past) + 0.02,
            };
            let phi = component.phi();
            let dispersion = Dispersion { stable: phi, candidate: phi * around.load_factor(candidate.pods) };
            if candidate.total > 0 && limit < 0.98 {
                factors = log_factors_alone(candidate.bad as f64, candidate.total as f64, limit, dispersion, around.parts);
            }
            self.alone.total = self.alone.total.saturating_add(candidate.total);
            self.alone.bad = self.alone.bad.saturating_add(candidate.bad);
            self.alone.bad_since_start = self.alone.bad_since_start.saturating_add(candidate.bad);
        }
        self.alone.mixture.step(&factors, gamma);
    }
}
