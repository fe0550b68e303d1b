//! What a namespace looks like after a change, as far as the rules need it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Kind, Seen};

const SERVICE: &str = "plimsoll.dev/service";
const REVISION: &str = "plimsoll.dev/revision";
/// A pod that was ready so short a time ago counts: nobody can have known better. What was asked for is taken as it stands.
const RECENTLY: Duration = Duration::from_secs(10);

/// A service and one of its revisions.
pub type Revision = (String, String);

/// The namespace.
#[derive(Default)]
pub struct State {
    pub services: BTreeMap<String, Value>,
    /// Pods asked for.
    pub deployments: BTreeMap<Revision, i64>,
    /// Selectors of the Services that a ProductionService owns, by its name.
    pub fronts: BTreeMap<String, Value>,
    pub routes: BTreeMap<String, Value>,
    pods: BTreeMap<String, (Revision, bool)>,
    /// Ready pods over time, the latest last.
    ready: BTreeMap<Revision, Vec<(Duration, i64)>>,
}

/// The part of an object that the rules look at: a record of everything would not fit into memory.
pub fn needed(kind: Kind, mut object: Value) -> Value {
    let managers: Vec<Value> = object["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| json!([entry["time"], entry["manager"]]))
        .collect();
    object["metadata"]["managedFields"] = managers.into();
    match kind {
        Kind::Pod => {
            let containers = object["status"]["containerStatuses"].as_array().into_iter().flatten();
            let restarts: i64 = containers.filter_map(|container| container["restartCount"].as_i64()).sum();
            json!({ "metadata": object["metadata"], "status": { "conditions": object["status"]["conditions"], "restarts": restarts } })
        }
        Kind::ConfigMap | Kind::Secret | Kind::EndpointSlice => json!({ "metadata": object["metadata"] }),
        _ => object,
    }
}

fn label(object: &Value, name: &str) -> Option<String> {
    object["metadata"]["labels"][name].as_str().map(str::to_owned)
}

fn revision(object: &Value) -> Option<Revision> {
    Some((label(object, SERVICE)?, label(object, REVISION)?))
}

fn condition<'a>(conditions: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions.as_array()?.iter().find(|condition| condition["type"] == kind)
}

impl State {
    /// Makes the change.
    pub fn take(&mut self, seen: &Seen) {
        let object = &seen.object;
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let put = |map: &mut BTreeMap<String, Value>| {
            if seen.gone {
                map.remove(&name);
            } else {
                map.insert(name.clone(), object.clone());
            }
        };
        match seen.kind {
            Kind::ProductionService => put(&mut self.services),
            Kind::HttpRoute | Kind::GrpcRoute => put(&mut self.routes),
            Kind::Service if is_owned(object) => put(&mut self.fronts),
            Kind::Deployment => {
                let Some(revision) = revision(object) else { return };
                if seen.gone {
                    self.deployments.remove(&revision);
                } else {
                    self.deployments.insert(revision, object["spec"]["replicas"].as_i64().unwrap_or(1));
                }
            }
            Kind::Pod => self.take_pod(name, seen),
            _ => {}
        }
    }

    fn take_pod(&mut self, name: String, seen: &Seen) {
        let Some(revision) = revision(&seen.object) else { return };
        let ready = condition(&seen.object["status"]["conditions"], "Ready").is_some_and(|ready| ready["status"] == "True");
        if seen.gone {
            self.pods.remove(&name);
        } else {
            let leaving = !seen.object["metadata"]["deletionTimestamp"].is_null();
            self.pods.insert(name, (revision.clone(), ready && !leaving));
        }
        let count = self.pods.values().filter(|(of, ready)| *of == revision && *ready).count();
        self.ready.entry(revision).or_default().push((seen.at, i64::try_from(count).unwrap_or(0)));
    }

    /// Whether the service is there to stay.
    pub fn lives(&self, service: &str) -> bool {
        self.services.get(service).is_some_and(|object| object["metadata"]["deletionTimestamp"].is_null())
    }

    /// Pods that the whole load needs.
    pub fn replicas(&self, service: &str) -> i64 {
        let spec = &self.services[service]["spec"];
        let default = if spec["scaling"].is_object() { 0 } else { 2 };
        spec["replicas"].as_i64().unwrap_or(default)
    }

    /// Ready pods of a revision now.
    pub fn ready(&self, revision: &Revision) -> i64 {
        self.ready.get(revision).and_then(|samples| samples.last()).map_or(0, |(_, ready)| *ready)
    }

