//! Gates, windows and dependencies, and blue-green, on a real control plane.

use serde_json::{Value, json};

use crate::harness;
use crate::world::{World, canary};

fn spec(tag: &str, rollout: &Value) -> Value {
    json!({"image": format!("example.test/shop:{tag}"), "replicas": 2, "ports": [{"name": "http", "port": 8080}], "rollout": rollout})
}

fn quick() -> Value {
    json!({"strategy": {"canary": {"steps": [{"weight": 30, "soakSeconds": 1}]}}, "bakeSeconds": 2, "progressDeadlineSeconds": 60})
}

async fn stable(world: &World, name: &str, spec: &Value) -> String {
    world.service(name, spec).await;
    let service = world.phase(name, "Stable").await;
    service["status"]["stable"]["revision"].as_str().unwrap().to_owned()
}

fn gates(service: &Value) -> &Value {
    &service["status"]["rollout"]["progress"]["gates"]
}

#[tokio::test]
async fn nobody_approves_in_another_ones_name_and_enough_people_open_the_gate() {
    let world = World::new("gate-approval").await;
    world.apply(&harness::chart(world.bed, world.namespace, &[], &["admission-approvals"]).await).await;
    let mut rollout = quick();
    rollout["gates"] = json!([{"name": "human", "at": {"beforePromotion": {}}, "approval": {}}]);
    let old = stable(&world, "shop", &spec("1", &rollout)).await;
    world.service("shop", &spec("2", &rollout)).await;
    let waits = |service: &Value| gates(service)[0]["state"] == "Waiting";
    let service = world.until("psvc", "shop", "waited at its gate", waits).await;
    let revision = service["status"]["candidate"]["revision"].as_str().unwrap().to_owned();
    assert!(service["status"]["message"].as_str().unwrap().contains("gate human: 0 of 1 approvals"), "{}", service["status"]["message"]);
    assert_eq!(service["status"]["stable"]["revision"], old.as_str());

    let approve = |by: &str| json!({"spec": {"control": {"approve": [{"revision": revision, "gate": "human", "by": by}]}}}).to_string();
    // A new policy takes the API server a moment.
    harness::until("an approval in another one's name is refused", async || {
        let patch = approve("mallory@example.com");
        let dry = ["--namespace", world.namespace, "patch", "psvc", "shop", "--type=merge", "--dry-run=server", "--patch", &patch];
        let refused = world.bed.kubectl(&dry).await.err()?;
        format!("{refused:#}").contains("nobody approves in another one's name; write by: bed-admin").then_some(())
    })
    .await;
    world.kubectl(&["patch", "psvc", "shop", "--type=merge", "--patch", &approve("bed-admin")]).await;
    let service = world.phase("shop", "Stable").await;
    assert_eq!(service["status"]["stable"]["revision"], revision.as_str());
    let approval = &service["status"]["rollout"]["last"]["approvals"][0];
    // This operator was not told of the policy, and says so.
    assert_eq!((&approval["by"], &approval["verified"]), (&json!("bed-admin"), &json!(false)));
    assert!(approval["at"].is_string());
    // What was there before may stay, whoever changes something else.
    world.kubectl(&["annotate", "psvc", "shop", "example.test/team=web"]).await;
}

#[tokio::test]
async fn a_rollout_begins_when_the_version_that_it_needs_is_stable_elsewhere() {
    let world = World::new("gate-dependency").await;
    stable(&world, "payments", &spec("2.2", &quick())).await;
    stable(&world, "shop", &spec("1", &quick())).await;
    let mut needs = spec("2", &quick());
    needs["dependsOn"] = json!([{"service": "payments", "atLeastVersion": "2.3"}]);
    world.service("shop", &needs).await;
    let waits =
        |service: &Value| service["status"]["rollout"]["progress"]["stage"] == "Gated" && gates(service)[0]["name"] == "dependsOn/payments";
    let service = world.until("psvc", "shop", "waited for payments", waits).await;
    let revision = service["status"]["candidate"]["revision"].as_str().unwrap().to_owned();
    assert_eq!(world.get("deployment", &format!("shop-{revision}")).await, Value::Null, "no pod before that");
    world.service("payments", &spec("2.3", &quick())).await;
    let there = |service: &Value| service["status"]["phase"] == "Stable" && service["status"]["stable"]["revision"] == revision.as_str();
    world.until("psvc", "shop", "was promoted by itself", there).await;
}

