//! The verdict (§8): Fail on evidence, Pass on evidence, else Pending with what is missing.
//!
//! Worst news first. No evidence is not good evidence: while the source is down or the candidate silent nothing passes,
//! and a step's deadline does only what `onNoEvidence` says.

mod traffic;
mod waiting;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::assessment::{Assessment, EvidenceCounts, FailReason, ObjectiveVerdict, PendingReason, Verdict};
use super::component::{Component, whole};
use super::exclusion::{Exclusion, MARGINS};
use super::judge::Judge;
use super::objective::ObjectiveMemory;
use super::one_pod::{Fate, OnePod};
use super::planning::Plan;
use super::sentences;
use super::step::Step;
use super::{ObjectiveKind, OnNoEvidence, Situation};

/// Bad requests without which the evidence does not fail a candidate.
const LEAST_BAD: u64 = 3;
/// Expected harm that a promotion may risk, as a share of all requests.
const HARM_ERRORS: f64 = 0.005;
const HARM_SLOW: f64 = 0.02;
/// The longest wait for that evidence when the request count is there and no alarm rises, in seconds that were measured.
const PATIENCE_SECONDS: i64 = 300;
/// A deadline decides nothing before it has been measured in a row for as long as the step's soak, this at most: an operator that was away,
/// or has just started, has missed evidence that was there.
const LOOK_SECONDS: i64 = 60;
/// An alarm that rises at the end of the bake prolongs it by as much again, by this at least: a bake of a few seconds holds one measurement, and
/// the next one decides.
const PROLONGED_SECONDS: i64 = 60;
/// Plainly broken: so many requests of two scrapes, and this share of them failed, where stable fails less than that.
const BROKEN_REQUESTS: u64 = 20;
const BROKEN_SHARE: f64 = 0.9;
const STABLE_BROKEN_SHARE: f64 = 0.45;

impl Judge {
    /// The verdict as of `situation.now`.
    #[must_use]
    pub fn judge(&self, situation: &Situation<'_>) -> Assessment {
        let step = self.step(situation);
        let objectives: Vec<_> = (0..self.objectives.len()).map(|index| self.objective_verdict(index, &step)).collect();
        let (mut verdict, mut saturated) = (overall(&objectives, &step), None);
        if verdict == Verdict::Pass
            && let Some(sentence) = self.saturated(&step)
        {
            (verdict, saturated) = (Verdict::Pending(PendingReason::Saturated), Some(sentence));
        }
        let decisive = objectives.iter().find(|objective| objective.verdict == verdict).map(|objective| objective.sentence.clone());
        let why = saturated.or(decisive).unwrap_or_else(|| without_objective(&step, verdict));
        let at = sentences::weight(situation.weight);
        let sentence = match verdict {
            Verdict::Fail(_) => format!("rolled back at {at}: {why}"),
            Verdict::Pass => format!("passed: {why}"),
            Verdict::Pending(_) => format!("holding at {at}: {why}"),
        };
        Assessment { verdict, objectives, e: libm::exp(step.ln_e), limit: 1.0 / self.settings.false_alarm, sentence, wake: step.wake() }
    }

    /// What the candidate is short of, although all objectives hold. It never sends it back, and goes on at the deadline only if `onNoEvidence`
    /// says so.
    fn saturated(&self, step: &Step<'_>) -> Option<String> {
        let sentence = self.saturation.sentence(step.situation, &self.settings)?;
        match step.situation.on_no_evidence {
            OnNoEvidence::Promote if step.deadline_passed() => None,
            _ if step.deadline_passed() => Some(format!("{sentence}; past its deadline, it goes on when that ends")),
            _ => Some(format!("{sentence}; no step is taken while that lasts")),
        }
    }

