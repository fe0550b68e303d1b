//! The auditor must be able to fail: each rule on a made-up history, right and wrong.

#![allow(dead_code, reason = "the node tests have a harness of their own, which runs no #[test]")]

use std::time::Duration;

use serde_json::{Value, json};

use super::replay::replay;
use super::{Kind, Seen};

/// A history of the service `shop`, which needs two pods; revision `a` is stable.
struct History(Vec<Seen>);

impl History {
    fn new() -> Self {
        let mut history = Self(Vec::new());
        history.service(0, &json!({}));
        history.front(0, &json!({"plimsoll.dev/service": "shop", "plimsoll.dev/revision": "a"}));
        history.deployment(0, "a", 2);
        history.pod(1, "a", 1, true);
        history.pod(1, "a", 2, true);
        history
    }

    fn note(&mut self, second: u64, kind: Kind, name: &str, mut object: Value) {
        object["metadata"]["name"] = name.into();
        let version = self.0.len() as u64;
        self.0.push(Seen { version, at: Duration::from_secs(second), kind, gone: false, object });
    }

    fn service(&mut self, second: u64, status: &Value) {
        let managers = json!([[second.to_string(), "plimsoll"]]);
        let object = json!({"metadata": {"generation": 1, "managedFields": managers}, "spec": {"replicas": 2, "ports": [{"port": 80}]}, "status": status});
        self.note(second, Kind::ProductionService, "shop", object);
    }

    fn front(&mut self, second: u64, selector: &Value) {
        let owners = json!([{"kind": "ProductionService"}]);
        self.note(second, Kind::Service, "shop", json!({"metadata": {"ownerReferences": owners}, "spec": {"selector": selector}}));
    }

    fn of(revision: &str) -> Value {
        json!({"plimsoll.dev/service": "shop", "plimsoll.dev/revision": revision})
    }

    fn deployment(&mut self, second: u64, revision: &str, replicas: i64) {
        let object = json!({"metadata": {"labels": Self::of(revision)}, "spec": {"replicas": replicas}});
        self.note(second, Kind::Deployment, &format!("shop-{revision}"), object);
    }

    fn pod(&mut self, second: u64, revision: &str, number: u32, ready: bool) {
        let status = if ready { "True" } else { "False" };
        let conditions = json!([{"type": "Ready", "status": status}]);
        let object = json!({"metadata": {"labels": Self::of(revision)}, "status": {"conditions": conditions}});
        self.note(second, Kind::Pod, &format!("shop-{revision}-{number}"), object);
    }

    fn route(&mut self, second: u64, generation: i64, weights: [i64; 2], reported: i64) {
        let backends = json!([{"name": "shop-a", "weight": weights[0]}, {"name": "shop-b", "weight": weights[1]}]);
        let said = |kind: &str| json!({"type": kind, "status": "True", "observedGeneration": reported});
        let object = json!({
            "metadata": {"labels": {"plimsoll.dev/service": "shop"}, "generation": generation},
            "spec": {"rules": [{"backendRefs": backends}]},
            "status": {"parents": [{"conditions": [said("Accepted"), said("ResolvedRefs")]}]},
        });
        self.note(second, Kind::HttpRoute, "shop", object);
    }

    fn progress(&mut self, second: u64, step: i64, stage: &str) {
        let progress = json!({"id": "b-1", "revision": "b", "step": step, "stage": stage});
        self.service(second, &json!({"phase": "Progressing", "rollout": {"stable": "a", "commands": [], "progress": progress}}));
    }

    /// The rules that are violated, in order.
    fn rules(&self) -> Vec<&'static str> {
        replay(&self.0).into_iter().map(|violation| violation.rule).collect()
    }
}

#[test]
fn scaling_down_what_is_routed_is_seen() {
    let mut history = History::new();
    history.deployment(20, "a", 1);
    assert_eq!(history.rules(), ["capacity"]);
}

#[test]
fn a_pod_that_dies_is_nobodys_violation_and_taking_its_place_away_is() {
    let mut history = History::new();
    history.pod(20, "a", 2, false);
    assert_eq!(history.rules(), [""; 0]);
    history.deployment(21, "a", 1);
    assert_eq!(history.rules(), ["capacity"]);
}

#[test]
fn going_over_to_another_revision_needs_its_pods() {
    let other = json!({"plimsoll.dev/service": "shop", "plimsoll.dev/revision": "b"});
    let mut early = History::new();
    early.deployment(20, "b", 2);
    early.pod(21, "b", 1, true);
    early.front(22, &other);
    assert_eq!(early.rules(), ["capacity"]);
    let mut ready = History::new();
    ready.deployment(20, "b", 2);
    ready.pod(21, "b", 1, true);
    ready.pod(21, "b", 2, true);
    ready.front(22, &other);
    ready.deployment(30, "a", 0);
    assert_eq!(ready.rules(), [""; 0]);
}

#[test]
fn a_selector_of_nothing_is_seen_and_so_is_staying_with_a_dead_revision() {
    let mut empty = History::new();
    empty.front(20, &json!({}));
    assert_eq!(empty.rules(), ["capacity", "routing"]);
    let mut dead = History::new();
    dead.deployment(20, "b", 1);
    dead.pod(21, "b", 1, true);
    dead.pod(22, "a", 1, false);
    dead.pod(22, "a", 2, false);
    dead.pod(28, "b", 1, true);
    assert_eq!(dead.rules(), [""; 0], "there is time to go over");
    dead.pod(40, "b", 1, true);
    assert_eq!(dead.rules(), ["routing"]);
}

#[test]
fn a_weight_before_the_pods_and_a_scale_down_before_the_report_are_seen() {
    let mut history = History::new();
    history.deployment(20, "b", 1);
    history.route(20, 1, [100, 0], 1);
    history.pod(22, "b", 1, true);
    history.route(23, 2, [50, 50], 2);
    history.route(30, 3, [100, 0], 2);
    let mut right = History(history.0.clone());
    history.deployment(31, "b", 0);
    assert_eq!(history.rules(), ["drain"], "nobody has reported that nothing is sent there");
    right.route(31, 3, [100, 0], 3);
    let mut soon = History(right.0.clone());
    right.deployment(34, "b", 0);
    assert_eq!(right.rules(), [""; 0]);
    soon.deployment(32, "b", 0);
    assert_eq!(soon.rules(), ["drain"], "a second after the report");

    let mut early = History::new();
    early.deployment(20, "b", 1);
    early.route(20, 1, [100, 0], 1);
    early.route(21, 2, [50, 50], 1);
    assert_eq!(early.rules(), ["capacity"]);
}

#[test]
fn a_rollout_that_goes_back_a_step_or_skips_one_is_seen() {
    let mut history = History::new();
    for (second, step, stage) in [(10, 0, "Shifting"), (11, 0, "Soaking"), (12, 1, "Shifting"), (13, 1, "Soaking")] {
        history.progress(second, step, stage);
    }
    assert_eq!(history.rules(), [""; 0]);
    history.progress(14, 0, "Shifting");
    history.progress(15, 2, "Shifting");
    assert_eq!(history.rules(), ["decision", "decision"]);
}

#[test]
fn a_write_without_a_cause_is_seen() {
    let settled = |message: &str| json!({"phase": "Stable", "observedGeneration": 1, "message": message});
    let mut history = History::new();
    history.service(20, &settled("promoted"));
    history.pod(40, "a", 1, true);
    history.service(41, &settled("something happened to a pod"));
    assert_eq!(history.rules(), [""; 0]);
    history.service(60, &settled("nothing happened"));
    assert_eq!(history.rules(), ["silence"]);
}
