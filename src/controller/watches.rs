//! Watches: everything that is seen goes into the cache, and the services that it concerns into the queue. Nothing is polled.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt as _};
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::Context;
use super::cache::Source;
use super::clock::Clock;
use super::object::text;
use super::queue::Key;
use super::routes::Routes;
use crate::decide::Kind;
use crate::decide::render::ownership::{REVISION, SERVICE};

/// What has not been seen yet: the CRD, and the first complete list of each watch.
#[derive(Debug, Default)]
pub struct Progress {
    missing: Mutex<BTreeSet<String>>,
    seen: Notify,
}

impl Progress {
    /// This has to be seen first.
    pub fn expect(&self, what: &str) {
        self.lock().insert(what.to_owned());
    }

    /// This has been seen.
    pub fn saw(&self, what: &str) {
        self.lock().remove(what);
        self.seen.notify_waiters();
    }

    /// The first thing that is waited for; `None` when everything has been seen.
    pub fn waiting_for(&self) -> Option<String> {
        self.lock().iter().next().cloned()
    }

    /// Waits until everything has been seen.
    pub async fn complete(&self) {
        loop {
            let seen = self.seen.notified();
            tokio::pin!(seen);
            seen.as_mut().enable();
            if self.waiting_for().is_none() {
                return;
            }
            seen.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins all watches, each as a task of its own that runs until it is dropped.
pub fn start(context: &Arc<Context>, client: &Client) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let scopes = scopes(context);
    let children = context.settings.kinds().into_iter().map(Source::Children);
    let sources = [Source::Services, Source::Pods, Source::DefaultAccounts].into_iter().chain(children);
    for source in sources {
        for scope in &scopes {
            begin(context, client, source, scope.clone(), &mut tasks);
        }
    }
    if context.settings.watch_nodes {
        begin(context, client, Source::Nodes, None, &mut tasks);
    }
    tasks
}

/// Begins the watches that only services with a route need.
pub fn start_routed(context: &Arc<Context>, client: &Client, tasks: &mut JoinSet<()>) {
    let scopes = scopes(context);
    for source in Kind::ROUTED.map(Source::Children) {
        for scope in &scopes {
            begin(context, client, source, scope.clone(), tasks);
        }
    }
}

/// Every namespace that is watched by itself; `None`: all at once.
fn scopes(context: &Context) -> Vec<Option<String>> {
    let namespaces = &context.settings.watch_namespaces;
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() }
}

/// Where it is written down that a watch has shown everything.
fn progress(context: &Context, source: Source) -> &Progress {
    match source {
        Source::Children(kind) if Kind::ROUTED.contains(&kind) => &context.routes.progress,
        _ => &context.progress,
    }
}

fn begin(context: &Arc<Context>, client: &Client, source: Source, scope: Option<String>, tasks: &mut JoinSet<()>) {
    let resource = resource(source);
    let what = scope.as_ref().map_or_else(|| resource.plural.clone(), |scope| format!("{} in {scope}", resource.plural));
    let name = if source == Source::DefaultAccounts { format!("default {what}") } else { what };
    progress(context, source).expect(&name);
    let selected = match source {
        // A spec may refer to any ConfigMap, and those have no label of ours: metadata only, kept as a name and a number.
        Source::Services | Source::Nodes | Source::Children(Kind::ConfigMap) => watcher::Config::default(),
        // Of the Services that belong to one revision.
        Source::Children(Kind::EndpointSlice) => watcher::Config::default().labels(&format!("{SERVICE},{REVISION}")),
        Source::Children(_) | Source::Pods => watcher::Config::default().labels(SERVICE),
        Source::DefaultAccounts => watcher::Config::default().fields("metadata.name=default"),
    };
    let watch = Watch { context: context.clone(), source, scope, name };
    if source == Source::Children(Kind::ConfigMap) {
        let api: Api<PartialObjectMeta<DynamicObject>> = api(client, &resource, watch.scope.as_deref());
        tasks.spawn(watch.run(watch_objects(api, selected).default_backoff()));
    } else {
        let api: Api<DynamicObject> = api(client, &resource, watch.scope.as_deref());
        tasks.spawn(watch.run(watch_objects(api, selected).default_backoff()));
    }
}

fn api<K>(client: &Client, resource: &ApiResource, scope: Option<&str>) -> Api<K>
where
    K: kube::Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

fn resource(source: Source) -> ApiResource {
    let (api_version, kind, plural) = match source {
        Source::Services => ("plimsoll.dev/v1alpha1", "ProductionService", "productionservices"),
        Source::Children(kind) => kind.names(),
        Source::Pods => ("v1", "Pod", "pods"),
        Source::DefaultAccounts => Kind::ServiceAccount.names(),
        Source::Nodes => ("v1", "Node", "nodes"),
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ApiResource { group: group.into(), version: version.into(), api_version: api_version.into(), kind: kind.into(), plural: plural.into() }
}

struct Watch {
    context: Arc<Context>,
    source: Source,
    scope: Option<String>,
    name: String,
}

impl Watch {
    async fn run<K: Serialize + Send>(self, events: impl Stream<Item = watcher::Result<Event<K>>> + Send) {
        tokio::pin!(events);
        let mut listed = BTreeSet::new();
        let mut began = Clock.instant();
        let mut failing = false;
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    // The watch comes back by itself; one line when it goes and one when it is back.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(watch = self.name, %error, "watch interrupted");
                    }
                    continue;
                }
            };
            if std::mem::take(&mut failing) {
                tracing::info!(watch = self.name, "watch is back");
            }
            let woken = match event {
                Event::Init => {
                    listed.clear();
                    began = Clock.instant();
                    continue;
                }
                Event::InitApply(object) => {
                    let object = json(&object);
                    listed.insert((text(&object, "/metadata/namespace").to_owned(), text(&object, "/metadata/name").to_owned()));
                    self.put(object)
                }
                Event::InitDone => {
                    let gone = self.context.cache.retain(self.source, self.scope.as_deref(), &listed, began);
                    listed.clear();
                    progress(&self.context, self.source).saw(&self.name);
                    gone
                }
                Event::Apply(object) => self.put(json(&object)),
                Event::Delete(object) => self.context.cache.remove(self.source, &json(&object)),
            };
            for key in woken {
                self.context.queue.add(key);
            }
        }
    }

    fn put(&self, object: Value) -> Vec<Key> {
        if self.source == Source::Services && Routes::are_asked_for(&object) {
            self.context.routes.ask();
        }
        self.context.cache.put(self.source, object)
    }
}

fn json(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}
