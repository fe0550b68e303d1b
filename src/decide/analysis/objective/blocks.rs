//! What a closed block tells an objective's components (§6).

use std::collections::BTreeMap;

use super::{ERROR_RATIO, ObjectiveMemory, Surroundings};
use crate::decide::analysis::ObjectiveKind;
use crate::decide::analysis::blocks::{ClosedBlock, Side, Sides, counts, side};
use crate::decide::analysis::calibration::add;
use crate::decide::analysis::component::{Block, Component, FORGET_ABOVE, FORGET_ABOVE_BLOCKS};
use crate::decide::analysis::score::{Scores, scores};
use crate::decide::analysis::sequential::{Clock, is_at_rest};

/// Scores say nothing where a pod of the candidate carries so much more than one of stable.
const SCORE_LOAD: f64 = 1.5;
/// Nor where it has one pod: what befalls that pod, block after block, is one incident and not many.
const FEWEST_SCORED: usize = 2;

impl ObjectiveMemory {
    /// A closed block of both revisions.
    pub fn step(&mut self, block: &ClosedBlock, before: &Clock, gamma: f64, around: &Surroundings) {
        let warm_up = self.warm_up_seconds(around.warm_up_seconds);
        match self.objective.kind {
            ObjectiveKind::ErrorRate { .. } => self.step_errors(block, before, gamma, around, warm_up),
            ObjectiveKind::Latency { .. } => self.step_latency(block, before, gamma, around, warm_up),
        }
    }

    fn step_errors(&mut self, block: &ClosedBlock, before: &Clock, gamma: f64, around: &Surroundings, warm_up: i64) {
        let (sides, cold) = block.errors(warm_up);
        let anew = [0, 1].map(|index| self.tally(index, &sides, before));
        let [component, score] = self.components.as_mut_slice() else { return };
        let requests = around.block(&sides, block.seconds, component);
        let requests = Block { cold, anew: anew[0], ..requests };
        let (expected, margin) = (component.expected(), component.null.margin + requests.differences);
        let usual = |share: f64| ERROR_RATIO * share + margin;
        component.step(&requests, gamma);
        let Scores { counts, stable } = scores(&sides.stable, &sides.candidate, expected, usual);
        let alike = load(side(&sides.candidate)) <= SCORE_LOAD * load(side(&sides.stable));
        let comparable = !cold && alike && sides.candidate.len() >= FEWEST_SCORED;
        let forget_above = FORGET_ABOVE_BLOCKS * counts.stable_total.max(1.0);
        score.step(&Block { counts, anew: anew[1], comparable, differences: 0.0, forget_above, cold: false, ..requests }, gamma);
        for (pod, points) in stable {
            add(&mut self.scored, pod, (1.0, points));
        }
    }

    fn step_latency(&mut self, block: &ClosedBlock, before: &Clock, gamma: f64, around: &Surroundings, warm_up: i64) {
        let all = block.failures(None);
        let (all_stable, all_candidate) = (load(side(&all.stable)), load(side(&all.candidate)));
        for index in 0..self.components.len() {
            let Some(bound) = self.components[index].bound else { continue };
            let sides = block.slower(warm_up, bound);
            let anew = self.tally(index, &sides, before);
            let component = &mut self.components[index];
            // Latency follows the load: a candidate that works harder than stable ever did cannot be compared.
            let most = match component.past {
                Some(past) => 1.2 * all_stable.max(past.load * block.seconds),
                None => 1.5 * all_stable,
            };
            let requests = around.block(&sides, block.seconds, component);
            component.step(&Block { anew, comparable: all_candidate <= most, ..requests }, gamma);
        }
    }

    /// Counts by pod since the component's E was last at or below 1: what a pod did before that has been answered for. Whether it was just now.
    fn tally(&mut self, index: usize, sides: &Sides<'_>, before: &Clock) -> bool {
        if self.pods.len() <= index {
            self.pods.resize_with(index + 1, BTreeMap::new);
        }
        let anew = self.components.get(index).is_none_or(|component| is_at_rest(component.ln_e(before)));
        if anew {
            self.pods[index].clear();
        }
        for pod in &sides.candidate {
            let sum = self.pods[index].entry(pod.pod.to_owned()).or_default();
            *sum = (sum.0.saturating_add(pod.total), sum.1.saturating_add(pod.bad));
        }
        anew
    }
}

/// Requests per pod.
fn load(side: Side) -> f64 {
    side.total as f64 / side.pods.max(1) as f64
}

impl Surroundings {
    /// A block of requests as a component sees it.
    fn block(&self, sides: &Sides<'_>, seconds: f64, component: &Component) -> Block {
        let counts = counts(sides);
        let (stable_pods, candidate_pods) = (sides.stable.len(), sides.candidate.len());
        let differences = component.calibration.differences().filter(|_| self.parts.pod_differences);
        Block {
            counts,
            shown: counts,
            anew: false,
            seconds,
            cold: false,
            load_factor: self.load_factor(candidate_pods as u64),
            comparable: true,
            differences: differences.map_or(0.0, |differences| differences.margin(candidate_pods as f64, stable_pods as f64)),
            forget_above: FORGET_ABOVE,
            parts: self.parts,
        }
    }

    /// L: by how much more a pod of the candidate carries than one of stable did before the rollout.
    pub(super) fn load_factor(&self, candidate_pods: u64) -> f64 {
        (self.weight / 100.0 * f64::from(self.stable_pods) / candidate_pods.max(1) as f64).max(1.0)
    }
}
