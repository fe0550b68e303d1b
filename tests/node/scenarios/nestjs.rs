//! A real Node app: three ways in which a version of it is bad, and a good one.

use anyhow::{Context, Result, ensure};
use plimsoll_demo::load::{self, Summary};
use plimsoll_demo::nestjs;
use serde_json::{Value, json};

use super::{DECIDED, DEPLOYED};
use crate::world::{Place, says};

/// Requests a second. Every one on a connection of its own.
const RATE: u32 = 40;

/// Not run where npm is not there: the app cannot be built.
pub async fn bad_versions_go_back_and_a_good_one_is_promoted(place: Place) -> Result<()> {
    let Some(app) = &place.shared.nestjs else {
        eprintln!("not run: the NestJS app needs node and npm");
        return Ok(());
    };
    let image = place.shared.cluster.image("checkout:1");
    let build = nestjs::image(app, "1").user("65532:65532");
    let pushed = image.clone();
    tokio::task::spawn_blocking(move || build.push(&pushed)).await.context("pushing panicked")??;

    place.apply(&service(&image, &json!([]))).await?;
    let stable = place.settled("Stable", DEPLOYED).await?.status.stable.revision;
    load::start(&place.shared.cluster, place.namespace, &place.shared.load, RATE).await?;

    let bad = [
        (json!([{ "name": "FAIL_PERCENT", "value": "10" }]), &["requests failed"][..]),
        (json!([{ "name": "BLOCK_PERCENT", "value": "10" }, { "name": "BLOCK_MS", "value": "300" }]), &["took over 250 ms"]),
        (json!([{ "name": "LEAK_MIB_PER_SECOND", "value": "12" }]), &["OOMKilled"]),
    ];
    for (environment, words) in bad {
        let before = summary(&place).await?;
        place.apply(&service(&image, &environment)).await?;
        let after = place.settled("RolledBack", DECIDED).await?;
        says(&after.status.message, words)?;
        ensure!(after.status.stable.revision == stable, "stable has changed: {}", after.status.message);
        // A pod that is killed for its memory answers nobody until Kubernetes has noticed.
        if words != ["OOMKilled"] {
            all_answered(&before, &summary(&place).await?)?;
        }
    }

    let before = summary(&place).await?;
    place.apply(&service(&image, &json!([{ "name": "VERSION", "value": "2" }]))).await?;
    let promoted = place.settled("Stable", DECIDED).await?;
    ensure!(promoted.status.stable.revision != stable, "the good version was not promoted: {}", promoted.status.message);
    let after = summary(&place).await?;
    all_answered(&before, &after)?;
    ensure!(after.version("2").ok > 0 && after.version("2").failed == 0, "the good version's requests: {:?}", after.version("2"));
    Ok(())
}

async fn summary(place: &Place) -> Result<Summary> {
    load::summary(&place.shared.cluster, place.namespace).await
}

/// But for one in a thousand: the machine is small, and a connection may take too long on it.
fn all_answered(before: &Summary, after: &Summary) -> Result<()> {
    let (sent, unanswered) = (after.sent - before.sent, after.unanswered - before.unanswered);
    ensure!(unanswered * 1000 <= sent, "{unanswered} of {sent} requests had no answer: {}", after.last_error);
    Ok(())
}

/// `examples/apps/nestjs/checkout.yaml` in a hurry; called shop, because that is what the load asks for.
fn service(image: &str, environment: &Value) -> Value {
    json!({
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ProductionService",
        "metadata": { "name": "shop" },
        "spec": {
            "image": image,
            "env": environment,
            "ports": [{ "name": "http", "port": 8080 }, { "name": "metrics", "port": 9464 }],
            "replicas": 2,
            "resources": { "requests": { "cpu": "50m", "memory": "64Mi" }, "limits": { "memory": "160Mi" } },
            // A second is not enough for Node where the machine is busy with other tests.
            "health": { "readiness": { "httpGet": { "path": "/health/ready" }, "periodSeconds": 2, "timeoutSeconds": 10 } },
            "observability": { "metrics": { "port": "metrics" } },
            "objectives": [
                { "name": "availability", "errorRate": { "atMost": "1%" } },
                { "name": "latency", "latency": { "percentile": 99, "atMostMilliseconds": 250 } },
            ],
            "rollout": {
                "bakeSeconds": 5,
                "strategy": { "canary": { "steps": [{ "weight": 50, "soakSeconds": 10 }] } },
                "analysis": { "warmUpSeconds": 2, "minRequests": 100 },
            },
        },
    })
}
