//! Moves the rollout: the only place that does.
//!
//! `Memory`, facts and the judge's word go in, the new `Memory` comes out. Nothing takes effect before that is written: what shall exist is
//! computed from it, so a crash at any point only delays objects that the next reconcile renders again.

use jiff::{Timestamp, ToSpan as _};

use super::Event;
use super::analysis::signals::{self, Outcome};
use super::analysis::{Judge, PodState, Verdict};
use super::commands;
use super::facts::Facts;
use super::judgement::{self, Judgement};
use super::plan::Plan;
use super::snapshot::{Measurements, Snapshot};
use super::strategy::Front;
use super::strategy::canary::{Move, Seen, next};
use crate::api::status::{Cause, CauseReason, Command, Memory, Moment, ObjectiveReport, Outcome as Ended, Progress, Quarantined, Stage};

/// Seconds after the front Service is seen to leave a revision out before its pods are taken: endpoints reach every proxy in that time. The
/// pods' own preStop sleep comes on top.
const DRAIN_SECONDS: i64 = 2;
/// Seconds between two writes of evidence that changes nothing: 500 rollouts must not mean 100 writes a second.
const SAVE_SECONDS: i64 = 30;
/// History keeps this many earlier stable revisions.
const HISTORY: usize = 2;
/// Quarantine remembers this many revisions.
const QUARANTINE: usize = 20;

/// What came of it.
#[derive(Clone, Debug)]
pub struct Advanced {
    /// The new memory.
    pub memory: Memory,
    /// The new quarantine.
    pub quarantined: Vec<Quarantined>,
    /// The judge, to be kept.
    pub judge: Option<Judge>,
    /// Why the first revision cannot come up, if it cannot.
    pub blocked: Option<String>,
    /// What to tell people.
    pub events: Vec<Event>,
    /// Moments at which another decision may be due.
    pub wakes: Vec<Timestamp>,
}

/// Everything that a move depends on.
pub struct Input<'a> {
    /// The plan that counts.
    pub plan: &'a Plan,
    /// Nothing may move forward: paused, a spec that is not accepted, or a name conflict.
    pub held: bool,
    /// The spec is accepted, so its revision may begin.
    pub accepted: bool,
    /// What the cluster shows.
    pub facts: &'a Facts,
    /// All of it.
    pub snapshot: &'a Snapshot,
    /// What was measured since the last decision.
    pub measurements: &'a Measurements,
    /// The time.
    pub now: Timestamp,
}

/// Moves the rollout by at most one move.
#[must_use]
pub fn advance(input: &Input<'_>, memory: Memory, quarantined: Vec<Quarantined>) -> Advanced {
    let mut state = Advanced { memory, quarantined, judge: None, blocked: None, events: Vec::new(), wakes: Vec::new() };
    match state.memory.progress.take() {
        None => begin(input, &mut state),
        Some(progress) if progress.stage == Stage::Starting && progress.revision != input.plan.revision && input.accepted => {
            state.memory.progress = Some(started(input, 1, Stage::Starting));
        }
        Some(progress) => carry_on(input, progress, &mut state),
    }
    let Advanced { memory, quarantined, .. } = &mut state;
    let (stable, history) = (memory.stable.clone(), memory.history.clone());
    let candidate = memory.progress.as_ref().map(|progress| progress.revision.clone());
    commands::forget(memory, |revision| {
        stable.as_deref() == Some(revision)
            || candidate.as_deref() == Some(revision)
            || history.iter().any(|earlier| earlier == revision)
            || quarantined.iter().any(|entry| entry.revision == revision)
    });
    state
}

