//! The parts that are Go modules.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{packages, run_long};
use crate::host;
use crate::stop::Stop;

/// One program of a Go module.
pub(super) struct Program {
    /// The file's name in the cache.
    name: &'static str,
    package: &'static str,
    /// What the reader is told about the wait.
    duration: &'static str,
}

const fn program(name: &'static str, package: &'static str, duration: &'static str) -> Program {
    Program { name, package, duration }
}

/// The order matters for patience only: kube-apiserver compiles most of what the others need.
pub(super) const CONTROL_PLANE: &[Program] = &[
    program("etcd", "go.etcd.io/etcd/server/v3", "about 1 minute"),
    program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "about 5 minutes"),
    program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", "about 1 minute"),
    program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", "about half a minute"),
    program("kubelet", "k8s.io/kubernetes/cmd/kubelet", "about 1 minute"),
    program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", "about half a minute"),
    program("kwok", "sigs.k8s.io/kwok/cmd/kwok", "about half a minute"),
];

pub(super) const NODE: &[Program] = &[
    program("containerd", "github.com/containerd/containerd/v2/cmd/containerd", "about 1 minute"),
    program("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "seconds"),
    program("runc", "github.com/opencontainers/runc", "about half a minute"),
    program("bridge", "github.com/containernetworking/plugins/plugins/main/bridge", "seconds"),
    program("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local", "seconds"),
    program("loopback", "github.com/containernetworking/plugins/plugins/main/loopback", "seconds"),
    program("crane", "github.com/google/go-containerregistry/cmd/crane", "seconds"),
    // The image of every pod's sandbox: a process that only waits.
    program("pause", "./pause", "seconds"),
];

pub(super) const METRICS: &[Program] = &[program("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server", "about 3 minutes")];

pub(super) const GATEWAY: &[Program] = &[program("contour", "github.com/projectcontour/contour/cmd/contour", "about 3 minutes")];

pub(super) const PROMETHEUS: &[Program] = &[
    program("prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "about 4 minutes"),
    // What Prometheus' own parser reads of a metrics page, as JSON.
    program("series", "./series", "seconds"),
];

/// What pins Prometheus, and the program beside it.
pub(super) const PROMETHEUS_PIN: &str = concat!(
    include_str!("../../prometheus/go.mod"),
    include_str!("../../prometheus/go.sum"),
    include_str!("../../prometheus/series/main.go")
);

pub(super) const MESH: &[Program] = &[
    program("pilot-discovery", "istio.io/istio/pilot/cmd/pilot-discovery", "about 4 minutes"),
    // A client that Istio tells by xDS where its calls go.
    program("caller", "./caller", "about half a minute"),
];

/// What pins Istio, and the program beside it.
pub(super) const MESH_PIN: &str =
    concat!(include_str!("../../mesh/go.mod"), include_str!("../../mesh/go.sum"), include_str!("../../mesh/caller/main.go"));

pub(super) const ENVOY_GATEWAY: &[Program] =
    &[program("envoy-gateway", "github.com/envoyproxy/gateway/cmd/envoy-gateway", "about 4 minutes")];

/// The file in the gateway's folder with routes as the experimental channel has them; in Envoy Gateway's folder, in the version that that knows.
pub(super) const EXPERIMENTAL_ROUTES: &str = "experimental-routes.yaml";

/// The folder with Envoy Gateway's own Helm chart.
pub(super) const ENVOY_GATEWAY_CHART: &str = "chart";

/// What pins Envoy Gateway.
pub(super) const ENVOY_GATEWAY_PIN: &str = concat!(include_str!("../../envoygateway/go.mod"), include_str!("../../envoygateway/go.sum"));

/// The file in the gateway's folder with the definitions of the Gateway API, standard channel.
pub(super) const GATEWAY_API: &str = "gateway-api.yaml";

/// The file in the gateway's folder with Contour's own definitions, without which it does not start.
pub(super) const CONTOUR_DEFINITIONS: &str = "contour.yaml";

/// What pins Contour and the Gateway API.
pub(super) const GATEWAY_PIN: &str = concat!(
    include_str!("../../gateway/go.mod"),
    include_str!("../../gateway/go.sum"),
    include_str!("../../gateway/definitions/go.mod"),
    include_str!("../../gateway/definitions/go.sum"),
);

/// The file in the control plane's folder with kwok's own stages for nodes.
pub(super) const NODE_STAGES: &str = "node-stages.yaml";

const KUBERNETES_VERSION: &str = "-X k8s.io/component-base/version.gitVersion=v1.37.2 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37";

pub(super) fn names(programs: &[Program]) -> Vec<&'static str> {
    programs.iter().map(|program| program.name).collect()
}

pub(super) fn build_control_plane(directory: &Path, stop: &Stop) -> Result<()> {
    let files = [("go.mod", include_str!("../../controlplane/go.mod")), ("go.sum", include_str!("../../controlplane/go.sum"))];
    let module = Module::unpack(directory, &files)?;
    for program in CONTROL_PLANE {
        // etcd and kube-apiserver from KUBEBUILDER_ASSETS are not built.
        if super::Part::ControlPlane.program(program.name)?.starts_with(directory) {
            module.build(program, &[("CGO_ENABLED", "0")], &[], stop)?;
        }
    }
    let stages = module.dependency("sigs.k8s.io/kwok")?.join("kustomize/stage/node");
    let files = ["fast/node-initialize.yaml", "heartbeat-with-lease/node-heartbeat-with-lease.yaml"];
    keep(&files.map(|file| stages.join(file)), &directory.join(NODE_STAGES))
}

/// Contour and the manifests. The Gateway API is a module of its own, because Contour is compiled against an older version of it.
pub(super) fn build_gateway(directory: &Path, stop: &Stop) -> Result<()> {
    let files = [
        ("go.mod", include_str!("../../gateway/go.mod")),
        ("go.sum", include_str!("../../gateway/go.sum")),
        ("definitions/go.mod", include_str!("../../gateway/definitions/go.mod")),
        ("definitions/go.sum", include_str!("../../gateway/definitions/go.sum")),
    ];
    let module = Module::unpack(directory, &files)?;
    let definitions = Module { source: module.source.join("definitions"), ..module.clone() };
    let standard = definitions.download("sigs.k8s.io/gateway-api@v1.7.0")?.join("config/crd/standard");
    let listed = fs::read_dir(&standard).with_context(|| format!("cannot read {}", standard.display()))?;
    let mut manifests: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    manifests.sort();
    keep(&manifests, &directory.join(GATEWAY_API))?;
    keep_experimental_routes(&standard.with_file_name("experimental"), directory)?;
    GATEWAY.iter().try_for_each(|program| module.build(program, &[("CGO_ENABLED", "0")], &[], stop))?;
    let contour = module.dependency("github.com/projectcontour/contour")?;
    keep(&[contour.join("examples/contour/01-crds.yaml")], &directory.join(CONTOUR_DEFINITIONS))
}

fn keep_experimental_routes(manifests: &Path, directory: &Path) -> Result<()> {
    let routes = ["grpcroutes", "httproutes"].map(|kind| manifests.join(format!("gateway.networking.k8s.io_{kind}.yaml")));
    keep(&routes, &directory.join(EXPERIMENTAL_ROUTES))
}

/// Joins manifests into one file. Only a complete one ever bears the name.
fn keep(manifests: &[PathBuf], finished: &Path) -> Result<()> {
    let mut text = String::new();
    for path in manifests {
        text += &fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        text += "\n---\n";
    }
    let unfinished = finished.with_extension("unfinished");
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, finished))
        .with_context(|| format!("cannot write {}", finished.display()))
}

