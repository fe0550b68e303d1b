//! One objective's memory: stable before the rollout, the present step's counts, its components, the candidate alone.

mod alone;
mod blocks;
mod memory;

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::calibration::{Calibration, PodTotals};
use super::component::{Component, MOST_PSEUDO_REQUESTS, Past, Prior};
use super::exclusion::Exclusion;
use super::increments::{Increment, PodCount};
use super::latency::{Edge, edges};
use super::parts::Parts;
use super::sequential::{Clock, Null, log_sum};
use super::state::CalibrationState;
use super::step_counts::StepCounts;
use super::{Objective, ObjectiveKind, Settings};
pub use alone::Alone;

/// ρ of errorRate: a quarter worse is noise.
pub const ERROR_RATIO: f64 = 1.25;
/// Of pod scores: how much more than usual the candidate's may be.
const SCORE_NULL: Null = Null { ratio: 1.0, margin: 0.05 };
/// Good pods' scores are 0.05 in the mean; what that is worth without history.
const SCORE_PRIOR: Prior = Prior { share: 0.05, pseudo_requests: 50.0 };
/// Minutes of stable that are remembered until the bounds are chosen: two hours.
const MOST_MINUTES: usize = 120;
/// `ω_p`: the share of E that scores have where failures cluster (φ above 1.5), and where they do not.
pub const SCORE_SHARE: (f64, f64) = (0.5, 0.1);
const CLUSTERED: f64 = 1.5;
/// Latency is warm after so many warm-ups: JIT and caches take longer than errors.
pub const LATENCY_WARM_UPS: i64 = 4;
/// From how many requests and seconds on stable's share before the rollout is known.
const KNOWN_REQUESTS: u64 = 200;
const KNOWN_SECONDS: f64 = 30.0;

/// What is known of stable before the first weight ("Before", §4).
#[derive(Debug, Clone, Default, PartialEq)]
struct Before {
    count: PodCount,
    seconds: f64,
    pod_seconds: f64,
    /// It was enough when the first weight came; nothing is added after that.
    known: bool,
}

/// Memory of one objective.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectiveMemory {
    /// What it limits.
    pub objective: Objective,
    /// The present step.
    pub step: StepCounts,
    /// What is compared; for latency chosen once stable has shown enough.
    pub components: Vec<Component>,
    /// The candidate alone.
    pub alone: Alone,
    /// Requests and bad ones of the candidate's pods, by component. In memory only.
    pub pods: Vec<BTreeMap<String, (u64, u64)>>,
    score_share: f64,
    /// Scores of stable's pods that the calibration has not seen.
    scored: PodTotals,
    before: Before,
    /// Latency: stable's minutes until the bounds are chosen, each by its end. In memory only.
    minutes: VecDeque<(Timestamp, BTreeMap<String, PodCount>)>,
    /// Latency: calibrations of earlier rollouts, until the bounds are chosen.
    kept: Vec<CalibrationState>,
}

/// What the rollout says about a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Surroundings {
    /// See `Settings::warm_up_seconds`.
    pub warm_up_seconds: i64,
    /// The candidate's measured share of traffic, in percent.
    pub weight: f64,
    /// `R_b`: stable's ready pods before the first weight.
    pub stable_pods: u32,
    /// What the judge is made of.
    pub parts: Parts,
}

