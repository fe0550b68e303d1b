//! The operator as a program: what it repairs, what it leaves alone, and what happens when it goes away.

use std::time::Duration;

use jiff::Timestamp;
use plimsoll_bed::audit::Request;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::harness::{Scenario, quiet, until};

fn service(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: plimsoll.dev/v1alpha1\nkind: ProductionService\nmetadata: {{name: {name}}}\n\
         spec:\n  image: example.test/app:{image}\n  replicas: 2\n  ports: [{{name: http, port: 8080}}]\n{more}"
    )
}

/// Issue: "watches (no polling where a watch can tell)", "Settled = silent: 0 writes and no reads but watches".
#[tokio::test]
async fn a_settled_service_costs_nothing_but_watches_and_the_lease() {
    let scenario = Scenario::new("operator-silence").await;
    let operator = scenario.operator("a").await;
    scenario.apply(&service("cart", "1", "")).await;
    scenario.stable("cart").await;
    quiet(scenario.bed, &scenario.user()).await;
    let mut audit = scenario.bed.audit().unwrap();
    let began = Instant::now();
    sleep(Duration::from_secs(40)).await;
    let most = began.elapsed().as_secs() / 10 + 1;
    let requests: Vec<Request> = audit.read().unwrap().into_iter().filter(|request| request.user == scenario.user()).collect();
    let (lease, rest): (Vec<_>, Vec<_>) =
        requests.into_iter().partition(|request| request.resource == "leases" && request.verb == "update");
    let noise: Vec<_> = rest.iter().filter(|request| request.verb != "watch").collect();
    assert!(noise.is_empty(), "{noise:#?}");
    let renewals = lease.len() as u64;
    assert!((1..=most).contains(&renewals), "the audit log sees the operator, which renews at most six times a minute: {renewals}");
    drop(operator);
}

