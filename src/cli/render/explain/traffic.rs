//! How the service is reached, and by whom.

use serde_json::Value;

use super::{Origin, Rows, seconds, text};
use crate::api::ProductionServiceSpec;
use crate::decide::plan::Plan;
use crate::decide::traffic::gateway_api;

pub(super) fn route(rows: &mut Rows, plan: &Plan) {
    let (Some(route), Some(expose)) = (&plan.route, &plan.spec.expose) else { return };
    let by = if route.weighted { "its weights divide the requests between revisions" } else { "everything goes to the Service" };
    let kind = gateway_api::kind(route.protocol).names().1;
    rows.add("route", format!("{kind} by {}", route.entrance.named(&plan.name)), Origin::Spec, by);
    rows.given("expose.port", route.port.to_string(), expose.port.is_some(), "the first port takes the requests");
    let timeout = expose.timeout_seconds.map_or_else(|| "the Gateway's".to_owned(), seconds);
    rows.given("expose.timeoutSeconds", timeout, expose.timeout_seconds.is_some(), "then the proxy answers 504");
    if route.weighted {
        let why = "after the Gateway's report that they get no more requests, pods go on for so long";
        rows.given("expose.drainSeconds", seconds(route.drain_seconds), expose.drain_seconds.is_some(), why);
    }
}

pub(super) fn network(rows: &mut Rows, spec: &ProductionServiceSpec, service: Option<&Value>) {
    match service {
        Some(service) => {
            let ports = service["spec"]["ports"].as_array().into_iter().flatten();
            let words: Vec<_> = ports.map(|port| format!("{} {}", text(&port["name"]), port["port"])).collect();
            rows.add("Service", words.join(", "), Origin::Computed, "ClusterIP; the ports of the app, same numbers");
        }
        None => rows.add("Service", "none", Origin::Unset, "without ports there is nothing to call"),
    }
    let policy = spec.network.as_ref().and_then(|network| network.policy);
    let word = serde_json::to_value(policy.unwrap_or_default()).unwrap_or_default();
    rows.given("network.policy", text(&word), policy.is_some(), "open: no NetworkPolicy; isolated: only what allowFrom and allowTo say");
    let word = serde_json::to_value(spec.deletion_policy.unwrap_or_default()).unwrap_or_default();
    rows.given(
        "deletionPolicy",
        text(&word),
        spec.deletion_policy.is_some(),
        "what deleting this resource does to the app: delete, or orphan to leave it serving",
    );
}
