//! What would change the verdict: how many of the next requests have to be bad.

use super::component::{Block, FORGET_ABOVE, whole};
use super::judge::Judge;
use super::objective::ObjectiveMemory;
use super::sequential::Counts;

impl Judge {
    /// How many of the requests to the candidate in the next two blocks have to be bad, on this objective, to send it back: (bad ones, requests).
    /// No block decides alone. One is taken to be as large as those of this step were in the mean, of which there were `blocks`. `None`: not
    /// even if all of them are, or nothing was counted yet. Without pods' scores, which can only make it sooner.
    #[must_use]
    pub fn bad_until_back(&self, objective: &str, blocks: f64) -> Option<(u64, u64)> {
        let index = self.objectives.iter().position(|memory| memory.objective.name == objective)?;
        let step = &self.objectives[index].step;
        let mean = |count: u64| (count as f64 / blocks.max(1.0)).round();
        let (requests, stable_total) = (mean(step.candidate), mean(step.stable));
        let stable_bad = mean(step.stable_bad).min(stable_total);
        if requests < 1.0 || stable_total < 1.0 {
            return None;
        }
        let fails = |bad: u64| {
            let counts = Counts { stable_total, stable_bad, candidate_total: requests, candidate_bad: bad as f64 };
            self.with(index, counts).with(index, counts).ln_e() >= -libm::log(self.settings.false_alarm)
        };
        let (mut low, mut high) = (0, whole(requests));
        if !fails(high) {
            return None;
        }
        // One more bad request never lowers the evidence.
        while low + 1 < high {
            let middle = u64::midpoint(low, high);
            if fails(middle) { high = middle } else { low = middle }
        }
        Some((2 * high, 2 * whole(requests)))
    }

    /// The judge after one more block in which only this objective's first component has something to say.
    fn with(&self, index: usize, counts: Counts) -> Self {
        let mut next = self.clone();
        let seconds = self.settings.interval_seconds as f64;
        let gamma = next.clock.advance(seconds, self.settings.parts);
        let block = |counts, comparable| Block {
            counts,
            shown: counts,
            anew: false,
            seconds,
            cold: false,
            load_factor: 1.0,
            comparable,
            differences: 0.0,
            forget_above: FORGET_ABOVE,
            parts: self.settings.parts,
        };
        for (at, memory) in next.objectives.iter_mut().enumerate() {
            let ObjectiveMemory { components, .. } = memory;
            for (place, component) in components.iter_mut().enumerate() {
                let says = at == index && place == 0;
                component.step(&block(if says { counts } else { Counts::default() }, says), gamma);
            }
        }
        next
    }
}
