//! Configuration is part of the revision.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{DECIDED, DEPLOYED};
use crate::app::shop;
use crate::world::{Place, says};

const FILE: &str = "/etc/shop/shop.conf";

fn with(lines: &str) -> Value {
    json!({ "config": { "files": { FILE: lines }, "env": { "CONFIG_FILE": FILE } } })
}

/// The same image: a broken configuration goes back to the one that worked, a good one goes in.
pub async fn rolled_back(place: Place) -> Result<()> {
    place.apply(&shop(&place.shared.shop, with("MESSAGE=old\n"))).await?;
    let first = place.settled("Stable", DEPLOYED).await?;
    ensure!(place.visit().await?["message"] == "old");

    place.apply(&shop(&place.shared.shop, with("MESSAGE=new\nDISCOUNT=90\n"))).await?;
    let back = place.settled("RolledBack", DECIDED).await?;
    says(&back.status.message, &["rolled back", "exit code 1", "unknown setting \"DISCOUNT\""])?;
    ensure!(back.status.stable.revision == first.status.stable.revision, "stable has changed");
    for _ in 0..10 {
        ensure!(place.visit().await?["message"] == "old", "the new configuration answers after its rollback");
    }
    // A pod that starts anew reads the old configuration as well.
    place.shared.cluster.kubectl(&["delete", "pods", "--namespace", place.namespace, "--selector=plimsoll.dev/service=shop"]).await?;
    place.until(DEPLOYED, |service| service.status.stable.ready == 2).await?;
    ensure!(place.visit().await?["message"] == "old");

    place.apply(&shop(&place.shared.shop, with("MESSAGE=better\n"))).await?;
    let promoted = place.settled("Stable", DECIDED).await?;
    ensure!(promoted.status.stable.revision != first.status.stable.revision, "a new configuration is a new revision");
    ensure!(place.visit().await?["message"] == "better");
    Ok(())
}
