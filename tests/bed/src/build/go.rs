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
    let kwok = host::run_command(&mut module.go(&["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"])?)?;
    let stages = PathBuf::from(kwok.trim()).join("kustomize/stage/node");
    let mut text = String::new();
    for file in ["fast/node-initialize.yaml", "heartbeat-with-lease/node-heartbeat-with-lease.yaml"] {
        let path = stages.join(file);
        text += &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text += "---\n";
    }
    let finished = directory.join(NODE_STAGES);
    let unfinished = directory.join(format!(".{NODE_STAGES}"));
    fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, &finished)).context("cannot keep kwok's stages")
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
    let module = Module::unpack(directory, &files)?;
    METRICS.iter().try_for_each(|program| module.build(program, &[("CGO_ENABLED", "0")], &[], stop))
}

/// A Go module unpacked into the cache, beside the programs that it makes.
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

    fn go(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.go);
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
        let mut command = self.go(&["build", "-trimpath", "-buildvcs=false", &flags])?;
        command.args(tags).arg("-o").arg(&unfinished).arg(program.package).envs(environment.iter().copied());
        let message = format!("building {} … (first time only, {})", program.name, program.duration);
        let log = self.directory.join(format!("{}.log", program.name));
        run_long(&message, &mut command, &log, stop)?;
        // Only a complete file ever bears the name.
        fs::rename(&unfinished, &finished).with_context(|| format!("cannot put {} into the cache", program.name))
    }
}
