//! `decide` as a whole: rollouts second by second against a cluster that does at once what it is told, and what happens at the edges.
//!
//! After every second the decision is made until nothing changes any more: a decision that does not come to rest fails the test (invariant 12),
//! and so does a message that is empty, a write that takes capacity away (1), or a front Service that selects nobody (2).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::*;
use crate::api::status::{CauseReason, Memory, Phase, Progress};
use crate::api::{ProductionService, ProductionServiceSpec};

struct World {
    snapshot: Snapshot,
    now: Timestamp,
    /// Revisions whose pods never become ready.
    broken: BTreeSet<String>,
    /// Revisions whose lost pods do not come back.
    stuck: BTreeSet<String>,
    events: Vec<Event>,
    count: u32,
}

fn spec(image: &str, rollout: &Value) -> Value {
    json!({"image": format!("shop:{image}"), "replicas": 4, "ports": [{"name": "http", "port": 8080}], "rollout": rollout})
}

fn canary() -> Value {
    json!({"strategy": {"canary": {"steps": [{"weight": 20, "soakSeconds": 5}, {"weight": 50, "soakSeconds": 5}]}}, "bakeSeconds": 10, "progressDeadlineSeconds": 60})
}

fn rolling() -> Value {
    json!({"strategy": {"rolling": {"soakSeconds": 3}}, "bakeSeconds": 10, "progressDeadlineSeconds": 60})
}

fn blue_green() -> Value {
    json!({"strategy": {"blueGreen": {"soakSeconds": 5, "warmReplicas": "50%"}}, "bakeSeconds": 10, "progressDeadlineSeconds": 60})
}

/// A way that is refused: without a router the share of a canary with a full surge ends at one half.
fn unreachable() -> Value {
    json!({"strategy": {"canary": {"steps": [{"weight": 60}]}}})
}

impl World {
    fn new(spec: &Value) -> Self {
        let mut service = ProductionService::new("shop", serde_json::from_value(spec.clone()).unwrap());
        service.metadata.namespace = Some("web".into());
        service.metadata.uid = Some("u1".into());
        service.metadata.generation = Some(1);
        let snapshot = Snapshot::of(service);
        let now = "2026-01-01T10:00:00Z".parse().unwrap();
        Self { snapshot, now, broken: BTreeSet::new(), stuck: BTreeSet::new(), events: Vec::new(), count: 0 }
    }

    /// A service that serves with this spec.
    fn serving(spec: &Value) -> Self {
        let mut world = Self::new(spec);
        world.run(4);
        assert_eq!(world.phase(), Phase::Stable, "{:?}", world.message());
        world
    }

    fn set(&mut self, spec: &Value) {
        self.snapshot.service.spec = serde_json::from_value::<ProductionServiceSpec>(spec.clone()).unwrap();
    }

    fn change(&mut self, pointer: &str, value: Value) {
        let mut spec = json!(self.snapshot.service.spec);
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[name] = value;
        self.set(&spec);
    }

    fn revision(&self) -> String {
        revision::identity(&self.snapshot.service.spec, &self.snapshot.config_maps)
    }

    fn memory(&self) -> Memory {
        self.snapshot.service.status.as_ref().and_then(|status| status.rollout.clone()).unwrap_or_default()
    }

    fn progress(&self) -> Option<Progress> {
        self.memory().progress
    }

    fn phase(&self) -> Phase {
        self.snapshot.service.status.as_ref().and_then(|status| status.phase).unwrap()
    }

    fn message(&self) -> String {
        self.snapshot.service.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default()
    }

    fn quarantined(&self, revision: &str) -> bool {
        self.snapshot.service.status.as_ref().is_some_and(|status| status.quarantined.iter().any(|entry| entry.revision == revision))
    }

    fn deployment(revision: &str) -> ObjectKey {
        ObjectKey::new(Kind::Deployment, format!("shop-{revision}"))
    }

    fn asked(&self, revision: &str) -> Option<i64> {
        self.snapshot.children.get(&Self::deployment(revision)).and_then(|child| child.body["spec"]["replicas"].as_i64())
    }

    /// Ready pods that take traffic and go on doing so under the replicas that are asked for.
    fn served(&self) -> usize {
        let facts = facts::Facts::of(&self.snapshot);
        let routed = |revision: &str| match &facts.front {
            None => false,
            Some(strategy::Front::All) => true,
            Some(strategy::Front::One(one)) => one == revision,
        };
        let revisions = facts.revisions.iter().filter(|(revision, _)| routed(revision));
        revisions.map(|(_, deployed)| usize::try_from(deployed.ready.min(deployed.asked.unwrap_or(0))).unwrap()).sum()
    }

