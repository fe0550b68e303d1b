//! What deciding costs for many services: `make bench`. It prints; nothing passes or fails by a duration.
//!
//! Settled services are what an operator sees most. Each round decides once for every one of them, as after a restart. What matters are the
//! ratios: per service it must not cost more with 1 000 services than with 200, and settled must mean silent. A rollout's decision takes in a
//! round of metrics, judges it and grows with its pods; a page is parsed at most once per pod and interval.

#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan as _};
use plimsoll::api::status::Stage;
use plimsoll::api::{ProductionService, ProductionServiceSpec};
use plimsoll::decide::analysis::{Counters, PodSample, PodState, Scrape, Source, convention};
use plimsoll::decide::{Child, Kind, Measurements, Pod, Record, Snapshot, Write, decide};

const SPEC: &str = r#"{"image": "registry.example/shop:1", "replicas": 3, "ports": [{"name": "http", "port": 8080}],
    "objectives": [{"name": "availability", "errorRate": {"atMost": "1%"}}], "network": {"policy": "isolated"},
    "scaling": {"maxReplicas": 9, "metrics": [{"pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "100"}}}]}}"#;
const PAGE: &str = "# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\"} 1000\nhttp_requests_total{code=\"500\"} 0\n";
const ROUNDS: u32 = 5;

fn main() {
    let now = Timestamp::constant(1_767_225_600, 0);
    let before = resident();
    let first = measured("decide() for 200 settled services", 200, before, now);
    let second = measured("decide() for 1 000 settled services", 1000, before, now);
    println!("1 000 against 200, per service: {:.2} times the time", second.as_secs_f64() / first.as_secs_f64());
    let one = settled("shop", now);
    let status = serde_json::to_string(&one.service).unwrap();
    let parsed = timed(|| {
        let _: ProductionService = serde_json::from_str(&status).unwrap();
    });
    println!("decide() against parsing the service's own JSON: {:.1} times the time", second.as_secs_f64() / parsed.as_secs_f64());

    let few = rollout(10, now);
    let many = rollout(100, now);
    println!(
        "a rollout's decision against a settled one: {:.1} times the time with 10 replicas, {:.1} with 100",
        few / second.as_secs_f64(),
        many / second.as_secs_f64()
    );
    at_once(500, now);
    let page = format!("{PAGE}{}", "# HELP process_other A metric that is none of ours.\nprocess_other{kind=\"a\"} 1\n".repeat(13_000));
    let read = timed(|| assert!(convention::read(page.as_bytes(), "text/plain", &convention::Reading::default()).is_ok()));
    let mebibytes = page.len() as f64 / f64::from(1 << 20);
    println!(
        "a metrics page: {:.0?} per MiB, {:.1} settled decisions",
        read.div_f64(mebibytes),
        read.as_secs_f64() / mebibytes / second.as_secs_f64()
    );
}

/// A rollout in the middle of a step, and the moment at which its next round of metrics comes.
fn soaking(replicas: i32, now: Timestamp) -> (Snapshot, Timestamp) {
    let mut snapshot = settled("shop", now);
    snapshot.service.spec.replicas = Some(replicas);
    snapshot.service.spec.image = "registry.example/shop:2".into();
    let is_soaking = |snapshot: &Snapshot| {
        let memory = snapshot.service.status.as_ref().and_then(|status| status.rollout.as_ref());
        memory.and_then(|memory| memory.progress.as_ref()).is_some_and(|progress| progress.stage == Stage::Soaking)
    };
    let mut at = now;
    // To the first step, and three rounds of metrics into it.
    let mut rounds = 0;
    while rounds < 3 {
        at += 5.seconds();
        assert!(at < now + 600.seconds(), "no step was reached");
        rounds += u32::from(is_soaking(&snapshot));
        let measurements = if is_soaking(&snapshot) { scrape(&snapshot, at, now).into() } else { Measurements::default() };
        let decision = decide(&snapshot, &measurements, at);
        snapshot.service.status = Some(decision.status);
        snapshot.judge = decision.judge;
        decision.writes.into_iter().for_each(|write| carry_out(&mut snapshot, write, now));
    }
    (snapshot, at + 5.seconds())
}

/// Seconds of one decision that takes in a round of metrics.
fn rollout(replicas: i32, now: Timestamp) -> f64 {
    let (snapshot, at) = soaking(replicas, now);
    let measurements = scrape(&snapshot, at, now).into();
    let each = timed(|| assert!(decide(&snapshot, &measurements, at).judge.is_some()));
    println!("decide() in a rollout with a round of metrics of {} pods: {each:.0?}", snapshot.pods.len());
    each.as_secs_f64()
}

/// Many rollouts at once, each judged every five seconds: what that takes of one core, and of memory.
fn at_once(rollouts: usize, now: Timestamp) {
    let (snapshot, at) = soaking(10, now);
    let measurements = scrape(&snapshot, at, now).into();
    let before = resident();
    let snapshots: Vec<Snapshot> = (0..rollouts).map(|_| snapshot.clone()).collect();
    let held = resident().saturating_sub(before);
    let round = timed(|| snapshots.iter().for_each(|snapshot| assert!(decide(snapshot, &measurements, at).judge.is_some())));
    println!(
        "{rollouts} rollouts of {} pods at once, blocks of 5 s: {:.1}% of one core; judges, pods and objects hold {} MiB",
        snapshot.pods.len(),
        100.0 * round.as_secs_f64() / 5.0,
        held / 1024
    );
}

/// Every pod answers: ten requests a second, all of them well.
fn scrape(snapshot: &Snapshot, at: Timestamp, begun: Timestamp) -> Scrape {
    let count = 10 * u64::try_from(at.duration_since(begun).as_secs()).unwrap();
    let counters =
        Counters { source: Some(Source::RequestsTotal), by_status: BTreeMap::from([(200, count), (500, 0)]), ..Counters::default() };
    let samples = snapshot.pods.iter().map(|pod| PodSample {
        pod: pod.state.pod.clone(),
        revision: pod.state.revision.clone(),
        at,
        started: pod.started,
        ready_since: pod.state.ready_since,
        counters: counters.clone(),
    });
    Scrape { at, samples: samples.collect(), silent: Vec::new() }
}

/// Time of one decision among `count` services.
fn measured(what: &str, count: usize, before: u64, now: Timestamp) -> Duration {
    let services: Vec<Snapshot> = (0..count).map(|index| settled(&format!("shop-{index}"), now)).collect();
    let held = resident().saturating_sub(before);
    let mut writes = 0;
    let round =
        timed(|| writes += services.iter().map(|service| decide(service, &Measurements::default(), now).writes.len()).sum::<usize>());
    let each = round / u32::try_from(count).unwrap();
    println!("{what}: {round:.0?} a round, {each:.0?} each, {writes} writes; the snapshots hold {} MiB", held / 1024);
    each
}

/// The shortest of a few rounds: what disturbs only ever adds.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn timed(mut round: impl FnMut()) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let begun = Instant::now();
        round();
        begun.elapsed()
    });
    times.min().unwrap()
}

