//! The shell: watches, queue, HTTP and writes around the pure core.
//!
//! ```text
//! watches ─► cache ─► queue ─► worker: observe ─► due ─► (measure) ─► decide ─► apply ─► cache
//! ```
//! A reconcile is the words of the last line and nothing else; it runs only while this replica leads. The watches run always, so that a replica that
//! takes over has everything in memory and begins within milliseconds; the price is the memory of the cache, which the leader needs anyway.

pub mod access;
pub mod apply;
pub mod cache;
pub mod client;
pub mod clock;
pub mod endpoints;
pub mod error;
pub mod events;
pub mod exchange;
pub mod gateways;
pub mod lease;
pub mod measure;
pub mod notes;
pub mod object;
pub mod observe;
pub mod prometheus;
pub mod queue;
pub mod reconcile;
pub mod routes;
pub mod saved;
pub mod telemetry;
pub mod tls;
pub mod watches;
pub mod webhooks;
pub mod workers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::decide::Kind;
use access::Access;
use cache::Cache;
use clock::Clock;
use events::Events;
use gateways::Gateways;
use lease::{Elector, LeaseSettings};
use measure::Pods;
use notes::Notes;
use prometheus::Providers;
use queue::Queue;
use routes::Routes;
use telemetry::Telemetry;
use watches::Progress;
use webhooks::Webhooks;

/// The oldest Kubernetes that has everything that is used (`v1.33`: sidecar containers are stable).
const OLDEST_MINOR: u32 = 33;
/// The reconciles under way get so long to end when the operator is asked to stop.
const LAST_WORK: Duration = Duration::from_secs(6);
const LOOK_FOR_DEFINITION: Duration = Duration::from_secs(5);
const DEFINITION: &str = "the CustomResourceDefinition productionservices.plimsoll.dev";

/// How the operator runs.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a right of its own that the operator has or has not")]
pub struct Settings {
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub metrics_address: SocketAddr,
    /// Namespaces that are served. Empty: all.
    pub watch_namespaces: Vec<String>,
    /// Whether nodes are watched, so that pods lost with their node are not held against a version.
    pub watch_nodes: bool,
    /// Whether Gateways and their classes may be read.
    pub read_gateways: bool,
    /// Whether Jobs may be made for gates.
    pub jobs: bool,
    /// Whether the admission policy is installed that lets nobody approve in another one's name.
    pub approvals_verified: bool,
    /// The lease by which one of several replicas leads. `None`: this one leads always.
    pub lease: Option<LeaseSettings>,
    /// Services that are looked at side by side.
    pub concurrency: usize,
    /// Namespace that the operator runs in: network policies let it in by that.
    pub operator_namespace: String,
    /// Name of this replica in events.
    pub instance: String,
    /// Prometheus servers that specs may name.
    pub providers: Providers,
    /// What sends webhooks. `None`: there is no key to sign them with.
    pub webhooks: Option<Webhooks>,
    /// Host and port of the API server, which no webhook reaches.
    pub api_server: (String, u16),
    /// Gateways of other namespaces that specs may name: name → (namespace, name).
    pub gateways: BTreeMap<String, (String, String)>,
}

impl Settings {
    /// The kinds of objects that are watched always.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        Kind::ALWAYS.into_iter().chain(self.jobs.then_some(Kind::Job)).collect()
    }
}

/// What a reconcile has at hand.
pub struct Context {
    settings: Settings,
    /// This process, and no other.
    identity: String,
    access: Arc<Access>,
    cache: Cache,
    queue: Arc<Queue>,
    notes: Notes,
    pods: Arc<Pods>,
    events: Events,
    telemetry: Telemetry,
    progress: Progress,
    routes: Routes,
    gateways: Gateways,
}

impl Context {
    /// An empty one: nothing has been seen.
    ///
    /// # Errors
    /// When no HTTP client or no metrics can be made.
    pub fn new(client: Client, settings: Settings) -> anyhow::Result<Self> {
        let telemetry = Telemetry::new(env!("CARGO_PKG_VERSION"), Clock.now())?;
        let access = Arc::new(Access::new(client, telemetry.clone()));
        Ok(Self {
            events: Events::start(access.clone(), settings.instance.clone()),
            pods: Arc::new(Pods::new(settings.providers.clone(), telemetry.clone())),
            cache: Cache::default(),
            queue: Arc::new(Queue::default()),
            notes: Notes::default(),
            progress: Progress::default(),
            routes: Routes::default(),
            gateways: Gateways::default(),
            identity: identity(&settings.instance),
            settings,
            access,
            telemetry,
        })
    }
}

