//! The Gateway API: an `HTTPRoute` or `GRPCRoute` whose backends are the revisions' Services.
//!
//! `rules` and `backendRefs` are atomic lists, so a route is written whole. What it *does* is read from its status: each parent that the spec
//! names has to say Accepted and `ResolvedRefs` at the route's own generation. A parent that no controller knows never says anything, and that
//! is not taken for consent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Entrance, RoutePlan, Routed};
use crate::api::ProductionServiceSpec;
use crate::api::expose::RouteProtocol;
use crate::api::resilience::Retries;
use crate::api::rollout::{Named, RequestMatch, Stickiness, Strategy};
use crate::decide::plan::Plan;
use crate::decide::render::ownership::{Owner, revision_name};
use crate::decide::render::service::preview_name;
use crate::decide::snapshot::{Kind, ObjectKey};
use crate::decide::strategy::Target;

const GROUP: &str = "gateway.networking.k8s.io";
/// Answers of a proxy or an app that is not there.
const GATEWAY_ERRORS: [i32; 3] = [502, 503, 504];

/// The kind of the route.
#[must_use]
pub const fn kind(protocol: RouteProtocol) -> Kind {
    match protocol {
        RouteProtocol::Http => Kind::HttpRoute,
        RouteProtocol::Grpc => Kind::GrpcRoute,
    }
}

/// The route that gives each revision its percent of the requests, `matched` those that match, and `mirrored` copies; without weights, everything to the
/// front Service.
#[must_use]
pub fn route(plan: &Plan, route: &RoutePlan, target: &Target) -> (ObjectKey, Value) {
    let (weights, matched) = (&target.weights, target.matched.as_deref());
    let backend = |name: &str, weight: i32| json!({"group": "", "kind": "Service", "name": name, "port": route.port, "weight": weight});
    let backends: Vec<Value> = if weights.is_empty() {
        vec![backend(&plan.name, 1)]
    } else {
        weights.iter().map(|(revision, weight)| backend(&revision_name(&plan.name, revision), *weight)).collect()
    };
    let expose = plan.spec.expose.as_ref();
    let timeouts = timeouts(&plan.spec);
    let retry = retries(&plan.spec).map(retry);
    let persistence = stickiness(&plan.spec).filter(|_| !weights.is_empty()).map(|stickiness| persistence(stickiness, route.session_name));
    let mirror = target.mirrored.as_ref().map(|(revision, percent)| {
        let backend = json!({"group": "", "kind": "Service", "name": revision_name(&plan.name, revision), "port": route.port});
        let mut mirror = json!({"backendRef": backend});
        // All of them need no percent, which fewer Gateways know.
        if *percent < 100 {
            mirror["percent"] = (*percent).into();
        }
        json!([{"type": "RequestMirror", "requestMirror": mirror}])
    });
    let rule = |matches: Vec<Value>, backends: Vec<Value>| {
        let mut rule = json!({"backendRefs": backends});
        if !matches.is_empty() {
            rule["matches"] = matches.into();
        }
        for (field, value) in [("timeouts", &timeouts), ("retry", &retry), ("sessionPersistence", &persistence)] {
            if let Some(value) = value {
                rule[field] = value.clone();
            }
        }
        rule
    };
    let paths: Vec<Value> = match (route.protocol, expose) {
        (RouteProtocol::Http, Some(expose)) => expose.rules.iter().map(|rule| by_path(&rule.path)).collect(),
        _ => Vec::new(),
    };
    // Of several matches the one with more headers or parameters wins, wherever it stands.
    let of_testers = matched.filter(|_| !weights.is_empty() && !route.matches.is_empty()).map(|revision| {
        let everywhere = [json!({})];
        let paths = if paths.is_empty() { everywhere.as_slice() } else { paths.as_slice() };
        let requests = paths.iter().flat_map(|path| route.matches.iter().map(|request| also(path, request))).collect();
        rule(requests, vec![backend(&revision_name(&plan.name, revision), 1)])
    });
    let mut main = rule(paths.clone(), backends);
    if let Some(mirror) = mirror {
        main["filters"] = mirror;
    }
    let rules: Vec<Value> = std::iter::once(main).chain(of_testers).collect();
    let mut spec = json!({"parentRefs": [parent(plan, route)], "rules": rules});
    if let Some(expose) = expose.filter(|expose| !expose.hostnames.is_empty()) {
        spec["hostnames"] = json!(expose.hostnames);
    }
    let key = ObjectKey::new(kind(route.protocol), &plan.name);
    let body = Owner::of(plan).object(&key, None, json!({"spec": spec}));
    (key, body)
}

