//! Who the app runs as.

use anyhow::{Result, ensure};
use plimsoll_bed::image::Image;
use plimsoll_demo::images;
use serde_json::json;

use super::{DECIDED, DEPLOYED};
use crate::app::shop;
use crate::world::{Place, says};

const REMEDY: &str = "set securityContext.runAsUser to a number, for example 1000, or USER 1000 in the Dockerfile";

/// The ten-line service runs where the namespace lets nothing else run.
pub async fn restricted(place: Place) -> Result<()> {
    let privileged = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "privileged" },
        "spec": { "containers": [{ "name": "app", "image": place.shared.shop, "securityContext": { "privileged": true } }] },
    });
    let refused = place.apply(&privileged).await;
    ensure!(refused.is_err_and(|error| error.to_string().contains("PodSecurity")), "the namespace is not restricted");

    let smallest = json!({
        "apiVersion": "plimsoll.dev/v1alpha1", "kind": "ProductionService", "metadata": { "name": "shop" },
        "spec": { "image": place.shared.shop, "ports": [{ "name": "http", "port": 8080 }] },
    });
    place.apply(&smallest).await?;
    place.settled("Stable", DEPLOYED).await?;
    let pods = ["pods", "--selector=plimsoll.dev/service=shop"];
    let context = place.field(&pods, "{.items[*].spec.securityContext}{.items[*].spec.containers[*].securityContext}").await;
    says(&context, &["\"runAsNonRoot\":true", "RuntimeDefault", "\"allowPrivilegeEscalation\":false", "\"drop\":[\"ALL\"]"])?;
    let mounts = place.field(&pods, "{.items[*].spec.containers[*].volumeMounts[*].mountPath}").await;
    ensure!(!mounts.contains("serviceaccount"), "a token is mounted: {mounts}");
    place.visit().await.map(drop)
}

/// An image without a user.
pub async fn runs_as_root(place: Place) -> Result<()> {
    cannot_start(place, |image| image, "image will run as root").await
}

/// An image whose user is a name, which the kubelet cannot tell from root.
pub async fn names_its_user(place: Place) -> Result<()> {
    cannot_start(place, |image| image.user("app"), "non-numeric user").await
}

/// As the first revision it is blocked with the remedy, which helps; as the next one it goes back with it.
async fn cannot_start(place: Place, with_user: impl FnOnce(Image) -> Image, why: &str) -> Result<()> {
    let name = place.shared.cluster.image(&format!("{}:1", place.namespace));
    with_user(images::shop(&place.shared.apps, "1")).push(&name)?;

    place.apply(&shop(&name, json!({}))).await?;
    let blocked = place.until(DEPLOYED, |service| service.is("Blocked")).await?;
    says(&blocked.status.message, &[why, REMEDY])?;

    place.apply(&shop(&name, json!({ "securityContext": { "runAsUser": 1000 } }))).await?;
    place.settled("Stable", DEPLOYED).await?;

    place.apply(&shop(&name, json!({}))).await?;
    let back = place.settled("RolledBack", DECIDED).await?;
    says(&back.status.message, &["rolled back", why, REMEDY])
}
