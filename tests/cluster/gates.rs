//! Gates on a real control plane: Jobs that Kubernetes runs.

use plimsoll_bed::host;
use plimsoll_bed::prometheus::{Prometheus, SCRAPE_INTERVAL_SECONDS};
use serde_json::{Value, json};

use crate::harness::Scenario;
use crate::world::{World, canary, message};

/// A service with a gate that makes a Job, by default before its first pod.
fn gated(tag: &str, job: &Value) -> Value {
    let mut spec = canary("1");
    spec["image"] = json!(format!("example.test/shop:{tag}"));
    spec["config"] = json!({"env": {"DATABASE": "shop-db"}});
    spec["rollout"]["gates"] = json!([{"name": "migrate", "at": {"start": {}}, "job": job}]);
    spec
}

fn migrate() -> Value {
    json!({"command": ["/app", "migrate"], "env": [{"name": "STEP", "value": "expand"}]})
}

#[tokio::test]
async fn a_job_runs_once_before_the_first_pod_of_each_revision() {
    let world = World::new("gate-job").await;
    world.service("shop", &gated("1", &migrate())).await;
    world.phase("shop", "Stable").await;
    world.service("shop", &gated("2", &migrate())).await;
    let promoted =
        |service: &Value| service["status"]["phase"] == "Stable" && service["status"]["stable"]["image"] == "example.test/shop:2";
    let service = world.until("psvc", "shop", "was promoted", promoted).await;
    let revision = service["status"]["stable"]["revision"].as_str().unwrap();
    // The one of the first revision went with the end of this rollout.
    let job = world.until_children("job", "shop", 1).await.remove(0);
    assert_eq!(job["metadata"]["labels"]["plimsoll.dev/rollout"], format!("{revision}-1"));
    assert_eq!(job["spec"]["backoffLimit"], 0);
    let deployment = world.get("deployment", &format!("shop-{revision}")).await;
    let made = |object: &Value| object["metadata"]["creationTimestamp"].as_str().unwrap().to_owned();
    assert!(job["status"]["completionTime"].as_str().unwrap() <= made(&deployment).as_str(), "{job:#?}\n{deployment:#?}");

    // A pod like the revision's, that nothing selects which selects the service's.
    let pod = &job["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["plimsoll.dev/gates-of"], "shop");
    assert!(pod["metadata"]["labels"]["plimsoll.dev/service"].is_null());
    let (container, app) = (&pod["spec"]["containers"][0], &deployment["spec"]["template"]["spec"]["containers"][0]);
    assert_eq!((&container["image"], &container["command"]), (&app["image"], &json!(["/app", "migrate"])));
    let env =
        |name: &str| container["env"].as_array().unwrap().iter().find(|variable| variable["name"] == name).cloned().unwrap_or_default();
    assert_eq!(env("DATABASE")["valueFrom"]["configMapKeyRef"]["name"], format!("shop-{revision}"), "the revision's own configuration");
    assert_eq!(env("STEP")["value"], "expand");
    assert_eq!(env("PLIMSOLL_ROLLOUT")["value"], format!("{revision}-1"));
    assert!(container["readinessProbe"].is_null() && container["ports"].is_null() && container["lifecycle"].is_null(), "{container:#?}");

    world.kubectl(&["delete", "psvc", "shop"]).await;
    world.until_children("job", "shop", 0).await;
}

/// A load test knows the peak from a real Prometheus that scrapes the pods.
#[tokio::test]
async fn a_load_test_is_told_so_many_times_the_peak_that_prometheus_knows() {
    if !host::is_root() {
        return;
    }
    let scenario = Scenario::new("gate-load").await;
    let prometheus = Prometheus::start(scenario.bed, &["gate-load"], [127, 0, 0, 1].into()).await.unwrap();
    let file = scenario.bed.directory().join("gate-load-providers.yaml");
    let providers = json!({"main": {"prometheus": {"url": prometheus.url(), "scrapeIntervalSeconds": SCRAPE_INTERVAL_SECONDS}}});
    std::fs::write(&file, providers.to_string()).unwrap();
    let world = World::served(scenario.told(&["--providers", file.to_str().unwrap()])).await;
    let spec = |tag: &str| {
        let mut spec = canary(tag);
        let load = json!({"multipleOfPeak": "2.5", "provider": "main", "job": {"command": ["/app", "load"]}});
        spec["rollout"]["gates"] = json!([{"name": "peak", "at": {"beforeWeight": {"weight": 25}}, "loadTest": load}]);
        spec
    };
    // There is no peak before the first pod: the very first revision is tested by nothing that is known.
    let mut first = spec("1");
    first["rollout"].as_object_mut().unwrap().remove("gates");
    world.service("shop", &first).await;
    world.phase("shop", "Stable").await;
    world.service("shop", &spec("2")).await;
    let gate = |service: &Value| service["status"]["rollout"]["progress"]["gates"][0].clone();
    let service = world.until("psvc", "shop", "has made its load test", |service| gate(service)["job"]["uid"].is_string()).await;
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let (peak, target) = (number(&gate(&service)["load"]["peak"]), number(&gate(&service)["load"]["target"]));
    // Two pods answer 400 requests a second each, and more when they are replaced; in the first minute, of which Prometheus has seen a part, less.
    assert!(peak > 10.0 && peak < 2000.0, "{peak}");
    assert!((target / peak - 2.5).abs() < 0.01, "{target} is not 2.5 times {peak}");
    let job = world.get("job", gate(&service)["job"]["name"].as_str().unwrap()).await;
    let env = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
    let told = env.iter().find(|variable| variable["name"] == "PLIMSOLL_TARGET_RATE").unwrap();
    assert_eq!(told["value"], gate(&service)["load"]["target"]);
    let promoted = |service: &Value| service["status"]["stable"]["image"] == "example.test/shop:2";
    world.until("psvc", "shop", "was promoted", promoted).await;
}

#[tokio::test]
async fn a_job_that_fails_gives_the_revision_up_with_what_it_said() {
    let world = World::new("gate-job-fails").await;
    world.service("shop", &canary("1")).await;
    world.phase("shop", "Stable").await;
    world.service("shop", &gated("job-fails", &migrate())).await;
    let service = world.phase("shop", "RolledBack").await;
    let why = message(&service);
    assert!(why.starts_with("given up before its first pod: gate migrate: Job shop-migrate-"), "{why}");
    assert!(why.ends_with("failed; it said: connecting to the database: no such table"), "{why}");
    let bad = service["status"]["quarantined"][0]["revision"].as_str().unwrap();
    assert!(world.get("deployment", &format!("shop-{bad}")).await.is_null(), "no pod of it was ever made");
    assert_eq!(world.children("job", "shop").await.len(), 1, "it stays, for whoever looks into it");
}

#[tokio::test]
async fn a_job_is_not_made_again_when_it_is_gone_nor_when_the_operator_is_killed() {
    let world = World::new("gate-job-gone").await;
    world.service("shop", &canary("1")).await;
    world.phase("shop", "Stable").await;
    let mut spec = gated("job-runs-on", &migrate());
    spec["rollout"]["gates"][0]["deadlineSeconds"] = 30.into();
    world.service("shop", &spec).await;
    let order = |service: &Value| service["status"]["rollout"]["progress"]["gates"][0]["job"].clone();
    let seen = world.until("psvc", "shop", "saw the Job", |service| order(service)["uid"].is_string()).await;
    let name = order(&seen)["name"].as_str().unwrap().to_owned();
    let uid = world.get("job", &name).await["metadata"]["uid"].clone();

    let world = world.killed().await;
    world.until("psvc", "shop", "went on waiting", |service| message(service).contains("runs; waiting until")).await;
    assert_eq!(world.get("job", &name).await["metadata"]["uid"], uid, "the Job is the one that was made");

    world.kubectl(&["delete", "job", &name]).await;
    world.until("psvc", "shop", "missed the Job", |service| message(service).contains("how it ended is not known")).await;
    let service = world.phase("shop", "RolledBack").await;
    assert!(message(&service).contains("its 30 s are over"), "{}", message(&service));
    assert_eq!(world.children("job", "shop").await, Vec::<Value>::new(), "it was not made again");
}

#[tokio::test]
async fn an_abort_overtakes_a_job_and_lets_it_end() {
    let world = World::new("gate-job-abort").await;
    world.service("shop", &canary("1")).await;
    world.phase("shop", "Stable").await;
    world.service("shop", &gated("job-runs-on", &json!({"command": ["/app", "migrate"], "timeoutSeconds": 45}))).await;
    let service = world.until("psvc", "shop", "waited for the Job", |service| message(service).contains(" runs; waiting until")).await;
    let revision = service["status"]["rollout"]["progress"]["revision"].as_str().unwrap();
    world.patch("shop", &json!({"spec": {"control": {"abort": revision}}})).await;
    world.phase("shop", "RolledBack").await;
    let jobs = world.children("job", "shop").await;
    assert!(jobs.len() == 1 && jobs[0]["status"]["active"] == 1, "work that has begun is not broken off: {jobs:#?}");

    // The next one waits until it has ended.
    world.service("shop", &gated("2", &migrate())).await;
    world
        .until("psvc", "shop", "waited for the earlier Job", |service| message(service).contains("of an earlier rollout still runs"))
        .await;
    world.phase("shop", "Stable").await;
}