#[tokio::test]
async fn a_freeze_holds_a_rollout_and_lets_it_go_by_itself() {
    let world = World::new("gate-freeze").await;
    stable(&world, "shop", &spec("1", &quick())).await;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let at = |second: i64| jiff::Timestamp::from_second(second).unwrap().to_string();
    let mut rollout = quick();
    rollout["freezes"] = json!([{"name": "audit", "start": at(now - 60), "end": at(now + 20)}]);
    world.service("shop", &spec("2", &rollout)).await;
    let frozen =
        |service: &Value| service["status"]["message"].as_str().is_some_and(|message| message.contains("freeze audit; goes on at"));
    let service = world.until("psvc", "shop", "was frozen", frozen).await;
    let revision = service["status"]["candidate"]["revision"].as_str().unwrap().to_owned();
    let there = |service: &Value| service["status"]["phase"] == "Stable" && service["status"]["stable"]["revision"] == revision.as_str();
    world.until("psvc", "shop", "was promoted by itself", there).await;
}

#[tokio::test]
async fn blue_green_shows_a_preview_then_switches_once_and_back_if_it_is_bad() {
    let world = World::new("blue-green").await;
    let blue_green = |tag: &str| {
        let mut spec = canary(tag);
        spec["rollout"]["strategy"] = json!({"blueGreen": {"soakSeconds": 2}});
        spec["rollout"]["bakeSeconds"] = json!(15);
        spec["rollout"]["gates"] = json!([{"name": "tested", "at": {"start": {}}, "approval": {}}]);
        spec
    };
    let one = stable(&world, "shop", &blue_green("1")).await;
    assert_eq!(world.get("service", "shop-preview").await, Value::Null);
    let mut serving = one;
    for (tag, phase) in [("2", "Stable"), ("fails-50", "RolledBack")] {
        world.service("shop", &blue_green(tag)).await;
        let waits = |service: &Value| gates(service)[0]["state"] == "Waiting";
        let service = world.until("psvc", "shop", "waited to be tested", waits).await;
        let candidate = service["status"]["candidate"]["revision"].as_str().unwrap().to_owned();
        let front = world.get("service", "shop").await;
        assert_eq!(front["spec"]["selector"]["plimsoll.dev/revision"], serving.as_str(), "no user meets it yet");
        let behind = |slices: &Value| {
            let slices = slices["items"].as_array().unwrap();
            slices
                .iter()
                .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
                .filter(|endpoint| endpoint["conditions"]["ready"] == true)
                .count()
        };
        let preview = world.until("service", "shop-preview", "was made", Value::is_object).await;
        assert_eq!(preview["spec"]["selector"]["plimsoll.dev/revision"], candidate.as_str());
        harness::until("the preview reaches every pod", async || {
            let text =
                world.kubectl(&["get", "endpointslices", "--selector", "kubernetes.io/service-name=shop-preview", "--output=json"]).await;
            (behind(&serde_json::from_str(&text).unwrap()) == 2).then_some(())
        })
        .await;
        world
            .patch("shop", &json!({"spec": {"control": {"approve": [{"revision": candidate, "gate": "tested", "by": "bed-admin"}]}}}))
            .await;
        let selects = |front: &Value| front["spec"]["selector"]["plimsoll.dev/revision"] == candidate.as_str();
        world.until("service", "shop", "selected the new version", selects).await;
        let service = world.phase("shop", phase).await;
        if phase == "Stable" {
            serving = candidate;
        }
        assert_eq!(service["status"]["stable"]["revision"], serving.as_str(), "{}", service["status"]["message"]);
        let front = world.get("service", "shop").await;
        assert_eq!(front["spec"]["selector"]["plimsoll.dev/revision"], serving.as_str());
        world.until("service", "shop-preview", "was gone with the rollout", Value::is_null).await;
    }
}
