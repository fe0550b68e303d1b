//! Watches of routes and of endpoints: begun when the first service asks for a route, and the cluster has the Gateway API.
//!
//! A cluster without routes pays nothing for them. Where the API is missing, the services that ask for a route are told so, everything else about
//! them works, and the API is looked for again: no restart is needed once it is installed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Context;
use super::watches::{self, Progress};

/// How often the API is looked for while a service waits for it.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The same after an error.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// The watches have to show everything in this time, or the services are told what is missing and may go on.
const FIRST_LIST: Duration = Duration::from_secs(30);

const UNKNOWN: u8 = 0;
const MISSING: u8 = 1;
const WATCHED: u8 = 2;

/// What is known of the cluster's routes.
#[derive(Debug, Default)]
pub struct Routes {
    state: AtomicU8,
    asked: Notify,
    /// First lists that are still to come.
    pub progress: Progress,
}

impl Routes {
    /// Whether a service asks for a route.
    #[must_use]
    pub fn are_asked_for(service: &Value) -> bool {
        let asks = ["/spec/expose", "/spec/rollout/strategy/canary/routeRef"];
        asks.iter().any(|pointer| service.pointer(pointer).is_some_and(|found| !found.is_null()))
    }

    /// A service asks for a route.
    pub fn ask(&self) {
        if self.state.load(Ordering::Acquire) == UNKNOWN {
            self.asked.notify_one();
        }
    }

    /// Routes are seen as they are.
    #[must_use]
    pub fn are_watched(&self) -> bool {
        self.state.load(Ordering::Acquire) == WATCHED
    }

    /// It is known whether there are routes; until then nothing is decided about services that ask for one.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.state.load(Ordering::Acquire) != UNKNOWN
    }
}

/// Runs for as long as the operator does.
pub async fn watch(context: Arc<Context>, client: Client) {
    let mut tasks = JoinSet::new();
    context.routes.asked.notified().await;
    loop {
        match context.access.has_routes().await {
            Ok(true) => break,
            Ok(false) => {
                if context.routes.state.swap(MISSING, Ordering::AcqRel) != MISSING {
                    tracing::warn!(
                        "services ask for routes, and the cluster has no Gateway API (gateway.networking.k8s.io/v1): looking for it every 30 s"
                    );
                    wake(&context);
                }
                sleep(LOOK_AGAIN).await;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot look for the Gateway API");
                sleep(TRY_AGAIN).await;
            }
        }
    }
    watches::start_routed(&context, &client, &mut tasks);
    while timeout(FIRST_LIST, context.routes.progress.complete()).await.is_err() {
        let missing = context.routes.progress.waiting_for().unwrap_or_default();
        tracing::warn!("cannot list {missing}: services with a route wait for it");
    }
    context.routes.state.store(WATCHED, Ordering::Release);
    tracing::info!("routes are watched");
    wake(&context);
    while tasks.join_next().await.is_some() {}
}

fn wake(context: &Context) {
    for key in context.cache.services() {
        context.queue.add(key);
    }
}
