//! Gates whose Jobs really run.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{DECIDED, DEPLOYED};
use crate::app::{environment, shop};
use crate::world::{Place, says};

/// The shop's own program with other arguments: it ends at once, well or not.
fn gated(argument: &str) -> Value {
    json!([{"name": "migrate", "at": {"start": {}}, "job": {"args": [argument]}}])
}

/// A Job that succeeds before the first pod, under Pod Security `restricted`; and one that fails, whose log says why.
pub async fn gate(place: Place) -> Result<()> {
    let mut service = shop(&place.shared.shop, json!({}));
    service["spec"]["rollout"]["gates"] = gated("--help");
    place.apply(&service).await?;
    place.settled("Stable", DEPLOYED).await?;
    let pods = place.field(&["pods", "--selector=plimsoll.dev/gates-of=shop"], "{.items[*].status.phase}").await;
    ensure!(pods == "Succeeded", "the pods of the Job: {pods}");

    let mut service = shop(&place.shared.shop, environment("VERSION_OF_THE_TEST", "2"));
    service["spec"]["rollout"]["gates"] = gated("--no-such-flag");
    place.apply(&service).await?;
    let service = place.settled("RolledBack", DECIDED).await?;
    says(&service.status.message, &["given up before its first pod: gate migrate: Job shop-migrate-", "failed; it said:"])?;
    says(&service.status.message, &["flag provided but not defined: -no-such-flag"])?;
    ensure!(service.status.stable.ready == 2, "{} pods of stable are ready", service.status.stable.ready);
    place.visit().await.map(drop)
}
