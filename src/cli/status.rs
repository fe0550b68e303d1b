//! `plimsoll status`: where a service stands, and why.
//!
//! Everything is read from the service's status and from its pods; nothing is decided here. Watching follows the API server's watches: an idle
//! service costs no request.

pub(super) mod report;
#[cfg(test)]
mod tests;
pub(super) mod tree;
mod why;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt};

use super::cluster::{self, Cluster};
use super::output::{Color, print};
use crate::api::ProductionService;
use crate::controller::clock::Clock;
use crate::controller::queue::Key;
use crate::controller::saved::Saved;
use crate::decide::render::ownership::SERVICE;
use report::{Report, Standing};

/// Shows where a service stands: its revisions and pods, the traffic each gets, what the numbers say, what is waited for, and what was
/// decided last.
///
/// Exit code: 0 the spec's own revision serves; 1 it was taken back, is blocked, or too few pods are ready (and for errors); 2 it is under way.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Name of the ProductionService.
    name: String,
    /// Its namespace. Default: the context's.
    #[arg(short, long)]
    namespace: Option<String>,
    /// For each objective of the rollout that is on: its counts and shares, how its evidence has moved towards the limit, what lets it pass, and
    /// what would send the candidate back.
    #[arg(long)]
    why: bool,
    /// Also write the service, with everything that a decision about it depends on, to this file: `plimsoll replay` decides about it again, and it
    /// makes a good bug report. No Secret is read; the values of `env` and of ConfigMaps are in it, and what the pods' metrics said.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["watch", "timeout"])]
    save: Option<PathBuf>,
    /// Namespace in which the operator runs, for `--save`.
    #[arg(long, value_name = "NAMESPACE", default_value = "plimsoll-system")]
    operator_namespace: String,
    /// Draw anew with every change, until interrupted.
    #[arg(short, long)]
    watch: bool,
    /// Wait until it is no longer under way, at most so long (`90s`, `5m`, `1h`), then exit with its code.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
    /// Format.
    #[arg(short, long, value_enum, default_value = "tree")]
    output: Format,
    /// When colours are used.
    #[arg(long, value_enum, default_value = "auto")]
    color: Color,
    #[command(flatten)]
    cluster: Cluster,
}

/// Format of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Tree,
    /// One JSON object; while watching one line for each change.
    Json,
    /// One YAML document for each change.
    Yaml,
}

/// Pods by name, or why they are not known.
type Pods = Result<BTreeMap<String, Pod>, String>;

/// Runs the subcommand.
///
/// # Errors
/// When the cluster, the definition or the service is not there, or may not be read.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let standing = runtime.block_on(async {
        let config = arguments.cluster.config().await?;
        let session = Session {
            arguments,
            server: config.cluster_url.to_string(),
            namespace: arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone()),
            client: cluster::client(config)?,
            clock: Clock,
        };
        Box::pin(session.run()).await
    })?;
    Ok(ExitCode::from(standing.code()))
}

/// One question to one cluster.
struct Session<'a> {
    arguments: &'a Arguments,
    server: String,
    namespace: String,
    client: Client,
    clock: Clock,
}

/// What a watch brought.
enum News {
    Service(Box<ProductionService>),
    Deleted,
    Pod(Box<watcher::Event<Pod>>),
    PodsHidden(String),
    Failed(kube::Error),
    Tick,
}