/// No rollout is on: does one begin?
fn begin(input: &Input<'_>, state: &mut Advanced) {
    let revision = &input.plan.revision;
    if !input.accepted || state.memory.stable.as_ref() == Some(revision) {
        return;
    }
    if state.memory.stable.is_none() {
        state.events.push(Event::normal("FirstRevision", format!("{revision} is the first revision: all {} pods at once", input.plan.replicas)));
        state.memory.progress = Some(started(input, 1, Stage::Starting));
        return;
    }
    let mut attempt = 1;
    if let Some(index) = state.quarantined.iter().position(|entry| &entry.revision == revision) {
        let control = input.snapshot.service.spec.control.as_ref();
        let retry = control.and_then(|control| control.retry.as_ref());
        let Some(retry) = retry.filter(|retry| &retry.revision == revision && retry.attempt > state.quarantined[index].attempt) else { return };
        if !input.held {
            attempt = retry.attempt;
            state.quarantined.remove(index);
        }
    }
    if input.held {
        return;
    }
    state.memory.history.retain(|earlier| earlier != revision);
    let stable = state.memory.stable.clone().unwrap_or_default();
    state.events.push(Event::normal("RolloutStarted", format!("{revision} is rolled out beside {stable}, attempt {attempt}")));
    state.memory.progress = Some(started(input, attempt, Stage::Shifting));
}

fn started(input: &Input<'_>, attempt: i32, stage: Stage) -> Progress {
    let now = Moment(input.now);
    Progress {
        id: format!("{}-{attempt}", input.plan.revision),
        revision: input.plan.revision.clone(),
        attempt,
        started: now,
        step: 0,
        stage,
        since: now,
        weight_since: None,
        deadline: deadline(input),
        ready_high_water: 0,
        ordered: None,
        cause: None,
        sentence: String::new(),
        saved: None,
        verdicts: Vec::new(),
        signals: crate::api::analysis_state::SignalMemory::default(),
        analysis: None,
    }
}

fn deadline(input: &Input<'_>) -> Moment {
    Moment(input.now + i64::from(input.plan.progress_deadline_seconds).seconds())
}

/// A rollout is on: looks at everything, then makes at most one move.
fn carry_on(input: &Input<'_>, mut progress: Progress, state: &mut Advanced) {
    let ready = input.facts.ready(&progress.revision);
    if ready > progress.ready_high_water {
        progress.ready_high_water = ready;
        progress.deadline = deadline(input);
    }
    let orders = commands::latch(input.snapshot.service.spec.control.as_ref(), &progress.revision, &mut state.memory);
    if let Some(order) = orders.iter().find(|order| **order != Command::Abort) {
        progress.ordered = Some(*order);
    }
    let judgement = judgement::judge(input.plan, &state.memory, &mut progress, input.facts, input.snapshot, input.measurements, input.now);
    let seen = see(input, &progress, &state.memory, &judgement, orders.contains(&Command::Abort));
    let to = next(progress.stage, progress.ordered, &seen);
    let moved = to != Move::Stay;
    if progress.stage == Stage::Starting && !moved {
        state.blocked = blocked(input, &progress, &judgement);
    }
    state.wakes.extend(judgement.wakes());
    note(input, &mut progress, &judgement, &seen, moved);
    let word = judgement.sentence();
    state.judge = save(input, &mut progress, judgement, moved);
    make(input, to, word, progress, state);
}

/// What there is to know before a move.
fn see(input: &Input<'_>, progress: &Progress, memory: &Memory, judgement: &Judgement, abort: bool) -> Seen {
    let (plan, facts, now) = (input.plan, input.facts, input.now);
    let stable = memory.stable.as_deref().unwrap_or_default();
    let shape = plan.shape(progress.step);
    let (ready, stable_ready) = (facts.ready(&progress.revision), facts.ready(stable));
    let late = now >= progress.deadline.0;
    let candidate_ready = ready >= shape.candidate;
    let reached = match progress.stage {
        Stage::Starting => ready >= plan.replicas && facts.deployed(&progress.revision).asked.is_some(),
        _ => candidate_ready && stable_ready >= shape.stable && facts.deployed(&progress.revision).asked.is_some(),
    };
    Seen {
        cause: cause(input, progress, stable, judgement, abort),
        reached,
        late,
        candidate_ready,
        held: input.held || plan.revision != progress.revision,
        passed: judgement.passed(),
        can_take_over: ready >= plan.replicas,
        can_go_back: stable_ready >= plan.replicas || (stable_ready > 0 && (ready == 0 || late)) || plan.replicas == 0,
        drained: drained(input, progress, stable),
        empty: plan.replicas == 0,
    }
}