impl ObjectiveMemory {
    /// Without evidence; `earlier` are calibrations of earlier rollouts, which count half.
    pub fn new(objective: &Objective, tolerance: f64, earlier: &[CalibrationState]) -> Self {
        let mut halved = earlier.iter().filter_map(|state| Some((state.bound_microseconds, Calibration::read(state).ok()?.halved())));
        let (mut components, mut kept) = (Vec::new(), Vec::new());
        match objective.kind {
            ObjectiveKind::ErrorRate { .. } => {
                let calibration = halved.next().map(|(_, calibration)| calibration).unwrap_or_default();
                let null = Null { ratio: ERROR_RATIO, margin: tolerance };
                let mut component = Component::new(None, null, Prior::default(), calibration);
                component.exclusion = Some(Exclusion::default());
                let calibration = halved.next().map(|(_, calibration)| calibration).unwrap_or_default();
                let known = calibration.share().map(|(share, known)| Prior { share, pseudo_requests: known.min(MOST_PSEUDO_REQUESTS) });
                let prior = known.filter(|prior| prior.pseudo_requests >= SCORE_PRIOR.pseudo_requests).unwrap_or(SCORE_PRIOR);
                components.extend([component, Component::new(None, SCORE_NULL, prior, calibration)]);
            }
            ObjectiveKind::Latency { .. } => {
                kept = halved.map(|(bound, calibration)| calibration.write(bound.and_then(|bound| u64::try_from(bound).ok()))).collect();
            }
        }
        Self {
            objective: objective.clone(),
            step: StepCounts::default(),
            components,
            alone: Alone::default(),
            pods: Vec::new(),
            score_share: 0.0,
            scored: PodTotals::new(),
            before: Before::default(),
            minutes: VecDeque::new(),
            kept,
        }
    }

    /// Age below which a pod does not count, or counts as cold.
    pub fn warm_up_seconds(&self, warm_up_seconds: i64) -> i64 {
        match self.objective.kind {
            ObjectiveKind::ErrorRate { .. } => warm_up_seconds,
            ObjectiveKind::Latency { .. } => warm_up_seconds.saturating_mul(LATENCY_WARM_UPS),
        }
    }

