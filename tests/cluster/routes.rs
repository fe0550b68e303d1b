//! Routes through a real Gateway: Contour tells Envoy what the route says, and Envoy sends requests to pods by that. Traffic needs root, because
//! Envoy has to reach fake pods.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_bed::build::Part;
use plimsoll_bed::{Bed, Options, host};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::harness::{Scenario, is_work, quiet, until};
use crate::world::{World, canary, heard, message};
use crate::{bed, define};

const REQUESTS: u32 = 400;
/// Half of the band in which 99.9 % of all binomial counts lie, in standard deviations.
const DEVIATIONS: f64 = 3.29;
/// On a service while a route is lent to it.
const FINALIZER: &str = "plimsoll.dev/route";
/// Nobody waits longer for something not to happen.
const A_WHILE: Duration = Duration::from_secs(4);

/// A canary of three steps that the bed's Gateway divides; requests go to the port at which fake pods answer.
fn routed(tag: &str, namespace: &str, strategy: Value) -> Value {
    let mut spec = canary(tag);
    spec["replicas"] = 4.into();
    spec["expose"] = json!({"gateway": {"name": "public"}, "hostnames": [format!("{namespace}.example.com")], "port": "metrics"});
    spec["rollout"]["strategy"] = strategy;
    spec
}

fn steps(weights: &[i32]) -> Value {
    let steps: Vec<Value> = weights.iter().map(|weight| json!({"weight": weight, "soakSeconds": 12})).collect();
    json!({"canary": {"router": "gatewayApi", "steps": steps}})
}

/// Percent by Service as the route says it, in each of its rules.
pub fn weights(route: &Value) -> BTreeMap<String, i64> {
    let backends = route["spec"]["rules"][0]["backendRefs"].as_array().into_iter().flatten();
    backends.map(|backend| (backend["name"].as_str().unwrap().to_owned(), backend["weight"].as_i64().unwrap())).collect()
}

