//! The Gateway API: an `HTTPRoute` or `GRPCRoute` whose backends are the revisions' Services.
//!
//! `rules` and `backendRefs` are atomic lists, so a route is written whole. What it *does* is read from its status: each parent that the spec
//! names has to say Accepted and `ResolvedRefs` at the route's own generation. A parent that no controller knows never says anything, and that
//! is not taken for consent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{RoutePlan, Routed};
use crate::api::expose::RouteProtocol;
use crate::decide::plan::Plan;
use crate::decide::render::ownership::{Owner, revision_name};
use crate::decide::snapshot::{Kind, ObjectKey};

const GROUP: &str = "gateway.networking.k8s.io";

/// The kind of the route.
#[must_use]
pub const fn kind(protocol: RouteProtocol) -> Kind {
    match protocol {
        RouteProtocol::Http => Kind::HttpRoute,
        RouteProtocol::Grpc => Kind::GrpcRoute,
    }
}

/// The route that gives each revision its percent of the requests; without weights, everything to the front Service.
#[must_use]
pub fn route(plan: &Plan, route: &RoutePlan, weights: &BTreeMap<String, i32>) -> (ObjectKey, Value) {
    let backend = |name: &str, weight: i32| json!({"group": "", "kind": "Service", "name": name, "port": route.port, "weight": weight});
    let backends: Vec<Value> = if weights.is_empty() {
        vec![backend(&plan.name, 1)]
    } else {
        weights.iter().map(|(revision, weight)| backend(&revision_name(&plan.name, revision), *weight)).collect()
    };
    let expose = plan.spec.expose.as_ref();
    let mut rule = json!({"backendRefs": backends});
    if let Some(seconds) = expose.and_then(|expose| expose.timeout_seconds) {
        rule["timeouts"] = json!({"request": format!("{seconds}s")});
    }
    let paths = expose.map(|expose| expose.rules.as_slice()).unwrap_or_default();
    let rules: Vec<Value> = match (route.protocol, paths) {
        (RouteProtocol::Grpc, _) | (RouteProtocol::Http, []) => vec![rule],
        (RouteProtocol::Http, paths) => {
            let of = |path: &str| {
                let mut rule = rule.clone();
                rule["matches"] = json!([{"path": {"type": "PathPrefix", "value": path}}]);
                rule
            };
            paths.iter().map(|rule| of(&rule.path)).collect()
        }
    };
    let mut parent = json!({"group": GROUP, "kind": "Gateway", "name": route.gateway});
    if let Some(namespace) = &route.gateway_namespace {
        parent["namespace"] = namespace.clone().into();
    }
    if let Some(section) = &route.section {
        parent["sectionName"] = section.clone().into();
    }
    let mut spec = json!({"parentRefs": [parent], "rules": rules});
    if let Some(expose) = expose.filter(|expose| !expose.hostnames.is_empty()) {
        spec["hostnames"] = json!(expose.hostnames);
    }
    let key = ObjectKey::new(kind(route.protocol), &plan.name);
    let body = Owner::of(plan).object(&key, None, json!({"spec": spec}));
    (key, body)
}

/// What a live route of the service shows.
#[must_use]
pub fn observed(service: &str, body: &Value) -> Routed {
    Routed { weights: weights(service, body), unreported: unreported(body) }
}

/// The least that any rule gives: a rule that somebody else has changed is no weight of ours.
fn weights(service: &str, body: &Value) -> BTreeMap<String, i32> {
    let mut found: BTreeMap<String, i32> = BTreeMap::new();
    let rules = body["spec"]["rules"].as_array().into_iter().flatten();
    let backends = rules.flat_map(|rule| rule["backendRefs"].as_array().into_iter().flatten());
    for backend in backends {
        let name = backend["name"].as_str().and_then(|name| name.strip_prefix(service)).and_then(|name| name.strip_prefix('-'));
        let Some(revision) = name else { continue };
        let weight = backend["weight"].as_i64().and_then(|weight| i32::try_from(weight).ok()).unwrap_or(1);
        found.entry(revision.to_owned()).and_modify(|least| *least = weight.min(*least)).or_insert(weight);
    }
    found
}

fn unreported(body: &Value) -> Option<String> {
    let generation = body["metadata"]["generation"].as_i64();
    let statuses = || body["status"]["parents"].as_array().into_iter().flatten();
    let parents = body["spec"]["parentRefs"].as_array().into_iter().flatten();
    let same = |one: &Value, other: &Value| {
        ["name", "sectionName"].iter().all(|field| one[*field] == other[*field])
            && (one["namespace"].is_null() || one["namespace"] == other["namespace"])
    };
    for parent in parents {
        let name = format!("Gateway {}", parent["name"].as_str().unwrap_or_default());
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
            let (_, body) = route(&plan, plan.route.as_ref().unwrap(), &weights);
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
