//! No request is lost: versions come and go through Contour and Envoy under load, and whatever fails, the bad version itself has answered.
//!
//! The count is the load generator's, not the app's. `ROUNDS` is how often each strategy promotes and takes back over each protocol (`make
//! bench-zero-loss`: 20); both protocols beside each other. In the second half of the rounds pods are deleted, replicas change as an
//! autoscaler changes them, the Gateway's controller is stopped for three seconds and the operators are killed, at random moments, again and
//! again. `FROM` goes on with a later round. `make test` plays a canary over HTTP and blue-green over gRPC, once, with each disturbance once.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plimsoll_bed::host;
use plimsoll_demo::load::{Lost, Summary};
use plimsoll_demo::{images, wait};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::restart::kill_operators;
use super::{DECIDED, DEPLOYED};
use crate::app::shop;
use crate::world::Place;

/// Requests per second over each protocol; in the short form over both together.
const RATE: u32 = 300;
const STOPPED: Duration = Duration::from_secs(3);
/// Seconds that a pod goes on answering after its end has begun. Above the default of 5, of which a controller that stands still for 3 leaves 2.
const DRAIN: u32 = 10;
/// In the benchmark, operators that are killed sooner again do not get to do anything in between: the Lease of the one before has to run out.
const KILLED_AGAIN: Duration = Duration::from_secs(60);
/// The Gateway's controller and the operators are everybody's: one stops them at a time. When they were killed last.
static EVERYBODYS: Mutex<Option<Instant>> = Mutex::const_new(None);
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
pub fn rounds() -> Option<u32> {
    told("ROUNDS")
}

