//! The chart's rights: all of them are needed, and no other is.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_bed::audit::Request;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::harness::{self, Scenario};
use crate::quiet_bed;
use crate::world::World;

/// A verb and what it is for, as `GROUP/RESOURCE`.
type Right = (String, String);

const NAME: &str = "rights";

/// Security page: "A test drives every feature as that ServiceAccount and reads the apiserver's audit log: no 403, and no rule that nothing used."
#[tokio::test]
async fn nothing_is_forbidden_and_no_right_is_unused() {
    let (bed, _turn) = quiet_bed().await;
    let mut audit = bed.audit().unwrap();
    let scenario = Scenario::everywhere(bed, NAME).await;
    let user = scenario.user();
    let mut world = World::of(scenario).await;
    shape(&world).await;
    rollouts(&world).await;
    routes(&world).await;
    jobs(&world).await;
    repairs(&world).await;
    conflicts(&world).await;
    deletions(&world).await;
    election(&mut world).await;

    // The log's last lines may still be on their way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ours: Vec<Request> = audit.read().unwrap().into_iter().filter(|request| request.user == user).collect();
    let forbidden: Vec<_> = ours.iter().filter(|request| request.code == 403).collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");
    let asked: BTreeSet<Right> = ours.iter().flat_map(rights_of).collect();
    let granted = granted(
        &harness::chart(
            bed,
            NAME,
            &["--set", "jobs=true"],
            &["rbac-operator", "rbac-lease", "rbac-nodes", "rbac-jobs", "rbac-gateways", "rbac-users"],
        )
        .await,
    );
    assert!(granted.len() > 30, "too few rights to be the chart's: {granted:?}");
    assert!(granted.iter().all(|(verb, what)| verb != "*" && !what.contains('*') && verb != "deletecollection"), "{granted:?}");
    let idle: Vec<_> = granted.difference(&asked).collect();
    assert!(idle.is_empty(), "granted, and used by nothing: {idle:#?}");
}

/// What a request needs. An apply that makes the object needs the right to create it, which the API server checks then.
fn rights_of(request: &Request) -> Vec<Right> {
    let mut path = request.uri.split(['?', '/']).filter(|part| !part.is_empty());
    let group = if path.next() == Some("apis") { path.next().unwrap_or_default() } else { "" };
    let what = format!("{group}/{}", request.resource);
    let mut rights = vec![(request.verb.clone(), what.clone())];
    if request.verb == "patch" && request.code == 201 {
        rights.push(("create".to_owned(), what));
    }
    rights
}

/// The rights that the operator's service account is bound to.
fn granted(yaml: &str) -> BTreeSet<Right> {
    let objects: Vec<Value> = serde_yaml::Deserializer::from_str(yaml)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect();
    let is_bound =
        |binding: &&Value| binding["subjects"].as_array().is_some_and(|subjects| subjects.iter().any(|subject| subject["name"] == NAME));
    let bound: BTreeSet<(&str, &str)> = objects
        .iter()
        .filter(is_bound)
        .map(|binding| (binding["roleRef"]["kind"].as_str().unwrap(), binding["roleRef"]["name"].as_str().unwrap()))
        .collect();
    let texts =
        |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect() };
    let roles = objects.iter().filter(|role| bound.contains(&(role["kind"].as_str().unwrap(), role["metadata"]["name"].as_str().unwrap())));
    let mut rights = BTreeSet::new();
    for rule in roles.flat_map(|role| role["rules"].as_array().unwrap()) {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                rights.extend(texts(&rule["verbs"]).into_iter().map(|verb| (verb, format!("{group}/{resource}"))));
            }
        }
    }
    rights
}

fn spec(tag: &str) -> Value {
    json!({
        "image": format!("example.test/shop:{tag}"),
        "replicas": 2,
        "ports": [{"name": "http", "port": 8080}],
        "config": {"configMapRefs": [{"name": "flags"}]},
        "rollout": {"bakeSeconds": 1, "progressDeadlineSeconds": 60, "strategy": {"canary": {"steps": [{"weight": 50, "soakSeconds": 1}]}}},
    })
}

async fn settled(world: &World, name: &str, spec: &Value) -> String {
    world.service(name, spec).await;
    let service = world.phase(name, "Stable").await;
    service["status"]["stable"]["revision"].as_str().unwrap().to_owned()
}

fn is_gone(object: &Value) -> bool {
    object.is_null()
}