    /// Learns stable's past, before the first weight, and for latency also after it while too little is known.
    pub fn learn_stable(&mut self, stable: &[&Increment<'_>], at: Timestamp, weighted: bool) {
        let latency = matches!(self.objective.kind, ObjectiveKind::Latency { .. });
        if weighted && (!latency || self.before.known || !self.components.is_empty()) {
            return;
        }
        let seconds = |increment: &&Increment<'_>| at.duration_since(increment.from).as_secs_f64().max(0.0);
        self.before.seconds += stable.iter().map(seconds).fold(0.0, f64::max);
        self.before.pod_seconds += stable.iter().map(seconds).sum::<f64>();
        for increment in stable {
            self.before.count.add(&increment.count);
        }
    }

    /// The first weight is reported: what was learned before it becomes the prior.
    pub fn begin(&mut self, tolerance: f64, parts: Parts) {
        let count = &self.before.count;
        let latency = matches!(self.objective.kind, ObjectiveKind::Latency { .. });
        let total = if latency { count.timed } else { count.total };
        self.before.known = total >= KNOWN_REQUESTS && self.before.seconds >= KNOWN_SECONDS;
        let past = self.past(count.failed, total);
        let (ObjectiveKind::ErrorRate { at_most }, Some(component)) = (self.objective.kind, self.components.first_mut()) else { return };
        let before = (total > 0).then(|| ((count.failed as f64 + 0.5) / (total as f64 + 1.0), total as f64));
        let shares = [component.calibration.share(), before].into_iter().flatten();
        if let Some((share, known)) = shares.max_by(|a, b| a.1.total_cmp(&b.1)) {
            component.prior = Prior { share, pseudo_requests: known.min(MOST_PSEUDO_REQUESTS) };
        }
        // The tolerance may not carry the candidate past the objective while stable meets it.
        component.null.margin = past.map_or(tolerance, |past| tolerance.min((at_most - ERROR_RATIO * past.share).max(0.001)));
        component.past = past;
        let (clustered, independent) = SCORE_SHARE;
        self.score_share = match parts.pod_scores {
            false => 0.0,
            true if component.phi() > CLUSTERED => clustered,
            true => independent,
        };
    }

    /// `ω_p` that no beginning gave.
    #[cfg(test)]
    pub fn set_score_share(&mut self, share: f64) {
        self.score_share = share;
    }

    /// Requests that stable served in a second before the first weight, from so many seconds on.
    pub fn requests_per_second_before(&self, least_seconds: f64) -> Option<f64> {
        let before = &self.before;
        (before.seconds >= least_seconds).then(|| before.count.total as f64 / before.seconds)
    }

    fn past(&self, bad: u64, total: u64) -> Option<Past> {
        let (share, total) = (bad as f64 / total as f64, total as f64);
        self.before.known.then_some(Past { share, total, load: total / self.before.pod_seconds })
    }

    /// Latency: the bounds are not chosen yet, and could be.
    pub fn lacks_edges(&self) -> bool {
        self.components.is_empty() && self.before.count.timed >= KNOWN_REQUESTS
    }

    /// Latency: chooses the bounds as soon as stable has shown enough; `common`: the bounds that the candidate has.
    pub fn choose_edges(&mut self, common: impl Fn(u64) -> bool, tolerance: f64, parts: Parts) {
        let ObjectiveKind::Latency { at_most_milliseconds, .. } = self.objective.kind else { return };
        if !self.lacks_edges() {
            return;
        }
        let (count, objective) = (&self.before.count, at_most_milliseconds * 1000.0);
        let known = |bound: u64| parts.pod_differences && self.calibration(bound).differences().is_some();
        let chosen = edges(&count.slower, count.timed, common, objective, tolerance, known);
        let component = |(index, edge): (usize, Edge)| {
            let prior = Prior { share: edge.share, pseudo_requests: MOST_PSEUDO_REQUESTS.min(count.timed as f64) };
            let past = self.past(count.slower.get(&edge.bound).copied().unwrap_or_default(), count.timed);
            let null = Null { ratio: 1.0, margin: edge.margin };
            let mut component = Component::new(Some(edge.bound), null, prior, self.calibration(edge.bound)).against(past);
            component.exclusion = (index == 0).then(Exclusion::default);
            component
        };
        self.components = chosen.into_iter().enumerate().map(component).collect();
        if !self.components.is_empty() {
            self.minutes.clear();
            self.kept.clear();
            self.before.count = PodCount::default();
        }
    }

    /// Latency: what earlier rollouts and stable's minutes so far have shown of this bound.
    fn calibration(&self, bound: u64) -> Calibration {
        let kept = self.kept.iter().find(|state| state.bound_microseconds.is_some_and(|kept| u64::try_from(kept) == Ok(bound)));
        let mut calibration = kept.and_then(|state| Calibration::read(state).ok()).unwrap_or_default();
        for (at, pods) in &self.minutes {
            let slower = |count: &PodCount| Some((count.timed as f64, *count.slower.get(&bound)? as f64));
            calibration.observe(*at, pods.iter().filter_map(|(pod, count)| Some((pod.as_str(), slower(count)?))));
        }
        calibration
    }

    /// Counts a scrape's increments towards the present step.
    pub fn count_step(&mut self, increments: &[&Increment<'_>], candidate: &str, at: Timestamp, settings: &Settings) {
        let age = SignedDuration::from_secs(self.warm_up_seconds(settings.warm_up_seconds));
        let bound = self.components.first().and_then(|component| component.bound);
        let step = &mut self.step;
        for Increment { count, revision, ready_since, .. } in increments {
            let warm = ready_since.is_some_and(|since| at.duration_since(since) > age);
            let (total, bad) = match self.objective.kind {
                ObjectiveKind::ErrorRate { .. } => (count.total, Some(count.failed)),
                ObjectiveKind::Latency { .. } => (count.timed, bound.filter(|_| warm).and_then(|bound| count.slower.get(&bound).copied())),
            };
            let is_candidate = *revision == candidate;
            if is_candidate {
                step.served = step.served.saturating_add(total);
            }
            let Some(bad) = bad else { continue };
            let (all, worse) =
                if is_candidate { (&mut step.candidate, &mut step.candidate_bad) } else { (&mut step.stable, &mut step.stable_bad) };
            *all = all.saturating_add(total);
            *worse = worse.saturating_add(bad);
        }
    }

    /// Takes stable's increments into the calibration, after the scrape's block has been judged.
    pub fn calibrate<'a>(&mut self, stable: &[&Increment<'a>], at: Timestamp, pending: bool) {
        if self.components.is_empty() {
            return self.remember_minute(stable, at);
        }
        let scored = std::mem::take(&mut self.scored);
        for (index, component) in self.components.iter_mut().enumerate() {
            let count = |total: u64, bad: u64| (total as f64, bad as f64);
            let bound = component.bound;
            let totals = |increment: &&Increment<'a>| match bound {
                None => Some((increment.pod, count(increment.count.total, increment.count.failed))),
                Some(bound) => Some((increment.pod, count(increment.count.timed, *increment.count.slower.get(&bound)?))),
            };
            if index == 1 && bound.is_none() {
                component.calibration.observe(at, scored.iter().map(|(pod, sum)| (pod.as_str(), *sum)));
            } else {
                component.calibration.observe(at, stable.iter().filter_map(totals));
            }
            if !pending {
                component.refresh_phi();
            }
        }
    }

    fn remember_minute(&mut self, stable: &[&Increment<'_>], at: Timestamp) {
        let whole = SignedDuration::from_secs(60);
        let began = self.minutes.iter().rev().nth(1).map(|(end, _)| *end);
        let full = self.minutes.back().is_none_or(|(end, _)| began.is_none_or(|began| end.duration_since(began) >= whole));
        if full {
            self.minutes.push_back((at, BTreeMap::new()));
            if self.minutes.len() > MOST_MINUTES {
                self.minutes.pop_front();
            }
        }
        if let Some((end, pods)) = self.minutes.back_mut() {
            *end = at;
            for increment in stable {
                pods.entry(increment.pod.to_owned()).or_default().add(&increment.count);
            }
        }
    }

    /// The share of `E_i` that each component has.
    fn shares(&self) -> Vec<f64> {
        match self.objective.kind {
            ObjectiveKind::ErrorRate { .. } => vec![1.0 - self.score_share, self.score_share],
            ObjectiveKind::Latency { .. } => vec![1.0 / self.components.len().max(1) as f64; self.components.len()],
        }
    }

    /// The evidence so far is forgotten.
    pub fn begin_anew(&mut self) {
        self.components.iter_mut().for_each(Component::begin_anew);
        self.alone.begin_anew();
        self.step = StepCounts::default();
        self.pods.clear();
    }

    /// The component with the largest share of the evidence, and its place.
    pub fn leading(&self, clock: &Clock) -> Option<(usize, &Component)> {
        let with_e = self.components.iter().zip(self.shares()).enumerate();
        let with_e = with_e.filter(|(_, (_, share))| *share > 0.0);
        let with_e = with_e.map(|(index, (component, share))| (index, component, libm::log(share) + component.ln_e(clock)));
        with_e.reduce(|best, next| if next.2 > best.2 { next } else { best }).map(|(index, component, _)| (index, component))
    }

    /// ln `E_i` of §6; `alone`: the candidate alone has this share of it, with its own clock.
    pub fn ln_e(&self, clock: &Clock, alone: Option<(f64, &Clock)>) -> f64 {
        let terms = |(component, share): (&Component, f64)| libm::log(share) + component.ln_e(clock);
        let compared = match self.components.len() {
            0 => 0.0,
            _ => log_sum(&self.components.iter().zip(self.shares()).map(terms).collect::<Vec<_>>()),
        };
        match alone {
            None => compared,
            Some((share, clock)) => log_sum(&[libm::log(1.0 - share) + compared, libm::log(share) + self.alone.ln_e(clock)]),
        }
    }
}
