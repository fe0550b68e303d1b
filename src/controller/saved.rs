//! A service with everything that a decision about it depends on, as a file: `plimsoll status --save` takes it from a cluster, and `plimsoll
//! replay` decides about it again. What the operator alone knows is not in it: its settings, and what its judge has not yet written to status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::Client;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cache::{Cache, Source};
use super::object::{label, text};
use super::observe;
use super::queue::Key;
use crate::api::ProductionService;
use crate::decide::analysis::{PodSample, Scrape, SilentPod, convention};
use crate::decide::render::ownership::{REVISION, SERVICE};
use crate::decide::traffic::Routing;
use crate::decide::{Around, Kind, Measurements, ObjectKey, Record, Request, Snapshot, due};

/// `apiVersion` and `kind` of the file. No cluster has objects of this kind.
const API_VERSION: &str = "plimsoll.dev/v1alpha1";
const KIND: &str = "SavedService";

/// The file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Saved {
    api_version: String,
    kind: String,
    /// When it was taken.
    pub at: Timestamp,
    /// Namespace in which the operator is taken to run.
    operator_namespace: String,
    /// The service, status included.
    pub service: Value,
    /// The services that it depends on.
    neighbours: Vec<Value>,
    /// What was made of it, the records of its revisions among it, and the `ConfigMaps` that it refers to.
    objects: Vec<Value>,
    /// Its pods.
    pub pods: Vec<Value>,
    /// The nodes that these are on, as far as they may be read. Others count as ready.
    nodes: Vec<Value>,
    /// What the pods answered when they were asked for their metrics.
    pages: Vec<Page>,
}

/// One pod's metrics.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Page {
    pod: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<String>,
}

impl Saved {
    /// Takes a service from the cluster. Returns with it what could not be read.
    ///
    /// # Errors
    /// When the service itself, its objects or its pods cannot be read.
    pub async fn take(client: &Client, key: &Key, operator_namespace: &str, at: Timestamp) -> kube::Result<(Self, Vec<String>)> {
        let namespace = format!("namespaces/{}", key.namespace);
        let services = format!("/apis/{API_VERSION}/{namespace}/productionservices");
        let mut hidden = Vec::new();
        let service = read(client, &format!("{services}/{}", key.name)).await?;
        let names = |list: &str, field: &str| {
            let entries = service.pointer(list).and_then(Value::as_array).into_iter().flatten();
            entries.filter_map(|entry| entry[field].as_str().map(ToOwned::to_owned)).collect::<Vec<_>>()
        };
        let mut neighbours = Vec::new();
        for name in names("/spec/dependsOn", "service") {
            keep(read(client, &format!("{services}/{name}")).await, &format!("service {name}"), &mut neighbours, &mut hidden);
        }
        let mut objects = Vec::new();
        for kind in Kind::ALWAYS.into_iter().chain(Kind::ROUTED).chain([Kind::Job]) {
            let (api_version, name, plural) = kind.names();
            let root = if api_version.contains('/') { "apis" } else { "api" };
            let list = read(client, &format!("/{root}/{api_version}/{namespace}/{plural}?labelSelector={SERVICE}={}", key.name)).await;
            match list {
                Ok(mut list) => objects.extend(items(&mut list).into_iter().map(|object| named(object, api_version, name))),
                // The Gateway API may not be there, and Jobs need not be readable.
                Err(error) if kind == Kind::Job || Kind::ROUTED.contains(&kind) => hidden.push(format!("{plural}: {error}")),
                Err(error) => return Err(error),
            }
        }
        for name in names("/spec/config/configMapRefs", "name") {
            let found = read(client, &format!("/api/v1/{namespace}/configmaps/{name}")).await;
            keep(found.map(|found| named(found, "v1", "ConfigMap")), &format!("ConfigMap {name}"), &mut objects, &mut hidden);
        }
        let account = read(client, &format!("/api/v1/{namespace}/serviceaccounts/default")).await;
        keep(account.map(|found| named(found, "v1", "ServiceAccount")), "ServiceAccount default", &mut objects, &mut hidden);
        let pods = items(&mut read(client, &format!("/api/v1/{namespace}/pods?labelSelector={SERVICE}={}", key.name)).await?);
        let mut nodes = Vec::new();
        let mut on: Vec<&str> = pods.iter().map(|pod| text(pod, "/spec/nodeName")).filter(|node| !node.is_empty()).collect();
        on.sort_unstable();
        on.dedup();
        for node in on {
            keep(read(client, &format!("/api/v1/nodes/{node}")).await, &format!("node {node}"), &mut nodes, &mut hidden);
        }
        let operator_namespace = operator_namespace.to_owned();
        let (api_version, kind) = (API_VERSION.to_owned(), KIND.to_owned());
        let mut saved = Self { api_version, kind, at, operator_namespace, service, neighbours, objects, pods, nodes, pages: Vec::new() };
        let lists = [&mut saved.neighbours, &mut saved.objects, &mut saved.pods, &mut saved.nodes];
        for object in lists.into_iter().flatten() {
            forget_managers(object);
        }
        if let Ok(snapshot) = saved.snapshot() {
            for request in due(&snapshot, at).requests {
                saved.pages.push(page(client, &namespace, &request).await);
            }
        }
        Ok((saved, hidden))
    }

