//! Features of a route that not every Gateway has. What a cluster's definition of a route does not know is refused; what a Gateway's class does not list
//! is reported as not proven: a controller may accept it and ignore it (Contour does with several), and only traffic shows that.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Routing, gateway_api};
use crate::api::ProductionServiceSpec;
use crate::api::expose::RouteProtocol;
use crate::api::rollout::{RequestMatch, Strategy};
use crate::decide::plan::Refusal;

/// How often it is looked whether routes have a field by now that a service waits for.
pub const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// Why a spec is refused that waits for one.
const UNKNOWN: &str = "RouteFieldUnknown";

/// What a Gateway's class says that its controller can do, by the Gateway's `NAMESPACE/NAME`.
pub type Listed = BTreeMap<String, Result<Class, String>>;

/// A `GatewayClass`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// `status.supportedFeatures`; empty where the controller does not fill it in.
    pub features: BTreeSet<String>,
}

/// A feature that a spec asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Path of the field that asks for it.
    pub field: &'static str,
    /// What the Gateway API calls it in `supportedFeatures`; `None`: it has no name there.
    pub name: Option<&'static str>,
    /// The field of a route's rule that it needs, where not every version of the Gateway API has that.
    pub rule: Option<&'static str>,
}

/// Features that a spec asks of the route that `expose` makes, beside what every Gateway has.
#[must_use]
pub fn asked(spec: &ProductionServiceSpec) -> Vec<Feature> {
    let Some(expose) = &spec.expose else { return Vec::new() };
    let grpc = expose.protocol == Some(RouteProtocol::Grpc);
    let mut features = Vec::new();
    let mut ask = |field, name, rule| features.push(Feature { field, name, rule });
    if expose.timeout_seconds.is_some() {
        ask("expose.timeoutSeconds", Some("HTTPRouteRequestTimeout"), None);
    }
    if let Some(retries) = gateway_api::retries(spec) {
        ask("resilience.retries", Some("HTTPRouteRetryCodes"), Some("retry"));
        if retries.per_try_timeout_seconds.is_some() {
            ask("resilience.retries.perTryTimeoutSeconds", Some("HTTPRouteBackendTimeout"), None);
        }
    }
    let strategy = spec.rollout.as_ref().and_then(|rollout| rollout.strategy.as_ref());
    let Some(Strategy::Canary(canary)) = strategy else { return features };
    if let Some(percent) = canary.mirror_percent {
        let name = if grpc { None } else { Some("HTTPRouteRequestMirror") };
        ask("canary.mirrorPercent", name, None);
        if percent < 100 && !grpc {
            ask("canary.mirrorPercent below 100", Some("HTTPRouteRequestPercentageMirror"), None);
        }
    }
    if canary.matches.iter().any(|request| matches!(request, RequestMatch::Query(_))) {
        ask("canary.match.query", Some("HTTPRouteQueryParamMatching"), None);
    }
    if canary.matches.iter().any(|request| matches!(request, RequestMatch::Cookie(_))) {
        ask("canary.match.cookie", None, None);
    }
    if canary.stickiness.is_some() {
        ask("canary.stickiness", None, Some("sessionPersistence"));
    }
    features
}

/// Fields of a route's rule that a spec needs and not every version of the Gateway API has.
#[must_use]
pub fn fields(spec: &ProductionServiceSpec) -> BTreeSet<&'static str> {
    asked(spec).iter().filter_map(|feature| feature.rule).collect()
}

/// When to look again for a field that was refused: nothing tells of a newer Gateway API.
#[must_use]
pub fn wake(refusals: &[Refusal], now: Timestamp) -> Option<Timestamp> {
    refusals.iter().any(|refusal| refusal.reason == UNKNOWN).then(|| now + LOOK_AGAIN)
}

/// Features that the cluster's routes have no field for.
pub fn refused(spec: &ProductionServiceSpec, routing: &Routing, refusals: &mut Vec<Refusal>) {
    let known = routing.fields.as_ref();
    for feature in asked(spec) {
        let Some((rule, known)) = feature.rule.zip(known) else { continue };
        if !known.contains(rule) {
            let channel = if rule == "sessionPersistence" { "the experimental channel of the Gateway API" } else { "a newer Gateway API" };
            let path = if feature.field.starts_with("canary") { "spec.rollout.strategy." } else { "spec." };
            let field = feature.field;
            let message = format!("{path}{field}: routes of this cluster have no field {rule}; install {channel}, or remove it");
            refusals.push(Refusal::new(UNKNOWN, message));
        }
    }
}

/// What is not known to work, and why; `None`: nothing, or nothing is asked for. `gateway`: its `NAMESPACE/NAME`, or none in a mesh.
#[must_use]
pub fn unproven(spec: &ProductionServiceSpec, gateway: Option<&str>, listed: &Listed) -> Option<String> {
    let features = asked(spec);
    if features.is_empty() {
        return None;
    }
    let Some(gateway) = gateway else {
        return Some(format!("{}: a mesh lists its features nowhere", words(features.iter())));
    };
    let class = match listed.get(gateway) {
        Some(Ok(class)) => class,
        Some(Err(why)) => return Some(format!("{}: {why}", words(features.iter()))),
        None => return Some(format!("{}: the class of Gateway {gateway} is not known", words(features.iter()))),
    };
    if class.features.is_empty() {
        return Some(format!("{}: GatewayClass {} lists no features", words(features.iter()), class.name));
    }
    let missing = features.iter().filter(|feature| feature.name.is_none_or(|name| !class.features.contains(name)));
    let each = missing.map(|feature| match feature.name {
        Some(name) => format!("{}: GatewayClass {} does not list {name}", feature.field, class.name),
        None => format!("{}: the Gateway API has no name for it that a GatewayClass could list", feature.field),
    });
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| each.join("; "))
}