pub(super) fn build_node(directory: &Path, stop: &Stop) -> Result<()> {
    packages::require(&packages::NODE_BUILD)?;
    let module = node_module(directory)?;
    for program in NODE {
        // runc enters namespaces from C before Go starts; without seccomp it refuses pods with a seccomp profile.
        let (cgo, tags): (_, &[&str]) = if program.name == "runc" { ("1", &["-tags", "seccomp"]) } else { ("0", &[]) };
        module.build(program, &[("CGO_ENABLED", cgo)], tags, stop)?;
    }
    Ok(())
}

pub(super) fn build_crane(directory: &Path, stop: &Stop) -> Result<()> {
    let module = node_module(directory)?;
    let mut programs = NODE.iter().filter(|program| program.name == "crane");
    programs.try_for_each(|program| module.build(program, &[("CGO_ENABLED", "0")], &[], stop))
}

fn node_module(directory: &Path) -> Result<Module> {
    let files = [
        ("go.mod", include_str!("../../node/go.mod")),
        ("go.sum", include_str!("../../node/go.sum")),
        ("pause/main.go", include_str!("../../node/pause/main.go")),
    ];
    Module::unpack(directory, &files)
}

pub(super) fn build_metrics(directory: &Path, stop: &Stop) -> Result<()> {
    let files = [("go.mod", include_str!("../../metrics/go.mod")), ("go.sum", include_str!("../../metrics/go.sum"))];
    build_all(METRICS, directory, &files, &[], stop).map(drop)
}

pub(super) fn build_prometheus(directory: &Path, stop: &Stop) -> Result<()> {
    let files = [
        ("go.mod", include_str!("../../prometheus/go.mod")),
        ("go.sum", include_str!("../../prometheus/go.sum")),
        ("series/main.go", include_str!("../../prometheus/series/main.go")),
    ];
    // Of all that it could discover only Kubernetes: the rest is hundreds of packages.
    build_all(PROMETHEUS, directory, &files, &["-tags", "remove_all_sd,enable_kubernetes_sd"], stop).map(drop)
}

pub(super) fn build_mesh(directory: &Path, stop: &Stop) -> Result<()> {
    let files = [
        ("go.mod", include_str!("../../mesh/go.mod")),
        ("go.sum", include_str!("../../mesh/go.sum")),
        ("caller/main.go", include_str!("../../mesh/caller/main.go")),
    ];
    build_all(MESH, directory, &files, &[], stop).map(drop)
}

