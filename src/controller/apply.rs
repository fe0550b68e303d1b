//! Apply: status first, under the resourceVersion that the decision was made from; then the objects, in order, up to the first that fails.
//!
//! - A *creation* is an apply after a fresh read found nothing, without force: whatever stands there by then and is not ours stays as it is. A Job
//!   is posted: it must not be made twice.
//! - A *change* carries the uid and the resourceVersion that were seen. It is repeated with force where somebody else has taken one of its fields:
//!   the body holds nothing but the fields that are ours to set, and only objects that are ours are changed.
//! - What others have *added* to lists of ours no apply takes away: it is removed before, by a patch that tests both.
//! - A *deletion* carries both as preconditions.
//! - After a write whose outcome is unknown, the next reconcile asks the API server before it decides anything.

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use super::Context;
use super::cache::Source;
use super::error::Error;
use super::notes::kept_of_record;
use super::object::text;
use super::observe;
use super::queue::Key;
use crate::decide::traffic::users_route;
use crate::decide::{Decision, Kind, ObjectKey, Snapshot, Write};

/// Seconds between two repairs of an object that somebody else changes back at once, such as a webhook.
const REPAIR_SECONDS: i64 = 30;

/// What the writes have come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// Something was written: look again at once.
    pub changed: bool,
    /// When to try again what somebody else has changed back.
    pub again: Option<Timestamp>,
}

/// Writes the status if it differs from the one that was read. Returns whether it did.
///
/// # Errors
/// [`Error::Stale`] if the service has changed since; nothing was written then.
pub async fn status(context: &Context, key: &Key, snapshot: &Snapshot, raw: Value, decision: &Decision) -> Result<bool, Error> {
    if snapshot.service.status.as_ref() == Some(&decision.status) {
        return Ok(false);
    }
    let mut object = raw;
    object["status"] = json!(decision.status);
    match context.access.write_status(key, &object).await {
        Ok(written) => {
            let woken = context.cache.wrote(Source::Services, written);
            woken.into_iter().filter(|other| other != key).for_each(|other| context.queue.add(other));
            Ok(true)
        }
        Err(kube::Error::Api(answer)) if answer.is_conflict() || answer.is_not_found() => {
            match context.access.service(key).await {
                Ok(Some(service)) => {
                    context.cache.put(Source::Services, service);
                }
                Ok(None) => {
                    context.cache.remove(Source::Services, &object);
                }
                Err(_) => context.cache.doubt(key),
            }
            Err(Error::Stale)
        }
        Err(source) => {
            context.cache.doubt(key);
            Err(Error::Status { source })
        }
    }
}

/// Carries the writes out, in order.
///
/// # Errors
/// The first that fails; those before it stand.
pub async fn writes(context: &Context, key: &Key, snapshot: &Snapshot, writes: &[Write], now: Timestamp) -> Result<Written, Error> {
    let mut all = Written::default();
    for write in writes {
        match write {
            Write::Create { key: object, body } => create(context, key, snapshot, object, body).await?,
            Write::Apply { key: object, body, remove, .. } => {
                let Written { changed, again } = change(context, key, object, body, remove, now).await?;
                all = Written { changed: all.changed || changed, again: all.again.into_iter().chain(again).min() };
                continue;
            }
            Write::Delete { key: object, uid, resource_version } => delete(context, key, object, uid, resource_version).await?,
            Write::Reroute { key: object, uid, resource_version, exchanges } => {
                let operations = users_route::operations(uid, resource_version, exchanges);
                reroute(context, key, object, (uid, resource_version), operations).await?;
            }
            Write::Finalizers { seen, wanted } => finalizers(context, key, seen, wanted).await?,
            Write::Scale { replicas } => scale(context, key, *replicas).await?,
        }
        all.changed = true;
    }
    Ok(all)
}

async fn create(context: &Context, key: &Key, snapshot: &Snapshot, object: &ObjectKey, body: &Value) -> Result<(), Error> {
    if let Some(found) = read(context, key, object).await? {
        return Err(meet(context, key, snapshot, object, found));
    }
    let answer = if object.kind == Kind::Job {
        context.access.create(&key.namespace, object, body).await
    } else {
        context.access.apply(&key.namespace, object, body, false).await
    };
    match answer {
        Ok(written) => {
            took(context, key, object, written);
            Ok(())
        }
        // Somebody was faster: look who.
        Err(kube::Error::Api(answer)) if answer.is_conflict() || answer.is_already_exists() => match read(context, key, object).await? {
            Some(found) => Err(meet(context, key, snapshot, object, found)),
            None => Err(Error::Moved { object: object.to_string() }),
        },
        Err(source) => Err(failed(context, key, "create", object, source)),
    }
}

