//! The operator's loop on the virtual clock: the shell's three words, and the ways in which they can go wrong.
//!
//! snapshot (perhaps of the past) → due → measure → decide → apply. Status first, fenced by the resourceVersion that was read; then objects,
//! in order, until one is refused. Whatever takes something away from users is decided again on a fresh read. After a crash nothing is left but
//! what was written.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::cluster::Refusal;
use super::planted::Bug;
use super::scenario::{Death, Watch};
use super::tell;
use super::world::World;
use crate::api::ProductionServiceStatus;
use crate::decide::analysis::Judge;
use crate::decide::gates::webhook::Outcome;
use crate::decide::render::ownership::is_ours;
use crate::decide::traffic::Routing;
use crate::decide::{Around, Child, Decision, Due, Kind, Measurements, Record, Snapshot, Write, decide, due};

/// A watch tells of a change this much later, at least: nothing is seen before it happened.
const NEXT: SignedDuration = SignedDuration::from_millis(1);
/// A round takes this long, at least: a few calls to the API server.
const ROUND: SignedDuration = SignedDuration::from_millis(50);
/// So many rounds in a row that all wrote something are not settling down: they are slowed.
const RESTLESS: u32 = 20;
const SLOWED: SignedDuration = SignedDuration::from_secs(1);
/// First wait after a write was refused; doubled each time, up to the longest.
const RETRY: SignedDuration = SignedDuration::from_millis(100);
const LONGEST_RETRY: SignedDuration = SignedDuration::from_secs(30);

/// A running operator.
#[derive(Debug, Default)]
pub(super) struct Operator {
    judge: Option<Judge>,
    measured: Option<Timestamp>,
    /// What was measured and is not yet part of a status that was written.
    measurements: Measurements,
    /// When each query was asked last.
    queried: BTreeMap<String, Timestamp>,
    /// Webhooks that it has sent, and what was answered.
    calls: BTreeMap<String, Option<Outcome>>,
    /// How often it was started anew: a webhook is ordered in the name of one process.
    process: u32,
    lags: BTreeMap<Watch, SignedDuration>,
    /// Records that it has read, by uid: they are immutable.
    records: RefCell<BTreeMap<String, Record>>,
    /// Own writes that its watches have to show before it decides again.
    written: BTreeMap<Watch, Timestamp>,
    /// When it looked last. `None`: it has just started, and lists everything.
    looked: Option<Timestamp>,
    wake: Option<Timestamp>,
    retry: Option<Timestamp>,
    failures: u32,
    /// Rounds in a row that wrote something.
    busy: u32,
    /// Not there until then.
    down: Option<Timestamp>,
    /// A second operator ends then.
    pub(super) ends: Option<Timestamp>,
    death: Option<Death>,
    conflicts: u32,
    /// It may not look before: one look at each moment.
    not_before: Option<Timestamp>,
    /// What is wrong with it, on purpose.
    bug: Option<Bug>,
}

/// Why a round ended early.
enum End {
    Refused(Refusal),
    Died,
}

impl Operator {
    /// One with a bug, perhaps.
    pub(super) fn with(bug: Option<Bug>) -> Self {
        Self { bug, ..Self::default() }
    }

    /// One more, of the same build, that runs only for a while.
    pub(super) fn beside(&self, end: Timestamp) -> Self {
        Self { ends: Some(end), process: self.process + 1_000, ..Self::with(self.bug) }
    }

    /// It stops at once, forgets everything, and is back at `until`.
    pub(super) fn stop(&mut self, until: Timestamp) {
        let (lags, process) = (std::mem::take(&mut self.lags), self.process + 1);
        *self = Self { down: Some(until), lags, ends: self.ends, process, ..Self::with(self.bug) };
    }

    /// It will die around one of its next writes.
    pub(super) const fn doom(&mut self, death: Death) {
        self.death = Some(death);
    }

    /// So many of its next writes are refused.
    pub(super) const fn refuse(&mut self, count: u32) {
        self.conflicts = count;
    }

