//! Installs the operator, as its users do: by helm.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::images::Pinned;

/// The CRD that the chart brings along and leaves behind.
pub const CRD: &str = "productionservices.plimsoll.dev";

/// A release of the chart.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// Where the operator runs.
    pub namespace: String,
    /// The namespaces that it serves; empty: all.
    pub serves: Vec<String>,
    /// Where `serves` names namespaces: whether it watches nodes all the same. They are the whole cluster's.
    pub watch_nodes: bool,
    /// Address of a Prometheus that services may name as the provider `prometheus`.
    pub prometheus: Option<String>,
    /// Whether services may name the bed's Gateway, as `public`.
    pub gateway: bool,
    /// Whether gates may make Jobs.
    pub jobs: bool,
}

impl Release {
    /// Installs the chart and waits until every replica of the operator is ready.
    ///
    /// # Errors
    /// When helm or the cluster refuses it, or the operator is not ready within five minutes.
    pub async fn install(&self, cluster: &Cluster, operator: &Pinned) -> Result<()> {
        // A CRD that is there already belongs to whoever installed it.
        let brings_crd = !crd_exists(cluster).await;
        let answer = self.try_install(cluster, operator, brings_crd).await;
        // Somebody else has installed it at this very moment.
        if brings_crd && answer.as_ref().is_err_and(|error| format!("{error:#}").contains("exists")) {
            self.uninstall(cluster).await?;
            return self.try_install(cluster, operator, false).await;
        }
        answer
    }

    async fn try_install(&self, cluster: &Cluster, operator: &Pinned, brings_crd: bool) -> Result<()> {
        let chart = root()?.join("charts/plimsoll").display().to_string();
        let repository = format!("image.repository={}", operator.repository);
        let digest = format!("image.digest={}", operator.digest);
        let namespaces = format!("namespaces={{{}}}", self.serves.join(","));
        let nodes = format!("watchNodes={}", self.watch_nodes);
        let crd = format!("crds.install={brings_crd}");
        let mut arguments = vec!["install", &self.name, &chart, "--namespace", &self.namespace];
        for value in [&repository, &digest, &crd] {
            arguments.extend(["--set", value]);
        }
        if !self.serves.is_empty() {
            arguments.extend(["--set", &namespaces, "--set", &nodes]);
        }
        let provider = self.prometheus.as_ref().map(|url| format!("providers.prometheus.prometheus.url={url}"));
        if let Some(provider) = &provider {
            arguments.extend(["--set", provider, "--set", "providers.prometheus.prometheus.scrapeIntervalSeconds=5"]);
        }
        if self.gateway {
            arguments.extend(["--set", "gateways.public=gateway/bed"]);
        }
        if self.jobs {
            arguments.extend(["--set", "jobs=true"]);
        }
        arguments.extend(["--wait", "--timeout=300s"]);
        cluster.helm(&arguments).await.context("the operator is not installed").map(drop)
    }

    /// Takes the release away again. The CRD stays, as the chart has it.
    ///
    /// # Errors
    /// When helm or the cluster refuses it.
    pub async fn uninstall(&self, cluster: &Cluster) -> Result<()> {
        let arguments = ["uninstall", &self.name, "--namespace", &self.namespace, "--ignore-not-found", "--wait", "--timeout=180s"];
        cluster.helm(&arguments).await.map(drop)
    }
}

/// Whether the cluster knows ProductionServices.
pub async fn crd_exists(cluster: &Cluster) -> bool {
    cluster.kubectl(&["get", "customresourcedefinition", CRD]).await.is_ok()
}

/// The repository's folder.
///
/// # Errors
/// When the sources that this program was built from are gone.
pub fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().with_context(|| format!("the sources are gone from {}", root.display()))
}