pub(super) fn build_envoy_gateway(directory: &Path, stop: &Stop) -> Result<()> {
    let files = [("go.mod", include_str!("../../envoygateway/go.mod")), ("go.sum", include_str!("../../envoygateway/go.sum"))];
    let module = build_all(ENVOY_GATEWAY, directory, &files, &[], stop)?;
    keep_experimental_routes(&module.dependency("sigs.k8s.io/gateway-api")?.join("config/crd/experimental"), directory)?;
    let chart = module.dependency("github.com/envoyproxy/gateway")?.join("charts/gateway-helm");
    let (unfinished, finished) = (directory.join(".chart.unfinished"), directory.join(ENVOY_GATEWAY_CHART));
    if finished.exists() {
        return Ok(());
    }
    host::run("rm", &["-rf", &unfinished.display().to_string()])?;
    // As it lies in the module it cannot be written to, and its values are a template of the release.
    host::run("cp", &["--recursive", "--no-preserve=mode", &chart.display().to_string(), &unfinished.display().to_string()])?;
    fs::rename(unfinished.join("values.tmpl.yaml"), unfinished.join("values.yaml"))
        .and_then(|()| fs::rename(&unfinished, &finished))
        .with_context(|| format!("cannot write {}", finished.display()))
}

/// Builds these programs from the module that is made of these files, without C.
fn build_all(programs: &[Program], directory: &Path, files: &[(&str, &str)], tags: &[&str], stop: &Stop) -> Result<Module> {
    let module = Module::unpack(directory, files)?;
    programs.iter().try_for_each(|program| module.build(program, &[("CGO_ENABLED", "0")], tags, stop))?;
    Ok(module)
}

/// A Go module unpacked into the cache, beside the programs that it makes.
#[derive(Clone)]
struct Module {
    directory: PathBuf,
    source: PathBuf,
    go: PathBuf,
}

impl Module {
    fn unpack(directory: &Path, files: &[(&str, &str)]) -> Result<Self> {
        let go = host::find_program("go")
            .context("the program `go` is missing: install Go 1.21 or newer from https://go.dev/dl (newer toolchains are fetched by it)")?;
        let source = directory.join("source");
        for (name, text) in files {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&source))
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self { directory: directory.to_owned(), source, go })
    }

    /// The folder of a module that this one needs.
    fn dependency(&self, path: &str) -> Result<PathBuf> {
        let answer = host::run_command(&mut self.go(&["list", "-m", "-f", "{{.Dir}}", path])?)?;
        Ok(PathBuf::from(answer.trim()))
    }

    /// Fetches a module of which no package is compiled, and returns its folder. It must be the one that `go.sum` names.
    fn download(&self, path_at_version: &str) -> Result<PathBuf> {
        let answer = host::run_command(&mut self.go(&["mod", "download", "-json", path_at_version])?)?;
        let answer: serde_json::Value = serde_json::from_str(&answer).context("go answered no JSON")?;
        Ok(PathBuf::from(answer["Dir"].as_str().context("go names no folder")?))
    }

    fn go(&self, arguments: &[&str]) -> Result<Command> {
        self.prepare(Command::new(&self.go), arguments)
    }

    /// As `go`; it gives way to whatever else the machine is doing, because a build takes minutes.
    fn patient_go(&self, arguments: &[&str]) -> Result<Command> {
        let Some(nice) = host::find_program("nice") else { return self.go(arguments) };
        let mut command = Command::new(nice);
        command.args(["-n", "10"]).arg(&self.go);
        self.prepare(command, arguments)
    }

    fn prepare(&self, mut command: Command, arguments: &[&str]) -> Result<Command> {
        command.args(arguments).current_dir(&self.source);
        // The user's own workspace or flags must not change what is built; `auto` fetches the toolchain go.mod asks for.
        command.env("GOWORK", "off").env("GOFLAGS", "").env("GOTOOLCHAIN", "auto");
        if std::env::var_os("HOME").is_none() {
            let cache = self.directory.parent().context("the cache has no parent folder")?;
            command.env("HOME", cache);
        }
        Ok(command)
    }

    fn build(&self, program: &Program, environment: &[(&str, &str)], tags: &[&str], stop: &Stop) -> Result<()> {
        let finished = self.directory.join(program.name);
        if finished.exists() {
            return Ok(());
        }
        let unfinished = self.directory.join(format!(".{}.unfinished", program.name));
        let flags = format!("-ldflags=-s -w {KUBERNETES_VERSION}");
        let mut command = self.patient_go(&["build", "-trimpath", "-buildvcs=false", &flags])?;
        command.args(tags).arg("-o").arg(&unfinished).arg(program.package).envs(environment.iter().copied());
        let message = format!("building {} … (first time only, {})", program.name, program.duration);
        let log = self.directory.join(format!("{}.log", program.name));
        run_long(&message, &mut command, &log, stop)?;
        // Only a complete file ever bears the name.
        fs::rename(&unfinished, &finished).with_context(|| format!("cannot put {} into the cache", program.name))
    }
}