async fn change(
    context: &Context,
    key: &Key,
    object: &ObjectKey,
    body: &Value,
    additions: &[String],
    now: Timestamp,
) -> Result<Written, Error> {
    let mut body = body.clone();
    let next =
        context.notes.with(key, |note| note.repaired.get(object).map(|at| *at + REPAIR_SECONDS.seconds())).filter(|next| *next > now);
    let removes = !additions.is_empty() && next.is_none();
    if removes {
        body["metadata"]["resourceVersion"] = remove(context, key, object, &body, additions, now).await?.into();
    }
    let seen = text(&body, "/metadata/resourceVersion").to_owned();
    let mut answer = context.access.apply(&key.namespace, object, &body, false).await;
    if let Err(kube::Error::Api(refusal)) = &answer
        && is_about_managers(refusal)
    {
        tracing::info!(service = %key, %object, "taking back fields that are ours: {}", refusal.message);
        answer = context.access.apply(&key.namespace, object, &body, true).await;
    }
    match answer {
        Ok(written) => {
            let changed = removes || text(&written, "/metadata/resourceVersion") != seen;
            took(context, key, object, written);
            if changed {
                return Ok(Written { changed, again: None });
            }
            // It is as it was, and not as it shall be: somebody else sees to that. Trying again at once would be a loop.
            let again = next.unwrap_or_else(|| repaired(context, key, object, now));
            Ok(Written { changed, again: Some(again) })
        }
        Err(kube::Error::Api(refusal)) if refusal.is_conflict() || refusal.is_not_found() => {
            Err(moved(context, key, object, text(&body, "/metadata/uid")).await)
        }
        Err(source) => Err(failed(context, key, "change", object, source)),
    }
}

/// Notes that the object was repaired now, or could not be. Returns when it may be tried again.
fn repaired(context: &Context, key: &Key, object: &ObjectKey, now: Timestamp) -> Timestamp {
    context.notes.with(key, |note| {
        note.repaired.retain(|_, at| *at + REPAIR_SECONDS.seconds() > now);
        note.repaired.insert(object.clone(), now);
    });
    now + REPAIR_SECONDS.seconds()
}

/// Removes what others have added. Returns the resourceVersion that this leads to.
async fn remove(
    context: &Context,
    key: &Key,
    object: &ObjectKey,
    body: &Value,
    additions: &[String],
    now: Timestamp,
) -> Result<String, Error> {
    let seen = (text(body, "/metadata/uid"), text(body, "/metadata/resourceVersion"));
    tracing::info!(service = %key, %object, "taking out what was added: {}", additions.join(", "));
    match context.access.remove(&key.namespace, object, seen, additions).await {
        Ok(written) => {
            let version = text(&written, "/metadata/resourceVersion").to_owned();
            repaired(context, key, object, now);
            context.cache.wrote(Source::Children(object.kind), written);
            Ok(version)
        }
        // 422 is what a test that fails gives: the object has changed since. If it has not, what was added cannot be removed.
        Err(source @ kube::Error::Api(_))
            if read(context, key, object).await?.is_some_and(|now| text(&now, "/metadata/resourceVersion") == seen.1) =>
        {
            repaired(context, key, object, now);
            Err(failed(context, key, "change", object, source))
        }
        Err(kube::Error::Api(_)) => Err(moved(context, key, object, seen.0).await),
        Err(source) => Err(failed(context, key, "change", object, source)),
    }
}

/// Exchanges backends in a route that a user owns.
async fn reroute(context: &Context, key: &Key, object: &ObjectKey, seen: (&str, &str), operations: Value) -> Result<(), Error> {
    match context.access.exchange(&key.namespace, object, operations).await {
        Ok(written) => {
            context.cache.wrote(Source::Children(object.kind), written);
            Ok(())
        }
        // 422 is what a test that fails gives: the route has changed since.
        Err(kube::Error::Api(refusal)) if refusal.is_not_found() || refusal.code == 422 => {
            let now = read(context, key, object).await?;
            match now {
                Some(now) if text(&now, "/metadata/resourceVersion") == seen.1 => {
                    Err(failed(context, key, "change", object, kube::Error::Api(refusal)))
                }
                _ => Err(moved(context, key, object, seen.0).await),
            }
        }
        Err(source) => Err(failed(context, key, "change", object, source)),
    }
}

async fn delete(context: &Context, key: &Key, object: &ObjectKey, uid: &str, resource_version: &str) -> Result<(), Error> {
    match context.access.delete(&key.namespace, object, uid, resource_version).await {
        Ok(()) => context.cache.bury(key, object, uid),
        Err(kube::Error::Api(refusal)) if refusal.is_not_found() => context.cache.bury(key, object, uid),
        Err(kube::Error::Api(refusal)) if refusal.is_conflict() => return Err(moved(context, key, object, uid).await),
        Err(source) => return Err(failed(context, key, "delete", object, source)),
    }
    Ok(())
}

