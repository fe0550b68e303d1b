//! A real node on this machine: containerd, kubelet, kube-proxy, a registry. Needs root; one at a time on a machine.

mod containerd;
mod kubelet;
mod metrics_server;
mod network;
mod removal;
mod sysctl;

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::{Part, packages};
use crate::image::Image;
use crate::processes::Processes;
use crate::site::Site;
use crate::slot::{Slot, try_lock};
use crate::stop::Stop;
use crate::{host, progress};

pub use removal::{remove, unmount_below};

/// Bridge, packet filter tables and cgroups are the whole machine's, so the lock is, too.
const LOCK: &str = "/run/plimsoll-bed-node.lock";
/// Longer than the tests of another bed take.
const LOCK_LIMIT: Duration = Duration::from_secs(1800);
const READY_LIMIT: Duration = Duration::from_secs(300);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The node's name in the cluster.
pub(crate) const NAME: &str = "real-1";

/// The right to run the real node of this machine, until dropped or until this process ends.
pub(crate) struct Claim {
    _lock: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While the lock is still held; whoever waits for it notices that the file is another one.
        let _ = fs::remove_file(LOCK);
    }
}

/// Checks that this machine can run a real node, and takes the right to do so.
///
/// # Errors
/// When something is missing, or another bed has the node; the message says which and what does not run therefore.
pub(crate) fn claim(stop: &Stop) -> Result<Claim> {
    if !host::is_root() {
        bail!(
            "the real node needs root (network namespaces, mounts, cgroups): run as root; without it the tests on the \
             control plane run, and those on the real node (rollback by metrics, image pulls, OOM kills, the demo) do not"
        );
    }
    packages::require(&packages::NODE_RUN)?;
    let cgroups = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !cgroups.contains("overlay") || !Path::new("/sys/fs/cgroup").is_dir() {
        bail!("the real node needs overlayfs and cgroups, which this kernel or container does not offer");
    }
    let mut lock = wait_for_lock(stop)?;
    // Whoever held it is gone; what it left of its bed, Slot::claim cleans up.
    lock.set_len(0).and_then(|()| lock.rewind()).context("cannot empty the node's lock file")?;
    writeln!(lock, "{}", std::process::id()).context("cannot write the node's lock file")?;
    Ok(Claim { _lock: lock })
}

fn wait_for_lock(stop: &Stop) -> Result<File> {
    let deadline = Instant::now() + LOCK_LIMIT;
    let mut said = false;
    loop {
        if let Some(lock) = try_lock(Path::new(LOCK))? {
            return Ok(lock);
        }
        let mut holder = String::new();
        // Gone if its holder has just ended.
        let _ = File::open(LOCK).and_then(|mut file| file.read_to_string(&mut holder));
        let holder = holder.trim();
        // A bed that was started to stay would be waited for in vain.
        let command = fs::read_to_string(format!("/proc/{holder}/cmdline")).unwrap_or_default();
        if command.split('\0').any(|word| word == "--detached") {
            bail!("the real node of this machine is in use by the bed that is up (process {holder}), one at a time: make bed-down");
        }
        if !said {
            progress::say(&format!("the real node of this machine is in use by process {holder}; waiting for its end"));
            said = true;
        }
        if Instant::now() > deadline {
            bail!("the real node of this machine is still in use by process {holder}: one at a time");
        }
        stop.pause(Duration::from_millis(500))?;
    }
}

/// Makes the bridge: before the control plane, which names its address to the pods.
///
/// # Errors
/// When the machine's own cluster is in the way, or the bridge cannot be made.
pub(crate) fn prepare(site: &Site) -> Result<()> {
    network::refuse_foreign_proxy()?;
    // Written before anything is changed: whoever finds it knows that there is something to undo.
    sysctl::save(&site.directory)?;
    network::create_bridge(site.network)
}

/// Starts the node's processes and waits until the node is ready. Returns the registry's address.
///
/// # Errors
/// When one of them does not start, the node is not ready in time or `stop` is up.
pub(crate) fn start(site: &Site, slot: &mut Slot, processes: &mut Processes, stop: &Stop) -> Result<String> {
    let registry = start_registry(site, slot, processes, stop)?;
    let pause = format!("{registry}/pause:1");
    Image::new().file(&Part::Node.program("pause")?, "/pause").entrypoint(&["/pause"]).push(&pause)?;
    containerd::start(site, processes, &pause, stop)?;
    kubelet::start(site, slot, processes)?;
    network::start_proxy(site, slot, processes)?;
    if site.options.metrics_server {
        metrics_server::start(site, slot, processes)?;
    }
    wait_until_ready(site, processes, stop)?;
    Ok(registry)
}

fn start_registry(site: &Site, slot: &mut Slot, processes: &mut Processes, stop: &Stop) -> Result<String> {
    let registry = format!("127.0.0.1:{}", slot.port()?);
    let disk = site.directory.join("registry");
    fs::create_dir_all(&disk).context("cannot create the registry's folder")?;
    let arguments = ["registry", "serve", "--address", &registry, "--disk", &disk.display().to_string()];
    processes.start("registry", &Part::Node.program("crane")?, &arguments.map(str::to_owned), None)?;
    let deadline = Instant::now() + READY_LIMIT;
    while TcpStream::connect(&registry).is_err() {
        processes.check()?;
        if Instant::now() > deadline {
            bail!("the registry does not listen");
        }
        stop.pause(Duration::from_millis(20))?;
    }
    Ok(registry)
}

/// Waits until the node takes pods, and a pod would reach the API by its `ClusterIP`: kube-proxy comes to that when it can.
fn wait_until_ready(site: &Site, processes: &mut Processes, stop: &Stop) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    let service = SocketAddr::new(site.network.kubernetes().parse().context("no address of the API")?, 443);
    loop {
        processes.check()?;
        // Until the kubelet has registered there is no such node.
        let node = site.kubectl(&["get", "node", NAME, "--output=json"]).unwrap_or_default();
        let usable = serde_json::from_str::<Value>(&node).is_ok_and(|node| crate::fake_nodes::is_usable(&node));
        if usable && TcpStream::connect_timeout(&service, CONNECT_LIMIT).is_ok() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let (lacks, process) =
                if usable { ("does not reach the API by its ClusterIP", "kube-proxy") } else { ("is not ready", "kubelet") };
            let log = host::last_lines(&processes.log(process), 15);
            bail!("the real node {lacks} after {} s; the end of the log of {process}:\n{log}", READY_LIMIT.as_secs());
        }
        stop.pause(Duration::from_millis(500))?;
    }
}
