//! Moves the rollout: the only place that does.
//!
//! `Memory`, facts and the judge's word go in, the new `Memory` comes out. Nothing takes effect before that is written: what shall exist is
//! computed from it, so a crash at any point only delays objects that the next reconcile renders again.

mod begin;
mod evidence;
mod look;
mod passage;
mod words;

use jiff::{Timestamp, ToSpan as _};

use super::Event;
use super::analysis::Judge;
use super::commands;
use super::facts::Facts;
use super::judgement::{self, Judgement};
use super::measured;
use super::memory;
use super::memory::HISTORY;
use super::plan::Plan;
use super::snapshot::{Measurements, Snapshot};
use super::strategy::canary::{Move, next};
use super::strategy::{chosen, shares, target};
use crate::api::analysis_state::AnalysisState;
use crate::api::status::{Cause, CauseReason, Command, Memory, Moment, Outcome, Progress, Quarantined, Stage};

pub use words::step_name;

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
    /// Foreign objects that stand where ours belong, in words.
    pub conflicts: &'a [String],
    /// `spec.control.paused` says so.
    pub paused: bool,
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
pub fn advance(input: &Input<'_>, remembered: Memory, quarantined: Vec<Quarantined>) -> Advanced {
    let mut state = Advanced { memory: remembered, quarantined, judge: None, blocked: None, events: Vec::new(), wakes: Vec::new() };
    match state.memory.progress.take() {
        None if memory::lost(input.snapshot, &state.memory) => {
            state.memory.progress = begin::left_over(input, &state.memory);
            if state.memory.progress.is_none() {
                begin::begin(input, &mut state);
            }
        }
        None => begin::begin(input, &mut state),
        Some(progress)
            if state.memory.stable.is_none()
                && input.accepted
                && !input.paused
                && (progress.revision != input.plan.revision || begin::retried(input, &progress.revision, progress.attempt).is_some()) =>
        {
            let (old, new) = (&progress.revision, &input.plan.revision);
            let message = format!("{new} takes the place of {old}, which never became ready: all {} pods at once", input.plan.replicas);
            state.events.push(Event::normal("FirstRevision", message));
            state.memory.progress = Some(begin::first(input, begin::retried(input, new, 1).unwrap_or(1)));
        }
        Some(progress) => carry_on(input, progress, &mut state),
    }
    let Advanced { memory, quarantined, .. } = &mut state;
    let (stable, history) = (memory.stable.clone(), memory.history.clone());
    let candidate = memory.progress.as_ref().map(|progress| progress.revision.clone());
    memory.measured.retain(|measured| [&stable, &candidate].contains(&&Some(measured.revision.clone())));
    commands::forget(memory, |revision| {
        stable.as_deref() == Some(revision)
            || candidate.as_deref() == Some(revision)
            || history.iter().any(|earlier| earlier == revision)
            || quarantined.iter().any(|entry| entry.revision == revision)
    });
    state
}

fn deadline(input: &Input<'_>) -> Moment {
    Moment(input.now + i64::from(input.plan.progress_deadline_seconds).seconds())
}

/// A rollout is on: looks at everything, then makes at most one move.
fn carry_on(input: &Input<'_>, mut progress: Progress, state: &mut Advanced) {
    let ready = input.facts.ready(&progress.revision);
    if ready > progress.ready_high_water {
        progress.ready_high_water = ready;
        if progress.cause.is_none() {
            progress.deadline = deadline(input);
        }
    }
    if never_ordered(input, &progress, &state.memory) {
        progress.deadline = deadline(input);
    }
    let orders = commands::latch(input.snapshot.service.spec.control.as_ref(), &progress.revision, &mut state.memory);
    progress.ordered = orders.iter().find(|order| **order != Command::Abort).copied().or(progress.ordered);
    if input.plan.switches() && look::switched(input, &progress) {
        (progress.weight_since, progress.saved) = (Some(Moment(input.now)), None);
        state.events.push(Event::normal("Switched", format!("{} serves everything", progress.revision)));
    }
    let mut judgement =
        judgement::judge(input.plan, &state.memory, &mut progress, input.facts, input.snapshot, input.measurements, input.now);
    let mut seen = look::look(input, &progress, &state.memory, &judgement, orders.contains(&Command::Abort));
    let passage = passage::pass(input, &mut progress, &mut seen, state);
    let to = next(progress.stage, progress.ordered, &seen);
    let stays = to == Move::Stay;
    if stays && state.memory.stable.is_none() {
        let pods = || words::blocked(input, &progress, &judgement).filter(|_| progress.stage != Stage::Gated);
        state.blocked = passage.closed.as_ref().map(|why| words::tried_again(why, &progress)).or_else(pods);
    }
    let stable = state.memory.stable.as_deref().unwrap_or_default();
    let sentence = passage.sentence.clone().unwrap_or_else(|| words::waiting(input, &progress, stable, &judgement, &seen));
    let found = input.measurements.scrape.as_ref().map(|scrape| measured::found(scrape, &input.plan.settings)).unwrap_or_default();
    let waits = passage.sentence.is_some() || words::tells_of_pods(progress.stage, &judgement);
    let told = stays && sentence != progress.sentence && waits;
    let news = told || measured::is_news(&found, &state.memory.measured);
    if evidence::due(&progress, &judgement, !stays || news, input.now) {
        measured::take_in(found, &mut state.memory.measured);
        if stays {
            progress.sentence = sentence;
        }
        evidence::save(&mut progress, &mut judgement, input.now);
    }
    let stable = state.memory.stable.as_deref().unwrap_or_default();
    if progress.stage == Stage::Draining {
        // The drain's clock runs only while the Service is seen to leave the loser out.
        let narrowed = look::narrowed(input.plan, input.facts, &progress, stable);
        progress.weight_since = narrowed.then(|| progress.weight_since.unwrap_or(Moment(input.now)));
    }
    state.wakes.extend(judgement.wakes());
    make(input, to, &judgement, progress, state);
    state.judge = judgement.judge.filter(|_| state.memory.progress.is_some());
}

