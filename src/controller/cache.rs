//! What the cluster looks like, as the watches and our own writes show it.
//!
//! **Read your writes**: the answer to every write is put here as a watch would put it, and nothing older than what is here is ever taken in
//! (resourceVersions are compared as numbers). So a decision is never made on something older than what we have written ourselves, without
//! waiting for anything; objects that we deleted stay away although their last events are still on the way. The one thing left to chance is an
//! object that we wrote while the whole kind was being listed anew and that the list does not show: it stays, and its service is marked
//! *unsure*, which makes the next reconcile ask the API server itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::clock::Clock;
use super::object::{self, PlacedPod, label, text};
use super::queue::Key;
use crate::api::ProductionService;
use crate::api::status::Phase;
use crate::decide::gates::Neighbour;
use crate::decide::render::ownership::SERVICE;
use crate::decide::{Kind, ObjectKey};

/// Tombstones are kept for so long; by then the last event of a deleted object has long come.
const GRAVE: Duration = Duration::from_secs(600);

/// What a watch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The `ProductionServices`.
    Services,
    /// A kind of object that we make, by label. Of `ConfigMaps` it is the metadata of all of them.
    Children(Kind),
    /// Pods that carry our label.
    Pods,
    /// The service accounts called `default`, for their imagePullSecrets.
    DefaultAccounts,
    /// Nodes, for their Ready condition.
    Nodes,
}

/// An object as it is kept.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its uid.
    pub uid: Box<str>,
    /// Its resourceVersion.
    pub version: u64,
    /// Compact JSON without the resourceVersion.
    pub body: Box<[u8]>,
    /// When we wrote it ourselves, if the watch has not shown it since.
    written: Option<Instant>,
}

/// What is kept of a service beside its body.
#[derive(Clone, Debug)]
pub struct StoredService {
    /// The object, status included.
    pub object: Stored,
    /// Why it cannot be read, if so.
    pub undecodable: Option<Box<str>>,
    /// Its phase, for the metrics.
    pub phase: Option<Phase>,
    /// Who sets `spec.replicas` beside the autoscaler.
    pub replicas_manager: Option<String>,
    /// What services that depend on it see of it.
    pub neighbour: Neighbour,
    depends_on: Vec<Box<str>>,
    references: Vec<Box<str>>,
}

/// All that is kept of one service.
#[derive(Clone, Debug, Default)]
pub struct Family {
    /// The service itself, if it exists.
    pub service: Option<StoredService>,
    /// Objects with its label.
    pub children: BTreeMap<ObjectKey, Stored>,
    /// Its pods by name, their nodes' readiness filled in.
    pub pods: Vec<crate::decide::Pod>,
    /// resourceVersions of the `ConfigMaps` that its spec refers to; absent if there is none of that name.
    pub references: BTreeMap<String, u64>,
    /// imagePullSecrets of the namespace's default account.
    pub pull_secrets: Vec<String>,
    /// The services that its spec depends on; absent if there is none of that name.
    pub neighbours: BTreeMap<String, Neighbour>,
    /// Something is here that may not exist: ask the API server.
    pub unsure: bool,
}

#[derive(Debug, Default)]
struct State {
    services: BTreeMap<Key, StoredService>,
    children: BTreeMap<Key, BTreeMap<ObjectKey, Stored>>,
    pods: BTreeMap<Key, BTreeMap<Box<str>, (u64, PlacedPod)>>,
    config_maps: BTreeMap<(Box<str>, Box<str>), u64>,
    pull_secrets: BTreeMap<Box<str>, Vec<String>>,
    nodes: BTreeMap<Box<str>, bool>,
    buried: BTreeMap<Box<str>, Instant>,
    unsure: BTreeSet<Key>,
}

/// The cache.
#[derive(Debug, Default)]
pub struct Cache {
    state: Mutex<State>,
}

