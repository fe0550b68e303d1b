//! No request is lost: versions come and go through Contour and Envoy under load, and whatever fails, the bad version itself has answered.
//!
//! The count is the load generator's, not the app's. `ROUNDS` is how often each strategy promotes and takes back (`make bench-zero-loss`: 20;
//! without it once, and over HTTP only). In the second half of the rounds, which a single one belongs to, pods are deleted, replicas change as an
//! autoscaler changes them, the Gateway's controller is stopped for three seconds and the operators are killed, at random moments.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plimsoll_bed::host;
use plimsoll_demo::load::Summary;
use plimsoll_demo::{images, wait};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::restart::kill_operators;
use super::{DECIDED, DEPLOYED};
use crate::app::shop;
use crate::world::Place;

const RATE: u32 = 300;
const STOPPED: Duration = Duration::from_secs(3);
/// Percent of its requests that the bad version fails.
const FAILS: u32 = 20;

/// What is rolled out how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http,
    Grpc,
}

/// HTTP/1.1 with connections that are kept.
pub async fn http(place: Place) -> Result<()> {
    no_request_is_lost(&place, Protocol::Http).await
}

/// gRPC.
pub async fn grpc(place: Place) -> Result<()> {
    no_request_is_lost(&place, Protocol::Grpc).await
}

/// How often, if somebody has said so.
#[expect(clippy::disallowed_methods, reason = "a benchmark is told by the environment how long it shall be")]
pub fn rounds() -> Option<u32> {
    std::env::var("ROUNDS").ok()?.parse().ok()
}

async fn no_request_is_lost(place: &Place, protocol: Protocol) -> Result<()> {
    let steps = json!([{ "weight": 20, "soakSeconds": 3 }, { "weight": 60, "soakSeconds": 3 }]);
    let canary = json!({ "canary": { "router": "gatewayApi", "steps": steps } });
    let blue_green = json!({ "blueGreen": { "soakSeconds": 2 } });
    let image = match protocol {
        Protocol::Http => place.shared.shop.clone(),
        Protocol::Grpc => images::push_grpc_shop(&place.shared.cluster, &place.shared.apps)?,
    };
    let version = |strategy: &Value, name: &str, fails: u32| {
        let grpc = if protocol == Protocol::Grpc { json!("grpc") } else { Value::Null };
        let mut service = shop(
            &image,
            json!({
                "replicas": 3,
                "ports": [{ "name": "http", "port": 8080 }, { "name": "metrics", "port": 9090 }],
                "env": [
                    { "name": "VERSION", "value": name }, { "name": "FAIL_PERCENT", "value": fails.to_string() },
                    { "name": "METRICS_LISTEN", "value": ":9090" },
                ],
                "expose": { "gateway": { "name": "public" }, "hostnames": [host(place)], "protocol": grpc },
                "observability": { "metrics": { "port": "metrics" } },
                "objectives": [{ "name": "availability", "errorRate": { "atMost": "2%" } }],
                "rollout": { "bakeSeconds": 4, "analysis": { "warmUpSeconds": 0, "minRequests": 50 } },
            }),
        );
        service["spec"]["rollout"]["strategy"] = strategy.clone();
        if protocol == Protocol::Grpc {
            service["spec"]["health"] = json!({ "readiness": { "tcpSocket": { "port": "http" }, "periodSeconds": 1 } });
        } else {
            service["spec"]["expose"].as_object_mut().expect("an object").remove("protocol");
        }
        service
    };
    place.apply(&version(&canary, "0", 0)).await?;
    place.settled("Stable", DEPLOYED).await?;
    let load = Load::start(place, protocol)?;
    wait::until("requests are answered", DEPLOYED, async || load.summary().await.ok().filter(|summary| summary.version("0").ok > 100))
        .await?;
    let begun = load.summary().await?;
    ensure!(begun.unanswered == 0, "before the first rollout {} requests were lost: {}", begun.unanswered, begun.last_error);

    let mut away = Vec::new();
    let rounds = rounds().unwrap_or(1);
    for (round, strategy) in (1..=rounds).flat_map(|round| [(round, &canary), (round, &blue_green)]) {
        let calm = AtomicBool::new(round * 2 <= rounds);
        let name = if strategy == &canary { format!("canary-{round}") } else { format!("blue-green-{round}") };
        println!("    {} {name} of {rounds}{}", place.namespace, if calm.load(Ordering::Relaxed) { "" } else { ", disturbed" });
        let rough = async {
            if !calm.load(Ordering::Relaxed) {
                disturb(place, round, &calm).await?;
            }
            anyhow::Ok(())
        };
        let rollouts = async {
            let result = match place.apply(&version(strategy, &format!("good-{name}"), 0)).await {
                Ok(()) => self::round(place, &load, &version(strategy, &format!("bad-{name}"), FAILS)).await,
                Err(error) => Err(error),
            };
            calm.store(true, Ordering::Relaxed);
            result
        };
        let (rollouts, rough) = tokio::join!(rollouts, rough);
        let so_far = load.summary().await?;
        let lost = lost(&so_far);
        away.push(rollouts.with_context(|| format!("{name}; {lost} of {} requests were lost so far: {}", so_far.sent, so_far.last_error))?);
        rough?;
        ensure!(lost == 0, "{name}: {lost} of {} requests were lost, {} skipped: {}", so_far.sent, so_far.skipped, so_far.last_error);
    }
    let all = load.end().await?;
    ensure!(lost(&all) == 0, "{} of {} requests were lost: {}", lost(&all), all.sent, all.last_error);
    let own: u64 = all.versions.iter().filter(|(name, _)| name.starts_with("bad-")).map(|(_, version)| version.failed).sum();
    away.sort_by(f64::total_cmp);
    println!(
        "{}: {rounds} promotions and {rounds} rollbacks of canary and of blue-green, {} requests at {RATE}/s, 0 lost; bad versions failed {own} of their own, for {:.1} s in the median",
        place.namespace,
        all.sent,
        away[away.len() / 2]
    );
    Ok(())
}