/// The route by which the preview of blue-green is reached from outside, if the spec asks for one.
#[must_use]
pub fn preview(plan: &Plan, route: &RoutePlan) -> Option<(ObjectKey, Value)> {
    let Some(Strategy::BlueGreen(blue_green)) = &plan.spec.rollout.as_ref()?.strategy else { return None };
    let hostname = &blue_green.preview.as_ref()?.hostname;
    let backend = json!({"group": "", "kind": "Service", "name": preview_name(&plan.name), "port": route.port});
    let key = ObjectKey::new(kind(route.protocol), preview_name(&plan.name));
    let spec = json!({"parentRefs": [parent(plan, route)], "hostnames": [hostname], "rules": [{"backendRefs": [backend]}]});
    let body = Owner::of(plan).object(&key, None, json!({"spec": spec}));
    Some((key, body))
}

fn parent(plan: &Plan, route: &RoutePlan) -> Value {
    match &route.entrance {
        Entrance::Mesh => json!({"group": "", "kind": "Service", "name": plan.name, "port": route.port}),
        Entrance::Gateway { namespace, name, section } => {
            let mut parent = json!({"group": GROUP, "kind": "Gateway", "name": name});
            for (field, value) in [("namespace", namespace), ("sectionName", section)] {
                if let Some(value) = value {
                    parent[field] = value.clone().into();
                }
            }
            parent
        }
    }
}

/// Retries of a spec that has an `HTTPRoute`.
pub(super) fn retries(spec: &ProductionServiceSpec) -> Option<&Retries> {
    spec.resilience.as_ref()?.retries.as_ref().filter(|_| spec.expose.is_some())
}

/// Stickiness of a canary that a router divides.
pub(super) fn stickiness(spec: &ProductionServiceSpec) -> Option<&Stickiness> {
    let Some(Strategy::Canary(canary)) = &spec.rollout.as_ref()?.strategy else { return None };
    canary.stickiness.as_ref().filter(|_| spec.expose.is_some())
}

fn timeouts(spec: &ProductionServiceSpec) -> Option<Value> {
    let seconds = |seconds: i32| json!(format!("{seconds}s"));
    let request = spec.expose.as_ref().and_then(|expose| expose.timeout_seconds).map(|limit| ("request", seconds(limit)));
    let each = retries(spec).and_then(|retries| retries.per_try_timeout_seconds).map(|limit| ("backendRequest", seconds(limit)));
    let both: serde_json::Map<String, Value> = request.into_iter().chain(each).map(|(name, value)| (name.to_owned(), value)).collect();
    (!both.is_empty()).then_some(Value::Object(both))
}

fn retry(retries: &Retries) -> Value {
    let codes = if retries.codes.is_empty() { GATEWAY_ERRORS.to_vec() } else { retries.codes.clone() };
    let mut retry = json!({"attempts": retries.attempts, "codes": codes});
    if let Some(pause) = retries.backoff_milliseconds {
        retry["backoff"] = format!("{pause}ms").into();
    }
    retry
}

/// How a route's rule says it: `session_name` as the Gateway API had it before 1.7.
pub(super) fn persistence(stickiness: &Stickiness, session_name: bool) -> Value {
    let lifetime = if stickiness.max_age_seconds.is_some() { "Permanent" } else { "Session" };
    let mut persistence = if session_name {
        json!({"type": "Cookie", "sessionName": stickiness.cookie, "cookieConfig": {"lifetimeType": lifetime}})
    } else {
        json!({"type": "Cookie", "cookie": {"name": stickiness.cookie, "lifetimeType": lifetime}})
    };
    if let Some(seconds) = stickiness.max_age_seconds {
        persistence["absoluteTimeout"] = format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60).into();
    }
    persistence
}

