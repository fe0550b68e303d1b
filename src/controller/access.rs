//! The requests that plimsoll makes, each with a deadline, on untyped objects: one small place that knows URLs and verbs.

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use kube::{Client, Error};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::object::FIELD_MANAGER;
use super::queue::Key;
use super::telemetry::Telemetry;
use crate::decide::render::ownership::{REVISION, SERVICE};
use crate::decide::{Kind, ObjectKey};

/// Label by which Kubernetes marks the pods of a Job.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
/// Longer than the retry budget: a request that takes longer has an unknown outcome.
const DEADLINE: Duration = Duration::from_secs(40);
/// The API server hands out cluster addresses one at a time; a burst of creations only makes all of them slow.
const SERVICES_AT_ONCE: usize = 2;
const GROUP: &str = "/apis/plimsoll.dev/v1alpha1";
const GATEWAY_API: &str = "/apis/gateway.networking.k8s.io/v1";

/// The API server.
pub struct Access {
    client: Client,
    telemetry: Telemetry,
    service_creations: Semaphore,
}

impl Access {
    /// Requests by this client, counted there.
    #[must_use]
    pub fn new(client: Client, telemetry: Telemetry) -> Self {
        Self { client, telemetry, service_creations: Semaphore::new(SERVICES_AT_ONCE) }
    }

