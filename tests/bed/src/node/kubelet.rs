//! The kubelet.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::build::Part;
use crate::control_plane::{flags, path};
use crate::processes::Processes;
use crate::site::Site;
use crate::slot::Slot;

/// Starts the kubelet; it registers the node by itself.
pub fn start(site: &Site, slot: &mut Slot, processes: &mut Processes) -> Result<()> {
    // RBAC alone gives nodes no rights; kubeadm uses another authorizer for that.
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "bed-nodes" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes" }],
    });
    site.apply("node-binding", &binding.to_string())?;
    create_cgroups(&cgroup(site.network.second))?;
    let file = site.directory.join("kubelet.json");
    fs::write(&file, configuration(site, slot.port()?).to_string()).context("cannot write the kubelet's configuration")?;
    let user = format!("system:node:{}", super::NAME);
    let labels = format!("{}=real,topology.kubernetes.io/region=region-1,topology.kubernetes.io/zone=zone-a", crate::KIND_LABEL);
    let arguments = flags(&[
        ("config", &path(&file)),
        ("kubeconfig", &path(&site.component("kubelet", &user, Some("system:nodes"))?)),
        ("hostname-override", super::NAME),
        ("node-ip", &site.network.gateway()),
        ("node-labels", &labels),
        ("root-dir", &path(&site.directory.join("kubelet"))),
        ("cert-dir", &path(&site.directory.join("kubelet/pki"))),
    ]);
    processes.start("kubelet", &Part::ControlPlane.program("kubelet")?, &arguments, None)
}

fn configuration(site: &Site, port: u16) -> Value {
    let socket = format!("unix://{}/containerd/containerd.sock", path(&site.directory));
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": site.network.gateway(),
        "port": port,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": site.authority.certificate() },
        },
        "authorization": { "mode": "Webhook" },
        "containerRuntimeEndpoint": socket,
        "imageServiceEndpoint": socket,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cgroup(site.network.second)),
        "failCgroupV1": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "serializeImagePulls": false,
        "podLogsDir": site.directory.join("pod-logs"),
        "volumePluginDir": site.directory.join("flex-volume"),
        // A developer's full disk must not evict the pods of a test.
        "evictionHard": { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
        "imageGCHighThresholdPercent": 100,
        // The defaults suit big clusters; tests look sooner.
        "nodeStatusUpdateFrequency": "4s",
        "syncFrequency": "10s",
        "shutdownGracePeriod": "0s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
    })
}

/// The cgroup below which all pods of the bed run.
pub fn cgroup(second: u8) -> String {
    format!("plimsoll-bed-{second}")
}

/// The places where a cgroup called `name` has to be: one per controller with cgroup v1, a single one with v2.
pub fn cgroups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root.join(name)];
    }
    let controllers = fs::read_dir(root).into_iter().flatten().flatten();
    controllers.filter(|entry| entry.path().join("cgroup.procs").exists()).map(|entry| entry.path().join(name)).collect()
}

fn create_cgroups(name: &str) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    // With cgroup v2 a group has the controllers that its parent passes on; the kubelet insists on all of them.
    for controller in fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default().split_whitespace() {
        // The kubelet says it better if it then misses one.
        let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    for path in cgroups(name) {
        fs::create_dir_all(&path).with_context(|| format!("cannot create the cgroup {}", path.display()))?;
        initialize_cpuset(&path);
        prefer(&path);
    }
    Ok(())
}

/// All pods together would weigh as much as one other process of the machine, and tests that run beside them would starve what they measure.
fn prefer(path: &Path) {
    for (file, twenty_times_the_default) in [("cpu.shares", "20480"), ("cpu.weight", "2000")] {
        // v1 has the one, v2 the other, other controllers have neither.
        if path.join(file).exists() {
            let _ = fs::write(path.join(file), twenty_times_the_default);
        }
    }
}

/// A new cpuset of cgroup v1 is empty, and nothing can run in it until it has its parent's processors and memory.
fn initialize_cpuset(path: &Path) {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let Some(parent) = path.parent() else { return };
        // Other controllers have no such file.
        if let (true, Ok(value)) = (path.join(file).exists(), fs::read(parent.join(file))) {
            let _ = fs::write(path.join(file), value);
        }
    }
}
