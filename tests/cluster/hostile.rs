//! Metrics answers that nobody should trust: none moves anything, none harms anybody, none costs much.
//!
//! A fake pod's image tag says how it answers; every tag that is no kind of [`answers`] is a healthy version.

mod answers;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::harness::{PATIENCE, until};
use crate::world::World;
use answers::Answers;

/// Kinds that say nothing at all.
const SILENT: &[&str] = &[
    "down",
    "hanging",
    "slow",
    "status-404",
    "status-500",
    "status-503",
    "redirect",
    "not-http",
    "empty",
    "html",
    "json",
    "json-cut",
    "json-deep",
    "wrong-type",
    "not-text",
    "nan",
    "plus-infinity",
    "minus-infinity",
    "negative",
    "word",
    "no-value",
    "twice",
    "stale",
    "future",
    "too-short",
    "chunks-cut",
    "gzip-cut",
    "gzip-wrong",
    "gzip-bomb",
    "hundred-mebibytes",
    "endless",
    "labels-many",
    "series-many",
    "line-long",
    "header-large",
    "headers-many",
    "headers-endless",
    "other-metrics",
    "no-traffic",
];
/// Kinds whose answers are true, if few or odd: what they prove may move a rollout, but never back.
const HARMLESS: &[&str] = &["reset", "half-silent"];
/// Kinds that try to cost memory.
const HEAVY: &[&str] = &[
    "gzip-bomb",
    "hundred-mebibytes",
    "endless",
    "labels-many",
    "series-many",
    "line-long",
    "json-deep",
    "header-large",
    "headers-endless",
];
/// KiB that one answer may cost.
const COST: u64 = 2048;
const DEADLINE_SECONDS: i64 = 20;
/// Where `onNoEvidence: promote` acts at the deadline there shall have been evidence by then: an interval is five seconds.
const LONG_DEADLINE_SECONDS: i64 = 30;