/// Worst news first: what a person ordered, what the spec asks for now, what the pods show, what the numbers say.
fn cause(input: &Input<'_>, progress: &Progress, stable: &str, judgement: &Judgement, abort: bool) -> Option<Cause> {
    let because = |reason, message: String| Some(Cause { reason, message });
    let (wanted, candidate) = (&input.plan.revision, &progress.revision);
    let weight = judgement.weight;
    if abort {
        return because(CauseReason::Abort, format!("rolled back at {weight:.0}%: aborted by spec.control.abort"));
    }
    if input.accepted && wanted == stable {
        return because(CauseReason::Reverted, format!("rolled back at {weight:.0}%: the spec went back from {candidate} to {stable}"));
    }
    if input.accepted && wanted != candidate {
        return because(CauseReason::Superseded, format!("rolled back at {weight:.0}%: the spec went on from {candidate} to {wanted}"));
    }
    judgement.failure()
}

/// The front Service sends everything where it shall, and has done so for long enough that no proxy still sends anything elsewhere.
fn drained(input: &Input<'_>, progress: &Progress, stable: &str) -> bool {
    progress.stage == Stage::Draining
        && narrowed(input, progress, stable)
        && progress.weight_since.is_some_and(|since| input.now >= since.0 + DRAIN_SECONDS.seconds())
}

fn narrowed(input: &Input<'_>, progress: &Progress, stable: &str) -> bool {
    let winner = if progress.cause.is_some() { stable } else { &progress.revision };
    // Without ports there is no front Service, and nothing to be narrowed.
    input.facts.front.as_ref().is_none_or(|front| *front == Front::One(winner.to_owned()))
}

/// Timers of the stage, and the moment at which a drain begins.
fn note(input: &Input<'_>, progress: &mut Progress, judgement: &Judgement, seen: &Seen, moved: bool) {
    if progress.stage == Stage::Draining && progress.weight_since.is_none() {
        let winner_is_stable = progress.cause.is_some();
        let narrowed = input.facts.front.as_ref().is_none_or(|front| match front {
            Front::One(revision) => (*revision != progress.revision) == winner_is_stable,
            Front::All => false,
        });
        if narrowed {
            progress.weight_since = Some(Moment(input.now));
        }
    }
    if !moved {
        let sentence = waiting(input, progress, judgement, seen);
        let due = progress.saved.is_none_or(|saved| input.now >= saved.0 + SAVE_SECONDS.seconds());
        if due || progress.sentence.is_empty() || reasons(&verdicts(judgement)) != reasons(&progress.verdicts) {
            progress.sentence = sentence;
        }
    }
}

/// What is waited for, in one sentence.
fn waiting(input: &Input<'_>, progress: &Progress, judgement: &Judgement, seen: &Seen) -> String {
    let (plan, facts) = (input.plan, input.facts);
    let ready = facts.ready(&progress.revision);
    let until = progress.deadline.0.strftime("%H:%M:%S");
    let why = || why_not_ready(input, &progress.revision).map(|why| format!(": {why}")).unwrap_or_default();
    match progress.stage {
        Stage::Starting => format!("{ready} of {} pods of {} are ready, waiting until {until} for one more{}", plan.replicas, progress.revision, why()),
        Stage::Shifting if !seen.candidate_ready => format!(
            "{}: {ready} of {} pods of {} are ready, waiting until {until} for one more{}",
            step_name(plan, progress.step),
            plan.shape(progress.step).candidate,
            progress.revision,
            why()
        ),
        Stage::Shifting => format!("{}: waiting until {until} for the pods of the running revision", step_name(plan, progress.step)),
        Stage::Soaking | Stage::Baking => judgement.sentence().unwrap_or_default(),
        Stage::RollingBack => format!(
            "{}; waiting until {until} for the running revision to have {} pods ready",
            progress.cause.as_ref().map(|cause| cause.message.as_str()).unwrap_or_default(),
            plan.replicas
        ),
        Stage::Draining => match &progress.cause {
            Some(cause) => cause.message.clone(),
            None => format!("{} serves everything; the pods of the revision before it drain", progress.revision),
        },
    }
}

/// A step's name for people: `step 1/3`, or `full`.
#[must_use]
pub fn step_name(plan: &Plan, step: i32) -> String {
    if step >= plan.steps() { "full".to_owned() } else { format!("step {}/{}", step + 1, plan.steps()) }
}

