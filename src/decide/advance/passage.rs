//! What stands between a rollout and its next move forward.

use super::{Advanced, Input};
use crate::api::status::{Cause, CauseReason, Command, Progress, Stage};
use crate::decide::gates::{self, Passage};
use crate::decide::plan::Plan;
use crate::decide::strategy::canary::Seen;

/// Looks at the gates before the next move forward. One that is closed sends the candidate back, unless something worse does.
#[must_use]
pub fn pass(input: &Input<'_>, progress: &mut Progress, seen: &mut Seen, state: &mut Advanced) -> Passage {
    let Some(to) = next_step(input.plan, progress, seen) else { return Passage::default() };
    gates::load::observe(input.plan, progress, &input.measurements.answers);
    gates::record_approvals(input.snapshot.service.spec.control.as_ref(), input.snapshot, progress, input.now);
    let through = progress.stage == Stage::Gated || progress.ordered.is_some() || seen.left_out || (seen.passed && !seen.empty);
    let wants = through && !seen.held && seen.cause.is_none();
    let first = state.memory.stable.is_none();
    let mut passage = gates::pass(input.plan, input.snapshot, progress, to, wants, first, input.now);
    seen.barred = passage.barred;
    if let Some(why) = passage.closed.as_ref().filter(|_| !first) {
        seen.cause.get_or_insert_with(|| Cause { reason: CauseReason::Gate, message: why.clone() });
    }
    state.events.append(&mut passage.events);
    state.wakes.append(&mut passage.wakes);
    passage
}

/// The step that the next move forward leads to, if gates can stand before it.
fn next_step(plan: &Plan, progress: &Progress, seen: &Seen) -> Option<i32> {
    match progress.stage {
        // Without pods there are no steps: the revision takes the other one's place when it begins.
        Stage::Gated if seen.empty => Some(plan.steps()),
        Stage::Gated => Some(0),
        Stage::Shifting | Stage::Soaking if progress.step < plan.steps() => {
            let full = seen.empty || progress.ordered == Some(Command::PromoteFull);
            Some(if full { plan.steps() } else { progress.step + 1 })
        }
        _ => None,
    }
}