/// The first revision, autoscaling that comes (and needs a scale to begin with) and goes, isolation that comes and goes, a foreign account.
async fn shape(world: &World) {
    let flags = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags"}, "data": {"COLOUR": "blue"}});
    world.object(&flags).await;
    settled(world, "shop", &spec("1")).await;
    let mut scaled = spec("1");
    scaled.as_object_mut().unwrap().remove("replicas");
    scaled["resources"] = json!({"requests": {"cpu": "100m"}});
    scaled["scaling"] = json!({"minReplicas": 2, "maxReplicas": 4, "cpuUtilization": 60});
    scaled["network"] = json!({"policy": "isolated", "allowFrom": [{"service": "web"}]});
    settled(world, "scaled", &scaled).await;
    world.until("hpa", "scaled", "was made", Value::is_object).await;
    world.until("psvc", "scaled", "was given a scale", |service| service["spec"]["replicas"] == 2).await;
    world.until("networkpolicy", "scaled", "was made", Value::is_object).await;
    world.patch("scaled", &json!({"spec": {"scaling": null, "network": null, "ports": [], "serviceAccount": {"name": "default"}}})).await;
    for kind in ["hpa", "networkpolicy", "service"] {
        world.until(kind, "scaled", "was taken away", is_gone).await;
    }
    // The account stays for as long as a revision that runs as it can be gone back to.
    for tag in ["2", "3"] {
        world.phase("scaled", "Stable").await;
        world.patch("scaled", &json!({"spec": {"image": format!("example.test/shop:{tag}")}})).await;
    }
    world.until("serviceaccount", "scaled", "was taken away", is_gone).await;
}

/// Promoted, taken back, tried again; enough revisions for the oldest to be cleared away.
async fn rollouts(world: &World) {
    let first = settled(world, "shop", &spec("1")).await;
    for tag in ["2", "3", "4"] {
        settled(world, "shop", &spec(tag)).await;
    }
    for kind in ["deployment", "configmap", "poddisruptionbudget"] {
        world.until(kind, &format!("shop-{first}"), "was cleared away", is_gone).await;
    }
    world.service("shop", &spec("crash-loop")).await;
    let back = world.phase("shop", "RolledBack").await;
    let bad = back["status"]["quarantined"][0]["revision"].as_str().unwrap();
    world.patch("shop", &json!({"spec": {"control": {"retry": {"revision": bad, "attempt": 2}}}})).await;
    world.until("psvc", "shop", "was tried again", |service| service["status"]["quarantined"][0]["attempt"] == 2).await;
    world.patch("shop", &json!({"spec": {"control": null}})).await;
    settled(world, "shop", &spec("4")).await;
    world.object(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "flags"}, "data": {"COLOUR": "red"}})).await;
    world.until("psvc", "shop", "rolled its configuration out", |service| service["status"]["candidate"].is_object()).await;
    world.phase("shop", "Stable").await;
}

/// A route that comes, moves its weights, becomes one of another kind, changes and goes.
async fn routes(world: &World) {
    let mut routed = spec("1");
    routed.as_object_mut().unwrap().remove("config");
    routed["expose"] = json!({"gateway": {"name": "public"}, "hostnames": ["rights.example.com"]});
    routed["expose"]["timeoutSeconds"] = 5.into();
    routed["rollout"]["strategy"]["canary"]["router"] = "gatewayApi".into();
    settled(world, "routed", &routed).await;
    routed["image"] = "example.test/shop:2".into();
    settled(world, "routed", &routed).await;
    world.patch("routed", &json!({"spec": {"expose": {"protocol": "grpc", "timeoutSeconds": null}}})).await;
    world.until("httproute", "routed", "was taken away", is_gone).await;
    world.until("grpcroute", "routed", "was made", Value::is_object).await;
    world.patch("routed", &json!({"spec": {"expose": {"hostnames": ["grpc.example.com"]}}})).await;
    world.until("grpcroute", "routed", "was changed", |route| route["spec"]["hostnames"][0] == "grpc.example.com").await;
    world.patch("routed", &json!({"spec": {"expose": null, "rollout": null}})).await;
    world.until("grpcroute", "routed", "was taken away", is_gone).await;
    users_route(world).await;
}