fn why_not_ready(input: &Input<'_>, revision: &str) -> Option<String> {
    let pods: Vec<PodState> = input.snapshot.pods.iter().map(|pod| pod.state.clone()).collect();
    let refused = input.facts.refused.iter().find(|refused| refused.revision == revision).map(|refused| refused.message.clone());
    refused.or_else(|| signals::why_not_ready(&pods, revision, input.now))
}

/// Why the first revision cannot come up, if it cannot.
fn blocked(input: &Input<'_>, progress: &Progress, judgement: &Judgement) -> Option<String> {
    let failed = judgement.signals.iter().find(|signal| signal.outcome == Outcome::Fail || !input.facts.refused.is_empty());
    if let Some(signal) = failed {
        return Some(signal.sentence.clone());
    }
    (input.now >= progress.deadline.0).then(|| {
        let why = why_not_ready(input, &progress.revision).map(|why| format!(": {why}")).unwrap_or_default();
        format!(
            "{} of {} pods of {} became ready, and not one more in {} s{why}",
            input.facts.ready(&progress.revision),
            input.plan.replicas,
            progress.revision,
            input.plan.progress_deadline_seconds
        )
    })
}

/// Writes evidence and analysis into the memory: with every decision, and else every 30 seconds.
fn save(input: &Input<'_>, progress: &mut Progress, mut judgement: Judgement, moved: bool) -> Option<Judge> {
    let found = verdicts(&judgement);
    let due = progress.saved.is_none_or(|saved| input.now >= saved.0 + SAVE_SECONDS.seconds());
    if judgement.judge.is_some() && (moved || due || reasons(&found) != reasons(&progress.verdicts)) {
        progress.saved = Some(Moment(input.now));
        progress.analysis = judgement.judge.as_mut().map(Judge::state);
        if judgement.assessment.is_some() {
            progress.verdicts = found;
        }
    }
    judgement.judge
}

fn reasons(verdicts: &[ObjectiveReport]) -> Vec<(&str, Option<&str>)> {
    verdicts.iter().map(|report| (report.verdict.as_str(), report.reason.as_deref())).collect()
}

fn verdicts(judgement: &Judgement) -> Vec<ObjectiveReport> {
    let objectives = judgement.assessment.iter().flat_map(|assessment| &assessment.objectives);
    let of = |counts: super::analysis::EvidenceCounts| format!("{} of {}", counts.bad, counts.total);
    objectives
        .map(|objective| {
            let (verdict, reason) = match objective.verdict {
                Verdict::Pass => ("Pass", None),
                Verdict::Fail(reason) => ("Fail", Some(format!("{reason:?}"))),
                Verdict::Pending(reason) => ("Pending", Some(format!("{reason:?}"))),
            };
            ObjectiveReport {
                name: objective.name.clone(),
                verdict: verdict.to_owned(),
                reason,
                evidence: format!("{:.3e}", objective.e),
                candidate: of(objective.candidate),
                stable: of(objective.stable),
            }
        })
        .collect()
}