    /// What it sees is this old from now on.
    pub(super) fn lag(&mut self, watch: Watch, by: SignedDuration) {
        self.lags.insert(watch, by);
    }

    /// Nothing hampers it any more.
    pub(super) fn heal(&mut self, now: Timestamp) {
        self.lags.clear();
        self.conflicts = 0;
        self.death = None;
        self.down = self.down.map(|down| down.min(now));
    }

    /// It is there, and sees what is.
    pub(super) fn awake(&self, now: Timestamp) -> bool {
        self.well(now) && self.lags.values().all(SignedDuration::is_zero)
    }

    /// It is there.
    pub(super) fn well(&self, now: Timestamp) -> bool {
        self.down.is_none_or(|down| down <= now)
    }

    fn lag_of(&self, watch: Watch) -> SignedDuration {
        self.lags.get(&watch).copied().unwrap_or_default()
    }

    /// When it looks next.
    pub(super) fn due(&self, world: &World) -> Option<Timestamp> {
        let changes = Watch::ALL.iter().filter_map(|watch| {
            let lag = self.lag_of(*watch);
            let Some(looked) = self.looked else { return Some(world.now) };
            Some(world.cluster.changed_since(*watch, looked - lag)? + lag + NEXT)
        });
        // A change that its watches do not show yet would make it act on its own past.
        let blocked = self.written.iter().map(|(watch, at)| *at + self.lag_of(*watch)).max();
        let next = changes.chain(self.wake).chain(self.retry).min()?;
        let retry = self.retry.map_or(next, |retry| next.max(retry));
        Some([blocked, self.down, self.not_before].into_iter().flatten().fold(retry, Timestamp::max))
    }

    /// One round.
    pub(super) fn reconcile(&mut self, world: &mut World) {
        let now = world.now;
        if self.down.take().is_some() {
            world.say("operator", "is back", "");
        }
        (self.looked, self.wake, self.retry, self.not_before) = (Some(now), None, None, Some(now + ROUND));
        self.written.retain(|watch, at| *at + self.lags.get(watch).copied().unwrap_or_default() > now);
        world.auditor.round(now);
        let Some(mut snapshot) = self.snapshot(world, true) else { return };
        let Due { requests, questions, history, calls } = due(&snapshot, now);
        for call in calls {
            world.active = now;
            self.calls.insert(call.id.clone(), Some(Outcome::Answered(world.webhook(&call))));
        }
        snapshot.around.calls.clone_from(&self.calls);
        if !requests.is_empty() {
            let mut scrape = world.demand.scrape(&requests, &world.workloads, now);
            world.active = now;
            world.auditor.scraped(&scrape);
            if let Some(bug) = self.bug {
                bug.measure(&mut scrape, &requests);
            }
            (self.measured, self.measurements.scrape) = (Some(now), Some(scrape));
            snapshot.measured = self.measured;
        }
        if !questions.is_empty() {
            world.active = now;
            self.queried.extend(questions.iter().map(|question| (question.objective.clone(), now)));
            self.measurements.answers = questions.iter().map(|question| world.demand.query(question, &world.workloads, now)).collect();
            snapshot.queried.clone_from(&self.queried);
        }
        // Nobody has watched before the story begins.
        if history.is_some() {
            self.measurements.history = Some(Vec::new());
        }
        let mut decision = decide(&snapshot, &self.measurements, now);
        if decision.is_grave(&snapshot) && self.bug != Some(Bug::ActsOnAStaleCache) {
            let Some(fresh) = self.snapshot(world, false) else { return };
            decision = decide(&fresh, &self.measurements, now);
            snapshot = fresh;
        }
        if let Some(bug) = self.bug {
            bug.decide(snapshot.service.status.as_ref(), &mut decision, now);
        }
        let writes = world.auditor.total_writes;
        match self.apply(world, &snapshot, &decision) {
            Ok(()) => {
                self.failures = 0;
                self.wake = decision.wake;
                self.busy = if world.auditor.total_writes == writes { 0 } else { self.busy + 1 };
                if self.busy > RESTLESS {
                    self.not_before = Some(now + SLOWED);
                }
            }
            Err(End::Refused(refusal)) => {
                let wait = (RETRY * (1 << self.failures.min(12))).min(LONGEST_RETRY);
                self.failures += 1;
                self.retry = Some(now + wait);
                world.say("operator", "a write was refused; reads again", &refusal.to_string());
            }
            Err(End::Died) => {
                let until = self.death.map_or(now, |death| now + death.back_after.0);
                self.stop(until);
            }
        }
    }

