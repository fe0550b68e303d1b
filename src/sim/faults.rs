//! Deals out services, versions and faults by a seed, for the invariants: what nobody thought of.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::random::Random;
use super::scenario::{Event, Scenario, Wait};

/// Whether faults go on to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Faults all the way: nothing bad may happen.
    Safety,
    /// Faults stop after a while: what is asked for must be reached, and then all is silent.
    Liveness,
}

/// When faults stop in liveness mode.
const HEALED: SignedDuration = SignedDuration::from_mins(6);
/// Safety runs end here.
const SAFETY_ENDS: &str = "10m";

/// A scenario out of a seed.
///
/// # Errors
/// Never, as long as what is dealt out is what a scenario may say; a test runs thousands.
pub fn deal(seed: u64, mode: Mode) -> Result<Scenario, String> {
    let mut random = Random::new(seed, 3);
    let mut service = service(&mut random);
    let bad = random.happens(0.5);
    let (second, third) = (behaviour(&mut random, bad), behaviour(&mut random, false));
    let mut events: Vec<Value> =
        (0..random.between(0, 7)).map(|_| json!({"at": format!("{}s", random.between(0, 330)), "do": fault(&mut random)})).collect();
    if mode == Mode::Liveness {
        events.retain(|event| event["do"]["deleteService"].is_null());
        let at = format!("{}s", HEALED.as_secs());
        let healing = [
            json!({"heal": {}}),
            json!({"pause": false}),
            json!({"traffic": {"requestsPerSecond": 60}}),
            json!({"restoreNode": 0}),
            json!({"restoreNode": 1}),
        ];
        events.extend(healing.into_iter().map(|action| json!({"at": at, "do": action})));
    }
    let jobs = gates(&mut Random::new(seed, 4), &mut service, &mut events);
    if Random::new(seed, 5).happens(0.3) && service["rollout"]["strategy"]["canary"]["router"] == "gatewayApi" {
        service["rollout"]["strategy"]["canary"]["match"] = json!([{"header": {"name": "x-canary", "exact": "always"}}]);
    }
    if Random::new(seed, 7).happens(0.3) && !service["rollout"]["strategy"]["canary"].is_null() {
        service["rollout"]["strategy"]["canary"]["steps"] = json!([]);
    }
    if Random::new(seed, 8).happens(0.2) && service["rollout"]["strategy"]["canary"]["router"] == "gatewayApi" {
        let percent = Random::new(seed, 9).between(1, 101);
        service["rollout"]["strategy"]["canary"]["mirrorPercent"] = percent.into();
        service["rollout"]["strategy"]["canary"]["mirrorSeconds"] = 10.into();
    }
    let canary = &service["rollout"]["strategy"]["canary"];
    if Random::new(seed, 6).happens(0.3)
        && canary["router"] == "gatewayApi"
        && canary["match"].is_null()
        && canary["mirrorPercent"].is_null()
    {
        service["rollout"]["strategy"]["canary"]["routeRef"] = json!({"name": "public"});
        service["expose"] = Value::Null;
    }
    let scenario = json!({
        "description": format!("seed {seed}"),
        "jobs": jobs,
        "service": service,
        "candidate": {"image": "shop:2"},
        "images": {"shop:1": {"failures": "0.1%"}, "shop:2": second, "shop:3": third},
        "traffic": {"requestsPerSecond": *pick(&mut random, &[0, 20, 60])},
        "events": events,
        "until": if mode == Mode::Safety { SAFETY_ENDS } else { "2h" },
    });
    serde_json::from_value(scenario).map_err(|error| error.to_string())
}

/// The scenario without each of its events in turn: the next candidates for a smaller one that fails as well.
#[must_use]
pub fn smaller(scenario: &Scenario) -> Vec<Scenario> {
    let heals = |event: &Event| event.at >= Wait(HEALED);
    let without = |index| {
        let mut scenario = scenario.clone();
        scenario.events.remove(index);
        scenario
    };
    (0..scenario.events.len()).filter(|index| !heals(&scenario.events[*index])).map(without).collect()
}

fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    let index = random.between(0, i64::try_from(from.len()).unwrap_or(1));
    &from[usize::try_from(index).unwrap_or(0)]
}

fn service(random: &mut Random) -> Value {
    let soak = random.between(5, 40);
    let strategy = if random.happens(0.6) {
        let second = random.happens(0.5).then(|| json!({"weight": 50, "soakSeconds": soak}));
        let steps: Vec<Value> = [json!({"weight": random.between(1, 40), "soakSeconds": soak})].into_iter().chain(second).collect();
        json!({"canary": {"steps": steps}})
    } else {
        json!({"rolling": {"soakSeconds": soak}})
    };
    let mut rollout = json!({
        "strategy": strategy,
        "bakeSeconds": random.between(0, 60),
        "progressDeadlineSeconds": random.between(60, 180),
        "analysis": {"minRequests": 50, "intervalSeconds": 15, "onNoEvidence": *pick(random, &["hold", "hold", "rollBack", "promote"])},
    });
    if rollout["strategy"]["canary"].is_null() && random.happens(0.5) {
        rollout["surge"] = (*pick(random, &[json!(1), json!("50%"), json!("100%")])).clone();
    }
    // A Gateway divides the requests, for a canary and for blue and green.
    let routed = random.happens(0.4);
    if routed {
        let small = random.happens(0.3) && rollout["surge"].is_null();
        if !rollout["strategy"]["canary"].is_null() {
            rollout["strategy"]["canary"]["router"] = "gatewayApi".into();
            if small {
                rollout["surge"] = "50%".into();
            }
        } else if random.happens(0.5) {
            rollout["strategy"] = json!({"blueGreen": {"soakSeconds": soak}});
            if let Some(rollout) = rollout.as_object_mut() {
                rollout.remove("surge");
            }
        }
    }
    let mut service = json!({
        "image": "shop:1", "ports": [{"name": "http", "port": 8080}], "replicas": random.between(1, 6), "rollout": rollout,
    });
    if routed {
        service["expose"] = json!({"gateway": {"name": "public"}, "timeoutSeconds": random.between(1, 5)});
    }
    if random.happens(0.5) {
        service["objectives"] = json!([{"name": "availability", "errorRate": {"atMost": "1%"}}]);
    }
    if random.happens(0.2) {
        service["scaling"] = json!({"minReplicas": 2, "maxReplicas": 6, "cpuUtilization": 60});
        service["resources"] = json!({"requests": {"cpu": "100m"}});
    }
    service
}