impl Cache {
    /// Takes in an object that a watch or a read shows. Returns the services that should look at it.
    pub fn put(&self, source: Source, object: Value) -> Vec<Key> {
        self.lock().put(source, object, None)
    }

    /// Takes in the answer to one of our own writes. Returns the services that should look at it, the one that wrote among them.
    pub fn wrote(&self, source: Source, object: Value) -> Vec<Key> {
        self.lock().put(source, object, Some(Clock.instant()))
    }

    /// We have deleted this object: whatever still arrives about it is old.
    pub fn bury(&self, owner: &Key, key: &ObjectKey, uid: &str) {
        let mut state = self.lock();
        let now = Clock.instant();
        state.buried.retain(|_, at| now.duration_since(*at) < GRAVE);
        state.buried.insert(uid.into(), now);
        state.drop_child(owner, key, uid);
    }

    /// A watch or a read says that this object is gone. Returns the services that should look.
    pub fn remove(&self, source: Source, object: &Value) -> Vec<Key> {
        self.lock().remove(source, object)
    }

    /// A list is complete: what it did not show, in its namespace or everywhere, is gone.
    pub fn retain(&self, source: Source, namespace: Option<&str>, seen: &BTreeSet<(String, String)>, since: Instant) -> Vec<Key> {
        self.lock().retain(source, namespace, seen, since)
    }

    /// After a fresh list of one service's objects of a kind: those that it did not show are gone.
    pub fn retain_own(&self, source: Source, owner: &Key, seen: &BTreeSet<(String, String)>) {
        let mut state = self.lock();
        match source {
            Source::Children(kind) => {
                if let Some(children) = state.children.get_mut(owner) {
                    children.retain(|key, _| key.kind != kind || seen.contains(&(owner.namespace.to_string(), key.name.clone())));
                }
            }
            Source::Pods => {
                if let Some(pods) = state.pods.get_mut(owner) {
                    pods.retain(|name, _| seen.contains(&(owner.namespace.to_string(), name.to_string())));
                }
            }
            Source::Services | Source::DefaultAccounts | Source::Nodes => {}
        }
    }

    /// Everything about one service.
    pub fn family(&self, key: &Key) -> Family {
        let state = self.lock();
        let service = state.services.get(key).cloned();
        let namespace: Box<str> = key.namespace.as_ref().into();
        let version = |name: &str| Some((name.to_owned(), *state.config_maps.get(&(namespace.clone(), name.into()))?));
        let placed = |(_, placed): &(u64, PlacedPod)| {
            let mut pod = placed.pod.clone();
            pod.state.node_ready = placed.node.as_ref().and_then(|node| state.nodes.get(node)).copied().unwrap_or(true);
            pod
        };
        let neighbour = |name: &str| {
            let found = state.services.get(&Key::new(&key.namespace, name))?;
            Some((name.to_owned(), found.neighbour.clone()))
        };
        Family {
            neighbours: service.iter().flat_map(|service| &service.depends_on).filter_map(|name| neighbour(name)).collect(),
            references: service.iter().flat_map(|service| &service.references).filter_map(|name| version(name)).collect(),
            children: state.children.get(key).cloned().unwrap_or_default(),
            pods: state.pods.get(key).into_iter().flat_map(|pods| pods.values()).map(placed).collect(),
            pull_secrets: state.pull_secrets.get(&namespace).cloned().unwrap_or_default(),
            unsure: state.unsure.contains(key),
            service,
        }
    }

    /// The next reconcile of this service shall ask the API server: the outcome of a write is unknown.
    pub fn doubt(&self, key: &Key) {
        self.lock().unsure.insert(key.clone());
    }

    /// The API server was asked.
    pub fn trust(&self, key: &Key) {
        self.lock().unsure.remove(key);
    }

    /// Every service that exists.
    pub fn services(&self) -> Vec<Key> {
        self.lock().services.keys().cloned().collect()
    }

