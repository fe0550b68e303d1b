//! What people and tools are told: conditions, phase, the one true sentence, events. Derived anew each time and never read back.

use jiff::Timestamp;

use super::Event;
use super::advance::{Advanced, step_name};
use super::facts::Facts;
use super::plan::{Plan, PlannedStep, Refusal, Way};
use super::snapshot::Snapshot;
use super::strategy::{Front, Target};
use super::traffic::{Entrance, Routed, features};
use super::units::{percent, rounded_up};
use crate::api::status::{
    Condition, ConditionStatus, Effective, Memory, Moment, Phase, ProductionServiceStatus, Progress, Quarantined, RevisionStatus, Stage,
};

/// Longest message of a condition or status.
const LONGEST: usize = 1024;

/// What stands in status where the cluster knows no routes.
const NO_GATEWAY_API: &str =
    "spec.expose: the cluster has no Gateway API (gateway.networking.k8s.io/v1): install its CRDs, it is looked for every 30 s";

/// What the report is about.
pub struct About<'a> {
    /// What was seen.
    pub snapshot: &'a Snapshot,
    /// The plan that counts, if any spec was ever accepted.
    pub plan: Option<&'a Plan>,
    /// Why the present spec is not accepted.
    pub refusals: &'a [Refusal],
    /// Foreign objects under our names, for people.
    pub conflicts: &'a [String],
    /// What the cluster shows.
    pub facts: &'a Facts,
    /// What shall exist.
    pub target: &'a Target,
    /// The time.
    pub now: Timestamp,
}

/// The whole status.
#[must_use]
pub fn status(about: &About<'_>, advanced: &Advanced) -> ProductionServiceStatus {
    let (memory, facts, target) = (&advanced.memory, about.facts, about.target);
    let verdict = refused(about, memory, phase(about, advanced));
    let message = clipped(&verdict.message);
    let asked: i32 = target.routed.iter().filter_map(|revision| target.replicas.get(revision)).sum();
    let ready: i32 = target.routed.iter().map(|revision| facts.ready(revision)).sum();
    let present: i32 = target.routed.iter().map(|revision| facts.deployed(revision).present).sum();
    let revision = |name: &String| revision_status(about, memory, name);
    let progress = memory.progress.as_ref().filter(|progress| !matches!(progress.stage, Stage::Gated | Stage::Starting));
    let candidate = memory.progress.as_ref().map(|progress| &progress.revision);
    ProductionServiceStatus {
        conditions: conditions(about, &verdict, &message),
        observed_generation: about.snapshot.service.metadata.generation,
        phase: Some(verdict.phase),
        message: Some(message),
        step: progress
            .zip(about.plan)
            .map(|(progress, plan)| step_name(plan, plan.step_of(progress)).trim_start_matches("step ").to_owned()),
        weight: progress.map(|progress| format!("{}%", weight(about, &progress.revision))),
        ready: Some(format!("{ready}/{asked}")),
        replicas: Some(present),
        selector: selector(about, target),
        stable: memory.stable.as_ref().map(revision),
        candidate: candidate.map(revision),
        quarantined: advanced.quarantined.clone(),
        effective: about.plan.map(effective),
        rollout: Some(memory.clone()).filter(|memory| *memory != Memory::default()),
    }
}

/// Phase, and what the conditions say of it.
struct Word {
    phase: Phase,
    reason: String,
    message: String,
}

