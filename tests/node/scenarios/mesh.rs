//! In a mesh the callers themselves divide their calls: Istio takes the route whose parent is the front Service, and gRPC clients that it tells by
//! xDS follow the weights, without a lost call.

use std::collections::BTreeMap;
use std::process::Child;

use anyhow::{Context, Result, ensure};
use plimsoll_bed::host;
use plimsoll_demo::{images, wait};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{BAND, DECIDED, DEPLOYED, deviations};
use crate::app::shop;
use crate::world::Place;

const PORT: u16 = 8080;
const RATE: u32 = 200;
const CALLS: u32 = 1000;
const WEIGHT: u32 = 30;
/// grpc-go sends calls where a new route says before it has made ready for that, and fails those of this moment with these words (1.82; in
/// Java this was grpc/grpc-java#11947). Seen when the machine is busy; nothing in the cluster can prevent it. So many of a thousand at most.
const OF_THE_CLIENT: &str = "unknown cluster selected for RPC";
const OF_THE_CLIENT_AT_MOST: u64 = 1;

/// What a caller counts.
#[derive(Debug, Deserialize)]
struct Counts {
    sent: u64,
    failed: BTreeMap<String, u64>,
    versions: BTreeMap<String, u64>,
}

impl Counts {
    /// But for those that the client has never sent.
    fn none_lost(&self) -> bool {
        self.failed.keys().all(|why| why.contains(OF_THE_CLIENT))
            && self.failed.values().sum::<u64>() * 1000 <= self.sent * OF_THE_CLIENT_AT_MOST
    }
}

/// A `GRPCRoute`, then an `HTTPRoute` of the same Service, while users go on calling.
pub async fn divides_calls(place: Place) -> Result<()> {
    let image = images::push_grpc_shop(&place.shared.cluster, &place.shared.apps)?;
    place.apply(&version(&image, "1", "grpc")).await?;
    place.settled("Stable", DEPLOYED).await?;
    let users = Users(place.shared.mesh.caller(place.namespace, "shop", PORT, RATE, None)?.spawn().context("cannot start the caller")?);
    rolled_out(&place, "grpcroute", &version(&image, "2", "grpc")).await?;
    place.apply(&version(&image, "2", "http")).await?;
    place.settled("Stable", DEPLOYED).await?;
    rolled_out(&place, "httproute", &version(&image, "3", "http")).await?;
    let counts = users.end()?;
    ensure!(counts.none_lost() && counts.versions.keys().eq(["1", "2", "3"]), "users saw {counts:?}");
    println!(
        "    {}: {} calls through the mesh, 0 lost but by the client itself ({:?}); {:?}",
        place.namespace, counts.sent, counts.failed, counts.versions
    );
    Ok(())
}

fn version(image: &str, name: &str, protocol: &str) -> Value {
    let steps = json!([{ "weight": WEIGHT, "soakSeconds": 12 }]);
    let mut service = shop(
        image,
        json!({
            "ports": [{ "name": "http", "port": PORT }, { "name": "metrics", "port": 9090 }],
            "env": [{ "name": "VERSION", "value": name }, { "name": "METRICS_LISTEN", "value": ":9090" }],
            "expose": { "mesh": {}, "protocol": protocol },
            // Without objectives: this is about who gets the calls, not about how they are judged.
            "rollout": { "bakeSeconds": 3, "strategy": { "canary": { "router": "gatewayApi", "steps": steps } } },
        }),
    );
    service["spec"]["health"] = json!({ "readiness": { "tcpSocket": { "port": "http" }, "periodSeconds": 1 } });
    service
}

/// A new version gets its share of calls, and then all of them.
async fn rolled_out(place: &Place, kind: &str, service: &Value) -> Result<()> {
    place.apply(service).await?;
    let stands = "{.status.rollout.progress.stage} {.status.candidate.weight}";
    let soaks = async || (place.field(&["productionservice", "shop"], stands).await == format!("Soaking {WEIGHT}")).then_some(());
    wait::until("the step begins", DECIDED, soaks).await?;
    let controllers = place.field(&[kind, "shop"], "{.status.parents[*].controllerName}").await;
    ensure!(controllers == "istio.io/gateway-controller", "the route was taken by {controllers:?}");
    let mut caller = place.shared.mesh.caller(place.namespace, "shop", PORT, RATE, Some(CALLS))?;
    let counts: Counts = tokio::task::spawn_blocking(move || counts(caller.spawn().context("cannot start the caller")?)).await??;
    let name = service["spec"]["env"][0]["value"].as_str().context("a version has a name")?;
    let own = *counts.versions.get(name).unwrap_or(&0) as f64;
    let off = deviations(own, CALLS, WEIGHT);
    ensure!(counts.none_lost() && off <= BAND, "{WEIGHT} percent were asked for; {counts:?} is {off:.1} standard deviations off");
    place.settled("Stable", DECIDED).await.map(drop)
}

/// What it prints when it has ended.
fn counts(caller: Child) -> Result<Counts> {
    let output = caller.wait_with_output().context("cannot wait for the caller")?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).with_context(|| format!("the caller printed {text:?}"))
}

/// Callers until they are told to end.
struct Users(Child);

impl Users {
    fn end(self) -> Result<Counts> {
        host::run("kill", &["-TERM", &self.0.id().to_string()])?;
        counts(self.0)
    }
}
