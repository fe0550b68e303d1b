//! Numbers decide.

use anyhow::{Result, ensure};
use plimsoll_demo::load;
use plimsoll_demo::service::Service;
use serde_json::{Value, json};

use super::{DECIDED, DEPLOYED};
use crate::app::shop;
use crate::world::{Place, says};

const RATE: u32 = 50;

/// A version that fails a fifth of its requests goes back by its numbers, and nobody loses a request on stable.
pub async fn worse_version(place: Place) -> Result<()> {
    let judged = |fail_percent: &str| {
        json!({
            "env": [{ "name": "FAIL_PERCENT", "value": fail_percent }],
            "observability": { "metrics": { "port": "http" } },
            "objectives": [{ "name": "availability", "errorRate": { "atMost": "1%" } }],
            "rollout": { "analysis": { "warmUpSeconds": 0, "minRequests": 100 } },
        })
    };
    let after = a_fifth_fails(&place, judged).await?;
    let stable = &after.status.stable.revision;
    let gone = after.status.quarantined.first().map(|gone| gone.reason.clone()).unwrap_or_default();
    says(&gone, &["rolled back at ", "requests failed", stable])?;

    let selector = place.field(&["service", "shop"], "{.spec.selector}").await;
    says(&selector, &[stable])?;
    let summary = load::summary(&place.shared.cluster, place.namespace).await?;
    // A busy machine may let one or two wait too long.
    let unanswered = summary.unanswered;
    ensure!(unanswered * 1000 <= summary.sent, "{unanswered} of {} requests had no answer: {}", summary.sent, summary.last_error);
    // Both revisions are the image `1`: all failures are the candidate's.
    let failed = summary.version("1").failed;
    ensure!(failed > 0 && failed * 10 < summary.sent, "{failed} of {} requests failed", summary.sent);
    Ok(())
}

/// An objective that is a query, answered by a real Prometheus: a version that fails a fifth of its requests goes back by three answers in a row.
pub async fn query_of_ones_own(place: Place) -> Result<()> {
    let of_revision = |more: &str| format!("sum(rate(http_requests_total{{{more}pod=~\"shop-{{{{revision}}}}-.*\"}}[30s]))");
    let query = format!("{} / {}", of_revision("code=~\"5..\","), of_revision(""));
    let judged = |fail_percent: &str| {
        let promql = json!({"query": query, "atMost": "0.05", "provider": "prometheus", "intervalSeconds": 10});
        json!({
            "env": [{ "name": "FAIL_PERCENT", "value": fail_percent }, { "name": "METRICS_LISTEN", "value": ":9090" }],
            // Prometheus scrapes the port of this name.
            "ports": [{ "name": "http", "port": 8080 }, { "name": "metrics", "port": 9090 }],
            "objectives": [{ "name": "failures", "promql": promql }],
            "rollout": { "strategy": { "canary": { "steps": [{ "weight": 30, "soakSeconds": 300 }] } } },
        })
    };
    let after = a_fifth_fails(&place, judged).await?;
    says(&after.status.message, &["rolled back at ", "failures: 0.", "at most 0.05 is asked; it failed 3 times in a row"])
}

/// A good version under load, then one that fails a fifth of its requests, which goes back to it. `judged`: the spec for a percentage that fails.
async fn a_fifth_fails(place: &Place, judged: impl Fn(&str) -> Value) -> Result<Service> {
    place.apply(&shop(&place.shared.shop, judged("0"))).await?;
    let before = place.settled("Stable", DEPLOYED).await?;
    load::start(&place.shared.cluster, place.namespace, &place.shared.load, RATE).await?;
    place.apply(&shop(&place.shared.shop, judged("20"))).await?;
    let after = place.settled("RolledBack", DECIDED).await?;
    ensure!(after.status.stable.revision == before.status.stable.revision, "stable has changed");
    Ok(after)
}