fn phase(about: &About<'_>, advanced: &Advanced) -> Word {
    let memory = &advanced.memory;
    let word = |phase: Phase, reason: &str, message: String| Word { phase, reason: reason.to_owned(), message };
    if let Some(refusal) = about.refusals.first() {
        let more = about.refusals.len() - 1;
        let rest = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        let serving = if memory.stable.is_some() { "; what runs goes on running" } else { "" };
        return word(Phase::Blocked, refusal.reason, format!("{}{rest}{serving}", refusal.message));
    }
    if let Some(conflict) = about.conflicts.first() {
        return word(Phase::Blocked, "NameConflict", conflict.clone());
    }
    let paused = about.snapshot.service.spec.control.as_ref().is_some_and(|control| control.paused == Some(true));
    match (&memory.progress, about.plan) {
        (Some(progress), _) => {
            let sentence = progress.sentence.clone();
            match progress.stage {
                Stage::Gated | Stage::Starting if memory.stable.is_none() => match &advanced.blocked {
                    Some(why) => word(Phase::Blocked, "FirstRevision", why.clone()),
                    None => word(Phase::Progressing, "FirstRevision", sentence),
                },
                Stage::Gated | Stage::Starting | Stage::Shifting | Stage::Soaking if paused => {
                    word(Phase::Paused, "Paused", format!("paused by spec.control.paused; {sentence}"))
                }
                Stage::Baking if paused => word(Phase::Paused, "Paused", format!("paused by spec.control.paused in the bake; {sentence}")),
                Stage::Gated => word(Phase::Progressing, "Gated", sentence),
                Stage::Starting | Stage::Shifting | Stage::Soaking => word(Phase::Progressing, "Progressing", sentence),
                Stage::Baking => word(Phase::Baking, "Baking", sentence),
                Stage::Draining if is_unheard(about, progress) => word(Phase::Blocked, "RouteNotReported", sentence),
                Stage::Draining if progress.cause.is_none() => word(Phase::Baking, "Promoting", sentence),
                Stage::RollingBack | Stage::Draining => word(Phase::RollingBack, "RollingBack", sentence),
            }
        }
        (None, Some(plan)) if memory.stable.as_ref() == Some(&plan.revision) => {
            let message = match &memory.last {
                Some(last) if last.promoted && last.id.starts_with(&plan.revision) => last.message.clone(),
                Some(last) => format!("{} serves; the last rollout, {}: {}", plan.revision, last.id, last.message),
                None => format!("{} serves", plan.revision),
            };
            word(Phase::Stable, "Stable", message)
        }
        (None, Some(plan)) => match advanced.quarantined.iter().find(|entry| entry.revision == plan.revision) {
            Some(entry) => word(Phase::RolledBack, "RolledBack", format!("{}{}", entry.reason, helps_out(about, memory))),
            None if plan.lacks_router() => word(
                Phase::Blocked,
                "GatewayApiMissing",
                format!("{NO_GATEWAY_API}; {} is rolled out as soon as it is there", plan.revision),
            ),
            None if about.facts.missing_route(plan).is_some() => word(
                Phase::Blocked,
                "NoRoute",
                format!("{}; {} is rolled out as soon as it is there", about.facts.missing_route(plan).unwrap_or_default(), plan.revision),
            ),
            None if paused => {
                word(Phase::Paused, "Paused", format!("paused by spec.control.paused; {} waits to be rolled out", plan.revision))
            }
            None => word(Phase::Progressing, "Progressing", format!("{} is rolled out next", plan.revision)),
        },
        (None, None) => word(Phase::Blocked, "NoSpec", "no spec was ever accepted".to_owned()),
    }
}

/// The traffic was to leave pods, and no Gateway has said in time that it did: the pods stay, and somebody has to look.
fn is_unheard(about: &About<'_>, progress: &Progress) -> bool {
    let silent = about.facts.route.as_ref().is_none_or(|route| route.unreported.is_some());
    about.plan.is_some_and(Plan::is_weighted) && silent && progress.weight_since.is_none() && about.now >= progress.deadline.0
}

/// What the API server refuses comes first. It blocks a service that has no rollout on; one that has goes on, or back at its deadline.
fn refused(about: &About<'_>, memory: &Memory, word: Word) -> Word {
    let Some(why) = &about.snapshot.refused else { return word };
    let message = format!("{why}; {}", word.message);
    match &memory.progress {
        Some(progress) if progress.stage != Stage::Starting => Word { message, ..word },
        _ if word.phase == Phase::Blocked => Word { message, ..word },
        _ => Word { phase: Phase::Blocked, reason: "CannotApply".to_owned(), message },
    }
}

/// Revisions that are over, and still serve because stable has not got its pods.
fn helps_out(about: &About<'_>, memory: &Memory) -> String {
    let Some(stable) = &memory.stable else { return String::new() };
    let others: Vec<&str> = about.target.routed.iter().filter(|routed| *routed != stable).map(String::as_str).collect();
    if others.is_empty() {
        return String::new();
    }
    let (ready, asked) = (about.facts.ready(stable), about.target.replicas.get(stable).copied().unwrap_or(0));
    format!("; {} goes on serving, since {ready} of {asked} pods of {stable} are ready", others.join(", "))
}

