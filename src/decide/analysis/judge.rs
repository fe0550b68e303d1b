//! The judge of one rollout: takes in scrapes, keeps the evidence, says where it stands.

mod leaving_out;
mod memory;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::blocks::Collector;
use super::increments::{Increment, Increments, References};
use super::objective::{ObjectiveMemory, Surroundings};
use super::one_pod::OnePod;
use super::saturation::Saturation;
use super::sequential::{Clock, log_sum};
use super::state::AnalysisState;
use super::step_counts::StepCounts;
use super::{ObjectiveKind, PodSample, Scrape, Settings, Situation};

/// Scrapes are never exactly on time.
const JITTER: SignedDuration = SignedDuration::from_millis(500);
/// Rounds of measurement further apart than this many intervals, or a minute, are not one row: nobody looked in between.
const ROW_INTERVALS: i64 = 3;
const ROW_SECONDS: i64 = 60;
/// An answer older than this many intervals is no answer.
const FRESH_INTERVALS: i64 = 3;
/// The share of E that errorRate objectives have where latency objectives exist as well.
pub(super) const ERROR_SHARE: f64 = 0.6;

/// Judges one rollout.
///
/// # Guarantees
/// - Feeding the same scrapes and situations gives the same bits, on every machine, whatever the order within a scrape.
/// - [`Judge::state`] may be called at any time; a judge resumed from it goes on exactly as this one does, but for the
///   scrapes in between and the block and minute that were being collected.
///
/// # Caveats
/// The objectives, α and tolerance should stand for the rollout: evidence is kept by objective name.
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    pub(super) settings: Settings,
    pub(super) objectives: Vec<ObjectiveMemory>,
    pub(super) clock: Clock,
    pub(super) clock_alone: Clock,
    /// The present step, by the moment its weight was reported.
    pub(super) step_since: Option<Timestamp>,
    /// Since when it has been measured in a row. In memory only: an operator that was away has not looked.
    pub(super) looking: Option<Looking>,
    /// What the last scrape showed. In memory only: after a restart nothing has answered yet.
    pub(super) last: Option<LastScrape>,
    /// The last two scrapes in which the candidate served. In memory only.
    pub(super) recent: VecDeque<Recent>,
    /// One pod of the candidate that fails while the others do not.
    pub(super) one_pod: Option<OnePod>,
    /// What the candidate is short of.
    pub(super) saturation: Saturation,
    alone_percent: Option<u8>,
    stable_pods: u32,
    references: References,
    paired: Collector,
    single: Collector,
}

/// Rounds of measurement without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looking {
    /// The first of them.
    pub since: Timestamp,
    /// The last.
    pub until: Timestamp,
}

/// What a scrape showed of the source itself.
#[derive(Debug, Clone, PartialEq)]
pub struct LastScrape {
    /// When any pod last gave a usable answer.
    pub answered_at: Option<Timestamp>,
    /// Since when enough of the candidate's pods have answered, without a break.
    pub heard_since: Option<Timestamp>,
    /// The candidate's ready pods, and those of them that answered.
    pub candidate_pods: usize,
    /// See above.
    pub candidate_answered: usize,
    /// Why a pod did not answer.
    pub why: Option<String>,
    /// No convention fits any of the candidate's answers: what is missing.
    pub missing: Option<String>,
    /// Latency: the revisions have no bound in common.
    pub no_common_buckets: bool,
}

/// One scrape in which the candidate served requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    /// Per pod of the candidate: requests, failures.
    pub candidate: BTreeMap<String, (u64, u64)>,
    /// Stable's requests and failures.
    pub stable: (u64, u64),
}

