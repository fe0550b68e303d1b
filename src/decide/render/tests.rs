//! Golden objects, live objects as a real API server gives them back, and tables for what depends on the state.
//!
//! `fixtures/*.live.json` are what an API server (1.37) answered to `kubectl apply --server-side --field-manager=plimsoll` of what
//! `fixtures/*.yaml` render to, in a namespace that enforces Pod Security `restricted`.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::api::service::DeletionPolicy;
use crate::api::{ProductionService, ProductionServiceSpec};
use crate::decide::plan::plan;
use crate::decide::snapshot::{Child, Contents};
use crate::decide::strategy::Front;
use crate::decide::traffic::Routing;

const SMALLEST: &str = include_str!("fixtures/smallest.yaml");
const FULL: &str = include_str!("fixtures/full.yaml");

/// A service of this spec, seen for the first time.
fn snapshot(spec: &str) -> Snapshot {
    let spec: ProductionServiceSpec = serde_saphyr::from_str(spec).unwrap();
    let mut service = ProductionService::new("checkout", spec);
    service.metadata.namespace = Some("shop".into());
    service.metadata.uid = Some("11111111-2222-3333-4444-555555555555".into());
    let texts = |entries: &[(&str, &str)]| entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    let flags = Contents { text: texts(&[("NEW_BASKET", "on")]), binary: BTreeMap::new() };
    let files = Contents { text: texts(&[("rules.yaml", "a: 1\n")]), binary: texts(&[("logo.png", "iVBORw0KGgo=")]) };
    Snapshot {
        config_maps: [("checkout-flags".to_owned(), flags), ("checkout-files".to_owned(), files)].into(),
        pull_secrets: vec!["namespace-registry".into()],
        around: crate::decide::Around { routing: Routing::present(), ..Default::default() },
        ..Snapshot::of(service)
    }
}

/// The target of a service with pods of these revisions, all of them serving.
fn running(replicas: &[(&str, i32)]) -> Target {
    Target {
        replicas: replicas.iter().map(|(revision, replicas)| ((*revision).to_owned(), *replicas)).collect(),
        records: replicas.iter().map(|(revision, _)| (*revision).to_owned()).collect(),
        front: Front::All,
        ..Target::default()
    }
}

fn rendered(spec: &str) -> BTreeMap<ObjectKey, Value> {
    let snapshot = snapshot(spec);
    let plan = plan(&snapshot).unwrap();
    all(&plan, &snapshot, &Target { front: Front::One(plan.revision.clone()), ..running(&[(&plan.revision, plan.replicas)]) })
}

/// A snapshot in which a revision of `old` has its record, and the spec is `new`; with the plan and the old revision.
fn mid_rollout(old: &str, new: &str) -> (Snapshot, Plan, String) {
    let before = snapshot(old);
    let old_plan = plan(&before).unwrap();
    let mut snapshot = snapshot(new);
    let record = record(&old_plan, &before.config_maps, &before.pull_secrets, None);
    snapshot.records.insert(old_plan.revision.clone(), record);
    let plan = plan(&snapshot).unwrap();
    (snapshot, plan, old_plan.revision)
}

fn of(kind: Kind, wanted: &BTreeMap<ObjectKey, Value>) -> Vec<&Value> {
    wanted.iter().filter(|(key, _)| key.kind == kind).map(|(_, body)| body).collect()
}

/// The objects as YAML; the JSON inside a record is shown as the Deployment and the spec already.
fn golden(spec: &str) -> String {
    let mut wanted = rendered(spec);
    for (_, record) in wanted.iter_mut().filter(|(key, _)| key.kind == Kind::ConfigMap) {
        for key in ["pod-template.json", "plan.json"] {
            let text = record["data"][key].as_str().unwrap();
            assert!(serde_json::from_str::<Value>(text).is_ok());
            record["data"][key] = "…".into();
        }
    }
    wanted.values().map(|body| serde_saphyr::to_string(body).unwrap()).collect::<Vec<_>>().join("---\n")
}

#[test]
fn the_smallest_service() {
    insta::assert_snapshot!(golden(SMALLEST));
}

#[test]
fn the_full_service() {
    insta::assert_snapshot!(golden(FULL));
}

#[test]
fn what_an_api_server_gives_back_matches() {
    let fixtures =
        [("smallest", SMALLEST, include_str!("fixtures/smallest.live.json")), ("full", FULL, include_str!("fixtures/full.live.json"))];
    for (name, spec, live) in fixtures {
        let live: Vec<Value> = serde_json::from_str(live).unwrap();
        let wanted = rendered(spec);
        assert_eq!(wanted.len(), live.len(), "{name}");
        for (body, live) in wanted.values().zip(&live) {
            assert!(matching::matches(body, live), "{name}: {}", body["kind"]);
            assert!(matching::additions(body, live).is_empty(), "{name}: {}", body["kind"]);
        }
    }
}