/// Changes the service's own finalizers, on a fresh read: its status may have been written a moment ago.
async fn finalizers(context: &Context, key: &Key, seen: &[String], wanted: &[String]) -> Result<(), Error> {
    let failed = |source| {
        context.cache.doubt(key);
        Error::Apply { verb: "change", object: format!("finalizers of ProductionService {}", key.name), source }
    };
    let now = context.access.service(key).await.map_err(failed)?.ok_or(Error::Stale)?;
    let found = now["metadata"]["finalizers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let same = found.iter().map(Value::as_str).eq(seen.iter().map(|finalizer| Some(finalizer.as_str())));
    if !same {
        context.cache.put(Source::Services, now);
        return Err(Error::Stale);
    }
    match context.access.finalizers(key, text(&now, "/metadata/resourceVersion"), wanted).await {
        Ok(written) => {
            context.cache.wrote(Source::Services, written);
            Ok(())
        }
        Err(kube::Error::Api(refusal)) if refusal.is_conflict() || refusal.is_not_found() => {
            context.cache.doubt(key);
            Err(Error::Stale)
        }
        Err(source) => Err(failed(source)),
    }
}

async fn scale(context: &Context, key: &Key, replicas: i32) -> Result<(), Error> {
    let failed = |source| {
        context.cache.doubt(key);
        Error::Apply { verb: "scale", object: format!("ProductionService {}", key.name), source }
    };
    context.access.scale(key, replicas).await.map_err(failed)?;
    // The answer is the scale, not the service, which has a new resourceVersion now.
    if let Some(service) = context.access.service(key).await.map_err(failed)? {
        context.cache.put(Source::Services, service);
    }
    Ok(())
}

/// Looks again at what was met under our names although no watch shows it.
///
/// # Errors
/// When it cannot be read.
pub async fn look_again(context: &Context, key: &Key, snapshot: &Snapshot) -> Result<(), Error> {
    let met: Vec<_> = context.notes.with(key, |note| note.met.keys().cloned().collect());
    for object in met {
        let found = read(context, key, &object).await?;
        context.notes.with(key, |note| note.met.remove(&object));
        if let Some(found) = found {
            meet(context, key, snapshot, &object, found);
        }
    }
    Ok(())
}

async fn read(context: &Context, key: &Key, object: &ObjectKey) -> Result<Option<Value>, Error> {
    context.access.get(&key.namespace, object).await.map_err(|source| Error::Observe { what: object.to_string(), source })
}

/// Something stands where we wanted to create: the next snapshot shows it, and the decision says what that means.
fn meet(context: &Context, key: &Key, snapshot: &Snapshot, object: &ObjectKey, found: Value) -> Error {
    context.cache.put(Source::Children(object.kind), found.clone());
    let uid = snapshot.service.metadata.uid.as_deref().unwrap_or_default();
    let child = observe::child(found, object.kind, &key.name, uid);
    context.notes.with(key, |note| note.met.insert(object.clone(), child));
    Error::Moved { object: object.to_string() }
}

fn took(context: &Context, key: &Key, object: &ObjectKey, written: Value) {
    if object.kind == Kind::ConfigMap {
        let uid: Box<str> = text(&written, "/metadata/uid").into();
        context.notes.with(key, |note| note.records.insert(uid, kept_of_record(&written)));
    }
    context.notes.with(key, |note| note.met.remove(object));
    context.cache.wrote(Source::Children(object.kind), written);
}

/// The object is not the one that was seen: see what it is now.
async fn moved(context: &Context, key: &Key, object: &ObjectKey, uid: &str) -> Error {
    context.notes.with(key, |note| note.met.remove(object));
    match read(context, key, object).await {
        Ok(Some(found)) => {
            if text(&found, "/metadata/uid") != uid {
                context.cache.bury(key, object, uid);
            }
            context.cache.put(Source::Children(object.kind), found);
        }
        Ok(None) => context.cache.bury(key, object, uid),
        Err(_) => context.cache.doubt(key),
    }
    Error::Moved { object: object.to_string() }
}

fn failed(context: &Context, key: &Key, verb: &'static str, object: &ObjectKey, source: kube::Error) -> Error {
    // What the server has answered is known; anything else may have been carried out.
    if !matches!(&source, kube::Error::Api(answer) if answer.code < 500) {
        context.cache.doubt(key);
    }
    Error::Apply { verb, object: object.to_string(), source }
}

fn is_about_managers(refusal: &kube::core::Status) -> bool {
    let causes = refusal.details.iter().flat_map(|details| &details.causes);
    refusal.is_conflict() && causes.into_iter().any(|cause| cause.reason == "FieldManagerConflict")
}
