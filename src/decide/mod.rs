//! The functional core: arguments in, values out. No clock, no I/O, no randomness, no logging.
//!
//! ```text
//! observe (I/O) ─► Snapshot ─► due(snapshot, now) ─► measure (I/O) ─► decide(snapshot, measurements, now) ─► Decision ─► apply (I/O)
//! ```
//! [`decide`] is total and made of four functions: `plan` (spec → [`plan::Plan`], the only home of defaults), `advance` (moves the
//! rollout, the only place that does), `render` (state → objects) and `report` (→ conditions, events, the sentence for people).
//! The controller, the simulator and the command line all run this same function.

pub mod advance;
pub mod analysis;
pub mod commands;
pub mod facts;
pub mod farewell;
pub mod gates;
pub mod history;
pub mod judgement;
pub mod measured;
pub mod memory;
pub mod plan;
pub mod queries;
pub mod render;
pub mod report;
pub mod revision;
pub mod snapshot;
pub mod strategy;
#[cfg(test)]
mod tests;
pub mod traffic;
pub mod units;
pub mod writes;

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _};

use crate::api::ProductionServiceStatus;
use crate::api::gate_status::{GateState, GateStatus};
use crate::api::status::{Memory, Progress, Stage};
use analysis::Judge;
pub use snapshot::{Around, Child, Contents, Due, Kind, Measurements, ObjectKey, Pod, Record, Request, Snapshot};
use traffic::users_route;
pub use writes::Write;

/// What shall be done, in this order: status (if it changed), writes, events; and when to look again.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The whole new status. Written first, under the resourceVersion of [`Snapshot::service`], if it differs from the one there.
    pub status: ProductionServiceStatus,
    /// Writes to objects, in order.
    pub writes: Vec<Write>,
    /// What to tell people. A courtesy: nothing is decided by them.
    pub events: Vec<Event>,
    /// The earliest moment at which this decision may become another one without anything being seen.
    pub wake: Option<Timestamp>,
    /// The judge of the rollout that is on, for the next snapshot.
    pub judge: Option<Judge>,
}

/// Something to tell people, attached to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Something to worry about.
    pub warning: bool,
    /// One word, `CamelCase`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// What is due while a rollout with objectives is on: once per interval the metrics of each ready pod of both revisions, and before the first time
/// stable's past; while a weight is watched the questions of the user's own, each once in its interval.
#[must_use]
pub fn due(snapshot: &Snapshot, now: Timestamp) -> Due {
    if !measures(snapshot) && !asks_at_a_gate(snapshot) {
        return Due::default();
    }
    let Some(plan) = counting_plan(snapshot, &plan::plan(snapshot)) else { return Due::default() };
    let mut questions = queries::due(&plan, snapshot, now);
    let mut calls = Vec::new();
    if let Some(progress) = progress(snapshot) {
        questions.extend(gates::load::due(&plan, progress, snapshot, now));
        calls = gates::webhook::due(&plan, progress, snapshot, now);
    }
    if next_measurement(snapshot, &plan, now).is_none_or(|next| next > now) {
        return Due { questions, calls, ..Due::default() };
    }
    let requests = requests(snapshot, &plan);
    // The past comes before the present.
    match history::due(&plan, snapshot, &requests, now) {
        Some(history) => Due { requests: Vec::new(), questions, history: Some(history), calls },
        None => Due { requests, questions, history: None, calls },
    }
}

fn progress(snapshot: &Snapshot) -> Option<&Progress> {
    snapshot.service.status.as_ref()?.rollout.as_ref()?.progress.as_ref()
}

/// A gate waits for what somebody outside of the cluster has to answer.
fn asks_at_a_gate(snapshot: &Snapshot) -> bool {
    let mut gates = progress(snapshot).into_iter().flat_map(|progress| &progress.gates);
    let asks = |gate: &GateStatus| gate.state == GateState::Waiting && (gate.load.is_some() || gate.webhook.is_some());
    !farewell::is_deleted(snapshot) && gates.any(asks)
}

/// One request for each ready pod of both revisions.
fn requests(snapshot: &Snapshot, plan: &plan::Plan) -> Vec<Request> {
    let Some(metrics) = plan.metrics.clone() else { return Vec::new() };
    // Each revision answers where its own ports are.
    let own = |revision: &String| snapshot.records.get(revision).and_then(|record| plan::metrics_of(plan, &record.spec.ports));
    let latency = plan.settings.objectives.iter().any(|objective| matches!(objective.kind, analysis::ObjectiveKind::Latency { .. }));
    let ready = snapshot.pods.iter().filter(|pod| pod.state.ready && !pod.state.terminating);
    ready
        .filter_map(|pod| {
            let metrics = own(&pod.state.revision).unwrap_or_else(|| metrics.clone());
            Some(Request {
                pod: pod.state.pod.clone(),
                name: pod.state.name.clone(),
                provider: metrics.provider,
                latency,
                revision: pod.state.revision.clone(),
                ip: pod.ip.clone()?,
                port: metrics.port,
                path: metrics.path,
                reading: metrics.reading,
                started: pod.started,
                ready_since: pod.state.ready_since,
            })
        })
        .collect()
}