/// Requests that failed and that no bad version has answered.
fn lost(summary: &Summary) -> u64 {
    let others = summary.versions.iter().filter(|(name, _)| !name.starts_with("bad-"));
    summary.unanswered + summary.skipped + others.map(|(_, version)| version.failed).sum::<u64>()
}

/// A good version, which is promoted, then a bad one, which goes back. Returns for how long users met the bad one, in seconds.
async fn round(place: &Place, load: &Load, bad: &Value) -> Result<f64> {
    place.settled("Stable", DECIDED).await?;
    place.apply(bad).await?;
    place.settled("RolledBack", DECIDED).await?;
    let name = bad["spec"]["env"][0]["value"].as_str().unwrap_or_default();
    let met = load.summary().await?.version(name);
    ensure!(met.failed > 0, "{name} went back, and nobody had met it");
    Ok(met.last_seen_seconds - met.first_seen_seconds)
}

/// Until it is calm again: at random moments something is done that must not cost a request.
async fn disturb(place: &Place, seed: u32, calm: &AtomicBool) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed.into());
    let mut acts: Vec<u32> = (0..4).collect();
    random.shuffle(&mut acts);
    // Operators that are killed again and again are kept away by their own kubelet, which is not what this is about.
    let mut acts = acts.into_iter().chain(std::iter::repeat_with(|| fastrand::u32(0..3)));
    while !calm.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(random.u64(3000..9000))).await;
        match acts.next() {
            Some(0) => {
                let pods = place.field(&["pods", "--selector=plimsoll.dev/service=shop"], "{.items[*].metadata.name}").await;
                let pods: Vec<&str> = pods.split(' ').filter(|name| !name.is_empty()).collect();
                if let Some(pod) = pods.get(random.usize(0..pods.len().max(1))) {
                    let delete = ["delete", "pod", pod, "--namespace", place.namespace, "--wait=false", "--ignore-not-found"];
                    place.shared.cluster.kubectl(&delete).await?;
                }
            }
            Some(1) => {
                let replicas = format!("--replicas={}", random.u32(3..5));
                place.shared.cluster.kubectl(&["scale", "productionservice", "shop", "--namespace", place.namespace, &replicas]).await?;
            }
            Some(2) => {
                let controller = place.shared.gateway.controller.to_string();
                host::run_command(Command::new("kill").args(["-STOP", &controller]))?;
                tokio::time::sleep(STOPPED).await;
                host::run_command(Command::new("kill").args(["-CONT", &controller]))?;
            }
            _ => {
                kill_operators(&place.shared.release.namespace)?;
            }
        }
    }
    Ok(())
}

fn host(place: &Place) -> String {
    format!("{}.example.com", place.namespace)
}

/// Users: a process of this machine, since Envoy is one too.
struct Load {
    process: Child,
    address: String,
}

impl Load {
    fn start(place: &Place, protocol: Protocol) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("no free port")?.port();
        let address = format!("127.0.0.1:{port}");
        // It ends with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&place.shared.apps.load);
        command.args(["--target", &format!("http://{}/", place.shared.gateway.address), "--host", &host(place)]);
        command.args(["--rate", &RATE.to_string(), "--keep-alive", "--duration", "10h", "--max-requests", "1000000000"]);
        command.args(["--timeout", "20s", "--max-in-flight", "2000", "--report-every", "0", "--listen", &address]);
        if protocol == Protocol::Grpc {
            command.arg("--grpc");
        }
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("cannot start the load generator")?;
        Ok(Self { process, address })
    }

    async fn summary(&self) -> Result<Summary> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let text = client.get(format!("http://{}/summary", self.address)).send().await?.text().await?;
        serde_json::from_str(&text).context("the load generator's summary cannot be read")
    }

    /// The last count, when nothing is under way any more.
    async fn end(self) -> Result<Summary> {
        let deadline = Instant::now() + DEPLOYED;
        let mut before = self.summary().await?;
        // The rate goes on; what was sent up to now has been answered when as many answers more have come.
        let due = before.sent;
        loop {
            let answered = before.unanswered + before.versions.values().map(|version| version.ok + version.failed).sum::<u64>();
            if answered >= due {
                return Ok(before);
            }
            if Instant::now() > deadline {
                bail!("{answered} of {due} requests have ended");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            before = self.summary().await?;
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left of it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