    /// Everything that a decision may depend on.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn snapshot(&self) -> Result<Snapshot, String> {
        if (self.api_version.as_str(), self.kind.as_str()) != (API_VERSION, KIND) {
            return Err(format!(
                "this is a {} {}, not a {KIND}: `plimsoll status NAME --save FILE` writes one",
                self.api_version, self.kind
            ));
        }
        let service: ProductionService =
            serde_json::from_value(self.service.clone()).map_err(|error| format!("service: cannot be read: {error}"))?;
        let (name, uid) = (text(&self.service, "/metadata/name"), text(&self.service, "/metadata/uid"));
        let key = Key::new(text(&self.service, "/metadata/namespace"), name);
        let cache = Cache::default();
        cache.put(Source::Services, self.service.clone());
        let lists = [(Source::Services, &self.neighbours), (Source::Pods, &self.pods), (Source::Nodes, &self.nodes)];
        for (source, list) in lists {
            for object in list {
                cache.put(source, object.clone());
            }
        }
        let (mut children, mut records, mut config_maps) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for object in &self.objects {
            let kind = kind(object).ok_or_else(|| format!("objects: {} is no kind that plimsoll makes", text(object, "/kind")))?;
            let name_of = text(object, "/metadata/name");
            if kind == Kind::ServiceAccount && name_of == "default" {
                cache.put(Source::DefaultAccounts, object.clone());
            }
            if label(object, SERVICE) == name {
                let child = observe::child(object.clone(), kind, name, uid);
                if child.ours
                    && kind == Kind::ConfigMap
                    && let Ok(record) = Record::from_config_map(object)
                {
                    records.insert(label(object, REVISION).to_owned(), record);
                }
                children.insert(ObjectKey::new(kind, name_of), child);
            } else if kind == Kind::ConfigMap {
                config_maps.insert(name_of.to_owned(), observe::contents_of(object).1.as_ref().clone());
            }
        }
        let family = cache.family(&key);
        let gateways = gateways(&service, &children);
        let with_routes = !gateways.is_empty();
        Ok(Snapshot {
            replicas_manager: family.service.and_then(|service| service.replicas_manager),
            service,
            children,
            records,
            pods: family.pods,
            config_maps,
            pull_secrets: family.pull_secrets,
            operator_namespace: self.operator_namespace.clone(),
            refused: None,
            providers: None,
            judge: None,
            measured: None,
            queried: BTreeMap::new(),
            around: Around {
                neighbours: family.neighbours,
                routing: Routing { known: with_routes, gateways, ..Routing::default() },
                approvals_verified: true,
                jobs: true,
                webhooks: None,
                calls: BTreeMap::new(),
                last_words: BTreeMap::new(),
            },
        })
    }

    /// What the pods answered, as a round of measurements.
    #[must_use]
    pub fn measurements(&self, snapshot: &Snapshot) -> Measurements {
        let requests = due(snapshot, self.at).requests;
        if requests.is_empty() {
            return Measurements::default();
        }
        let mut scrape = Scrape { at: self.at, samples: Vec::new(), silent: Vec::new() };
        for request in requests {
            match self.answer(&request) {
                Ok(sample) => scrape.samples.push(sample),
                Err(why) => scrape.silent.push(SilentPod { pod: request.pod, revision: request.revision, why }),
            }
        }
        scrape.into()
    }

    fn answer(&self, request: &Request) -> Result<PodSample, String> {
        let page = self.pages.iter().find(|page| page.pod == request.name).ok_or("its metrics are not in the file")?;
        let Some(body) = &page.body else { return Err(page.missing.clone().unwrap_or_default()) };
        let counters = convention::read(body.as_bytes(), "", &request.reading).map_err(|why| why.to_string())?;
        Ok(request.answered(counters, self.at))
    }
}