    fn decide(&mut self) -> Decision {
        decide(&self.snapshot, &Measurements::default(), self.now)
    }

    /// Decides until nothing changes any more.
    fn settle(&mut self) {
        for _ in 0..20 {
            let decision = self.decide();
            if self.snapshot.service.status.as_ref() == Some(&decision.status) && decision.writes.is_empty() {
                assert!(decision.wake.is_none_or(|wake| wake > self.now), "a wake in the past");
                return;
            }
            assert!(!decision.status.message.as_deref().unwrap_or_default().is_empty(), "an empty message: {:?}", decision.status);
            self.snapshot.judge = decision.judge;
            self.snapshot.service.status = Some(decision.status);
            self.events.extend(decision.events);
            for write in decision.writes {
                self.write(write);
            }
        }
        panic!("does not come to rest: {:#?}", self.decide());
    }

    fn write(&mut self, write: Write) {
        let before = self.served();
        let about = format!("{:?} in {:?} {:?}", write.key(), self.phase(), self.progress().map(|progress| progress.stage));
        self.count += 1;
        let (uid, resource_version) = (self.count.to_string(), self.count.to_string());
        match write {
            Write::Create { key, body } | Write::Apply { key, body, .. } => {
                self.put(key, Child { uid, resource_version, ours: true, deleting: false, body });
            }
            Write::Delete { key, .. } => {
                self.snapshot.children.remove(&key);
                self.snapshot.records.retain(|revision, _| key != ObjectKey::new(Kind::ConfigMap, format!("shop-{revision}")));
            }
            Write::Reroute { key, exchanges, .. } => {
                let child = self.snapshot.children.get_mut(&key).unwrap();
                for exchange in exchanges {
                    *child.body.pointer_mut(&exchange.pointer).unwrap() = exchange.wanted;
                }
            }
            Write::Finalizers { wanted, .. } => self.snapshot.service.metadata.finalizers = Some(wanted),
            Write::Scale { replicas } => self.snapshot.service.spec.replicas = Some(replicas),
        }
        let needed = usize::try_from(self.snapshot.service.spec.replicas.unwrap_or(2)).unwrap();
        let after = self.served();
        // A candidate that fails its users does not help by being there.
        let cause = self.progress().and_then(|progress| progress.cause).map(|cause| cause.reason);
        let needed = if matches!(cause, Some(CauseReason::Analysis | CauseReason::Signal)) { needed - 1 } else { needed };
        assert!(after >= before.min(needed), "{about}: {after} of {needed} pods take traffic, {before} before");
    }

    fn put(&mut self, key: ObjectKey, mut child: Child) {
        if key.kind == Kind::ConfigMap
            && let Ok(record) = Record::from_config_map(&child.body)
        {
            let revision = child.body["metadata"]["labels"]["plimsoll.dev/revision"].as_str().unwrap().to_owned();
            self.snapshot.records.insert(revision, record);
            child.body = json!({"metadata": child.body["metadata"]});
        }
        self.snapshot.children.insert(key, child);
    }

    /// Pods follow their Deployments; a second later they are ready.
    fn pods(&mut self) {
        let facts = facts::Facts::of(&self.snapshot);
        let asked = |revision: &str| usize::try_from(facts.asked(revision)).unwrap();
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        for pod in self.snapshot.pods.iter_mut().filter(|pod| !pod.state.ready && !self.broken.contains(&pod.state.revision)) {
            pod.state.ready = true;
            pod.state.ready_since = Some(self.now);
        }
        self.snapshot.pods.retain(|pod| {
            let kept = kept.entry(pod.state.revision.clone()).or_default();
            *kept += 1;
            *kept <= asked(&pod.state.revision)
        });
        for revision in facts.revisions.keys().filter(|revision| !self.stuck.contains(*revision)) {
            for _ in kept.get(revision).copied().unwrap_or(0)..asked(revision) {
                self.count += 1;
                let name = format!("shop-{revision}-{}", self.count);
                let state = analysis::PodState {
                    pod: name.clone(),
                    name,
                    revision: revision.clone(),
                    node_ready: true,
                    ..analysis::PodState::default()
                };
                self.snapshot.pods.push(Pod { state, ip: None, started: Some(self.now) });
            }
        }
    }