fn conditions(about: &About<'_>, word: &Word, message: &str) -> Vec<Condition> {
    use ConditionStatus::{False, True};
    let going = matches!(word.phase, Phase::Progressing | Phase::Baking | Phase::RollingBack | Phase::Paused);
    let stalled = matches!(word.phase, Phase::RolledBack | Phase::Blocked);
    let yes = |holds: bool| if holds { True } else { False };
    let accepted = about.refusals.first();
    let (healthy, health) = health(about);
    let reason = word.reason.as_str();
    let list = [
        ("Ready", yes(word.phase == Phase::Stable), reason, message),
        ("Reconciling", yes(going), reason, message),
        ("Stalled", yes(stalled), reason, message),
        (
            "Accepted",
            yes(accepted.is_none()),
            accepted.map_or("Accepted", |refusal| refusal.reason),
            accepted.map_or("the spec can be honoured", |refusal| refusal.message.as_str()),
        ),
        ("Healthy", yes(healthy), if healthy { "EnoughPods" } else { "TooFewPods" }, health.as_str()),
    ];
    let routes = routes(about);
    let routes = routes.as_ref().map(|(holds, reason, message)| ("RoutesAccepted", yes(*holds), *reason, message.as_str()));
    let before = about.snapshot.service.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let condition = |(kind, status, reason, message): (&str, ConditionStatus, &str, &str)| {
        let same = before.iter().find(|condition| condition.kind == kind && condition.status == status);
        Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: clipped(message),
            // Whole seconds, as everywhere in Kubernetes.
            last_transition_time: same.map_or_else(|| second(about.now), |condition| condition.last_transition_time),
            observed_generation: about.snapshot.service.metadata.generation,
        }
    };
    list.into_iter().chain(routes).map(condition).collect()
}

/// Whether every Gateway has taken the route in; `None` where the spec asks for none.
fn routes(about: &About<'_>) -> Option<(bool, &'static str, String)> {
    let plan = about.plan?;
    let route = plan.route.as_ref()?;
    Some(match &about.facts.route {
        _ if !route.known => (false, "GatewayApiMissing", NO_GATEWAY_API.to_owned()),
        None => {
            let missing = about.facts.missing_route(plan);
            (false, "NoRoute", missing.unwrap_or_else(|| "the route does not exist yet".to_owned()))
        }
        Some(Routed { unreported: Some(why), .. }) => (false, "NotReported", why.clone()),
        Some(_) => {
            let who = route.users.as_ref().map_or_else(|| route.entrance.named(&plan.name), |users| format!("every parent of {users}"));
            let works = format!("{who} works by the route as it stands");
            let gateway = match &route.entrance {
                Entrance::Gateway { namespace, name, .. } => Some(format!("{}/{name}", namespace.as_ref().unwrap_or(&plan.namespace))),
                Entrance::Mesh => None,
            };
            let listed = &about.snapshot.around.routing.listed;
            match features::unproven(&plan.spec, gateway.as_deref(), listed).filter(|_| route.users.is_none()) {
                Some(why) => (true, "NotProven", format!("{works}; not proven: {why}")),
                None => (true, "RoutesAccepted", works),
            }
        }
    })
}

