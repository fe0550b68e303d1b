//! Which cluster: kubectl's flags, and errors in words.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// How long a cluster may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which cluster, as kubectl asks it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Cluster {
    /// A kubeconfig. Default: $KUBECONFIG, ~/.kube/config, or the pod's own service account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl Cluster {
    /// The configuration that these flags name.
    ///
    /// # Errors
    /// When there is none, or it cannot be used.
    pub async fn config(&self) -> Result<Config> {
        if self.kubeconfig.is_none() && self.context.is_none() {
            return Config::infer()
                .await
                .context("no cluster to talk to: there is no usable kubeconfig (KUBECONFIG, ~/.kube/config, --kubeconfig)");
        }
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?,
            None => Kubeconfig::read().context("cannot read the kubeconfig")?,
        };
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        Config::from_custom_kubeconfig(kubeconfig, &options).await.context("this kubeconfig cannot be used")
    }
}

/// A client for a person who waits: it gives up soon, and says so.
///
/// # Errors
/// When credentials or certificates cannot be used.
pub fn client(mut config: Config) -> Result<Client> {
    config.default_retry = false;
    config.connect_timeout = Some(PATIENCE);
    Ok(Client::try_from(config)?)
}

/// Why the API server did not do what was asked, with what to do about it. `action` is what was tried: "read ProductionServices".
#[must_use]
pub fn explained(error: kube::Error, action: &str, server: &str) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code == 401 => {
            anyhow!("the cluster does not know you: log in again ({})", status.message.trim())
        }
        kube::Error::Api(status) if status.code == 403 => anyhow!("you may not {action}: {}", status.message.trim()),
        kube::Error::Api(status) => anyhow!("cannot {action}: {}", status.message.trim()),
        error => anyhow::Error::new(error).context(format!("the cluster at {server} does not answer")),
    }
}