fn condition(service: &Value, kind: &str) -> (String, String) {
    let conditions = service["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

/// Sends one request to the host through Envoy; the version that answered.
async fn ask(bed: &Bed, host: &str) -> Result<String, String> {
    ask_for(bed, host, "/", None).await
}

/// The same, for a path with its query, and with a header.
async fn ask_for(bed: &Bed, host: &str, path: &str, header: Option<(&str, &str)>) -> Result<String, String> {
    let address = &bed.gateway().unwrap().address;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
    let request = client.get(format!("http://{address}{path}")).header("Host", host);
    let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let answer = request.send().await.map_err(|error| error.to_string())?;
    match answer.headers().get("x-version") {
        Some(version) if answer.status().is_success() => Ok(version.to_str().unwrap().to_owned()),
        _ => Err(answer.status().to_string()),
    }
}

/// What of so many requests went to each version. The rollout is paused meanwhile: on a busy machine they take longer than a step.
async fn split(world: &World, host: &str) -> BTreeMap<String, u32> {
    world.patch("shop", &json!({"spec": {"control": {"paused": true}}})).await;
    let mut counts = BTreeMap::new();
    for _ in 0..REQUESTS {
        let version = ask(world.bed, host).await.unwrap_or_else(|why| panic!("a request to {host} failed: {why}"));
        *counts.entry(version).or_insert(0) += 1;
    }
    world.patch("shop", &json!({"spec": {"control": {"paused": null}}})).await;
    counts
}

#[tokio::test]
async fn requests_are_divided_as_asked_and_a_good_version_gets_all_of_them() {
    let world = World::new("routes-good").await;
    let host = "routes-good.example.com";
    world.service("shop", &routed("1", "routes-good", steps(&[20, 60]))).await;
    let first = world.phase("shop", "Stable").await;
    let old = first["status"]["stable"]["revision"].as_str().unwrap().to_owned();
    let accepted = |service: &Value| condition(service, "RoutesAccepted").0 == "True";
    world.until("psvc", "shop", "had its route accepted", accepted).await;
    world.service("shop", &routed("2", "routes-good", steps(&[20, 60]))).await;
    for (step, weight) in [(0, 20), (1, 60)] {
        let soaks = |service: &Value| {
            let progress = &service["status"]["rollout"]["progress"];
            progress["step"] == step && progress["stage"] == "Soaking"
        };
        let service = world.until("psvc", "shop", "soaked", soaks).await;
        assert_eq!(service["status"]["candidate"]["weight"], weight, "{service:#}");
        if host::is_root() {
            let counts = split(&world, host).await;
            let asked = f64::from(weight) / 100.0;
            let band = DEVIATIONS * (f64::from(REQUESTS) * asked * (1.0 - asked)).sqrt();
            let got = f64::from(counts.get("2").copied().unwrap_or(0));
            assert!((got - f64::from(REQUESTS) * asked).abs() <= band, "{got} of {REQUESTS} at {weight} percent, the band is ±{band:.0}");
        }
    }
    let bakes = |service: &Value| service["status"]["phase"] == "Baking" && service["status"]["candidate"]["weight"] == 90;
    world.until("psvc", "shop", "baked with a control", bakes).await;
    let service = world.phase("shop", "Stable").await;
    let new = service["status"]["stable"]["revision"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    let alone = [(format!("shop-{new}"), 100)].into();
    world.until("httproute", "shop", "sent everything to the new version", |route| weights(route) == alone).await;
    world.until("service", &format!("shop-{old}"), "was taken away", Value::is_null).await;
    world.until("deployment", &format!("shop-{old}"), "was scaled to 0", |deployment| deployment["spec"]["replicas"] == 0).await;
    if host::is_root() {
        assert_eq!(ask(world.bed, host).await.as_deref(), Ok("2"));
    }
}

/// Somebody who asks again and again, from the first answer on; where there is no root nobody can.
struct Users(Option<Asking>);

/// How many were answered, and what the others heard.
type Asking = (CancellationToken, JoinHandle<(u32, Vec<String>)>);

impl Users {
    async fn begin(bed: &'static Bed, host: &'static str) -> Self {
        if !host::is_root() {
            return Self(None);
        }
        until("somebody answers", async || ask(bed, host).await.ok()).await;
        let over = CancellationToken::new();
        let ended = over.clone();
        let asking = tokio::spawn(async move {
            let (mut answers, mut lost) = (0, Vec::new());
            while !ended.is_cancelled() {
                match ask(bed, host).await {
                    Ok(_) => answers += 1,
                    Err(why) => lost.push(why),
                }
                sleep(Duration::from_millis(20)).await;
            }
            (answers, lost)
        });
        Self(Some((over, asking)))
    }

    /// Everybody was answered.
    async fn end(self) {
        let Some((over, asking)) = self.0 else { return };
        over.cancel();
        let (answers, lost) = asking.await.unwrap();
        // Nobody asks often on a busy machine.
        assert!(lost.is_empty() && answers > 20, "{} of {answers} requests were lost: {lost:?}", lost.len());
    }
}

/// A route that somebody owns: everything goes to the shop, with a header on its way, but carts.
fn users_route(host: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "public-shop", "labels": labels},
        "spec": {
            "parentRefs": [{"namespace": "gateway", "name": "bed"}],
            "hostnames": [host],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-by", "value": "owner"}]}}],
                    "backendRefs": [{"name": "shop", "port": canary("1")["ports"][1]["port"], "weight": 1}],
                },
                {"matches": [{"path": {"type": "PathPrefix", "value": "/cart"}}], "backendRefs": [{"name": "cart", "port": 80, "weight": 7}]},
            ],
        },
    })
}