    fn step<'a>(&self, situation: &'a Situation<'a>) -> Step<'a> {
        // Without objectives nothing is ever scraped, so that no scrape could tell of the new weight.
        let known = self.objectives.is_empty() || situation.weight_since == self.step_since;
        let since = situation.weight_since.filter(|_| known);
        let looks = SignedDuration::from_secs(situation.soak_seconds.min(LOOK_SECONDS)).max(self.chance());
        let looked = self.looking.and_then(|looking| looking.since.saturating_add(looks).ok());
        let deadline = situation.deadline.zip(looked).map(|(deadline, looked)| deadline.max(looked));
        // The soak starts again when a pod that was left out comes back in.
        let back = self.one_pod.as_ref().filter(|one| one.pod.is_none()).map(|one| one.since);
        let since = since.map(|since| back.map_or(since, |back| since.max(back)));
        let (ln_e, leading) = self.ln_e_and_leading();
        Step { situation, since, deadline, ln_e, ln_limit: -libm::log(self.settings.false_alarm), leading }
    }

    fn objective_verdict(&self, index: usize, step: &Step<'_>) -> ObjectiveVerdict {
        let memory = &self.objectives[index];
        let shown = self.shown(memory);
        let (verdict, sentence) = self.decide(index, memory, &shown, step);
        ObjectiveVerdict {
            name: memory.objective.name.clone(),
            verdict,
            e: libm::exp(memory.ln_e(&self.clock, self.alone_clock())),
            candidate: shown.candidate,
            stable: shown.stable.unwrap_or_default(),
            sentence,
        }
    }

    fn decide(&self, index: usize, memory: &ObjectiveMemory, shown: &Shown, step: &Step<'_>) -> (Verdict, String) {
        let leads = step.leading == Some(index);
        if leads && let Some((one, fate)) = self.out_and_fate(step) {
            let name = step.name_of(one.pod.as_deref().unwrap_or_default());
            let [own, all] = one.seen;
            let one_pods = format!("{} of {} {} come from one pod, {name}", sentences::grouped(own), sentences::grouped(all), shown.word());
            match fate {
                Fate::Waits | Fate::Recovers => {
                    return (Verdict::Pending(PendingReason::OnePod), format!("{one_pods}; deciding by {}", sentences::clock(one.until())));
                }
                Fate::StaysSick => return (Verdict::Fail(FailReason::OnePod), format!("{one_pods}, and it goes on failing")),
                Fate::OthersToo => {}
            }
        }
        if leads && step.ln_e >= step.ln_limit && shown.bad_since_start >= LEAST_BAD {
            let text = format!(
                "{} {}",
                sentences::compared(&shown.comparison(step.situation)),
                sentences::evidence(libm::exp(step.ln_e), libm::exp(step.ln_limit))
            );
            return (Verdict::Fail(FailReason::Worse), text);
        }
        if let Some(counts) = self.broken(memory) {
            let comparison = sentences::Comparison {
                bound: None,
                candidate_counts: counts.0,
                stable_counts: counts.1,
                ..shown.comparison(step.situation)
            };
            return (Verdict::Fail(FailReason::Broken), format!("{} within two measurements", sentences::compared(&comparison)));
        }
        let Some(reason) = self.waits_for(memory, step) else {
            return (Verdict::Pass, Self::passed(memory, step));
        };
        let why = self.waiting(reason, memory, shown, step);
        if step.deadline_passed() && reason.lacks_evidence() {
            return match step.situation.on_no_evidence {
                OnNoEvidence::RollBack => (Verdict::Fail(FailReason::NoEvidence), format!("{why}; the deadline passed without evidence")),
                OnNoEvidence::Promote if !memory.mostly_bad() => {
                    (Verdict::Pass, format!("{why}; promoted without evidence, as onNoEvidence says"))
                }
                OnNoEvidence::Promote | OnNoEvidence::Hold => {
                    (Verdict::Pending(reason), format!("{why}; past its deadline, it goes on when evidence comes"))
                }
            };
        }
        (Verdict::Pending(reason), why)
    }

    /// The pod that is left out, and what becomes of it.
    fn out_and_fate(&self, step: &Step<'_>) -> Option<(&OnePod, Fate)> {
        let one = self.pod_left_out()?;
        Some((one, one.fate(step.ln_e, step.situation.now)))
    }

