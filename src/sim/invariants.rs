//! What must hold after every step of every run (`rollouts.md`, Invariants), checked from the outside: what is written and what is true in the
//! world, never by the code that decides. The numbers after the names are those of that page.

mod at_end;
mod capacity;
mod jobs;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::cluster::Cluster;
use super::expectations as expected;
use super::gateway;
use super::workloads::Workloads;
use crate::api::status::{CauseReason, Command, Memory, Phase, Progress, Stage};
use crate::api::{ProductionService, ProductionServiceSpec, ProductionServiceStatus};
use crate::decide::analysis::Scrape;
pub(super) use capacity::Served;

/// Rounds within one second that are no loop gone mad.
const ROUNDS_A_SECOND: u32 = 100;
/// Moments in the status are in whole seconds.
const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// How long an operator may take to route around a revision that has lost all of its pods.
const REROUTED_WITHIN: SignedDuration = SignedDuration::from_secs(10);

/// Something that must not happen, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Timestamp,
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

/// Watches a run.
#[derive(Debug, Default)]
pub(super) struct Auditor {
    /// What was violated.
    pub(super) violations: Vec<Violation>,
    /// (revision, attempt) that were sent back.
    sent_back: BTreeSet<(String, i32)>,
    /// Requests that the operator can know of, by pod, and of the candidate since the step's clock started and since the rollout began.
    counted: BTreeMap<String, u64>,
    step_requests: u64,
    rollout_requests: u64,
    candidate: Option<String>,
    /// When the rollout that is on was turned back.
    turned: Option<Timestamp>,
    unrouted_since: Option<Timestamp>,
    /// When the step that is watched, or the bake, was seen to begin.
    watched_since: Option<Timestamp>,
    /// When a Deployment's pods were last seen to take traffic, by its name.
    routed: BTreeMap<String, Timestamp>,
    second: i64,
    rounds: u32,
    /// Rounds, writes and measurements so far.
    pub(super) total_rounds: u64,
    pub(super) total_writes: u64,
    pub(super) total_scrapes: u64,
    /// The status was lost and not yet rebuilt.
    forgotten: bool,
    /// One version serves, and the next one takes its place in one switch.
    switching: bool,
    /// (revision, gate, who) of every approval that the spec ever showed.
    approved: BTreeSet<(String, String, String)>,
    /// Names of the Jobs that were made.
    jobs: BTreeSet<String>,
}

impl Auditor {
    fn violated(&mut self, at: Timestamp, invariant: &'static str, seen: impl Into<String>) {
        self.violations.push(Violation { at, invariant, seen: seen.into() });
    }

    /// The status was lost.
    pub(super) fn forget(&mut self) {
        self.forgotten = true;
        self.sent_back.clear();
    }

    /// An operator begins a round.
    pub(super) fn round(&mut self, now: Timestamp) {
        self.total_rounds += 1;
        if self.second != now.as_second() {
            (self.second, self.rounds) = (now.as_second(), 0);
        }
        self.rounds += 1;
        if self.rounds == ROUNDS_A_SECOND {
            self.violated(now, "12 settled is silent", format!("{ROUNDS_A_SECOND} rounds within a second"));
        }
    }

    /// An operator sends a write.
    pub(super) const fn wrote(&mut self) {
        self.total_writes += 1;
    }

    /// An operator has measured.
    pub(super) fn scraped(&mut self, scrape: &Scrape) {
        self.total_scrapes += 1;
        for sample in &scrape.samples {
            let requests = sample.counters.requests();
            let before = self.counted.insert(sample.pod.clone(), requests).unwrap_or(0);
            if Some(&sample.revision) == self.candidate.as_ref() {
                let more = requests.checked_sub(before).unwrap_or(requests);
                self.step_requests += more;
                self.rollout_requests += more;
            }
        }
    }