    /// An object of ours as it is now; `None` if there is none of this name.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn get(&self, namespace: &str, key: &ObjectKey) -> kube::Result<Option<Value>> {
        absent(self.ask(children(namespace, key.kind).get(&key.name, &GetParams::default())).await)
    }

    /// The service as it is now; `None` if there is none.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn service(&self, key: &Key) -> kube::Result<Option<Value>> {
        absent(self.ask(services(&key.namespace).get(&key.name, &GetParams::default())).await)
    }

    /// The service's objects of a kind as they are now, not as a cache of the server's remembers them.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn list(&self, key: &Key, kind: Kind) -> kube::Result<Vec<Value>> {
        let also = if kind == Kind::EndpointSlice { format!(",{REVISION}") } else { String::new() };
        self.labelled(&children(&key.namespace, kind), key, &also).await
    }

    /// The service's pods as they are now.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn pods(&self, key: &Key) -> kube::Result<Vec<Value>> {
        self.labelled(&pods(&key.namespace), key, "").await
    }

    /// The pods of one of its Jobs.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn pods_of_job(&self, key: &Key, job: &str) -> kube::Result<Vec<Value>> {
        self.selected(&pods(&key.namespace), &format!("{JOB_NAME}={job}")).await
    }

    /// Writes the status of the service, under the resourceVersion that `object` carries.
    ///
    /// # Errors
    /// As the server answers; a conflict if the service has changed since.
    pub async fn write_status(&self, key: &Key, object: &Value) -> kube::Result<Value> {
        let body = serde_json::to_vec(object).map_err(Error::SerdeError)?;
        self.telemetry.wrote("ProductionService", "status");
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        self.ask(services(&key.namespace).replace_subresource("status", &key.name, &parameters, body)).await
    }

    /// Sets the service's finalizers, under this resourceVersion.
    ///
    /// # Errors
    /// As the server answers; a conflict if the service has changed since.
    pub async fn finalizers(&self, key: &Key, resource_version: &str, finalizers: &[String]) -> kube::Result<Value> {
        self.telemetry.wrote("ProductionService", "finalizers");
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": resource_version, "finalizers": finalizers}}));
        self.ask(services(&key.namespace).patch(&key.name, &owned(false), &patch)).await
    }

    /// Gives the service's scale subresource a value.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn scale(&self, key: &Key, replicas: i32) -> kube::Result<Value> {
        self.telemetry.wrote("ProductionService", "scale");
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.ask(services(&key.namespace).patch_subresource("scale", &key.name, &owned(false), &patch)).await
    }

    /// Applies an object server-side, as its own field manager.
    ///
    /// # Errors
    /// As the server answers; a conflict if another manager holds one of the fields (without `force`), or if uid or resourceVersion in the
    /// body are not those of the live object.
    pub async fn apply(&self, namespace: &str, key: &ObjectKey, body: &Value, force: bool) -> kube::Result<Value> {
        let creates_service = key.kind == Kind::Service && body["metadata"]["uid"].is_null();
        let _turn = if creates_service { self.service_creations.acquire().await.ok() } else { None };
        self.telemetry.wrote(key.kind.names().1, "apply");
        self.ask(children(namespace, key.kind).patch(&key.name, &owned(force), &Patch::Apply(body))).await
    }

    /// Makes an object that shall be made once: a conflict if one of its name exists, whosever it is.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn create(&self, namespace: &str, key: &ObjectKey, body: &Value) -> kube::Result<Value> {
        let body = serde_json::to_vec(body).map_err(Error::SerdeError)?;
        self.telemetry.wrote(key.kind.names().1, "create");
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        self.ask(children(namespace, key.kind).create(&parameters, body)).await
    }

    /// Removes fields of an object, by JSON pointers in this order, if it still is the one that was seen.
    ///
    /// # Errors
    /// As the server answers; 422 if it has changed since.
    pub async fn remove(&self, namespace: &str, key: &ObjectKey, seen: (&str, &str), pointers: &[String]) -> kube::Result<Value> {
        self.telemetry.wrote(key.kind.names().1, "patch");
        let (uid, resource_version) = seen;
        let tests = [("/metadata/uid", uid), ("/metadata/resourceVersion", resource_version)];
        let tests = tests.into_iter().map(|(path, value)| json!({"op": "test", "path": path, "value": value}));
        let operations: Value = tests.chain(pointers.iter().map(|path| json!({"op": "remove", "path": path}))).collect();
        self.patch(namespace, key, operations).await
    }

    /// Exchanges parts of an object that a user owns, if it still is the one that was seen and these parts are what was seen.
    ///
    /// # Errors
    /// As the server answers; 422 if it has changed since.
    pub async fn exchange(&self, namespace: &str, key: &ObjectKey, operations: Value) -> kube::Result<Value> {
        self.telemetry.wrote(key.kind.names().1, "patch");
        self.patch(namespace, key, operations).await
    }

    /// Carries out the operations of a JSON patch, all or none.
    async fn patch(&self, namespace: &str, key: &ObjectKey, operations: Value) -> kube::Result<Value> {
        let patch = Patch::Json::<()>(serde_json::from_value(operations).map_err(Error::SerdeError)?);
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        self.ask(children(namespace, key.kind).patch(&key.name, &parameters, &patch)).await
    }

    /// Deletes an object if it still is the one that was seen, and its pods with it in the background.
    ///
    /// # Errors
    /// As the server answers; a conflict if it has changed since.
    pub async fn delete(&self, namespace: &str, key: &ObjectKey, uid: &str, resource_version: &str) -> kube::Result<()> {
        self.telemetry.wrote(key.kind.names().1, "delete");
        let seen = Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
        let parameters = DeleteParams::background().preconditions(seen);
        self.ask(children(namespace, key.kind).delete(&key.name, &parameters)).await.map(|_| ())
    }

    /// Sends an event, or counts one up.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn event(&self, namespace: &str, event: &Value, again: bool) -> kube::Result<()> {
        let events = Request::new(format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events"));
        let request = if again {
            let name = event["metadata"]["name"].as_str().unwrap_or_default();
            events.patch(name, &PatchParams::default(), &Patch::Merge(json!({"series": event["series"]})))
        } else {
            events.create(&PostParams::default(), serde_json::to_vec(event).map_err(Error::SerdeError)?)
        };
        self.ask(request).await.map(|_| ())
    }

    /// Whether the API server knows `ProductionServices`.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn is_defined(&self) -> kube::Result<bool> {
        self.serves(GROUP, &["productionservices"]).await
    }

    /// Whether the API server knows routes of the Gateway API.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn has_routes(&self) -> kube::Result<bool> {
        self.serves(GATEWAY_API, &[Kind::HttpRoute, Kind::GrpcRoute].map(|kind| kind.names().2)).await
    }

    /// The class of a Gateway; `None` if there is no such Gateway, or no such class.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn gateway_class(&self, namespace: &str, name: &str) -> kube::Result<Option<Value>> {
        let gateways = Request::new(format!("{GATEWAY_API}/namespaces/{namespace}/gateways"));
        let gateway: Value = match absent(self.ask(gateways.get(name, &GetParams::default())).await)? {
            Some(gateway) => gateway,
            None => return Ok(None),
        };
        let Some(class) = gateway["spec"]["gatewayClassName"].as_str() else { return Ok(None) };
        absent(self.ask(Request::new(format!("{GATEWAY_API}/gatewayclasses")).get(class, &GetParams::default())).await)
    }

    /// Fields of a rule of an `HTTPRoute`, and their own fields (`retry.codes`), as the cluster's own definition has them.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn route_fields(&self) -> kube::Result<Option<BTreeSet<String>>> {
        let request = http::Request::get(format!("/openapi/v3{GATEWAY_API}")).body(Vec::new()).map_err(Error::HttpError)?;
        let definitions: Option<Value> = absent(within(self.client.request(request)).await)?;
        let schemas = definitions.as_ref().and_then(|definitions| definitions.pointer("/components/schemas")?.as_object());
        let of_routes = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
            kinds.into_iter().any(|kind| kind["kind"] == "HTTPRoute")
        };
        let fields = schemas.and_then(|schemas| {
            schemas.values().find(of_routes)?.pointer("/properties/spec/properties/rules/items/properties")?.as_object()
        });
        let inner = |name: &str, schema: &Value| {
            let fields = schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys());
            fields.map(|field| format!("{name}.{field}")).collect::<Vec<_>>()
        };
        Ok(fields.map(|fields| fields.iter().flat_map(|(name, schema)| [vec![name.clone()], inner(name, schema)].concat()).collect()))
    }

    /// Whether a version of an API has all of these kinds, by their plurals.
    async fn serves(&self, api: &str, plurals: &[&str]) -> kube::Result<bool> {
        let request = http::Request::get(api).body(Vec::new()).map_err(Error::HttpError)?;
        let found = absent(within(self.client.request::<Value>(request)).await)?.unwrap_or_default();
        let has =
            |plural: &&str| found["resources"].as_array().is_some_and(|list| list.iter().any(|resource| resource["name"] == **plural));
        Ok(plurals.iter().all(has))
    }

    async fn labelled(&self, request: &Request, key: &Key, also: &str) -> kube::Result<Vec<Value>> {
        self.selected(request, &format!("{SERVICE}={}{also}", key.name)).await
    }

    async fn selected(&self, request: &Request, labels: &str) -> kube::Result<Vec<Value>> {
        let list = self.ask(request.list(&ListParams::default().labels(labels))).await?;
        Ok(match list {
            Value::Object(mut list) => match list.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        })
    }

    async fn ask(&self, request: Result<http::Request<Vec<u8>>, kube::core::request::Error>) -> kube::Result<Value> {
        within(self.client.request(request.map_err(Error::BuildRequest)?)).await
    }
}

async fn within<T>(answer: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    timeout(DEADLINE, answer).await.unwrap_or_else(|late| Err(Error::Service(Box::new(late))))
}

fn absent<T>(answer: kube::Result<T>) -> kube::Result<Option<T>> {
    match answer {
        Ok(found) => Ok(Some(found)),
        // By its code: for a group that it does not know the API server answers with a line of text, without a reason.
        Err(Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

fn children(namespace: &str, kind: Kind) -> Request {
    let (api_version, _, plural) = kind.names();
    let root = if api_version.contains('/') { "apis" } else { "api" };
    Request::new(format!("/{root}/{api_version}/namespaces/{namespace}/{plural}"))
}

fn pods(namespace: &str) -> Request {
    Request::new(format!("/api/v1/namespaces/{namespace}/pods"))
}

fn services(namespace: &str) -> Request {
    Request::new(format!("{GROUP}/namespaces/{namespace}/productionservices"))
}

fn owned(force: bool) -> PatchParams {
    PatchParams { force, field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}