#[tokio::test]
async fn in_a_route_of_the_users_own_only_weights_move_and_it_is_handed_back() {
    let (world, host) = (World::new("routes-own").await, "routes-own.example.com");
    let strategy = |soak: i32| json!({"canary": {"router": "gatewayApi", "routeRef": {"name": "public-shop"}, "steps": [{"weight": 20, "soakSeconds": soak}]}});
    let spec = |tag: &str, soak: i32| {
        let mut spec = routed(tag, "routes-own", strategy(soak));
        spec.as_object_mut().unwrap().remove("expose");
        spec
    };
    world.object(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}, "spec": {"ports": [{"port": 80}]}})).await;
    world.service("shop", &spec("1", 12)).await;
    world.phase("shop", "Stable").await;
    // Without a route, and while its owner has not agreed, nothing begins, and it is said why.
    world.service("shop", &spec("2", 12)).await;
    let missing = |service: &Value| {
        let message = service["status"]["message"].as_str().unwrap_or_default();
        service["status"]["phase"] == "Blocked"
            && message.contains("there is no HTTPRoute public-shop with the label plimsoll.dev/service=shop")
    };
    world.until("psvc", "shop", "missed the route", missing).await;
    world.object(&users_route(host, &json!({}))).await;
    sleep(A_WHILE).await;
    assert!(missing(&world.get("psvc", "shop").await), "nobody has agreed");
    world.kubectl(&["label", "httproute", "public-shop", "plimsoll.dev/service=shop"]).await;
    let written = world.get("httproute", "public-shop").await["spec"].clone();
    let users = Users::begin(world.bed, host).await;

    let soaks = |service: &Value| service["status"]["rollout"]["progress"]["stage"] == "Soaking";
    let service = world.until("psvc", "shop", "soaked", soaks).await;
    assert_eq!(service["status"]["candidate"]["weight"], 20, "{service:#}");
    let mut during = world.get("httproute", "public-shop").await["spec"].clone();
    let backends = during["rules"][0]["backendRefs"].take();
    let weights: Vec<_> = backends.as_array().unwrap().iter().map(|backend| backend["weight"].as_i64().unwrap()).collect();
    assert_eq!(weights.iter().sum::<i64>(), 100, "{backends:#}");
    let mut others = written.clone();
    others["rules"][0]["backendRefs"].take();
    assert_eq!(during, others, "nothing else was touched");
    assert_eq!(service["metadata"]["finalizers"], json!([FINALIZER]), "it has to be handed back, whatever comes");
    if host::is_root() {
        let counts = split(&world, host).await;
        let got = f64::from(counts.get("2").copied().unwrap_or(0));
        let band = DEVIATIONS * (f64::from(REQUESTS) * 0.2 * 0.8).sqrt();
        assert!((got - f64::from(REQUESTS) * 0.2).abs() <= band, "{got} of {REQUESTS} at 20 percent");
    }
    world.phase("shop", "Stable").await;
    world.until("httproute", "public-shop", "was handed back", |route| route["spec"] == written).await;
    world.until("psvc", "shop", "has nothing to hand back", |service| service["metadata"]["finalizers"].is_null()).await;
    if host::is_root() {
        assert_eq!(ask(world.bed, host).await.as_deref(), Ok("2"));
    }

    // Its owner writes over it in the middle of a step: it is repaired to the step. Aborted, it is theirs again.
    world.service("shop", &spec("3", 600)).await;
    let service = world.until("psvc", "shop", "soaked again", soaks).await;
    world.object(&users_route(host, &json!({"plimsoll.dev/service": "shop"}))).await;
    let divided = |route: &Value| route["spec"]["rules"][0]["backendRefs"].as_array().is_some_and(|backends| backends.len() == 3);
    world.until("httproute", "public-shop", "was repaired to the step", divided).await;
    assert_eq!(world.get("psvc", "shop").await["status"]["rollout"]["progress"]["step"], 0);
    world.patch("shop", &json!({"spec": {"control": {"abort": service["status"]["candidate"]["revision"]}}})).await;
    world.phase("shop", "RolledBack").await;
    world.until("httproute", "public-shop", "was handed back", |route| route["spec"] == written).await;

    // A route that is named no longer is handed back at once, in the middle of a rollout too. Neither this, nor dividing it, promoting, taking back
    // or handing it back before has cost anybody an answer.
    world.service("shop", &spec("4", 600)).await;
    world.until("httproute", "public-shop", "was divided", divided).await;
    world.patch("shop", &json!({"spec": {"rollout": {"strategy": {"canary": {"router": null, "routeRef": null}}}}})).await;
    world.until("httproute", "public-shop", "was handed back", |route| route["spec"] == written).await;
    sleep(2 * A_WHILE).await;
    users.end().await;
}

