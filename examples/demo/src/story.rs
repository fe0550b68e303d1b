//! What the demo shows: version 1 is deployed, version 2 is caught, version 3 goes through.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plimsoll_demo::cluster::Cluster;
use plimsoll_demo::service::{Event, Service, Watch};

use crate::place::NAMESPACE;
use crate::say::say;

/// The app, with `registry.example/` for the registry.
const MANIFEST: &str = include_str!("../shop.yaml");
const EXAMPLE_IMAGE: &str = "registry.example/shop:1";

/// What became of one version.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// From `kubectl apply` to the decision.
    pub decided: Duration,
    /// From `kubectl apply` to the end of what followed from it.
    pub ended: Duration,
    /// `Stable` or `RolledBack`.
    pub phase: String,
    /// The last word about it.
    pub message: String,
    /// Why it was taken back, in one word; empty where it was not.
    pub cause: String,
}

/// The service as it changes, line by line.
pub struct Story {
    service: Watch<Service>,
    events: Watch<Event>,
    /// Sentences that were shown: an event often says what the status says.
    shown: BTreeSet<String>,
}

impl Story {
    /// Applies the first version and begins to watch.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn begin(cluster: &Cluster, image: &str) -> Result<Self> {
        apply(cluster, image).await?;
        Ok(Self {
            service: Watch::start(cluster, NAMESPACE, &["productionservices", "shop"])?,
            events: Watch::start(cluster, NAMESPACE, &["events"])?,
            shown: BTreeSet::new(),
        })
    }

    /// Tells what happens until the version that was applied last is Stable or RolledBack.
    ///
    /// # Errors
    /// When neither is reached within `limit`.
    pub async fn follow(&mut self, limit: Duration) -> Result<Decision> {
        let started = Instant::now();
        let mut decision = Decision::default();
        let mut latest = String::new();
        loop {
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                bail!("neither Stable nor RolledBack within {} s; last seen: {latest}", limit.as_secs());
            }
            tokio::select! {
                event = self.events.next(left) => if let Ok(event) = event { self.tell_event(&event) },
                service = self.service.next(left) => {
                    let service = service.with_context(|| format!("last seen: {latest}"))?;
                    let status = &service.status;
                    latest = format!("{} {}", status.phase, status.message);
                    self.tell(&service);
                    if !service.is_current() {
                        continue;
                    }
                    let cause = status.rollout.progress.as_ref().and_then(|progress| progress.cause.as_ref());
                    if let (Some(cause), true) = (cause, decision.cause.is_empty()) {
                        decision.cause.clone_from(&cause.reason);
                        decision.decided = started.elapsed();
                    }
                    if service.is("Stable") || service.is("RolledBack") {
                        decision.ended = started.elapsed();
                        if decision.cause.is_empty() {
                            decision.decided = decision.ended;
                        }
                        decision.phase.clone_from(&status.phase);
                        decision.message.clone_from(&status.message);
                        return Ok(decision);
                    }
                }
            }
        }
    }

    fn tell(&mut self, service: &Service) {
        let status = &service.status;
        if status.message.is_empty() || !self.shown.insert(format!("{} {}", status.phase, status.message)) {
            return;
        }
        self.shown.insert(status.message.clone());
        let step = if status.step.is_empty() { String::new() } else { format!(" {} {}", status.step, status.weight) };
        say("shop", &format!("{}{step}: {}", status.phase, status.message));
    }

    fn tell_event(&mut self, event: &Event) {
        if event.is_about_service() && self.shown.insert(event.message.clone()) {
            say("event", &format!("{}: {}", event.reason, event.message));
        }
    }
}

/// Applies the app with another image, as its users do: `kubectl apply`.
///
/// # Errors
/// When the API server refuses it.
pub async fn apply(cluster: &Cluster, image: &str) -> Result<()> {
    say("kubectl", &format!("apply -f examples/demo/shop.yaml with image: {image}"));
    cluster.apply(NAMESPACE, &MANIFEST.replace(EXAMPLE_IMAGE, image)).await.map(drop)
}
