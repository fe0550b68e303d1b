//! What became of the users' requests, as the load generator counted them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cluster::Cluster;
use crate::wait;

/// The load generator, with `registry.example/` for the registry.
const MANIFEST: &str = include_str!("../load.yaml");
const READY_LIMIT: Duration = Duration::from_secs(180);

/// Requests since the load began.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Summary {
    /// Since the load began.
    #[serde(default)]
    pub seconds: f64,
    /// Requests sent, those still running included.
    pub sent: u64,
    /// Failed without any version's answer: refused, reset, timed out. Not counted in `versions`.
    pub unanswered: u64,
    /// Due, but not sent, because too many were running.
    pub skipped: u64,
    /// The last failure, for people.
    #[serde(rename = "lastError", default)]
    pub last_error: String,
    /// What was seen of the unanswered ones.
    #[serde(default)]
    pub lost: BTreeMap<String, Lost>,
    /// By the version that answered.
    pub versions: BTreeMap<String, Version>,
}

/// Requests that no version answered, of one kind.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// When the first one came back, in seconds since the load began.
    #[serde(rename = "firstSeenSeconds")]
    pub first_seen_seconds: f64,
    /// When the last one came back.
    #[serde(rename = "lastSeenSeconds")]
    pub last_seen_seconds: f64,
}

/// Requests that one version answered.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Version {
    /// Answered as they should be.
    pub ok: u64,
    /// Answered with a failure.
    pub failed: u64,
    /// When it answered first, in seconds since the load began.
    #[serde(rename = "firstSeenSeconds", default)]
    pub first_seen_seconds: f64,
    /// When it answered last.
    #[serde(rename = "lastSeenSeconds", default)]
    pub last_seen_seconds: f64,
}

impl Summary {
    /// What one version answered; nothing where it never did.
    #[must_use]
    pub fn version(&self, name: &str) -> Version {
        self.versions.get(name).copied().unwrap_or_default()
    }
}

/// Starts the load on the Service `shop` of a namespace, at a rate per second, and waits until it runs.
///
/// # Errors
/// When the pod is refused or not ready in time.
pub async fn start(cluster: &Cluster, namespace: &str, image: &str, rate: u32) -> Result<()> {
    let manifest = MANIFEST.replace("registry.example/load:1", image).replace("--rate=200", &format!("--rate={rate}"));
    cluster.apply(namespace, &manifest).await?;
    wait::until("the load generator is ready", READY_LIMIT, async || {
        let path = "{.status.conditions[?(@.type==\"Ready\")].status}";
        (cluster.field(namespace, &["pod", "load"], path).await == "True").then_some(())
    })
    .await
}

/// Asks the load generator, through the API server: so it works from outside of the cluster as well.
///
/// # Errors
/// When it does not answer.
pub async fn summary(cluster: &Cluster, namespace: &str) -> Result<Summary> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/load:9090/proxy/summary");
    let text = cluster.kubectl(&["get", "--raw", &path]).await.context("the load generator does not answer")?;
    serde_json::from_str(&text).context("the load generator's summary cannot be read")
}