/// A route of the user's own: while it is lent, the service carries a finalizer.
async fn users_route(world: &World) {
    let mut lent = spec("1");
    lent.as_object_mut().unwrap().remove("config");
    lent["rollout"]["strategy"] =
        json!({"canary": {"router": "gatewayApi", "routeRef": {"name": "lent"}, "steps": [{"weight": 50, "soakSeconds": 1}]}});
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "lent", "labels": {"plimsoll.dev/service": "lent"}},
        "spec": {"parentRefs": [{"namespace": "gateway", "name": "bed"}], "hostnames": ["lent.example.com"], "rules": [{"backendRefs": [{"name": "lent", "port": 8080}]}]},
    });
    world.object(&route).await;
    settled(world, "lent", &lent).await;
    lent["image"] = "example.test/shop:2".into();
    settled(world, "lent", &lent).await;
    world.until("psvc", "lent", "has nothing to hand back", |service| service["metadata"]["finalizers"].is_null()).await;
}

/// A gate's Job that succeeds, one that fails, and those of earlier rollouts, which are cleared away.
async fn jobs(world: &World) {
    let mut gated = spec("1");
    gated.as_object_mut().unwrap().remove("config");
    gated["rollout"]["gates"] = json!([{"name": "migrate", "at": {"start": {}}, "job": {"command": ["/app", "migrate"]}}]);
    settled(world, "gated", &gated).await;
    let first = world.children("job", "gated").await;
    assert_eq!(first.len(), 1, "{first:#?}");
    gated["image"] = "example.test/shop:2".into();
    settled(world, "gated", &gated).await;
    gated["image"] = "example.test/shop:job-fails".into();
    world.service("gated", &gated).await;
    world.phase("gated", "RolledBack").await;
    world.until("job", first[0]["metadata"]["name"].as_str().unwrap(), "was cleared away", is_gone).await;
    world.kubectl(&["delete", "psvc", "gated"]).await;
}

/// Drift of each kind.
async fn repairs(world: &World) {
    let revision = settled(world, "shop", &spec("4")).await;
    let own = format!("shop-{revision}");
    for (kind, name) in
        [("service", "shop"), ("serviceaccount", "shop"), ("poddisruptionbudget", &own), ("configmap", &own), ("deployment", &own)]
    {
        let uid = world.get(kind, name).await["metadata"]["uid"].clone();
        if kind == "service" || kind == "deployment" {
            world.plant("capacity");
        }
        world.kubectl(&["delete", kind, name]).await;
        world.until(kind, name, "came back", |object| object.is_object() && object["metadata"]["uid"] != uid).await;
    }
    world.kubectl(&["scale", "deployment", &own, "--replicas=5"]).await;
    world.until("deployment", &own, "was repaired", |deployment| deployment["spec"]["replicas"] == 2).await;
    world.phase("shop", "Stable").await;
}

/// A foreign object under our name, told again and again; a service that cannot be read.
async fn conflicts(world: &World) {
    world.object(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "cart"}})).await;
    world.service("cart", &spec("1")).await;
    for round in 0..2 {
        world
            .until("psvc", "cart", "met a foreign object", |service| service["status"].to_string().contains("ServiceAccount cart exists"))
            .await;
        if round == 0 {
            world.kubectl(&["delete", "serviceaccount", "cart"]).await;
            world.phase("cart", "Stable").await;
            world.kubectl(&["delete", "psvc", "cart"]).await;
            world.until("serviceaccount", "cart", "was collected", is_gone).await;
            world.object(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "cart"}})).await;
            world.service("cart", &spec("1")).await;
        }
    }
    // The same sentence for the same service again: the event is counted up.
    for tag in ["a", "b", "a", "b"] {
        world.service("teller", &spec(tag)).await;
        world
            .until("psvc", "teller", "saw it", |service| service["status"]["observedGeneration"] == service["metadata"]["generation"])
            .await;
    }
    world.phase("teller", "Stable").await;
}

/// Orphans stay, everything else goes.
async fn deletions(world: &World) {
    let mut orphan = spec("1");
    orphan["deletionPolicy"] = "orphan".into();
    let revision = settled(world, "stays", &orphan).await;
    world.kubectl(&["delete", "psvc", "stays", "scaled"]).await;
    world.until("deployment", &format!("stays-{revision}"), "stayed", Value::is_object).await;
}

/// A second replica; the lease is taken from both: both ask for it, one is refused and looks who has it.
async fn election(world: &mut World) {
    let second = world.operator("second").await;
    for _ in 0..5 {
        world.kubectl(&["delete", "lease", "plimsoll"]).await;
        world.until("lease", "plimsoll", "was taken again", Value::is_object).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (_, gracefully) = second.end("TERM").await;
    assert!(gracefully);
    assert!(world.operator.runs());
}