fn by_path(path: &str) -> Value {
    json!({"path": {"type": "PathPrefix", "value": path}})
}

/// The match of a path with what a request has to carry beside it.
fn also(path: &Value, request: &RequestMatch) -> Value {
    let mut both = path.clone();
    match request {
        RequestMatch::Header(Named { name, exact }) => both["headers"] = json!([{"type": "Exact", "name": name, "value": exact}]),
        RequestMatch::Query(Named { name, exact }) => both["queryParams"] = json!([{"type": "Exact", "name": name, "value": exact}]),
        RequestMatch::Cookie(Named { name, exact }) => {
            let one_of_them = format!("^(.*;[ ]*)?{name}={}([ ]*;.*)?$", exact.replace('.', "[.]"));
            both["headers"] = json!([{"type": "RegularExpression", "name": "cookie", "value": one_of_them}]);
        }
    }
    both
}

/// What a live route of the service shows.
#[must_use]
pub fn observed(service: &str, body: &Value) -> Routed {
    let matched = rules(body, true).find_map(|rule| revision(service, &rule["backendRefs"][0]));
    let mirrored = rules(body, false).find_map(|rule| revision(service, &rule["filters"][0]["requestMirror"]["backendRef"]));
    Routed {
        weights: weights(service, body),
        matched: matched.map(str::to_owned),
        mirrored: mirrored.map(str::to_owned),
        unreported: unreported(body),
    }
}

/// Rules for requests that carry something of their own, or those for all others.
fn rules(body: &Value, of_testers: bool) -> impl Iterator<Item = &Value> {
    let carries = |rule: &&Value| {
        let mut matches = rule["matches"].as_array().into_iter().flatten();
        matches.any(|request| request["headers"].is_array() || request["queryParams"].is_array())
    };
    body["spec"]["rules"].as_array().into_iter().flatten().filter(move |rule| carries(rule) == of_testers)
}

fn revision<'a>(service: &str, backend: &'a Value) -> Option<&'a str> {
    backend["name"].as_str()?.strip_prefix(service)?.strip_prefix('-')
}

/// The least that any rule gives: a rule that somebody else has changed is no weight of ours.
fn weights(service: &str, body: &Value) -> BTreeMap<String, i32> {
    let mut found: BTreeMap<String, i32> = BTreeMap::new();
    let backends = rules(body, false).flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
    for backend in backends {
        let Some(revision) = revision(service, backend) else { continue };
        let weight = backend["weight"].as_i64().and_then(|weight| i32::try_from(weight).ok()).unwrap_or(1);
        found.entry(revision.to_owned()).and_modify(|least| *least = weight.min(*least)).or_insert(weight);
    }
    found
}

