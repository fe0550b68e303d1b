//! An operator for one scenario: the real binary, signed in as the chart's service account, with the chart's rights and nothing else.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use plimsoll_bed::Bed;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::{bed_with_namespace, repository};

/// How long a scenario waits for anything. Never a measure of quality: this machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A namespace with the chart's rights for an operator that serves it.
pub struct Scenario {
    /// The cluster.
    pub bed: &'static Bed,
    /// The namespace, also the operator's own and the name of its roles.
    pub namespace: &'static str,
    kubeconfig: PathBuf,
    serves: &'static [&'static str],
}

impl Scenario {
    /// Makes the namespace and grants the rights.
    pub async fn new(namespace: &'static str) -> Self {
        let bed = bed_with_namespace(namespace).await;
        let served = format!("namespaces={{{namespace}}}");
        let templates = ["rbac-operator", "rbac-lease", "service-account"];
        Self::granted(bed, namespace, &["--set", &served], &templates, Box::leak(Box::new([namespace]))).await
    }

    /// As `new`, with the chart's defaults: the operator serves every namespace of this bed and watches its nodes. No other operator may run there.
    pub async fn everywhere(bed: &'static Bed, namespace: &'static str) -> Self {
        bed.kubectl(&["create", "namespace", namespace]).await.expect("a namespace");
        Self::granted(bed, namespace, &[], &["rbac-operator", "rbac-lease", "rbac-nodes", "service-account"], &[]).await
    }

    async fn granted(
        bed: &'static Bed,
        namespace: &'static str,
        values: &[&str],
        templates: &[&str],
        serves: &'static [&'static str],
    ) -> Self {
        let rights = chart(bed, namespace, values, templates).await;
        bed.kubectl_with_input(&["apply", "--filename=-"], &rights).await.expect("the chart's rights");
        let kubeconfig = bed.kubeconfig_for_service_account(namespace, namespace).await.expect("a kubeconfig");
        Self { bed, namespace, kubeconfig, serves }
    }

    /// The user that the operator is in the audit log.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{0}:{0}", self.namespace)
    }

    /// Starts an operator and waits until it is ready; it need not lead yet.
    pub async fn operator(&self, name: &str) -> Operator {
        self.operator_with(name, &[]).await
    }

    /// As `operator`, with more of its arguments.
    pub async fn operator_with(&self, name: &str, arguments: &[&str]) -> Operator {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let log = self.bed.directory().join(format!("{}-{name}.log", self.namespace));
        let child = Command::new(env!("CARGO_BIN_EXE_plimsoll"))
            .arg("run")
            .args(["--kubeconfig", self.kubeconfig.to_str().unwrap()])
            .args(if self.serves.is_empty() { vec!["--watch-nodes"] } else { vec!["--watch-namespaces", self.namespace] })
            .args(["--metrics-address", &format!("127.0.0.1:{port}"), "--log-level", "info,plimsoll=debug"])
            .args(arguments)
            .env("POD_NAMESPACE", self.namespace)
            .env("POD_NAME", name)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .expect("the operator");
        let operator = Operator { child, port, log };
        until("the operator is ready", async || operator.get("/readyz").await.filter(|(status, _)| *status == 200)).await;
        operator
    }

    /// kubectl in the namespace.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let all: Vec<&str> = ["--namespace", self.namespace].iter().chain(arguments).copied().collect();
        self.bed.kubectl(&all).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Applies YAML in the namespace.
    pub async fn apply(&self, yaml: &str) {
        self.bed
            .kubectl_with_input(&["--namespace", self.namespace, "apply", "--filename=-"], yaml)
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// An object of the namespace, if there is one of this kind and name.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let text = self.kubectl(&["get", kind, name, "--ignore-not-found", "--output=json"]).await;
        serde_json::from_str(&text).ok()
    }

    /// Waits until the service satisfies this.
    pub async fn service_until(&self, name: &str, what: &str, satisfied: impl Fn(&Value) -> bool) -> Value {
        until(what, async || self.get("productionservice", name).await.filter(&satisfied)).await
    }

    /// Waits until an object is there and satisfies this.
    pub async fn object_until(&self, kind: &str, name: &str, what: &str, satisfied: impl Fn(&Value) -> bool) -> Value {
        until(what, async || self.get(kind, name).await.filter(&satisfied)).await
    }

    /// Waits until the service is stable, and returns it.
    pub async fn stable(&self, name: &str) -> Value {
        self.service_until(name, &format!("{name} is stable"), |service| {
            service["status"]["phase"] == "Stable" && service["status"]["observedGeneration"] == service["metadata"]["generation"]
        })
        .await
    }
}

/// What the chart makes by these templates, for an operator of this name in a namespace of this name.
pub async fn chart(bed: &Bed, namespace: &str, values: &[&str], templates: &[&str]) -> String {
    let chart = repository().join("charts/plimsoll");
    let names = format!("fullnameOverride={namespace}");
    let shown: Vec<_> = templates.iter().map(|template| format!("--show-only=templates/{template}.yaml")).collect();
    let mut arguments =
        vec!["template", "plimsoll", chart.to_str().unwrap(), "--namespace", namespace, "--set", &names, "--set", "crds.install=false"];
    arguments.extend(values);
    arguments.extend(shown.iter().map(String::as_str));
    bed.helm(&arguments).await.expect("the chart")
}

/// A running operator. Dropping it kills it.
pub struct Operator {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Operator {
    /// Status and body of one of its endpoints; nothing while it does not listen.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .get(format!("http://127.0.0.1:{}{path}", self.port))
            .send()
            .await
            .ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    /// A metric's value.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits until it leads.
    pub async fn leads(&self) {
        until("the operator leads", async || self.metric("plimsoll_leader").await.filter(|leads| (*leads - 1.0).abs() < 0.5)).await;
    }

    /// Memory of its process, in KiB, by the name that `/proc/PID/status` gives it: `VmRSS` now, `VmHWM` at most, `RssAnon` without its program's file.
    pub fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the operator runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("this kind of memory is counted");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Its `VmHWM` counts anew from now on.
    pub fn forget_peak_memory(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("the peak can be reset");
    }

    /// Whether it is still the process that was started.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal, such as `TERM`, and waits for the end. Returns how long that took and whether it ended by itself with success.
    pub async fn end(mut self, signal: &str) -> (Duration, bool) {
        let began = Instant::now();
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = until("the operator ends", async || self.child.try_wait().unwrap()).await;
        (began.elapsed(), status.success())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- the operator's last lines, {}:", self.log.display());
            tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
        }
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        sleep(Duration::from_millis(200)).await;
    }
}