#[test]
fn while_the_metrics_port_moves_the_operator_may_ask_both() {
    let isolated = |port: i32| {
        format!(
            "image: a:1\nports: [{{name: http, port: 8080}}, {{name: metrics, port: {port}}}]\nnetwork: {{policy: isolated}}\nobjectives: [{{name: errors, errorRate: {{atMost: 1%}}}}]\n"
        )
    };
    let (snapshot, plan, old) = mid_rollout(&isolated(9090), &isolated(9191));
    let wanted = all(&plan, &snapshot, &running(&[(&old, 2), (&plan.revision, 1)]));
    let ports = &of(Kind::NetworkPolicy, &wanted)[0]["spec"]["ingress"][1]["ports"];
    assert_eq!(*ports, json!([{"port": 9090, "protocol": "TCP"}, {"port": 9191, "protocol": "TCP"}]));
    let wanted = all(&plan, &snapshot, &running(&[(&plan.revision, 2)]));
    assert_eq!(of(Kind::NetworkPolicy, &wanted)[0]["spec"]["ingress"][1]["ports"], json!([{"port": 9191, "protocol": "TCP"}]));
}

#[test]
fn a_lost_record_of_the_present_spec_is_made_from_what_runs() {
    let mut snapshot = snapshot(SMALLEST);
    let plan = plan(&snapshot).unwrap();
    let target = running(&[(&plan.revision, 2)]);
    let key = revision_key(Kind::Deployment, &plan.name, &plan.revision);
    // As an older version of plimsoll rendered it.
    let mut live = all(&plan, &snapshot, &target)[&key].clone();
    live["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 77.into();
    let child = Child { uid: "d".into(), resource_version: "1".into(), ours: true, deleting: false, body: live.clone() };
    snapshot.children.insert(key.clone(), child);
    let wanted = all(&plan, &snapshot, &target);
    assert_eq!(wanted[&key]["spec"]["template"], live["spec"]["template"], "no pod is replaced");
    let record = &of(Kind::ConfigMap, &wanted)[0]["data"]["pod-template.json"];
    assert!(record.as_str().unwrap().contains("77"), "{record}");
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let snapshot = snapshot(FULL);
    let plan = plan(&snapshot).unwrap();
    let record = record(&plan, &snapshot.config_maps, &snapshot.pull_secrets, None);
    let body = record::config_map(&plan, &plan.revision, &record, None);
    assert_eq!(Record::from_config_map(&body), Ok(record.clone()));
    assert_eq!(record.spec, ProductionServiceSpec { replicas: None, control: None, ..snapshot.service.spec.clone() });

    let problems = [
        ("no template", json!({"data": {}}), "pod-template.json is missing"),
        (
            "not a template",
            json!({"data": {"pod-template.json": "{}"}}),
            "pod-template.json is not a pod template: it has no spec.containers",
        ),
        ("not JSON", json!({"data": {"pod-template.json": "{"}}), "pod-template.json cannot be read"),
        ("no plan", json!({"data": {"pod-template.json": r#"{"spec": {"containers": []}}"#}}), "plan.json is missing"),
    ];
    for (why, body, expected) in problems {
        let message = Record::from_config_map(&body).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{why}: {message}");
    }
}

#[test]
fn a_revision_is_served_from_its_record_whatever_the_spec_says() {
    let (mut snapshot, plan, old) = mid_rollout(SMALLEST, FULL);
    let record = snapshot.records.get_mut(&old).unwrap();
    record.pod_template["spec"]["containers"][0]["image"] = "as-it-was-rendered".into();
    let wanted = all(&plan, &snapshot, &running(&[(&old, 3), (&plan.revision, 1)]));
    let deployment = &wanted[&revision_key(Kind::Deployment, "checkout", &old)];
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "as-it-was-rendered");
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(of(Kind::Deployment, &wanted).len(), 2);
}

#[test]
fn a_revision_without_a_record_keeps_its_live_template_and_only_its_replicas_move() {
    let mut snapshot = snapshot(SMALLEST);
    let plan = plan(&snapshot).unwrap();
    let key = revision_key(Kind::Deployment, "checkout", "lost");
    let template = json!({"spec": {"containers": [{"name": "app", "image": "as-it-runs"}]}});
    let body = json!({"metadata": {"name": "checkout-lost"}, "spec": {"replicas": 2, "template": template}});
    let child = Child { uid: "1".into(), resource_version: "1".into(), ours: true, deleting: false, body };
    snapshot.children.insert(key.clone(), child);
    let wanted = all(&plan, &snapshot, &running(&[("lost", 0), ("never-seen", 1)]));
    assert_eq!(wanted[&key]["spec"]["template"], template);
    assert_eq!(wanted[&key]["spec"]["replicas"], 0);
    assert_eq!(of(Kind::Deployment, &wanted).len(), 1, "what was never seen cannot be made");
}

#[test]
fn what_a_section_asked_for_goes_with_the_section() {
    use Kind::{
        ConfigMap, Deployment, GrpcRoute, HorizontalPodAutoscaler, HttpRoute, NetworkPolicy, PodDisruptionBudget, Service, ServiceAccount,
    };
    let kinds = |spec: &str| rendered(spec).keys().map(|key| key.kind).collect::<Vec<_>>();
    let cases = [
        ("the smallest", SMALLEST, vec![ServiceAccount, ConfigMap, PodDisruptionBudget, Deployment, Service]),
        (
            "exposed",
            "{image: a, ports: [{name: http, port: 80}], expose: {gateway: {name: public}}}",
            vec![ServiceAccount, ConfigMap, PodDisruptionBudget, Deployment, Service, HttpRoute],
        ),
        (
            "exposed by gRPC",
            "{image: a, ports: [{name: http, port: 80}], expose: {gateway: {name: public}, protocol: grpc}}",
            vec![ServiceAccount, ConfigMap, PodDisruptionBudget, Deployment, Service, GrpcRoute],
        ),
        ("nothing listens: no Service", "image: a", vec![ServiceAccount, ConfigMap, PodDisruptionBudget, Deployment]),
        ("nobody can be disrupted", "{image: a, replicas: 0}", vec![ServiceAccount, ConfigMap, Deployment]),
        ("an account that exists", "{image: a, serviceAccount: {name: x}}", vec![ConfigMap, PodDisruptionBudget, Deployment]),
        ("open is no policy", "{image: a, network: {policy: open}}", vec![ServiceAccount, ConfigMap, PodDisruptionBudget, Deployment]),
        (
            "isolated",
            "{image: a, network: {policy: isolated}}",
            vec![ServiceAccount, ConfigMap, PodDisruptionBudget, NetworkPolicy, Deployment],
        ),
        (
            "scaled",
            "{image: a, scaling: {maxReplicas: 3, cpuUtilization: 50}}",
            vec![ServiceAccount, ConfigMap, PodDisruptionBudget, Deployment, HorizontalPodAutoscaler],
        ),
    ];
    for (why, spec, expected) in cases {
        assert_eq!(kinds(spec), expected, "{why}");
    }
}

#[test]
fn the_own_account_stays_while_a_revision_runs_under_it() {
    let (snapshot, plan, old) = mid_rollout("image: a", "{image: a, serviceAccount: {name: x}}");
    let accounts = |target: &Target| of(Kind::ServiceAccount, &all(&plan, &snapshot, target)).len();
    assert_eq!(accounts(&running(&[(&old, 0), (&plan.revision, 2)])), 1, "it may be gone back to");
    assert_eq!(accounts(&running(&[(&plan.revision, 2)])), 0);
}

#[test]
fn the_front_service_keeps_the_ports_that_callers_know() {
    let old = "{image: a, ports: [{name: http, port: 8080}, {name: admin, port: 9000}]}";
    let port = |name: &str, port: i32, target: Value| json!({"name": name, "port": port, "protocol": "TCP", "targetPort": target});
    let cases = [
        (
            "a port is added",
            "[{name: http, port: 8080}, {name: admin, port: 9000}, {name: grpc, port: 9090}]",
            json!([port("http", 8080, json!("http")), port("admin", 9000, json!("admin")), port("grpc", 9090, json!("grpc"))]),
        ),
        (
            "one is given up: it is still served by the old pods",
            "[{name: http, port: 8080}]",
            json!([port("http", 8080, json!("http")), port("admin", 9000, json!("admin"))]),
        ),
        (
            "a number moves: each pod is reached on its own",
            "[{name: http, port: 80}]",
            json!([port("http", 8080, json!("http")), port("admin", 9000, json!("admin"))]),
        ),
        (
            "a port is renamed: both are reached by number",
            "[{name: web, port: 8080}]",
            json!([port("http", 8080, json!(8080)), port("admin", 9000, json!("admin"))]),
        ),
    ];
    for (why, ports, expected) in cases {
        let (snapshot, plan, old) = mid_rollout(old, &format!("{{image: a, ports: {ports}}}"));
        let both = all(&plan, &snapshot, &running(&[(&old, 2), (&plan.revision, 1)]));
        assert_eq!(of(Kind::Service, &both)[0]["spec"]["ports"], expected, "{why}");
        let alone = all(&plan, &snapshot, &running(&[(&old, 0), (&plan.revision, 2)]));
        let names = |ports: &Value| ports.as_array().unwrap().iter().map(|port| port["name"].clone()).collect::<Vec<_>>();
        let own: Vec<Value> = plan.spec.ports.iter().map(|port| json!(port.name)).collect();
        assert_eq!(names(&of(Kind::Service, &alone)[0]["spec"]["ports"]), own, "{why}, once it is alone");
    }
}

#[test]
fn the_front_service_selects_who_takes_traffic() {
    let snapshot = snapshot(SMALLEST);
    let plan = plan(&snapshot).unwrap();
    let selector = |front: Front| {
        let wanted = all(&plan, &snapshot, &Target { front, ..running(&[(&plan.revision, 2)]) });
        of(Kind::Service, &wanted)[0]["spec"]["selector"].clone()
    };
    assert_eq!(selector(Front::All), json!({"plimsoll.dev/service": "checkout"}));
    assert_eq!(selector(Front::One("a1".into())), json!({"plimsoll.dev/service": "checkout", "plimsoll.dev/revision": "a1"}));
}

#[test]
fn a_budget_follows_the_replicas() {
    let cases = [
        ("one: a drain may take it", "replicas: 1", json!(1)),
        ("few", "replicas: 9", json!(1)),
        ("many", "replicas: 10", json!("10%")),
        ("as given", "replicas: 2\navailability: {maxUnavailable: 50%}", json!("50%")),
    ];
    for (why, spec, expected) in cases {
        let wanted = rendered(&format!("image: a\n{spec}"));
        let budget = &of(Kind::PodDisruptionBudget, &wanted)[0]["spec"];
        assert_eq!(budget["maxUnavailable"], expected, "{why}");
        assert_eq!(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow", "{why}");
    }
}

#[test]
fn an_orphan_has_no_owner_but_says_whose_it_is() {
    let (mut snapshot, _, old) = mid_rollout(SMALLEST, FULL);
    snapshot.service.spec.deletion_policy = Some(DeletionPolicy::Orphan);
    let plan = plan(&snapshot).unwrap();
    let wanted = all(&plan, &snapshot, &running(&[(&old, 2), (&plan.revision, 1)]));
    assert!(wanted.len() > 8);
    for (key, body) in &wanted {
        assert_eq!(body["metadata"]["ownerReferences"], Value::Null, "{key}");
        assert_eq!(body["metadata"]["annotations"][ownership::OWNER_UID], plan.uid.as_str(), "{key}");
        assert!(ownership::is_ours(body, &plan.name, &plan.uid), "{key}");
        assert!(!ownership::is_ours(body, &plan.name, "another uid"), "{key}");
    }
    assert!(wanted[&revision_key(Kind::ConfigMap, "checkout", &old)]["data"]["plan.json"].is_string(), "a record is applied whole");
}

#[test]
fn pods_drain_before_they_end() {
    let pod = |health: &str| {
        let wanted = rendered(&format!("image: a\nports: [{{name: http, port: 80}}]\nhealth: {health}"));
        of(Kind::Deployment, &wanted)[0]["spec"]["template"]["spec"].clone()
    };
    let cases = [
        ("by default", "{}", json!(5), 45),
        ("not at all", "{drainSeconds: 0}", Value::Null, 45),
        ("a long drain leaves time to shut down", "{drainSeconds: 100}", json!(100), 140),
        ("as given", "{drainSeconds: 100, terminationGraceSeconds: 101}", json!(100), 101),
    ];
    for (why, health, drain, grace) in cases {
        let pod = pod(health);
        assert_eq!(pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"], drain, "{why}");
        assert_eq!(pod["terminationGracePeriodSeconds"], grace, "{why}");
    }
}

#[test]
fn pull_secrets_of_the_namespace_are_never_lost() {
    let secrets = |spec: &str, kind: Kind| {
        let wanted = rendered(spec);
        let body = of(kind, &wanted)[0].clone();
        let pod = &body["spec"]["template"]["spec"]["imagePullSecrets"];
        if kind == Kind::Deployment { pod.clone() } else { body["imagePullSecrets"].clone() }
    };
    let both = json!([{"name": "namespace-registry"}, {"name": "own"}]);
    assert_eq!(secrets("image: a", Kind::Deployment), Value::Null, "the account's are taken");
    assert_eq!(secrets("image: a", Kind::ServiceAccount), json!([{"name": "namespace-registry"}]));
    assert_eq!(secrets("{image: a, imagePullSecrets: [{name: own}]}", Kind::Deployment), both, "the account's would be ignored");
    assert_eq!(secrets("{image: a, imagePullSecrets: [{name: own}]}", Kind::ServiceAccount), both);
}