    /// All pods of a revision are gone, and none comes.
    fn lose(&mut self, revision: &str) {
        self.snapshot.pods.retain(|pod| pod.state.revision != revision);
        self.stuck.insert(revision.to_owned());
    }

    /// Every pod of a revision has restarted twice.
    fn crash(&mut self, revision: &str) {
        for pod in self.snapshot.pods.iter_mut().filter(|pod| pod.state.revision == revision) {
            pod.state.containers =
                vec![analysis::ContainerState { name: "app".into(), restarts: 2, ..analysis::ContainerState::default() }];
        }
    }

    fn second(&mut self) {
        self.settle();
        self.pods();
        self.settle();
        self.now += 1.second();
    }

    fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.second();
        }
    }

    fn until(&mut self, what: &str, reached: impl Fn(&Self) -> bool) {
        for _ in 0..300 {
            if reached(self) {
                return;
            }
            self.second();
        }
        panic!("not within 300 s: {what}; {:?} {}", self.phase(), self.message());
    }

    fn until_stage(&mut self, stage: Stage) {
        self.until(&format!("{stage:?}"), |world| world.progress().is_some_and(|progress| progress.stage == stage));
    }
}

#[test]
fn a_good_version_goes_through_whatever_the_way_and_the_size() {
    for replicas in [0, 1, 2, 3, 4, 7] {
        for way in [canary(), rolling(), blue_green()] {
            let mut old = spec("1", &way);
            old["replicas"] = replicas.into();
            let mut world = World::serving(&old);
            let before = world.revision();
            world.change("/image", "shop:2".into());
            let after = world.revision();
            world.until("promoted", |world| world.phase() == Phase::Stable && world.memory().stable.as_ref() == Some(&after));
            world.run(2);
            assert_eq!((world.asked(&before), world.asked(&after)), (Some(0), Some(replicas)), "{way}");
            assert_eq!(world.memory().history, [before]);
        }
    }
}

#[test]
fn more_replicas_in_the_bake_do_not_keep_it_from_ending() {
    for way in [canary(), rolling(), blue_green()] {
        let mut world = World::serving(&spec("1", &way));
        world.change("/image", "shop:2".into());
        world.until_stage(Stage::Baking);
        world.change("/replicas", 12.into());
        let after = world.revision();
        world.until("promoted", |world| world.memory().stable.as_ref() == Some(&after));
        world.run(2);
        assert_eq!(world.asked(&after), Some(12), "{way}");
    }
}

#[test]
fn fewer_or_more_replicas_in_any_stage_take_no_capacity_away() {
    for stage in [Stage::Shifting, Stage::Soaking, Stage::Baking, Stage::Draining] {
        for replicas in [1, 2, 3, 9] {
            for way in [canary(), rolling(), blue_green()] {
                let mut world = World::serving(&spec("1", &way));
                world.change("/image", "shop:2".into());
                world.until_stage(stage);
                world.change("/replicas", replicas.into());
                let after = world.revision();
                world.until("promoted", |world| world.phase() == Phase::Stable && world.memory().stable.as_ref() == Some(&after));
            }
        }
    }
}

#[test]
fn abort_works_in_every_stage_also_while_paused_or_refused() {
    for stage in [Stage::Shifting, Stage::Soaking, Stage::Baking] {
        for refused in [false, true] {
            let mut world = World::serving(&spec("1", &rolling()));
            let stable = world.revision();
            world.change("/image", "shop:2".into());
            let candidate = world.revision();
            world.until_stage(stage);
            if refused {
                world.change("/rollout", unreachable());
            }
            world.change("/control", json!({"abort": candidate, "paused": true}));
            world.until("taken back", |world| world.progress().is_none());
            world.run(2);
            assert_eq!(world.phase(), if refused { Phase::Blocked } else { Phase::RolledBack }, "{stage:?}: {}", world.message());
            assert!(world.quarantined(&candidate));
            assert_eq!((world.memory().stable.as_ref(), world.asked(&stable), world.asked(&candidate)), (Some(&stable), Some(4), None));
        }
    }
}

