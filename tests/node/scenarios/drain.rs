//! A node is drained in the middle of a rollout that cannot go on.

use std::time::Duration;

use anyhow::{Result, ensure};
use plimsoll_demo::{images, wait};
use serde_json::json;

use super::DEPLOYED;
use crate::app::shop;
use crate::world::Place;

const REAL: &str = "real-1";
/// Played by kwok; here only to have a place for the pods that the drain moves.
const FAKE: &str = "fake-1";
const SELECTOR: &str = "--pod-selector=plimsoll.dev/service=shop";

/// The candidate is never ready, so its own budget may not hold the drain up; and stable's pods go one after the other.
pub async fn broken_candidate(place: Place) -> Result<()> {
    // On the fake node the tag makes them what the variable makes them on the real one.
    let broken = images::push_shop(&place.shared.cluster, images::shop(&place.shared.apps, "0"), "never-ready", &[("NOT_READY", "true")])?;
    let cluster = &place.shared.cluster;
    let tolerant = || json!({ "tolerations": [{ "key": "bed.plimsoll.dev/fake", "operator": "Exists" }] });
    cluster.kubectl(&["cordon", FAKE]).await?;
    place.apply(&shop(&place.shared.shop, tolerant())).await?;
    place.settled("Stable", DEPLOYED).await?;
    place.apply(&shop(&broken, tolerant())).await?;
    wait::until("a pod of the candidate runs without being ready", DEPLOYED, async || {
        let pods = ["pods", "--selector=plimsoll.dev/service=shop"];
        let states = place
            .field(&pods, "{range .items[*]}{.spec.containers[0].image} {.status.phase} {.status.containerStatuses[0].ready}{\"\\n\"}{end}")
            .await;
        states.lines().any(|state| state.contains(&format!("{broken} Running false"))).then_some(())
    })
    .await?;

    cluster.kubectl(&["uncordon", FAKE]).await?;
    let mut watch = place.watch("shop")?;
    let drained = cluster.kubectl(&["drain", REAL, SELECTOR, "--delete-emptydir-data", "--timeout=240s"]).await;
    cluster.kubectl(&["uncordon", REAL]).await?;
    drained?;
    let pods = ["pods", "--selector=plimsoll.dev/service=shop", &format!("--field-selector=spec.nodeName={REAL}")];
    wait::until("no pod is left on the node", DEPLOYED, async || {
        place.field(&pods, "{.items[*].metadata.name}").await.is_empty().then_some(())
    })
    .await?;
    place.until(DEPLOYED, |service| service.status.stable.ready == 2).await?;
    // Whatever was seen on the way: stable never lost more than one pod, and is what it was.
    while let Ok(service) = watch.next(Duration::from_secs(1)).await {
        ensure!(service.status.stable.ready >= 1, "stable had no ready pod: {}", service.status.message);
    }
    Ok(())
}