    /// What it sees; `None` where there is no service.
    fn snapshot(&self, world: &World, cached: bool) -> Option<Snapshot> {
        let then = |watch| if cached { world.now - self.lag_of(watch) } else { world.now };
        let service = (*world.cluster.service_at(then(Watch::Service))).clone()?;
        let uid = service.metadata.uid.clone().unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let mut children = BTreeMap::new();
        let mut records = BTreeMap::new();
        for (key, body) in world.cluster.objects_at(then(Watch::Objects)).iter() {
            let ours = is_ours(body, &world.name, &uid);
            if key.kind == Kind::ConfigMap {
                let revision = body["metadata"]["labels"]["plimsoll.dev/revision"].as_str().map(str::to_owned);
                if let (true, Some(revision), Some(record)) = (ours, revision, self.record(body)) {
                    records.insert(revision, record);
                }
            }
            // Of a record the shell keeps the metadata only.
            let body = if key.kind == Kind::ConfigMap { json!({"metadata": body["metadata"]}) } else { body.clone() };
            let (uid, resource_version) = (text(&body["metadata"]["uid"]), text(&body["metadata"]["resourceVersion"]));
            children.insert(key.clone(), Child { uid, resource_version, ours, deleting: false, body });
        }
        let mut snapshot = Snapshot {
            service,
            children,
            records,
            pods: (*world.cluster.pods_at(then(Watch::Pods))).clone(),
            config_maps: BTreeMap::new(),
            pull_secrets: Vec::new(),
            operator_namespace: "plimsoll-system".into(),
            replicas_manager: None,
            refused: None,
            providers: None,
            judge: self.judge.clone(),
            measured: self.measured,
            queried: self.queried.clone(),
            around: Around {
                neighbours: world.neighbours(),
                approvals_verified: true,
                jobs: true,
                webhooks: Some(format!("operator-{}", self.process)),
                calls: self.calls.clone(),
                last_words: world.workloads.jobs.last_words(&world.cluster),
                routing: Routing::present(),
            },
        };
        if let Some(bug) = self.bug {
            bug.see(&mut snapshot);
        }
        Some(snapshot)
    }

    fn record(&self, body: &serde_json::Value) -> Option<Record> {
        let uid = body["metadata"]["uid"].as_str().unwrap_or_default();
        if let Some(record) = self.records.borrow().get(uid) {
            return Some(record.clone());
        }
        let record = Record::from_config_map(body).ok()?;
        self.records.borrow_mut().insert(uid.to_owned(), record.clone());
        Some(record)
    }

