//! Rollouts on a real control plane: what the operator does with good and bad versions, with commands and with changes of mind.

use serde_json::{Value, json};

use crate::harness::until;
use crate::world::{World, canary, message, stable};

/// Long enough for pods to become ready on a busy machine.
const DEADLINE_SECONDS: i64 = 25;

fn with(mut spec: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    spec.pointer_mut(parent).unwrap()[key] = value;
    spec
}

async fn candidate(world: &World) -> String {
    let service = world.until("psvc", "shop", "had a candidate", |service| service["status"]["candidate"]["revision"].is_string()).await;
    service["status"]["candidate"]["revision"].as_str().unwrap().to_owned()
}

/// Status is written first, then what follows from it: the Service leads to this revision soon.
async fn leads_to(world: &World, revision: &str) {
    world.until("service", "shop", "led to the revision", |front| front["spec"]["selector"]["plimsoll.dev/revision"] == revision).await;
}

async fn replicas(world: &World, revision: &str) -> Value {
    world.get("deployment", &format!("shop-{revision}")).await["spec"]["replicas"].clone()
}

#[tokio::test]
async fn a_good_version_is_promoted_and_the_old_one_is_kept_at_nothing() {
    let world = World::new("rollout-good").await;
    let old = stable(&world, &canary("1")).await;
    world.service("shop", &canary("2")).await;
    let new = candidate(&world).await;
    let service = world.phase("shop", "Stable").await;
    assert_eq!(service["status"]["stable"]["revision"], new.as_str());
    assert!(message(&service).starts_with(&format!("promoted {new}")), "{}", message(&service));
    assert_eq!(service["status"]["rollout"]["history"], json!([old]));
    world.until("deployment", &format!("shop-{old}"), "was scaled to 0", |deployment| deployment["spec"]["replicas"] == 0).await;
    leads_to(&world, &new).await;
    world.until("deployment", &format!("shop-{new}"), "was scaled to 2", |deployment| deployment["spec"]["replicas"] == 2).await;
}

#[tokio::test]
async fn a_version_that_fails_is_taken_back_with_its_numbers_and_is_not_tried_again_without_an_order() {
    let world = World::new("rollout-bad").await;
    let old = stable(&world, &canary("1")).await;
    world.service("shop", &canary("fails-50")).await;
    let bad = candidate(&world).await;
    let service = world.phase("shop", "RolledBack").await;
    let why = message(&service).to_owned();
    assert!(why.starts_with("rolled back at") && why.contains("requests failed on") && why.contains("(e = "), "{why}");
    assert_eq!(service["status"]["stable"]["revision"], old.as_str());
    assert_eq!(service["status"]["quarantined"][0]["revision"], bad.as_str());
    world.until("deployment", &format!("shop-{bad}"), "was taken away with its pods", Value::is_null).await;
    assert!(world.get("configmap", &format!("shop-{bad}")).await.is_object(), "its record stays");
    leads_to(&world, &old).await;
    assert_eq!(replicas(&world, &old).await, 2);
    let stalled = service["status"]["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Stalled").unwrap();
    assert_eq!((&stalled["status"], &stalled["reason"]), (&json!("True"), &json!("RolledBack")));

    world.patch("shop", &json!({"spec": {"control": {"retry": {"revision": bad, "attempt": 2}}}})).await;
    let again = |service: &Value| service["status"]["rollout"]["progress"]["attempt"] == 2;
    world.until("psvc", "shop", "tried again", again).await;
    let back = |service: &Value| service["status"]["phase"] == "RolledBack" && service["status"]["quarantined"][0]["attempt"] == 2;
    world.until("psvc", "shop", "was taken back again", back).await;
}

#[tokio::test]
async fn signals_of_the_pods_take_a_version_back_without_metrics() {
    let world = World::new("rollout-signals").await;
    let plain = |tag: &str| {
        let spec = with(canary(tag), "/objectives", json!([]));
        // Only this one is told by the deadline.
        if tag == "never-ready" { with(spec, "/rollout/progressDeadlineSeconds", json!(20)) } else { spec }
    };
    stable(&world, &plain("1")).await;
    for (tag, word) in [("crash-loop", "restart"), ("oom-killed", "memory"), ("never-ready", "became ready")] {
        world.service("shop", &plain(tag)).await;
        let service = world.phase("shop", "RolledBack").await;
        assert!(message(&service).contains(word), "{tag}: {}", message(&service));
        let healthy = service["status"]["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Healthy").unwrap();
        assert_eq!(healthy["status"], "True", "{tag}: stable served all along");
    }
}

