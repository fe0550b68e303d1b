//! What a settled cluster costs its API server: watches, and the leader's lease.
//!
//! Peers, 1 000 objects: Argo Rollouts 146 MiB and 32 calls a minute, all for its lease; Flagger 9 reads per object and minute.
//! `PLIMSOLL_SERVICES=1000` settles so many services instead of 200.

use std::fmt::Write as _;
use std::time::Duration;

use plimsoll_bed::audit::{self, Request};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::harness::{PATIENCE, Scenario, quiet};
use crate::quiet_bed;

/// How long nothing is written.
const WINDOW: Duration = Duration::from_secs(120);

/// Issue: "A settled cluster of 200 services: 0 writes and no reads but watches over two minutes aside from the leader's lease (≤ 6 renewals a
/// minute; the other replica watches it), shown by the API server's audit log."
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how many services is asked of whoever runs the test")]
async fn a_settled_cluster_hears_nothing_but_the_lease() {
    let services = std::env::var("PLIMSOLL_SERVICES").map_or(200, |count| count.parse().expect("a number"));
    let (bed, _turn) = quiet_bed().await;
    // Services that another test left here would be looked after, too.
    bed.kubectl(&["delete", "productionservices", "--all", "--all-namespaces"]).await.expect("an empty cluster");
    let scenario = Scenario::everywhere(bed, "silence").await;
    let leader = scenario.operator("a").await;
    leader.leads().await;
    let empty = leader.memory("RssAnon");
    let follower = scenario.operator("b").await;
    let began = Instant::now();
    scenario.apply(&many(services)).await;
    settled(&scenario, services, began).await;
    let took = began.elapsed();
    quiet(bed, &scenario.user()).await;

    let mut audit = bed.audit().unwrap();
    let began = Instant::now();
    sleep(WINDOW).await;
    let window = began.elapsed();
    let requests = audit.read().unwrap();
    let ours: Vec<Request> = requests.iter().filter(|request| request.user == scenario.user()).cloned().collect();
    let (renewals, rest): (Vec<_>, Vec<_>) = ours.into_iter().partition(|request| request.resource == "leases" && request.verb == "update");
    println!("{services} services settled in {:.0} s; then in {} s:", took.as_secs_f64(), WINDOW.as_secs());
    for ((user, verb, resource), count) in audit::count(&requests) {
        if user == scenario.user() {
            println!("  {count:>4} {verb} {resource}");
        }
    }
    for (name, operator) in [("leader", &leader), ("other replica", &follower)] {
        println!(
            "  {name}: {} KiB resident, {} KiB of them its own (without services {empty} KiB)",
            operator.memory("VmRSS"),
            operator.memory("RssAnon")
        );
    }
    let noise: Vec<_> = rest.iter().filter(|request| !goes_on(request)).collect();
    assert!(noise.is_empty(), "{noise:#?}");
    // At most six a minute; and the log does show what is ours.
    let most = window.as_secs() / 10 + 1;
    assert!((1..=most).contains(&(renewals.len() as u64)), "{} renewals in {} s", renewals.len(), window.as_secs());
}

/// A watch that goes on where it was. One that asks for what there is already would be a list by another name.
fn goes_on(request: &Request) -> bool {
    let version = request.uri.split(['?', '&']).find_map(|part| part.strip_prefix("resourceVersion=")).unwrap_or_default();
    request.verb == "watch" && !request.uri.contains("sendInitialEvents=true") && !matches!(version, "" | "0")
}

fn many(services: usize) -> String {
    let mut yaml = String::new();
    for index in 0..services {
        write!(
            yaml,
            "---\napiVersion: plimsoll.dev/v1alpha1\nkind: ProductionService\nmetadata: {{name: shop-{index:04}}}\n\
             spec: {{image: 'example.test/shop:1', replicas: 1, ports: [{{name: http, port: 8080}}]}}\n"
        )
        .unwrap();
    }
    yaml
}

async fn settled(scenario: &Scenario, services: usize, began: Instant) {
    // The controller manager of the bed makes about 20 writes a second for each kind.
    let patience = PATIENCE + Duration::from_secs(services as u64);
    loop {
        let list = scenario.objects.list("psvc", "").await;
        let mut unsettled = list.iter().filter(|service| service["status"]["phase"] != "Stable").peekable();
        let first = unsettled.peek().map_or(Value::Null, |service| service["status"].clone());
        let stable = list.len() - unsettled.count();
        if stable == services {
            return;
        }
        assert!(began.elapsed() < patience, "only {stable} of {services} services are stable: {first}");
        sleep(Duration::from_secs(2)).await;
    }
}