    /// The phase of every service that has one, and how many services cannot be read.
    pub fn census(&self) -> (Vec<Phase>, usize) {
        let state = self.lock();
        let phases = state.services.values().filter_map(|service| service.phase).collect();
        (phases, state.services.values().filter(|service| service.undecodable.is_some()).count())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, source: Source, mut object: Value, written: Option<Instant>) -> Vec<Key> {
        if self.buried.contains_key(text(&object, "/metadata/uid")) {
            return Vec::new();
        }
        let version = object::version(&object);
        match source {
            Source::Services => self.put_service(object, version, written),
            Source::Children(kind) => {
                let mut woken = if kind == Kind::ConfigMap { self.put_config_map(&object, version) } else { Vec::new() };
                let Some((owner, key)) = labelled(kind, &object) else {
                    // The label may have been taken away from something that was ours.
                    woken.extend(self.drop_unlabelled(kind, &object));
                    return woken;
                };
                object::keep(&mut object, kind);
                let children = self.children.entry(owner.clone()).or_default();
                if merge(children.entry(key), stored(&object, version, written)) {
                    woken.push(owner);
                }
                woken
            }
            Source::Pods => self.put_pod(object, version),
            Source::DefaultAccounts => {
                let secrets: Vec<_> =
                    object["imagePullSecrets"].as_array().into_iter().flatten().map(|secret| text(secret, "/name").to_owned()).collect();
                let namespace = text(&object, "/metadata/namespace");
                let changed = self.pull_secrets.get(namespace) != Some(&secrets);
                self.pull_secrets.insert(namespace.into(), secrets);
                if changed { self.in_namespace(namespace) } else { Vec::new() }
            }
            Source::Nodes => {
                let (name, ready) = (text(&object, "/metadata/name"), object::node_is_ready(&object));
                let changed = self.nodes.insert(name.into(), ready).unwrap_or(true) != ready;
                if changed { self.on_node(name) } else { Vec::new() }
            }
        }
    }

    fn put_service(&mut self, mut object: Value, version: u64, written: Option<Instant>) -> Vec<Key> {
        let key = Key::new(text(&object, "/metadata/namespace"), text(&object, "/metadata/name"));
        let replicas_manager = object::replicas_manager(&object);
        object::strip(&mut object, true);
        let decoded = serde_json::from_value::<ProductionService>(object.clone());
        let new = StoredService {
            object: stored(&object, version, written),
            undecodable: decoded.as_ref().err().map(|error| error.to_string().into()),
            phase: decoded.as_ref().ok().and_then(|service| service.status.as_ref()?.phase),
            references: decoded.iter().flat_map(object::references).map(Into::into).collect(),
            neighbour: Neighbour::of(decoded.as_ref().ok().and_then(|service| service.status.as_ref())),
            depends_on: decoded.iter().flat_map(|service| &service.spec.depends_on).map(|other| other.service.as_str().into()).collect(),
            replicas_manager,
        };
        let old = self.services.get(&key);
        if old.is_some_and(|old| old.object.version >= version) {
            return Vec::new();
        }
        let changed = old.is_none_or(|old| old.object.body != new.object.body || old.replicas_manager != new.replicas_manager);
        let mut woken = if old.is_none_or(|old| old.neighbour != new.neighbour) { self.dependents(&key) } else { Vec::new() };
        self.services.insert(key.clone(), new);
        if changed {
            woken.push(key);
        }
        woken
    }

    /// Services that wait for something of this one.
    fn dependents(&self, key: &Key) -> Vec<Key> {
        let depends = |service: &StoredService| service.depends_on.iter().any(|name| **name == *key.name);
        self.of(&key.namespace).filter(|(other, service)| *other != key && depends(service)).map(|(other, _)| other.clone()).collect()
    }

    fn put_config_map(&mut self, object: &Value, version: u64) -> Vec<Key> {
        let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        let known = self.config_maps.entry((namespace.into(), name.into())).or_default();
        if *known >= version {
            return Vec::new();
        }
        *known = version;
        self.referring(namespace, name)
    }

