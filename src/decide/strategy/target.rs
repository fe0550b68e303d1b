//! How many pods each revision shall have at this moment, and who gets the traffic: the capacity guard.
//!
//! The order is always capacity → pods seen ready → traffic → seen → drain → scale down. A revision shrinks only as far as the ready pods of
//! the other one already cover, so no write can leave fewer ready pods than the load needs, whatever is seen in between.

use jiff::{Timestamp, ToSpan as _};

use super::{Front, OrderedJob, Target, shares};
use crate::api::gate_status::GateState;
use crate::api::status::{CauseReason, Memory, Progress, Quarantined, Stage};
use crate::decide::facts::{Deployed, Facts};
use crate::decide::gates::goes_forward;
use crate::decide::plan::Plan;
use crate::decide::report::max_unavailable;

/// Seconds for which the pods of a bad candidate help out, although stable lacks no more pods than `availability.maxUnavailable` lets it lack:
/// what is only starting is there by then.
pub const HELP_SECONDS: i64 = 30;

/// What shall exist now.
#[must_use]
pub fn target(plan: &Plan, memory: &Memory, quarantined: &[Quarantined], facts: &Facts, now: Timestamp) -> Target {
    let mut target = match (&memory.progress, &memory.stable) {
        (Some(progress), Some(stable)) if progress.stage == Stage::Gated => only(plan, stable, facts),
        (Some(progress), Some(stable)) => rollout(plan, progress, stable, facts, now),
        (Some(progress), None) if progress.stage == Stage::Gated => Target::default(),
        // The first revision gets everything at once.
        (Some(progress), None) => only(plan, &progress.revision, facts),
        (None, Some(stable)) => only(plan, stable, facts),
        (None, None) => Target::default(),
    };
    keep_what_serves(&mut target, plan, facts);
    if shares::hands_back(plan, &target.weights) {
        target.weights.clear();
    }
    target.matched = memory.progress.as_ref().and_then(|progress| shares::matched(plan, progress, facts));
    target.mirrored = memory.progress.as_ref().and_then(|progress| shares::mirrored(plan, progress, facts));
    target.services = shares::served(&target.weights, plan, memory, facts, now);
    target.stable.clone_from(&memory.stable);
    for revision in &memory.history {
        target.replicas.entry(revision.clone()).or_insert(0);
    }
    target.quarantined = quarantined.to_vec();
    target.records = target.replicas.keys().cloned().chain(quarantined.iter().map(|entry| entry.revision.clone())).collect();
    target.jobs = memory.progress.as_ref().map(ordered_jobs).unwrap_or_default();
    // A Job before the first pod needs the configuration in the record as that pod will.
    let with_jobs = memory.progress.iter().filter(|progress| progress.gates.iter().any(|gate| gate.job.is_some()));
    target.records.extend(with_jobs.map(|progress| progress.revision.clone()));
    target.rollouts = memory.progress.iter().map(|progress| &progress.id).chain(memory.last.iter().map(|last| &last.id)).cloned().collect();
    target
}

/// Jobs that a rollout that goes forward has ordered, and not yet seen.
fn ordered_jobs(progress: &Progress) -> Vec<OrderedJob> {
    let forward = goes_forward(progress);
    let waiting = progress.gates.iter().filter(|gate| forward && gate.state == GateState::Waiting);
    let ordered = waiting.filter_map(|gate| Some((gate, gate.job.as_ref().filter(|job| job.uid.is_none())?)));
    ordered
        .map(|(gate, job)| OrderedJob {
            name: job.name.clone(),
            gate: gate.name.clone(),
            target: gate.load.as_ref().and_then(|load| load.target.clone()),
            revision: progress.revision.clone(),
            rollout: progress.id.clone(),
        })
        .collect()
}

fn only(plan: &Plan, revision: &str, facts: &Facts) -> Target {
    Target {
        replicas: [(revision.to_owned(), plan.replicas)].into(),
        front: Front::One(revision.to_owned()),
        weights: shares::alone(plan, revision, facts),
        routed: vec![revision.to_owned()],
        ..Target::default()
    }
}

/// A revision that nobody asks for any more, and that still takes traffic: one whose way back ended without stable's pods, a first revision that
/// another one replaces, one that is left over when the memory was lost. It keeps as many pods as the others do not have ready; once it is not
/// needed, the front Service leaves it out before its pods go.
fn keep_what_serves(target: &mut Target, plan: &Plan, facts: &Facts) {
    let others = if target.weights.is_empty() {
        target.replicas.keys().map(|revision| facts.ready(revision)).sum()
    } else {
        shares::carries(&target.weights, facts)
    };
    let mut needed = plan.replicas - others;
    for (revision, deployed) in &facts.revisions {
        let routed = facts.front.as_ref().is_some_and(|front| *front == Front::All || *front == Front::One(revision.clone()));
        let (Some(asked), false) = (deployed.asked, target.replicas.contains_key(revision)) else { continue };
        let weighted = shares::lingers(plan, revision, facts);
        if !(routed || weighted) || deployed.ready == 0 {
            continue;
        }
        // What a router divides helps by its weight alone.
        let helps = if target.weights.is_empty() { routed || weighted } else { weighted };
        if needed > 0 && helps {
            // Its pods follow the share that the router is seen to give it, never the one that it was just asked to give.
            let share = if weighted { shares::needed(plan, revision, facts).unwrap_or(asked) } else { 0 };
            target.replicas.insert(revision.clone(), asked.min(needed.max(share)));
            target.routed.push(revision.clone());
            target.front = Front::All;
            if weighted {
                shares::help_out(&mut target.weights, revision, deployed.ready.min(needed), plan.replicas, facts);
            }
            needed -= deployed.ready;
        } else if weighted || target.front != Front::All {
            target.replicas.insert(revision.clone(), asked);
            if weighted {
                // Named at 0 until that is reported: a route without it would not say what the router still sends it.
                target.weights.entry(revision.clone()).or_insert(0);
            }
        }
    }
}

