//! Pods that do not come up, or not for long: the fast path.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{DECIDED, DEPLOYED};
use crate::app::{environment, shop};
use crate::world::{Place, says};

/// A version that ends as soon as it starts.
pub async fn crash_loop(place: Place) -> Result<()> {
    place.apply(&shop(&place.shared.shop, json!({}))).await?;
    place.settled("Stable", DEPLOYED).await?;
    place.apply(&shop(&place.shared.shop, environment("CRASH_AFTER_SECONDS", "0"))).await?;
    went_back(&place, &["restarts", "exit code 1"]).await
}

/// A tag that nobody has pushed.
pub async fn unpullable_image(place: Place) -> Result<()> {
    place.apply(&shop(&place.shared.shop, json!({}))).await?;
    place.settled("Stable", DEPLOYED).await?;
    let missing = place.shared.cluster.image("shop:missing");
    place.apply(&shop(&missing, json!({}))).await?;
    went_back(&place, &[&missing, "cannot be pulled", "not found", "check its name"]).await
}

/// A version that takes ever more memory.
pub async fn out_of_memory(place: Place) -> Result<()> {
    place.apply(&shop(&place.shared.shop, json!({}))).await?;
    place.settled("Stable", DEPLOYED).await?;
    place.apply(&shop(&place.shared.shop, environment("LEAK_MIB_PER_SECOND", "40"))).await?;
    went_back(&place, &["OOMKilled", "raise resources.limits.memory"]).await
}

/// Rolled back with these words, and stable has all of its pods and all of the traffic.
async fn went_back(place: &Place, words: &[&str]) -> Result<()> {
    let service = place.settled("RolledBack", DECIDED).await?;
    says(&service.status.message, &["rolled back"])?;
    says(&service.status.message, words)?;
    ensure!(service.status.stable.ready == 2, "{} pods of stable are ready", service.status.stable.ready);
    let selector = place.field(&["service", "shop"], "{.spec.selector}").await;
    says(&selector, &[&service.status.stable.revision])?;
    place.visit().await.map(drop)
}