/// A rollout is at a stage in which a candidate is compared with stable.
fn measures(snapshot: &Snapshot) -> bool {
    let memory = snapshot.service.status.as_ref().and_then(|status| status.rollout.as_ref());
    memory
        .filter(|_| !farewell::is_deleted(snapshot))
        .filter(|memory| memory.stable.is_some())
        .and_then(|memory| memory.progress.as_ref())
        .is_some_and(|progress| matches!(progress.stage, Stage::Shifting | Stage::Soaking | Stage::Baking))
}

/// When the next round of measurements begins. `None` while nothing is to be measured.
fn next_measurement(snapshot: &Snapshot, plan: &plan::Plan, now: Timestamp) -> Option<Timestamp> {
    let next = || snapshot.measured.map_or(now, |measured| measured + plan.settings.interval_seconds.seconds());
    (plan.metrics.is_some() && measures(snapshot)).then(next)
}

/// The plan that counts: the present spec's, else the one that the candidate, else stable, was accepted with.
fn counting_plan(snapshot: &Snapshot, planned: &Result<plan::Plan, Vec<plan::Refusal>>) -> Option<plan::Plan> {
    if let Ok(plan) = planned {
        return Some(plan.clone());
    }
    let memory = snapshot.service.status.as_ref()?.rollout.as_ref()?;
    let candidate = memory.progress.as_ref().map(|progress| &progress.revision);
    let accepted = candidate.into_iter().chain(memory.stable.as_ref());
    let mut records = accepted.filter_map(|revision| Some((revision, snapshot.records.get(revision)?)));
    records.next().map(|(revision, record)| plan::plan_of_record(snapshot, revision, &record.spec))
}

/// Decides: what is the new status, what is to be written, and when to look again. Pure and total.
///
/// Settled means silent: where nothing changed, the status equals the one that was read and there are no writes.
#[must_use]
pub fn decide(snapshot: &Snapshot, measurements: &Measurements, now: Timestamp) -> Decision {
    if farewell::is_deleted(snapshot) {
        return farewell::decide(snapshot);
    }
    let facts = facts::Facts::of(snapshot);
    let planned = plan::plan(snapshot);
    let refusals = planned.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    let plan = counting_plan(snapshot, &planned);
    let wanted = planned.as_ref().ok().map(|plan| plan.revision.as_str());
    let (memory, quarantined) = (memory::recall(snapshot, &facts, wanted), memory::quarantined(snapshot));
    let conflicts = conflicts(snapshot, plan.as_ref(), &memory, &facts, now);
    let mut advanced = match &plan {
        Some(plan) => {
            let paused = snapshot.service.spec.control.as_ref().is_some_and(|control| control.paused == Some(true));
            let held = paused || planned.is_err() || !conflicts.is_empty() || plan.lacks_router() || facts.missing_route(plan).is_some();
            let input = advance::Input {
                plan,
                held,
                conflicts: &conflicts,
                paused,
                accepted: planned.is_ok(),
                facts: &facts,
                snapshot,
                measurements,
                now,
            };
            advance::advance(&input, memory, quarantined)
        }
        None => advance::Advanced { memory, quarantined, judge: None, blocked: None, events: Vec::new(), wakes: Vec::new() },
    };
    report::clip_memory(&mut advanced.memory, &mut advanced.quarantined);
    let target =
        plan.as_ref().map(|plan| strategy::target::target(plan, &advanced.memory, &advanced.quarantined, &facts, now)).unwrap_or_default();
    let about = report::About { snapshot, plan: plan.as_ref(), refusals, conflicts: &conflicts, facts: &facts, target: &target, now };
    let status = report::status(&about, &advanced);
    let writes = plan.as_ref().map(|plan| writes(snapshot, plan, planned.is_ok(), &target)).unwrap_or_default();
    let mut events = advanced.events;
    events.extend(report::news(&about, &status));
    let measuring = plan
        .as_ref()
        .and_then(|plan| next_measurement(snapshot, plan, now).map(|next| next.max(now + plan.settings.interval_seconds.min(1).seconds())));
    let progress = status.rollout.as_ref().and_then(|memory| memory.progress.as_ref());
    let asked = |(plan, progress)| [queries::wake(plan, progress, &snapshot.queried), gates::load::wake(plan, progress, snapshot, now)];
    let asking = plan.as_ref().zip(progress).into_iter().flat_map(asked).flatten();
    // What is due and not yet asked waits for a round that is under way: its end wakes the service.
    let lingering = strategy::shares::services_linger(&advanced.memory, &facts, now);
    let looking = traffic::features::wake(refusals, now);
    let wake = advanced.wakes.into_iter().chain(measuring).chain(asking).chain(lingering).chain(looking).filter(|at| *at > now).min();
    Decision { status, writes, events, wake, judge: advanced.judge }
}

