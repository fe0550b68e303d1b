//! The judge's word on the rollout that is on: evidence from metrics, and signals from the pods.

use jiff::{Timestamp, ToSpan as _};

use super::analysis::signals::{self, Outcome, Signal};
use super::analysis::{Assessment, Control, Judge, OnNoEvidence, PendingReason, PodState, Situation, Verdict};
use super::facts::Facts;
use super::history;
use super::plan::Plan;
use super::queries::{self, QueryVerdict, Standing};
use super::snapshot::{Measurements, Snapshot};
use super::strategy::{Front, chosen};
use super::units::percent;
use crate::api::analysis::OnNoEvidence as Wanted;
use crate::api::status::{Cause, CauseReason, HistoryMemory, Memory, Moment, Progress, Stage};

/// What the judge says at this moment.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    /// The judge, with what it has learned now.
    pub judge: Option<Judge>,
    /// Its verdict by metrics, while a step is watched.
    pub assessment: Option<Assessment>,
    /// The time behind a preview is over: nobody was sent there, so that evidence cannot be asked for.
    pub unasked: bool,
    /// Signals from the pods, worst first.
    pub signals: Vec<Signal>,
    /// Objectives that are queries.
    pub queries: Vec<QueryVerdict>,
    /// The candidate's share of the ready pods, in percent.
    pub weight: f64,
    /// Requests that both revisions serve in a second, where the metrics show it and the step may be left out for it.
    pub requests_per_second: Option<f64>,
}

/// Judges the candidate of `progress`.
#[must_use]
pub fn judge(
    plan: &Plan,
    memory: &Memory,
    progress: &mut Progress,
    facts: &Facts,
    snapshot: &Snapshot,
    measurements: &Measurements,
    now: Timestamp,
) -> Judgement {
    let pods: Vec<PodState> = snapshot.pods.iter().map(|pod| pod.state.clone()).collect();
    let stable = memory.stable.as_deref();
    let signals = signals::judge(&pods, &facts.refused, now, stable, &progress.revision, &mut progress.signals);
    let ready = facts.ready(&progress.revision);
    let weight = match &facts.front {
        _ if plan.shifts_weights() => facts.weight(&progress.revision).map_or(0.0, f64::from),
        Some(Front::One(only)) if plan.switches() => {
            if *only == progress.revision {
                100.0
            } else {
                0.0
            }
        }
        _ => percent(ready, ready + stable.map_or(0, |stable| facts.ready(stable))),
    };
    let (Some(stable), Stage::Shifting | Stage::Soaking | Stage::Baking) = (stable, progress.stage) else {
        return Judgement { signals, weight, ..Judgement::default() };
    };
    let mut judge = snapshot.judge.clone().unwrap_or_else(|| resume(plan, memory, progress));
    let baking = progress.stage == Stage::Baking;
    let soak_seconds = i64::from(if baking { plan.bake_seconds } else { plan.soak_seconds(progress.step) });
    let weight_since = progress.weight_since.map(|moment| moment.0);
    let situation = Situation {
        now,
        stable,
        candidate: &progress.revision,
        weight,
        weight_since,
        next_weight: if baking || plan.switches() {
            100.0
        } else if plan.shifts_weights() {
            f64::from(plan.asked_weight(progress.step + 1))
        } else {
            plan.shape(progress.step + 1).weight()
        },
        soak_seconds,
        baking,
        control: if plan.switches() {
            Control::Never
        } else if plan.shifts_weights() || plan.shape(plan.steps()).stable > 0 {
            Control::UntilEnd
        } else {
            Control::InSteps
        },
        // Where nothing shall serve no evidence can come, and none is waited for.
        deadline: weight_since
            .filter(|_| plan.replicas > 0)
            .map(|since| since + (soak_seconds + i64::from(plan.progress_deadline_seconds)).seconds()),
        on_no_evidence: match plan.on_no_evidence {
            Wanted::Hold => OnNoEvidence::Hold,
            Wanted::RollBack => OnNoEvidence::RollBack,
            Wanted::Promote => OnNoEvidence::Promote,
        },
        pods: &pods,
    };
    let past = measurements.history.as_ref().filter(|_| history::is_wanted(plan, progress));
    for scrape in past.into_iter().flatten() {
        judge.observe(scrape, &situation);
    }
    if let Some(scrape) = &measurements.scrape {
        judge.observe(scrape, &situation);
    }
    let deadline = situation.deadline;
    // Only a step that may be left out asks for it.
    let requests_per_second = chosen::least_requests_per_second(plan, progress.step).and_then(|_| judge.requests_per_second(&situation));
    let assessment = weight_since.is_some().then(|| judge.judge(&situation));
    let soaked = weight_since.is_some_and(|since| now >= since + soak_seconds.seconds());
    if let Some(past) = past {
        let rounds = i32::try_from(past.len()).unwrap_or(i32::MAX);
        progress.history = Some(HistoryMemory { at: Moment(now), rounds });
        // What was learned is written down at once: it is not asked for again.
        progress.saved = None;
    }
    queries::observe(plan, progress, &measurements.answers);
    let queries = queries::verdicts(plan, progress, stable, deadline, now);
    Judgement {
        judge: Some(judge),
        assessment,
        unasked: plan.switches() && !baking && soaked,
        signals,
        queries,
        weight,
        requests_per_second,
    }
}

