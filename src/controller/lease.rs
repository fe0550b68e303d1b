//! Who leads: one replica at a time, by a Lease.
//!
//! # Flow
//! Everybody *watches* the lease; nobody polls it. The leader writes it every ten seconds. Who does not lead takes it when it is given up (its holder
//! is emptied) or deleted, at once, or when it has stood still for its whole duration *by the watcher's own clock*.
//!
//! # Guarantees
//! A leader that cannot renew stops before another one may begin, as long as both clocks run at about the same speed. Where they do not, nothing
//! bad happens either: what protects the cluster is that every status is written under the resourceVersion that it was decided from.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch_objects};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::clock::Clock;

/// After so long without a sign of life another replica takes over.
const DURATION: Duration = Duration::from_secs(15);
/// The leader renews after so long: fewer than six writes a minute.
const RENEW: Duration = Duration::from_millis(10_500);
/// A leader that has not renewed for so long no longer leads.
const GIVE_UP: Duration = Duration::from_secs(14);
const RETRY: Duration = Duration::from_secs(1);
/// Time for one request.
const ANSWER: Duration = Duration::from_secs(3);

/// Which lease, and who we are.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Namespace of the lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Our name: different for each start of each replica.
    pub identity: String,
}

/// Takes part in the election.
pub struct Elector {
    api: Api<Lease>,
    settings: LeaseSettings,
    leads: watch::Sender<bool>,
    /// The lease as it was seen last, and when something about it last changed.
    seen: Option<Lease>,
    changed: Instant,
    /// When we last wrote it as ours.
    renewed: Option<Instant>,
}

impl Elector {
    /// Takes part in the election, and tells `leads` how it goes.
    #[must_use]
    pub fn new(client: Client, settings: LeaseSettings, leads: watch::Sender<bool>) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        Self { api, settings, leads, seen: None, changed: Clock.instant(), renewed: None }
    }

    /// Runs until `stop`, then gives the lease up, so that the next leader begins at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let only_this = watcher::Config::default().fields(&format!("metadata.name={}", self.settings.name));
        let events = watch_objects(self.api.clone(), only_this).default_backoff();
        tokio::pin!(events);
        // Nothing is known before the first list is complete.
        let mut next = Clock.instant() + DURATION;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = events.next() => match event {
                    Some(Ok(Event::Apply(lease) | Event::InitApply(lease))) => self.see(Some(lease)),
                    Some(Ok(Event::Delete(_))) => self.see(None),
                    Some(Ok(Event::Init)) => continue,
                    Some(Ok(Event::InitDone)) => {}
                    Some(Err(error)) => {
                        tracing::warn!(%error, "cannot watch the lease");
                        continue;
                    }
                    None => break,
                },
                () = sleep_until(next) => {}
            }
            next = self.step().await;
        }
        self.release().await;
    }

    fn see(&mut self, lease: Option<Lease>) {
        // Our own write comes back by the watch: that is no news.
        if version(lease.as_ref()) <= version(self.seen.as_ref()) && lease.is_some() && self.seen.is_some() {
            return;
        }
        self.changed = Clock.instant();
        self.seen = lease;
        if self.renewed.is_some() && self.holder() != Some(&self.settings.identity) {
            self.lose("another replica has taken the lease");
        }
    }

    /// Does what is due, and says when to come again if nothing is seen before.
    async fn step(&mut self) -> Instant {
        let now = Clock.instant();
        match self.renewed {
            Some(renewed) if now < renewed + RENEW => renewed + RENEW,
            Some(renewed) => match self.write(false).await {
                Ok(()) => now + RENEW,
                Err(error) if now + RETRY >= renewed + GIVE_UP => {
                    self.lose(&format!("the lease could not be renewed in time: {error}"));
                    now + RETRY
                }
                Err(error) => {
                    tracing::warn!(error, "cannot renew the lease");
                    self.read().await;
                    (now + RETRY).min(renewed + GIVE_UP)
                }
            },
            None if self.is_free() || now >= self.changed + DURATION => match self.write(true).await {
                Ok(()) => {
                    tracing::info!(lease = self.settings.name, identity = self.settings.identity, "leading");
                    self.leads.send_replace(true);
                    now + RENEW
                }
                Err(error) => {
                    tracing::debug!(error, "the lease was not to be had");
                    self.read().await;
                    now + RETRY
                }
            },
            None => self.changed + DURATION,
        }
    }

    fn holder(&self) -> Option<&String> {
        self.seen.as_ref()?.spec.as_ref()?.holder_identity.as_ref().filter(|holder| !holder.is_empty())
    }

    fn is_free(&self) -> bool {
        self.holder().is_none()
    }

    fn lose(&mut self, why: &str) {
        tracing::warn!(why, "no longer leading");
        self.renewed = None;
        self.leads.send_replace(false);
    }

    async fn write(&mut self, takes_over: bool) -> Result<(), String> {
        let began = Clock.instant();
        let mut lease = self.seen.clone().unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() },
            ..Lease::default()
        });
        lease.spec = Some(self.spec(lease.spec.unwrap_or_default(), takes_over, Clock.now()));
        let parameters = PostParams::default();
        let answer = if lease.metadata.resource_version.is_some() {
            timeout(ANSWER, self.api.replace(&self.settings.name, &parameters, &lease)).await
        } else {
            timeout(ANSWER, self.api.create(&parameters, &lease)).await
        };
        let written = answer.map_err(|late| late.to_string())?.map_err(|error| error.to_string())?;
        self.seen = Some(written);
        self.changed = began;
        // From before the request: later than that nobody may count on us.
        self.renewed = Some(began);
        Ok(())
    }

    fn spec(&self, old: LeaseSpec, takes_over: bool, now: Timestamp) -> LeaseSpec {
        let now = Some(MicroTime(now));
        LeaseSpec {
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if takes_over { now.clone() } else { old.acquire_time },
            renew_time: now,
            lease_transitions: Some(old.lease_transitions.unwrap_or_default() + i32::from(takes_over)),
            ..LeaseSpec::default()
        }
    }

    /// After a write that failed: what is there now?
    async fn read(&mut self) {
        if let Ok(Ok(lease)) = timeout(ANSWER, self.api.get_opt(&self.settings.name)).await {
            self.see(lease);
        }
    }

    async fn release(&mut self) {
        if self.renewed.take().is_none() {
            return;
        }
        self.leads.send_replace(false);
        let Some(mut lease) = self.seen.clone() else { return };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Clock.now()));
        }
        match timeout(ANSWER, self.api.replace(&self.settings.name, &PostParams::default(), &lease)).await {
            Ok(Ok(_)) => tracing::info!("lease given up"),
            Ok(Err(error)) => tracing::warn!(%error, "the lease was not given up; it ends by itself"),
            Err(late) => tracing::warn!(%late, "the lease was not given up; it ends by itself"),
        }
    }
}

fn version(lease: Option<&Lease>) -> u64 {
    lease.and_then(|lease| lease.metadata.resource_version.as_ref()?.parse().ok()).unwrap_or_default()
}