#[test]
fn a_quarantined_revision_comes_back_by_retry_only_and_not_while_paused() {
    let mut world = World::serving(&spec("1", &canary()));
    let (stable, old) = (world.revision(), json!(world.snapshot.service.spec));
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    let new = json!(world.snapshot.service.spec);
    world.broken.insert(candidate.clone());
    world.until("deadline", |world| world.phase() == Phase::RolledBack);
    assert!(world.message().contains("0 of 1 pods") && world.message().contains(&candidate), "{}", world.message());
    world.set(&old);
    world.run(3);
    assert_eq!(world.phase(), Phase::Stable);
    assert!(world.message().starts_with(&format!("{stable} serves")), "{}", world.message());
    world.set(&new);
    world.run(3);
    assert_eq!(world.phase(), Phase::RolledBack, "the spec alone does not try it again");
    world.broken.clear();
    world.change("/control", json!({"retry": {"revision": candidate, "attempt": 2}, "paused": true}));
    world.run(3);
    assert_eq!((world.phase(), world.quarantined(&candidate)), (Phase::RolledBack, true));
    world.change("/control/paused", false.into());
    world.until("promoted", |world| world.memory().stable.as_ref() == Some(&candidate));
    assert!(!world.quarantined(&candidate));
    world.set(&old);
    world.until("undone", |world| world.memory().stable.as_ref() == Some(&stable));
    assert_eq!(world.memory().history, [candidate]);
}

#[test]
fn the_spec_moves_on_or_back_in_every_stage() {
    for stage in [Stage::Shifting, Stage::Soaking, Stage::Baking, Stage::Draining, Stage::RollingBack] {
        for back in [false, true] {
            let mut world = World::serving(&spec("1", &rolling()));
            let first = json!(world.snapshot.service.spec);
            world.change("/image", "shop:2".into());
            if stage == Stage::RollingBack {
                world.until_stage(Stage::Baking);
                let candidate = world.revision();
                world.change("/control", json!({"abort": candidate}));
            }
            world.until_stage(stage);
            if back {
                world.set(&first);
            } else {
                world.change("/image", "shop:3".into());
            }
            let wanted = world.revision();
            world.settle();
            assert!(!world.message().starts_with("paused"), "{}", world.message());
            world.until("the spec's own", |world| world.phase() == Phase::Stable && world.memory().stable.as_ref() == Some(&wanted));
        }
    }
}

#[test]
fn a_lost_memory_is_rebuilt_without_a_silent_promotion() {
    for stage in [Stage::Shifting, Stage::Soaking, Stage::Baking, Stage::Draining] {
        for (spec_went_on, way) in [(false, canary()), (true, canary()), (false, rolling()), (true, rolling())] {
            let mut world = World::serving(&spec("1", &way));
            world.change("/image", "shop:2".into());
            world.until_stage(stage);
            if spec_went_on {
                world.change("/image", "shop:3".into());
            }
            let wanted = world.revision();
            world.snapshot.service.status = None;
            world.snapshot.judge = None;
            world.settle();
            assert!(world.memory().stable.is_some(), "something serves");
            world.until("the spec's own", |world| world.phase() == Phase::Stable && world.memory().stable.as_ref() == Some(&wanted));
        }
    }
}

#[test]
fn a_lost_memory_does_not_lose_the_quarantine() {
    let mut world = World::serving(&spec("1", &canary()));
    let stable = world.revision();
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    world.until_stage(Stage::Soaking);
    world.change("/control", json!({"abort": candidate}));
    world.until("taken back", |world| world.phase() == Phase::RolledBack);
    world.run(2);
    let before = world.snapshot.service.status.clone().unwrap().quarantined;
    world.snapshot.service.status = None;
    world.run(20);
    assert_eq!((world.phase(), world.memory().stable), (Phase::RolledBack, Some(stable)));
    assert_eq!(world.snapshot.service.status.clone().unwrap().quarantined, before);
    world.change("/control", json!({"retry": {"revision": candidate, "attempt": 2}}));
    world.until("promoted", |world| world.memory().stable.as_ref() == Some(&candidate));
    world.snapshot.service.status = None;
    world.run(2);
    assert_eq!((world.phase(), world.memory().stable), (Phase::Stable, Some(candidate)), "its record does not say so any more");
}

#[test]
fn what_the_api_server_refuses_is_told_in_status() {
    let refusal = || Some("cannot change Deployment shop-a: field is immutable".to_owned());
    let mut world = World::serving(&spec("1", &canary()));
    world.snapshot.refused = refusal();
    world.settle();
    assert_eq!(world.phase(), Phase::Blocked);
    assert!(world.message().starts_with("cannot change Deployment"), "{}", world.message());
    world.snapshot.refused = None;
    world.settle();
    assert_eq!(world.phase(), Phase::Stable);
    world.change("/image", "shop:2".into());
    world.until_stage(Stage::Soaking);
    world.snapshot.refused = refusal();
    world.settle();
    assert_eq!(world.phase(), Phase::Progressing, "a rollout goes on, or back");
    assert!(world.message().starts_with("cannot change Deployment"), "{}", world.message());
}

