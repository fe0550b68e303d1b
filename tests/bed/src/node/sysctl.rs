//! Kernel settings that the kubelet, kube-proxy and the network plugin change: noted first, put back at the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

const FILE: &str = "sysctl.json";

const SETTINGS: [&str; 9] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
];

/// Notes the settings in the bed's folder.
pub fn save(directory: &Path) -> Result<()> {
    let found: BTreeMap<&str, String> = SETTINGS.iter().filter_map(|name| Some((*name, fs::read_to_string(file(name)).ok()?))).collect();
    let text = serde_json::to_string(&found).context("cannot note the kernel's settings")?;
    fs::write(directory.join(FILE), text).context("cannot note the kernel's settings")
}

/// Whether there is a note, that is, whether the bed in this folder had a real node.
pub fn was_saved(directory: &Path) -> bool {
    directory.join(FILE).exists()
}

/// Puts the noted settings back, as far as the kernel lets us.
pub fn restore(directory: &Path) {
    let text = fs::read_to_string(directory.join(FILE)).unwrap_or_default();
    let saved: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
    for (name, value) in saved {
        if fs::read_to_string(file(&name)).is_ok_and(|now| now != value) {
            // A setting that has become read-only stays as it is.
            let _ = fs::write(file(&name), value);
        }
    }
}

fn file(name: &str) -> String {
    format!("/proc/sys/{name}")
}
