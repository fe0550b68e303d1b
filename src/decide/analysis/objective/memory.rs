//! An objective's memory in status, and back.

use std::collections::BTreeMap;

use super::{Alone, Before, ERROR_RATIO, ObjectiveMemory};
use crate::decide::analysis::calibration::Calibration;
use crate::decide::analysis::component::{Component, whole};
use crate::decide::analysis::increments::PodCount;
use crate::decide::analysis::numbers::{parse_any, parse_counts, print};
use crate::decide::analysis::state::{Numbers, ObjectiveState, Unreadable};
use crate::decide::analysis::step_counts::StepCounts;
use crate::decide::analysis::{Objective, ObjectiveKind};

/// The most bounds that are remembered until the edges are chosen.
const MOST_BOUNDS: usize = 60;

impl ObjectiveMemory {
    /// To status.
    pub fn write(&self, alone: bool) -> ObjectiveState {
        let before = &self.before;
        let [total, failed, timed] = [before.count.total, before.count.failed, before.count.timed].map(|count| count as f64);
        let known = if before.known { 1.0 } else { 0.0 };
        let calibrations = self.components.iter().map(|component| component.calibration.write(component.bound));
        ObjectiveState {
            name: self.objective.name.clone(),
            step: Some(self.step.write()),
            before: Some(print(&[total, failed, timed, before.seconds, before.pod_seconds, known])),
            slower: Some(self.write_slower()).filter(|slower| !slower.0.is_empty()),
            alone: alone.then(|| self.alone.write()),
            score_share: (self.score_share > 0.0).then(|| print(&[self.score_share])),
            components: self.components.iter().map(Component::write).collect(),
            calibrations: if self.components.is_empty() { self.kept.clone() } else { calibrations.collect() },
        }
    }

    fn write_slower(&self) -> Numbers {
        let ObjectiveKind::Latency { at_most_milliseconds, .. } = self.objective.kind else { return print(&[]) };
        let mut bounds: Vec<_> = self.before.count.slower.iter().map(|(bound, count)| (*bound as f64, *count as f64)).collect();
        let distance = |bound: f64| (libm::log(bound) - libm::log(at_most_milliseconds * 1000.0)).abs();
        bounds.sort_by(|a, b| distance(a.0).total_cmp(&distance(b.0)));
        bounds.truncate(MOST_BOUNDS);
        print(&bounds.into_iter().flat_map(|(bound, count)| [bound, count]).collect::<Vec<_>>())
    }

    /// From status; `running`: the memory that goes on, whose unfinished minutes are kept.
    pub fn read(objective: &Objective, tolerance: f64, state: &ObjectiveState, running: Option<&Self>) -> Result<Self, Unreadable> {
        const WHAT: &str = "objective";
        let fresh = Self::new(objective, tolerance, &[]);
        let Some(step) = &state.step else { return Err(Unreadable { what: WHAT }) };
        let step = StepCounts::read(step, WHAT)?;
        let [total, failed, timed, seconds, pod_seconds, known] =
            state.before.as_ref().map_or(Ok([0.0; 6]), |before| parse_counts(before, WHAT))?;
        let slower = state.slower.as_ref().map_or_else(|| Ok(Vec::new()), |slower| parse_any(slower, WHAT))?;
        let slower: BTreeMap<u64, u64> = slower.chunks_exact(2).map(|pair| (whole(pair[0]), whole(pair[1]))).collect();
        let count = PodCount { total: whole(total), failed: whole(failed), timed: whole(timed), slower };
        let alone = state.alone.as_ref().map_or(Ok(Alone::default()), Alone::read)?;
        let score_share = state.score_share.as_ref().map_or(Ok([0.0]), |share| parse_counts(share, WHAT))?[0].min(1.0);
        let mut components = Vec::new();
        for (index, component) in state.components.iter().enumerate() {
            let calibration = state.calibrations.get(index).ok_or(Unreadable { what: WHAT })?;
            let running = running.and_then(|running| running.components.get(index));
            let calibration = running.map_or_else(|| Calibration::read(calibration), |running| running.calibration.rounded(calibration))?;
            let latency = matches!(objective.kind, ObjectiveKind::Latency { .. });
            if component.bound_microseconds.is_some() != latency || !latency && index > 1 {
                return Err(Unreadable { what: WHAT });
            }
            let ratio = if !latency && index == 0 { ERROR_RATIO } else { 1.0 };
            components.push(Component::read(component, ratio, calibration)?);
        }
        if fresh.components.len() > components.len() {
            return Err(Unreadable { what: WHAT });
        }
        let kept = if components.is_empty() { state.calibrations.clone() } else { Vec::new() };
        let before = Before { count, seconds, pod_seconds, known: known > 0.0 };
        let (pods, scored, minutes) =
            running.map(|running| (running.pods.clone(), running.scored.clone(), running.minutes.clone())).unwrap_or_default();
        Ok(Self { objective: objective.clone(), step, components, alone, pods, score_share, scored, before, minutes, kept })
    }
}
