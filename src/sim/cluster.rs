//! An in-memory API server: the objects of one namespace, with what makes concurrent writers safe on the real one.
//!
//! - Every change gives the object a new `resourceVersion`; a write that carries an older one is refused (409), as is one with another `uid`.
//! - Status is a subresource: it is replaced whole, under the resourceVersion that was read.
//! - An object whose controlling owner is gone is collected.
//! - The past is kept for a while, so that a reader can be shown the cluster as it was: a watch that lags.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::apply::{defaulted, exchanged, merged, without};
use super::scenario::Watch;
use crate::api::{ProductionService, ProductionServiceStatus};
use crate::decide::writes::Exchange;
use crate::decide::{ObjectKey, Pod};

/// Why the API server refused a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The object is newer than what the writer has read.
    Conflict,
    /// There is none.
    NotFound,
    /// There is one already.
    AlreadyExists,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Conflict => "409 Conflict",
            Self::NotFound => "404 NotFound",
            Self::AlreadyExists => "409 AlreadyExists",
        })
    }
}

/// How long the past can be looked up.
const KEPT: SignedDuration = SignedDuration::from_mins(15);

/// A value and what it was before.
#[derive(Debug)]
struct Kept<T> {
    present: Rc<T>,
    past: VecDeque<(Timestamp, Rc<T>)>,
}

impl<T: Clone> Kept<T> {
    fn new(value: T) -> Self {
        Self { present: Rc::new(value), past: VecDeque::new() }
    }

    /// The value for a change at `now`.
    fn change(&mut self, now: Timestamp) -> &mut T {
        self.past.push_back((now, Rc::clone(&self.present)));
        while self.past.front().is_some_and(|(until, _)| *until + KEPT < now) {
            self.past.pop_front();
        }
        Rc::make_mut(&mut self.present)
    }

    /// The value as it was at `then`.
    fn at(&self, then: Timestamp) -> Rc<T> {
        let later = self.past.iter().find(|(until, _)| *until > then);
        Rc::clone(later.map_or(&self.present, |(_, value)| value))
    }

    fn changed(&self) -> Option<Timestamp> {
        self.past.back().map(|(at, _)| *at)
    }

    /// The first change at or after `then`.
    fn changed_since(&self, then: Timestamp) -> Option<Timestamp> {
        self.past.iter().rev().take_while(|(at, _)| *at >= then).last().map(|(at, _)| *at)
    }
}

/// The API server.
#[derive(Debug)]
pub struct Cluster {
    versions: u64,
    uids: u64,
    service: Kept<Option<ProductionService>>,
    objects: Kept<BTreeMap<ObjectKey, Value>>,
    /// What was applied last, by object: what of it is left out next time goes.
    applied: BTreeMap<ObjectKey, Value>,
    pods: Kept<Vec<Pod>>,
}

