//! The operator as its users run it, with nothing but the chart's RBAC, and fake pods that answer with metrics.
//!
//! A fake pod's image tag says how it fares: `fails-50` answers half of its requests with an error, `slow` takes two seconds, `silent` has no
//! metrics; tags of the bed's own (`crash-loop`, `never-ready` …) are its pods' fate. Every other tag is a healthy version.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};
use std::ops::Deref;
use std::sync::{LazyLock, Mutex, Once};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use plimsoll_bed::Bed;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Operator, Scenario, until};
use crate::objects::client;

/// Where the fake pods' metrics are served: a free port, because another run of these tests may be under way.
static METRICS: LazyLock<TcpListener> = LazyLock::new(|| TcpListener::bind(("0.0.0.0", 0)).expect("a port"));
/// Requests that are counted by the tag of the pods that hear them.
const COPIED: &str = "GET /copied";
static HEARD: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
/// Requests that a fake pod answers in a second.
const REQUESTS_PER_SECOND: f64 = 400.0;

/// How many requests for `/copied` pods with this tag have heard.
pub fn heard(tag: &str) -> u32 {
    HEARD.lock().unwrap().get(tag).copied().unwrap_or(0)
}

/// A scenario with an operator that leads.
pub struct World {
    scenario: Scenario,
    /// The operator.
    pub operator: Operator,
}

impl Deref for World {
    type Target = Scenario;

    fn deref(&self) -> &Scenario {
        &self.scenario
    }
}

impl World {
    /// A fresh namespace with an operator of its own.
    pub async fn new(namespace: &'static str) -> Self {
        Self::served(Scenario::new(namespace).await).await
    }

    /// This scenario with an operator.
    pub async fn served(scenario: Scenario) -> Self {
        static SERVED: Once = Once::new();
        SERVED.call_once(|| serve_metrics(scenario.bed));
        Self::of(scenario).await
    }

    /// This scenario with an operator; nobody plays its pods' metrics.
    pub async fn of(scenario: Scenario) -> Self {
        let operator = scenario.operator("world").await;
        Self { scenario, operator }
    }

    /// Applies an object.
    pub async fn object(&self, object: &Value) {
        self.apply(&object.to_string()).await;
    }

    /// Applies a service of this spec.
    pub async fn service(&self, name: &str, spec: &Value) {
        self.object(&json!({"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ProductionService", "metadata": {"name": name}, "spec": spec}))
            .await;
    }

    /// Changes fields of a service by a merge patch.
    pub async fn patch(&self, name: &str, patch: &Value) {
        self.kubectl(&["patch", "psvc", name, "--type=merge", "--patch", &patch.to_string()]).await;
    }

    /// An object, or null if there is none.
    pub async fn get(&self, kind: &str, name: &str) -> Value {
        self.scenario.get(kind, name).await.unwrap_or(Value::Null)
    }

    /// Objects of a kind with the service's label.
    pub async fn children(&self, kind: &str, service: &str) -> Vec<Value> {
        self.objects.list(kind, &format!("plimsoll.dev/service={service}")).await
    }

    /// Waits until the object, or null, is as wanted, and returns it.
    pub async fn until(&self, kind: &str, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("{}: {kind} {name} {what}", self.namespace), async || Some(self.get(kind, name).await).filter(&wanted)).await
    }

    /// Waits until the service has so many objects of a kind.
    pub async fn until_children(&self, kind: &str, service: &str, count: usize) -> Vec<Value> {
        let what = format!("{}: {service} had {count} of {kind}", self.namespace);
        until(&what, async || Some(self.children(kind, service).await).filter(|found| found.len() == count)).await
    }

    /// The command line, as the administrator in this namespace: its exit code and its answer.
    pub async fn plimsoll(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args(arguments).env("KUBECONFIG", self.bed.kubeconfig());
        if arguments.first() == Some(&"status") {
            command.args(["--namespace", self.namespace]);
        }
        let output = command.output().await.expect("the program");
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The operator is killed, and another one begins.
    pub async fn killed(self) -> Self {
        self.operator.end("KILL").await;
        Self::of(self.scenario).await
    }

    /// Waits for a phase of a service at its present generation.
    pub async fn phase(&self, name: &str, phase: &str) -> Value {
        let settled = |service: &Value| {
            service["status"]["phase"] == phase && service["status"]["observedGeneration"] == service["metadata"]["generation"]
        };
        self.until("psvc", name, &format!("became {phase}"), settled).await
    }
}