fn second(now: Timestamp) -> Moment {
    Moment(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Whatever serves has enough ready pods.
fn health(about: &About<'_>) -> (bool, String) {
    let Some(plan) = about.plan else { return (false, "nothing serves".to_owned()) };
    let ready: i32 = about.target.routed.iter().map(|revision| about.facts.ready(revision)).sum();
    let least = plan.replicas - max_unavailable(plan, plan.replicas);
    let least = if plan.replicas > 0 { least.max(1) } else { 0 };
    (ready >= least, format!("{} of {} pods ready, {least} needed", ready.min(plan.replicas.max(ready)), plan.replicas))
}

/// Pods that may be missing on purpose.
#[must_use]
pub fn max_unavailable(plan: &Plan, replicas: i32) -> i32 {
    let given = plan.spec.availability.as_ref().and_then(|availability| availability.max_unavailable.as_ref());
    match given {
        Some(value) => rounded_up(value, replicas),
        None if replicas < 10 => 1,
        None => (replicas + 9) / 10,
    }
}

fn revision_status(about: &About<'_>, memory: &Memory, revision: &String) -> RevisionStatus {
    let record = about.snapshot.records.get(revision).map(|record| record.spec.image.clone());
    let planned = about.plan.filter(|plan| plan.revision == *revision).map(|plan| plan.spec.image.clone());
    let measured = memory.measured.iter().find(|measured| measured.revision == *revision);
    RevisionStatus {
        revision: revision.clone(),
        image: record.or(planned),
        replicas: about.target.replicas.get(revision).copied().unwrap_or(0),
        ready: about.facts.ready(revision),
        weight: weight(about, revision),
        metrics: measured.map(|measured| measured.words().chars().take(512).collect()),
    }
}

/// Percent of the traffic: as the router reports it, and while it has not reported the last change, as it was; without one, the share of the ready
/// pods that the front Service selects.
fn weight(about: &About<'_>, revision: &str) -> i32 {
    if let Some(percent) = about.facts.weight(revision) {
        let status = about.snapshot.service.status.as_ref();
        let known = || status.into_iter().flat_map(|status| status.stable.iter().chain(&status.candidate));
        let unreported = about.facts.route.as_ref().is_some_and(|route| route.unreported.is_some());
        return match known().find(|known| known.revision == revision) {
            Some(known) if unreported => known.weight,
            _ => percent,
        };
    }
    let routed = |candidate: &str| match &about.facts.front {
        Some(Front::One(only)) => candidate == only,
        Some(Front::All) | None => about.target.routed.iter().any(|routed| routed == candidate),
    };
    let ready: i32 = about.facts.revisions.iter().filter(|(name, _)| routed(name)).map(|(_, deployed)| deployed.ready).sum();
    let own = if routed(revision) { about.facts.ready(revision) } else { 0 };
    #[expect(clippy::cast_possible_truncation, reason = "a percentage")]
    let weight = percent(own, ready).round() as i32;
    weight
}

fn selector(about: &About<'_>, target: &Target) -> Option<String> {
    let name = about.snapshot.service.metadata.name.as_deref()?;
    match target.routed.as_slice() {
        [] => None,
        [only] => Some(format!("plimsoll.dev/revision={only},plimsoll.dev/service={name}")),
        several => Some(format!("plimsoll.dev/revision in ({}),plimsoll.dev/service={name}", several.join(","))),
    }
}

fn effective(plan: &Plan) -> Effective {
    let (strategy, steps) = match &plan.way {
        Way::Canary { steps, .. } => {
            let router = if plan.is_weighted() { "by the route's weights: " } else { "" };
            let each = |step: &PlannedStep| match step.mirror {
                Some(percent) => format!("copies of {percent}% for {} s", step.soak_seconds),
                None => format!("{}% for {} s", step.weight, step.soak_seconds),
            };
            let each: Vec<_> = steps.iter().map(each).collect();
            ("canary", format!("{router}{}", each.join(", ")))
        }
        Way::BlueGreen { soak_seconds, .. } => {
            ("blueGreen", format!("{} pods behind the preview for {soak_seconds} s, then one switch", plan.shape(0).candidate))
        }
        Way::Rolling { soak_seconds } => ("rolling", format!("{} slices, {soak_seconds} s each", plan.steps() + 1)),
    };
    let queries = plan.queries.iter().map(|query| query.name.as_str());
    let names: Vec<_> = plan.settings.objectives.iter().map(|objective| objective.name.as_str()).chain(queries).collect();
    Effective {
        strategy: strategy.to_owned(),
        steps: steps.chars().take(512).collect(),
        most_pods: plan.most_pods(),
        bake_seconds: plan.bake_seconds,
        judged_by: if names.is_empty() { "fast signals only".to_owned() } else { names.join(", ") },
    }
}

/// What changed since the last status and is worth an event although the rollout did not move.
#[must_use]
pub fn news(about: &About<'_>, status: &ProductionServiceStatus) -> Vec<Event> {
    let before =
        about.snapshot.service.status.as_ref().and_then(|status| status.conditions.iter().find(|condition| condition.kind == "Stalled"));
    let stalled = status.conditions.iter().find(|condition| condition.kind == "Stalled" && condition.status == ConditionStatus::True);
    // The shell tells of what the API server refuses.
    let stalled = stalled.filter(|condition| condition.reason != "CannotApply");
    let fresh = stalled.filter(|now| before.is_none_or(|before| before.status != now.status || before.message != now.message));
    // A rollback has its own event.
    let reason = match (about.refusals.first(), about.conflicts.first()) {
        (Some(refusal), _) => refusal.reason,
        (None, Some(_)) => "NameConflict",
        (None, None) => "Blocked",
    };
    let blocked = fresh.filter(|_| status.phase == Some(Phase::Blocked)).map(|condition| Event::warning(reason, condition.message.clone()));
    blocked.into_iter().collect()
}

fn clipped(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// Clips what is remembered, so that no message can make the status unwritable.
pub fn clip_memory(memory: &mut Memory, quarantined: &mut [Quarantined]) {
    let clip = |text: &mut String| {
        if text.chars().count() > LONGEST {
            *text = clipped(text);
        }
    };
    for entry in quarantined {
        clip(&mut entry.reason);
    }
    for measured in &mut memory.measured {
        for (text, longest) in [(&mut measured.convention, 256), (&mut measured.missing, 512)] {
            if let Some(text) = text.as_mut().filter(|text| text.chars().count() > longest) {
                *text = text.chars().take(longest).collect();
            }
        }
    }
    if let Some(last) = &mut memory.last {
        clip(&mut last.message);
    }
    if let Some(progress) = &mut memory.progress {
        clip(&mut progress.sentence);
        progress.gates.iter_mut().for_each(|gate| clip(&mut gate.message));
        if let Some(cause) = &mut progress.cause {
            clip(&mut cause.message);
        }
    }
}