/// "Everything handed back on deletion": in the middle of a rollout, with an app that goes and with one that stays. With the right to set its finalizer
/// the operator can change nothing else of a service.
#[tokio::test]
async fn a_service_that_is_deleted_hands_the_route_back_first() {
    let (world, host) = (World::new("routes-deleted").await, "routes-deleted.example.com");
    world.object(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}, "spec": {"ports": [{"port": 80}]}})).await;
    world.object(&users_route(host, &json!({"plimsoll.dev/service": "shop"}))).await;
    let written = world.get("httproute", "public-shop").await["spec"].clone();
    for policy in ["delete", "orphan"] {
        let mut spec = routed(
            "1",
            "routes-deleted",
            json!({"canary": {"router": "gatewayApi", "routeRef": {"name": "public-shop"}, "steps": [{"weight": 20, "soakSeconds": 600}]}}),
        );
        spec.as_object_mut().unwrap().remove("expose");
        spec["deletionPolicy"] = policy.into();
        world.service("shop", &spec).await;
        world.phase("shop", "Stable").await;
        spec["image"] = canary("2")["image"].clone();
        world.service("shop", &spec).await;
        let soaks = |service: &Value| service["status"]["rollout"]["progress"]["stage"] == "Soaking";
        world.until("psvc", "shop", "soaked", soaks).await;
        if policy == "delete" {
            only_finalizers(&world).await;
            // The app goes with its service; the route stays.
            world.perhaps("capacity");
        }
        let users = if policy == "orphan" { Users::begin(world.bed, host).await } else { Users(None) };
        world.kubectl(&["delete", "psvc", "shop", "--timeout=30s"]).await;
        let route = world.get("httproute", "public-shop").await;
        assert_eq!(route["spec"], written, "before the service is gone, not after it: {policy}");
        sleep(2 * A_WHILE).await;
        users.end().await;
    }
}

/// What the operator's own account may change of a service.
async fn only_finalizers(world: &World) {
    let kubectl = |patch: &'static str| {
        let namespace = "routes-deleted";
        let user = format!("--as=system:serviceaccount:{namespace}:{namespace}");
        async move { world.bed.kubectl(&["patch", "psvc", "shop", "--namespace", namespace, &user, "--type=merge", "--patch", patch]).await }
    };
    for patch in
        [r#"{"spec":{"image":"evil:1"}}"#, r#"{"metadata":{"labels":{"team":"mine"}}}"#, r#"{"metadata":{"annotations":{"a":"b"}}}"#]
    {
        let refusal = kubectl(patch).await.expect_err("nothing of it is the operator's").to_string();
        assert!(refusal.contains("changes nothing of a ProductionService but its finalizers"), "{patch}: {refusal}");
    }
}

/// The bed's `GatewayClass` lists these features: its controller, which does not look after classes, leaves that to us.
async fn class_lists(world: &World, names: &Value) {
    let features: Vec<Value> = names.as_array().unwrap().iter().map(|name| json!({"name": name})).collect();
    let status = json!({"status": {"supportedFeatures": features}}).to_string();
    world.bed.kubectl(&["patch", "gatewayclass", "contour", "--subresource=status", "--type=merge", "--patch", &status]).await.unwrap();
}

/// The mesh form: the route's parent is the front Service. No mesh runs here: what its controller would report is written by hand, and until then no weight
/// counts.
#[tokio::test]
async fn in_a_mesh_the_front_service_is_the_parent_and_its_report_is_waited_for() {
    let world = World::new("routes-mesh").await;
    let spec = |tag: &str| {
        let mut spec = routed(tag, "routes-mesh", steps(&[20]));
        spec["rollout"]["strategy"]["canary"]["steps"][0]["soakSeconds"] = 2.into();
        spec["expose"] = json!({"mesh": {}, "port": "metrics"});
        spec
    };
    world.service("shop", &spec("1")).await;
    world.phase("shop", "Stable").await;
    let route = world.until("httproute", "shop", "was made", Value::is_object).await;
    let port = canary("1")["ports"][1]["port"].clone();
    assert_eq!(route["spec"]["parentRefs"], json!([{"group": "", "kind": "Service", "name": "shop", "port": port}]));
    world.service("shop", &spec("2")).await;
    let waits = |service: &Value| message(service).contains("Service shop has not taken the route in");
    let service = world.until("psvc", "shop", "waited for the mesh", waits).await;
    assert_eq!(service["status"]["rollout"]["progress"]["stage"], "Shifting");
    let reports = |route: &Value| {
        let condition = |kind: &str| json!({"type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": route["metadata"]["generation"]});
        json!({"status": {"parents": [{"controllerName": "example.com/mesh", "parentRef": route["spec"]["parentRefs"][0], "conditions": [condition("Accepted"), condition("ResolvedRefs")]}]}}).to_string()
    };
    // Each change of the route is reported, until the version is through.
    until("it is promoted", async || {
        let route = world.get("httproute", "shop").await;
        world.kubectl(&["patch", "httproute", "shop", "--subresource=status", "--type=merge", "--patch", &reports(&route)]).await;
        let service = world.get("psvc", "shop").await;
        (service["status"]["phase"] == "Stable" && service["status"]["stable"]["image"] == "example.test/shop:2").then_some(())
    })
    .await;
}