fn words<'a>(features: impl Iterator<Item = &'a Feature>) -> String {
    features.map(|feature| feature.field).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(canary: &serde_json::Value, more: &serde_json::Value) -> ProductionServiceSpec {
        let mut spec = serde_json::json!({
            "image": "a:1", "ports": [{"name": "http", "port": 80}], "expose": {"gateway": {"name": "public"}},
            "rollout": {"strategy": {"canary": canary}},
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn what_a_class_does_not_list_is_not_proven() {
        let retries = spec(&serde_json::json!({"router": "gatewayApi"}), &serde_json::json!({"resilience": {"retries": {"attempts": 2}}}));
        let mirror = spec(&serde_json::json!({"router": "gatewayApi", "mirrorPercent": 10}), &serde_json::json!({}));
        let plain = spec(&serde_json::json!({"router": "gatewayApi"}), &serde_json::json!({}));
        let sticky = spec(&serde_json::json!({"router": "gatewayApi", "stickiness": {"cookie": "c"}}), &serde_json::json!({}));
        let class = |features: &[&str]| -> Listed {
            let features = features.iter().map(ToString::to_string).collect();
            [("n/public".to_owned(), Ok(Class { name: "contour".into(), features }))].into()
        };
        let refused: Listed = [("n/public".to_owned(), Err("it may not be read".to_owned()))].into();
        let cases = [
            ("nothing is asked for", &plain, class(&[]), None),
            ("it lists nothing", &retries, class(&[]), Some("resilience.retries: GatewayClass contour lists no features")),
            (
                "another feature",
                &retries,
                class(&["HTTPRouteCORS"]),
                Some("resilience.retries: GatewayClass contour does not list HTTPRouteRetryCodes"),
            ),
            ("the feature", &retries, class(&["HTTPRouteRetryCodes"]), None),
            ("it is not known", &retries, Listed::new(), Some("resilience.retries: the class of Gateway n/public is not known")),
            ("it may not be read", &retries, refused, Some("resilience.retries: it may not be read")),
            (
                "all of them, not a share",
                &mirror,
                class(&["HTTPRouteRequestMirror"]),
                Some("canary.mirrorPercent below 100: GatewayClass contour does not list HTTPRouteRequestPercentageMirror"),
            ),
            (
                "it has no name",
                &sticky,
                class(&["HTTPRoute"]),
                Some("canary.stickiness: the Gateway API has no name for it that a GatewayClass could list"),
            ),
        ];
        for (why, spec, listed, expected) in cases {
            assert_eq!(unproven(spec, Some("n/public"), &listed).as_deref(), expected, "{why}");
        }
    }

    #[test]
    fn a_cookie_is_written_as_the_clusters_routes_have_it() {
        let sticky = spec(
            &serde_json::json!({"router": "gatewayApi", "stickiness": {"cookie": "c", "maxAgeSeconds": 3661}}),
            &serde_json::json!({}),
        );
        let written = |fields: Option<&[&str]>| {
            let fields = fields.map(|fields| fields.iter().map(ToString::to_string).collect());
            let plan = crate::decide::traffic::planned(&sticky, &Routing { fields, ..Routing::present() }, &mut Vec::new()).unwrap();
            gateway_api::persistence(gateway_api::stickiness(&sticky).unwrap(), plan.session_name)
        };
        let new = serde_json::json!({"type": "Cookie", "cookie": {"name": "c", "lifetimeType": "Permanent"}, "absoluteTimeout": "1h1m1s"});
        assert_eq!(written(None), new);
        assert_eq!(written(Some(&["sessionPersistence", "sessionPersistence.cookie"])), new);
        assert_eq!(
            written(Some(&["sessionPersistence", "sessionPersistence.sessionName"])),
            serde_json::json!({"type": "Cookie", "sessionName": "c", "cookieConfig": {"lifetimeType": "Permanent"}, "absoluteTimeout": "1h1m1s"})
        );
    }

    #[test]
    fn what_routes_have_no_field_for_is_refused() {
        let sticky = spec(&serde_json::json!({"router": "gatewayApi", "stickiness": {"cookie": "c"}}), &serde_json::json!({}));
        let refusals = |fields: Option<&[&str]>| {
            let fields = fields.map(|fields| fields.iter().map(ToString::to_string).collect());
            let mut refusals = Vec::new();
            refused(&sticky, &Routing { fields, ..Routing::present() }, &mut refusals);
            refusals
        };
        assert_eq!(refusals(None), [], "nobody has looked");
        assert_eq!(refusals(Some(&["retry", "sessionPersistence"])), []);
        let found = refusals(Some(&["retry"]));
        assert!(
            found[0]
                .message
                .starts_with("spec.rollout.strategy.canary.stickiness: routes of this cluster have no field sessionPersistence")
        );
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(wake(&found, now), Some(now + LOOK_AGAIN));
        assert_eq!(wake(&[Refusal::new("UnknownPort", "a mistake that nobody else mends")], now), None);
    }
}
