//! A stand-in for the Gateway's controller and its proxy, and for the controller that makes `EndpointSlices` of Services.
//!
//! A route takes effect a moment after it was written, and is reported after that: what is written is not yet what users meet. While the
//! controller is stopped neither happens.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::pods::SimPod;
use super::workloads::Workloads;
use crate::decide::{Kind, ObjectKey};

/// How long a change takes to reach the proxy (Contour and Envoy: 16 ms) and to be reported (32 ms): slower here, so that waiting shows.
const LAG: SignedDuration = SignedDuration::from_millis(300);

/// What the proxy does, and when it does something else.
#[derive(Debug, Default)]
pub(super) struct Gateway {
    /// Weights by Service that users meet; empty before the first route.
    in_force: BTreeMap<String, i64>,
    /// The Service that the requests of testers go to.
    testers: Option<String>,
    /// The Service that copies of so many percent of the requests go to.
    mirror: Option<(String, f64)>,
    /// The generation of the route that is in force, and the one that is on its way, with its time.
    seen: Option<i64>,
    coming: Option<(i64, Timestamp)>,
    /// The controller is stopped until then.
    stopped: Option<Timestamp>,
}

impl Gateway {
    /// The controller does nothing until then.
    pub(super) const fn stop(&mut self, until: Timestamp) {
        self.stopped = Some(until);
    }

    /// The Service that copies go to now, and of how many percent of the requests.
    pub(super) fn mirror(&self) -> Option<&(String, f64)> {
        self.mirror.as_ref()
    }

    /// The Service that the requests of testers go to now, if there is one.
    pub(super) fn testers(&self) -> Option<&String> {
        self.testers.as_ref()
    }

    /// When something happens next.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        self.coming.map(|(_, at)| self.stopped.map_or(at, |until| at.max(until)))
    }

    /// Everything that is due by `now`.
    pub(super) fn advance(&mut self, cluster: &mut Cluster, now: Timestamp) {
        let Some(key) = route(cluster) else {
            *self = Self { stopped: self.stopped, ..Self::default() };
            return;
        };
        let body = &cluster.objects()[&key];
        let generation = body["metadata"]["generation"].as_i64().unwrap_or(1);
        if self.seen != Some(generation) && self.coming.is_none_or(|(coming, _)| coming != generation) {
            self.coming = Some((generation, now + LAG));
        }
        if self.wake().is_none_or(|at| at > now) {
            return;
        }
        (self.coming, self.seen, self.in_force) = (None, Some(generation), weights(body));
        let mirror = &body["spec"]["rules"][0]["filters"][0]["requestMirror"];
        let copies = |name: &str| (name.to_owned(), mirror["percent"].as_f64().unwrap_or(100.0));
        self.mirror = mirror["backendRef"]["name"].as_str().map(copies);
        self.testers = body["spec"]["rules"][1]["backendRefs"][0]["name"].as_str().map(str::to_owned);
        let resolved = self.in_force.keys().all(|name| cluster.objects().contains_key(&ObjectKey::new(Kind::Service, name)));
        cluster.edit(&key, now, |body| {
            let condition = |kind: &str, holds: bool| {
                json!({"type": kind, "status": if holds { "True" } else { "False" }, "observedGeneration": generation, "reason": kind, "message": ""})
            };
            let conditions = [condition("Accepted", true), condition("ResolvedRefs", resolved)];
            body["status"] = json!({"parents": [{"parentRef": body["spec"]["parentRefs"][0], "conditions": conditions}]});
        });
    }
}

/// The service's route, if it has one.
fn route(cluster: &Cluster) -> Option<ObjectKey> {
    cluster.objects().keys().find(|key| matches!(key.kind, Kind::HttpRoute | Kind::GrpcRoute)).cloned()
}

fn weights(route: &Value) -> BTreeMap<String, i64> {
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().into_iter().flatten();
    let weight = |backend: &Value| backend["weight"].as_i64().unwrap_or(1);
    backends
        .filter(|backend| weight(backend) > 0)
        .map(|backend| (backend["name"].as_str().unwrap_or_default().to_owned(), weight(backend)))
        .collect()
}

/// Pods that get a share of the requests.
pub(super) struct Share<'a> {
    /// The share.
    pub(super) of_all: f64,
    /// Pods that it is divided over evenly.
    pub(super) pods: Vec<&'a SimPod>,
}

/// Who gets the users' requests now: by the route that is in force, else by the front Service.
pub(super) fn shares<'a>(workloads: &'a Workloads, cluster: &'a Cluster, service: &str) -> Vec<Share<'a>> {
    divided(&workloads.gateway.in_force, workloads, cluster, service)
}

/// Who gets them once the route as it is written is in force.
pub(super) fn asked<'a>(workloads: &'a Workloads, cluster: &'a Cluster, service: &str) -> Vec<Share<'a>> {
    let weights = route(cluster).map(|key| weights(&cluster.objects()[&key])).unwrap_or_default();
    divided(&weights, workloads, cluster, service)
}

fn divided<'a>(weights: &BTreeMap<String, i64>, workloads: &'a Workloads, cluster: &'a Cluster, service: &str) -> Vec<Share<'a>> {
    let sum: i64 = weights.values().sum();
    if sum == 0 {
        return vec![Share { of_all: 1.0, pods: workloads.endpoints(cluster, service).collect() }];
    }
    let share =
        |(name, weight): (&String, &i64)| Share { of_all: *weight as f64 / sum as f64, pods: workloads.endpoints(cluster, name).collect() };
    weights.iter().map(share).collect()
}

/// Percent of the requests that users' Gateway sends to a Service now; `None` where the front Service takes all.
pub(super) fn percent(workloads: &Workloads, service: &str) -> Option<i64> {
    let weights = &workloads.gateway.in_force;
    let sum: i64 = weights.values().sum();
    (sum > 0).then(|| 100 * weights.get(service).copied().unwrap_or(0) / sum)
}

/// The `EndpointSlices` of Services that belong to one revision.
pub(super) fn endpoint_slices(workloads: &Workloads, cluster: &mut Cluster, now: Timestamp) {
    let of_revision = |(key, body): (&ObjectKey, &Value)| {
        let labels = &body["metadata"]["labels"];
        (key.kind == Kind::Service && labels["plimsoll.dev/revision"].is_string())
            .then(|| (key.name.clone(), body["metadata"]["uid"].clone(), labels.clone()))
    };
    let services: Vec<_> = cluster.objects().iter().filter_map(of_revision).collect();
    let gone = |key: &&ObjectKey| key.kind == Kind::EndpointSlice && !services.iter().any(|(name, ..)| *name == key.name);
    let superfluous: Vec<ObjectKey> = cluster.objects().keys().filter(gone).cloned().collect();
    for key in superfluous {
        cluster.delete(&key, None, now).ok();
    }
    for (name, uid, labels) in services {
        let endpoints: Vec<Value> = workloads
            .endpoints(cluster, &name)
            .map(|pod| json!({"addresses": [pod.shown.ip], "conditions": {"ready": pod.counts()}}))
            .collect();
        let key = ObjectKey::new(Kind::EndpointSlice, name);
        cluster.publish(&key, now, |body| {
            body["metadata"]["labels"] = labels;
            body["metadata"]["ownerReferences"] = json!([{"kind": "Service", "uid": uid, "controller": true}]);
            body["endpoints"] = json!(endpoints);
        });
    }
}