/// Copies go to the candidate, answers come from stable; what no class of Gateways lists is said to be unproven, what routes have no field for is refused.
#[tokio::test]
async fn copies_of_requests_come_before_the_first_weight_and_what_is_not_proven_is_said() {
    let (world, host) = (World::new("routes-mirror").await, "routes-mirror.example.com");
    let mut strategy = steps(&[20]);
    (strategy["canary"]["mirrorPercent"], strategy["canary"]["mirrorSeconds"]) = (100.into(), 600.into());
    let spec = |tag: &str| {
        let mut spec = routed(tag, "routes-mirror", strategy.clone());
        spec["expose"]["timeoutSeconds"] = 5.into();
        spec["resilience"] = json!({"retries": {"attempts": 2, "perTryTimeoutSeconds": 2}});
        spec
    };
    class_lists(&world, &json!([])).await;
    world.service("shop", &spec("mirrored-1")).await;
    world.phase("shop", "Stable").await;
    world.service("shop", &spec("mirrored-2")).await;
    let soaks = |service: &Value| service["status"]["rollout"]["progress"]["stage"] == "Soaking";
    let service = world.until("psvc", "shop", "got copies", soaks).await;
    assert_eq!(service["status"]["candidate"]["weight"], 0, "{service:#}");
    let revision = service["status"]["candidate"]["revision"].as_str().unwrap().to_owned();
    let (holds, message) = condition(&service, "RoutesAccepted");
    let unproven = "not proven: expose.timeoutSeconds, resilience.retries, resilience.retries.perTryTimeoutSeconds, canary.mirrorPercent: GatewayClass contour lists no features";
    assert!(holds == "True" && message.ends_with(unproven), "{holds}: {message}");
    let rule = world.get("httproute", "shop").await["spec"]["rules"][0].clone();
    assert_eq!(rule["retry"], json!({"attempts": 2, "codes": [502, 503, 504]}));
    assert_eq!(rule["timeouts"], json!({"request": "5s", "backendRequest": "2s"}));
    assert_eq!(rule["filters"][0]["requestMirror"]["backendRef"]["name"], format!("shop-{revision}"));
    if host::is_root() {
        for _ in 0..40 {
            assert_eq!(ask_for(world.bed, host, "/copied", None).await.as_deref(), Ok("mirrored-1"), "users get stable's answers");
        }
        until("the candidate hears the copies", async || (heard("mirrored-2") >= 40).then_some(())).await;
    }

    // Another operator looks anew: the class lists some of it by now.
    class_lists(&world, &json!(["HTTPRouteBackendTimeout", "HTTPRouteRequestMirror", "HTTPRouteRequestTimeout"])).await;
    let world = world.killed().await;
    let retries = |service: &Value| {
        condition(service, "RoutesAccepted")
            .1
            .ends_with("not proven: resilience.retries: GatewayClass contour does not list HTTPRouteRetryCodes")
    };
    world.until("psvc", "shop", "said what is not listed", retries).await;

    // Taken back: no more copies, and before that the filter is seen to be gone.
    world.patch("shop", &json!({"spec": {"control": {"abort": revision}}})).await;
    world.phase("shop", "RolledBack").await;
    world.until("httproute", "shop", "copies nothing", |route| route["spec"]["rules"][0]["filters"].is_null()).await;

    // The standard channel has no sessionPersistence: what runs goes on running.
    world.patch("shop", &json!({"spec": {"rollout": {"strategy": {"canary": {"stickiness": {"cookie": "shop"}}}}}})).await;
    let refused = |service: &Value| {
        condition(service, "Accepted")
            .1
            .contains("canary.stickiness: routes of this cluster have no field sessionPersistence; install the experimental channel")
    };
    world.until("psvc", "shop", "refused stickiness", refused).await;
    if host::is_root() {
        assert_eq!(ask(world.bed, host).await.as_deref(), Ok("mirrored-1"));
    }
}

