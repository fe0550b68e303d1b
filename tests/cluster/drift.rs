//! Drift by addition: what somebody else puts into lists of ours, which no server-side apply takes away again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::world::World;

fn length(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn what_others_add_goes_again_and_their_labels_stay() {
    let world = World::new("drift-additions").await;
    world.service("shop", &json!({"image": "example.test/shop:1", "ports": [{"name": "http", "port": 8080}]})).await;
    let service = world.phase("shop", "Stable").await;
    let own = format!("shop-{}", service["status"]["stable"]["revision"].as_str().unwrap());
    let before = world.get("deployment", &own).await;
    let (containers, variables) =
        (length(&before["spec"]["template"]["spec"]["containers"]), length(&before["spec"]["template"]["spec"]["containers"][0]["env"]));

    world.kubectl(&["label", "deployment", &own, "team=blue"]).await;
    world.kubectl(&["label", "service", "shop", "team=blue"]).await;
    let addition = json!({"spec": {"template": {"spec": {"containers": [{"name": "miner", "image": "example.test/miner:1"}]}}}});
    world.kubectl(&["patch", "deployment", &own, "--type=strategic", "--patch", &addition.to_string()]).await;
    let addition = json!([{"op": "add", "path": "/spec/ports/-", "value": {"name": "extra", "port": 9999}}]);
    world.kubectl(&["patch", "service", "shop", "--type=json", "--patch", &addition.to_string()]).await;
    let template = |deployment: &Value| deployment["spec"]["template"]["spec"].clone();
    world
        .until("deployment", &own, "lost the added container", |deployment| length(&template(deployment)["containers"]) == containers)
        .await;
    world.until("service", "shop", "lost the added port", |service| length(&service["spec"]["ports"]) == 1).await;

    // One object is repaired once in 30 seconds, so that a webhook that puts it back is no endless loop.
    tokio::time::sleep(Duration::from_secs(31)).await;
    world.kubectl(&["set", "env", &format!("deployment/{own}"), "MINER=1"]).await;
    let repaired = |deployment: &Value| length(&template(deployment)["containers"][0]["env"]) == variables;
    let deployment = world.until("deployment", &own, "lost the added variable", repaired).await;
    assert_eq!(template(&deployment), template(&before), "the pods are the accepted ones again");
    assert_eq!(deployment["metadata"]["labels"]["team"], "blue", "others' labels stay");
    assert_eq!(world.get("service", "shop").await["metadata"]["labels"]["team"], "blue");
    world.phase("shop", "Stable").await;
}
