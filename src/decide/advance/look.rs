//! What there is to know before a move.

use jiff::ToSpan as _;

use super::Input;
use crate::api::status::{Cause, CauseReason, Memory, Progress, Stage};
use crate::decide::facts::Facts;
use crate::decide::judgement::Judgement;
use crate::decide::plan::Plan;
use crate::decide::strategy::Front;
use crate::decide::strategy::canary::Seen;
use crate::decide::strategy::chosen;
use crate::decide::strategy::shares;
use crate::decide::strategy::target::enough_to_go_back;
use crate::decide::traffic::DRAIN_SECONDS;

/// Looks at pods, clocks, spec, commands and the judge's word.
#[must_use]
pub fn look(input: &Input<'_>, progress: &Progress, memory: &Memory, judgement: &Judgement, abort: bool) -> Seen {
    let (plan, facts) = (input.plan, input.facts);
    let stable = memory.stable.as_deref().unwrap_or_default();
    let shape = plan.shape(plan.step_of(progress));
    let deployed = facts.deployed(&progress.revision).asked.is_some();
    let (ready, stable_ready) = (facts.ready(&progress.revision), facts.ready(stable));
    let late = input.now >= progress.deadline.0;
    let shifts = plan.shifts_weights();
    let candidate_ready = deployed && (if shifts { facts.reachable(&progress.revision) } else { ready }) >= shape.candidate;
    Seen {
        shiftable: shifts
            && progress.stage == Stage::Shifting
            && (stable_ready >= shape.stable || late)
            && shares::next_weight(plan, progress, facts).is_some(),
        unreported: shares::is_unreported(plan, progress, facts),
        cause: cause(input, progress, stable, judgement, abort).filter(|cause| turns_back(progress, cause)),
        reached: match progress.stage {
            Stage::Gated => false,
            Stage::Starting => deployed && ready >= plan.replicas,
            _ if shifts => {
                candidate_ready
                    && shares::is_asked(plan, progress)
                    && shares::in_force(progress, facts)
                    && shares::copies(plan, progress, facts)
            }
            _ => candidate_ready && stable_ready >= shape.stable,
        },
        late,
        candidate_ready,
        conflicted: !input.conflicts.is_empty(),
        held: input.held || plan.revision != progress.revision,
        passed: judgement.passed(),
        in_force: progress.weight_since.is_some(),
        left_out: chosen::left_out(plan, progress, judgement).is_some(),
        barred: false,
        can_take_over: ready >= plan.replicas,
        can_go_back: stable_ready >= enough_to_go_back(plan, progress, input.now) || stable_ready > 0 && ready == 0,
        gives_up: late,
        drained: progress.weight_since.is_some_and(|since| input.now >= since.0 + drain_seconds(plan).seconds())
            && narrowed(plan, facts, progress, stable)
            && carries(progress, ready, stable_ready, plan.replicas),
        empty: plan.replicas == 0,
    }
}

/// Whether the cause turns a rollout in this stage. A way back never turns again; and what has passed everything is promoted before the next
/// revision begins.
fn turns_back(progress: &Progress, cause: &Cause) -> bool {
    progress.cause.is_none() && (progress.stage != Stage::Draining || cause.reason != CauseReason::Superseded)
}

/// What gets everything still has its pods: those of a promoted revision can be lost between the takeover and the end of the drain. On the way
/// back nothing is waited for but one pod: a bad candidate is not kept for the sake of its capacity.
fn carries(progress: &Progress, candidate_ready: i32, stable_ready: i32, required: i32) -> bool {
    if progress.cause.is_none() { candidate_ready >= required } else { stable_ready > 0 || candidate_ready == 0 }
}

/// The front Service, and the router if there is one, are seen to send everything to the revision that shall have it. Without ports there is no
/// such Service, and nothing to wait for.
#[must_use]
pub fn narrowed(plan: &Plan, facts: &Facts, progress: &Progress, stable: &str) -> bool {
    let winner = if progress.cause.is_some() { stable } else { &progress.revision };
    facts.front.as_ref().is_none_or(|front| *front == Front::One(winner.to_owned())) && shares::is_alone(plan, winner, facts)
}

/// Seconds between that and the end of the pods that lost the traffic. Their own preStop sleep comes on top.
#[must_use]
pub fn drain_seconds(plan: &Plan) -> i64 {
    plan.route.as_ref().filter(|route| route.weighted).map_or(DRAIN_SECONDS, |route| route.drain_seconds).into()
}

/// Whether the bake's clock starts now: users are seen to be served by the candidate. Where traffic is divided, they are from its first pod on.
#[must_use]
pub fn switched(input: &Input<'_>, progress: &Progress) -> bool {
    let everything = Front::One(progress.revision.clone());
    progress.stage == Stage::Baking
        && progress.weight_since.is_none()
        && input.facts.front.as_ref().is_none_or(|front| *front == everything)
        && shares::is_alone(input.plan, &progress.revision, input.facts)
}

/// Worst news first: what a person ordered, what the spec asks for now, what the pods show, what the numbers say.
fn cause(input: &Input<'_>, progress: &Progress, stable: &str, judgement: &Judgement, abort: bool) -> Option<Cause> {
    let because = |reason, why: String| Some(Cause { reason, message: format!("rolled back at {:.0}%: {why}", judgement.weight) });
    let (wanted, candidate) = (&input.plan.revision, &progress.revision);
    if abort {
        return because(CauseReason::Abort, format!("{candidate} was aborted by spec.control.abort"));
    }
    if input.accepted && wanted == stable {
        return because(CauseReason::Reverted, format!("the spec went back from {candidate} to {stable}"));
    }
    if input.accepted && wanted != candidate {
        return because(CauseReason::Superseded, format!("the spec went on from {candidate} to {wanted}"));
    }
    judgement.failure()
}
