//! One objective's memory: stable before the rollout, the present step's counts, its components, the candidate alone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::blocks::{ClosedBlock, Side, counts};
use super::calibration::{Calibration, PodTotals};
use super::component::{Block, Component, MOST_PSEUDO_REQUESTS, Past, Prior, whole};
use super::exclusion::Exclusion;
use super::increments::{Increment, PodCount};
use super::latency::{Edge, edges};
use super::numbers::{parse, parse_any, parse_counts, print};
use super::sequential::{Clock, Dispersion, Mixture, Null, log_factors_alone, log_sum};
use super::state::{CalibrationState, Numbers, ObjectiveState, Unreadable};
use super::step_counts::StepCounts;
use super::{Objective, ObjectiveKind, Settings};

/// ρ of errorRate: a quarter worse is noise.
const ERROR_RATIO: f64 = 1.25;
/// The share of E that the candidate alone gets where no control stays to the end.
pub const ALONE_WEIGHT: f64 = 0.1;
/// Latency is warm after so many warm-ups: JIT and caches take longer than errors.
pub const LATENCY_WARM_UPS: i64 = 4;
/// From how many requests and seconds on stable's share before the rollout is known.
const KNOWN_REQUESTS: u64 = 200;
const KNOWN_SECONDS: f64 = 30.0;
/// The most bounds that are remembered until the edges are chosen.
const MOST_BOUNDS: usize = 60;

/// What is known of stable before the first weight ("Before", §4).
#[derive(Debug, Clone, Default, PartialEq)]
struct Before {
    count: PodCount,
    seconds: f64,
    pod_seconds: f64,
    /// It was enough when the first weight came; nothing is added after that.
    known: bool,
}

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
    before: Before,
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
}

