//! The note `bed.json` in a bed's folder: all that a client needs to use a running bed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What a client needs to use a running bed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// The bed's folder.
    pub directory: PathBuf,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The API server's address on this machine.
    pub server: String,
    /// The file of the cluster's certificate authority.
    pub certificate_authority: PathBuf,
    /// The API server's audit log.
    pub audit_log: PathBuf,
    /// `host:port` of the bed's registry, where there is a real node.
    pub registry: Option<String>,
    /// The addresses of fake pods.
    pub pod_cidr: String,
    /// Whether the bed has a real node.
    pub real_node: bool,
    /// The Gateway, where there is one.
    pub gateway: Option<Gateway>,
    /// The supervisor's process id.
    pub supervisor: u32,
}

/// The Gateway of a bed, and the processes behind it. Its object is `gateway/bed`, its class `contour`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gateway {
    /// `host:port` at which Envoy takes requests, HTTP/1.1 and HTTP/2 in plain text.
    pub address: String,
    /// Contour's process id: it reads routes, tells Envoy and writes their status.
    pub controller: u32,
    /// Envoy's process id.
    pub proxy: u32,
}

impl Description {
    const FILE: &str = "bed.json";

    /// Writes the note into the bed's folder and returns its place.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self) -> Result<PathBuf> {
        let path = self.directory.join(Self::FILE);
        let text = serde_json::to_string_pretty(self).context("cannot write the bed's description")?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Whether the process that holds the bed is alive.
    #[must_use]
    pub fn is_held(&self) -> bool {
        // The number may have gone to another program since.
        let command = fs::read(format!("/proc/{}/cmdline", self.supervisor)).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program.ends_with(b"plimsoll-bed")) && words.next() == Some(b"hold")
    }

    /// Reads the note of the bed in `directory`.
    ///
    /// # Errors
    /// When there is none.
    pub fn load(directory: &Path) -> Result<Self> {
        let path = directory.join(Self::FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a bed's description", path.display()))
    }
}
