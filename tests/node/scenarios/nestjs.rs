//! A real Node app: three ways in which a version of it is bad, and a good one; each judged by the pods' own metrics, and then by a real
//! Prometheus that discovers and scrapes them.

use anyhow::{Context, Result, ensure};
use plimsoll_demo::cluster::Cluster;
use plimsoll_demo::load::{self, Summary};
use plimsoll_demo::nestjs;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{DECIDED, DEPLOYED};
use crate::world::{Place, says};

/// Requests a second. Every one on a connection of its own.
const RATE: u32 = 40;

/// Several of the scrape intervals of the scenarios' Prometheus.
const PAST_SECONDS: u64 = 20;

const OOM_KILLED: &str = "OOMKilled";

/// A tenth of the requests fails: back by the share of failures.
pub async fn errors_go_back(place: Place) -> Result<()> {
    let Some(app) = App::deploy(&place).await? else { return Ok(()) };
    app.goes_back("FAIL_PERCENT=10", "requests failed").await
}

/// A good version goes through, by the numbers of Prometheus.
pub async fn a_good_version_is_promoted(place: Place) -> Result<()> {
    let Some(app) = App::deploy(&place).await? else { return Ok(()) };
    // Time enough for stable to have a past.
    plimsoll_demo::wait::until("Prometheus has asked several times", DEPLOYED, async || {
        summary(&place).await.ok().filter(|summary| summary.sent > u64::from(RATE) * PAST_SECONDS)
    })
    .await?;
    let before = summary(&place).await?;
    place.apply(&service(&app.image, "VERSION=2", Source::Prometheus)).await?;
    // What stable did before is asked of Prometheus first.
    let rounds = ["productionservice", "shop"];
    plimsoll_demo::wait::until("stable's past is known", DEPLOYED, async || {
        place.field(&rounds, "{.status.rollout.progress.history.rounds}").await.parse::<u32>().ok().filter(|rounds| *rounds > 0)
    })
    .await?;
    let promoted = place.settled("Stable", DECIDED).await?;
    ensure!(promoted.status.stable.revision != app.stable, "the good version was not promoted: {}", promoted.status.message);
    let after = summary(&place).await?;
    all_answered(&before, &after)?;
    ensure!(after.version("2").ok > 0 && after.version("2").failed == 0, "the good version's requests: {:?}", after.version("2"));
    Ok(())
}

/// A tenth of the requests blocks the event loop, and whatever waits behind them is slow as well.
pub async fn a_blocked_event_loop_goes_back(place: Place) -> Result<()> {
    let Some(app) = App::deploy(&place).await? else { return Ok(()) };
    app.goes_back("BLOCK_PERCENT=10 BLOCK_MS=300", "took over 250 ms").await
}

/// Memory that only grows, up to the kill.
pub async fn a_leak_goes_back(place: Place) -> Result<()> {
    let Some(app) = App::deploy(&place).await? else { return Ok(()) };
    app.goes_back("LEAK_MIB_PER_SECOND=12", OOM_KILLED).await
}

/// One image for all of these scenarios: its layers are large.
static IMAGE: OnceCell<String> = OnceCell::const_new();

async fn push(cluster: &Cluster, app: &nestjs::App) -> Result<String> {
    let name = cluster.image("nestjs:1");
    let (build, pushed) = (nestjs::image(app, "1").user("65532:65532"), name.clone());
    tokio::task::spawn_blocking(move || build.push(&pushed)).await.context("pushing panicked")??;
    Ok(name)
}

/// Where the numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The pods' own metrics.
    Pods,
    /// A Prometheus that discovers and scrapes them.
    Prometheus,
}

/// The app as it should be, under load.
struct App<'a> {
    place: &'a Place,
    image: String,
    stable: String,
}

impl<'a> App<'a> {
    /// Not run where npm is not there: the app cannot be built.
    async fn deploy(place: &'a Place) -> Result<Option<Self>> {
        let Some(app) = &place.shared.nestjs else {
            eprintln!("not run: the NestJS app needs node and npm");
            return Ok(None);
        };
        let image = IMAGE.get_or_try_init(|| push(&place.shared.cluster, app)).await?.clone();
        place.apply(&service(&image, "", Source::Pods)).await?;
        let stable = place.settled("Stable", DEPLOYED).await?.status.stable.revision;
        load::start(&place.shared.cluster, place.namespace, &place.shared.load, RATE).await?;
        Ok(Some(Self { place, image, stable }))
    }

    /// A version with these variables goes back with this word, whoever measures it, and nobody waits in vain for an answer.
    async fn goes_back(&self, environment: &str, word: &str) -> Result<()> {
        for (source, version) in [(Source::Pods, "bad-1"), (Source::Prometheus, "bad-2")] {
            let before = summary(self.place).await?;
            self.place.apply(&service(&self.image, &format!("{environment} VERSION={version}"), source)).await?;
            let after = self.place.settled("RolledBack", DECIDED).await?;
            says(&after.status.message, &[word]).with_context(|| format!("{source:?}"))?;
            ensure!(after.status.stable.revision == self.stable, "stable has changed: {}", after.status.message);
            // A pod that is killed for its memory answers nobody until Kubernetes has noticed.
            if word != OOM_KILLED {
                all_answered(&before, &summary(self.place).await?).with_context(|| format!("{source:?}"))?;
            }
        }
        Ok(())
    }
}

async fn summary(place: &Place) -> Result<Summary> {
    load::summary(&place.shared.cluster, place.namespace).await
}

/// But for one in a thousand: the machine is small, and a connection may take too long on it.
fn all_answered(before: &Summary, after: &Summary) -> Result<()> {
    let (sent, unanswered) = (after.sent - before.sent, after.unanswered - before.unanswered);
    ensure!(unanswered * 1000 <= sent, "{unanswered} of {sent} requests had no answer: {}", after.last_error);
    Ok(())
}

/// `examples/apps/nestjs/checkout.yaml` in a hurry; called shop, because that is what the load asks for.
fn service(image: &str, environment: &str, source: Source) -> Value {
    let variable = |(name, value): (&str, &str)| json!({ "name": name, "value": value });
    let environment: Vec<Value> = environment.split(' ').filter_map(|word| word.split_once('=')).map(variable).collect();
    let mut service = json!({
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ProductionService",
        "metadata": { "name": "shop" },
        "spec": {
            "image": image,
            "env": environment,
            "ports": [{ "name": "http", "port": 8080 }, { "name": "metrics", "port": 9464 }],
            // Each of these pods costs seconds of a processor to start.
            "replicas": 1,
            "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "160Mi" } },
            // A second is not enough for Node where the machine is busy with other tests.
            "health": { "readiness": { "httpGet": { "path": "/health/ready" }, "periodSeconds": 2, "timeoutSeconds": 10 } },
            "observability": { "metrics": { "port": "metrics" } },
            "objectives": [
                { "name": "availability", "errorRate": { "atMost": "1%" } },
                { "name": "latency", "latency": { "percentile": 99, "atMostMilliseconds": 250 } },
            ],
            "rollout": {
                "bakeSeconds": 5,
                "strategy": { "canary": { "steps": [{ "weight": 50, "soakSeconds": 10 }] } },
                "analysis": { "warmUpSeconds": 2, "minRequests": 100 },
            },
        },
    });
    if source == Source::Prometheus {
        // The port is Prometheus' own business.
        service["spec"]["observability"]["metrics"] = json!({ "provider": "prometheus" });
    }
    service
}
