//! The HPA controller and metrics-server, both real.

use std::time::Duration;

use anyhow::{Result, ensure};
use plimsoll_demo::load;
use serde_json::json;

use super::DEPLOYED;
use crate::app::shop;
use crate::world::Place;

/// Metrics come every 10 seconds, the first after 20.
const SCALED: Duration = Duration::from_secs(360);

/// One pod at rest, more under load, and the operator makes them although `replicas` says otherwise no more.
pub async fn processor_load(place: Place) -> Result<()> {
    let scaled = json!({
        "replicas": null,
        "resources": { "requests": { "cpu": "100m" } },
        "env": [{ "name": "CPU_MS", "value": "20" }],
        "scaling": { "minReplicas": 1, "maxReplicas": 3, "cpuUtilization": 50 },
    });
    let mut service = shop(&place.shared.shop, scaled);
    service["spec"].as_object_mut().map(|spec| spec.remove("replicas"));
    place.apply(&service).await?;
    place.settled("Stable", DEPLOYED).await?;
    let replicas = async || place.field(&["productionservice", "shop"], "{.spec.replicas}").await;
    ensure!(replicas().await == "1", "begins with {} replicas", replicas().await);

    load::start(&place.shared.cluster, place.namespace, &place.shared.load, 20).await?;
    place.until(SCALED, |service| service.status.stable.ready >= 2).await?;
    let pods = place.field(&["horizontalpodautoscaler", "shop"], "{.status.desiredReplicas}").await;
    ensure!(pods.parse::<u32>().is_ok_and(|pods| pods >= 2), "the autoscaler asks for {pods:?}");
    // It goes on owning the number.
    place.apply(&service).await?;
    place.until(DEPLOYED, |service| service.is_current() && service.status.stable.ready >= 2).await.map(drop)
}