#[tokio::test]
async fn metrics_that_say_nothing_neither_promote_nor_roll_back() {
    let world = World::new("rollout-silent").await;
    let quick = |tag: &str| with(canary(tag), "/rollout/progressDeadlineSeconds", json!(DEADLINE_SECONDS));
    let tags = ["silent", "html", "nan"];
    for tag in tags {
        world.service(tag, &quick("1")).await;
    }
    for tag in tags {
        world.phase(tag, "Stable").await;
        world.service(tag, &quick(tag)).await;
    }
    for tag in tags {
        let past_deadline = |service: &Value| {
            let since =
                service["status"]["rollout"]["progress"]["weightSince"].as_str().map(|text| text.parse::<jiff::Timestamp>().unwrap());
            since.is_some_and(|since| age(since) > 2 * DEADLINE_SECONDS)
        };
        let service = world.until("psvc", tag, "was past its deadline", past_deadline).await;
        assert_eq!(service["status"]["phase"], "Progressing", "{tag}: {}", message(&service));
        assert_eq!(service["status"]["rollout"]["progress"]["step"], 0, "{tag}: {}", message(&service));
        world.service(tag, &quick("1")).await;
    }
    for tag in tags {
        world.phase(tag, "Stable").await;
    }
}

/// What `status --save` takes from a cluster is what the operator decided from: decided again offline it is the same, and nothing is to be written.
#[tokio::test]
async fn a_saved_service_is_decided_about_again_without_the_cluster() {
    let world = World::new("rollout-saved").await;
    let old = stable(&world, &canary("1")).await;
    world.service("shop", &with(canary("2"), "/rollout/strategy/canary/steps", json!([{"weight": 50, "soakSeconds": 600}]))).await;
    let soaks = |service: &Value| message(service).contains("soaking for");
    let service = world.until("psvc", "shop", "soaked, with numbers", soaks).await;
    let new = service["status"]["candidate"]["revision"].as_str().unwrap();

    let file = world.bed.directory().join("rollout-saved.yaml");
    let saved = world.plimsoll(&["status", "shop", "--save", file.to_str().unwrap()]).await;
    assert_eq!(saved.0, Some(2), "under way: {}", saved.1);
    let (code, answer) = world.plimsoll(&["replay", file.to_str().unwrap(), "--color", "never"]).await;
    assert_eq!(code, Some(0), "{answer}");
    for words in ["writes      no object", "looks again in ", "holding at 50%: ", "soaking for ", "why         availability", new, &old] {
        assert!(answer.contains(words), "{words:?} is not in:\n{answer}");
    }
    let (code, answer) = world.plimsoll(&["replay", file.to_str().unwrap(), "--output", "json"]).await;
    let replayed: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((code, replayed["writes"].clone(), replayed["service"]["phase"].clone()), (Some(0), json!([]), json!("Progressing")));
    // Time decides too: long after, with nobody heard from since.
    let (_, later) = world.plimsoll(&["replay", file.to_str().unwrap(), "--at", "2099-01-01T00:00:00Z", "--color", "never"]).await;
    assert!(later.contains("no pod answers with metrics"), "{later}");
    let other = world.bed.directory().join("rollout-not-saved.yaml");
    std::fs::write(&other, "apiVersion: v1\nkind: List\nitems: []\n").unwrap();
    let (code, _) = world.plimsoll(&["replay", other.to_str().unwrap()]).await;
    assert_eq!(code, Some(1), "something else is refused");
}

fn age(since: jiff::Timestamp) -> i64 {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    i64::try_from(now).unwrap() - since.as_second()
}

#[tokio::test]
async fn commands_are_obeyed_once_and_only_for_their_revision() {
    let world = World::new("rollout-commands").await;
    let slow = |tag: &str| with(canary(tag), "/rollout/strategy/canary/steps", json!([{"weight": 25, "soakSeconds": 600}]));
    let old = stable(&world, &slow("1")).await;
    world.service("shop", &slow("2")).await;
    let new = candidate(&world).await;
    world.patch("shop", &json!({"spec": {"control": {"abort": old, "paused": true}}})).await;
    let paused = world.phase("shop", "Paused").await;
    assert_eq!(paused["status"]["candidate"]["revision"], new.as_str(), "an abort of another revision is inert");
    world.patch("shop", &json!({"spec": {"control": {"promote": {"revision": new, "to": "full"}}}})).await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(world.get("psvc", "shop").await["status"]["phase"], "Paused", "a pause holds a promotion");
    world.patch("shop", &json!({"spec": {"control": {"paused": false}}})).await;
    let service = world.phase("shop", "Stable").await;
    assert_eq!(service["status"]["stable"]["revision"], new.as_str());

    world.service("shop", &slow("3")).await;
    let third = candidate(&world).await;
    world.patch("shop", &json!({"spec": {"control": {"abort": third}}})).await;
    let service = world.phase("shop", "RolledBack").await;
    assert!(message(&service).contains("aborted by spec.control.abort"), "{}", message(&service));
    assert_eq!(service["status"]["stable"]["revision"], new.as_str());
}

