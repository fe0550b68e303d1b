//! Takes away what a bed leaves on the machine, also when its supervisor was killed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::network::Network;
use crate::{host, node, processes, progress};

const ATTEMPTS: u8 = 100;
const BETWEEN: Duration = Duration::from_millis(100);

/// Removes everything that carries the mark of the bed in `directory`: processes, addresses, files. Whether all of it is gone; what cannot be
/// removed is said, and left for the next attempt.
pub fn remove_leftovers(directory: &Path, network: Network) -> bool {
    // A damaged lock file must not make us remove a folder that is not a bed's.
    if !directory.starts_with("/tmp") || !directory.to_string_lossy().contains("plimsoll-bed-") {
        return true;
    }
    processes::kill_marked(directory);
    node::remove(directory, network);
    remove_route(network);
    remove_directory(directory).inspect_err(|error| progress::say(&format!("left behind by a bed that was killed: {error:#}"))).is_ok()
}

/// Removes the bed's folder. Tried again for some seconds: the last threads of a killed process may still end a write or hold a mount.
///
/// # Errors
/// When it is still there in the end.
pub fn remove_directory(directory: &Path) -> Result<()> {
    let mut attempts = ATTEMPTS;
    loop {
        node::unmount_below(directory);
        match fs::remove_dir_all(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(_) if attempts > 0 => attempts -= 1,
            Err(error) => return Err(error).with_context(|| format!("cannot remove {}", directory.display())),
        }
        std::thread::sleep(BETWEEN);
    }
}

/// Forgets the addresses of fake pods.
pub fn remove_route(network: Network) {
    if let Some(ip) = host::find_program("ip").filter(|_| host::is_root()) {
        // There is none on a bed without fake nodes.
        let _ = host::run(ip, &["route", "delete", "local", &network.fake_pods(), "dev", "lo"]);
    }
}