impl Judge {
    /// A judge without evidence. `earlier`: the last state of this service, whose calibration sums count half; whatever
    /// of it cannot be read is left out.
    #[must_use]
    pub fn new(settings: &Settings, earlier: Option<&AnalysisState>) -> Self {
        let calibrations = |name: &str| earlier.and_then(|state| state.objectives.iter().find(|objective| objective.name == name));
        let objectives = settings.objectives.iter().map(|objective| {
            let earlier = calibrations(&objective.name).map_or([].as_slice(), |state| &state.calibrations);
            ObjectiveMemory::new(objective, settings.tolerance, earlier)
        });
        Self {
            objectives: objectives.collect(),
            settings: settings.clone(),
            clock: Clock::default(),
            clock_alone: Clock::default(),
            step_since: None,
            looking: None,
            last: None,
            recent: VecDeque::new(),
            one_pod: None,
            saturation: Saturation::default(),
            alone_percent: None,
            stable_pods: 0,
            references: References::default(),
            paired: Collector::default(),
            single: Collector::default(),
        }
    }

    /// Takes in one scrape. Call it from the moment the rollout begins, before the first weight too: stable's past is
    /// learned then. A scrape that is not newer than the last is ignored.
    pub fn observe(&mut self, scrape: &Scrape, situation: &Situation<'_>) {
        self.enter_step(situation);
        if !self.references.is_newer(scrape) {
            return;
        }
        let increments = self.references.take(scrape, self.settings.interval_seconds);
        self.looked(scrape.at);
        let known = [situation.stable, situation.candidate];
        let all: Vec<&Increment<'_>> = increments.counted.iter().filter(|increment| known.contains(&increment.revision)).collect();
        let stable: Vec<&Increment<'_>> = all.iter().copied().filter(|increment| increment.revision == situation.stable).collect();
        self.look_at(scrape, situation, &increments);
        self.saturation.take(scrape, situation, &self.settings);
        let weighted = self.step_since.is_some();
        for objective in &mut self.objectives {
            objective.learn_stable(&stable, scrape.at, weighted);
        }
        if weighted && self.objectives.iter().any(ObjectiveMemory::lacks_edges) {
            self.choose_edges(scrape, situation);
        }
        if let Some(since) = situation.weight_since {
            let start = since.saturating_add(SignedDuration::from_secs(self.settings.interval_seconds) - JITTER).unwrap_or(Timestamp::MAX);
            let counted: Vec<&Increment<'_>> = all.iter().copied().filter(|increment| increment.from >= start).collect();
            self.count(&counted, scrape.at, situation);
        }
        self.look_at_one_pod(scrape.at);
        let pending = !self.paired.is_empty();
        for objective in &mut self.objectives {
            objective.calibrate(&stable, scrape.at, pending);
        }
    }

    fn looked(&mut self, at: Timestamp) {
        let row = SignedDuration::from_secs((ROW_INTERVALS * self.settings.interval_seconds).max(ROW_SECONDS));
        let before = self.looking.filter(|looking| at.duration_since(looking.until) <= row);
        self.looking = Some(Looking { since: before.map_or(at, |looking| looking.since), until: at });
    }

    fn enter_step(&mut self, situation: &Situation<'_>) {
        // Evidence for the candidate alone has a share of E from the start or never.
        self.alone_percent.get_or_insert(situation.control.alone_percent());
        if self.step_since.is_none() {
            let serving = situation.pods.iter().filter(|pod| pod.revision == situation.stable && pod.ready).count();
            self.stable_pods = u32::try_from(serving).unwrap_or(u32::MAX);
        }
        if situation.weight_since.is_some() && situation.weight_since == self.step_since {
            return;
        }
        self.paired.drop_pending();
        self.single.drop_pending();
        self.recent.clear();
        let Some(since) = situation.weight_since else { return };
        for objective in &mut self.objectives {
            objective.step = StepCounts::default();
            if self.step_since.is_none() {
                objective.begin(self.settings.tolerance, self.settings.parts);
            }
        }
        self.step_since = Some(since);
    }

