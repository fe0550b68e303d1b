//! An operator for one scenario: the real binary, signed in as the chart's service account, with the chart's rights and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use plimsoll_bed::Bed;
use plimsoll_bed::audit::Request;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::auditor::{Auditor, Recorder, lines};
use crate::objects::Objects;
use crate::{bed_with_namespace, repository};

/// How long a scenario waits for anything. Never a measure of quality: this machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// So long without a request is the end of some work.
const QUIET: Duration = Duration::from_secs(8);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// A namespace with the chart's rights for an operator that serves it.
pub struct Scenario {
    /// The cluster.
    pub bed: &'static Bed,
    /// The namespace, also the operator's own and the name of its roles.
    pub namespace: &'static str,
    /// What is in the namespace.
    pub objects: Objects,
    kubeconfig: PathBuf,
    serves: &'static [&'static str],
    arguments: Vec<String>,
    oversight: Oversight,
}

/// Looks over the operator's shoulder until the scenario's end.
struct Oversight {
    auditor: Auditor,
    /// Rules that the scenario itself breaks, in this order.
    planted: Mutex<Vec<&'static str>>,
    /// Rules that it may be seen to break, by what the auditor happens to look at first.
    perhaps: Mutex<Vec<&'static str>>,
}

impl Drop for Oversight {
    /// The auditor has to have seen what was planted, and nothing else.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let planted = self.planted.lock().unwrap().clone();
        let end = Instant::now() + PATIENCE;
        let mut violations = self.auditor.violations();
        while violations.len() < planted.len() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(200));
            violations = self.auditor.violations();
        }
        let perhaps = self.perhaps.lock().unwrap();
        let rules: Vec<_> = violations.iter().map(|violation| violation.rule).filter(|rule| !perhaps.contains(rule)).collect();
        assert_eq!(rules, planted, "what the auditor saw, and what was planted:\n{}", lines(&violations));
    }
}

/// One recorder for each bed.
fn recorder(bed: &Bed) -> Recorder {
    static RECORDERS: Mutex<BTreeMap<PathBuf, Recorder>> = Mutex::new(BTreeMap::new());
    let mut recorders = RECORDERS.lock().unwrap();
    recorders.entry(bed.kubeconfig().to_owned()).or_insert_with(|| Recorder::start(bed.kubeconfig())).clone()
}

impl Scenario {
    /// Makes the namespace and grants the rights.
    pub async fn new(namespace: &'static str) -> Self {
        let bed = bed_with_namespace(namespace).await;
        let served = format!("namespaces={{{namespace}}}");
        let templates = ["rbac-operator", "rbac-lease", "rbac-jobs", "rbac-gateways", "service-account", "admission-operator"];
        Self::granted(
            bed,
            namespace,
            &["--set", &served, "--set", "jobs=true", "--set", "readGateways=true"],
            &templates,
            Box::leak(Box::new([namespace])),
        )
        .await
    }

    /// As `new`, with the chart's defaults: the operator serves every namespace of this bed and watches its nodes. No other operator may run there.
    pub async fn everywhere(bed: &'static Bed, namespace: &'static str) -> Self {
        bed.kubectl(&["create", "namespace", namespace]).await.expect("a namespace");
        let templates =
            ["rbac-operator", "rbac-lease", "rbac-nodes", "rbac-jobs", "rbac-gateways", "service-account", "admission-operator"];
        Self::granted(bed, namespace, &["--set", "jobs=true"], &templates, &[]).await
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
        let objects = Objects::of(bed, namespace).await;
        let oversight = Oversight { auditor: recorder(bed).audit(namespace), planted: Mutex::default(), perhaps: Mutex::default() };
        Self { bed, namespace, objects, kubeconfig, serves, arguments: Vec::new(), oversight }
    }

    /// The operators that start from now on are told this as well.
    pub fn told(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// Says that what the scenario does next to the operator's objects, behind its back, breaks this rule: the auditor has to see it.
    pub fn plant(&self, rule: &'static str) {
        self.oversight.planted.lock().unwrap().push(rule);
    }

    /// Says that the auditor may see this rule broken, and need not: what goes with a service that is deleted goes in no order.
    pub fn perhaps(&self, rule: &'static str) {
        self.oversight.perhaps.lock().unwrap().push(rule);
    }

    /// The user that the operator is in the audit log.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{0}:{0}", self.namespace)
    }

    /// Starts an operator and waits until it is ready; it need not lead yet.
    pub async fn operator(&self, name: &str) -> Operator {
        let mut operator = self.start(name).await;
        until("the operator is ready", async || {
            if !operator.runs() {
                // Whoever has taken the port meanwhile: another one is free.
                assert!(operator.log().contains("Address already in use"), "the operator ended:\n{}", operator.log());
                operator = self.start(name).await;
            }
            operator.get("/readyz").await.filter(|(status, _)| *status == 200)
        })
        .await;
        operator
    }

    async fn start(&self, name: &str) -> Operator {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let log = self.bed.directory().join(format!("{}-{name}.log", self.namespace));
        let child = self
            .bed
            .command(env!("CARGO_BIN_EXE_plimsoll").as_ref())
            .arg("run")
            .args(["--kubeconfig", self.kubeconfig.to_str().unwrap()])
            .args(if self.serves.is_empty() { vec!["--watch-nodes"] } else { vec!["--watch-namespaces", self.namespace] })
            .args(["--jobs", "--read-gateways"])
            // The bed's Gateway, which lives in a namespace of its own as a platform's does.
            .args(["--gateways", "public=gateway/bed"])
            .args(["--metrics-address", &format!("127.0.0.1:{port}"), "--log-level", "info,plimsoll=debug"])
            .args(&self.arguments)
            .env("POD_NAMESPACE", self.namespace)
            .env("POD_NAME", name)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .expect("the operator");
        Operator { child, port, log }
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
        self.objects.get(kind, name).await
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

/// Whether a request of this user is more than what a settled operator does: watching, and its lease.
pub fn is_work(request: &Request, user: &str) -> bool {
    request.user == user && request.verb != "watch" && request.resource != "leases"
}

/// Waits until the API server has heard nothing of this user for a while but watches and its lease: what the last write woke has ended.
pub async fn quiet(bed: &Bed, user: &str) {
    let mut audit = bed.audit().unwrap();
    let mut since = Instant::now();
    until("the operator has nothing to do", async || {
        if audit.read().unwrap().iter().any(|request| is_work(request, user)) {
            since = Instant::now();
        }
        (since.elapsed() > QUIET).then_some(())
    })
    .await;
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain: {what}");
        sleep(PAUSE).await;
    }
}