/// Ready pods of stable that suffice to take everything back at this moment. Fewer than the load needs beat those of a candidate that fails its
/// users: soon, if no more are missing than may be missing, and by the deadline whatever is there. A candidate that only was late, or unwanted,
/// serves well: it stays until stable has its pods.
#[must_use]
pub fn enough_to_go_back(plan: &Plan, progress: &Progress, now: Timestamp) -> i32 {
    let harmful = progress.cause.as_ref().is_some_and(|cause| matches!(cause.reason, CauseReason::Analysis | CauseReason::Signal));
    match harmful {
        true if now >= progress.deadline.0 => plan.replicas.min(1),
        true if now >= progress.since.0 + HELP_SECONDS.seconds() => plan.replicas - max_unavailable(plan, plan.replicas),
        _ => plan.replicas,
    }
}

/// What shall exist while this rollout is on.
#[must_use]
pub fn rollout(plan: &Plan, progress: &Progress, stable: &str, facts: &Facts, now: Timestamp) -> Target {
    let candidate = progress.revision.as_str();
    let (now_stable, now_candidate) = (facts.deployed(stable), facts.deployed(candidate));
    let (asked_stable, asked_candidate) = (now_stable.asked.unwrap_or(0), now_candidate.asked.unwrap_or(0));
    let required = plan.replicas;
    let serves = |winner: &str, its: Deployed, loser: &str, other: Deployed, least: i32| match (its.up, other.ready) {
        // Unless it has lost every pod meanwhile and the other revision still has some.
        (0, 1..) if plan.switches() || plan.is_weighted() => Front::One(loser.to_owned()),
        (0, 1..) => Front::All,
        // What was given to both, or back, is taken from the other one when the winner can carry it.
        (_, 1..) if its.ready < least && facts.front != Some(Front::One(winner.to_owned())) => {
            facts.front.clone().unwrap_or_else(|| Front::One(winner.to_owned()))
        }
        _ => Front::One(winner.to_owned()),
    };
    let (stable_pods, candidate_pods, front) = match (progress.stage, &progress.cause) {
        (Stage::Gated | Stage::Starting | Stage::Shifting | Stage::Soaking | Stage::Baking, _) => {
            let shape = plan.shape(plan.step_of(progress));
            // Pods that a revision must not lose: what the other one has not ready, or with a router what its share needs.
            let needed = |revision: &str, asked: i32, other: Deployed| {
                if plan.shifts_weights() { shares::needed(plan, revision, facts).unwrap_or(asked) } else { required - other.ready }
            };
            let room = plan.most_pods() - asked_stable.max(now_stable.present);
            let needed_candidate = needed(candidate, asked_candidate, now_stable);
            let candidate_pods = grow_or_shrink(asked_candidate, shape.candidate, room, needed_candidate);
            let room = plan.most_pods() - asked_candidate.max(now_candidate.present);
            let needed_stable = needed(stable, asked_stable, now_candidate);
            let stable_pods = grow_or_shrink(asked_stable, shape.stable, room.max(required - now_candidate.ready), needed_stable);
            let front = match progress.stage {
                _ if plan.shifts_weights() => serves(stable, now_stable, candidate, now_candidate, 0),
                Stage::Baking if plan.switches() => serves(candidate, now_candidate, stable, now_stable, required),
                // Nobody meets what has not been let through, whatever has become of stable.
                _ if plan.switches() => Front::One(stable.to_owned()),
                _ => Front::All,
            };
            (stable_pods, Some(candidate_pods), front)
        }
        // Going back: stable gets everything it needs first, beyond the surge if it must be; what it already carries the candidate loses.
        (Stage::RollingBack, _) => {
            let lacking = required - now_stable.ready;
            let both_serve = facts.front != Some(Front::One(candidate.to_owned()));
            let gives_way = lacking > 0 && both_serve && !plan.shifts_weights();
            let left = now_candidate.asked.map(|asked| if gives_way { asked.min(lacking) } else { asked });
            let front = if plan.shifts_weights() {
                serves(stable, now_stable, candidate, now_candidate, 0)
            } else {
                let kept = facts.front.clone().filter(|front| plan.switches() && *front != Front::All);
                kept.unwrap_or(if plan.switches() { Front::One(stable.to_owned()) } else { Front::All })
            };
            (required.max(asked_stable), left, front)
        }
        (Stage::Draining, Some(_)) => {
            let enough = enough_to_go_back(plan, progress, now);
            (required, now_candidate.asked, serves(stable, now_stable, candidate, now_candidate, enough))
        }
        (Stage::Draining, None) => (asked_stable, Some(required), serves(candidate, now_candidate, stable, now_stable, required)),
    };
    let weights = shares::in_rollout(plan, progress, stable, &front, facts, now);
    let mut target = Target { front, weights, ..Target::default() };
    let shown = plan.switches() && progress.ready_high_water > 0 && progress.cause.is_none() && progress.stage != Stage::Draining;
    target.preview = shown.then(|| candidate.to_owned());
    target.replicas.insert(stable.to_owned(), stable_pods);
    if let Some(pods) = candidate_pods {
        target.replicas.insert(candidate.to_owned(), pods);
    }
    target.routed = match &target.front {
        _ if plan.shifts_weights() && !target.weights.is_empty() => {
            target.weights.iter().filter(|(_, percent)| **percent > 0).map(|(revision, _)| revision.clone()).collect()
        }
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