    /// The most ready pods that the revision had recently, as far as they are still asked for.
    pub fn capacity(&self, revision: &Revision, at: Duration) -> i64 {
        let samples = self.ready.get(revision).map_or(&[] as &[_], Vec::as_slice);
        let since = at.saturating_sub(RECENTLY);
        // What was in force when the time began counts as well.
        let first = samples.iter().rposition(|(when, _)| *when <= since).unwrap_or(0);
        let most = samples[first..].iter().map(|(_, ready)| *ready).max().unwrap_or(0);
        most.min(self.deployments.get(revision).copied().unwrap_or(0))
    }

    /// Revisions of the service that have a Deployment.
    pub fn revisions(&self, service: &str) -> Vec<Revision> {
        self.deployments.keys().filter(|(of, _)| of == service).cloned().collect()
    }

    /// The share of requests, 0 to 100, that each revision is given by the service's route; none where it has no route.
    pub fn weights(&self, service: &str) -> Option<BTreeMap<Revision, i64>> {
        let route = self.routes.values().find(|route| label(route, SERVICE).as_deref() == Some(service))?;
        let backends = route["spec"]["rules"][0]["backendRefs"].as_array()?;
        // What a user's own route gives to the front Service goes to the revision that it selects.
        let selected = self.fronts.get(service).and_then(|front| front["spec"]["selector"][REVISION].as_str());
        let weight = |backend: &Value| backend["weight"].as_i64().unwrap_or(1);
        let (mut weights, mut named) = (BTreeMap::<Revision, i64>::new(), false);
        for backend in backends {
            let name = backend["name"].as_str().unwrap_or_default();
            let own = name.strip_prefix(service).and_then(|rest| rest.strip_prefix('-'));
            named |= own.is_some();
            if let Some(revision) = own.or(selected.filter(|_| name == service)) {
                *weights.entry((service.to_owned(), revision.to_owned())).or_default() += weight(backend);
            }
        }
        let sum: i64 = weights.values().sum();
        // Where that selects several, it divides by their pods.
        let by_front = sum == 0 && backends.iter().any(|backend| backend["name"] == service && weight(backend) > 0);
        (named && !by_front).then(|| weights.into_iter().map(|(revision, weight)| (revision, 100 * weight / sum.max(1))).collect())
    }

    /// Whether every parent of the service's route has accepted what it says now.
    pub fn reported(&self, service: &str) -> bool {
        let Some(route) = self.routes.values().find(|route| label(route, SERVICE).as_deref() == Some(service)) else { return false };
        let parents = route["status"]["parents"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let said = |parent: &Value, kind: &str| {
            condition(&parent["conditions"], kind)
                .is_some_and(|said| said["status"] == "True" && said["observedGeneration"] == route["metadata"]["generation"])
        };
        !parents.is_empty() && parents.iter().all(|parent| said(parent, "Accepted") && said(parent, "ResolvedRefs"))
    }

    /// The revisions that requests reach: by the route, else by the front Service.
    pub fn routed(&self, service: &str) -> Vec<Revision> {
        if let Some(weights) = self.weights(service) {
            return weights.into_iter().filter(|(_, weight)| *weight > 0).map(|(revision, _)| revision).collect();
        }
        let Some(front) = self.fronts.get(service) else { return Vec::new() };
        match front["spec"]["selector"][REVISION].as_str() {
            Some(revision) => vec![(service.to_owned(), revision.to_owned())],
            None if front["spec"]["selector"][SERVICE] == service => self.revisions(service),
            None => Vec::new(),
        }
    }

    /// How much of the load the routed revisions can carry, in thousandths; 1000 is all of it. None where nobody is routed.
    pub fn coverage(&self, service: &str, at: Duration) -> Option<i64> {
        let replicas = self.replicas(service);
        let share = |has: i64, needs: i64| if needs == 0 { 1000 } else { (1000 * has / needs).min(1000) };
        if let Some(weights) = self.weights(service) {
            let routed = weights.iter().filter(|(_, weight)| **weight > 0);
            // ceil: a revision with any weight needs a pod.
            return routed.map(|(revision, weight)| share(self.capacity(revision, at), (replicas * weight + 99) / 100)).min();
        }
        let routed = self.routed(service);
        let has = routed.iter().map(|revision| self.capacity(revision, at)).sum();
        (!routed.is_empty()).then(|| share(has, replicas))
    }
}

fn is_owned(object: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    owners.iter().any(|owner| owner["kind"] == "ProductionService")
        || object["metadata"]["annotations"]["plimsoll.dev/owner-uid"].is_string()
}