#[tokio::test]
async fn testers_get_the_candidate_by_header_cookie_and_query_until_it_goes_back() {
    let (world, host) = (World::new("routes-match").await, "routes-match.example.com");
    let mut strategy = steps(&[1]);
    strategy["canary"]["steps"][0]["soakSeconds"] = 600.into();
    strategy["canary"]["match"] = json!([
        {"header": {"name": "X-Canary", "exact": "always"}},
        {"cookie": {"name": "canary", "exact": "v2.0"}},
        {"query": {"name": "canary", "exact": "yes"}},
    ]);
    let spec = |tag: &str| {
        let mut spec = routed(tag, "routes-match", strategy.clone());
        spec["expose"]["rules"] = json!([{"path": "/v1"}, {"path": "/v2"}]);
        spec
    };
    world.service("shop", &spec("1")).await;
    world.phase("shop", "Stable").await;
    let route = world.get("httproute", "shop").await;
    assert_eq!(route["spec"]["rules"].as_array().unwrap().len(), 1, "nobody is tested: {route:#}");
    world.service("shop", &spec("2")).await;
    let soaks = |service: &Value| service["status"]["rollout"]["progress"]["stage"] == "Soaking";
    let service = world.until("psvc", "shop", "soaked", soaks).await;
    let revision = service["status"]["candidate"]["revision"].as_str().unwrap();
    if host::is_root() {
        let cases = [
            ("/v1", Some(("x-canary", "always"))),
            ("/v2/orders", Some(("X-CANARY", "always"))),
            ("/v1", Some(("cookie", "canary=v2.0"))),
            ("/v1", Some(("cookie", "session=abc; canary=v2.0; theme=dark"))),
            ("/v2?canary=yes", None),
            ("/v1/orders?page=2&canary=yes", None),
        ];
        for (path, header) in cases {
            for _ in 0..10 {
                assert_eq!(ask_for(world.bed, host, path, header).await.as_deref(), Ok("2"), "{path} {header:?}");
            }
        }
        let others = [
            ("/v1", Some(("x-canary", "sometimes"))),
            ("/v1", Some(("cookie", "other-canary=v2.0"))),
            ("/v1", Some(("cookie", "canary=v2x0"))),
            ("/v1?canary=no", None),
        ];
        for (path, header) in others {
            let mut old = 0;
            for _ in 0..10 {
                old += u32::from(ask_for(world.bed, host, path, header).await.as_deref() == Ok("1"));
            }
            assert!(old >= 5, "{path} {header:?}: only {old} of 10 went to the stable version");
        }
        assert!(ask_for(world.bed, host, "/", Some(("x-canary", "always"))).await.is_err(), "a path that is not exposed");
    }
    world.patch("shop", &json!({"spec": {"control": {"abort": revision}}})).await;
    world.phase("shop", "RolledBack").await;
    world
        .until("httproute", "shop", "knew no testers", |route| route["spec"]["rules"].as_array().is_some_and(|rules| rules.len() == 1))
        .await;
    if host::is_root() {
        assert_eq!(ask_for(world.bed, host, "/v1", Some(("x-canary", "always"))).await.as_deref(), Ok("1"));
    }
}

#[tokio::test]
async fn an_abort_is_one_write_of_a_weight_and_the_pods_go_after_the_report() {
    let world = World::new("routes-abort").await;
    world.service("shop", &routed("1", "routes-abort", steps(&[50]))).await;
    let first = world.phase("shop", "Stable").await;
    let old = first["status"]["stable"]["revision"].as_str().unwrap().to_owned();
    let mut next = routed("2", "routes-abort", json!({"canary": {"router": "gatewayApi", "steps": [{"weight": 50, "soakSeconds": 600}]}}));
    next["expose"]["drainSeconds"] = 3.into();
    world.service("shop", &next).await;
    let soaks = |service: &Value| service["status"]["rollout"]["progress"]["stage"] == "Soaking";
    let service = world.until("psvc", "shop", "soaked", soaks).await;
    let new = service["status"]["candidate"]["revision"].as_str().unwrap().to_owned();

    // Somebody changes the weight behind the operator's back: it is put back to the step's, and the step goes on.
    let both: BTreeMap<String, i64> = [(format!("shop-{old}"), 50), (format!("shop-{new}"), 50)].into();
    // By name, since that is how the backends stand there.
    let index = both.keys().position(|name| *name == format!("shop-{new}")).unwrap();
    let path = format!("/spec/rules/0/backendRefs/{index}/weight");
    let patch = json!([{"op": "replace", "path": path, "value": 30}]).to_string();
    world.kubectl(&["patch", "httproute", "shop", "--type=json", "--patch", &patch]).await;
    world.until("httproute", "shop", "was repaired to the step's weights", |route| weights(route) == both).await;

    world.patch("shop", &json!({"spec": {"control": {"abort": new}}})).await;
    let back: BTreeMap<String, i64> = [(format!("shop-{old}"), 100), (format!("shop-{new}"), 0)].into();
    world.until("httproute", "shop", "sent everything back", |route| weights(route) == back).await;
    let service = world.phase("shop", "RolledBack").await;
    assert!(service["status"]["message"].as_str().unwrap().starts_with("rolled back at 50%: "), "{}", service["status"]["message"]);
    // The auditor of every scenario has seen that the pods went three seconds after the report, not before.
    world.until("deployment", &format!("shop-{new}"), "was taken away", Value::is_null).await;
    world.until("service", &format!("shop-{new}"), "was taken away", Value::is_null).await;
}

