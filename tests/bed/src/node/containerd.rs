//! containerd and runc.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::Part;
use crate::control_plane::path;
use crate::host;
use crate::processes::Processes;
use crate::site::Site;
use crate::stop::Stop;

const START_LIMIT: Duration = Duration::from_secs(30);

/// Starts containerd with everything that it writes below the bed's folder.
pub fn start(site: &Site, processes: &mut Processes, pause_image: &str, stop: &Stop) -> Result<()> {
    super::network::write_cni(site)?;
    let programs = Part::Node.directory()?;
    let folder = site.directory.join("containerd");
    fs::create_dir_all(&folder).context("cannot create containerd's folder")?;
    let file = folder.join("config.toml");
    fs::write(&file, configuration(site, &path(&programs), pause_image)).context("cannot write containerd's configuration")?;
    let arguments = ["--config".to_owned(), path(&file)];
    // containerd looks for its shim, and runc, on the search path.
    processes.start("containerd", &Part::Node.program("containerd")?, &arguments, Some(&programs))?;
    let socket = folder.join("containerd.sock");
    let deadline = Instant::now() + START_LIMIT;
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        processes.check()?;
        if Instant::now() > deadline {
            bail!("containerd does not listen:\n{}", host::last_lines(&processes.log("containerd"), 15));
        }
        stop.pause(Duration::from_millis(50))?;
    }
    Ok(())
}

fn configuration(site: &Site, programs: &str, pause_image: &str) -> String {
    let directory = path(&site.directory);
    let snapshotter = if on_overlay(site) { "native" } else { "overlayfs" };
    format!(
        r"version = 4
root = '{directory}/containerd/root'
state = '{directory}/containerd/state'
imports = []
# These write or listen outside the bed's folder, or want devices.
disabled_plugins = [
  'io.containerd.internal.v1.opt', 'io.containerd.nri.v1.nri', 'io.containerd.image-verifier.v1.bindir',
  'io.containerd.snapshotter.v1.blockfile', 'io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.erofs', 'io.containerd.snapshotter.v1.zfs', 'io.containerd.tracing.processor.v1.otlp']

[plugins.'io.containerd.server.v1.grpc']
address = '{directory}/containerd/containerd.sock'
[plugins.'io.containerd.server.v1.ttrpc']
address = '{directory}/containerd/containerd.sock.ttrpc'
[plugins.'io.containerd.shim.v1.manager']
socket_dir = '{directory}/containerd/s'
[plugins.'io.containerd.metadata.v1.bolt']
# The state is thrown away: waiting for the disk would protect nothing.
no_sync = true

[plugins.'io.containerd.cri.v1.images']
snapshotter = '{snapshotter}'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{pause_image}'

[plugins.'io.containerd.cri.v1.runtime']
# Inside a container or a small virtual machine, a lower score than our own is refused.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{programs}']
conf_dir = '{directory}/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = 'runc'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = '{programs}/runc'
Root = '{directory}/runc'
SystemdCgroup = false
"
    )
}

/// Whether the bed's folder itself lies on overlayfs (as in a container): then it cannot carry another.
fn on_overlay(site: &Site) -> bool {
    host::run("stat", &["--file-system", "--format=%T", &path(&site.directory)]).is_ok_and(|kind| kind.trim() == "overlayfs")
}