/// Memory of this program in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok()).unwrap_or_default()
}

/// A service that has come to rest in a cluster where everything that is written is so at once.
fn settled(name: &str, now: Timestamp) -> Snapshot {
    let spec: ProductionServiceSpec = serde_json::from_str(SPEC).unwrap();
    let mut service = ProductionService::new(name, spec);
    service.metadata.namespace = Some("web".into());
    service.metadata.uid = Some(format!("uid-of-{name}"));
    service.metadata.generation = Some(1);
    let mut snapshot = Snapshot::of(service);
    for _ in 0..20 {
        let decision = decide(&snapshot, &Measurements::default(), now);
        let silent = decision.writes.is_empty() && snapshot.service.status.as_ref() == Some(&decision.status);
        snapshot.service.status = Some(decision.status);
        if silent {
            return snapshot;
        }
        decision.writes.into_iter().for_each(|write| carry_out(&mut snapshot, write, now));
    }
    unreachable!("{name} does not come to rest")
}

fn carry_out(snapshot: &mut Snapshot, write: Write, now: Timestamp) {
    match write {
        Write::Create { key, mut body } | Write::Apply { key, mut body, .. } => {
            let revision = body["metadata"]["labels"]["plimsoll.dev/revision"].as_str().unwrap_or_default().to_owned();
            match key.kind {
                Kind::ConfigMap => {
                    snapshot.records.insert(revision, Record::from_config_map(&body).unwrap());
                    body.as_object_mut().unwrap().retain(|field, _| field == "metadata");
                }
                Kind::Deployment => {
                    let replicas = body["spec"]["replicas"].as_i64().unwrap_or_default();
                    snapshot.pods.retain(|pod| pod.state.revision != revision);
                    snapshot.pods.extend((0..replicas).map(|index| pod(&revision, index, now)));
                }
                _ => {}
            }
            let child = Child { uid: format!("uid-of-{key}"), resource_version: "1".into(), ours: true, deleting: false, body };
            snapshot.children.insert(key, child);
        }
        Write::Delete { key, .. } => {
            snapshot.children.remove(&key);
        }
        // No user's own route is in it.
        Write::Reroute { .. } | Write::Finalizers { .. } => {}
        Write::Scale { replicas } => snapshot.service.spec.replicas = Some(replicas),
    }
}

fn pod(revision: &str, index: i64, now: Timestamp) -> Pod {
    let name = format!("{revision}-{index}");
    let state = PodState {
        pod: format!("uid-of-{name}"),
        name,
        revision: revision.to_owned(),
        ready: true,
        ready_since: Some(now),
        node_ready: true,
        ..PodState::default()
    };
    Pod { state, ip: Some("10.0.0.1".into()), started: Some(now) }
}