/// Makes the move.
fn make(input: &Input<'_>, to: Move, word: Option<String>, mut progress: Progress, state: &mut Advanced) {
    let plan = input.plan;
    let at = Moment(input.now);
    let enter = |progress: &mut Progress, stage: Stage| {
        progress.stage = stage;
        progress.since = at;
        progress.weight_since = None;
        progress.deadline = deadline(input);
        progress.sentence.clear();
    };
    match to {
        Move::Stay => {}
        Move::Watch => {
            let full = progress.step >= plan.steps();
            enter(&mut progress, if full { Stage::Baking } else { Stage::Soaking });
            progress.weight_since = Some(at);
            let seconds = if full { plan.bake_seconds } else { plan.soak_seconds(progress.step) };
            let shape = plan.shape(progress.step);
            progress.sentence = format!(
                "{}: {} of {} pods are {}'s, asked {}%; watched for {seconds} s",
                if full { "bake".to_owned() } else { step_name(plan, progress.step) },
                shape.candidate,
                shape.candidate + shape.stable,
                progress.revision,
                plan.asked_weight(progress.step)
            );
            state.events.push(Event::normal(if full { "Baking" } else { "StepReached" }, progress.sentence.clone()));
        }
        Move::Advance | Move::Full => {
            let ordered = progress.ordered.map(|_| "by spec.control.promote".to_owned());
            let why = ordered.or(word.map(|word| word.trim_start_matches("step passed: ").to_owned())).unwrap_or_default();
            let passed = format!("{} passed: {why}", step_name(plan, progress.step));
            state.events.push(Event::normal("StepPassed", passed));
            progress.step = if to == Move::Full { plan.steps() } else { progress.step + 1 };
            progress.ordered = None;
            enter(&mut progress, Stage::Shifting);
        }
        Move::TakeOver => {
            progress.ordered = None;
            enter(&mut progress, Stage::Draining);
        }
        Move::GoBack(cause) => {
            let cause = complete(input, &progress, cause);
            state.events.push(Event::warning("RollingBack", cause.message.clone()));
            progress.cause = Some(cause);
            enter(&mut progress, Stage::RollingBack);
        }
        Move::Narrow => enter(&mut progress, Stage::Draining),
        Move::Finish => {
            finish(input, progress, state);
            return;
        }
    }
    state.wakes.extend(timers(input, &progress));
    state.memory.progress = Some(progress);
}

/// A deadline's cause is told by the pods themselves.
fn complete(input: &Input<'_>, progress: &Progress, cause: Cause) -> Cause {
    if !cause.message.is_empty() {
        return cause;
    }
    let why = why_not_ready(input, &progress.revision).map(|why| format!(": {why}")).unwrap_or_default();
    let message = format!(
        "rolled back: {} of {} pods of {} became ready, and not one more in {} s{why}",
        input.facts.ready(&progress.revision),
        input.plan.shape(progress.step).candidate,
        progress.revision,
        input.plan.progress_deadline_seconds
    );
    Cause { message, ..cause }
}

/// The named timers: progress deadline, and the end of a drain. Soak, bake and measurements are the judge's and `due`'s.
fn timers(input: &Input<'_>, progress: &Progress) -> Option<Timestamp> {
    match progress.stage {
        Stage::Starting | Stage::Shifting | Stage::RollingBack => Some(progress.deadline.0),
        Stage::Draining => progress.weight_since.map(|since| since.0 + DRAIN_SECONDS.seconds()),
        Stage::Soaking | Stage::Baking => None,
    }
    .filter(|at| *at > input.now)
}

/// The rollout is over.
fn finish(input: &Input<'_>, progress: Progress, state: &mut Advanced) {
    let at = Moment(input.now);
    state.judge = None;
    state.memory.calibration = progress.analysis.as_ref().map(crate::api::analysis_state::AnalysisState::settled).or(state.memory.calibration.take());
    let seconds = input.now.duration_since(progress.started.0).as_secs();
    let (promoted, message) = match progress.cause {
        Some(cause) => {
            if !matches!(cause.reason, CauseReason::Superseded | CauseReason::Reverted) {
                state.quarantined.retain(|entry| entry.revision != progress.revision);
                state.quarantined.push(Quarantined {
                    revision: progress.revision.clone(),
                    attempt: progress.attempt,
                    at,
                    reason: cause.message.clone(),
                });
                let superfluous = state.quarantined.len().saturating_sub(QUARANTINE);
                state.quarantined.drain(..superfluous);
            }
            (false, cause.message)
        }
        None => {
            let message = match state.memory.stable.replace(progress.revision.clone()) {
                Some(before) => {
                    state.memory.history.retain(|earlier| *earlier != progress.revision);
                    state.memory.history.insert(0, before.clone());
                    state.memory.history.truncate(HISTORY);
                    format!("promoted {} after {seconds} s; {before} before it", progress.revision)
                }
                None => format!("{}, the first revision, became ready after {seconds} s", progress.revision),
            };
            (true, message)
        }
    };
    let (reason, warning) = if promoted { ("Promoted", false) } else { ("RolledBack", true) };
    state.events.push(Event { warning, reason, message: message.clone() });
    state.memory.last = Some(Ended { id: progress.id, at, promoted, message });
}
