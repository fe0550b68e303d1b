//! Observe: what decisions are made from. From the cache, or, before anything that takes something away from users, from the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::Context;
use super::cache::{Family, Source, Stored, StoredService};
use super::error::Error;
use super::events::Subject;
use super::gateways::Gateways;
use super::notes::{Note, kept_of_record};
use super::object::{self, label, text};
use super::queue::Key;
use super::routes::Routes;
use crate::api::{ProductionService, ProductionServiceStatus};
use crate::decide::farewell::FINALIZER;
use crate::decide::gates::job::mute;
use crate::decide::render::ownership::{REVISION, is_ours};
use crate::decide::traffic::Routing;
use crate::decide::{Around, Child, Contents, Kind, ObjectKey, Record, Snapshot};

/// What there is under a key.
pub enum Observed {
    /// The service does not exist, or is being deleted: Kubernetes' garbage collector does the rest.
    Gone,
    /// It cannot be read. It is left alone, and nobody else is harmed.
    Undecodable {
        /// Who.
        subject: Subject,
        /// Why.
        why: String,
    },
    /// Everything that a decision may depend on, and the service's own JSON, under whose resourceVersion the status is written.
    Seen(Box<Snapshot>, Box<Value>),
}

/// As the watches and our own writes show it.
///
/// # Errors
/// When contents that no watch brings (records, referred `ConfigMaps`) cannot be read.
pub async fn cached(context: &Context, key: &Key) -> Result<Observed, Error> {
    let family = context.cache.family(key);
    if family.unsure {
        return fresh(context, key).await;
    }
    assemble(context, key, family).await
}

/// As the API server shows it now: the service, its Deployments and its pods are read. What was read is put into the cache.
///
/// # Errors
/// When it cannot be read.
pub async fn fresh(context: &Context, key: &Key) -> Result<Observed, Error> {
    let failed = |what: &str| {
        let what = format!("{what} of {key}");
        move |source| Error::Observe { what, source }
    };
    let unsure = context.cache.family(key).unsure;
    let Some(service) = context.access.service(key).await.map_err(failed("the service"))? else { return Ok(Observed::Gone) };
    let routed = Routes::are_asked_for(&service) && context.routes.are_watched();
    let gates = service.pointer("/spec/rollout/gates").and_then(Value::as_array);
    let jobs = context.settings.jobs
        && gates.is_some_and(|gates| gates.iter().any(|gate| gate["job"].is_object() || gate["loadTest"].is_object()));
    context.cache.put(Source::Services, service);
    // After a write with unknown outcome every kind is in doubt; otherwise those that capacity rests on.
    let with_jobs = jobs.then_some(Kind::Job);
    let kinds: Vec<Kind> =
        if unsure { context.settings.kinds() } else { [Kind::Deployment, Kind::Service].into_iter().chain(with_jobs).collect() };
    let routed: &[Kind] = if routed { &Kind::ROUTED } else { &[] };
    for kind in kinds.into_iter().chain(routed.iter().copied()) {
        let found = context.access.list(key, kind).await.map_err(failed(kind.names().2))?;
        take_in(context, key, Source::Children(kind), found);
    }
    let pods = context.access.pods(key).await.map_err(failed("pods"))?;
    take_in(context, key, Source::Pods, pods);
    context.cache.trust(key);
    assemble(context, key, context.cache.family(key)).await
}

fn take_in(context: &Context, key: &Key, source: Source, found: Vec<Value>) {
    let name = |object: &Value| (key.namespace.to_string(), text(object, "/metadata/name").to_owned());
    let seen: BTreeSet<_> = found.iter().map(name).collect();
    for object in found {
        context.cache.put(source, object);
    }
    context.cache.retain_own(source, key, &seen);
}

async fn assemble(context: &Context, key: &Key, family: Family) -> Result<Observed, Error> {
    let Some(stored) = family.service else { return Ok(Observed::Gone) };
    let StoredService { object, undecodable, replicas_manager, .. } = stored;
    let Some(mut raw) = parse(&object) else { return Ok(Observed::Gone) };
    let uid = object.uid.to_string();
    if let Some(why) = undecodable {
        let subject = Subject { namespace: key.namespace.to_string(), name: key.name.to_string(), uid };
        return Ok(Observed::Undecodable { subject, why: why.into() });
    }
    raw["metadata"]["resourceVersion"] = object.version.to_string().into();
    let Ok(service) = serde_json::from_value::<ProductionService>(raw.clone()) else { return Ok(Observed::Gone) };
    let bound = service.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
    if service.metadata.deletion_timestamp.is_some() && !bound {
        return Ok(Observed::Gone);
    }
    let child = |(key, stored): (&ObjectKey, &Stored)| {
        let body = parse(stored)?;
        Some((key.clone(), Child { ours: is_ours(&body, service.metadata.name.as_deref()?, &uid), ..child_of(stored, body) }))
    };
    let mut children: BTreeMap<_, _> = family.children.iter().filter_map(child).collect();
    let note = context.notes.of(key);
    // What a watch shows by now need not be remembered.
    context.notes.with(key, |note| note.met.retain(|met, _| !children.contains_key(met)));
    for (met, child) in &note.met {
        children.entry(met.clone()).or_insert_with(|| child.clone());
    }
    let records = records(context, key, &note, &children).await?;
    let config_maps = contents(context, key, &note, &service, &family.references).await?;
    let last_words = last_words(context, key, &service, &children).await;
    let known = context.routes.are_watched();
    let mut routing = Routing { known, gateways: context.settings.gateways.clone(), ..Routing::default() };
    Gateways::complete(context, &mut routing, &key.namespace, &service.spec).await;
    let same_rollout = note.rollout == rollout(service.status.as_ref());
    Ok(Observed::Seen(
        Box::new(Snapshot {
            service,
            children,
            records,
            pods: family.pods,
            config_maps,
            pull_secrets: family.pull_secrets,
            operator_namespace: context.settings.operator_namespace.clone(),
            replicas_manager,
            refused: note.refused,
            providers: Some(context.settings.providers.scrape_intervals()),
            judge: note.judge.filter(|_| same_rollout),
            measured: note.measured.filter(|_| same_rollout),
            queried: if same_rollout { note.queried } else { BTreeMap::new() },
            around: Around {
                neighbours: family.neighbours,
                approvals_verified: context.settings.approvals_verified,
                jobs: context.settings.jobs,
                webhooks: context.settings.webhooks.is_some().then(|| context.identity.clone()),
                calls: note.calls,
                last_words,
                routing,
            },
        }),
        Box::new(raw),
    ))
}

