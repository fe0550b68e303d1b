//! What is waited for, in words.

use super::{PATIENCE_SECONDS, Shown};
use crate::decide::analysis::assessment::{EvidenceCounts, PendingReason};
use crate::decide::analysis::judge::Judge;
use crate::decide::analysis::objective::ObjectiveMemory;
use crate::decide::analysis::sentences;
use crate::decide::analysis::step::Step;

impl Judge {
    pub(super) fn waiting(&self, reason: PendingReason, memory: &ObjectiveMemory, shown: &Shown, step: &Step<'_>) -> String {
        let situation = step.situation;
        let (candidate, stable) = (situation.candidate, situation.stable);
        let last = self.last.as_ref();
        let why = last.and_then(|last| last.why.as_deref()).map_or_else(String::new, |why| format!(" ({why})"));
        let seconds = step.elapsed().map_or(0.0, |passed| passed.as_secs_f64());
        let heard = self.heard_for(step).as_secs_f64();
        match reason {
            PendingReason::SourceDown => format!("no pod answers with metrics{why}; no evidence either way"),
            PendingReason::Silent => {
                let (answered, pods) = last.map_or((0, 0), |last| (last.candidate_answered, last.candidate_pods));
                format!("{answered} of {pods} ready pods of {candidate} answer with metrics{why}")
            }
            PendingReason::NoCommonBuckets => format!("the latency histograms of {candidate} and {stable} have no bound in common"),
            PendingReason::UnknownConvention => {
                format!(
                    "the metrics of {candidate} fit no known convention: {}",
                    last.and_then(|last| last.missing.as_deref()).unwrap_or_default()
                )
            }
            PendingReason::NoTraffic => format!("no request has reached {candidate} in {}", sentences::duration(heard)),
            PendingReason::NoControl => {
                format!("no request has reached {stable} in {}, so there is nothing to compare with", sentences::duration(heard))
            }
            PendingReason::StableBroken => {
                let counts = EvidenceCounts { bad: memory.step.stable_bad, total: memory.step.stable };
                let word = if shown.bound.is_none() { "fails" } else { "is slow" };
                format!("stable {word} {} too; no evidence either way", sentences::percent(&counts))
            }
            PendingReason::OnePod => "nearly all of the harm comes from one pod; the others decide".to_owned(),
            PendingReason::AlarmRising => {
                format!(
                    "{} {}",
                    sentences::compared(&shown.comparison(situation)),
                    sentences::evidence(libm::exp(step.ln_e), libm::exp(step.ln_limit))
                )
            }
            PendingReason::WarmingUp => format!(
                "every pod of {candidate} is younger than {}",
                sentences::duration(memory.warm_up_seconds(self.settings.warm_up_seconds) as f64)
            ),
            PendingReason::Soaking => {
                let counts = EvidenceCounts { bad: memory.step.candidate_bad, total: memory.step.candidate };
                let bound = memory.components.first().and_then(|component| component.bound);
                format!(
                    "{} so far; soaking for {}",
                    sentences::served(counts, bound),
                    sentences::duration(step.left(situation.soak_seconds).max(self.unmeasured_seconds(step)))
                )
            }
            PendingReason::TooFewRequests => {
                let needed = memory.requests_needed(situation.next_weight).unwrap_or_default();
                sentences::too_few(memory.step.served, self.settings.min_requests, needed, PATIENCE_SECONDS as f64, seconds)
            }
            PendingReason::Saturated | PendingReason::NotYetExcluded => format!(
                "{}; more requests, or {}",
                sentences::excluded(memory.excluded()),
                sentences::duration(
                    step.left(situation.soak_seconds).max((PATIENCE_SECONDS as f64 - memory.step.enough_seconds).max(0.0).ceil())
                )
            ),
        }
    }
}