    fn put_pod(&mut self, object: Value, version: u64) -> Vec<Key> {
        let key = Key::new(text(&object, "/metadata/namespace"), label(&object, SERVICE));
        let name: Box<str> = text(&object, "/metadata/name").into();
        let placed = serde_json::from_value(object).ok().as_ref().and_then(object::pod);
        let pods = self.pods.entry(key.clone()).or_default();
        let known = pods.get(&name);
        if known.is_some_and(|(known, _)| *known >= version) {
            return Vec::new();
        }
        let changed = known.map(|(_, pod)| pod) != placed.as_ref();
        match placed {
            Some(placed) => pods.insert(name, (version, placed)),
            None => pods.remove(&name),
        };
        if changed { vec![key] } else { Vec::new() }
    }

    fn remove(&mut self, source: Source, object: &Value) -> Vec<Key> {
        let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        let uid = text(object, "/metadata/uid");
        match source {
            Source::Services => {
                let key = Key::new(namespace, name);
                match self.services.get(&key) {
                    Some(known) if *known.object.uid == *uid || uid.is_empty() => {
                        self.services.remove(&key);
                        vec![key]
                    }
                    _ => Vec::new(),
                }
            }
            Source::Children(kind) => {
                let mut woken = Vec::new();
                if kind == Kind::ConfigMap && self.config_maps.remove(&(namespace.into(), name.into())).is_some() {
                    woken.extend(self.referring(namespace, name));
                }
                if let Some((owner, key)) = labelled(kind, object)
                    && self.drop_child(&owner, &key, uid)
                {
                    woken.push(owner);
                }
                self.buried.remove(uid);
                woken
            }
            Source::Pods => {
                let key = Key::new(namespace, label(object, SERVICE));
                let Some(pods) = self.pods.get_mut(&key) else { return Vec::new() };
                let gone = pods.get(name).is_some_and(|(_, placed)| placed.pod.state.pod == uid) && pods.remove(name).is_some();
                if pods.is_empty() {
                    self.pods.remove(&key);
                }
                if gone { vec![key] } else { Vec::new() }
            }
            Source::DefaultAccounts => {
                let changed = self.pull_secrets.remove(namespace).is_some_and(|secrets| !secrets.is_empty());
                if changed { self.in_namespace(namespace) } else { Vec::new() }
            }
            // Pods of a node that is gone are not lost with a node that is not Ready: they are deleted.
            Source::Nodes => {
                self.nodes.remove(name);
                Vec::new()
            }
        }
    }

    fn retain(&mut self, source: Source, namespace: Option<&str>, seen: &BTreeSet<(String, String)>, since: Instant) -> Vec<Key> {
        let in_scope = |of: &str| namespace.is_none_or(|namespace| namespace == of);
        let missing = |of: &str, name: &str| in_scope(of) && !seen.contains(&(of.to_owned(), name.to_owned()));
        let mut woken = BTreeSet::new();
        match source {
            Source::Services => self.services.retain(|key, _| {
                let gone = missing(&key.namespace, &key.name);
                if gone {
                    woken.insert(key.clone());
                }
                !gone
            }),
            Source::Children(kind) => {
                if kind == Kind::ConfigMap {
                    let gone: Vec<_> = self.config_maps.keys().filter(|(namespace, name)| missing(namespace, name)).cloned().collect();
                    for place in gone {
                        self.config_maps.remove(&place);
                        woken.extend(self.referring(&place.0, &place.1));
                    }
                }
                let unsure = &mut self.unsure;
                for (owner, children) in &mut self.children {
                    children.retain(|key, stored| {
                        if key.kind != kind || !missing(&owner.namespace, &key.name) {
                            return true;
                        }
                        woken.insert(owner.clone());
                        let just_written = stored.written.is_some_and(|at| at >= since);
                        if just_written {
                            unsure.insert(owner.clone());
                        }
                        just_written
                    });
                }
                self.children.retain(|_, children| !children.is_empty());
            }
            Source::Pods => {
                for (owner, pods) in &mut self.pods {
                    pods.retain(|name, _| {
                        let gone = missing(&owner.namespace, name);
                        if gone {
                            woken.insert(owner.clone());
                        }
                        !gone
                    });
                }
                self.pods.retain(|_, pods| !pods.is_empty());
            }
            Source::DefaultAccounts => self.pull_secrets.retain(|namespace, _| !missing(namespace, "default")),
            Source::Nodes => self.nodes.retain(|name, _| seen.contains(&(String::new(), name.to_string()))),
        }
        woken.into_iter().collect()
    }