/// Gives some services gates with Jobs, and says how these end. By a dice of its own: the rest of a seed stays what it was.
fn gates(random: &mut Random, service: &mut Value, events: &mut Vec<Value>) -> Value {
    let mut jobs = json!({});
    if !random.happens(0.3) {
        return jobs;
    }
    let places = [("migrate", json!({"start": {}})), ("smoke", json!({"beforePromotion": {}}))];
    let mut gates = Vec::new();
    for (name, at) in places {
        if random.happens(0.3) {
            continue;
        }
        gates.push(json!({
            "name": name, "at": at, "deadlineSeconds": random.between(60, 200),
            "job": {"command": ["/app", name], "timeoutSeconds": random.between(20, 90)},
        }));
        jobs[name] = json!({"after": format!("{}s", random.between(1, 60))});
        if random.happens(0.2) {
            jobs[name]["fails"] = "relation does not exist".into();
        }
    }
    if random.happens(0.5) {
        let idempotent = random.happens(0.5);
        gates.push(json!({
            "name": "freshness", "at": {"start": {}}, "deadlineSeconds": random.between(60, 200),
            "webhook": {"url": "https://hooks.example.com/", "idempotent": idempotent},
        }));
    }
    service["rollout"]["gates"] = gates.into();
    if random.happens(0.3) {
        events.push(json!({"at": format!("{}s", random.between(0, 120)), "do": {"deleteJobs": {}}}));
    }
    jobs
}

fn behaviour(random: &mut Random, bad: bool) -> Value {
    let start = random.between(1, 12);
    let mut behaviour = json!({"startSeconds": start, "pullSeconds": random.between(0, 5), "failures": "0.1%"});
    let seconds = format!("{}s", random.between(1, 60));
    if bad {
        let (field, value) = pick(
            random,
            &[
                ("failures", json!("30%")),
                ("failures", json!("100%")),
                ("crashesAfter", json!(seconds)),
                ("outOfMemoryAfter", json!(seconds)),
                ("losesReadinessAfter", json!(seconds)),
                ("unpullable", json!(true)),
                ("neverReady", json!(true)),
                ("refused", json!("exceeded quota")),
            ],
        )
        .clone();
        behaviour[field] = value;
    }
    behaviour
}

fn fault(random: &mut Random) -> Value {
    let seconds = format!("{}s", random.between(1, 120));
    let watch = *pick(random, &["service", "objects", "pods"]);
    let count = random.between(1, 7);
    let lag = format!("{}s", random.between(1, 20));
    pick(
        random,
        &[
            json!({"operatorDown": seconds}),
            json!({"operatorDies": {"atWrite": count, "applied": true, "backAfter": lag}}),
            json!({"operatorDies": {"atWrite": count, "applied": false, "backAfter": lag}}),
            json!({"conflicts": count}),
            json!({"secondOperator": seconds}),
            json!({"lag": {"watch": watch, "by": lag}}),
            json!({"lag": {"watch": watch, "by": lag}}),
            json!({"metrics": {"answer": "down", "lasting": seconds}}),
            json!({"metrics": {"answer": "notANumber", "lasting": seconds, "half": true}}),
            json!({"loseNode": count % 2}),
            json!({"scale": count}),
            json!({"autoscale": count.max(2)}),
            json!({"spec": {"image": "shop:1"}}),
            json!({"spec": {"image": "shop:3"}}),
            json!({"spec": {"image": "shop:2"}}),
            json!({"abort": {}}),
            json!({"promote": "next"}),
            json!({"promote": "full"}),
            json!({"pause": true}),
            json!({"pause": false}),
            json!({"retry": {"attempt": 2}}),
            json!({"loseStatus": {}}),
            json!({"gatewayStops": seconds}),
            json!({"editReplicas": {"of": "stable", "replicas": count - 1}}),
            json!({"editReplicas": {"of": "candidate", "replicas": count - 1}}),
            json!({"deleteDeployment": "candidate"}),
            json!({"deleteDeployment": "stable"}),
            json!({"behave": {"shop:1": {"failures": "20%"}, "shop:2": {"failures": "20%"}}}),
            json!({"traffic": {"requestsPerSecond": 0}}),
        ],
    )
    .clone()
}