/// Foreign objects under names that are ours, in words: what the rollout that is on needs, and what the spec's own revision would.
fn conflicts(snapshot: &Snapshot, plan: Option<&plan::Plan>, memory: &Memory, facts: &facts::Facts, now: Timestamp) -> Vec<String> {
    let Some(plan) = plan.filter(|_| snapshot.children.values().any(|child| !child.ours)) else { return Vec::new() };
    let mut target = strategy::target::target(plan, memory, &[], facts, now);
    target.replicas.entry(plan.revision.clone()).or_insert(1);
    target.records.insert(plan.revision.clone());
    let words = |key: ObjectKey| {
        let kind = key.kind.names().1;
        format!(
            "{kind} {} exists and was not made by plimsoll for this service; it is left alone. Delete it, rename the service, or hand it over: kubectl annotate -n {} {} {} plimsoll.dev/adopt={}",
            key.name,
            plan.namespace,
            kind.to_lowercase(),
            key.name,
            plan.name
        )
    };
    render::ownership::conflicts(&render::all(plan, snapshot, &target), &snapshot.children).into_iter().map(words).collect()
}

/// What is to be written to objects. While the spec is not accepted, only what keeps the revisions serving.
fn writes(snapshot: &Snapshot, plan: &plan::Plan, accepted: bool, target: &strategy::Target) -> Vec<Write> {
    let wanted = render::all(plan, snapshot, target);
    let mut writes = writes::difference(&wanted, &snapshot.children);
    // After the Services that it leads to were written, before those that it no longer leads to go.
    let first_deletion = writes.iter().position(|write| matches!(write, Write::Delete { .. })).unwrap_or(writes.len());
    writes.splice(first_deletion..first_deletion, reroutes(snapshot, plan, target));
    if accepted {
        if snapshot.service.spec.scaling.is_some() && snapshot.service.spec.replicas.is_none() {
            writes.push(Write::Scale { replicas: plan.replicas });
        }
    } else {
        writes.retain(|write| match (write.key().map(|key| key.kind), write) {
            (Some(Kind::ConfigMap | Kind::Deployment | Kind::Service | Kind::HttpRoute | Kind::GrpcRoute), _) => true,
            // How much a drain may take is no part of the revision; but every revision has its budget. Pods need their account to be made at all.
            (Some(Kind::PodDisruptionBudget), write) => !matches!(write, Write::Apply { .. }),
            (Some(Kind::ServiceAccount), write) => matches!(write, Write::Create { .. }),
            _ => false,
        });
    }
    writes
}

/// Changes of routes that users own: the weights of the one that counts; the others are handed back.
fn reroutes(snapshot: &Snapshot, plan: &plan::Plan, target: &strategy::Target) -> Vec<Write> {
    let users = plan.route.as_ref().filter(|route| route.known).and_then(|route| route.users.as_ref());
    let nothing = BTreeMap::new();
    let routes = snapshot.children.iter().filter(|(key, child)| matches!(key.kind, Kind::HttpRoute | Kind::GrpcRoute) && !child.ours);
    let reroute = |(key, child): (&ObjectKey, &Child)| {
        let counts = users == Some(key);
        let touched = counts || users_route::is_lent(&plan.name, &child.body);
        let weights = if counts { &target.weights } else { &nothing };
        users_route::reroute(&plan.name, key, child, weights).filter(|_| touched && !child.deleting)
    };
    let reroutes: Vec<Write> = routes.filter_map(reroute).collect();
    let lends = users.is_some() && !target.weights.is_empty();
    // The promise to hand it back comes before anything is borrowed.
    match farewell::finalizers(snapshot, lends || !reroutes.is_empty()) {
        Some(write) if lends => vec![write],
        write => reroutes.into_iter().chain(write).collect(),
    }
}

impl Decision {
    /// Whether it takes something away from users, moves the rollout of a service that serves already, or rests on a Job: then it is made anew on
    /// a fresh read.
    /// Status goes first, so a turn must be right before it is written.
    #[must_use]
    pub fn is_grave(&self, snapshot: &Snapshot) -> bool {
        fn turn(status: Option<&ProductionServiceStatus>) -> Option<impl PartialEq + '_> {
            let memory = status?.rollout.as_ref()?;
            let progress = memory.progress.as_ref().map(|progress| (&progress.id, progress.step, progress.stage, progress.weight));
            Some((memory.stable.as_ref(), progress))
        }
        // Gates that have a Job, and what they have come to.
        fn jobs(status: Option<&ProductionServiceStatus>) -> Vec<(&str, GateState)> {
            let progress = status.and_then(|status| status.rollout.as_ref()?.progress.as_ref());
            let gates = progress.into_iter().flat_map(|progress| &progress.gates);
            gates.filter(|gate| gate.job.is_some()).map(|gate| (gate.name.as_str(), gate.state)).collect()
        }
        let before = snapshot.service.status.as_ref();
        let serves = before.and_then(|status| status.rollout.as_ref()?.stable.as_ref()).is_some();
        let turns = serves && turn(before) != turn(Some(&self.status));
        turns || self.writes.iter().any(Write::guarded) || jobs(before) != jobs(Some(&self.status))
    }
}

impl Event {
    /// Something to know.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: false, reason, message: message.into() }
    }

    /// Something to worry about.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, reason, message: message.into() }
    }
}