/// What the pods of failed Jobs said last. A courtesy: where their pods are gone or cannot be read, the Job has failed all the same.
async fn last_words(
    context: &Context,
    key: &Key,
    service: &ProductionService,
    children: &BTreeMap<ObjectKey, Child>,
) -> BTreeMap<String, String> {
    let progress = service.status.as_ref().and_then(|status| status.rollout.as_ref()?.progress.as_ref());
    let mut words = BTreeMap::new();
    for job in mute(progress, children) {
        if let Ok(pods) = context.access.pods_of_job(key, job).await {
            words.extend(object::last_words(&pods).map(|said| (job.to_owned(), said)));
        }
    }
    words
}

/// Identity of the rollout that is on.
#[must_use]
pub fn rollout(status: Option<&ProductionServiceStatus>) -> Option<String> {
    Some(status?.rollout.as_ref()?.progress.as_ref()?.id.clone())
}

fn parse(stored: &Stored) -> Option<Value> {
    serde_json::from_slice(&stored.body).ok()
}

fn child_of(stored: &Stored, body: Value) -> Child {
    Child {
        uid: stored.uid.to_string(),
        resource_version: stored.version.to_string(),
        ours: false,
        deleting: !body["metadata"]["deletionTimestamp"].is_null(),
        body,
    }
}

/// An object that was read under a name of ours, as a child.
#[must_use]
pub fn child(mut object: Value, kind: Kind, service: &str, service_uid: &str) -> Child {
    let resource_version = object::version(&object).to_string();
    object::keep(&mut object, kind);
    Child {
        uid: text(&object, "/metadata/uid").to_owned(),
        resource_version,
        ours: is_ours(&object, service, service_uid),
        deleting: !object["metadata"]["deletionTimestamp"].is_null(),
        body: object,
    }
}

/// The records of the service's revisions. Each is read once: it is immutable.
async fn records(
    context: &Context,
    key: &Key,
    note: &Note,
    children: &BTreeMap<ObjectKey, Child>,
) -> Result<BTreeMap<String, Record>, Error> {
    let mut records = BTreeMap::new();
    let mut kept = BTreeMap::new();
    let ours = children.iter().filter(|(key, child)| key.kind == Kind::ConfigMap && child.ours && !child.deleting);
    for (object, child) in ours {
        let revision = label(&child.body, REVISION);
        if revision.is_empty() {
            continue;
        }
        let bytes = match note.records.get(child.uid.as_str()) {
            Some(bytes) => bytes.clone(),
            None => match context.access.get(&key.namespace, object).await {
                Ok(Some(config_map)) if text(&config_map, "/metadata/uid") == child.uid => kept_of_record(&config_map),
                // It was deleted, or made anew, since the watch showed it: the watch will show that too.
                Ok(_) => continue,
                Err(source) => return Err(Error::Observe { what: object.to_string(), source }),
            },
        };
        if let Some(record) = serde_json::from_slice(&bytes).ok().as_ref().and_then(|config_map| Record::from_config_map(config_map).ok()) {
            records.insert(revision.to_owned(), record);
        }
        kept.insert(child.uid.as_str().into(), bytes);
    }
    context.notes.with(key, |note| note.records = kept);
    Ok(records)
}

/// Contents of the `ConfigMaps` that the spec refers to, read anew where the watch shows another resourceVersion.
async fn contents(
    context: &Context,
    key: &Key,
    note: &Note,
    service: &ProductionService,
    versions: &BTreeMap<String, u64>,
) -> Result<BTreeMap<String, Contents>, Error> {
    let mut kept = BTreeMap::new();
    for name in object::references(service) {
        let Some(version) = versions.get(name) else { continue };
        let known = note.contents.get(name).filter(|(at, _)| at >= version).cloned();
        let read = if known.is_some() {
            known
        } else {
            let object = ObjectKey::new(Kind::ConfigMap, name);
            let found = context.access.get(&key.namespace, &object).await;
            found.map_err(|source| Error::Observe { what: object.to_string(), source })?.map(|found| contents_of(&found))
        };
        if let Some(read) = read {
            kept.insert(name.to_owned(), read);
        }
    }
    let contents = kept.iter().map(|(name, (_, contents))| (name.clone(), Contents::clone(contents))).collect();
    context.notes.with(key, |note| note.contents = kept);
    Ok(contents)
}

/// A `ConfigMap`'s resourceVersion and contents.
#[must_use]
pub fn contents_of(config_map: &Value) -> (u64, Arc<Contents>) {
    let texts = |field: &str| -> BTreeMap<String, String> {
        let entries = config_map[field].as_object().into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    };
    (object::version(config_map), Arc::new(Contents { text: texts("data"), binary: texts("binaryData") }))
}