#[test]
fn a_lost_memory_in_an_outage_keeps_the_revision_that_served() {
    let mut world = World::serving(&spec("1", &canary()));
    let stable = world.revision();
    world.lose(&stable);
    world.change("/image", "shop:2".into());
    world.change("/control", json!({"paused": true}));
    world.snapshot.service.status = None;
    world.settle();
    assert_eq!(world.memory().stable, Some(stable.clone()));
    assert_eq!(world.asked(&stable), Some(4), "its Deployment stays");
}

#[test]
fn a_paused_first_revision_waits() {
    let mut first = spec("1", &canary());
    first["control"] = json!({"paused": true});
    let mut world = World::new(&first);
    world.run(3);
    assert_eq!(world.phase(), Phase::Paused);
    assert!(world.message().contains("waits to be rolled out"), "{}", world.message());
    world.change("/control/paused", false.into());
    world.until("serves", |world| world.phase() == Phase::Stable);
}

#[test]
fn a_first_revision_that_never_comes_up_gives_way_to_the_next_spec() {
    let mut world = World::new(&spec("1", &canary()));
    let bad = world.revision();
    world.broken.insert(bad.clone());
    world.run(70);
    assert_eq!(world.phase(), Phase::Blocked);
    assert!(world.message().contains("0 of 4 pods"), "{}", world.message());
    world.change("/image", "shop:2".into());
    world.until("serves", |world| world.phase() == Phase::Stable);
    assert_eq!(world.asked(&bad), None);
    assert!(world.events.iter().any(|event| event.message.contains("takes the place")), "{:?}", world.events);
}

#[test]
fn a_refused_spec_leaves_what_is_outside_the_revision_as_it_stands() {
    let mut old = spec("1", &canary());
    old["availability"] = json!({"maxUnavailable": 2});
    let mut world = World::serving(&old);
    let stable = world.revision();
    world.change("/availability", json!({"maxUnavailable": 3}));
    world.change("/deletionPolicy", "orphan".into());
    world.run(2);
    let deployment = World::deployment(&stable);
    assert_eq!(world.snapshot.children[&deployment].body["metadata"]["ownerReferences"], Value::Null);
    world.change("/rollout", unreachable());
    let before = world.snapshot.children.clone();
    world.run(3);
    assert_eq!(world.phase(), Phase::Blocked);
    assert_eq!(world.snapshot.children, before, "neither the budget nor the owner comes back from the record");
    world.snapshot.children.remove(&deployment);
    world.run(2);
    assert_eq!(world.asked(&stable), Some(4), "what serves is repaired");
}

#[test]
fn foreign_objects_hold_a_rollout_only_where_they_are_in_the_way() {
    let foreign = || Child { uid: "x".into(), resource_version: "1".into(), ours: false, deleting: false, body: json!({}) };
    let mut world = World::serving(&spec("1", &canary()));
    let stable = world.revision();
    world.snapshot.children.insert(ObjectKey::new(Kind::HorizontalPodAutoscaler, "shop"), foreign());
    world.run(2);
    assert_eq!(world.phase(), Phase::Stable, "no autoscaler is wanted: {}", world.message());
    world.change("/image", "shop:2".into());
    let key = World::deployment(&world.revision());
    world.snapshot.children.insert(key.clone(), foreign());
    world.run(3);
    assert_eq!((world.phase(), world.memory().stable), (Phase::Blocked, Some(stable)));
    assert!(world.message().contains("plimsoll.dev/adopt"), "{}", world.message());
    assert_eq!(world.snapshot.children[&key], foreign(), "left alone");
    world.snapshot.children.remove(&key);
    let wanted = world.revision();
    world.until("promoted", |world| world.memory().stable.as_ref() == Some(&wanted));
}

#[test]
fn lost_records_and_deployments_stop_no_rollback() {
    for stage in [Stage::Soaking, Stage::Baking] {
        for kind in [Kind::ConfigMap, Kind::Deployment, Kind::Service] {
            let mut world = World::serving(&spec("1", &rolling()));
            let stable = world.revision();
            world.change("/image", "shop:2".into());
            let candidate = world.revision();
            world.until_stage(stage);
            if kind == Kind::ConfigMap {
                world.snapshot.records.remove(&stable);
            }
            let name = if kind == Kind::Service { "shop".to_owned() } else { format!("shop-{stable}") };
            world.snapshot.children.remove(&ObjectKey::new(kind, name));
            if kind == Kind::Deployment {
                world.snapshot.pods.retain(|pod| pod.state.revision != stable);
            }
            world.change("/control", json!({"abort": candidate}));
            world.until("taken back", |world| world.phase() == Phase::RolledBack);
            world.run(2);
            assert_eq!((world.asked(&stable), world.asked(&candidate)), (Some(4), None), "{kind:?} in {stage:?}");
        }
    }
}