impl Cluster {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self {
            versions: 0,
            uids: 0,
            service: Kept::new(None),
            objects: Kept::new(BTreeMap::new()),
            applied: BTreeMap::new(),
            pods: Kept::new(Vec::new()),
        }
    }

    fn version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    /// A uid that no other object has.
    pub(super) fn uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.uids)
    }

    /// The service as it was at `then`.
    pub(super) fn service_at(&self, then: Timestamp) -> Rc<Option<ProductionService>> {
        self.service.at(then)
    }

    /// The objects as they were at `then`.
    pub(super) fn objects_at(&self, then: Timestamp) -> Rc<BTreeMap<ObjectKey, Value>> {
        self.objects.at(then)
    }

    /// The pods as they were at `then`.
    pub(super) fn pods_at(&self, then: Timestamp) -> Rc<Vec<Pod>> {
        self.pods.at(then)
    }

    /// The service.
    pub(super) fn service(&self) -> Option<&ProductionService> {
        (*self.service.present).as_ref()
    }

    /// The objects.
    #[must_use]
    pub fn objects(&self) -> &BTreeMap<ObjectKey, Value> {
        &self.objects.present
    }

    /// When what this watch shows was changed last.
    pub(super) fn changed(&self, watch: Watch) -> Option<Timestamp> {
        match watch {
            Watch::Service => self.service.changed(),
            Watch::Objects => self.objects.changed(),
            Watch::Pods => self.pods.changed(),
        }
    }

    /// The first change of what this watch shows, at or after `then`.
    pub(super) fn changed_since(&self, watch: Watch, then: Timestamp) -> Option<Timestamp> {
        match watch {
            Watch::Service => self.service.changed_since(then),
            Watch::Objects => self.objects.changed_since(then),
            Watch::Pods => self.pods.changed_since(then),
        }
    }

    /// Creates the service, or replaces its spec; the generation counts changes of the spec.
    pub(super) fn put_service(&mut self, mut service: ProductionService, now: Timestamp) {
        let version = self.version();
        let old = self.service().cloned();
        let uid = old.as_ref().map_or_else(|| self.uid(), |old| old.metadata.uid.clone().unwrap_or_default());
        let changed = old.as_ref().is_none_or(|old| old.spec != service.spec);
        let generation = old.as_ref().and_then(|old| old.metadata.generation).unwrap_or(0) + i64::from(changed);
        service.metadata.uid = Some(uid);
        service.metadata.resource_version = Some(version);
        service.metadata.generation = Some(generation);
        service.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            old.and_then(|old| old.metadata.creation_timestamp).map_or(now, |at| at.0),
        ));
        *self.service.change(now) = Some(service);
    }

    /// Replaces the status, if the service is still the one that was read.
    pub(super) fn put_status(&mut self, read: &str, status: Option<ProductionServiceStatus>, now: Timestamp) -> Result<(), Refusal> {
        let Some(service) = self.service() else { return Err(Refusal::NotFound) };
        if service.metadata.resource_version.as_deref() != Some(read) {
            return Err(Refusal::Conflict);
        }
        let version = self.version();
        if let Some(service) = self.service.change(now) {
            service.metadata.resource_version = Some(version);
            service.status = status;
        }
        Ok(())
    }

    /// Writes an object. With `metadata.uid` and `metadata.resourceVersion` they must be those of the live one; without, there must be none.
    ///
    /// # Errors
    /// They are not. Nothing was written.
    pub fn apply(&mut self, key: &ObjectKey, mut body: Value, now: Timestamp) -> Result<(), Refusal> {
        let named = |field: &str| body["metadata"][field].as_str().map(str::to_owned);
        match (self.objects().get(key), named("uid"), named("resourceVersion")) {
            (None, None, _) => {
                let uid = self.uid();
                body["metadata"]["uid"] = uid.into();
                body["metadata"]["creationTimestamp"] = now.to_string().into();
                body["metadata"]["generation"] = 1.into();
            }
            // The API server would create it, and the uid is not that of the new object.
            (None, Some(_), _) => return Err(Refusal::Conflict),
            (Some(_), None, _) => return Err(Refusal::AlreadyExists),
            (Some(live), uid, version) => {
                let live = &live["metadata"];
                if live["uid"].as_str() != uid.as_deref() || version.is_some() && live["resourceVersion"].as_str() != version.as_deref() {
                    return Err(Refusal::Conflict);
                }
            }
        }
        let wanted = body.clone();
        if let Some(live) = self.objects().get(key) {
            body = merged(live, self.applied.get(key).unwrap_or(&Value::Null), &body);
        }
        self.applied.insert(key.clone(), wanted);
        defaulted(key.kind, &mut body);
        self.put(key, body, now);
        Ok(())
    }

    /// Takes away what JSON pointers name, if the object is still the one that was read. Returns its resourceVersion then.
    ///
    /// # Errors
    /// It is not. Nothing was written.
    pub fn remove(&mut self, key: &ObjectKey, read: (&str, &str), pointers: &[String], now: Timestamp) -> Result<String, Refusal> {
        let body = without(self.as_read(key, read)?.clone(), pointers);
        self.put(key, body, now);
        Ok(self.objects()[key]["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned())
    }

    /// Exchanges parts of an object, if it is still the one that was read and they are what was seen.
    ///
    /// # Errors
    /// It is not. Nothing was written.
    pub fn exchange(&mut self, key: &ObjectKey, read: (&str, &str), exchanges: &[Exchange], now: Timestamp) -> Result<(), Refusal> {
        let body = exchanged(self.as_read(key, read)?.clone(), exchanges).ok_or(Refusal::Conflict)?;
        self.put(key, body, now);
        Ok(())
    }

    /// The object, if it is still the one that was read.
    fn as_read(&self, key: &ObjectKey, (uid, version): (&str, &str)) -> Result<&Value, Refusal> {
        let live = self.objects().get(key).ok_or(Refusal::NotFound)?;
        let same = live["metadata"]["uid"] == uid && live["metadata"]["resourceVersion"] == version;
        if same { Ok(live) } else { Err(Refusal::Conflict) }
    }

    /// Stores an object, with a new resourceVersion if anything differs; the generation counts changes of the spec.
    fn put(&mut self, key: &ObjectKey, mut body: Value, now: Timestamp) {
        if let Some(live) = self.objects().get(key) {
            body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
            if *live == body {
                return;
            }
            if live["spec"] != body["spec"] {
                body["metadata"]["generation"] = (live["metadata"]["generation"].as_i64().unwrap_or(1) + 1).into();
            }
        }
        body["metadata"]["resourceVersion"] = self.version().into();
        self.objects.change(now).insert(key.clone(), body);
    }

    /// What somebody else does to an object, without asking: a user's edit, a controller's status.
    pub fn edit(&mut self, key: &ObjectKey, now: Timestamp, edit: impl FnOnce(&mut Value)) {
        let Some(mut body) = self.objects().get(key).cloned() else { return };
        edit(&mut body);
        self.put(key, body, now);
    }

    /// What a controller makes of its own: the object is made if there is none.
    pub(super) fn publish(&mut self, key: &ObjectKey, now: Timestamp, edit: impl FnOnce(&mut Value)) {
        let mut body = match self.objects().get(key) {
            Some(live) => live.clone(),
            None => json!({"metadata": {"name": key.name, "uid": self.uid(), "generation": 1}}),
        };
        edit(&mut body);
        self.put(key, body, now);
    }

    /// Deletes an object, if it is still the one that was read (`None`: whatever it is).
    ///
    /// # Errors
    /// It is not. Nothing was deleted.
    pub fn delete(&mut self, key: &ObjectKey, read: Option<(&str, &str)>, now: Timestamp) -> Result<(), Refusal> {
        match read {
            Some(read) => self.as_read(key, read).map(drop)?,
            None => self.objects().get(key).map(drop).ok_or(Refusal::NotFound)?,
        }
        self.objects.change(now).remove(key);
        self.applied.remove(key);
        Ok(())
    }

    /// Replaces the pods by what the kubelets report, if anything differs.
    pub(super) fn put_pods(&mut self, pods: Vec<Pod>, now: Timestamp) {
        if *self.pods.present != pods {
            *self.pods.change(now) = pods;
        }
    }

    /// Deletes the service, and by the garbage collector everything that it owns.
    pub(super) fn delete_service(&mut self, now: Timestamp) {
        let Some(uid) = self.service().and_then(|service| service.metadata.uid.clone()) else { return };
        *self.service.change(now) = None;
        let owned = |body: &Value| {
            body["metadata"]["ownerReferences"].as_array().is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == uid.as_str()))
        };
        self.objects.change(now).retain(|_, body| !owned(body));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Kind;

    fn deployment(replicas: i32) -> Value {
        json!({"metadata": {"name": "shop-a"}, "spec": {"replicas": replicas}})
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn read(cluster: &Cluster, key: &ObjectKey) -> Value {
        cluster.objects()[key].clone()
    }

    #[test]
    fn a_write_that_rests_on_an_old_read_is_refused() {
        let (mut cluster, key) = (Cluster::new(), ObjectKey::new(Kind::Deployment, "shop-a"));
        assert_eq!(cluster.apply(&key, deployment(1), at(1)), Ok(()));
        assert_eq!(cluster.apply(&key, deployment(2), at(2)), Err(Refusal::AlreadyExists), "a create does not overwrite");
        let first = read(&cluster, &key);
        let mut second = first.clone();
        second["spec"]["replicas"] = 2.into();
        assert_eq!(cluster.apply(&key, second.clone(), at(2)), Ok(()));
        assert_eq!(cluster.apply(&key, second, at(3)), Err(Refusal::Conflict));
        let version = first["metadata"]["resourceVersion"].as_str().unwrap();
        let uid = first["metadata"]["uid"].as_str().unwrap();
        assert_eq!(cluster.delete(&key, Some((uid, version)), at(3)), Err(Refusal::Conflict));
        assert_eq!(cluster.delete(&key, None, at(3)), Ok(()));
        assert_eq!(cluster.delete(&key, None, at(3)), Err(Refusal::NotFound));
    }

    #[test]
    fn a_lagging_reader_sees_the_past() {
        let (mut cluster, key) = (Cluster::new(), ObjectKey::new(Kind::Deployment, "shop-a"));
        cluster.apply(&key, deployment(1), at(10)).unwrap();
        cluster.edit(&key, at(20), |body| body["spec"]["replicas"] = 5.into());
        assert!(cluster.objects_at(at(9)).is_empty());
        assert_eq!(cluster.objects_at(at(10))[&key]["spec"]["replicas"], 1);
        assert_eq!(cluster.objects_at(at(19))[&key]["spec"]["replicas"], 1);
        assert_eq!(cluster.objects_at(at(20))[&key]["spec"]["replicas"], 5);
    }

    #[test]
    fn applying_keeps_what_others_wrote() {
        let (mut cluster, key) = (Cluster::new(), ObjectKey::new(Kind::Deployment, "shop-a"));
        cluster.apply(&key, deployment(1), at(1)).unwrap();
        cluster.edit(&key, at(2), |body| {
            body["metadata"]["annotations"] = json!({"team": "web"});
            body["status"] = json!({"readyReplicas": 1});
        });
        let mut body = read(&cluster, &key);
        body["metadata"]["annotations"] = json!({"plimsoll.dev/applied": "x"});
        body["status"] = Value::Null;
        cluster.apply(&key, body, at(3)).unwrap();
        let live = read(&cluster, &key);
        assert_eq!(live["metadata"]["annotations"], json!({"team": "web", "plimsoll.dev/applied": "x"}));
        assert_eq!(live["status"]["readyReplicas"], 1);
    }

    #[test]
    fn what_a_deleted_service_owned_is_collected_and_nothing_else() {
        let mut cluster = Cluster::new();
        let spec: crate::api::ProductionServiceSpec = serde_json::from_value(json!({"image": "shop:1"})).unwrap();
        cluster.put_service(ProductionService::new("shop", spec), at(0));
        let uid = cluster.service().unwrap().metadata.uid.clone().unwrap();
        let owned = json!({"metadata": {"name": "shop", "ownerReferences": [{"uid": uid}]}});
        cluster.apply(&ObjectKey::new(Kind::Service, "shop"), owned, at(1)).unwrap();
        cluster.apply(&ObjectKey::new(Kind::Service, "other"), json!({"metadata": {"name": "other"}}), at(1)).unwrap();
        cluster.delete_service(at(2));
        assert_eq!(cluster.objects().keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["other"]);
    }
}