    /// A status was written.
    pub(super) fn decided(
        &mut self,
        now: Timestamp,
        old: Option<&Memory>,
        status: &ProductionServiceStatus,
        cluster: &Cluster,
        workloads: &Workloads,
    ) {
        let Some(service) = cluster.service() else { return };
        let approvals = service.spec.control.iter().flat_map(|control| &control.approve);
        self.approved.extend(approvals.map(|approve| (approve.revision.clone(), approve.gate.clone(), approve.by.clone())));
        let empty = Memory::default();
        let (old, new) = (old.unwrap_or(&empty), status.rollout.as_ref().unwrap_or(&empty));
        let forgotten = std::mem::take(&mut self.forgotten);
        if old.stable != new.stable && !forgotten {
            let promoted =
                old.progress.as_ref().filter(|progress| Some(&progress.revision) == new.stable.as_ref() && may_promote(progress));
            if promoted.is_none() {
                self.violated(now, "17 only what was judged is promoted", format!("{:?} after {:?}", new.stable, old.progress));
            }
        }
        let empty = expected::replicas(&service.spec) == Some(0);
        match (&old.progress, &new.progress) {
            // What is left over when the memory was lost may be taken back at once.
            (None, Some(begun)) if forgotten && begun.stage == Stage::RollingBack => self.candidate = Some(begun.revision.clone()),
            (None, Some(begun)) => self.begun(now, begun, new.stable.is_some(), empty),
            (Some(before), Some(after)) if before.id == after.id => {
                let fresh = new.commands.iter().find(|latched| latched.revision == after.revision && !old.commands.contains(latched));
                let ordered = fresh.map(|latched| latched.command).or(before.ordered).or(after.ordered);
                self.moved(now, before, after, ordered, service, workloads);
            }
            (Some(before), Some(after)) => {
                if old.stable.is_some() {
                    self.violated(
                        now,
                        "3 one decision per step",
                        format!("{} took the place of {} in {:?}", after.id, before.id, before.stage),
                    );
                }
                self.begun(now, after, old.stable.is_some(), empty);
            }
            (Some(before), None) => self.ended(now, before, old, new),
            (None, None) => {}
        }
        if status.phase == Some(Phase::Stable) && new.stable != cluster_revision(status) {
            self.violated(now, "Stable is true", "phase Stable, and another revision is reported".to_owned());
        }
    }

    fn begun(&mut self, now: Timestamp, begun: &Progress, stable: bool, empty: bool) {
        if self.sent_back.contains(&(begun.revision.clone(), begun.attempt)) {
            self.violated(now, "7 no flapping", format!("{} was sent back before, and begins again", begun.id));
        }
        // Where nothing serves there is nothing to watch.
        let first = if !stable {
            Stage::Starting
        } else if empty {
            Stage::Draining
        } else {
            Stage::Shifting
        };
        if begun.step != 0 || begun.stage != Stage::Gated && begun.stage != first {
            self.violated(now, "3 one decision per step", format!("{} begins in step {} {:?}", begun.id, begun.step, begun.stage));
        }
        self.candidate = Some(begun.revision.clone());
        self.turned = None;
        (self.step_requests, self.rollout_requests) = (0, 0);
    }

    fn ended(&mut self, now: Timestamp, before: &Progress, old: &Memory, new: &Memory) {
        let promoted = new.stable.as_ref() == Some(&before.revision) && old.stable != new.stable;
        if !promoted && before.cause.is_none() && before.stage != Stage::Gated {
            self.violated(
                now,
                "3 one decision per step",
                format!("{} ended in {:?} without being sent back or promoted", before.id, before.stage),
            );
        }
        if let Some(cause) = &before.cause
            && !matches!(cause.reason, CauseReason::Superseded | CauseReason::Reverted)
        {
            self.sent_back.insert((before.revision.clone(), before.attempt));
        }
        self.candidate = None;
    }