    /// What stands between this objective and its Pass.
    fn waits_for(&self, memory: &ObjectiveMemory, step: &Step<'_>) -> Option<PendingReason> {
        let first = self.first_obstacle(memory, step);
        let Some(elapsed) = step.elapsed() else { return Some(first.unwrap_or(PendingReason::Soaking)) };
        let soak = SignedDuration::from_secs(step.situation.soak_seconds);
        let unheard = matches!(first, Some(PendingReason::SourceDown | PendingReason::Silent));
        let rising = step.rising() || memory.mostly_bad() || self.pod_left_out().is_some();
        // Patience is for evidence that comes slowly, not for a comparison that cannot be made.
        let compared = !self.lacks_control(memory) && !memory.stable_broken();
        let passes = if step.situation.baking {
            elapsed >= soak
                && !unheard
                && self.unmeasured_seconds(step) <= 0.0
                && !memory.mostly_bad()
                && (!rising || elapsed >= soak.saturating_add(soak.max(SignedDuration::from_secs(PROLONGED_SECONDS))))
        } else {
            let harmless = !self.settings.parts.promotion_evidence
                || memory.residual_harm(step.situation.next_weight)
                || (compared && memory.step.enough_seconds >= PATIENCE_SECONDS as f64);
            elapsed >= soak && !unheard && !rising && memory.step.served >= self.settings.min_requests && harmless
        };
        (!passes).then(|| first.unwrap_or(PendingReason::NotYetExcluded))
    }

    fn first_obstacle(&self, memory: &ObjectiveMemory, step: &Step<'_>) -> Option<PendingReason> {
        let last = self.last.as_ref();
        let latency = matches!(memory.objective.kind, ObjectiveKind::Latency { .. });
        let soak = SignedDuration::from_secs(step.situation.soak_seconds);
        let checks = [
            (PendingReason::SourceDown, self.source_down(step.situation.now)),
            (PendingReason::Silent, self.silent()),
            (PendingReason::NoCommonBuckets, latency && last.is_some_and(|last| last.no_common_buckets)),
            (PendingReason::UnknownConvention, last.is_some_and(|last| last.missing.is_some())),
            (PendingReason::NoTraffic, self.heard_for(step) >= self.chance() && memory.step.candidate == 0 && self.served_nothing(memory)),
            (PendingReason::NoControl, self.lacks_control(memory)),
            (PendingReason::StableBroken, memory.stable_broken()),
            (PendingReason::OnePod, self.pod_left_out().is_some()),
            (PendingReason::AlarmRising, step.rising() || memory.mostly_bad()),
            (PendingReason::WarmingUp, self.is_warming_up(memory, step)),
            (PendingReason::Soaking, step.elapsed().is_none_or(|elapsed| elapsed < soak)),
            (PendingReason::Soaking, self.unmeasured_seconds(step) > 0.0),
            (PendingReason::TooFewRequests, memory.step.served < self.settings.min_requests),
            (PendingReason::NotYetExcluded, !memory.residual_harm(step.situation.next_weight)),
        ];
        checks.into_iter().find(|(_, holds)| *holds).map(|(reason, _)| reason)
    }

    /// The first block of a step begins one interval after its weight and ends at a later scrape: before that, nothing can have been counted.
    fn chance(&self) -> SignedDuration {
        SignedDuration::from_secs(3 * self.settings.interval_seconds)
    }

    /// How long in this step the candidate's pods have answered without a break: what happened before that nobody knows.
    fn heard_for(&self, step: &Step<'_>) -> SignedDuration {
        let heard = self.last.as_ref().and_then(|last| last.heard_since);
        step.since.zip(heard).map_or(SignedDuration::ZERO, |(since, heard)| step.situation.now.duration_since(since.max(heard)))
    }

    /// Seconds for which a bake has to be measured still. One block cannot fail a candidate, whatever is in it (§5, CAP): a bake that is shorter
    /// than three ends with the third. And an operator that has just started knows nothing of the bake before it: it looks for itself first.
    /// Before the bake, and without one (0 seconds), there is nothing to measure.
    fn unmeasured_seconds(&self, step: &Step<'_>) -> f64 {
        let (three_blocks, soak) = (4 * self.settings.interval_seconds, step.situation.soak_seconds);
        if soak == 0 || !step.situation.baking {
            return 0.0;
        }
        let looked = self.looking.map_or(0.0, |looking| step.situation.now.duration_since(looking.since).as_secs_f64());
        let looks = three_blocks.max(soak.min(LOOK_SECONDS)) as f64;
        step.left(three_blocks).max((looks - looked).ceil())
    }

