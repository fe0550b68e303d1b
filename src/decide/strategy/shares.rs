//! What share of the requests a router shall give each revision: the capacity guard of weights.
//!
//! The order is pods seen ready → their endpoints seen → weight → read back → drain → scale down, in both directions. So a weight moves only as
//! far as the ready pods of the side that gains can carry, and whatever is left of a revision's share keeps its pods.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan as _};

use super::Front;
use super::target::enough_to_go_back;
use crate::api::status::{Memory, Progress, Stage};
use crate::decide::facts::Facts;
use crate::decide::plan::Plan;
use crate::decide::traffic::Routed;

/// A revision's Service outlives its last rollout by so many seconds. A mesh's control plane gathers changes (Istio for up to 10 s) and tells of
/// Services before it tells of routes: what goes together with its place in the route costs the call that is chosen in between. Measured with
/// Istio and gRPC clients: 1 of 32 242 calls without.
pub const SERVICE_SECONDS: i64 = 15;

/// Percent by revision while nothing is rolled out: everything to `stable`, as soon as its Service is seen to lead anywhere.
#[must_use]
pub fn alone(plan: &Plan, stable: &str, facts: &Facts) -> BTreeMap<String, i32> {
    let begun = facts.reachable(stable) > 0 || facts.weight(stable).is_some();
    if plan.is_weighted() && begun { [(stable.to_owned(), 100)].into() } else { BTreeMap::new() }
}

/// A route of the user's own is as they wrote it, and leads to the front Service, as soon as it need not divide anything.
#[must_use]
pub fn hands_back(plan: &Plan, weights: &BTreeMap<String, i32>) -> bool {
    plan.route.as_ref().is_some_and(|route| route.users.is_some()) && weights.len() == 1
}

/// Percent by revision in a rollout, whose front Service selects `front`.
#[must_use]
pub fn in_rollout(plan: &Plan, progress: &Progress, stable: &str, front: &Front, facts: &Facts, now: Timestamp) -> BTreeMap<String, i32> {
    let begun = alone(plan, stable, facts);
    if begun.is_empty() {
        return begun;
    }
    let candidate = progress.revision.as_str();
    let unheard_of = !is_known(candidate, facts) && progress.weight_since.is_none() && facts.deployed(stable).up != 0;
    let percent = if unheard_of {
        0
    } else if plan.switches() {
        if *front == Front::One(candidate.to_owned()) { 100 } else { 0 }
    } else {
        of_candidate(plan, progress, stable, facts, now)
    };
    // It is named from the beginning on, so that the proxy knows its pods before the first request.
    [(stable.to_owned(), 100 - percent), (candidate.to_owned(), percent)].into()
}

/// Whether the router is known to know a revision's Service: it has reported a route that names it. A proxy that hears of a Service and of its
/// weight at once answers 503 for a moment: measured, where the controller stood still while the pods started, 2 of 350 000 requests.
fn is_known(revision: &str, facts: &Facts) -> bool {
    let named = |route: &Routed| route.unreported.is_none() && route.weights.contains_key(revision);
    facts.route.as_ref().is_some_and(|route| route.leads_to(revision) || named(route))
}

fn of_candidate(plan: &Plan, progress: &Progress, stable: &str, facts: &Facts, now: Timestamp) -> i32 {
    let candidate = progress.revision.as_str();
    let live = facts.weight(candidate).unwrap_or(0);
    let wanted = match (progress.stage, &progress.cause) {
        (Stage::Draining, None) => 100,
        (Stage::Draining | Stage::RollingBack, _) => 0,
        _ => progress.weight.unwrap_or(0),
    };
    let (stable_pods, candidate_pods) = (facts.reachable(stable), facts.reachable(candidate));
    match (facts.deployed(stable).up, facts.deployed(candidate).up) {
        // Never to nothing while there is something. Pods that are up without being asked for are no reason: a scale that somebody else made is
        // on its way back, and one pod would get what three carry.
        (0, 1..) => 100,
        (1.., 0) => 0,
        _ if facts.ready(stable) == 0 || facts.ready(candidate) == 0 && wanted > 0 => live,
        _ if wanted > live && 100 * candidate_pods < wanted * plan.replicas => live,
        _ if wanted < live && stable_pods < enough_to_go_back(plan, progress, now) => {
            // As fast as stable can carry it.
            let lacking = 100 - carried(stable_pods, plan.replicas);
            wanted.max(lacking.min(live))
        }
        _ => wanted,
    }
}

/// The weight that the router is asked for next in this step, if the candidate's endpoints can carry more than what it was asked for last.
///
/// Where the surge leaves no room for both revisions, weight and pods climb together: without the weight stable could not give up a pod.
#[must_use]
pub fn next_weight(plan: &Plan, progress: &Progress, facts: &Facts) -> Option<i32> {
    let asked = plan.asked_weight(plan.step_of(progress));
    let pods = facts.reachable(&progress.revision);
    let before = progress.weight.unwrap_or(0);
    let next = if pods >= plan.shape(plan.step_of(progress)).candidate {
        asked
    } else if plan.most_pods() < 2 * plan.replicas && in_force(progress, facts) {
        carried(pods, plan.replicas).min(asked)
    } else {
        before
    };
    // Downwards only by an edited strategy: to the step's own weight, at once.
    // Weight 0 is asked for as well: copies of requests come with it.
    let first = progress.weight.is_none() && next == asked && pods >= plan.shape(plan.step_of(progress)).candidate;
    (next > before || next < before && next == asked || first).then_some(next)
}

/// The router was asked for the weight of this very step.
#[must_use]
pub fn is_asked(plan: &Plan, progress: &Progress) -> bool {
    progress.weight == Some(plan.asked_weight(plan.step_of(progress)))
}

