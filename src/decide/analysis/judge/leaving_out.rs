//! When one sick pod is left out, and when it comes back in (§7).

use jiff::Timestamp;

use super::Judge;
use crate::decide::analysis::component::Component;
use crate::decide::analysis::increments::Increment;
use crate::decide::analysis::objective::ObjectiveMemory;
use crate::decide::analysis::one_pod::{Fate, OnePod, one_sick_pod};
use crate::decide::analysis::sequential::Clock;

impl Judge {
    /// The pod that is left out, whose requests are watched apart.
    pub(super) fn left_out(&mut self, increments: &[&Increment<'_>], at: Timestamp) -> Option<String> {
        let pod = self.pod_left_out()?.pod.clone()?;
        let bound = self.leading_component().and_then(|(_, _, component)| component.bound);
        let one = self.one_pod.as_mut()?;
        if let Some(increment) = increments.iter().find(|increment| increment.pod == pod) {
            let count = &increment.count;
            let slower = |bound: u64| (count.timed, count.slower.get(&bound).copied().unwrap_or_default());
            let (total, bad) = bound.map_or((count.total, count.failed), slower);
            one.add(at, total, bad);
        }
        Some(pod)
    }

    /// The first crossing of the limit: is it one pod's doing? And what becomes of a pod that was left out.
    pub(super) fn look_at_one_pod(&mut self, at: Timestamp) {
        if !self.settings.parts.one_sick_pod {
            return;
        }
        let ln_e = self.ln_e();
        match &mut self.one_pod {
            Some(one) if one.pod.is_some() && one.fate(ln_e, at) == Fate::Recovers => {
                one.back(at);
                (self.clock, self.clock_alone) = (Clock::default(), Clock::default());
                self.objectives.iter_mut().for_each(ObjectiveMemory::begin_anew);
            }
            None if ln_e >= -libm::log(self.settings.false_alarm) => {
                let Some((objective, index, component)) = self.leading_component() else { return };
                let Some(pods) = self.objectives[objective].pods.get(index) else { return };
                let limit = component.null.at(component.expected());
                let Some(pod) = one_sick_pod(limit, pods.iter().map(|(pod, (total, bad))| (pod.as_str(), *total, *bad))) else { return };
                let seen = [pods[pod].1, pods.values().map(|(_, bad)| *bad).sum()];
                self.one_pod = Some(OnePod::new(pod, at, ln_e, limit, seen));
                self.paired.drop_pending();
                self.single.drop_pending();
            }
            _ => {}
        }
    }

    /// The pod that is left out, if one is.
    pub(in crate::decide::analysis) fn pod_left_out(&self) -> Option<&OnePod> {
        self.one_pod.as_ref().filter(|one| one.pod.is_some())
    }

    fn leading_component(&self) -> Option<(usize, usize, &Component)> {
        let objective = self.leading_objective()?;
        let (index, component) = self.objectives[objective].leading(&self.clock)?;
        Some((objective, index, component))
    }
}