    /// Latency counts nothing while pods are young; what the candidate served then is known from the errors' count.
    fn served_nothing(&self, memory: &ObjectiveMemory) -> bool {
        let latency = matches!(memory.objective.kind, ObjectiveKind::Latency { .. });
        !latency || self.recent.iter().all(|recent| recent.candidate.values().all(|(total, _)| *total == 0))
    }

    /// Only the candidate has served, and it is not judged alone.
    fn lacks_control(&self, memory: &ObjectiveMemory) -> bool {
        memory.step.stable == 0 && memory.step.candidate > 0 && self.alone_clock().is_none()
    }

    fn is_warming_up(&self, memory: &ObjectiveMemory, step: &Step<'_>) -> bool {
        let situation = step.situation;
        let age = SignedDuration::from_secs(memory.warm_up_seconds(self.settings.warm_up_seconds));
        let is_warm = |since: Timestamp| situation.now.duration_since(since) > age;
        let mut candidates = situation.pods.iter().filter(|pod| pod.ready && pod.revision == situation.candidate);
        !candidates.any(|pod| pod.ready_since.is_some_and(is_warm))
    }

    /// Fail/Broken: the candidate's counts and stable's over the last two scrapes with traffic.
    fn broken(&self, memory: &ObjectiveMemory) -> Option<(EvidenceCounts, Option<EvidenceCounts>)> {
        let off = !self.settings.parts.broken_rule;
        if off || matches!(memory.objective.kind, ObjectiveKind::Latency { .. }) || self.recent.len() < 2 {
            return None;
        }
        let (mut pods, mut stable) = (BTreeMap::<&str, EvidenceCounts>::new(), EvidenceCounts::default());
        for recent in &self.recent {
            for (pod, (total, failed)) in &recent.candidate {
                pods.entry(pod).or_default().add(*failed, *total);
            }
            stable.add(recent.stable.1, recent.stable.0);
        }
        let mut candidate = EvidenceCounts::default();
        for pod in pods.values() {
            candidate.add(pod.bad, pod.total);
        }
        let serving = pods.values().filter(|pod| pod.total > 0).count();
        let failing = pods.values().filter(|pod| pod.bad > 0).count();
        let before = memory.components.first().and_then(|component| component.past);
        let stable_fine = if stable.total > 0 {
            stable.share() <= STABLE_BROKEN_SHARE
        } else {
            before.is_none_or(|past| past.share <= STABLE_BROKEN_SHARE)
        };
        let broken = candidate.total >= BROKEN_REQUESTS && candidate.share() >= BROKEN_SHARE && failing >= serving.min(2) && stable_fine;
        broken.then_some((candidate, (stable.total > 0).then_some(stable)))
    }

    fn shown(&self, memory: &ObjectiveMemory) -> Shown {
        let alone = &memory.alone;
        let leading = memory.leading(&self.clock).map(|(_, component)| component);
        let bound = leading.and_then(|component| component.bound);
        if self.alone_leads(memory) {
            let candidate = EvidenceCounts { bad: alone.bad, total: alone.total };
            return Shown { bound, candidate, stable: None, bad_since_start: alone.bad_since_start };
        }
        let counts = leading.map(|component| component.shown).unwrap_or_default();
        Shown {
            bound,
            candidate: EvidenceCounts { bad: whole(counts.candidate_bad), total: whole(counts.candidate_total) },
            stable: Some(EvidenceCounts { bad: whole(counts.stable_bad), total: whole(counts.stable_total) }),
            bad_since_start: leading.map_or(0, |component| whole(component.bad_since_start)),
        }
    }

    fn passed(memory: &ObjectiveMemory, step: &Step<'_>) -> String {
        let counts = EvidenceCounts { bad: memory.step.candidate_bad, total: memory.step.candidate };
        let bound = memory.components.first().and_then(|component| component.bound);
        let served = sentences::served(counts, bound);
        if step.situation.baking {
            format!("{served} in the bake")
        } else {
            format!("{served}; {}", sentences::excluded(memory.excluded()))
        }
    }
}