impl ObjectiveMemory {
    /// Without evidence; `earlier` are calibrations of earlier rollouts, which count half.
    pub fn new(objective: &Objective, tolerance: f64, earlier: &[CalibrationState]) -> Self {
        let halved = earlier.iter().filter_map(|state| Some((state.bound_microseconds, Calibration::read(state).ok()?.halved())));
        let (mut components, mut kept) = (Vec::new(), Vec::new());
        match objective.kind {
            ObjectiveKind::ErrorRate { .. } => {
                let calibration = halved.into_iter().next().map(|(_, calibration)| calibration).unwrap_or_default();
                let null = Null { ratio: ERROR_RATIO, margin: tolerance };
                let mut component = Component::new(None, null, Prior::default(), calibration);
                component.exclusion = Some(Exclusion::default());
                components.push(component);
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
            before: Before::default(),
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
    pub fn learn_stable(&mut self, stable: &[&Increment], at: Timestamp, weighted: bool) {
        let latency = matches!(self.objective.kind, ObjectiveKind::Latency { .. });
        if weighted && (!latency || self.before.known || !self.components.is_empty()) {
            return;
        }
        let seconds = |increment: &&Increment| at.duration_since(increment.from).as_secs_f64().max(0.0);
        self.before.seconds += stable.iter().map(seconds).fold(0.0, f64::max);
        self.before.pod_seconds += stable.iter().map(seconds).sum::<f64>();
        for increment in stable {
            self.before.count.add(&increment.count);
        }
    }

    /// The first weight is reported: what was learned before it becomes the prior.
    pub fn begin(&mut self, tolerance: f64) {
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
    }

    fn past(&self, bad: u64, total: u64) -> Option<Past> {
        let (share, total) = (bad as f64 / total as f64, total as f64);
        self.before.known.then_some(Past { share, total, load: total / self.before.pod_seconds })
    }

    /// Latency: chooses the bounds as soon as stable has shown enough; `common`: the bounds that the candidate has.
    pub fn choose_edges(&mut self, common: impl Fn(u64) -> bool, tolerance: f64) {
        let ObjectiveKind::Latency { at_most_milliseconds, .. } = self.objective.kind else { return };
        if !self.components.is_empty() || self.before.count.timed < KNOWN_REQUESTS {
            return;
        }
        let (count, objective) = (&self.before.count, at_most_milliseconds * 1000.0);
        let chosen = edges(&count.slower, count.timed, common, objective, tolerance);
        let component = |(index, edge): (usize, Edge)| {
            let kept = self.kept.iter().find(|state| state.bound_microseconds.is_some_and(|bound| u64::try_from(bound) == Ok(edge.bound)));
            let calibration = kept.and_then(|state| Calibration::read(state).ok()).unwrap_or_default();
            let prior = Prior { share: edge.share, pseudo_requests: MOST_PSEUDO_REQUESTS.min(count.timed as f64) };
            let past = self.past(count.slower.get(&edge.bound).copied().unwrap_or_default(), count.timed);
            let mut component =
                Component::new(Some(edge.bound), Null { ratio: 1.0, margin: edge.margin }, prior, calibration).against(past);
            component.exclusion = (index == 0).then(Exclusion::default);
            component
        };
        self.components = chosen.into_iter().enumerate().map(component).collect();
        if !self.components.is_empty() {
            self.kept.clear();
            self.before.count = PodCount::default();
        }
    }

    /// Counts a scrape's increments towards the present step.
    pub fn count_step(&mut self, increments: &[&Increment], candidate: &str, at: Timestamp, settings: &Settings) {
        let age = SignedDuration::from_secs(self.warm_up_seconds(settings.warm_up_seconds));
        let bound = self.components.first().and_then(|component| component.bound);
        for increment in increments {
            let warm = increment.ready_since.is_some_and(|since| at.duration_since(since) > age);
            let Some((total, bad)) = (match self.objective.kind {
                ObjectiveKind::ErrorRate { .. } => Some((increment.count.total, increment.count.failed)),
                ObjectiveKind::Latency { .. } => {
                    bound.filter(|_| warm).and_then(|bound| Some((increment.count.timed, *increment.count.slower.get(&bound)?)))
                }
            }) else {
                continue;
            };
            let step = &mut self.step;
            let (all, worse) = if increment.revision == candidate {
                (&mut step.candidate, &mut step.candidate_bad)
            } else {
                (&mut step.stable, &mut step.stable_bad)
            };
            *all = all.saturating_add(total);
            *worse = worse.saturating_add(bad);
        }
    }

    /// A closed block of both revisions.
    pub fn step(&mut self, block: &ClosedBlock, before: &Clock, gamma: f64, around: &Surroundings) {
        let warm_up = self.warm_up_seconds(around.warm_up_seconds);
        let (all_stable, all_candidate) = block.failures(None);
        let load = |side: Side| side.total as f64 / side.pods.max(1) as f64;
        for component in &mut self.components {
            let (stable, candidate, cold, comparable) = match component.bound {
                None => {
                    let (stable, candidate, cold) = block.errors(warm_up);
                    (stable, candidate, cold, true)
                }
                Some(bound) => {
                    let (stable, candidate) = block.slower(warm_up, bound);
                    // Latency follows the load: a candidate that works harder than stable ever did cannot be compared.
                    let most = match component.past {
                        Some(past) => 1.2 * load(all_stable).max(past.load * block.seconds),
                        None => 1.5 * load(all_stable),
                    };
                    (stable, candidate, false, load(all_candidate) <= most)
                }
            };
            let load_factor = around.load_factor(candidate.pods);
            component.step(
                &Block { counts: counts(stable, candidate), seconds: block.seconds, cold, load_factor, comparable },
                before,
                gamma,
            );
        }
    }

    /// A block of the candidate alone: warm pods, against q (§8, "Absolute or relative?").
    pub fn step_alone(&mut self, block: &ClosedBlock, before: &Clock, gamma: f64, around: &Surroundings) {
        let warm_up = self.warm_up_seconds(around.warm_up_seconds);
        if self.alone.ln_e(before) <= 1e-9 {
            (self.alone.total, self.alone.bad) = (0, 0);
        }
        let mut factors = [0.0; 6];
        if let Some(component) = self.components.first() {
            let (_, candidate) = component.bound.map_or_else(|| block.failures(Some(warm_up)), |bound| block.slower(warm_up, bound));
            let past = component.past.map_or(0.0, |past| past.upper_share(component.phi()));
            let limit = match self.objective.kind {
                ObjectiveKind::ErrorRate { at_most } => 2.0 * at_most.max(past) + 0.01,
                ObjectiveKind::Latency { percentile, .. } => 2.0 * (1.0 - percentile / 100.0).max(past) + 0.02,
            };
            let phi = component.phi();
            let dispersion = Dispersion { stable: phi, candidate: phi * around.load_factor(candidate.pods) };
            if candidate.total > 0 && limit < 0.98 {
                factors = log_factors_alone(candidate.bad, candidate.total, limit, dispersion);
            }
            self.alone.total = self.alone.total.saturating_add(candidate.total);
            self.alone.bad = self.alone.bad.saturating_add(candidate.bad);
            self.alone.bad_since_start = self.alone.bad_since_start.saturating_add(candidate.bad);
        }
        self.alone.mixture.step(&factors, gamma);
    }

    /// Takes stable's increments into the calibration, after the scrape's block has been judged.
    pub fn calibrate(&mut self, stable: &[&Increment], at: Timestamp, pending: bool) {
        for component in &mut self.components {
            let totals = |increment: &&Increment| match component.bound {
                None => Some((increment.pod.clone(), (increment.count.total, increment.count.failed))),
                Some(bound) => Some((increment.pod.clone(), (increment.count.timed, *increment.count.slower.get(&bound)?))),
            };
            let pods: PodTotals = stable.iter().filter_map(totals).collect();
            component.calibration.observe(at, &pods);
            if !pending {
                component.refresh_phi();
            }
        }
    }

    /// The component with the most evidence, and its ln E.
    pub fn leading(&self, clock: &Clock) -> Option<(&Component, f64)> {
        let with_e = self.components.iter().map(|component| (component, component.ln_e(clock)));
        with_e.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// ln `E_i` of §6; `alone`: the candidate alone has its share of it, with its own clock.
    pub fn ln_e(&self, clock: &Clock, alone: Option<&Clock>) -> f64 {
        let compared = match self.components.len() {
            0 => 0.0,
            count => {
                let share = libm::log(count as f64);
                log_sum(&self.components.iter().map(|component| component.ln_e(clock) - share).collect::<Vec<_>>())
            }
        };
        match alone {
            None => compared,
            Some(clock) => log_sum(&[libm::log(1.0 - ALONE_WEIGHT) + compared, libm::log(ALONE_WEIGHT) + self.alone.ln_e(clock)]),
        }
    }

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
        let ratio = if matches!(objective.kind, ObjectiveKind::ErrorRate { .. }) { ERROR_RATIO } else { 1.0 };
        let mut components = Vec::new();
        for (index, component) in state.components.iter().enumerate() {
            let calibration = state.calibrations.get(index).ok_or(Unreadable { what: WHAT })?;
            let running = running.and_then(|running| running.components.get(index));
            let calibration = running.map_or_else(|| Calibration::read(calibration), |running| running.calibration.rounded(calibration))?;
            let latency = matches!(objective.kind, ObjectiveKind::Latency { .. });
            if component.bound_microseconds.is_some() != latency {
                return Err(Unreadable { what: WHAT });
            }
            components.push(Component::read(component, ratio, calibration)?);
        }
        if fresh.components.len() > components.len() {
            return Err(Unreadable { what: WHAT });
        }
        let kept = if components.is_empty() { state.calibrations.clone() } else { Vec::new() };
        let before = Before { count, seconds, pod_seconds, known: known > 0.0 };
        Ok(Self { objective: objective.clone(), step, components, alone, before, kept })
    }
}

impl Alone {
    /// ln E of the candidate alone.
    pub fn ln_e(&self, clock: &Clock) -> f64 {
        self.mixture.ln_e(clock)
    }

    fn write(&self) -> Numbers {
        let counts = [self.total, self.bad, self.bad_since_start].map(|count| count as f64);
        print(&[self.mixture.0.as_slice(), &counts].concat())
    }

    fn read(numbers: &Numbers) -> Result<Self, Unreadable> {
        let all: [f64; 9] = parse(numbers, "alone")?;
        let (mut mixture, mut counts) = (Mixture::default(), [0; 3]);
        mixture.0.iter_mut().zip(all).for_each(|(ln_a, number)| *ln_a = number);
        counts.iter_mut().zip(&all[6..]).for_each(|(count, number)| *count = whole(*number));
        let [total, bad, bad_since_start] = counts;
        Ok(Self { mixture, total, bad, bad_since_start })
    }
}

impl Surroundings {
    /// L: by how much more a pod of the candidate carries than one of stable did before the rollout.
    fn load_factor(&self, candidate_pods: u64) -> f64 {
        (self.weight / 100.0 * f64::from(self.stable_pods) / candidate_pods.max(1) as f64).max(1.0)
    }
}