impl Session<'_> {
    async fn run(&self) -> Result<Standing> {
        // Read once in any case: what is missing is said at once and in words.
        let service = self.service().await?;
        let Arguments { watch, timeout, .. } = self.arguments;
        if *watch || timeout.is_some() {
            return Box::pin(self.follow(service)).await;
        }
        let report = Report::of(&service, &self.pods().await, self.clock.now());
        self.show(&report)?;
        if let Some(file) = &self.arguments.save {
            self.save(file).await?;
        }
        Ok(report.standing)
    }

    async fn service(&self) -> Result<ProductionService> {
        let api: Api<ProductionService> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = &self.arguments.name;
        match api.get(name).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Err(self.missing(&api).await),
            Err(kube::Error::SerdeError(error)) => {
                Err(error).with_context(|| format!("{name} cannot be read: its definition is not this version's"))
            }
            other => other.map_err(|error| cluster::explained(error, "read ProductionServices", &self.server)),
        }
    }

    /// Writes everything that a decision depends on to a file.
    async fn save(&self, file: &Path) -> Result<()> {
        let key = Key::new(&self.namespace, &self.arguments.name);
        let taken = Saved::take(&self.client, &key, &self.arguments.operator_namespace, self.clock.now()).await;
        let (saved, hidden) = taken.map_err(|error| cluster::explained(error, "read what belongs to the service", &self.server))?;
        for what in hidden {
            eprintln!("plimsoll: not saved: {what}");
        }
        std::fs::write(file, serde_saphyr::to_string(&saved)?).with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("plimsoll: saved to {}; decide again by: plimsoll replay {0}", file.display());
        Ok(())
    }

    /// Whether the service or the definition is missing, and what could have been meant.
    async fn missing(&self, api: &Api<ProductionService>) -> anyhow::Error {
        let (name, namespace) = (&self.arguments.name, &self.namespace);
        match api.list_metadata(&ListParams::default().limit(20)).await {
            Ok(others) if others.items.is_empty() => {
                anyhow!("there is no ProductionService in namespace {namespace}, and so none named {name}")
            }
            Ok(others) => {
                let names: Vec<String> = others.items.iter().map(ResourceExt::name_any).collect();
                anyhow!("there is no ProductionService {name} in namespace {namespace}; there are: {}", names.join(", "))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {
                anyhow!("this cluster has no ProductionServices: plimsoll is not installed (helm install plimsoll charts/plimsoll)")
            }
            Err(_) => anyhow!("there is no ProductionService {name} in namespace {namespace}"),
        }
    }

    fn pod_api(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn pod_labels(&self) -> String {
        format!("{SERVICE}={}", self.arguments.name)
    }

    async fn pods(&self) -> Pods {
        let found = self.pod_api().list(&ListParams::default().labels(&self.pod_labels())).await;
        let pods = found.map_err(|error| cluster::explained(error, "list pods", &self.server).to_string())?;
        Ok(pods.into_iter().map(|pod| (pod.name_any(), pod)).collect())
    }

    /// Follows the service until it is no longer under way (`--timeout`), or until interrupted (`-w`).
    async fn follow(&self, mut service: ProductionService) -> Result<Standing> {
        let (mut pods, mut fresh): (Pods, BTreeMap<String, Pod>) = (self.pods().await, BTreeMap::new());
        let mut news = pin!(self.news());
        let mut end = pin!(async {
            match self.arguments.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        });
        let mut shown = None;
        loop {
            let report = Report::of(&service, &pods, self.clock.now());
            let over = self.arguments.timeout.is_some() && report.standing != Standing::InProgress;
            let redraw = shown.as_ref() != Some(&report) || self.draws();
            if redraw && (self.arguments.watch || over) {
                self.show(&report)?;
            }
            if over {
                return Ok(report.standing);
            }
            let standing = report.standing;
            let next = tokio::select! {
                next = news.next() => next.unwrap_or(News::Deleted),
                () = &mut end => {
                    if !self.arguments.watch {
                        self.show(&Report::of(&service, &pods, self.clock.now()))?;
                    }
                    eprintln!("plimsoll: still under way after {} s", self.arguments.timeout.unwrap_or_default().as_secs());
                    return Ok(standing);
                }
                interrupted = tokio::signal::ctrl_c() => return interrupted.map(|()| standing).context("cannot wait for ctrl-C"),
            };
            shown = Some(report);
            match next {
                News::Service(newer) => service = *newer,
                News::Deleted => return Err(anyhow!("{} was deleted", self.arguments.name)),
                News::Pod(event) => take_in(*event, &mut pods, &mut fresh),
                News::PodsHidden(why) => pods = Err(why),
                News::Failed(error) => return Err(cluster::explained(error, "watch ProductionServices", &self.server)),
                News::Tick => {}
            }
        }
    }

    /// Changes of the service and its pods, as the API server tells them; on a terminal a tick a second, for what counts down.
    fn news(&self) -> impl Stream<Item = News> {
        let api: Api<ProductionService> = Api::namespaced(self.client.clone(), &self.namespace);
        let named = watcher::Config::default().fields(&format!("metadata.name={}", self.arguments.name));
        let services = watcher(api, named).default_backoff().filter_map(async |event| match event {
            Ok(watcher::Event::Apply(service) | watcher::Event::InitApply(service)) => Some(News::Service(Box::new(service))),
            Ok(watcher::Event::Delete(_)) => Some(News::Deleted),
            // A connection that broke is made again by the watcher; what was refused stays refused.
            Err(
                watcher::Error::InitialListFailed(error @ kube::Error::Api(_))
                | watcher::Error::WatchStartFailed(error @ kube::Error::Api(_)),
            ) => Some(News::Failed(error)),
            Ok(watcher::Event::Init | watcher::Event::InitDone) | Err(_) => None,
        });
        let labels = watcher::Config::default().labels(&self.pod_labels());
        let pods = watcher(self.pod_api(), labels).default_backoff().filter_map(async |event| match event {
            Ok(event) => Some(News::Pod(Box::new(event))),
            Err(watcher::Error::InitialListFailed(error @ kube::Error::Api(_))) => {
                Some(News::PodsHidden(cluster::explained(error, "list pods", &self.server).to_string()))
            }
            Err(_) => None,
        });
        let ticks = if self.draws() {
            let second = tokio::time::interval(Duration::from_secs(1));
            stream::unfold(second, async |mut second| {
                second.tick().await;
                Some((News::Tick, second))
            })
            .boxed()
        } else {
            stream::pending().boxed()
        };
        stream::select(stream::select(services, pods), ticks)
    }

    /// A picture that is drawn over and over, instead of one below the other.
    fn draws(&self) -> bool {
        self.arguments.watch && self.arguments.output == Format::Tree && std::io::stdout().is_terminal()
    }

    fn show(&self, report: &Report) -> Result<()> {
        let following = self.arguments.watch;
        let text = match self.arguments.output {
            Format::Tree => {
                let tree = tree::tree(report, self.clock.now(), self.arguments.color.wanted(), self.arguments.why);
                // Home, the picture, and away with whatever was below it.
                if self.draws() {
                    format!("\u{1b}[H\u{1b}[2J{tree}")
                } else if following {
                    tree + "\n"
                } else {
                    tree
                }
            }
            Format::Json if following => serde_json::to_string(report)? + "\n",
            Format::Json => serde_json::to_string_pretty(report)? + "\n",
            Format::Yaml if following => format!("---\n{}", serde_saphyr::to_string(report)?),
            Format::Yaml => serde_saphyr::to_string(report)?,
        };
        print(&text).context("cannot write to standard output")
    }
}

/// A watch's list replaces everything once it is complete.
fn take_in(event: watcher::Event<Pod>, pods: &mut Pods, fresh: &mut BTreeMap<String, Pod>) {
    match event {
        watcher::Event::Init => fresh.clear(),
        watcher::Event::InitApply(pod) => {
            fresh.insert(pod.name_any(), pod);
        }
        watcher::Event::InitDone => *pods = Ok(std::mem::take(fresh)),
        watcher::Event::Apply(pod) => {
            if let Ok(pods) = pods {
                pods.insert(pod.name_any(), pod);
            }
        }
        watcher::Event::Delete(pod) => {
            if let Ok(pods) = pods {
                pods.remove(&pod.name_any());
            }
        }
    }
}

/// `90s`, `5m`, `1h30m`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<u64>().map(Duration::from_secs);
    let friendly = || text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    seconds.ok().or_else(friendly).ok_or_else(|| format!("{text:?} is not a duration: write for example 90s, 5m or 1h"))
}