#[tokio::test]
async fn blue_and_green_are_switched_by_weights() {
    let world = World::new("routes-blue-green").await;
    let preview = "preview.routes-blue-green.example.com";
    let strategy = json!({"blueGreen": {"soakSeconds": 12, "preview": {"hostname": preview}}});
    let spec = |tag: &str| routed(tag, "routes-blue-green", strategy.clone());
    world.service("shop", &spec("1")).await;
    let old = world.phase("shop", "Stable").await["status"]["stable"]["revision"].as_str().unwrap().to_owned();
    world.service("shop", &spec("2")).await;
    let previewed = |service: &Value| service["spec"]["selector"]["plimsoll.dev/revision"].is_string();
    world.until("service", "shop-preview", "led to the new version", previewed).await;
    let none = |route: &Value| weights(route).get(&format!("shop-{old}")) == Some(&100) && weights(route).len() == 2;
    world.until("httproute", "shop", "knew the new version, and sent it nothing", none).await;
    if host::is_root() {
        assert_eq!(ask(world.bed, "routes-blue-green.example.com").await.as_deref(), Ok("1"));
        // From outside as well, under a name of its own.
        assert_eq!(until("the preview answers", async || ask(world.bed, preview).await.ok()).await, "2");
        assert_eq!(ask(world.bed, "routes-blue-green.example.com").await.as_deref(), Ok("1"));
    }
    let service = world.phase("shop", "Stable").await;
    world.until("httproute", "shop-preview", "was taken away", Value::is_null).await;
    let new = service["status"]["stable"]["revision"].as_str().unwrap();
    assert_ne!(new, old);
    world.until("service", "shop-preview", "was taken away", Value::is_null).await;
    if host::is_root() {
        assert_eq!(ask(world.bed, "routes-blue-green.example.com").await.as_deref(), Ok("2"));
    }
}

#[tokio::test]
async fn a_gateway_that_does_not_take_the_route_is_named_and_nothing_is_assumed() {
    let world = World::new("routes-unaccepted").await;
    let mut spec = routed("1", "routes-unaccepted", steps(&[50]));
    spec["expose"]["gateway"]["name"] = "nowhere".into();
    spec["rollout"]["progressDeadlineSeconds"] = 10.into();
    world.service("shop", &spec).await;
    // The first version serves all the same.
    let service = world.phase("shop", "Stable").await;
    let old = service["status"]["stable"]["revision"].clone();
    let refused = (String::from("False"), String::from("Gateway nowhere has not taken the route in"));
    world.until("psvc", "shop", "said so", |service| condition(service, "RoutesAccepted") == refused).await;
    world.patch("shop", &json!({"spec": {"image": "example.test/shop:2"}})).await;
    // Taken back; and its pods are not taken from a Gateway that may still send them something, which people are told.
    let service = world.phase("shop", "Blocked").await;
    let message = service["status"]["message"].as_str().unwrap();
    assert!(
        message.contains("HTTPRoute shop did not give it its share within 10 s: Gateway nowhere has not taken the route in"),
        "{message}"
    );
    assert_eq!(service["status"]["stable"]["revision"], old);
    assert_eq!(condition(&service, "Stalled").0, "True");
    let waits = |service: &Value| service["status"]["message"].as_str().unwrap_or_default().contains("no pod is taken away yet");
    world.until("psvc", "shop", "told of the pods that stay", waits).await;
    let candidate = service["status"]["candidate"]["revision"].as_str().unwrap().to_owned();
    let back = [(format!("shop-{candidate}"), 0), (format!("shop-{}", old.as_str().unwrap()), 100)].into();
    assert_eq!(weights(&world.get("httproute", "shop").await), back);
    // The Gateway is named rightly at last: it reports, and the pods go.
    world.patch("shop", &json!({"spec": {"expose": {"gateway": {"name": "public"}}}})).await;
    world.until("deployment", &format!("shop-{candidate}"), "was taken away", Value::is_null).await;
    world.phase("shop", "RolledBack").await;
}