/// Issue: "hostile metrics bodies (every kind in `testing.md`) move nothing"; "a metrics answer of NaN, empty, HTML, 500, hanging, or a sample
/// without a value neither promotes nor crashes anything"; "one object harms only itself".
#[tokio::test]
async fn hostile_answers_move_nothing_and_harm_nobody() {
    let mut world = World::new("hostile-all").await;
    let answers = Answers::of(world.bed).await;
    let kinds: BTreeSet<&str> = SILENT.iter().chain(HARMLESS).copied().collect();
    let names: Vec<&str> = kinds.iter().copied().chain(["neighbour"]).collect();
    apply(&world, &answers, &names, |_| "good-1").await;
    phases(&world, &names, "Stable").await;
    let process = world.operator.memory("VmRSS");
    apply(&world, &answers, &names[..kinds.len()], |name| name).await;
    until("every kind was asked thrice", async || kinds.iter().all(|kind| answers.asked(kind) >= 3).then_some(())).await;
    apply(&world, &answers, &["neighbour"], |_| "good-2").await;
    let promoted = |service: &Value| {
        service["status"]["rollout"]["last"]["promoted"] == true && phase(service) == "Stable" && image(service).ends_with("good-2")
    };
    world.until("psvc", "neighbour", "was promoted meanwhile", promoted).await;
    sleep(Duration::from_secs(2 * u64::try_from(DEADLINE_SECONDS).unwrap())).await;

    let mut faults = Vec::new();
    for kind in SILENT {
        let service = world.get("psvc", kind).await;
        let progress = &service["status"]["rollout"]["progress"];
        if phase(&service) != "Progressing"
            || progress["step"] != 0
            || progress["stage"] != "Soaking"
            || !past(progress, 2 * DEADLINE_SECONDS)
        {
            faults.push(format!("{kind}: {:#}", service["status"]));
        } else {
            println!("{kind}: {}", service["status"]["message"].as_str().unwrap_or_default());
        }
    }
    for kind in HARMLESS {
        let service = world.get("psvc", kind).await;
        if phase(&service) == "RolledBack" || !service["status"]["quarantined"].is_null() {
            faults.push(format!("{kind}: {:#}", service["status"]));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(world.operator.runs(), "the operator never ended");
    assert!(!world.operator.log().contains("panic"), "and nothing in it did");
    let peak = world.operator.memory("VmHWM");
    println!("{} hostile rollouts at once: {process} KiB before, at most {peak} KiB", kinds.len());
    assert!(peak - process < COST * kinds.len() as u64, "{process} → {peak} KiB");
}

/// Issue: "hostile metrics bodies … cost under 2 MiB each".
#[tokio::test]
async fn a_hostile_answer_costs_less_than_two_mebibytes() {
    let world = World::new("hostile-memory").await;
    let answers = Answers::of(world.bed).await;
    let shown = async |tag: &'static str| {
        let before = answers.asked(tag);
        apply(&world, &answers, &["shop"], |_| tag).await;
        until(&format!("{tag} was asked thrice"), async || (answers.asked(tag) >= before + 3).then_some(())).await;
        // The last answer is read and judged.
        sleep(Duration::from_secs(2)).await;
    };
    apply(&world, &answers, &["shop"], |_| "good-1").await;
    phases(&world, &["shop"], "Stable").await;
    // What a rollout needs by itself is no answer's cost: `no-traffic` stays at its first step.
    shown("no-traffic").await;
    let mut faults = Vec::new();
    for tag in HEAVY {
        let before = world.operator.memory("VmRSS");
        let program = world.operator.memory("RssFile");
        world.operator.forget_peak_memory();
        shown(tag).await;
        let (peak, after) = (world.operator.memory("VmHWM"), world.operator.memory("VmRSS"));
        // Pages of the program itself that ran for the first time are no answer's cost either.
        let program = world.operator.memory("RssFile").saturating_sub(program);
        let cost = peak.saturating_sub(before).saturating_sub(program);
        println!("{tag:>18}: {before} KiB before, at most {peak} KiB (+{cost}, and {program} of the program), {after} KiB after");
        if cost >= COST {
            faults.push(format!("{tag}: {before} → {peak} KiB"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Issue: "a version whose every measurement is bad is never promoted because time ran out".
#[tokio::test]
async fn a_version_that_only_fails_is_never_promoted_because_time_ran_out() {
    let world = World::new("hostile-bad").await;
    let answers = Answers::of(world.bed).await;
    // Many failures, so few that they prove little, and failures beside a stable version that says nothing.
    let cases = [("many", "good-1", "fails"), ("few", "good-1", "fails-rarely"), ("alone", "nan", "fails-rarely")];
    let names: Vec<String> = cases.iter().flat_map(|(name, ..)| [format!("{name}-hold"), format!("{name}-promote")]).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let case = |name: &str| cases.iter().find(|(case, ..)| name.starts_with(case)).unwrap();
    apply(&world, &answers, &names, |name| case(name).1).await;
    phases(&world, &names, "Stable").await;
    apply(&world, &answers, &names, |name| case(name).2).await;
    let began = Instant::now();
    let mut decided = BTreeSet::new();
    while decided.len() < names.len() {
        assert!(began.elapsed() < PATIENCE, "only {decided:?} came to an end or to their deadline");
        for name in &names {
            let service = world.get("psvc", name).await;
            let progress = &service["status"]["rollout"]["progress"];
            assert_eq!(service["status"]["rollout"]["stable"], service["status"]["stable"]["revision"], "{name}");
            let promoted = service["status"]["rollout"]["last"]["message"].as_str().is_some_and(|message| message.starts_with("promoted"));
            assert!(!promoted && (progress.is_null() || progress["step"] == 0), "{name}: {:#}", service["status"]);
            let over = !service["status"]["quarantined"].is_null() || past(progress, LONG_DEADLINE_SECONDS + 15);
            if over && decided.insert(*name) {
                println!("{name}: {}", service["status"]["message"].as_str().unwrap_or_default());
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// So many seconds are over since the weight was reached.
fn past(progress: &Value, seconds: i64) -> bool {
    let since = progress["weightSince"].as_str().map(|text| text.parse::<jiff::Timestamp>().unwrap());
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    since.is_some_and(|since| now - since.as_second() > seconds)
}

fn phase(service: &Value) -> &str {
    service["status"]["phase"].as_str().unwrap_or_default()
}

fn image(service: &Value) -> &str {
    service["spec"]["image"].as_str().unwrap_or_default()
}

/// Applies services, each with the image whose tag this function says.
async fn apply<'a>(world: &World, answers: &Answers, names: &[&'a str], tag: impl Fn(&'a str) -> &'a str) {
    let services: Vec<Value> = names
        .iter()
        .map(|name| {
            let replicas = if *name == "half-silent" { 2 } else { 1 };
            let promotes = name.ends_with("-promote");
            let deadline = if promotes || name.ends_with("-hold") { LONG_DEADLINE_SECONDS } else { DEADLINE_SECONDS };
            let spec = json!({
                "image": format!("example.test/shop:{}", tag(name)),
                "replicas": replicas,
                "ports": [{"name": "http", "port": 8080}, {"name": "metrics", "port": answers.port()}],
                "objectives": [{"name": "availability", "errorRate": {"atMost": "1%"}}],
                "rollout": {
                    "strategy": {"canary": {"steps": [{"weight": 50, "soakSeconds": 2}]}},
                    "analysis": {"warmUpSeconds": 0, "minRequests": 50, "onNoEvidence": if promotes { "promote" } else { "hold" }},
                    "bakeSeconds": 2,
                    "progressDeadlineSeconds": deadline,
                },
            });
            json!({"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ProductionService", "metadata": {"name": name}, "spec": spec})
        })
        .collect();
    world.object(&json!({"apiVersion": "v1", "kind": "List", "items": services})).await;
}

/// Waits until all of them are in this phase.
async fn phases(world: &World, names: &[&str], wanted: &str) {
    until(&format!("all of them are {wanted}"), async || {
        let list = world.objects.list("psvc", "").await;
        let there = |service: &&Value| {
            phase(service) == wanted
                && service["status"]["observedGeneration"] == service["metadata"]["generation"]
                && names.contains(&service["metadata"]["name"].as_str().unwrap())
        };
        (list.iter().filter(there).count() == names.len()).then_some(())
    })
    .await;
}
