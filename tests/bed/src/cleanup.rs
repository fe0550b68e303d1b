//! Takes away what a bed leaves on the machine, also when its supervisor was killed.

use std::fs;
use std::path::Path;

use crate::network::Network;
use crate::{host, node, processes};

/// Removes everything that carries the mark of the bed in `directory`: processes, addresses, files.
/// Nothing here fails: what is already gone is gone, and what cannot be removed is left for the next attempt.
pub fn remove_leftovers(directory: &Path, network: Network) {
    // A damaged lock file must not make us remove a folder that is not a bed's.
    if !directory.starts_with("/tmp") || !directory.to_string_lossy().contains("plimsoll-bed-") {
        return;
    }
    processes::kill_marked(directory);
    node::remove(directory, network);
    remove_route(network);
    let _ = fs::remove_dir_all(directory);
}

/// Forgets the addresses of fake pods.
pub fn remove_route(network: Network) {
    if let Some(ip) = host::find_program("ip").filter(|_| host::is_root()) {
        // There is none on a bed without fake nodes.
        let _ = host::run(ip, &["route", "delete", "local", &network.fake_pods(), "dev", "lo"]);
    }
}