    fn look_at(&mut self, scrape: &Scrape, situation: &Situation<'_>, increments: &Increments<'_>) {
        let mine: Vec<_> = scrape.samples.iter().filter(|sample| increments.answered.contains(sample.pod.as_str())).collect();
        let of = |revision: &'_ str| mine.iter().copied().filter(move |sample| sample.revision == revision).collect::<Vec<_>>();
        let (stable, candidate) = (of(situation.stable), of(situation.candidate));
        let ready: BTreeSet<&str> = {
            let watched = situation.pods.iter().filter(|pod| pod.ready && !pod.terminating && pod.revision == situation.candidate);
            let watched = watched.map(|pod| pod.pod.as_str());
            let silent = scrape.silent.iter().filter(|pod| pod.revision == situation.candidate).map(|pod| pod.pod.as_str());
            watched.chain(silent).chain(candidate.iter().map(|sample| sample.pod.as_str())).collect()
        };
        let (answered_before, heard_before) = self.last.as_ref().map_or((None, None), |last| (last.answered_at, last.heard_since));
        let heard = !candidate.is_empty() && candidate.len() * 2 >= ready.len();
        let named = scrape.silent.iter().find(|pod| pod.revision == situation.candidate).or_else(|| scrape.silent.first());
        let unfit = candidate.iter().all(|sample| sample.counters.source.is_none());
        self.last = Some(LastScrape {
            answered_at: if stable.is_empty() && candidate.is_empty() { answered_before } else { Some(scrape.at) },
            heard_since: heard.then(|| heard_before.unwrap_or(scrape.at)),
            candidate_pods: ready.len(),
            candidate_answered: candidate.len(),
            why: named.map(|pod| pod.why.clone()),
            missing: candidate.first().filter(|_| unfit).and_then(|sample| sample.counters.missing.clone()),
            no_common_buckets: !any_common(&stable, &candidate),
        });
    }

    fn choose_edges(&mut self, scrape: &Scrape, situation: &Situation<'_>) {
        let histograms = scrape.samples.iter().filter(|sample| sample.revision == situation.candidate && sample.counters.timed > 0);
        let bounds = histograms.map(|sample| sample.counters.buckets.keys().copied().collect::<BTreeSet<u64>>());
        let Some(common) = bounds.reduce(|all, next| &all & &next) else { return };
        for objective in &mut self.objectives {
            objective.choose_edges(|bound| common.contains(&bound), self.settings.tolerance, self.settings.parts);
        }
    }

