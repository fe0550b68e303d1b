//! The settled service on a real control plane: what is made, how it follows the spec, and what is left alone.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::until;
use crate::world::World;

fn smallest() -> Value {
    json!({"image": "example.test/checkout:1.4.2", "ports": [{"name": "http", "port": 8080}]})
}

async fn settled(world: &World, spec: &Value) -> String {
    world.service("checkout", spec).await;
    let service = world.phase("checkout", "Stable").await;
    service["status"]["stable"]["revision"].as_str().unwrap().to_owned()
}

fn names(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_smallest_service_gets_everything() {
    let world = World::new("steady-smallest").await;
    world.kubectl(&["label", "namespace", "steady-smallest", "pod-security.kubernetes.io/enforce=restricted"]).await;
    let revision = settled(&world, &smallest()).await;
    let own = format!("checkout-{revision}");
    for (kind, expected) in [
        ("deployments", vec![own.as_str()]),
        ("configmaps", vec![own.as_str()]),
        ("poddisruptionbudgets", vec![own.as_str()]),
        ("services", vec!["checkout"]),
        ("serviceaccounts", vec!["checkout"]),
        ("horizontalpodautoscalers", vec![]),
        ("networkpolicies", vec![]),
    ] {
        until(&format!("{kind} are {expected:?}"), async || (names(&world.children(kind, "checkout").await) == expected).then_some(()))
            .await;
    }
    let deployment = world.get("deployment", &own).await;
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"], 5);
    assert_eq!(pod["containers"][0]["livenessProbe"], Value::Null);
    let budget = world.get("poddisruptionbudget", &own).await;
    assert_eq!((&budget["spec"]["maxUnavailable"], &budget["spec"]["unhealthyPodEvictionPolicy"]), (&json!(1), &json!("AlwaysAllow")));
    let ready = world.kubectl(&["wait", "psvc/checkout", "--for=condition=Ready", "--timeout=120s"]).await;
    assert!(ready.contains("condition met"), "{ready}");
    // Events come last, after what they tell of.
    until("the events are there", async || {
        let events = world.kubectl(&["get", "events", "--output=jsonpath={.items[*].reason}"]).await;
        (events.contains("FirstRevision") && events.contains("Promoted")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sections_are_followed_also_when_they_are_removed_again() {
    let world = World::new("steady-sections").await;
    let mut spec = smallest();
    spec["resources"] = json!({"requests": {"cpu": "100m", "memory": "64Mi"}});
    spec["scaling"] = json!({"minReplicas": 3, "maxReplicas": 6, "cpuUtilization": 60});
    spec["network"] = json!({"policy": "isolated", "allowFrom": [{"service": "web"}], "allowTo": [{"cidr": "10.0.0.0/8", "port": 5432}]});
    spec["availability"] = json!({"maxUnavailable": "50%"});
    let revision = settled(&world, &spec).await;
    let autoscaler = world.until("hpa", "checkout", "was made", Value::is_object).await;
    assert_eq!(autoscaler["spec"]["scaleTargetRef"]["kind"], "ProductionService");
    assert_eq!((&autoscaler["spec"]["minReplicas"], &autoscaler["spec"]["maxReplicas"]), (&json!(3), &json!(6)));
    world.until("networkpolicy", "checkout", "was made", Value::is_object).await;
    world.until("pdb", &format!("checkout-{revision}"), "had its own limit", |budget| budget["spec"]["maxUnavailable"] == "50%").await;
    let service = world.get("psvc", "checkout").await;
    assert_eq!(service["spec"]["replicas"], 3, "the autoscaler needs a value to begin with");
    let reads = |autoscaler: &Value| {
        let conditions = autoscaler["status"]["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|condition| condition["type"] == "AbleToScale" && condition["status"] == "True")
    };
    world.until("hpa", "checkout", "could read the scale", reads).await;

    world.patch("checkout", &json!({"spec": {"scaling": null, "network": null, "availability": null}})).await;
    world.until("hpa", "checkout", "went", Value::is_null).await;
    world.until("networkpolicy", "checkout", "went", Value::is_null).await;
    world.until("pdb", &format!("checkout-{revision}"), "had its default again", |budget| budget["spec"]["maxUnavailable"] == 1).await;
    let service = world.phase("checkout", "Stable").await;
    assert_eq!(service["status"]["stable"]["revision"], revision.as_str(), "none of this is a new revision");
    assert_eq!(world.get("deployment", &format!("checkout-{revision}")).await["spec"]["replicas"], 3, "no dip at the hand-over");
}

#[tokio::test]
async fn scaling_by_hand_is_followed() {
    let world = World::new("steady-scale").await;
    let revision = settled(&world, &smallest()).await;
    world.kubectl(&["scale", "psvc/checkout", "--replicas=4"]).await;
    world
        .until("deployment", &format!("checkout-{revision}"), "had 4 ready pods", |deployment| deployment["status"]["readyReplicas"] == 4)
        .await;
    let counted = |service: &Value| service["status"]["replicas"] == 4 && service["status"]["ready"] == "4/4";
    world.until("psvc", "checkout", "counted 4", counted).await;
    world.kubectl(&["scale", "psvc/checkout", "--replicas=0"]).await;
    world.until("psvc", "checkout", "counted 0", |service| service["status"]["replicas"] == 0).await;
}

#[tokio::test]
async fn drift_is_repaired() {
    let world = World::new("steady-drift").await;
    let revision = settled(&world, &smallest()).await;
    let own = format!("checkout-{revision}");
    let uid = world.get("service", "checkout").await["metadata"]["uid"].clone();
    world.plant("capacity");
    world.kubectl(&["delete", "service", "checkout"]).await;
    world.until("service", "checkout", "came back", |service| service.is_object() && service["metadata"]["uid"] != uid).await;
    world.kubectl(&["scale", "deployment", &own, "--replicas=7"]).await;
    world.until("deployment", &own, "had 2 replicas again", |deployment| deployment["spec"]["replicas"] == 2).await;
    world.plant("routing");
    world.kubectl(&["patch", "service", "checkout", "--type=merge", "--patch", r#"{"spec":{"selector":{"app":"other"}}}"#]).await;
    let repaired =
        |service: &Value| service["spec"]["selector"] == json!({"plimsoll.dev/service": "checkout", "plimsoll.dev/revision": revision});
    world.until("service", "checkout", "selected its pods again", repaired).await;
    world.kubectl(&["set", "image", &format!("deployment/{own}"), "app=example.test/other:9"]).await;
    let image = |deployment: &Value| deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "example.test/checkout:1.4.2";
    world.until("deployment", &own, "had its image again", image).await;
    world.plant("capacity");
    world.kubectl(&["delete", "deployment", &own]).await;
    world.until("deployment", &own, "served again", |deployment| deployment["status"]["readyReplicas"] == 2).await;
    world.kubectl(&["label", "deployment", &own, "team=checkout"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.get("deployment", &own).await["metadata"]["labels"]["team"], "checkout", "others' labels stay");
}

#[tokio::test]
async fn a_foreign_object_is_left_alone_and_said() {
    let world = World::new("steady-foreign").await;
    let foreign = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "checkout"}, "spec": {"selector": {"app": "mine"}, "ports": [{"port": 1234}]}});
    world.object(&foreign).await;
    let before = world.get("service", "checkout").await["metadata"]["resourceVersion"].clone();
    world.service("checkout", &smallest()).await;
    let service = world.phase("checkout", "Blocked").await;
    let stalled = service["status"]["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Stalled").unwrap();
    assert_eq!((&stalled["status"], &stalled["reason"]), (&json!("True"), &json!("NameConflict")));
    assert!(stalled["message"].as_str().unwrap().contains("kubectl annotate"), "{stalled}");
    assert_eq!(world.get("service", "checkout").await["metadata"]["resourceVersion"], before, "untouched");
    world.kubectl(&["delete", "service", "checkout"]).await;
    world.phase("checkout", "Stable").await;
    world.until("service", "checkout", "was made", |service| service["spec"]["ports"][0]["port"] == 8080).await;
}

#[tokio::test]
async fn deleting_takes_the_app_along_and_orphan_leaves_it() {
    let world = World::new("steady-delete").await;
    settled(&world, &smallest()).await;
    world.kubectl(&["delete", "psvc", "checkout", "--wait=true"]).await;
    for kind in ["deployments", "configmaps", "services", "poddisruptionbudgets", "serviceaccounts"] {
        until(&format!("no {kind} are left"), async || world.children(kind, "checkout").await.is_empty().then_some(())).await;
    }

    let mut orphan = smallest();
    orphan["deletionPolicy"] = "orphan".into();
    let revision = settled(&world, &orphan).await;
    world.kubectl(&["delete", "psvc", "checkout", "--wait=true"]).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let deployment = world.get("deployment", &format!("checkout-{revision}")).await;
    assert_eq!(deployment["status"]["readyReplicas"], 2, "it goes on serving");
    assert!(world.get("service", "checkout").await.is_object());
}

#[tokio::test]
async fn the_first_revision_says_why_it_cannot_come_up_and_a_new_spec_replaces_it() {
    let world = World::new("steady-first").await;
    for (tag, words) in [
        ("crash-loop", "restart"),
        ("config-error-nonroot", "set securityContext.runAsUser to a number"),
        ("config-error-named-user", "set securityContext.runAsUser to a number"),
        ("oom-killed", "raise resources.limits.memory"),
        ("image-pull-backoff", "image"),
    ] {
        world
            .service("checkout", &json!({"image": format!("example.test/checkout:{tag}"), "ports": [{"name": "http", "port": 8080}]}))
            .await;
        let told = |service: &Value| {
            let status = &service["status"];
            status["phase"] == "Blocked"
                && status["observedGeneration"] == service["metadata"]["generation"]
                && status["message"].as_str().is_some_and(|message| message.contains(words))
        };
        world.until("psvc", "checkout", &format!("said {words:?} of {tag}"), told).await;
    }
    settled(&world, &smallest()).await;
    until("nothing of the others is left", async || (world.children("deployments", "checkout").await.len() == 1).then_some(())).await;
    assert_eq!(world.get("psvc", "checkout").await["status"]["quarantined"], Value::Null);
}

#[tokio::test]
async fn what_admission_lets_through_and_cannot_be_honoured_is_said() {
    let world = World::new("steady-refused").await;
    let folder = crate::repository().join("tests/specs/wrong");
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let Some(reason) =
            text.lines().find_map(|line| line.strip_prefix("# accepted: false (")).map(|rest| rest.trim_end_matches(')').to_owned())
        else {
            continue;
        };
        let expected: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# expect: ")).collect();
        let object: Value = serde_yaml::from_str(&text).unwrap();
        world.object(&object).await;
        let name = object["metadata"]["name"].as_str().unwrap();
        let service = world.phase(name, "Blocked").await;
        let accepted =
            service["status"]["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Accepted").unwrap();
        assert_eq!((&accepted["status"], accepted["reason"].as_str()), (&json!("False"), Some(reason.as_str())), "{text}");
        for words in expected {
            assert!(accepted["message"].as_str().unwrap().contains(words), "{words:?} is not in {}", accepted["message"]);
        }
        assert!(world.children("deployments", name).await.is_empty(), "nothing is made of it");
        world.kubectl(&["delete", "psvc", name]).await;
        checked += 1;
    }
    assert!(checked >= 3, "only {checked} specs");
}

#[tokio::test]
async fn what_the_api_server_refuses_stands_in_status() {
    let world = World::new("refused-write").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"count/deployments.apps": "0"}}});
    world.object(&quota).await;
    world.until("resourcequota", "none", "is in force", |quota| quota["status"]["hard"]["count/deployments.apps"] == "0").await;
    world.service("shop", &json!({"image": "example.test/shop:1"})).await;
    let blocked = world.phase("shop", "Blocked").await;
    let message = blocked["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("cannot create Deployment shop-") && message.contains("exceeded quota"), "{message}");
    world.kubectl(&["delete", "resourcequota", "none"]).await;
    let service = world.phase("shop", "Stable").await;
    assert!(!service["status"]["message"].as_str().unwrap().contains("quota"), "{service:#}");
}