    fn moved(
        &mut self,
        now: Timestamp,
        before: &Progress,
        after: &Progress,
        ordered: Option<Command>,
        service: &ProductionService,
        workloads: &Workloads,
    ) {
        let rank = |stage| match stage {
            Stage::Gated | Stage::Starting => 0,
            Stage::Shifting | Stage::Soaking | Stage::Baking => 1,
            Stage::RollingBack => 2,
            Stage::Draining => 3,
        };
        let steps = after.step - before.step;
        // A promotion may still be taken back while its pods drain.
        let turned = before.stage == Stage::Draining && before.cause.is_none() && after.cause.is_some();
        if rank(after.stage) < rank(before.stage) && !turned || steps < 0 || before.cause.is_some() && after.cause.is_none() {
            self.violated(
                now,
                "7 no flapping",
                format!("{}: from {:?} {} to {:?} {}", after.id, before.stage, before.step, after.stage, after.step),
            );
        }
        if steps > 1 && ordered != Some(Command::PromoteFull) {
            self.violated(now, "3 one decision per step", format!("{}: from step {} to {}", after.id, before.step, after.step));
        }
        if after.cause.is_some() && before.cause.is_none() {
            self.turned = Some(now);
            self.sent(now, after, &service.spec);
        }
        if after.cause.is_none() && (steps > 0 || after.stage != before.stage) {
            self.forward(now, before, after, ordered, service, workloads);
        }
        if after.weight_since != before.weight_since {
            self.step_requests = 0;
        }
        if after.stage != before.stage {
            self.watched_since = Some(now);
        }
    }

    fn sent(&mut self, now: Timestamp, progress: &Progress, spec: &ProductionServiceSpec) {
        let Some(cause) = &progress.cause else { return };
        if cause.reason == CauseReason::Analysis && self.rollout_requests < 3 && !expected::no_evidence_sends_back(spec) {
            let seen = format!("{} is sent back by its numbers, of {} requests: {}", progress.id, self.rollout_requests, cause.message);
            self.violated(now, "8 no evidence is not bad evidence either", seen);
        }
    }

    /// One step on, or the clock of a step starts, or the last step is over.
    fn forward(
        &mut self,
        now: Timestamp,
        before: &Progress,
        after: &Progress,
        ordered: Option<Command>,
        service: &ProductionService,
        workloads: &Workloads,
    ) {
        let spec = &service.spec;
        let watching = matches!(before.stage, Stage::Soaking | Stage::Baking);
        if watching && ordered.is_none() {
            let least =
                if before.stage == Stage::Baking { expected::bake_seconds(spec) } else { expected::soak_seconds(spec, before.step) };
            // By its own clock as well: what is written down is in whole seconds.
            let seen = self.watched_since.map_or(now, |since| since - SECOND);
            let since = before.weight_since.map_or(now, |since| since.0.max(seen));
            let watched = now.duration_since(since).as_secs();
            let left_out = before.stage == Stage::Soaking && expected::may_be_left_out(spec, before.step, self.step_requests, watched);
            if watched < least.into() && !left_out && expected::replicas(spec).is_some_and(|replicas| replicas > 0) {
                let seen = format!("{} left {:?} of step {} after {watched} of {least} s", after.id, before.stage, before.step);
                self.violated(now, "9 time and evidence", seen);
            }
            let least = expected::least_requests(spec);
            if before.stage == Stage::Soaking && self.step_requests < least && !left_out && !expected::no_evidence_goes_on(spec) {
                let seen = format!("{} left step {} with {} of {least} requests measured", after.id, before.step, self.step_requests);
                self.violated(now, "8 no evidence is not good evidence", seen);
            }
        }
        let from = if before.stage == Stage::Gated { -1 } else { before.step };
        let to = if from < 0 && after.stage == Stage::Gated { -1 } else { after.step };
        for (gate, count) in expected::approvals(spec, from, to) {
            let people = self.approved.iter().filter(|(revision, name, _)| *revision == after.revision && *name == gate).count();
            if people < count {
                let seen = format!("{}: to step {to} with {people} of {count} approvals of {gate}", after.id);
                self.violated(now, "9 a gate holds", seen);
            }
        }
        self.jobs_succeeded(now, spec, after, (from, to), &workloads.jobs);
        if service.spec.control.as_ref().and_then(|control| control.paused) == Some(true) && steps_on(before, after) {
            self.violated(now, "9 a pause holds", format!("{} moved to {:?} {} while paused", after.id, after.stage, after.step));
        }
        if after.stage == Stage::Soaking
            && let Some(replicas) = expected::replicas(spec)
        {
            let service = service.metadata.name.as_deref().unwrap_or_default();
            let percent = gateway::percent(workloads, &format!("{service}-{}", after.revision));
            let asked = expected::routed_weight(spec, after.step).map(i64::from);
            if asked.is_some() && percent != asked {
                let seen = format!("{}: the soak of step {} begins while the proxy gives it {percent:?} percent", after.id, after.step);
                self.violated(now, "9 clocks start on reports", seen);
            }
            let (candidate, _) = expected::shape(spec, replicas, after.step);
            let ready = workloads.ready(&after.revision);
            let late = now >= before.deadline.0;
            if ready < usize::try_from(candidate).unwrap_or(0) && !late {
                self.violated(
                    now,
                    "9 clocks start on reports",
                    format!("{}: the soak of step {} begins with {ready} of {candidate} pods ready", after.id, after.step),
                );
            }
        }
    }