/// Issue: "Drift is repaired".
#[tokio::test]
async fn drift_is_repaired_and_what_others_added_stays() {
    let scenario = Scenario::new("operator-drift").await;
    let operator = scenario.operator("a").await;
    scenario.apply(&service("cart", "1", "")).await;
    let stable = scenario.stable("cart").await;
    let deployment = format!("cart-{}", stable["status"]["stable"]["revision"].as_str().unwrap());
    let selector = scenario.get("service", "cart").await.unwrap()["spec"]["selector"].clone();
    scenario.kubectl(&["annotate", "service", "cart", "team.example/note=ours"]).await;
    scenario.plant("routing");
    scenario.kubectl(&["patch", "service", "cart", "--type=merge", "--patch", r#"{"spec":{"selector":{"app":"other"}}}"#]).await;
    let repaired = scenario.object_until("service", "cart", "the selector is back", |object| object["spec"]["selector"] == selector).await;
    assert_eq!(repaired["metadata"]["annotations"]["team.example/note"], "ours");
    scenario.plant("capacity");
    scenario.kubectl(&["scale", "deployment", &deployment, "--replicas=0"]).await;
    let before = scenario
        .object_until("deployment", &deployment, "the pods are back", |object| {
            // Its status lags behind: it may still count the pods from before.
            let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            seen && object["spec"]["replicas"] == 2 && object["status"]["readyReplicas"] == 2
        })
        .await;
    scenario.plant("capacity");
    scenario.kubectl(&["delete", "deployment", &deployment]).await;
    let again = scenario
        .object_until("deployment", &deployment, "the deployment is back", |object| object["metadata"]["uid"] != before["metadata"]["uid"])
        .await;
    assert_eq!(again["spec"]["template"], before["spec"]["template"], "made from the revision's record");
    scenario.kubectl(&["label", "service", "cart", "plimsoll.dev/service-"]).await;
    scenario
        .object_until("service", "cart", "the label is back", |object| object["metadata"]["labels"]["plimsoll.dev/service"] == "cart")
        .await;
    drop(operator);
}

/// Issue: "foreign objects with our names are never touched (`Stalled/NameConflict`, said in an event and in `status`)".
#[tokio::test]
async fn a_foreign_object_is_left_alone_until_it_goes_or_is_handed_over() {
    let scenario = Scenario::new("operator-conflict").await;
    for name in ["cart", "shop"] {
        let foreign = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  selector: {{app: legacy}}\n  ports: [{{name: http, port: 8080}}]\n"
        );
        scenario.apply(&foreign).await;
    }
    let before = scenario.get("service", "cart").await.unwrap();
    let operator = scenario.operator("a").await;
    scenario.apply(&service("cart", "1", "")).await;
    scenario.apply(&service("shop", "1", "")).await;
    let stalled =
        |service: &Value| condition(service, "Stalled").is_some_and(|found| found["status"] == "True" && found["reason"] == "NameConflict");
    for name in ["cart", "shop"] {
        scenario.service_until(name, "the conflict is in status", stalled).await;
        until("the conflict is an event", async || {
            let events =
                scenario.kubectl(&["get", "events", "--field-selector", &format!("involvedObject.name={name}"), "--output=json"]).await;
            events.contains("was not made by plimsoll").then_some(())
        })
        .await;
    }
    sleep(Duration::from_secs(3)).await;
    assert_eq!(scenario.get("service", "cart").await.unwrap(), before, "untouched");
    scenario.kubectl(&["delete", "service", "cart"]).await;
    scenario.stable("cart").await;
    scenario.kubectl(&["annotate", "service", "shop", "plimsoll.dev/adopt=shop"]).await;
    scenario.stable("shop").await;
    scenario
        .object_until("service", "shop", "it was adopted", |adopted| adopted["metadata"]["labels"]["plimsoll.dev/service"] == "shop")
        .await;
    drop(operator);
}

/// Issue: "undecodable objects skipped and reported"; "one object harms only itself".
#[tokio::test]
async fn an_object_that_cannot_be_read_is_reported_and_harms_nobody() {
    let scenario = Scenario::new("operator-undecodable").await;
    scenario.apply(&service("broken", "1", "")).await;
    // The API server's check of `date-time` lets this offset through; no calendar knows it.
    let status = r#"{"status":{"quarantined":[{"revision":"0123456789","attempt":1,"at":"2026-01-01T00:00:00+99:99","reason":"x"}]}}"#;
    scenario.kubectl(&["patch", "productionservice", "broken", "--subresource=status", "--type=merge", "--patch", status]).await;
    let broken = scenario.get("productionservice", "broken").await.unwrap();
    let operator = scenario.operator("a").await;
    scenario.apply(&service("cart", "1", "")).await;
    scenario.stable("cart").await;
    assert_eq!(scenario.get("productionservice", "broken").await.unwrap(), broken, "left alone");
    assert!(scenario.get("service", "broken").await.is_none(), "left alone");
    assert_eq!(operator.metric("plimsoll_undecodable_objects").await, Some(1.0));
    until("it is an event", async || {
        let events = scenario.kubectl(&["get", "events", "--field-selector", "involvedObject.name=broken", "--output=json"]).await;
        events.contains("Undecodable").then_some(())
    })
    .await;
    scenario
        .kubectl(&[
            "patch",
            "productionservice",
            "broken",
            "--subresource=status",
            "--type=merge",
            "--patch",
            r#"{"status":{"quarantined":null}}"#,
        ])
        .await;
    scenario.stable("broken").await;
}

/// Issue: "Lease election handing over within a second on SIGTERM, graceful stop".
#[tokio::test]
async fn on_sigterm_the_other_replica_leads_within_a_second() {
    let scenario = Scenario::new("operator-lease").await;
    let mut leader = scenario.operator("a").await;
    leader.leads().await;
    let mut follower = scenario.operator("b").await;
    assert_eq!(follower.metric("plimsoll_leader").await, Some(0.0), "one leads");
    scenario.apply(&service("cart", "1", "")).await;
    scenario.stable("cart").await;
    assert_eq!(follower.metric("plimsoll_writes_total{kind=\"Service\",verb=\"apply\"}").await, None, "the other one looks on");
    let mut gaps = Vec::new();
    // A busy machine may be late once; an operator that only looks now and then would be late each time.
    for next in ["c", "d", "e"] {
        let before = lease(&scenario).await;
        let mut audit = scenario.bed.audit().unwrap();
        let (took, gracefully) = leader.end("TERM").await;
        assert!(gracefully && took < Duration::from_secs(30), "{took:?}");
        follower.leads().await;
        assert_ne!(before["holderIdentity"], lease(&scenario).await["holderIdentity"]);
        gaps.push(gap(&audit.read().unwrap(), &scenario.user()));
        leader = follower;
        if gaps.last().is_some_and(|gap| *gap <= 1000) {
            break;
        }
        follower = scenario.operator(next).await;
    }
    assert!(gaps.last().is_some_and(|gap| *gap <= 1000), "milliseconds without a leader: {gaps:?}");
    scenario.plant("capacity");
    scenario.kubectl(&["delete", "service", "cart"]).await;
    scenario.object_until("service", "cart", "the new leader works", |_| true).await;
    drop(leader);
}

/// Issue: "after kill -9 no step is skipped and none starts over".
#[tokio::test]
async fn after_kill_9_a_rollout_goes_on_where_it_was() {
    let scenario = Scenario::new("operator-kill").await;
    let canary =
        "  rollout: {strategy: {canary: {steps: [{weight: 34, soakSeconds: 60}, {weight: 50, soakSeconds: 5}]}}, bakeSeconds: 5}\n";
    let operator = scenario.operator("a").await;
    scenario.apply(&service("cart", "1", canary)).await;
    scenario.stable("cart").await;
    scenario.apply(&service("cart", "2", canary)).await;
    let soaking = |service: &Value| progress(service)["stage"] == "Soaking" && progress(service)["step"] == 0;
    let before = scenario.service_until("cart", "the first step is watched", soaking).await;
    let (_, gracefully) = operator.end("KILL").await;
    assert!(!gracefully);
    let operator = scenario.operator("a").await;
    operator.leads().await;
    sleep(Duration::from_secs(2)).await;
    let after = scenario.get("productionservice", "cart").await.unwrap();
    for field in ["id", "started", "step", "weightSince"] {
        assert_eq!(progress(&after)[field], progress(&before)[field], "{field}");
    }
    scenario.service_until("cart", "the second step", |service| progress(service)["step"] == 1).await;
    let promoted = scenario.stable("cart").await;
    assert!(promoted["status"]["rollout"]["last"]["promoted"] == true, "{}", promoted["status"]["message"]);
}

/// The namespaces that are not served are not looked at, let alone written to.
#[tokio::test]
async fn only_the_namespaces_named_are_served() {
    let scenario = Scenario::new("operator-served").await;
    let other = crate::bed_with_namespace("operator-not-served").await;
    let operator = scenario.operator("a").await;
    other.kubectl_with_input(&["--namespace=operator-not-served", "apply", "--filename=-"], &service("cart", "1", "")).await.unwrap();
    scenario.apply(&service("cart", "1", "")).await;
    scenario.stable("cart").await;
    let text =
        other.kubectl(&["--namespace=operator-not-served", "get", "productionservice,deployment,service", "--output=json"]).await.unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "the service and nothing made of it: {list:#}");
    assert!(!operator.log().contains("watch interrupted"), "no right was missing:\n{}", operator.log());
}

/// Milliseconds between the last two writes of the lease: given up, taken.
fn gap(requests: &[Request], user: &str) -> i128 {
    let is_write =
        |request: &&Request| request.user == user && request.resource == "leases" && request.verb == "update" && request.code == 200;
    let writes: Vec<Timestamp> = requests.iter().filter(is_write).map(|request| request.received.parse().unwrap()).collect();
    let [.., given_up, taken] = writes[..] else { panic!("two writes of the lease: {writes:?}") };
    taken.duration_since(given_up).as_millis()
}

fn progress(service: &Value) -> &Value {
    &service["status"]["rollout"]["progress"]
}

fn condition<'a>(service: &'a Value, kind: &str) -> Option<&'a Value> {
    service["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

async fn lease(scenario: &Scenario) -> Value {
    scenario.get("lease", "plimsoll").await.expect("the lease")["spec"].clone()
}
