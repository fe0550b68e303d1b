//! Undoes all that a real node does to the machine, also after its supervisor was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kubelet::{cgroup, cgroups};
use super::sysctl;
use crate::network::Network;
use crate::slot::try_lock;
use crate::{host, processes};

/// How often an undoing is tried again while the kernel still lets go of dying processes.
const ATTEMPTS: u8 = 100;
const BETWEEN: Duration = Duration::from_millis(50);

/// Ends the pods and takes away mounts, cgroups, the bridge, packet filter tables and notes of the bed in `directory`.
/// Its own processes must be dead, or the kubelet would start pods anew. Does nothing where there was no real node.
pub fn remove(directory: &Path, network: Network) {
    if !sysctl::was_saved(directory) {
        return;
    }
    end_pods(network);
    unmount_below(directory);
    remove_tables();
    if let Some(ip) = host::find_program("ip") {
        // Gone already, where an earlier attempt came this far.
        let _ = host::run(ip, &["link", "delete", &network.bridge()]);
    }
    remove_notes(directory);
    sysctl::restore(directory);
    // Held by our own bed, or by the next one, unless its holder was killed.
    if let Ok(Some(_lock)) = try_lock(Path::new(super::LOCK)) {
        let _ = fs::remove_file(super::LOCK);
    }
}

fn end_pods(network: Network) {
    let groups = cgroups(&cgroup(network.second));
    for _ in 0..ATTEMPTS {
        let members: Vec<String> = groups.iter().flat_map(|group| members(group)).collect();
        processes::kill(&members);
        for group in &groups {
            remove_cgroup(group);
        }
        if !groups.iter().any(|group| group.exists()) {
            return;
        }
        std::thread::sleep(BETWEEN);
    }
}

/// The ids of the processes in a cgroup and below.
fn members(group: &Path) -> Vec<String> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut ids: Vec<String> = own.lines().map(str::to_owned).collect();
    ids.extend(below(group).iter().flat_map(|child| members(child)));
    ids
}

/// Removes a cgroup, those below first; one that still has processes stays.
fn remove_cgroup(group: &Path) {
    for child in below(group) {
        remove_cgroup(&child);
    }
    let _ = fs::remove_dir(group);
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Undoes the mounts below a folder, the last first.
pub fn unmount_below(folder: &Path) {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    let mut points: Vec<&str> = points.filter(|point| Path::new(point).starts_with(folder)).collect();
    points.reverse();
    for point in points {
        // Lazily: a process that is still dying may look at it.
        let _ = host::run("umount", &["--lazy", point]);
    }
}

fn remove_tables() {
    let Some(nft) = host::find_program("nft") else { return };
    for family in ["ip", "ip6"] {
        // Absent where kube-proxy never came to work.
        let _ = host::run(&nft, &["delete", "table", family, "kube-proxy"]);
    }
}

/// Removes the few files that kubelet and network plugins keep at fixed places.
fn remove_notes(directory: &Path) {
    let results = Path::new("/var/lib/cni/results");
    for entry in fs::read_dir(results).into_iter().flatten().flatten() {
        // A note names the network namespace of its pod, which lies in the bed's folder.
        let note = fs::read_to_string(entry.path()).unwrap_or_default();
        if note.contains(&directory.display().to_string()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    let logs = Path::new("/var/log/containers");
    for entry in fs::read_dir(logs).into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(directory)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    // Only where they are empty: another cluster's files stay.
    for folder in [results, Path::new("/var/lib/cni"), logs] {
        let _ = fs::remove_dir(folder);
    }
}