/// The service `shop`, whose first version is stable; returns its revision.
pub async fn stable(world: &World, spec: &Value) -> String {
    world.service("shop", spec).await;
    let service = world.phase("shop", "Stable").await;
    service["status"]["stable"]["revision"].as_str().unwrap().to_owned()
}

/// The service's sentence.
pub fn message(service: &Value) -> &str {
    service["status"]["message"].as_str().unwrap_or_default()
}

/// A canary of one step, with metrics and short times.
pub fn canary(tag: &str) -> Value {
    json!({
        "image": format!("example.test/shop:{tag}"),
        "replicas": 2,
        "ports": [{"name": "http", "port": 8080}, {"name": "metrics", "port": METRICS.local_addr().unwrap().port()}],
        "objectives": [{"name": "availability", "errorRate": {"atMost": "1%"}}],
        "rollout": {
            "strategy": {"canary": {"steps": [{"weight": 25, "soakSeconds": 5}]}},
            "analysis": {"warmUpSeconds": 0, "minRequests": 50},
            "bakeSeconds": 6,
            "progressDeadlineSeconds": 60,
        },
    })
}

/// Answers for every fake pod: the address that was asked tells which one is meant.
fn serve_metrics(bed: &'static Bed) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async move {
            let pods = pods(bed).await;
            METRICS.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(METRICS.try_clone().unwrap()).unwrap();
            loop {
                let Ok((mut connection, _)) = listener.accept().await else { continue };
                let pods = pods.clone();
                tokio::spawn(async move {
                    let address = connection.local_addr().unwrap().ip();
                    let mut request = [0; 4096];
                    let _ = connection.read(&mut request).await;
                    let Some((tag, seconds)) = played(&pods, address).await else { return };
                    if request.starts_with(COPIED.as_bytes()) {
                        *HEARD.lock().unwrap().entry(tag.clone()).or_default() += 1;
                    }
                    let body = metrics(&tag, seconds);
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nX-Version: {tag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = connection.write_all((head + &body).as_bytes()).await;
                });
            }
        });
    });
}

/// All pods of the bed, as its administrator sees them.
pub async fn pods(bed: &Bed) -> Api<Pod> {
    Api::<Pod>::all(client(bed).await)
}

/// Who is played at this address: its image's tag, and the seconds since it started. Addresses are given out again: nothing is remembered, and
/// who is ending answers while nobody else has the address, as a real pod does until it is told to stop.
pub async fn played(pods: &Api<Pod>, address: IpAddr) -> Option<(String, f64)> {
    let list = ListParams::default().fields(&format!("status.podIP={address}"));
    let mut answer = pods.list(&list).await;
    for _ in 0..5 {
        if answer.is_ok() {
            break;
        }
        // It may be busy, and who asks this pod is not to suffer from that.
        tokio::time::sleep(Duration::from_millis(100)).await;
        answer = pods.list(&list).await;
    }
    let mut found = answer.ok()?.items;
    found.sort_by_key(|pod| pod.metadata.deletion_timestamp.is_some());
    let pod = found.into_iter().next()?;
    let image = pod.spec?.containers.first()?.image.clone()?;
    let started = pod.status?.start_time?.0.as_millisecond();
    let now = std::time::UNIX_EPOCH.elapsed().ok()?.as_secs_f64();
    Some((image.rsplit(':').next()?.to_owned(), now - started as f64 / 1000.0))
}

/// The page of a pod with this tag, so long after it started.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of requests")]
pub fn metrics(tag: &str, seconds: f64) -> String {
    let failing = tag.strip_prefix("fails-").and_then(|percent| percent.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
    let requests = (seconds * REQUESTS_PER_SECOND) as u64;
    let failures = (seconds * REQUESTS_PER_SECOND * failing) as u64;
    match tag {
        "silent" => String::new(),
        "html" => "<html><body>Welcome</body></html>".to_owned(),
        "nan" => "# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\"} NaN\n".to_owned(),
        _ => format!(
            "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} {}\nhttp_requests_total{{code=\"500\"}} {failures}\n",
            requests - failures
        ),
    }
}
