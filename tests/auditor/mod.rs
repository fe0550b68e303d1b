//! An observer of a real cluster that shares no code with what it watches: it records every change of every object that a rollout touches, puts
//! them in the order in which the API server made them, and checks after each of them what `rollouts.md` says must hold.
//!
//! The order is that of resourceVersions: the objects of a bed live in one etcd, whose revision they are. So nothing has to be guessed about
//! which watch was faster, and a change that was undone a millisecond later is seen all the same.

mod replay;
mod rules;
mod state;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt as _;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::Value;
use tokio::time::Instant;

pub use rules::Violation;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ProductionService,
    Deployment,
    Service,
    EndpointSlice,
    Pod,
    HorizontalPodAutoscaler,
    ConfigMap,
    Secret,
    HttpRoute,
    GrpcRoute,
}

impl Kind {
    const ALL: [(Self, &'static str, &'static str, &'static str, &'static str); 10] = [
        (Self::ProductionService, "plimsoll.dev", "v1alpha1", "ProductionService", "productionservices"),
        (Self::Deployment, "apps", "v1", "Deployment", "deployments"),
        (Self::Service, "", "v1", "Service", "services"),
        (Self::EndpointSlice, "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
        (Self::Pod, "", "v1", "Pod", "pods"),
        (Self::HorizontalPodAutoscaler, "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
        (Self::ConfigMap, "", "v1", "ConfigMap", "configmaps"),
        (Self::Secret, "", "v1", "Secret", "secrets"),
        (Self::HttpRoute, "gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
        (Self::GrpcRoute, "gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes"),
    ];
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The cluster's revision that the change made.
    pub version: u64,
    /// When it was seen, from the start of the record.
    pub at: Duration,
    pub kind: Kind,
    pub gone: bool,
    pub object: Value,
}

/// What happened in a cluster since the recorder was started. It runs on a thread of its own until the process ends.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Seen>>>);

impl Recorder {
    /// Watches a cluster as its administrator.
    pub fn start(kubeconfig: &Path) -> Self {
        let recorder = Self::default();
        let (record, kubeconfig) = (recorder.clone(), Kubeconfig::read_from(kubeconfig).expect("the administrator's kubeconfig"));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
                config.read_timeout = None;
                let client = Client::try_from(config).unwrap();
                let began = Instant::now();
                let watches = Kind::ALL.map(|(kind, group, version, name, plural)| {
                    let resource = ApiResource {
                        group: group.into(),
                        version: version.into(),
                        kind: name.into(),
                        plural: plural.into(),
                        api_version: if group.is_empty() { version.into() } else { format!("{group}/{version}") },
                    };
                    record.clone().watch(kind, Api::all_with(client.clone(), &resource), began)
                });
                futures::future::join_all(watches).await;
            });
        });
        recorder
    }

    /// Follows one kind for ever. A kind that is not installed (yet) is asked for again.
    async fn watch(self, kind: Kind, api: Api<DynamicObject>, began: Instant) {
        loop {
            let Ok(list) = api.list(&ListParams::default()).await else {
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let mut version = list.metadata.resource_version.clone().unwrap_or_default();
            for object in list.items {
                self.note(kind, began, false, &object);
            }
            while let Ok(changes) = api.watch(&WatchParams::default().timeout(280), &version).await {
                let mut changes = std::pin::pin!(changes);
                let forgotten = loop {
                    match changes.try_next().await {
                        Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                            self.note(kind, began, false, &object);
                            version = object.metadata.resource_version.unwrap_or(version);
                        }
                        Ok(Some(WatchEvent::Deleted(object))) => {
                            self.note(kind, began, true, &object);
                            version = object.metadata.resource_version.unwrap_or(version);
                        }
                        Ok(Some(WatchEvent::Bookmark(bookmark))) => version = bookmark.metadata.resource_version,
                        Ok(Some(WatchEvent::Error(_))) => break true,
                        // The watch's own end, or a broken connection: it goes on where it was.
                        Ok(None) | Err(_) => break false,
                    }
                };
                if forgotten {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn note(&self, kind: Kind, began: Instant, gone: bool, object: &DynamicObject) {
        let version = object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok());
        let seen = Seen {
            version: version.unwrap_or(0),
            at: began.elapsed(),
            kind,
            gone,
            object: state::needed(kind, serde_json::to_value(object).unwrap()),
        };
        self.0.lock().unwrap().push(seen);
    }

    /// Judges what happens in a namespace from now on.
    pub fn audit(&self, namespace: &str) -> Auditor {
        Auditor { recorder: self.clone(), namespace: namespace.to_owned() }
    }
}

/// The judge of one namespace.
pub struct Auditor {
    recorder: Recorder,
    namespace: String,
}

impl Auditor {
    /// What was violated so far, in the order in which it happened.
    pub fn violations(&self) -> Vec<Violation> {
        replay::replay(&self.changes())
    }

    /// Every change in the namespace so far, in the order in which the API server made them.
    pub(crate) fn changes(&self) -> Vec<Seen> {
        let mut changes: Vec<Seen> = {
            let all = self.recorder.0.lock().unwrap();
            all.iter().filter(|seen| seen.object["metadata"]["namespace"] == self.namespace.as_str()).cloned().collect()
        };
        // A relist repeats what is known; the sort is stable, and the repetition changes nothing.
        changes.sort_by_key(|seen| seen.version);
        changes
    }
}

/// The violations, one on each line.
pub fn lines(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