fn rate() -> u32 {
    if rounds().is_some() { RATE } else { RATE / 2 }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is told by the environment how long it shall be")]
fn told(variable: &str) -> Option<u32> {
    std::env::var(variable).ok()?.parse().ok()
}

async fn no_request_is_lost(place: &Place, protocol: Protocol) -> Result<()> {
    let steps = match rounds() {
        Some(_) => json!([{ "weight": 20, "soakSeconds": 3 }, { "weight": 60, "soakSeconds": 3 }]),
        None => json!([{ "weight": 50, "soakSeconds": 3 }]),
    };
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
                "health": { "drainSeconds": DRAIN },
                "rollout": { "bakeSeconds": 4, "analysis": { "warmUpSeconds": 0, "minRequests": 50 } },
            }),
        );
        service["spec"]["rollout"]["strategy"] = strategy.clone();
        if protocol == Protocol::Grpc {
            service["spec"]["health"]["readiness"] = json!({ "tcpSocket": { "port": "http" }, "periodSeconds": 1 });
        } else {
            service["spec"]["expose"].as_object_mut().expect("an object").remove("protocol");
        }
        service
    };
    place.apply(&version(&canary, "0", 0)).await?;
    place.settled("Stable", DEPLOYED).await?;
    let load = Load::start(place, protocol).await?;

    let mut away = Vec::new();
    let strategies = match (rounds(), protocol) {
        (Some(_), _) => vec![&canary, &blue_green],
        (None, Protocol::Http) => vec![&canary],
        (None, Protocol::Grpc) => vec![&blue_green],
    };
    let (first, rounds) = (told("FROM").unwrap_or(1), rounds().unwrap_or(1));
    for (round, strategy) in (first..=rounds).flat_map(|round| strategies.iter().map(move |strategy| (round, *strategy))) {
        let calm = AtomicBool::new(round * 2 <= rounds);
        let name = if strategy == &canary { format!("canary-{round}") } else { format!("blue-green-{round}") };
        println!("    {} {name} of {rounds}{}", place.namespace, if calm.load(Ordering::Relaxed) { "" } else { ", disturbed" });
        let rough = async {
            if !calm.load(Ordering::Relaxed) {
                disturb(place, &load, round, &calm).await?;
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
        let so_far = load.summary().await.with_context(|| format!("{name}: {rollouts:?}"))?;
        away.push(rollouts.with_context(|| format!("{name}; {}", words(&so_far)))?);
        rough?;
        ensure!(lost(&so_far) == 0, "{name}: {}", words(&so_far));
    }
    let all = load.end().await?;
    ensure!(lost(&all) == 0, "at the end {}", words(&all));
    let own: u64 = all.versions.iter().filter(|(name, _)| name.starts_with("bad-")).map(|(_, version)| version.failed).sum();
    away.sort_by(f64::total_cmp);
    let played = (first..=rounds).count();
    println!(
        "{}: {played} promotions and {played} rollbacks of {}, {} requests at {}/s, 0 lost; bad versions failed {own} of their own, for {:.1} s in the median",
        place.namespace,
        if strategies.len() > 1 { "canary and of blue-green" } else { "a single strategy" },
        all.sent,
        rate(),
        away[away.len() / 2]
    );
    Ok(())
}

/// Requests that failed and that no bad version has answered.
fn lost(summary: &Summary) -> u64 {
    let others = summary.versions.iter().filter(|(name, _)| !name.starts_with("bad-"));
    summary.unanswered + summary.skipped + others.map(|(_, version)| version.failed).sum::<u64>()
}

/// What is to be said of them.
fn words(summary: &Summary) -> String {
    let seen = |(text, lost): (&String, &Lost)| {
        format!("{} from {:.1} s to {:.1} s: {text}", lost.count, lost.first_seen_seconds, lost.last_seen_seconds)
    };
    let all: Vec<_> = summary.lost.iter().map(seen).collect();
    let versions: Vec<_> = summary
        .versions
        .iter()
        .map(|(name, version)| format!("{name} failed {} of {}", version.failed, version.ok + version.failed))
        .collect();
    format!(
        "{} of {} requests were lost, {} of them not sent ({}); {}",
        lost(summary),
        summary.sent,
        summary.skipped,
        all.join("; "),
        versions.join(", ")
    )
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

/// At random moments something is done that must not cost a request: in the benchmark until it is calm again, otherwise each thing once.
async fn disturb(place: &Place, load: &Load, seed: u32, calm: &AtomicBool) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed.into());
    let mut acts: Vec<u32> = (0..4).collect();
    random.shuffle(&mut acts);
    let more = rounds().map(|_| std::iter::repeat_with(|| fastrand::u32(0..4)));
    let mut acts = acts.into_iter().chain(more.into_iter().flatten());
    while !calm.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(random.u64(3000..9000))).await;
        let Some(act) = acts.next() else { break };
        let doing = ["a pod is deleted", "it is scaled", "the Gateway's controller stops for three seconds"];
        let doing = doing.get(act as usize).unwrap_or(&"the operators are killed, unless they just were");
        let so_far = load.summary().await?;
        let phase = place.field(&["productionservice", "shop"], "{.status.phase}: {.status.message}").await;
        println!("    {} at {:.1} s, {} lost: {doing} ({phase})", place.namespace, so_far.seconds, lost(&so_far));
        match act {
            0 => {
                let pods = place.field(&["pods", "--selector=plimsoll.dev/service=shop"], "{.items[*].metadata.name}").await;
                let pods: Vec<&str> = pods.split(' ').filter(|name| !name.is_empty()).collect();
                if let Some(pod) = pods.get(random.usize(0..pods.len().max(1))) {
                    let delete = ["delete", "pod", pod, "--namespace", place.namespace, "--wait=false", "--ignore-not-found"];
                    place.shared.cluster.kubectl(&delete).await?;
                }
            }
            1 => {
                let replicas = format!("--replicas={}", random.u32(3..5));
                place.shared.cluster.kubectl(&["scale", "productionservice", "shop", "--namespace", place.namespace, &replicas]).await?;
            }
            2 => {
                let _turn = EVERYBODYS.lock().await;
                let controller = place.shared.gateway.controller.to_string();
                host::run_command(Command::new("kill").args(["-STOP", &controller]))?;
                tokio::time::sleep(STOPPED).await;
                host::run_command(Command::new("kill").args(["-CONT", &controller]))?;
            }
            _ => {
                let mut killed = EVERYBODYS.lock().await;
                if rounds().is_some() && killed.is_some_and(|at| at.elapsed() < KILLED_AGAIN) {
                    continue;
                }
                *killed = Some(Instant::now());
                let namespace = &place.shared.release.namespace;
                kill_operators(namespace)?;
                if rounds().is_some() {
                    // Pods that are killed again and again are kept away by their own kubelet, for minutes: they are replaced.
                    let delete = ["delete", "pods", "--all", "--namespace", namespace, "--force", "--grace-period=0", "--wait=false"];
                    place.shared.cluster.kubectl(&delete).await?;
                }
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
    /// From the first answer on: what meets the proxy before it has learned of the route is nobody's loss.
    async fn start(place: &Place, protocol: Protocol) -> Result<Self> {
        let before = Self::spawn(place, protocol)?;
        wait::until("requests are answered", DEPLOYED, async || {
            before.summary().await.ok().filter(|summary| summary.version("0").ok > 100)
        })
        .await?;
        Self::spawn(place, protocol)
    }

    fn spawn(place: &Place, protocol: Protocol) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("no free port")?.port();
        let address = format!("127.0.0.1:{port}");
        // It ends with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&place.shared.apps.load);
        command.args(["--target", &format!("http://{}/", place.shared.gateway.address), "--host", &host(place)]);
        command.args(["--rate", &rate().to_string(), "--keep-alive", "--duration", "10h", "--max-requests", "1000000000"]);
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