#[tokio::test]
async fn a_change_of_mind_mid_rollout_goes_back_first() {
    let world = World::new("rollout-change").await;
    let slow = |tag: &str| with(canary(tag), "/rollout/strategy/canary/steps", json!([{"weight": 25, "soakSeconds": 600}]));
    let old = stable(&world, &slow("1")).await;
    world.service("shop", &slow("2")).await;
    let second = candidate(&world).await;
    world.service("shop", &slow("3")).await;
    let third = |service: &Value| {
        let revision = service["status"]["candidate"]["revision"].as_str().unwrap_or_default();
        !revision.is_empty() && revision != second
    };
    let service = world.until("psvc", "shop", "went on to the third revision", third).await;
    assert_eq!(service["status"]["stable"]["revision"], old.as_str(), "the second one was never promoted");
    assert_eq!(service["status"]["quarantined"], Value::Null, "nor is it at fault");
    world.service("shop", &slow("1")).await;
    let service = world.phase("shop", "Stable").await;
    assert_eq!(service["status"]["stable"]["revision"], old.as_str());
    world.until("deployment", &format!("shop-{old}"), "had all of its pods", |deployment| deployment["status"]["readyReplicas"] == 2).await;
}

#[tokio::test]
async fn a_spec_that_is_not_accepted_holds_the_rollout_and_leaves_the_way_back_open() {
    let world = World::new("rollout-refused").await;
    let slow = |tag: &str| with(canary(tag), "/rollout/strategy/canary/steps", json!([{"weight": 25, "soakSeconds": 600}]));
    let old = stable(&world, &slow("1")).await;
    world.service("shop", &slow("2")).await;
    let new = candidate(&world).await;
    world.patch("shop", &json!({"spec": {"config": {"configMapRefs": [{"name": "missing"}]}}})).await;
    let blocked = world.phase("shop", "Blocked").await;
    assert!(message(&blocked).contains("configMapRefs[0]"), "{}", message(&blocked));
    assert_eq!(blocked["status"]["candidate"]["revision"], new.as_str());
    world.patch("shop", &json!({"spec": {"control": {"abort": new}}})).await;
    let gone = |service: &Value| service["status"]["candidate"].is_null();
    let service = world.until("psvc", "shop", "was taken back", gone).await;
    assert_eq!(service["status"]["stable"]["revision"], old.as_str());
    leads_to(&world, &old).await;
}

#[tokio::test]
async fn configuration_is_rolled_out_and_back_with_the_revision() {
    let world = World::new("rollout-config").await;
    let flags = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags"}, "data": {"COLOUR": value}});
    world.object(&flags("blue")).await;
    let spec = with(canary("1"), "/config", json!({"configMapRefs": [{"name": "flags"}], "files": {"/etc/shop/app.yaml": "a: 1"}}));
    let old = stable(&world, &spec).await;
    world.object(&flags("red")).await;
    let new = candidate(&world).await;
    let text = world.until("configmap", &format!("shop-{new}"), "was made", Value::is_object).await.to_string();
    assert!(text.contains("red") && !text.contains("blue"), "{text}");
    world.object(&flags("blue")).await;
    let service = world.phase("shop", "Stable").await;
    assert_eq!(service["status"]["stable"]["revision"], old.as_str(), "the old contents are the old revision");
    let record = world.get("configmap", &format!("shop-{old}")).await;
    assert_eq!(record["immutable"], true);
}

#[tokio::test]
async fn rolling_is_the_default_and_never_leaves_too_few_pods() {
    let world = World::new("rollout-rolling").await;
    let plain = |tag: &str| json!({"image": format!("example.test/shop:{tag}"), "replicas": 4, "ports": [{"name": "http", "port": 8080}], "rollout": {"bakeSeconds": 2, "strategy": {"rolling": {"soakSeconds": 1}}}});
    stable(&world, &plain("1")).await;
    world.service("shop", &plain("2")).await;
    let new = candidate(&world).await;
    until("the new version is promoted", async || {
        let service = world.get("psvc", "shop").await;
        let ready: usize = world.children("pods", "shop").await.iter().filter(|pod| is_ready(pod)).count();
        assert!(ready >= 4, "{ready} of 4 pods ready: {}", message(&service));
        (service["status"]["phase"] == "Stable" && service["status"]["stable"]["revision"] == new.as_str()).then_some(())
    })
    .await;
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.into_iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
