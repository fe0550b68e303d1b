//! What the tree says, and which exit code goes with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::report::{Report, Standing};
use super::tree::tree;
use super::{Pods, duration};
use crate::api::ProductionService;

const STABLE: &str = "a11ce0a11c";
const CANDIDATE: &str = "7f9c4d01ab";

fn now() -> Timestamp {
    "2026-11-22T12:00:30Z".parse().unwrap()
}

fn service(status: &Value) -> ProductionService {
    serde_json::from_value(json!({
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ProductionService",
        "metadata": {"name": "shop", "namespace": "web", "generation": 3},
        "spec": {
            "image": "shop:2",
            "replicas": 4,
            "ports": [{"name": "http", "port": 8080}],
            "objectives": [{"name": "availability", "errorRate": {"atMost": "1%"}}],
            "rollout": {"strategy": {"canary": {"steps": [{"weight": 20, "soakSeconds": 60}]}}},
        },
        "status": status,
    }))
    .unwrap()
}

fn soaking() -> Value {
    let revision = |revision: &str, image: &str, pods: i32, weight: i32| json!({"revision": revision, "image": image, "replicas": pods, "ready": pods, "weight": weight});
    json!({
        "observedGeneration": 3,
        "phase": "Progressing",
        "message": "holding at 20%: 40 of 200 requests in 10 s",
        "step": "1/1",
        "weight": "20%",
        "stable": revision(STABLE, "shop:1", 4, 80),
        "candidate": revision(CANDIDATE, "shop:2", 1, 20),
        "effective": {"strategy": "canary", "steps": "20% for 60 s", "mostPods": 8, "bakeSeconds": 300, "judgedBy": "availability"},
        "quarantined": [{"revision": "0badc0ffee", "attempt": 1, "at": "2026-11-21T08:00:00Z", "reason": "rolled back at 20%: 31 of 412 requests failed on 0badc0ffee, 2 of 1 648 on a11ce0a11c"}],
        "rollout": {
            "stable": STABLE,
            "history": ["5eed5eed5e"],
            "last": {"id": "0badc0ffee-1", "at": "2026-11-21T08:00:00Z", "promoted": false, "message": "rolled back at 20%: 31 of 412 requests failed"},
            "progress": {
                "id": "7f9c4d01ab-1", "revision": CANDIDATE, "attempt": 1, "started": "2026-11-22T11:59:50Z",
                "step": 0, "stage": "Soaking", "since": "2026-11-22T12:00:00Z", "weightSince": "2026-11-22T12:00:00Z",
                "deadline": "2026-11-22T12:10:00Z", "readyHighWater": 1,
                "verdicts": [{"name": "availability", "verdict": "Pending", "reason": "TooFewRequests", "evidence": "1.2e0", "candidate": "1 of 40", "stable": "0 of 160"}],
            },
        },
    })
}