/// Runs the operator until `stop`.
///
/// # Errors
/// When it cannot begin: the API server cannot be reached or is too old, or the address of the endpoints is taken.
pub async fn run(client: Client, settings: Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let context = Arc::new(Context::new(client.clone(), settings)?);
    let listener = TcpListener::bind(context.settings.metrics_address).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", context.settings.metrics_address))?;
    context.progress.expect(DEFINITION);
    let endpoints = tokio::spawn(endpoints::serve(listener, context.clone(), stop.clone()));
    let outcome = tokio::select! {
        outcome = begin(&context, &client) => outcome,
        () = stop.cancelled() => Ok(()),
    };
    outcome?;
    if !stop.is_cancelled() {
        let mut watches = watches::start(&context, &client);
        watches.spawn(routes::watch(context.clone(), client.clone()));
        lead_and_follow(&context, client, &stop).await;
        drop(watches);
    }
    endpoints.abort();
    tracing::info!("stopped");
    Ok(())
}

/// What has to be true before the first watch.
async fn begin(context: &Context, client: &Client) -> anyhow::Result<()> {
    let server = client.apiserver_version().await.context("cannot reach the API server")?;
    let number = |text: &str| text.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse::<u32>().unwrap_or_default();
    let (major, minor) = (number(&server.major), number(&server.minor));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), kubernetes = server.git_version, "plimsoll starts");
    anyhow::ensure!(
        (major, minor) >= (1, OLDEST_MINOR),
        "Kubernetes {} is too old: plimsoll needs 1.{OLDEST_MINOR} or newer",
        server.git_version
    );
    let mut told = false;
    loop {
        match context.access.is_defined().await {
            Ok(true) => break,
            Ok(false) if told => {}
            Ok(false) => {
                tracing::warn!("{DEFINITION} is not installed: waiting for it. Install the chart, or: plimsoll crd | kubectl apply -f -");
                told = true;
            }
            Err(error) => tracing::warn!(%error, "cannot look for {DEFINITION}"),
        }
        sleep(LOOK_FOR_DEFINITION).await;
    }
    context.progress.saw(DEFINITION);
    Ok(())
}

async fn lead_and_follow(context: &Arc<Context>, client: Client, stop: &CancellationToken) {
    let (leads, mut leading) = watch::channel(context.settings.lease.is_none());
    let give_up = CancellationToken::new();
    let election =
        context.settings.lease.clone().map(|settings| tokio::spawn(Elector::new(client, settings, leads.clone()).run(give_up.clone())));
    tokio::select! { () = context.progress.complete() => {}, () = stop.cancelled() => {} }
    while !stop.is_cancelled() {
        tokio::select! {
            _ = leading.wait_for(|leads| *leads) => {}
            () = stop.cancelled() => break,
        }
        let term = tokio::spawn(lead(context.clone()));
        context.telemetry.leads(true);
        tokio::select! {
            _ = leading.wait_for(|leads| !*leads) => {}
            () = stop.cancelled() => {}
        }
        context.queue.close();
        if timeout(LAST_WORK, term).await.is_err() {
            tracing::warn!("a reconcile did not end in time; whatever it writes is fenced by resourceVersions");
        }
        context.notes.clear();
        context.telemetry.leads(false);
    }
    give_up.cancel();
    if let Some(election) = election {
        election.await.ok();
    }
}

/// One term: every service is looked at once, then whatever is seen.
async fn lead(context: Arc<Context>) {
    context.queue.open();
    for key in context.cache.services() {
        context.queue.add(key);
    }
    let of_each = context.clone();
    workers::work(context.queue.clone(), context.settings.concurrency, move |key| reconcile::reconcile(of_each.clone(), key)).await;
}

/// A name for this start of this replica: a replica that was killed and started again is somebody else.
#[must_use]
pub fn identity(instance: &str) -> String {
    format!("{instance}-{}-{:x}", std::process::id(), Clock.now().as_nanosecond())
}