/// The deadline has passed, and the cluster was never asked for the pods that it is about: the operator was away between its decision and the
/// Deployment. They get their time, once.
fn never_ordered(input: &Input<'_>, progress: &Progress, memory: &Memory) -> bool {
    let once = progress.deadline.0 <= progress.since.0 + i64::from(input.plan.progress_deadline_seconds).seconds();
    let Some(stable) = memory.stable.as_deref().filter(|_| progress.stage == Stage::Shifting && once && input.now >= progress.deadline.0)
    else {
        return false;
    };
    let ordered = target::rollout(input.plan, progress, stable, input.facts, input.now).replicas.get(&progress.revision).copied();
    ordered > Some(input.facts.asked(&progress.revision))
}

/// Makes the move.
fn make(input: &Input<'_>, to: Move, judgement: &Judgement, mut progress: Progress, state: &mut Advanced) {
    let plan = input.plan;
    let enter = |progress: &mut Progress, stage: Stage| {
        progress.stage = stage;
        progress.since = Moment(input.now);
        progress.weight_since = None;
        progress.deadline = deadline(input);
        progress.saved = None;
    };
    match to {
        Move::Stay => {}
        Move::Shift => {
            progress.weight = shares::next_weight(plan, &progress, input.facts).or(progress.weight);
            progress.deadline = deadline(input);
            progress.sentence = words::asked(plan, &progress);
            state.events.push(Event::normal("WeightAsked", progress.sentence.clone()));
        }
        Move::Watch => {
            let full = progress.step >= plan.steps();
            enter(&mut progress, if full { Stage::Baking } else { Stage::Soaking });
            // A switch has to be seen before its clock starts.
            progress.weight_since = (!full || !plan.switches()).then_some(Moment(input.now));
            progress.saved = Some(Moment(input.now));
            progress.sentence = words::watching(plan, &progress, full);
            state.events.push(Event::normal(if full { "Baking" } else { "StepReached" }, progress.sentence.clone()));
        }
        Move::Advance | Move::Full => {
            let name = step_name(plan, plan.step_of(&progress));
            let word = judgement.sentence().unwrap_or_default();
            let left_out = chosen::left_out(plan, &progress, judgement).filter(|_| progress.ordered.is_none() && !judgement.passed());
            let why = if progress.ordered.is_some() {
                "by spec.control.promote"
            } else if judgement.unasked {
                "nothing speaks against it; its users' evidence comes after the switch"
            } else {
                word.split_once("passed: ").map_or(word.as_str(), |(_, why)| why)
            };
            progress.sentence = match &left_out {
                Some(why) => format!("{name} left out: {why}"),
                None => format!("{name} passed: {why}"),
            };
            let reason = if left_out.is_some() { "StepLeftOut" } else { "StepPassed" };
            state.events.push(Event::normal(reason, progress.sentence.clone()));
            progress.step = if to == Move::Full { plan.steps() } else { progress.step + 1 };
            progress.ordered = None;
            enter(&mut progress, Stage::Shifting);
        }
        Move::TakeOver => {
            progress.ordered = None;
            progress.sentence = format!("{} takes over", progress.revision);
            enter(&mut progress, Stage::Draining);
        }
        Move::Begin => {
            progress.sentence = format!("{} may begin", progress.revision);
            let entered = if state.memory.stable.is_none() {
                Stage::Starting
            } else if plan.replicas == 0 {
                Stage::Draining
            } else {
                Stage::Shifting
            };
            enter(&mut progress, entered);
        }
        // Nothing was made yet, so there is nothing to go back from.
        Move::GoBack(cause) if progress.stage == Stage::Gated => {
            let why = cause.message.strip_prefix("rolled back at 0%: ").unwrap_or(&cause.message);
            progress.cause = Some(Cause { message: format!("given up before its first pod: {why}"), ..cause });
            finish(input, progress, state);
            return;
        }
        Move::GoBack(mut cause) => {
            if cause.reason == CauseReason::Gate {
                cause.message = format!("rolled back at {:.0}%: {}", judgement.weight, cause.message);
            }
            if cause.reason == CauseReason::ProgressDeadline {
                let wanted = plan.shape(plan.step_of(&progress)).candidate;
                let silent = words::silent_router(plan, &progress, input.facts);
                let why = if let Some(silent) = silent {
                    silent
                } else if progress.stage == Stage::Baking {
                    format!("Service {} was not seen to select {} in {} s", plan.name, progress.revision, plan.progress_deadline_seconds)
                } else {
                    words::too_late(input, &progress.revision, wanted)
                };
                cause.message = format!("rolled back at {:.0}%: {why}", judgement.weight);
            }
            progress.sentence.clone_from(&cause.message);
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
    state.wakes.extend(timer(input, &progress));
    state.memory.progress = Some(progress);
}

/// The stage's named timer: progress deadline, end of a soak or bake, end of a drain. Measurements are `due`'s.
fn timer(input: &Input<'_>, progress: &Progress) -> Option<Timestamp> {
    let help = || [progress.since.0 + target::HELP_SECONDS.seconds(), progress.deadline.0].into_iter().filter(|at| *at > input.now).min();
    let at = match progress.stage {
        Stage::RollingBack => help(),
        Stage::Starting | Stage::Shifting => Some(progress.deadline.0),
        Stage::Gated => None,
        // Where stable loses its pods in the drain, the candidate helps out once more.
        Stage::Draining => progress
            .weight_since
            .map(|since| since.0 + look::drain_seconds(input.plan).seconds())
            .filter(|at| *at > input.now)
            .or_else(help),
        Stage::Soaking => progress.weight_since.map(|since| since.0 + i64::from(input.plan.soak_seconds(progress.step)).seconds()),
        Stage::Baking => {
            Some(progress.weight_since.map_or(progress.deadline.0, |since| since.0 + i64::from(input.plan.bake_seconds).seconds()))
        }
    };
    at.filter(|at| *at > input.now)
}

/// The rollout is over.
fn finish(input: &Input<'_>, progress: Progress, state: &mut Advanced) {
    let seconds = input.now.duration_since(progress.started.0).as_secs();
    let memory = &mut state.memory;
    memory.calibration = progress.analysis.as_ref().map(AnalysisState::settled).or(memory.calibration.take());
    let promoted = progress.cause.is_none();
    let message = if let Some(cause) = &progress.cause {
        if quarantine(input, &progress, cause, &mut state.quarantined) {
            // Of a quarantined revision nothing is kept but its record.
            memory.history.retain(|earlier| *earlier != progress.revision);
        }
        cause.message.clone()
    } else if let Some(before) = memory.stable.replace(progress.revision.clone()) {
        memory.history.retain(|earlier| *earlier != progress.revision);
        memory.history.insert(0, before.clone());
        memory.history.truncate(HISTORY);
        format!("promoted {} after {seconds} s; {before} before it", progress.revision)
    } else {
        format!("{}, the first revision, became ready after {seconds} s", progress.revision)
    };
    let (reason, warning) = if promoted { ("Promoted", false) } else { ("RolledBack", true) };
    state.events.push(Event { warning, reason, message: message.clone() });
    memory.last = Some(Outcome { id: progress.id, at: Moment(input.now), promoted, approvals: progress.approvals, message });
}

/// A revision that was taken back is not tried again by itself. One that the spec itself left is not at fault: `false`.
fn quarantine(input: &Input<'_>, progress: &Progress, cause: &Cause, quarantined: &mut Vec<Quarantined>) -> bool {
    if matches!(cause.reason, CauseReason::Superseded | CauseReason::Reverted) {
        return false;
    }
    quarantined.retain(|entry| entry.revision != progress.revision);
    quarantined.push(Quarantined {
        revision: progress.revision.clone(),
        attempt: progress.attempt,
        at: Moment(input.now),
        reason: cause.message.clone(),
    });
    let superfluous = quarantined.len().saturating_sub(QUARANTINE);
    quarantined.drain(..superfluous);
    true
}