impl ObjectiveMemory {
    /// u: the least excess that is excluded.
    fn excluded(&self) -> f64 {
        self.components.first().and_then(|component| component.exclusion.as_ref()).map_or(1.0, Exclusion::excluded)
    }

    /// Requests of the candidate that exclude all of the excess that may not be risked at the next weight (§12); `None` where that is not known.
    fn requests_needed(&self, next_weight: f64) -> Option<u64> {
        let component = self.components.first()?;
        let harm = self.harm() * 100.0 / next_weight.max(1.0);
        let margin = MARGINS.into_iter().find(|margin| *margin <= harm + 1e-9)?;
        let ratio = self.step.candidate as f64 / self.step.stable.max(1) as f64;
        let needed = Plan { stable: component.expected(), phi: component.phi(), ratio }.requests_to_exclude(margin);
        (needed.is_finite() && needed < 1e9).then(|| whole(needed.ceil()))
    }

    fn harm(&self) -> f64 {
        if matches!(self.objective.kind, ObjectiveKind::ErrorRate { .. }) { HARM_ERRORS } else { HARM_SLOW }
    }

    fn stable_broken(&self) -> bool {
        self.components.iter().any(Component::stable_broken)
    }

    /// What is not yet excluded would, at the next weight, harm no more than may be risked.
    fn residual_harm(&self, next_weight: f64) -> bool {
        self.excluded() * next_weight / 100.0 <= self.harm() + 1e-9
    }

    /// At least half of the candidate's requests in this step are bad, and not as many of stable's: whatever else is
    /// missing, time alone never promotes that.
    fn mostly_bad(&self) -> bool {
        let step = &self.step;
        let errors = matches!(self.objective.kind, ObjectiveKind::ErrorRate { .. });
        let half = |bad: u64, total: u64| total > 0 && bad.saturating_mul(2) >= total;
        errors && half(step.candidate_bad, step.candidate) && !half(step.stable_bad, step.stable)
    }
}

/// The counts that a sentence shows.
struct Shown {
    bound: Option<u64>,
    candidate: EvidenceCounts,
    stable: Option<EvidenceCounts>,
    bad_since_start: u64,
}

impl Shown {
    /// What is counted.
    fn word(&self) -> &'static str {
        if self.bound.is_none() { "failures" } else { "slow requests" }
    }

    fn comparison<'a>(&self, situation: &Situation<'a>) -> sentences::Comparison<'a> {
        let Self { bound, candidate, stable, .. } = *self;
        sentences::Comparison {
            bound,
            candidate: situation.candidate,
            stable: situation.stable,
            candidate_counts: candidate,
            stable_counts: stable,
        }
    }
}

/// Fail if any fails, Pass if all pass, else what the first waits for. Without objectives the soak alone decides.
fn overall(objectives: &[ObjectiveVerdict], step: &Step<'_>) -> Verdict {
    if let Some(failed) = objectives.iter().find(|objective| matches!(objective.verdict, Verdict::Fail(_))) {
        return failed.verdict;
    }
    let pending =
        objectives.iter().filter_map(|objective| if let Verdict::Pending(reason) = objective.verdict { Some(reason) } else { None }).min();
    let soak = SignedDuration::from_secs(step.situation.soak_seconds);
    let soaking = objectives.is_empty() && step.elapsed().is_none_or(|elapsed| elapsed < soak);
    match pending {
        Some(reason) => Verdict::Pending(reason),
        None if soaking => Verdict::Pending(PendingReason::Soaking),
        None => Verdict::Pass,
    }
}

fn without_objective(step: &Step<'_>, verdict: Verdict) -> String {
    let judge = "no objectives, so only crashes, readiness and image pulls are judged";
    match verdict {
        Verdict::Pass => format!("the soak is over; {judge}"),
        _ => format!("soaking for {}; {judge}", sentences::duration(step.left(step.situation.soak_seconds))),
    }
}