/// The router was asked for the step's weight, and has not reported it.
#[must_use]
pub fn is_unreported(plan: &Plan, progress: &Progress, facts: &Facts) -> bool {
    plan.shifts_weights() && is_asked(plan, progress) && !in_force(progress, facts)
}

/// The router is seen to give the candidate what it was last asked to give.
#[must_use]
pub fn in_force(progress: &Progress, facts: &Facts) -> bool {
    let asked = progress.weight.unwrap_or(0);
    facts.route.as_ref().is_some_and(|route| route.reports(&progress.revision, asked))
}

/// Pods that a revision's share of the requests needs: `None` while it is not certain what its share is.
#[must_use]
pub fn needed(plan: &Plan, revision: &str, facts: &Facts) -> Option<i32> {
    let route = facts.route.as_ref().filter(|route| route.unreported.is_none())?;
    let share = (route.weights.get(revision)? * plan.replicas + 99) / 100;
    Some(share.max(i32::from(route.leads_to(revision))))
}

/// Everything is seen to go to this revision.
#[must_use]
pub fn is_alone(plan: &Plan, revision: &str, facts: &Facts) -> bool {
    let only = |route: &Routed| route.reports(revision, 100) && route.matched.as_deref().is_none_or(|matched| matched == revision);
    !plan.is_weighted() || facts.route.as_ref().is_some_and(only)
}

/// Revisions that got nothing more to do, and that the router may still send requests to.
#[must_use]
pub fn lingers(plan: &Plan, revision: &str, facts: &Facts) -> bool {
    let may = |route: &Routed| route.leads_to(revision) || route.unreported.is_some() && route.weights.contains_key(revision);
    plan.is_weighted() && facts.route.as_ref().is_some_and(may)
}

/// The candidate that gets the requests of testers whatever its weight: once there is somebody to answer them, and while it may go forward.
#[must_use]
pub fn matched(plan: &Plan, progress: &Progress, facts: &Facts) -> Option<String> {
    let forward = matches!(progress.stage, Stage::Shifting | Stage::Soaking | Stage::Baking) && progress.cause.is_none();
    let asked = plan.route.as_ref().is_some_and(|route| !route.matches.is_empty());
    let served = facts.reachable(&progress.revision) > 0 && is_known(&progress.revision, facts);
    (forward && asked && served).then(|| progress.revision.clone())
}

/// The candidate that gets copies of requests, and of how many percent: in the step that is made of them.
#[must_use]
pub fn mirrored(plan: &Plan, progress: &Progress, facts: &Facts) -> Option<(String, i32)> {
    let forward = matches!(progress.stage, Stage::Shifting | Stage::Soaking) && progress.cause.is_none() && progress.weight == Some(0);
    let percent = plan.mirror(progress.step).filter(|_| forward && plan.shifts_weights())?;
    (facts.reachable(&progress.revision) > 0).then(|| (progress.revision.clone(), percent))
}

/// In a step that is made of copies the route is seen to send them.
#[must_use]
pub fn copies(plan: &Plan, progress: &Progress, facts: &Facts) -> bool {
    let mirrored = facts.route.as_ref().and_then(|route| route.mirrored.as_ref());
    plan.mirror(progress.step).is_none() || mirrored == Some(&progress.revision)
}

/// Revisions whose own Service has to be: whoever gets a weight, is still named in the route, or was named there a moment ago.
#[must_use]
pub fn served(weights: &BTreeMap<String, i32>, plan: &Plan, memory: &Memory, facts: &Facts, now: Timestamp) -> BTreeSet<String> {
    let named = facts.route.iter().flat_map(|route| route.weights.keys()).chain(&facts.lent);
    let wanted = memory.stable.iter().chain(memory.progress.iter().map(|progress| &progress.revision)).filter(|_| plan.is_weighted());
    let lingering = facts.services.iter().filter(|_| services_linger(memory, facts, now).is_some());
    weights.keys().chain(named).chain(wanted).chain(lingering).cloned().collect()
}

/// Until when Services stay that the last rollout has left behind.
#[must_use]
pub fn services_linger(memory: &Memory, facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    let until = memory.last.as_ref()?.at.0.saturating_add(SERVICE_SECONDS.seconds()).ok()?;
    let left_behind = facts.services.iter().any(|revision| memory.stable.as_ref() != Some(revision));
    (left_behind && until > now).then_some(until)
}

/// Percent of the load that so many pods carry.
fn carried(pods: i32, replicas: i32) -> i32 {
    if replicas == 0 { 100 } else { (100 * pods / replicas).min(100) }
}

/// Pods that the load may need for these weights to suit the ready pods: a revision with a tenth of the load and one pod is good for ten.
#[must_use]
pub fn carries(weights: &BTreeMap<String, i32>, facts: &Facts) -> i32 {
    let used = weights.iter().filter(|(_, weight)| **weight > 0);
    used.map(|(revision, weight)| 100 * facts.ready(revision) / weight).min().unwrap_or(0)
}

/// A revision that nobody asks for any more, and that has to go on carrying `pods` of the load's `replicas`: it takes that share from the one that lacks
/// pods, so that the other keeps what the rollout has asked for it.
pub fn help_out(weights: &mut BTreeMap<String, i32>, revision: &str, pods: i32, replicas: i32, facts: &Facts) {
    let used = weights.iter_mut().filter(|(_, weight)| **weight > 0);
    let lacking = used.min_by_key(|(revision, weight)| 100 * facts.ready(revision) / **weight);
    let percent = lacking.map_or(100, |(_, weight)| {
        let percent = carried(pods, replicas).min(*weight);
        *weight -= percent;
        percent
    });
    weights.insert(revision.to_owned(), percent);
}