    /// Time has passed; `awake`: an operator without a fault is there.
    pub(super) fn at_rest(&mut self, now: Timestamp, cluster: &Cluster, workloads: &Workloads, awake: bool) {
        let Some(service) = cluster.service() else { return };
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let taking: Vec<_> =
            gateway::shares(workloads, cluster, name).into_iter().flat_map(|share| share.pods).filter(|pod| pod.counts()).collect();
        let memory = service.status.as_ref().and_then(|status| status.rollout.as_ref());
        let ready = memory.is_some_and(|memory| {
            let through = |progress: &&Progress| {
                expected::blue_green(&service.spec).is_none() || matches!(progress.stage, Stage::Baking | Stage::Draining)
            };
            let candidate =
                memory.progress.as_ref().filter(|progress| progress.cause.is_none()).filter(through).map(|progress| &progress.revision);
            memory.stable.iter().chain(candidate).any(|revision| workloads.ready(revision) > 0)
        });
        self.routed.extend(taking.iter().map(|pod| (pod.owner.clone(), now)));
        // A revision's Service has the name of its Deployment.
        self.routed.extend(workloads.gateway.testers().map(|name| (name.clone(), now)));
        let versions: BTreeSet<_> = taking.iter().map(|pod| &pod.shown.state.revision).collect();
        let on = memory.is_some_and(|memory| memory.progress.is_some());
        if versions.len() > 1 && on && self.switching && expected::blue_green(&service.spec).is_some() {
            self.violated(now, "never two versions at once", format!("{versions:?} take traffic"));
        }
        // Whoever edits the strategy in the middle of a rollout, or before there is a stable revision, meets both for a moment.
        self.switching =
            expected::blue_green(&service.spec).is_some() && memory.is_some_and(|memory| memory.stable.is_some()) && versions.len() < 2;
        if !taking.is_empty() || !ready || !awake || service.spec.ports.is_empty() {
            self.unrouted_since = None;
        } else {
            let since = *self.unrouted_since.get_or_insert(now);
            if now > since + REROUTED_WITHIN {
                self.violated(now, "2 never route to nothing", "no pod takes traffic, and some of them are ready");
                self.unrouted_since = Some(now + SignedDuration::from_hours(1000));
            }
        }
    }
}

/// The stages out of which a revision is promoted.
fn may_promote(progress: &Progress) -> bool {
    progress.cause.is_none() && matches!(progress.stage, Stage::Starting | Stage::Baking | Stage::Draining)
}

fn steps_on(before: &Progress, after: &Progress) -> bool {
    after.step > before.step || matches!((before.stage, after.stage), (Stage::Baking, Stage::Draining))
}

fn cluster_revision(status: &ProductionServiceStatus) -> Option<String> {
    status.stable.as_ref().map(|stable| stable.revision.clone())
}
