//! The real node: pods run, images are pulled, addresses answer. Needs root.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test ends by panicking")]

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{output, until};
use plimsoll_bed::image::Image;
use plimsoll_bed::{Bed, Options, build::Part, host};

/// How long to wait for anything: this machine may be busy with other things.
const LIMIT: Duration = Duration::from_secs(240);

fn manifest(registry: &str) -> String {
    let secure = "securityContext: {runAsNonRoot: true, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, \
                  capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}";
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - name: app
        image: {registry}/web:1
        resources: {{requests: {{cpu: 10m, memory: 16Mi}}}}
        readinessProbe: {{httpGet: {{path: /v2/, port: 8080}}, periodSeconds: 1}}
        {secure}
---
{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: missing}}
spec: {{containers: [{{name: app, image: '{registry}/web:missing', {secure}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: asks-api}}
spec: {{restartPolicy: OnFailure, containers: [{{name: app, image: '{registry}/kubectl:1', {secure}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: crashes}}
spec: {{containers: [{{name: app, image: '{registry}/false:1', {secure}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: hungry}}
spec: {{containers: [{{name: app, image: '{registry}/hungry:1', resources: {{limits: {{memory: 24Mi}}}}, {secure}}}]}}
"
    )
}

fn push_images(registry: &str) {
    let image = |name: &str, program: &Path, words: &[&str]| {
        let image = Image::new().program(program, "/app").entrypoint(words).user("65532:65532");
        image.push(&format!("{registry}/{name}:1")).unwrap();
    };
    // Programs that are there anyway: crane's registry is an HTTP server, kubectl a client of the API.
    image("web", &Part::Node.program("crane").unwrap(), &["/app", "registry", "serve", "--address", "0.0.0.0:8080"]);
    image("kubectl", &Part::Kubectl.program("kubectl").unwrap(), &["/app", "get", "--raw", "/version"]);
    image("false", &PathBuf::from("/bin/false"), &["/app"]);
    image("hungry", &PathBuf::from("/usr/bin/tail"), &["/app", "/dev/zero"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_for_real() {
    if !host::is_root() {
        eprintln!("not run: the real node needs root");
        return;
    }
    let bed = Bed::start(Options { fake_nodes: 1, ..Options::real() }).await.unwrap();
    let registry = bed.registry().unwrap().to_owned();
    push_images(&registry);
    bed.kubectl(&["label", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted"]).await.unwrap();
    bed.kubectl_with_input(&["apply", "--filename=-"], &manifest(&registry)).await.unwrap();

    bed.kubectl(&["rollout", "status", "deployment/web", "--timeout=240s"]).await.unwrap();
    assert_eq!(output(&bed, "pods", "-l=app=web", "{.items[*].spec.nodeName}").await, "real-1 real-1");
    let address = output(&bed, "service", "web", "{.spec.clusterIP}").await;
    until("the ClusterIP answers", LIMIT, async || get(&address, "/v2/").starts_with("HTTP/1.1 200")).await;

    until("a pod reads the API by KUBERNETES_SERVICE_HOST", LIMIT, async || {
        output(&bed, "pod", "asks-api", "{.status.phase}").await == "Succeeded"
    })
    .await;
    assert!(bed.kubectl(&["logs", "asks-api"]).await.unwrap().contains("v1.37.2"));
    until("a missing tag is an ImagePullBackOff", LIMIT, async || {
        output(&bed, "pod", "missing", "{.status.containerStatuses[0].state.waiting.reason}").await == "ImagePullBackOff"
    })
    .await;
    until("a failing program is a crash loop", LIMIT, async || {
        output(&bed, "pod", "crashes", "{.status.containerStatuses[0].state.waiting.reason}").await == "CrashLoopBackOff"
    })
    .await;
    until("too much memory is an OOM kill", LIMIT, async || {
        // The container's end may be told before its reason: then the next one has it.
        output(&bed, "pod", "hungry", "{.status.containerStatuses[0]['state', 'lastState'].terminated.reason}").await.contains("OOMKilled")
    })
    .await;
    until("metrics-server has numbers", LIMIT, async || bed.kubectl(&["top", "pods"]).await.is_ok_and(|top| top.contains("web-"))).await;

    let directory = bed.directory().to_owned();
    assert!(traces(&directory).len() > 10, "this test would not notice what is left behind");
    bed.stop().await.unwrap();
    assert_eq!(traces(&directory), [""; 0], "left behind on this machine");
    a_killed_supervisor_is_cleared_up_after().await;
}

/// In the same test, because there is one real node on a machine.
async fn a_killed_supervisor_is_cleared_up_after() {
    let bed = Bed::start(Options { metrics_server: false, ..Options::real() }).await.unwrap();
    let registry = bed.registry().unwrap().to_owned();
    push_images(&registry);
    bed.kubectl(&["run", "web", &format!("--image={registry}/web:1")]).await.unwrap();
    bed.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=240s"]).await.unwrap();
    host::run("sh", &["-c", &format!("kill -s KILL {}", bed.supervisor_id())]).unwrap();
    until("the supervisor is dead", LIMIT, async || !is_alive(bed.supervisor_id())).await;
    // Any bed clears up before it says that it is ready, not only one that wants the real node.
    let next = Bed::start(Options { fake_nodes: 0, ..Options::default() }).await.unwrap();
    let left = host::run("find", &[&bed.directory().display().to_string(), "-maxdepth", "3"]).unwrap_or_default();
    assert!(!bed.directory().exists(), "its folder is still there:\n{left}");
    next.stop().await.unwrap();
    assert_eq!(traces(bed.directory()), [""; 0], "left behind by a killed supervisor");
}

/// Whether the process has not ended yet. A dead one that nobody has waited for is in state Z; but so is one whose first thread has ended
/// before the others, which still hold its files and locks.
fn is_alive(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
    !status.is_empty() && (!field("State:").starts_with(['Z', 'X']) || field("Threads:").parse() != Ok(1))
}

/// One request to port 80 without any library: the answer as it comes, or nothing.
fn get(address: &str, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect_timeout(&format!("{address}:80").parse().unwrap(), Duration::from_secs(2)) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}

/// What the real node of the bed in `directory` left behind on the machine. Other beds may be at work meanwhile.
fn traces(directory: &Path) -> Vec<String> {
    let run = |program: &str, arguments: &[&str]| host::run(program, arguments).unwrap_or_default();
    let folder = directory.display().to_string();
    let second = folder.split('-').nth(2).unwrap().to_owned();
    let mut listed = std::fs::read_to_string("/proc/self/mounts").unwrap();
    // The addresses go by the number of the bed's place. Another bed may have taken that place since; none takes it while we look.
    let path = host::runtime_directory().unwrap().join(format!("slot-{second}"));
    let place = File::open(&path).unwrap();
    let nobody_else_has_it = place.try_lock().is_ok() || std::fs::read_to_string(&path).unwrap().contains(&folder);
    if nobody_else_has_it {
        listed += &run("ip", &["-brief", "link"]).replace(&format!("plimsoll{second} "), &folder);
        listed += &run("ip", &["route", "show", "table", "all"]).replace(&format!("10.{second}."), &folder);
        listed += &run("find", &["/sys/fs/cgroup", "-maxdepth", "2", "-name", &format!("plimsoll-bed-{second}")])
            .replace(&format!("plimsoll-bed-{second}"), &folder);
    }
    drop(place);
    listed += &run("grep", &["--recursive", "--no-messages", &folder, "/var/lib/cni", "/run/netns", "/run/containerd"]);
    listed += &run("find", &["/var/log/containers", "-lname", &format!("{folder}*")]).replace("/var/log", &folder);
    // No other real node: then the tables and settings of the machine are ours alone.
    if !Path::new("/run/plimsoll-bed-node.lock").exists() {
        listed += &run("nft", &["list", "tables"]).replace("kube-proxy", &folder);
    }
    listed.lines().filter(|line| line.contains(&folder)).map(str::to_owned).collect()
}
