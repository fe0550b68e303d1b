//! Places for beds on one machine: each has an address range and ports of its own, held by a file lock.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::network::Network;
use crate::{cleanup, host};

const FIRST_NETWORK: u8 = 98;
const LAST_NETWORK: u8 = 127;
/// Below the range that the kernel hands out for outgoing connections, so that no connection takes a port of ours.
const FIRST_PORT: u16 = 21_000;
const PORTS_EACH: u16 = 100;

/// A place for one bed. The kernel releases the lock when its holder dies, however it dies.
pub struct Slot {
    /// The addresses of the bed in this place.
    pub network: Network,
    lock: File,
    next_port: u16,
}

impl Slot {
    /// Takes the first free place, after cleaning up what killed supervisors left in any of them. A place that cannot be cleaned is not taken.
    ///
    /// # Errors
    /// When all places are taken or the lock files cannot be written.
    pub fn claim() -> Result<Self> {
        let mut claimed = None;
        let routes = routes();
        for second in FIRST_NETWORK..=LAST_NETWORK {
            let Some(mut lock) = lock(second)? else { continue };
            if let Some(directory) = recorded_directory(&mut lock)? {
                if !cleanup::remove_leftovers(&directory, Network { second }) {
                    continue;
                }
                clear(&mut lock)?;
            }
            let foreign = routes.iter().any(|route| route.starts_with(&format!("10.{second}.")));
            if claimed.is_none() && !foreign {
                let next_port = FIRST_PORT + u16::from(second - FIRST_NETWORK) * PORTS_EACH;
                claimed = Some(Self { network: Network { second }, lock, next_port });
            }
        }
        claimed.context("every address range from 10.98.0.0/16 to 10.127.0.0/16 is taken by another bed or a route of this machine")
    }

    /// Notes in the lock file whose place this is, so that whoever finds the lock free can clean up.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(&mut self, directory: &Path) -> Result<()> {
        clear(&mut self.lock)?;
        write!(self.lock, "{}\n{}\n", std::process::id(), directory.display()).context("cannot write the lock file")
    }

    /// Forgets the bed's folder: nothing of it is left.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget(&mut self) -> Result<()> {
        clear(&mut self.lock)
    }

    /// A port on which nobody listens.
    ///
    /// # Errors
    /// When all ports of this place are taken.
    pub fn port(&mut self) -> Result<u16> {
        let end = FIRST_PORT + u16::from(self.network.second - FIRST_NETWORK + 1) * PORTS_EACH;
        while self.next_port < end {
            let port = self.next_port;
            self.next_port += 1;
            if TcpListener::bind(("0.0.0.0", port)).is_ok() {
                return Ok(port);
            }
        }
        bail!("no free port left below {end}")
    }
}

/// Opens and locks the file of one place; none when its holder lives.
fn lock(second: u8) -> Result<Option<File>> {
    let path = host::runtime_directory()?.join(format!("slot-{second}"));
    try_lock(&path)
}

/// Opens and locks a file; none when somebody else holds it.
///
/// # Errors
/// When the file cannot be opened or locked for another reason.
pub fn try_lock(path: &Path) -> Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        // Its last holder may have removed the file after we opened it: then somebody else may lock a new one.
        Ok(()) => Ok(is_still(&file, path).then_some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Whether `path` still names the open file.
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |found: std::fs::Metadata| (found.dev(), found.ino());
    let named = path.metadata().map(identity).ok();
    named.is_some() && file.metadata().map(identity).ok() == named
}

fn recorded_directory(lock: &mut File) -> Result<Option<PathBuf>> {
    let mut text = String::new();
    lock.rewind().and_then(|()| lock.read_to_string(&mut text)).context("cannot read the lock file")?;
    Ok(text.lines().nth(1).map(PathBuf::from))
}

fn clear(lock: &mut File) -> Result<()> {
    lock.set_len(0).and_then(|()| lock.rewind()).context("cannot empty the lock file")
}

/// Destinations that this machine already routes somewhere, and its own addresses.
fn routes() -> Vec<String> {
    let Some(ip) = host::find_program("ip") else { return Vec::new() };
    let listed = host::run(ip, &["-4", "route", "show", "table", "all"]).unwrap_or_default();
    listed.split_whitespace().filter(|word| word.starts_with("10.")).map(str::to_owned).collect()
}