#[tokio::test]
async fn without_the_gateway_api_everything_else_works_and_it_is_picked_up_when_it_comes() {
    let bed: &'static Bed = Box::leak(Box::new(Bed::start(Options { fake_nodes: 1, ..Options::default() }).await.expect("a bed")));
    define(bed).await;
    let world = World::of(Scenario::everywhere(bed, "routes-none").await).await;
    let mut spec = routed("1", "routes-none", steps(&[50]));
    spec.as_object_mut().unwrap().remove("objectives");
    world.service("shop", &spec).await;
    let service = world.phase("shop", "Stable").await;
    let (accepted, message) = condition(&service, "RoutesAccepted");
    assert_eq!(accepted, "False");
    assert!(message.contains("the cluster has no Gateway API"), "{message}");
    spec["image"] = "example.test/shop:2".into();
    world.service("shop", &spec).await;
    let blocked = world.phase("shop", "Blocked").await;
    assert!(blocked["status"]["message"].as_str().unwrap().contains("install its CRDs"), "{}", blocked["status"]["message"]);
    assert!(blocked["status"]["candidate"].is_null(), "nothing has begun");

    let definitions = Part::Gateway.program("gateway-api.yaml").expect("the Gateway API's definitions");
    bed.kubectl(&["apply", "--server-side", "--filename", definitions.to_str().unwrap()]).await.expect("they are installed");
    world.until("psvc", "shop", "began its rollout", |service| service["status"]["candidate"].is_object()).await;
    world.until("httproute", "shop", "was made", Value::is_object).await;
    // Nobody works by routes here: the rollout waits for a Gateway that does not exist, and goes nowhere.
    let asked = |service: &Value| service["status"]["rollout"]["progress"]["weight"] == 50;
    let service = world.until("psvc", "shop", "asked for its weight", asked).await;
    assert_eq!(service["status"]["rollout"]["progress"]["stage"], "Shifting");
    sleep(A_WHILE).await;
    assert_eq!(world.get("psvc", "shop").await["status"]["rollout"]["progress"]["stage"], "Shifting");

    // A field of the experimental channel is refused until that is installed; then the rollout begins anew with it.
    world.patch("shop", &json!({"spec": {"rollout": {"strategy": {"canary": {"stickiness": {"cookie": "shop"}}}}}})).await;
    let refused =
        |service: &Value| condition(service, "Accepted").1.contains("no field sessionPersistence; install the experimental channel");
    world.until("psvc", "shop", "refused stickiness", refused).await;
    for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        world.kubectl(&["delete", kind, "safe-upgrades.gateway.networking.k8s.io"]).await;
    }
    let experimental = Part::Gateway.program("experimental-routes.yaml").expect("routes of the experimental channel");
    let install = ["apply", "--server-side", "--filename", experimental.to_str().unwrap()];
    // The policy is asked for a moment longer.
    until("they are installed", async || bed.kubectl(&install).await.ok()).await;
    let sticky = |route: &Value| route["spec"]["rules"][0]["sessionPersistence"]["cookie"]["name"] == "shop";
    world.until("httproute", "shop", "had the cookie", sticky).await;
}

#[tokio::test]
async fn a_settled_route_costs_nothing() {
    let world = World::new("routes-silent").await;
    world.service("shop", &routed("1", "routes-silent", steps(&[50]))).await;
    world.phase("shop", "Stable").await;
    let accepted = |service: &Value| condition(service, "RoutesAccepted").0 == "True";
    world.until("psvc", "shop", "had its route accepted", accepted).await;
    let user = world.user();
    quiet(bed().await, &user).await;
    let mut audit = bed().await.audit().unwrap();
    sleep(Duration::from_secs(20)).await;
    let loud: Vec<_> = audit.read().unwrap().into_iter().filter(|request| is_work(request, &user)).collect();
    assert!(loud.is_empty(), "{loud:#?}");
}
