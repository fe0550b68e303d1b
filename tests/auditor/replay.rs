//! Goes through the changes one by one.

use std::time::Duration;

use serde_json::Value;

use super::rules::{Rules, Violation};
use super::state::State;
use super::{Kind, Seen};

/// After so long without anything from outside a service is left alone.
const QUIET: Duration = Duration::from_secs(10);

/// What these changes violate; they are in the order in which they were made.
pub fn replay(changes: &[Seen]) -> Vec<Violation> {
    let mut state = State::default();
    let mut rules = Rules::default();
    // The last change that did not come from the operator.
    let mut outside = Duration::ZERO;
    for (index, seen) in changes.iter().enumerate() {
        let services: Vec<String> = state.services.keys().cloned().collect();
        let moves_traffic = matches!(seen.kind, Kind::Deployment | Kind::Service | Kind::HttpRoute | Kind::GrpcRoute);
        let before: Vec<Option<i64>> = services.iter().map(|service| state.coverage(service, seen.at)).collect();
        let old = state.services.get(seen.object["metadata"]["name"].as_str().unwrap_or_default()).cloned();
        let asked = state.deployments.clone();
        if index > 0 && is_operators(seen) && !seen.gone {
            rules.silence(&state, seen, outside, QUIET);
        } else {
            outside = outside.max(seen.at);
        }
        state.take(seen);
        if seen.kind == Kind::ProductionService {
            rules.settle(seen);
            if !seen.gone {
                rules.decision(old.as_ref(), seen);
            }
        }
        for (service, before) in services.iter().zip(before).filter(|(service, _)| state.lives(service)) {
            if moves_traffic {
                rules.capacity(&state, seen, service, before);
                rules.drain(&state, &asked, seen, service);
            }
            rules.routing(&state, seen, service);
        }
    }
    rules.violations
}

/// Whether the operator was the last to write this.
fn is_operators(seen: &Seen) -> bool {
    let written = seen.object["metadata"]["managedFields"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let latest = written.iter().max_by_key(|entry| entry[0].as_str().map(str::to_owned));
    latest.is_some_and(|entry| entry[1] == "plimsoll")
}