#[expect(clippy::unnecessary_wraps, reason = "what the tree is shown")]
fn pods() -> Pods {
    let pod = |name: &str, revision: &str, status: Value| -> (String, Pod) {
        let labels = json!({"plimsoll.dev/service": "shop", "plimsoll.dev/revision": revision});
        let metadata = json!({"name": name, "labels": labels, "creationTimestamp": "2026-11-22T11:58:30Z"});
        (
            name.to_owned(),
            serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": [], "nodeName": "one"}, "status": status})).unwrap(),
        )
    };
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    let container = |state: Value| json!({"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 3, "state": state});
    let crashing = json!({"phase": "Running", "containerStatuses": [container(json!({"waiting": {"reason": "CrashLoopBackOff"}}))]});
    let starting = json!({"phase": "Pending", "containerStatuses": [container(json!({"waiting": {"reason": "ContainerCreating"}}))]});
    Ok(BTreeMap::from([pod("shop-a", STABLE, ready), pod("shop-b", CANDIDATE, crashing), pod("shop-c", CANDIDATE, starting)]))
}

/// `--why`, from the memory of a judge that has counted.
#[test]
fn why_shows_numbers_and_what_would_change_the_verdict() {
    let mut service = service(&soaking());
    let plan =
        crate::decide::plan::plan_of_record(&crate::cli::render::alone(service.clone(), BTreeMap::new(), ""), CANDIDATE, &service.spec);
    let mut state = crate::decide::analysis::Judge::new(&plan.settings, None).state();
    // Ten seconds, two blocks of 200 requests to the candidate and 800 to stable.
    state.objectives[0].step = Some(crate::decide::analysis::state::Numbers("400 400 1 1600 0 0".to_owned()));
    state.objectives[0].components[0].prior = crate::decide::analysis::state::Numbers("0.001 200 0.001".to_owned());
    let progress = service.status.as_mut().unwrap().rollout.as_mut().unwrap().progress.as_mut().unwrap();
    progress.analysis = Some(state);
    progress.verdicts[0].trend = "5e-1 1.2e0 1.1e1".to_owned();
    progress.verdicts[0].message = Some("40 of 200 requests in 10 s".to_owned());
    let text = tree(&Report::of(&service, &pods(), now()), now(), false, true);
    let lines: Vec<&str> = text.lines().skip_while(|line| !line.contains("why ")).take(5).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    ├─ why         availability
    │  ├─ 1 of 40 bad (2.50%) on 7f9c4d01ab, 0 of 160 bad (0.00%) on a11ce0a11c
    │  ├─ e = 1.20 of 100  ▁▁▄
    │  ├─ passes: 40 of 200 requests in 10 s
    │  └─ goes back: at once, if 32 of the next 134 requests are bad
    ");
}

#[test]
fn a_rollout_reads_as_a_tree() {
    let report = Report::of(&service(&soaking()), &pods(), now());
    insta::assert_snapshot!(tree(&report, now(), false, false), @r#"
    shop in namespace web: Progressing
    ├─ holding at 20%: 40 of 200 requests in 10 s
    ├─ stable      a11ce0a11c  80%  4/4 ready  shop:1
    │  └─ shop-a  ready  0 restarts  2m  one
    ├─ candidate   7f9c4d01ab  20%  1/1 ready  shop:2
    │  ├─ shop-b  CrashLoopBackOff  3 restarts  2m  one
    │  └─ shop-c  pending           3 restarts  2m  one
    ├─ step        1/1 (asks for 20%)
    │  └─ availability  Pending (TooFewRequests)  e = 1.2e0  bad: 1 of 40 on 7f9c4d01ab, 0 of 160 on a11ce0a11c
    ├─ waits for   step 1/1 is watched, until 12:01:00 UTC (in 30s)
    ├─ last        rolled back at 20%: 31 of 412 requests failed (2026-11-21 08:00:00 UTC)
    ├─ taken back, not tried again by itself
    │  └─ 0badc0ffee  attempt 1  2026-11-21 08:00:00 UTC  rolled back at 20%: 31 of 412 requests failed on 0badc0ffee, 2 of 1 648 on a11ce0a11c
    └─ earlier     5eed5eed5e (without pods, to go back to)
    "#);
}

#[test]
fn colour_repeats_words_and_adds_none() {
    let report = Report::of(&service(&soaking()), &pods(), now());
    let (plain, coloured) = (tree(&report, now(), false, false), tree(&report, now(), true, false));
    assert!(!plain.contains('\u{1b}') && coloured.contains('\u{1b}'));
    let bare = regex::Regex::new("\u{1b}\\[[0-9]+m").unwrap().replace_all(&coloured, "").into_owned();
    assert_eq!(bare, plain);
}

#[test]
fn what_is_waited_for() {
    let cases = [
        // why                                             field            value                              what                             until
        ("the soak", "stage", json!("Soaking"), "step 1/1 is watched", Some("2026-11-22T12:01:00Z")),
        (
            "the soak is over, the evidence is not there",
            "weightSince",
            json!("2026-11-22T11:59:00Z"),
            "step 1/1: time is over, more evidence is needed",
            Some("2026-11-22T12:10:00Z"),
        ),
        ("pods", "stage", json!("Shifting"), "step 1/1: pods to become ready", Some("2026-11-22T12:10:00Z")),
        ("the bake", "stage", json!("Baking"), "the bake is watched", Some("2026-11-22T12:05:00Z")),
        ("stable's capacity on the way back", "stage", json!("RollingBack"), "a11ce0a11c to have the pods", Some("2026-11-22T12:10:00Z")),
        ("a drain", "stage", json!("Draining"), "finish what they have", None),
    ];
    for (why, field, value, what, until) in cases {
        let mut status = soaking();
        status["rollout"]["progress"][field] = value;
        let waiting = Report::of(&service(&status), &pods(), now()).waits_for.unwrap();
        assert!(waiting.what.contains(what), "{why}: {waiting:?}");
        assert_eq!(waiting.until, until.map(|until| until.parse().unwrap()), "{why}");
    }
    let mut paused = soaking();
    paused["phase"] = "Paused".into();
    let waiting = Report::of(&service(&paused), &pods(), now()).waits_for.unwrap();
    assert!(waiting.what.contains("spec.control.paused") && waiting.until.is_none(), "{waiting:?}");
}

#[test]
fn exit_codes() {
    let unhealthy = json!([{"type": "Healthy", "status": "False", "reason": "TooFewPods", "message": "0 of 4", "lastTransitionTime": "2026-11-22T12:00:00Z"}]);
    let cases = [
        // why                                          status                                                       code
        ("nobody has looked at it", json!({}), 2),
        ("settled", json!({"phase": "Stable", "observedGeneration": 3}), 0),
        ("settled, but on an older spec", json!({"phase": "Stable", "observedGeneration": 2}), 2),
        ("settled, but short of pods", json!({"phase": "Stable", "observedGeneration": 3, "conditions": unhealthy}), 1),
        ("under way", json!({"phase": "Progressing", "observedGeneration": 3}), 2),
        ("under way and short of pods is under way", json!({"phase": "Progressing", "observedGeneration": 3, "conditions": unhealthy}), 2),
        ("a person holds it", json!({"phase": "Paused", "observedGeneration": 3}), 2),
        ("not over before the bake is", json!({"phase": "Baking", "observedGeneration": 3}), 2),
        ("on the way back is not back", json!({"phase": "RollingBack", "observedGeneration": 3}), 2),
        ("taken back", json!({"phase": "RolledBack", "observedGeneration": 3}), 1),
        ("blocked", json!({"phase": "Blocked", "observedGeneration": 3}), 1),
        ("an old verdict is not this spec's", json!({"phase": "RolledBack", "observedGeneration": 2}), 2),
    ];
    for (why, status, code) in cases {
        assert_eq!(Report::of(&service(&status), &pods(), now()).standing.code(), code, "{why}");
    }
}

#[test]
fn a_rolled_back_service_says_how_to_try_again_and_hidden_pods_are_said() {
    let mut status = soaking();
    status["phase"] = "RolledBack".into();
    status["rollout"]["progress"] = Value::Null;
    let report = Report::of(&service(&status), &Err("you may not list pods".to_owned()), now());
    assert_eq!(report.standing, Standing::Failed);
    let tree = tree(&report, now(), false, false);
    assert!(tree.contains(r#""retry":{"revision":"0badc0ffee","attempt":2}"#), "{tree}");
    assert!(tree.contains("pods are not shown: you may not list pods"), "{tree}");
}

#[test]
fn durations() {
    for (text, seconds) in [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400)] {
        assert_eq!(duration(text).map(|duration| duration.as_secs()), Ok(seconds), "{text}");
    }
    for text in ["", "soon", "-5m"] {
        assert!(duration(text).is_err(), "{text:?}");
    }
}
