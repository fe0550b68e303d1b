//! How many pods each revision shall have at this moment, and who gets the traffic: the capacity guard.
//!
//! The order is always capacity → pods seen ready → traffic → seen → drain → scale down. A revision shrinks only as far as the ready pods of
//! the other one already cover, so no write can leave fewer ready pods than the load needs, whatever is seen in between.

use super::{Front, Target};
use crate::api::status::{Memory, Progress, Quarantined, Stage};
use crate::decide::facts::{Deployed, Facts};
use crate::decide::plan::Plan;

/// What shall exist now.
#[must_use]
pub fn target(plan: &Plan, memory: &Memory, quarantined: &[Quarantined], facts: &Facts) -> Target {
    let mut target = match (&memory.progress, &memory.stable) {
        (Some(progress), Some(stable)) if progress.stage == Stage::Gated => only(stable, plan.replicas),
        (Some(progress), Some(stable)) => rollout(plan, progress, stable, facts),
        (Some(progress), None) if progress.stage == Stage::Gated => with_serving(Target::default(), &progress.revision, facts),
        (Some(progress), None) => first(plan, progress, facts),
        (None, Some(stable)) => only(stable, plan.replicas),
        (None, None) => Target::default(),
    };
    target.stable.clone_from(&memory.stable);
    for revision in &memory.history {
        target.replicas.entry(revision.clone()).or_insert(0);
    }
    target.records = target.replicas.keys().cloned().chain(quarantined.iter().map(|entry| entry.revision.clone())).collect();
    target
}

fn only(revision: &str, replicas: i32) -> Target {
    Target {
        replicas: [(revision.to_owned(), replicas)].into(),
        front: Front::One(revision.to_owned()),
        routed: vec![revision.to_owned()],
        ..Target::default()
    }
}

/// The first revision gets everything at once. One that it replaces before ever being stable stays only while it alone has ready pods.
fn first(plan: &Plan, progress: &Progress, facts: &Facts) -> Target {
    let target = only(&progress.revision, plan.replicas);
    if facts.ready(&progress.revision) == 0 { with_serving(target, &progress.revision, facts) } else { target }
}

/// With whatever else has ready pods, as it is.
fn with_serving(mut target: Target, except: &str, facts: &Facts) -> Target {
    let serving = facts.revisions.iter().filter(|(revision, deployed)| *revision != except && deployed.ready > 0);
    for (revision, deployed) in serving {
        target.replicas.insert(revision.clone(), deployed.asked.unwrap_or(deployed.present));
        target.routed.push(revision.clone());
        target.front = Front::All;
    }
    target
}

fn rollout(plan: &Plan, progress: &Progress, stable: &str, facts: &Facts) -> Target {
    let candidate = progress.revision.as_str();
    let (now_stable, now_candidate) = (facts.deployed(stable), facts.deployed(candidate));
    let (asked_stable, asked_candidate) = (now_stable.asked.unwrap_or(0), now_candidate.asked.unwrap_or(0));
    let required = plan.replicas;
    let serves = |winner: &str, its: Deployed, loser: &str, other: Deployed| match (its.ready, other.ready) {
        // Unless it has lost every pod meanwhile and the other revision still has some.
        (0, 1..) if plan.switches() => Front::One(loser.to_owned()),
        (0, 1..) => Front::All,
        _ => Front::One(winner.to_owned()),
    };
    let (stable_pods, candidate_pods, front) = match (progress.stage, &progress.cause) {
        (Stage::Gated | Stage::Starting | Stage::Shifting | Stage::Soaking | Stage::Baking, _) => {
            let shape = plan.shape(plan.step_of(progress));
            let room = plan.most_pods() - asked_stable.max(now_stable.present);
            let candidate_pods = grow_or_shrink(asked_candidate, shape.candidate, room, required - now_stable.ready);
            let room = plan.most_pods() - asked_candidate.max(now_candidate.present);
            let stable_pods =
                grow_or_shrink(asked_stable, shape.stable, room.max(required - now_candidate.ready), required - now_candidate.ready);
            let front = match progress.stage {
                Stage::Baking if plan.switches() => serves(candidate, now_candidate, stable, now_stable),
                // Nobody meets what has not been let through, whatever has become of stable.
                _ if plan.switches() => Front::One(stable.to_owned()),
                _ => Front::All,
            };
            (stable_pods, Some(candidate_pods), front)
        }
        // Going back: stable gets everything it needs first, beyond the surge if it must be.
        (Stage::RollingBack, _) => {
            let kept = facts.front.clone().filter(|front| plan.switches() && *front != Front::All);
            let other = if plan.switches() { Front::One(stable.to_owned()) } else { Front::All };
            (required.max(asked_stable), now_candidate.asked, kept.unwrap_or(other))
        }
        (Stage::Draining, Some(_)) => (required, now_candidate.asked, serves(stable, now_stable, candidate, now_candidate)),
        (Stage::Draining, None) => (asked_stable, Some(required), serves(candidate, now_candidate, stable, now_stable)),
    };
    let mut target = Target { front, ..Target::default() };
    let shown = plan.switches() && progress.ready_high_water > 0 && progress.cause.is_none() && progress.stage != Stage::Draining;
    target.preview = shown.then(|| candidate.to_owned());
    target.replicas.insert(stable.to_owned(), stable_pods);
    if let Some(pods) = candidate_pods {
        target.replicas.insert(candidate.to_owned(), pods);
    }
    target.routed = match &target.front {
        Front::One(revision) => vec![revision.clone()],
        Front::All if progress.ready_high_water > 0 => vec![stable.to_owned(), candidate.to_owned()],
        // Unready pods in the selector would count as idle and hold the autoscaler back.
        Front::All => vec![stable.to_owned()],
    };
    target
}

/// From `now` towards `wanted`: upwards at most into the `room` that there is, downwards at least to the pods that are `needed` here because the
/// other revision does not have them ready.
fn grow_or_shrink(now: i32, wanted: i32, room: i32, needed: i32) -> i32 {
    if wanted >= now { wanted.min(room).max(now) } else { wanted.max(needed).min(now) }.max(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_waits_for_room_and_shrinking_for_ready_pods_elsewhere() {
        let cases = [
            // why                                         now wanted room needed expected
            ("room for one only", 0, 2, 1, 0, 1),
            ("all of it fits", 1, 4, 9, 0, 4),
            ("no room: stay", 2, 4, 1, 0, 2),
            ("the other side is ready: shrink", 4, 1, 0, 1, 1),
            ("the other side has two of the four: keep two", 4, 1, 0, 2, 2),
            ("the other side has none: keep all", 4, 1, 0, 4, 4),
            ("never more than there is when shrinking", 3, 1, 0, 5, 3),
        ];
        for (why, now, wanted, room, needed, expected) in cases {
            assert_eq!(grow_or_shrink(now, wanted, room, needed), expected, "{why}");
        }
    }
}