    fn count(&mut self, increments: &[&Increment<'_>], at: Timestamp, situation: &Situation<'_>) {
        if self.silent() {
            self.paired.drop_pending();
            self.single.drop_pending();
            return;
        }
        for objective in &mut self.objectives {
            objective.count_step(increments, situation.candidate, at, &self.settings);
        }
        self.remember(increments, situation.candidate);
        let around = Surroundings {
            warm_up_seconds: if self.settings.parts.warm_up { self.settings.warm_up_seconds } else { -1 },
            weight: finite_or_zero(situation.weight),
            stable_pods: self.stable_pods,
            parts: self.settings.parts,
        };
        let left_out = self.left_out(increments, at);
        let counted = |increment: &&&Increment<'_>| left_out.as_deref() != Some(increment.pod);
        let increments: &[&Increment<'_>] = &increments.iter().filter(counted).copied().collect::<Vec<_>>();
        self.paired.add(increments, situation.candidate, at);
        if let Some(block) = self.paired.close(true) {
            let before = self.clock;
            let gamma = self.clock.advance(block.seconds, around.parts);
            for objective in &mut self.objectives {
                objective.step(&block, &before, gamma, &around);
                if objective.step.candidate >= self.settings.min_requests {
                    objective.step.enough_seconds += block.seconds;
                }
            }
        }
        if self.is_alone() {
            self.single.add(increments, situation.candidate, at);
            if let Some(block) = self.single.close(false) {
                let before = self.clock_alone;
                let gamma = self.clock_alone.advance(block.seconds, around.parts);
                for objective in &mut self.objectives {
                    objective.step_alone(&block, &before, gamma, &around);
                }
            }
        }
    }

    /// The objective with the largest share of E.
    pub(super) fn leading_objective(&self) -> Option<usize> {
        self.ln_e_and_leading().1
    }

    fn is_alone(&self) -> bool {
        self.alone_percent.is_some_and(|percent| percent > 0)
    }

    fn remember(&mut self, increments: &[&Increment<'_>], candidate: &str) {
        let mut recent = Recent::default();
        for increment in increments {
            let (total, failed) = (increment.count.total, increment.count.failed);
            if increment.revision == candidate {
                recent.candidate.insert(increment.pod.to_owned(), (total, failed));
            } else {
                recent.stable = (recent.stable.0.saturating_add(total), recent.stable.1.saturating_add(failed));
            }
        }
        if recent.candidate.values().any(|(total, _)| *total > 0) {
            self.recent.push_back(recent);
            while self.recent.len() > 2 {
                self.recent.pop_front();
            }
        }
    }

    /// Fewer than half of the candidate's ready pods answered the last scrape.
    pub(super) fn silent(&self) -> bool {
        self.last.as_ref().is_some_and(|last| last.candidate_answered * 2 < last.candidate_pods)
    }

    /// No pod of either revision has answered lately.
    pub(super) fn source_down(&self, now: Timestamp) -> bool {
        let fresh = SignedDuration::from_secs(FRESH_INTERVALS * self.settings.interval_seconds) + JITTER;
        self.last.as_ref().and_then(|last| last.answered_at).is_none_or(|at| now.duration_since(at) > fresh)
    }

    /// The share of E that the candidate alone has, where it has one, and its clock.
    pub(super) fn alone_clock(&self) -> Option<(f64, &Clock)> {
        let share = f64::from(self.alone_percent.filter(|percent| *percent > 0)?) / 100.0;
        Some((share, &self.clock_alone))
    }

    /// `ln(w_i` `E_i`) of every objective.
    pub(super) fn ln_shares(&self) -> Vec<f64> {
        let latency = |memory: &&ObjectiveMemory| matches!(memory.objective.kind, ObjectiveKind::Latency { .. });
        let slow = self.objectives.iter().filter(latency).count();
        let errors = self.objectives.len() - slow;
        let share = |memory: &ObjectiveMemory| match (latency(&memory), errors, slow) {
            (false, errors, 0) => 1.0 / errors as f64,
            (true, 0, slow) => 1.0 / slow as f64,
            (false, errors, _) => ERROR_SHARE / errors as f64,
            (true, _, slow) => (1.0 - ERROR_SHARE) / slow as f64,
        };
        self.objectives.iter().map(|memory| libm::log(share(memory)) + memory.ln_e(&self.clock, self.alone_clock())).collect()
    }

    /// ln E of the rollout (0 without objectives), and the objective with the largest share of it, of equal ones the first.
    pub(super) fn ln_e_and_leading(&self) -> (f64, Option<usize>) {
        let shares = self.ln_shares();
        let leading = (0..shares.len()).reduce(|best, next| if shares[next] > shares[best] { next } else { best });
        (if shares.is_empty() { 0.0 } else { log_sum(&shares) }, leading)
    }

    /// ln E of the rollout.
    pub(super) fn ln_e(&self) -> f64 {
        self.ln_e_and_leading().0
    }

    /// The candidate alone leads this objective's evidence.
    pub(super) fn alone_leads(&self, memory: &ObjectiveMemory) -> bool {
        self.alone_clock().is_some_and(|(share, clock)| {
            libm::log(share) + memory.alone.ln_e(clock) > libm::log(1.0 - share) + memory.ln_e(&self.clock, None)
        })
    }
}

/// Some bound is in both; true as well while either has no histogram because it has served nothing yet.
fn any_common(stable: &[&PodSample], candidate: &[&PodSample]) -> bool {
    let served = |samples: &[&PodSample]| samples.iter().any(|sample| sample.counters.requests() > 0);
    let of_stable = |bound: &u64| stable.iter().any(|sample| sample.counters.buckets.contains_key(bound));
    !served(stable) || !served(candidate) || candidate.iter().flat_map(|sample| sample.counters.buckets.keys()).any(of_stable)
}

fn finite_or_zero(weight: f64) -> f64 {
    if weight.is_finite() { weight.clamp(0.0, 100.0) } else { 0.0 }
}
