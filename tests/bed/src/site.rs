//! Where one bed lives: its folder, its addresses, its certificates.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::Part;
use crate::certificates::{self, Authority, Identity};
use crate::host;
use crate::kubeconfig::{self, Credential};
use crate::network::Network;
use crate::options::Options;
use crate::slot::Slot;

/// The folder, addresses and certificates of a bed, shared by all that starts processes for it.
pub struct Site {
    /// Everything that the bed writes lies below this folder.
    pub directory: PathBuf,
    /// The bed's addresses.
    pub network: Network,
    /// What was asked for.
    pub options: Options,
    /// The cluster's certificate authority.
    pub authority: Authority,
    /// The authority for clients of aggregated APIs.
    pub proxy_authority: Authority,
    /// The API server's port.
    pub port: u16,
}

impl Site {
    /// Creates the folder and the authorities.
    ///
    /// # Errors
    /// When files cannot be written or no port is free.
    pub fn create(slot: &mut Slot, options: &Options) -> Result<Self> {
        let directory = PathBuf::from(format!("/tmp/plimsoll-bed-{}-{}", slot.network.second, std::process::id()));
        // Recorded first: a kill between the two leaves nothing that nobody knows of.
        slot.record(&directory)?;
        host::create_private(&directory)?;
        let pki = directory.join("pki");
        fs::create_dir_all(&pki).context("cannot create the folder of the certificates")?;
        Ok(Self {
            network: slot.network,
            options: options.clone(),
            authority: Authority::create(&pki, "ca")?,
            proxy_authority: Authority::create(&pki, "front-proxy-ca")?,
            port: slot.port()?,
            directory,
        })
    }

    /// The folder of certificates and keys.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.directory.join("pki")
    }

    /// The API server's address for programs on this machine.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The audit log.
    #[must_use]
    pub fn audit_log(&self) -> PathBuf {
        self.directory.join("audit.log")
    }

    /// The kubeconfig of the cluster's administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    /// Writes the kubeconfig of a component that signs in with a certificate of its own.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn component(&self, name: &str, user: &str, group: Option<&str>) -> Result<PathBuf> {
        let identity = self.authority.client(name, user, group)?;
        let path = self.pki().join(format!("{name}.kubeconfig"));
        self.write_kubeconfig(&path, &identity)?;
        Ok(path)
    }

    /// Writes the administrator's kubeconfig.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_administrator(&self) -> Result<()> {
        let identity = self.authority.client("admin", "bed-admin", Some("system:masters"))?;
        self.write_kubeconfig(&self.kubeconfig(), &identity)
    }

    fn write_kubeconfig(&self, path: &Path, identity: &Identity) -> Result<()> {
        kubeconfig::write(path, &self.server(), &self.authority.certificate(), &Credential::Certificate(identity))
    }

    /// The key pair that signs the tokens of service accounts: (private, public).
    ///
    /// # Errors
    /// When it cannot be made or written.
    pub fn service_account_keys(&self) -> Result<(PathBuf, PathBuf)> {
        certificates::service_account_keys(&self.pki())
    }

    /// Runs kubectl as administrator.
    ///
    /// # Errors
    /// When it fails; the error holds its message.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        host::run_command(&mut self.kubectl_command(arguments)?)
    }

    /// Applies a manifest as administrator.
    ///
    /// # Errors
    /// When it fails; the error holds kubectl's message.
    pub fn apply(&self, name: &str, manifest: &str) -> Result<()> {
        let path = self.directory.join(format!("{name}.manifest"));
        fs::write(&path, manifest).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = self.kubectl_command(&["apply", "--server-side", "--filename"])?;
        host::run_command(command.arg(&path)).map(drop)
    }

    fn kubectl_command(&self, arguments: &[&str]) -> Result<std::process::Command> {
        let mut command = std::process::Command::new(Part::Kubectl.program("kubectl")?);
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        command.env("HOME", &self.directory).env_remove("HTTPS_PROXY").env_remove("https_proxy");
        Ok(command)
    }
}