async fn read(client: &Client, path: &str) -> kube::Result<Value> {
    client.request(http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?).await
}

/// What a pod answers, asked through the API server.
async fn page(client: &Client, namespace: &str, request: &Request) -> Page {
    let pod = request.name.clone();
    if request.provider.is_some() {
        return Page { pod, body: None, missing: Some("its metrics come from Prometheus, which only the operator asks".to_owned()) };
    }
    let path = format!("/api/v1/{namespace}/pods/{pod}:{}/proxy{}", request.port, request.path);
    let answer = match http::Request::get(path).body(Vec::new()) {
        Ok(asked) => client.request_text(asked).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(body) => Page { pod, body: Some(body), missing: None },
        Err(why) => Page { pod, body: None, missing: Some(why) },
    }
}

fn keep(found: kube::Result<Value>, what: &str, kept: &mut Vec<Value>, hidden: &mut Vec<String>) {
    match found {
        Ok(found) => kept.push(found),
        Err(error) => hidden.push(format!("{what}: {error}")),
    }
}

fn items(list: &mut Value) -> Vec<Value> {
    match list["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// With the `apiVersion` and `kind` that lists leave out.
fn named(mut object: Value, api_version: &str, kind: &str) -> Value {
    (object["apiVersion"], object["kind"]) = (api_version.into(), kind.into());
    object
}

fn forget_managers(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
}

fn kind(object: &Value) -> Option<Kind> {
    let all = Kind::ALWAYS.into_iter().chain(Kind::ROUTED).chain([Kind::Job]);
    all.into_iter().find(|kind| kind.names().1 == text(object, "/kind"))
}

/// The Gateway that the service names, wherever its route shows it to be: the operator's own list of them is not known here.
fn gateways(service: &ProductionService, children: &BTreeMap<ObjectKey, crate::decide::Child>) -> BTreeMap<String, (String, String)> {
    let Some(gateway) = service.spec.expose.as_ref().and_then(|expose| expose.gateway.as_ref()) else { return BTreeMap::new() };
    let routes = children.iter().filter(|(key, _)| matches!(key.kind, Kind::HttpRoute | Kind::GrpcRoute));
    let parents = routes.filter_map(|(_, child)| child.body.pointer("/spec/parentRefs/0"));
    let own = service.metadata.namespace.clone().unwrap_or_default();
    parents
        .map(|parent| {
            let namespace = parent["namespace"].as_str().map_or_else(|| own.clone(), ToOwned::to_owned);
            (gateway.name.clone(), (namespace, text(parent, "/name").to_owned()))
        })
        .collect()
}
