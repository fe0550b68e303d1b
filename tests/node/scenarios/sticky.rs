//! Through a Gateway that obeys: a user stays with the version that answered first, and those of a version that goes back are nobody's loss.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use plimsoll_demo::wait;
use serde_json::{Value, json};

use super::{BAND, DECIDED, DEPLOYED, deviations};
use crate::app::shop;
use crate::envoy_gateway::{EnvoyGateway, install_experimental_routes};
use crate::world::{Place, says};

const GATEWAY: &str = "obeys";
const HOST: &str = "sticky.example.com";
const COOKIE: &str = "shop-version";
const USERS: u32 = 150;
/// What each of them asks for after the first answer.
const MORE: u32 = 4;
const WEIGHT: u32 = 50;

/// The field comes with another channel of the Gateway API, which is picked up; cookies hold while a canary runs, and bind nobody to one that was taken back.
pub async fn users_stay(place: Place) -> Result<()> {
    let result = played(&place).await;
    EnvoyGateway::uninstall(&place.shared.cluster, place.namespace, GATEWAY).await?;
    result
}

async fn played(place: &Place) -> Result<()> {
    let cluster = &place.shared.cluster;
    let gateway = EnvoyGateway::install(cluster, place.namespace, GATEWAY).await?;
    let version = |name: &str| {
        let canary =
            json!({ "router": "gatewayApi", "stickiness": { "cookie": COOKIE }, "steps": [{ "weight": WEIGHT, "soakSeconds": 600 }] });
        shop(
            &place.shared.shop,
            json!({
                "env": [{ "name": "VERSION", "value": name }],
                "expose": { "gateway": { "name": GATEWAY }, "hostnames": [HOST], "timeoutSeconds": 10 },
                "rollout": { "strategy": { "canary": canary } },
            }),
        )
    };
    place.apply(&version("1")).await?;
    let accepted = async |field: &str| {
        place.field(&["productionservice", "shop"], &format!("{{.status.conditions[?(@.type==\"{field}\")].message}}")).await
    };
    // Only a bed that was attached to has them from an earlier run.
    if !place.field(&["crd", "httproutes.gateway.networking.k8s.io"], "{.metadata.annotations}").await.contains("experimental") {
        let refused =
            async || accepted("Accepted").await.contains("no field sessionPersistence; install the experimental channel").then_some(());
        wait::until("the standard channel is refused", DEPLOYED, refused).await?;
        install_experimental_routes(cluster).await?;
    }
    // It is refused until the operator looks again.
    place.until(DEPLOYED, |service| service.is("Stable")).await?;
    place.apply(&version("2")).await?;
    let stands =
        async || (place.field(&["productionservice", "shop"], "{.status.rollout.progress.stage}").await == "Soaking").then_some(());
    wait::until("the step begins", DECIDED, stands).await?;
    says(&accepted("RoutesAccepted").await, &["works by the route as it stands; not proven: expose.timeoutSeconds, canary.stickiness: "])?;

    let mut users = Vec::new();
    for _ in 0..USERS {
        let mut user = User::new(gateway.address).await?;
        for _ in 0..MORE {
            ensure!(user.ask().await? == user.version, "a user of {} got another version", user.version);
        }
        users.push(user);
    }
    let mut counts = BTreeMap::<String, u32>::new();
    for user in &users {
        *counts.entry(user.version.clone()).or_default() += 1;
    }
    let off = deviations(f64::from(counts.get("2").copied().unwrap_or(0)), USERS, WEIGHT);
    ensure!(off <= BAND, "{WEIGHT} percent were asked for; {counts:?} is {off:.1} standard deviations off");

    let candidate = place.field(&["productionservice", "shop"], "{.status.candidate.revision}").await;
    let abort = json!({ "spec": { "control": { "abort": candidate } } }).to_string();
    cluster.kubectl(&["patch", "productionservice", "shop", "--namespace", place.namespace, "--type=merge", "--patch", &abort]).await?;
    // From the abort on to the end of its pods nobody is lost, and nobody is bound to it for longer than until the route says so.
    let mut back = false;
    while !back {
        back = place.field(&["productionservice", "shop"], "{.status.phase}").await == "RolledBack";
        for user in &mut users {
            let version = user.ask().await?;
            ensure!(!back || version == "1", "a user is still with the version that went back");
        }
    }
    println!("    {}: {counts:?} of {USERS} users, {} requests each and more after the abort, 0 lost", place.namespace, MORE + 1);
    Ok(())
}

/// Somebody with a browser, which keeps the cookie.
struct User {
    address: IpAddr,
    cookie: Option<String>,
    version: String,
}

impl User {
    /// Asks for the first time.
    async fn new(address: IpAddr) -> Result<Self> {
        let mut user = Self { address, cookie: None, version: String::new() };
        user.version = user.ask().await?;
        ensure!(user.cookie.is_some(), "the Gateway gave no cookie");
        Ok(user)
    }

    /// The version that answers.
    async fn ask(&mut self) -> Result<String> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let request = client.get(format!("http://{}/", self.address)).header("Host", HOST);
        let request = self.cookie.iter().fold(request, |request, cookie| request.header("Cookie", cookie));
        let answer = request.send().await?.error_for_status()?;
        let mut given = answer.headers().get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok());
        if let Some(cookie) = given.rfind(|cookie| cookie.starts_with(COOKIE)) {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        let body: Value = serde_json::from_slice(&answer.bytes().await?)?;
        body["version"].as_str().map(str::to_owned).context("the shop answers something else")
    }
}
