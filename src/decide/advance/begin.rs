//! How a rollout begins: the very first revision, one beside stable, or what is left over when the memory was lost.

use super::{Advanced, Input, deadline};
use crate::api::analysis_state::SignalMemory;
use crate::api::status::{Cause, CauseReason, Memory, Moment, Progress, Stage};
use crate::decide::Event;
use crate::decide::{gates, memory};

/// After the memory was lost: a revision beside stable that has pods and is not about to be rolled out is taken back like any candidate, in the
/// capacity guard's order. One that the spec asks for begins its rollout anew with the pods that it has.
pub fn left_over(input: &Input<'_>, memory: &Memory) -> Option<Progress> {
    let stable = memory.stable.as_ref()?;
    let others = input.facts.revisions.iter().filter(|(revision, deployed)| *revision != stable && deployed.ready > 0);
    let (revision, _) = others.max_by_key(|(_, deployed)| deployed.ready)?;
    if *revision == input.plan.revision && !input.held {
        return None;
    }
    let message = format!("the memory in status was lost: {stable} serves most and is stable, {revision} beside it is taken back");
    Some(Progress {
        id: format!("{revision}-1"),
        revision: revision.clone(),
        sentence: message.clone(),
        cause: Some(Cause { reason: CauseReason::Superseded, message }),
        ..started(input, 1, Stage::RollingBack)
    })
}

/// No rollout is on: does one begin?
pub fn begin(input: &Input<'_>, state: &mut Advanced) {
    let revision = &input.plan.revision;
    if !input.accepted || state.memory.stable.as_ref() == Some(revision) {
        return;
    }
    if state.memory.stable.is_none() {
        if input.paused {
            return;
        }
        state
            .events
            .push(Event::normal("FirstRevision", format!("{revision} is the first revision: all {} pods at once", input.plan.replicas)));
        state.memory.progress = Some(first(input, 1));
        return;
    }
    let mut attempt = 1;
    if let Some(index) = state.quarantined.iter().position(|entry| &entry.revision == revision) {
        let Some(retry) = retried(input, revision, state.quarantined[index].attempt) else { return };
        if !input.held {
            attempt = retry;
            state.quarantined.remove(index);
        }
    }
    if input.held {
        return;
    }
    let stable = state.memory.stable.clone().unwrap_or_default();
    state.events.push(Event::normal("RolloutStarted", format!("{revision} is rolled out beside {stable}, attempt {attempt}")));
    // Where nothing serves nothing can be watched, and nothing has to be: the next pods are the new revision's.
    let empty = input.plan.replicas == 0;
    // After the memory was lost, a revision that has pods is past its start, whatever was waited for there.
    let under_way = memory::lost(input.snapshot, &state.memory) && input.facts.ready(revision) > 0;
    let entered = if !under_way && gates::before_the_start(input.plan, false, input.now) {
        Stage::Gated
    } else if empty {
        Stage::Draining
    } else {
        Stage::Shifting
    };
    let progress = started(input, attempt, entered);
    let at_once = entered == Stage::Draining;
    let sentence =
        if at_once { format!("{revision} takes the place of {stable} at once: there are 0 replicas") } else { progress.sentence };
    state.memory.progress = Some(Progress { sentence, ..progress });
}

/// The very first revision, or the one that takes its place: there is nothing to go back to.
pub fn first(input: &Input<'_>, attempt: i32) -> Progress {
    let gated = gates::before_the_start(input.plan, true, input.now);
    started(input, attempt, if gated { Stage::Gated } else { Stage::Starting })
}

/// The attempt that `spec.control.retry` asks for, if it is a later one.
pub fn retried(input: &Input<'_>, revision: &str, attempt: i32) -> Option<i32> {
    let retry = input.snapshot.service.spec.control.as_ref()?.retry.as_ref()?;
    (retry.revision == revision && retry.attempt > attempt).then_some(retry.attempt)
}

fn started(input: &Input<'_>, attempt: i32, stage: Stage) -> Progress {
    let now = Moment(input.now);
    let sentence = if stage == Stage::Gated {
        format!("{} waits before its first pod", input.plan.revision)
    } else {
        let pods = if stage == Stage::Starting { input.plan.replicas } else { input.plan.shape(0).candidate };
        let until = deadline(input).0.strftime("%H:%M:%S");
        format!("{}: 0 of {pods} pods are ready, waiting until {until} for one more", input.plan.revision)
    };
    Progress {
        id: format!("{}-{attempt}", input.plan.revision),
        revision: input.plan.revision.clone(),
        attempt,
        started: now,
        step: 0,
        stage,
        weight: None,
        since: now,
        weight_since: None,
        deadline: deadline(input),
        ready_high_water: 0,
        approvals: Vec::new(),
        gates: Vec::new(),
        ordered: None,
        cause: None,
        sentence,
        saved: None,
        verdicts: Vec::new(),
        history: None,
        queries: Vec::new(),
        signals: SignalMemory::default(),
        analysis: None,
    }
}
