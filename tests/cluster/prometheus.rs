//! Prometheus as the source: a real one, which discovers the pods by itself.

use plimsoll_bed::prometheus::{Prometheus, SCRAPE_INTERVAL_SECONDS};
use serde_json::{Value, json};

use crate::world::{World, canary};

fn spec(tag: &str) -> Value {
    let mut spec = canary(tag);
    spec["observability"] = json!({"metrics": {"provider": "main"}});
    spec["rollout"]["progressDeadlineSeconds"] = json!(30);
    spec
}

fn message(service: &Value) -> &str {
    service["status"]["message"].as_str().unwrap_or_default()
}

/// Issue: "caught … from pod scraping *and* from a real Prometheus discovering the pods; the good one promoted".
#[tokio::test]
async fn a_real_prometheus_catches_a_bad_version_and_promotes_a_good_one_and_without_it_nothing_moves() {
    let scenario = World::scenario("prometheus-source").await;
    let mut prometheus = Prometheus::start(scenario.bed, scenario.namespace).await.expect("prometheus");
    let providers = scenario.bed.directory().join("prometheus-source-providers.yaml");
    let main = json!({"main": {"prometheus": {"url": prometheus.url(), "scrapeIntervalSeconds": SCRAPE_INTERVAL_SECONDS}}});
    std::fs::write(&providers, main.to_string()).unwrap();
    let operator = scenario.operator_with("world", &["--providers", providers.to_str().unwrap()]).await;
    let world = World::with(scenario, operator);
    world.service("shop", &spec("1")).await;
    let service = world.phase("shop", "Stable").await;
    let old = service["status"]["stable"]["revision"].as_str().unwrap().to_owned();

    world.service("shop", &spec("fails-50")).await;
    let service = world.phase("shop", "RolledBack").await;
    let why = message(&service);
    assert!(why.starts_with("rolled back at") && why.contains("requests failed on") && why.contains("(e = "), "{why}");
    assert_eq!(service["status"]["stable"]["revision"], old.as_str());
    assert_eq!(service["status"]["stable"]["metrics"], "promClient (http_requests_total)");

    world.service("shop", &spec("2")).await;
    let baking = |service: &Value| service["status"]["phase"] == "Baking" || service["status"]["stable"]["image"] == "example.test/shop:2";
    world.until("psvc", "shop", "passed its step", baking).await;
    let service = world.phase("shop", "Stable").await;
    assert_eq!(service["status"]["stable"]["image"], "example.test/shop:2", "{}", message(&service));
    let good = service["status"]["stable"]["revision"].clone();

    prometheus.stop();
    world.service("shop", &spec("3")).await;
    let late = |service: &Value| {
        let since = service["status"]["rollout"]["progress"]["weightSince"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        since.is_some_and(|since| now - since.as_second() > 60)
    };
    let service = world.until("psvc", "shop", "was past its deadline", late).await;
    assert_eq!(
        (&service["status"]["phase"], &service["status"]["stable"]["revision"]),
        (&json!("Progressing"), &good),
        "{}",
        message(&service)
    );
    assert_eq!(service["status"]["rollout"]["progress"]["step"], 0, "{}", message(&service));
    assert!(message(&service).contains("Prometheus"), "{}", message(&service));

    prometheus.resume().unwrap();
    world
        .until("psvc", "shop", "passed its step", |service| {
            service["status"]["phase"] == "Baking" || service["status"]["stable"]["image"] == "example.test/shop:3"
        })
        .await;
    let service = world.phase("shop", "Stable").await;
    assert_eq!(service["status"]["stable"]["image"], "example.test/shop:3", "what was missing came back: {}", message(&service));
}

#[tokio::test]
async fn a_provider_that_the_operator_does_not_know_is_refused_by_name() {
    let world = World::new("prometheus-unknown").await;
    world.service("shop", &spec("1")).await;
    let service = world.phase("shop", "Blocked").await;
    assert!(message(&service).contains("the operator knows no \"main\""), "{}", message(&service));
}