/// The judge as status remembers it. A state that cannot be read starts the analysis anew; nothing passes by that, since evidence is asked for
/// again.
fn resume(plan: &Plan, memory: &Memory, progress: &Progress) -> Judge {
    let resumed = progress.analysis.as_ref().and_then(|state| Judge::resume(&plan.settings, state).ok());
    resumed.unwrap_or_else(|| Judge::new(&plan.settings, memory.calibration.as_ref()))
}

impl Judgement {
    /// Why the candidate has to go back, if the judge says so.
    #[must_use]
    pub fn failure(&self) -> Option<Cause> {
        let signal = self.signals.iter().find(|signal| signal.outcome == Outcome::Fail);
        if let Some(signal) = signal {
            let message = format!("rolled back at {:.0}%: {}", self.weight, signal.sentence);
            return Some(Cause { reason: CauseReason::Signal, message });
        }
        if let Some(failed) = self.assessment.as_ref().filter(|assessment| matches!(assessment.verdict, Verdict::Fail(_))) {
            return Some(Cause { reason: CauseReason::Analysis, message: failed.sentence.clone() });
        }
        let failed = self.queries.iter().find(|query| matches!(query.standing, Standing::Fail(_)))?;
        Some(Cause { reason: CauseReason::Analysis, message: format!("rolled back at {:.0}%: {}", self.weight, failed.sentence) })
    }

    /// The step may pass: the metrics say so, and no signal holds it.
    #[must_use]
    pub fn passed(&self) -> bool {
        let passes = |verdict: &Verdict| match verdict {
            Verdict::Pass => true,
            Verdict::Pending(reason) => self.unasked && *reason != PendingReason::AlarmRising,
            Verdict::Fail(_) => false,
        };
        let holds = |query: &QueryVerdict| query.standing == Standing::Pass || self.unasked;
        let measured = self.assessment.as_ref().is_some_and(|assessment| passes(&assessment.verdict));
        self.signals.is_empty() && measured && self.queries.iter().all(holds)
    }

    /// Nothing speaks against the candidate; what is missing is time, or requests.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        let waits = |assessment: &Assessment| {
            use PendingReason::{NoTraffic, NotYetExcluded, Soaking, TooFewRequests, WarmingUp};
            matches!(
                assessment.verdict,
                Verdict::Pass | Verdict::Pending(NoTraffic | NotYetExcluded | Soaking | TooFewRequests | WarmingUp)
            )
        };
        let fails = |query: &QueryVerdict| matches!(query.standing, Standing::Fail(_));
        self.signals.is_empty() && self.assessment.as_ref().is_none_or(waits) && !self.queries.iter().any(fails)
    }

    /// What is waited for, in one sentence: a signal's, else the metrics'.
    #[must_use]
    pub fn sentence(&self) -> Option<String> {
        let signal = self.signals.first().map(|signal| format!("holding at {:.0}%: {}", self.weight, signal.sentence));
        signal.or_else(|| self.queried()).or_else(|| self.assessment.as_ref().map(|assessment| assessment.sentence.clone()))
    }

    /// What the queries say, where the metrics have nothing left to say.
    fn queried(&self) -> Option<String> {
        let assessment = self.assessment.as_ref()?;
        if assessment.verdict != Verdict::Pass {
            // Without an objective of the metrics the judge tells of the soak alone.
            let soaking = assessment.sentence.split("; ").next().filter(|_| assessment.objectives.is_empty())?;
            return self.queries.first().map(|query| format!("{soaking}; {}", query.sentence));
        }
        let waiting = self.queries.iter().find(|query| query.standing != Standing::Pass);
        match waiting {
            Some(query) => Some(format!("holding at {:.0}%: {}", self.weight, query.sentence)),
            None if assessment.objectives.is_empty() => self.queries.first().map(|query| format!("passed: {}", query.sentence)),
            None => None,
        }
    }

    /// When the judge may come to another word without anything being seen.
    pub fn wakes(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.signals.iter().filter_map(|signal| signal.wake).chain(self.assessment.as_ref().and_then(|assessment| assessment.wake))
    }
}