/// Why it is not certain that every parent works by the route as it stands.
pub(super) fn unreported(body: &Value) -> Option<String> {
    let generation = body["metadata"]["generation"].as_i64();
    let statuses = || body["status"]["parents"].as_array().into_iter().flatten();
    let parents = body["spec"]["parentRefs"].as_array().into_iter().flatten();
    let same = |one: &Value, other: &Value| {
        ["name", "sectionName"].iter().all(|field| one[*field] == other[*field])
            && (one["namespace"].is_null() || one["namespace"] == other["namespace"])
    };
    for parent in parents {
        let name = format!("{} {}", parent["kind"].as_str().unwrap_or("Gateway"), parent["name"].as_str().unwrap_or_default());
        let mut said = statuses().filter(|status| same(parent, &status["parentRef"])).peekable();
        if said.peek().is_none() {
            return Some(format!("{name} has not taken the route in"));
        }
        for status in said {
            for kind in ["Accepted", "ResolvedRefs"] {
                let mut conditions = status["conditions"].as_array().into_iter().flatten();
                let condition = conditions.find(|condition| condition["type"] == kind);
                match condition {
                    Some(condition) if condition["observedGeneration"].as_i64() != generation => {
                        return Some(format!("{name} has not reported the last change yet"));
                    }
                    Some(condition) if condition["status"] == "True" => {}
                    Some(condition) => {
                        let (reason, message) = (&condition["reason"], &condition["message"]);
                        let words = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                        return Some(format!("{name} says {kind}={}: {} {}", words(&condition["status"]), words(reason), words(message)));
                    }
                    None => return Some(format!("{name} has not said whether {kind} holds")),
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(parents: &Value) -> Value {
        json!({
            "metadata": {"generation": 3},
            "spec": {"parentRefs": [{"name": "public"}], "rules": [
                {"backendRefs": [{"name": "shop-a", "weight": 90}, {"name": "shop-b", "weight": 10}]},
                {"backendRefs": [{"name": "shop-a", "weight": 90}, {"name": "shop-b", "weight": 10}]},
            ]},
            "status": {"parents": parents},
        })
    }

    fn said(name: &str, accepted: &str, resolved: &str, generation: i64) -> Value {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "observedGeneration": generation, "reason": "NotAllowed", "message": "by policy"});
        json!({"parentRef": {"name": name, "namespace": "here"}, "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", resolved)]})
    }

    #[test]
    fn a_weight_counts_when_every_parent_has_reported_it() {
        let cases = [
            ("nobody has", json!([]), Some("Gateway public has not taken the route in")),
            ("somebody else has", json!([said("private", "True", "True", 3)]), Some("Gateway public has not taken the route in")),
            ("it has", json!([said("public", "True", "True", 3)]), None),
            ("it has, before", json!([said("public", "True", "True", 2)]), Some("Gateway public has not reported the last change yet")),
            ("it refuses", json!([said("public", "False", "True", 3)]), Some("Gateway public says Accepted=False: NotAllowed by policy")),
            (
                "a backend is missing",
                json!([said("public", "True", "False", 3)]),
                Some("Gateway public says ResolvedRefs=False: NotAllowed by policy"),
            ),
            (
                "one of its two controllers has not",
                json!([said("public", "True", "True", 3), said("public", "True", "True", 2)]),
                Some("Gateway public has not reported the last change yet"),
            ),
            (
                "half a word",
                json!([{"parentRef": {"name": "public"}, "conditions": []}]),
                Some("Gateway public has not said whether Accepted holds"),
            ),
        ];
        for (why, parents, expected) in cases {
            assert_eq!(unreported(&live(&parents)).as_deref(), expected, "{why}");
        }
    }

    #[test]
    fn weights_are_read_back_as_they_were_written() {
        for percent in 0..=100 {
            let weights: BTreeMap<String, i32> = [("a".to_owned(), 100 - percent), ("b".to_owned(), percent)].into();
            let service = serde_json::json!({"image": "a:1", "ports": [{"name": "http", "port": 80}],
                "expose": {"gateway": {"name": "public"}, "rules": [{"path": "/v1"}, {"path": "/v2"}]}});
            let service = crate::api::ProductionService::new("shop", serde_json::from_value(service).unwrap());
            let plan = crate::decide::plan::of_service(&service);
            let target = Target { weights: weights.clone(), matched: Some("b".into()), ..Target::default() };
            let (_, body) = route(&plan, plan.route.as_ref().unwrap(), &target);
            assert_eq!(observed("shop", &body).weights, weights);
        }
        let mut body = live(&json!([]));
        body["spec"]["rules"][1]["backendRefs"][1]["weight"] = 50.into();
        body["spec"]["rules"][0]["backendRefs"][0]["weight"] = 0.into();
        assert_eq!(observed("shop", &body).weights, [("a".to_owned(), 0), ("b".to_owned(), 10)].into(), "the least of the rules");
        body["spec"]["rules"] = json!([{"backendRefs": [{"name": "shop", "weight": 1}]}]);
        assert_eq!(observed("shop", &body).weights, BTreeMap::new(), "everything to the front Service");
    }
}