#[test]
fn a_promoted_revision_that_loses_its_pods_in_the_drain_does_not_take_stable_with_it() {
    let mut world = World::serving(&spec("1", &canary()));
    let stable = world.revision();
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    world.until_stage(Stage::Draining);
    world.lose(&candidate);
    world.run(10);
    assert_eq!((world.asked(&stable), world.served()), (Some(4), 4), "stable serves until the other can");
    assert!(world.message().contains("waiting for the others"), "{}", world.message());
    world.stuck.clear();
    world.until("promoted", |world| world.phase() == Phase::Stable);
}

#[test]
fn an_order_that_never_reached_the_cluster_is_not_late() {
    let mut world = World::serving(&spec("1", &canary()));
    world.change("/image", "shop:2".into());
    let wanted = world.revision();
    // The decision is written; then the operator is away for longer than the deadline, and its Deployment never comes.
    world.snapshot.service.status = Some(world.decide().status);
    assert_eq!(world.progress().map(|progress| progress.stage), Some(Stage::Shifting));
    world.now += 10.minutes();
    world.settle();
    assert_eq!(world.progress().map(|progress| progress.cause), Some(None), "{}", world.message());
    world.until("promoted", |world| world.memory().stable.as_ref() == Some(&wanted));
}

#[test]
fn the_deadline_of_an_order_that_never_reaches_the_cluster_ends_as_well() {
    let mut world = World::serving(&spec("1", &canary()));
    world.change("/image", "shop:2".into());
    world.snapshot.service.status = Some(world.decide().status);
    for _ in 0..2 {
        // Nothing but the status can be written.
        world.now += 61.seconds();
        world.snapshot.service.status = Some(world.decide().status);
    }
    assert_eq!(world.progress().unwrap().stage, Stage::RollingBack, "{}", world.message());
}

#[test]
fn no_replicas_in_a_rollout_prove_nothing() {
    for stage in [Stage::Shifting, Stage::Soaking, Stage::Baking] {
        for way in [canary(), rolling()] {
            let mut world = World::serving(&spec("1", &way));
            let stable = world.revision();
            world.change("/image", "shop:2".into());
            let wanted = world.revision();
            world.until_stage(stage);
            world.change("/replicas", 0.into());
            world.run(120);
            assert_eq!(world.memory().stable.as_ref(), Some(&stable), "{stage:?}: {}", world.message());
            assert!(world.message().contains("0 replicas"), "{}", world.message());
            assert_eq!(world.progress().map(|progress| progress.cause), Some(None));
            let mut ordered =
                World { snapshot: world.snapshot.clone(), broken: BTreeSet::new(), stuck: BTreeSet::new(), events: Vec::new(), ..world };
            world = World {
                snapshot: ordered.snapshot.clone(),
                broken: BTreeSet::new(),
                stuck: BTreeSet::new(),
                events: Vec::new(),
                ..ordered
            };
            world.change("/replicas", 4.into());
            world.until("promoted", |world| world.memory().stable.as_ref() == Some(&wanted));
            ordered.change("/control", json!({"promote": {"revision": wanted, "to": "full"}}));
            ordered.until("ordered", |world| world.memory().stable.as_ref() == Some(&wanted));
        }
    }
}

#[test]
fn an_abort_in_the_drain_of_a_promotion_takes_it_back() {
    for way in [canary(), rolling()] {
        let mut world = World::serving(&spec("1", &way));
        let stable = world.revision();
        world.change("/image", "shop:2".into());
        let candidate = world.revision();
        world.until_stage(Stage::Draining);
        world.change("/control", json!({"abort": candidate}));
        world.until("taken back", |world| world.phase() == Phase::RolledBack);
        world.run(2);
        assert_eq!((world.memory().stable.as_ref(), world.asked(&stable), world.asked(&candidate)), (Some(&stable), Some(4), None));
    }
}