    fn apply(&mut self, world: &mut World, snapshot: &Snapshot, decision: &Decision) -> Result<(), End> {
        let before = snapshot.service.status.as_ref();
        if self.bug == Some(Bug::ActsBeforeItIsDecided) {
            self.carry_out(world, decision)?;
        }
        if before != Some(&decision.status) {
            let seen = if self.bug == Some(Bug::NoFence) { world.cluster.service() } else { Some(&snapshot.service) };
            let read = seen.and_then(|service| service.metadata.resource_version.clone()).unwrap_or_default();
            let old = world.memory().cloned();
            self.write(world, Watch::Service, |world| {
                world.cluster.put_status(&read, Some(decision.status.clone()), world.now)?;
                world.auditor.decided(world.now, old.as_ref(), &decision.status, &world.cluster, &world.workloads);
                tell::status(world, before, &decision.status);
                Ok(())
            })?;
        }
        self.measurements = Measurements::default();
        self.judge.clone_from(&decision.judge);
        let rollout = |status: Option<&ProductionServiceStatus>| {
            status.and_then(|status| Some(status.rollout.as_ref()?.progress.as_ref()?.id.clone()))
        };
        if rollout(before) != rollout(Some(&decision.status)) {
            self.measured = None;
            self.queried.clear();
        }
        if self.bug != Some(Bug::ActsBeforeItIsDecided) {
            self.carry_out(world, decision)?;
        }
        for event in &decision.events {
            tell::event(world, event);
        }
        Ok(())
    }

    fn carry_out(&mut self, world: &mut World, decision: &Decision) -> Result<(), End> {
        for write in &decision.writes {
            let watch = if matches!(write, Write::Scale { .. } | Write::Finalizers { .. }) { Watch::Service } else { Watch::Objects };
            self.write(world, watch, |world| carry_out(world, write))?;
        }
        Ok(())
    }

    /// A write, which may be refused, or be the operator's last.
    fn write(&mut self, world: &mut World, watch: Watch, write: impl FnOnce(&mut World) -> Result<(), Refusal>) -> Result<(), End> {
        world.active = world.now;
        world.auditor.wrote();
        if self.conflicts > 0 {
            self.conflicts -= 1;
            return Err(End::Refused(Refusal::Conflict));
        }
        if let Some(death) = &mut self.death {
            death.at_write = death.at_write.saturating_sub(1);
            if death.at_write == 0 {
                let applied = death.applied;
                if applied {
                    // Whether it is refused or not: nobody hears the answer.
                    let _ = write(world);
                }
                world.say("operator", "dies", if applied { "its write was applied, the answer lost" } else { "its write was not sent" });
                return Err(End::Died);
            }
        }
        write(world).map_err(End::Refused)?;
        if self.bug != Some(Bug::ActsOnAStaleCache) {
            self.written.insert(watch, world.now);
        }
        Ok(())
    }
}

fn carry_out(world: &mut World, write: &Write) -> Result<(), Refusal> {
    let now = world.now;
    let before = super::invariants::Served::of(&world.cluster, &world.workloads, &world.name);
    let told = tell::write(&world.cluster, write);
    match write {
        Write::Create { key, body } => world.cluster.apply(key, body.clone(), now)?,
        Write::Apply { key, body, remove, .. } => {
            let mut body = body.clone();
            if !remove.is_empty() {
                let seen = |field: &str| body["metadata"][field].as_str().unwrap_or_default().to_owned();
                let version = world.cluster.remove(key, (&seen("uid"), &seen("resourceVersion")), remove, now)?;
                body["metadata"]["resourceVersion"] = version.into();
            }
            world.cluster.apply(key, body, now)?;
        }
        Write::Reroute { key, uid, resource_version, exchanges } => world.cluster.exchange(key, (uid, resource_version), exchanges, now)?,
        Write::Delete { key, uid, resource_version } => world.cluster.delete(key, Some((uid, resource_version)), now)?,
        Write::Finalizers { wanted, .. } => {
            let Some(mut service) = world.cluster.service().cloned() else { return Err(Refusal::NotFound) };
            service.metadata.finalizers = Some(wanted.clone()).filter(|wanted| !wanted.is_empty());
            world.cluster.put_service(service, now);
        }
        Write::Scale { replicas } => {
            let Some(mut service) = world.cluster.service().cloned() else { return Err(Refusal::NotFound) };
            service.spec.replicas = Some(*replicas);
            world.cluster.put_service(service, now);
        }
    }
    world.auditor.written(now, write, &before, &world.cluster, &world.workloads);
    if let Some((what, why)) = told {
        world.say(&world.name.clone(), &what, &why);
    }
    Ok(())
}
