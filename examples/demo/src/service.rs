//! A ProductionService as it changes.

use std::io::Read;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::cluster::Cluster;

/// What the demo and the tests look at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    metadata: Metadata,
    /// What the operator says.
    pub status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    generation: i64,
}

/// `status`, as far as it is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Status {
    observed_generation: i64,
    /// `Stable`, `Progressing`, …
    pub phase: String,
    /// One sentence.
    pub message: String,
    /// `2/3`
    pub step: String,
    /// `33%`
    pub weight: String,
    /// The revision that was promoted last.
    pub stable: Revision,
    /// The revision that is being rolled out.
    pub candidate: Revision,
    /// The operator's memory.
    pub rollout: Rollout,
    /// Revisions that were taken back.
    pub quarantined: Vec<Quarantined>,
}

/// A revision.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Revision {
    /// Ten hexadecimal digits.
    pub revision: String,
    /// Its image.
    pub image: String,
    /// Pods that are ready.
    pub ready: i32,
}

/// `status.rollout`, as far as it is looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rollout {
    /// The rollout that is on.
    pub progress: Option<Progress>,
}

/// A rollout that is on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Progress {
    /// Counted from 0.
    pub step: i32,
    /// `Shifting`, `Soaking`, …
    pub stage: String,
    /// Since when the step's weight is in force.
    pub weight_since: Option<String>,
    /// Why the candidate is being taken back.
    pub cause: Option<Cause>,
}

/// Why a candidate is being taken back.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Cause {
    /// `Analysis`, `Signal`, …
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// A revision that was taken back.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Quarantined {
    /// Ten hexadecimal digits.
    pub revision: String,
    /// One sentence.
    pub reason: String,
}

impl Service {
    /// Whether the status is about the spec as it stands now.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.status.observed_generation == self.metadata.generation
    }

    /// The status is about the spec as it stands now, and in this phase.
    #[must_use]
    pub fn is(&self, phase: &str) -> bool {
        self.is_current() && self.status.phase == phase
    }
}

/// An event about a ProductionService.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Event {
    involved_object: Involved,
    /// One word.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Involved {
    kind: String,
}

impl Event {
    /// Whether it is about a ProductionService.
    #[must_use]
    pub fn is_about_service(&self) -> bool {
        self.involved_object.kind == "ProductionService"
    }
}

/// Objects as kubectl sees them change. Ends with this value.
pub struct Watch<T> {
    kubectl: Child,
    changes: mpsc::UnboundedReceiver<T>,
}

impl<T: DeserializeOwned + Send + 'static> Watch<T> {
    /// Watches what `kubectl get` gets with these arguments; begins with what is there.
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub fn start(cluster: &Cluster, namespace: &str, objects: &[&str]) -> Result<Self> {
        let mut arguments = vec!["get", "--namespace", namespace, "--watch", "--output=json"];
        arguments.extend(objects);
        let mut kubectl = cluster.start_kubectl(&arguments)?;
        let output = kubectl.stdout.take().context("kubectl has no output")?;
        let (sender, changes) = mpsc::unbounded_channel();
        std::thread::spawn(move || send_each(output, &sender));
        Ok(Self { kubectl, changes })
    }

    /// The next change.
    ///
    /// # Errors
    /// When there is none within `limit`, or kubectl ended.
    pub async fn next(&mut self, limit: Duration) -> Result<T> {
        match tokio::time::timeout(limit, self.changes.recv()).await {
            Ok(Some(change)) => Ok(change),
            Ok(None) => bail!("the watch has ended: kubectl lost the API server"),
            Err(_) => bail!("nothing changed"),
        }
    }
}

/// Reads objects one after another until kubectl ends or nobody listens any more.
fn send_each<T: DeserializeOwned>(output: impl Read, sender: &mpsc::UnboundedSender<T>) {
    let objects = serde_json::Deserializer::from_reader(std::io::BufReader::new(output)).into_iter::<T>();
    for object in objects.map_while(Result::ok) {
        if sender.send(object).is_err() {
            return;
        }
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left of it.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