/// In the bake of a canary one of stable's four pods is lost for good, and the candidate goes back for this reason.
fn short_of_a_pod(cause: CauseReason) -> (World, String, String) {
    let mut world = World::serving(&spec("1", &canary()));
    let stable = world.revision();
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    world.until_stage(Stage::Baking);
    let lost = world.snapshot.pods.iter().position(|pod| pod.state.revision == stable).unwrap();
    world.snapshot.pods.remove(lost);
    world.stuck.insert(stable.clone());
    match cause {
        CauseReason::Signal => world.crash(&candidate),
        _ => world.change("/control", json!({"abort": candidate})),
    }
    world.until_stage(Stage::RollingBack);
    (world, stable, candidate)
}

#[test]
fn one_lost_pod_of_stable_does_not_keep_a_bad_candidate_in_the_traffic() {
    let (mut world, stable, candidate) = short_of_a_pod(CauseReason::Signal);
    world.settle();
    assert_eq!(world.asked(&candidate), Some(1), "it keeps what stable lacks, and no more");
    let began = world.now;
    world.until("narrowed", |world| world.progress().is_some_and(|progress| progress.stage == Stage::Draining));
    assert!((30..35).contains(&world.now.duration_since(began).as_secs()), "one of four may be missing");
    world.until("over", |world| world.phase() == Phase::RolledBack);
    world.run(2);
    assert_eq!((world.asked(&stable), world.asked(&candidate), world.served()), (Some(4), None, 3));
}

#[test]
fn a_candidate_that_serves_well_stays_until_stable_has_its_pods() {
    let (mut world, stable, candidate) = short_of_a_pod(CauseReason::Abort);
    world.until("over", |world| world.phase() == Phase::RolledBack);
    world.run(100);
    assert_eq!((world.asked(&stable), world.asked(&candidate), world.served()), (Some(4), Some(1), 4));
    assert!(world.message().contains("goes on serving"), "{}", world.message());
    world.stuck.clear();
    world.run(3);
    assert_eq!((world.asked(&stable), world.asked(&candidate), world.served()), (Some(4), None, 4));
}

#[test]
fn where_stable_has_no_pod_left_a_rollback_ends_and_a_fix_may_come() {
    let mut world = World::serving(&spec("1", &canary()));
    let stable = world.revision();
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    world.until_stage(Stage::Baking);
    world.lose(&stable);
    world.change("/control", json!({"abort": candidate}));
    world.until("over", |world| world.phase() == Phase::RolledBack);
    assert_eq!((world.asked(&candidate), world.served()), (Some(4), 4), "somebody has to serve");
    world.change("/image", "shop:3".into());
    let fix = world.revision();
    world.until("the fix takes its place", |world| world.memory().stable.as_ref() == Some(&fix));
    world.run(3);
    assert_eq!((world.asked(&candidate), world.served()), (None, 4));
}

#[test]
fn a_superseded_revision_of_the_history_stays_there() {
    let mut world = World::serving(&spec("1", &canary()));
    let (first, old) = (world.revision(), json!(world.snapshot.service.spec));
    world.change("/image", "shop:2".into());
    let second = world.revision();
    world.until("promoted", |world| world.memory().stable.as_ref() == Some(&second));
    world.run(2);
    world.set(&old);
    world.until_stage(Stage::Soaking);
    world.change("/image", "shop:3".into());
    world.until("superseded", |world| world.progress().is_some_and(|progress| progress.revision != first && progress.cause.is_none()));
    assert_eq!((world.memory().history, world.asked(&first)), (vec![first], Some(0)));
}

#[test]
fn a_first_revision_is_not_promoted_while_its_name_is_taken() {
    let mut world = World::new(&spec("1", &canary()));
    let foreign = Child { uid: "x".into(), resource_version: "1".into(), ours: false, deleting: false, body: json!({}) };
    let front = ObjectKey::new(Kind::Service, "shop");
    world.snapshot.children.insert(front.clone(), foreign);
    world.run(5);
    assert_eq!((world.phase(), world.memory().stable), (Phase::Blocked, None), "nobody reaches its pods");
    assert!(world.events.iter().any(|event| event.reason == "NameConflict"), "{:?}", world.events);
    world.snapshot.children.remove(&front);
    world.until("serves", |world| world.phase() == Phase::Stable);
}

#[test]
fn a_new_reason_is_told_at_once_and_condition_times_are_whole_seconds() {
    let mut world = World::serving(&spec("1", &canary()));
    world.now += 123.milliseconds();
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    world.broken.insert(candidate.clone());
    world.until("its pod", |world| world.snapshot.pods.iter().any(|pod| pod.state.revision == candidate));
    world.settle();
    let pod = world.snapshot.pods.iter_mut().find(|pod| pod.state.revision == candidate).unwrap();
    pod.state.unschedulable = Some("0/4 nodes are available".into());
    world.settle();
    assert!(world.message().contains("0/4 nodes are available"), "{}", world.message());
    let status = world.snapshot.service.status.unwrap();
    assert!(status.conditions.iter().all(|condition| condition.last_transition_time.0.subsec_nanosecond() == 0));
}