    fn drop_child(&mut self, owner: &Key, key: &ObjectKey, uid: &str) -> bool {
        let Some(children) = self.children.get_mut(owner) else { return false };
        let gone = children.get(key).is_some_and(|stored| *stored.uid == *uid) && children.remove(key).is_some();
        if children.is_empty() {
            self.children.remove(owner);
        }
        gone
    }

    fn drop_unlabelled(&mut self, kind: Kind, object: &Value) -> Vec<Key> {
        let (namespace, key) = (text(object, "/metadata/namespace"), ObjectKey::new(kind, text(object, "/metadata/name")));
        let uid = text(object, "/metadata/uid").to_owned();
        let here = self.children.range(Key::new(namespace, "")..).take_while(|(owner, _)| *owner.namespace == *namespace);
        let owners: Vec<_> = here.filter(|(_, children)| children.contains_key(&key)).map(|(owner, _)| owner.clone()).collect();
        owners.into_iter().filter(|owner| self.drop_child(owner, &key, &uid)).collect()
    }

    fn referring(&self, namespace: &str, name: &str) -> Vec<Key> {
        let refers = |service: &StoredService| service.references.iter().any(|reference| **reference == *name);
        self.of(namespace).filter(|(_, service)| refers(service)).map(|(key, _)| key.clone()).collect()
    }

    fn in_namespace(&self, namespace: &str) -> Vec<Key> {
        self.of(namespace).map(|(key, _)| key.clone()).collect()
    }

    fn of(&self, namespace: &str) -> impl Iterator<Item = (&Key, &StoredService)> {
        self.services.range(Key::new(namespace, "")..).take_while(move |(key, _)| *key.namespace == *namespace)
    }

    fn on_node(&self, node: &str) -> Vec<Key> {
        let there = |pods: &BTreeMap<Box<str>, (u64, PlacedPod)>| pods.values().any(|(_, placed)| placed.node.as_deref() == Some(node));
        self.pods.iter().filter(|(_, pods)| there(pods)).map(|(key, _)| key.clone()).collect()
    }
}

fn labelled(kind: Kind, object: &Value) -> Option<(Key, ObjectKey)> {
    let service = label(object, SERVICE);
    (!service.is_empty())
        .then(|| (Key::new(text(object, "/metadata/namespace"), service), ObjectKey::new(kind, text(object, "/metadata/name"))))
}

fn stored(object: &Value, version: u64, written: Option<Instant>) -> Stored {
    Stored {
        uid: text(object, "/metadata/uid").into(),
        version,
        body: serde_json::to_vec(object).unwrap_or_default().into_boxed_slice(),
        written,
    }
}

/// Whether the newer of the two differs from what was there.
fn merge(entry: std::collections::btree_map::Entry<'_, ObjectKey, Stored>, new: Stored) -> bool {
    use std::collections::btree_map::Entry;
    match entry {
        Entry::Vacant(entry) => {
            entry.insert(new);
            true
        }
        Entry::Occupied(mut entry) => {
            let old = entry.get_mut();
            if old.version >= new.version {
                // The watch has caught up with our write.
                if old.version == new.version && new.written.is_none() {
                    old.written = None;
                }
                return false;
            }
            let changed = old.body != new.body || old.uid != new.uid;
            *old = new;
            changed
        }
    }
}