#[test]
fn with_no_pods_anywhere_a_rollback_ends_and_a_fix_may_come() {
    let mut world = World::serving(&spec("1", &canary()));
    let stable = world.revision();
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    world.until_stage(Stage::Soaking);
    world.lose(&candidate);
    world.lose(&stable);
    world.change("/control", json!({"abort": candidate}));
    world.until("over", |world| world.phase() == Phase::RolledBack);
    world.change("/image", "shop:3".into());
    let fix = world.revision();
    world.until("the fix takes its place", |world| world.memory().stable.as_ref() == Some(&fix));
}

#[test]
fn an_hour_without_the_operator_and_a_clock_that_jumps_back() {
    for hours in [1, -1] {
        for stage in [Stage::Shifting, Stage::Soaking, Stage::Baking] {
            let mut world = World::serving(&spec("1", &canary()));
            world.change("/image", "shop:2".into());
            let wanted = world.revision();
            world.until_stage(stage);
            world.now += hours.hours();
            world.snapshot.judge = None;
            // The cluster went on meanwhile.
            world.pods();
            world.settle();
            assert_eq!(world.progress().map(|progress| progress.cause), Some(None), "{stage:?}: {}", world.message());
            if hours > 0 {
                world.until("promoted", |world| world.memory().stable.as_ref() == Some(&wanted));
            }
        }
    }
}

#[test]
fn callers_keep_the_ports_that_they_know_until_the_end() {
    let mut world = World::serving(&spec("1", &canary()));
    let first = json!(world.snapshot.service.spec);
    world.change("/image", "shop:2".into());
    world.change("/ports", json!([{"name": "http", "port": 9090}]));
    let port = |world: &World| world.snapshot.children[&ObjectKey::new(Kind::Service, "shop")].body["spec"]["ports"][0]["port"].clone();
    world.until_stage(Stage::Baking);
    assert_eq!(port(&world), 8080);
    world.set(&first);
    world.until("reverted", |world| {
        assert_eq!(port(world), 8080, "on the way back as well");
        world.phase() == Phase::Stable
    });
}

#[test]
fn what_was_added_is_named_for_removal() {
    let mut world = World::serving(&spec("1", &canary()));
    let key = ObjectKey::new(Kind::Service, "shop");
    let mut child = world.snapshot.children[&key].clone();
    child.body["spec"]["ports"].as_array_mut().unwrap().push(json!({"name": "extra", "port": 1}));
    child.body["metadata"]["labels"]["team"] = "blue".into();
    world.snapshot.children.insert(key, child);
    let decision = world.decide();
    let removed: Vec<_> =
        decision.writes.iter().filter_map(|write| if let Write::Apply { remove, .. } = write { Some(remove) } else { None }).collect();
    assert_eq!(removed, [&["/spec/ports/1".to_owned()]]);
}

#[test]
fn a_jobs_gate_waits_where_the_operator_may_make_none_and_while_nothing_goes_forward() {
    let mut gated = canary();
    gated["gates"] = json!([{"name": "migrate", "at": {"start": {}}, "job": {"command": ["/app", "migrate"]}}]);
    let mut world = World::serving(&spec("1", &canary()));
    world.set(&spec("2", &gated));
    world.run(2);
    assert!(world.message().contains("install it with the chart value jobs=true"), "{}", world.message());
    world.snapshot.around.jobs = true;
    world.change("/control", json!({"paused": true}));
    world.run(2);
    let jobs = |world: &World| world.snapshot.children.keys().filter(|key| key.kind == Kind::Job).count();
    assert_eq!(jobs(&world), 0, "paused: {}", world.message());
    world.change("/control", Value::Null);
    world.run(2);
    assert_eq!(jobs(&world), 1, "{}", world.message());
    let order = world.progress().unwrap().gates[0].job.clone().unwrap();
    assert!(order.uid.is_some(), "{order:?}");
    // The gate is taken out of the spec, which is no new revision: the rollout goes on without it.
    world.set(&spec("2", &canary()));
    world.run(2);
    assert_ne!(world.progress().unwrap().stage, Stage::Gated, "{}", world.message());
}
