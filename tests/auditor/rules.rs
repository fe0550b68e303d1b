//! The rules: `rollouts.md`, invariants 1, 2, 3, 7 and 12.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::state::{Revision, State};
use super::{Kind, Seen};

/// How long the operator may take to route around a revision that has lost all of its pods.
const REROUTED_WITHIN: Duration = Duration::from_secs(10);
/// Two watches deliver the same moment that far apart.
const TOLERANCE: Duration = Duration::from_millis(300);

/// Something that must not happen, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, from the start of the record.
    pub at: Duration,
    /// `capacity`, `routing`, `drain`, `decision` or `silence`.
    pub rule: &'static str,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:>7.1} s {}: {}", self.at.as_secs_f64(), self.rule, self.seen)
    }
}

/// What the rules remember.
#[derive(Default)]
pub struct Rules {
    pub violations: Vec<Violation>,
    unserved: BTreeMap<String, Duration>,
    /// Since when the route is reported to send nothing to a revision that it sent something to before.
    left_out: BTreeMap<Revision, Option<Duration>>,
    /// Rollouts that ended, by service.
    ended: BTreeSet<(String, String)>,
    settled: BTreeMap<String, Duration>,
}

impl Rules {
    fn violated(&mut self, seen: &Seen, rule: &'static str, what: String) {
        self.violations.push(Violation { at: seen.at, rule, seen: what });
    }

    /// No write leaves less capacity behind what is routed than the load needs, unless it was less already.
    pub fn capacity(&mut self, state: &State, seen: &Seen, service: &str, before: Option<i64>) {
        let after = state.coverage(service, seen.at);
        if state.services[service]["spec"]["ports"].as_array().is_none_or(Vec::is_empty) {
            // Nobody calls it.
            return;
        }
        let (Some(before), Some(after)) = (before, after.or(before.map(|_| 0))) else { return };
        if after < before && after < 1000 {
            let pods: Vec<String> = state
                .revisions(service)
                .iter()
                .map(|revision| format!("{} {} of {} ready", revision.1, state.ready(revision), state.deployments[revision]))
                .collect();
            let share = |thousandths: i64| format!("{}.{}%", thousandths / 10, thousandths % 10);
            self.violated(
                seen,
                "capacity",
                format!(
                    "{:?} {}: {service} needs {} pods, the routed ones carried {} of that and now {} ({}; routed {:?}, weights {:?})",
                    seen.kind,
                    seen.object["metadata"]["name"].as_str().unwrap_or_default(),
                    state.replicas(service),
                    share(before),
                    share(after),
                    pods.join(", "),
                    state.routed(service).iter().map(|revision| revision.1.as_str()).collect::<Vec<_>>(),
                    state.weights(service).map(|weights| weights.into_values().collect::<Vec<_>>()),
                ),
            );
        }
    }

    /// Requests always reach a ready pod where there is any.
    pub fn routing(&mut self, state: &State, seen: &Seen, service: &str) {
        let front = state.fronts.get(service).map(|front| &front["spec"]["selector"]);
        let foreign = |selector: &Value| {
            let keys = selector.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
            selector["plimsoll.dev/service"] != service || keys.into_iter().any(|key| !key.starts_with("plimsoll.dev/"))
        };
        if seen.kind == Kind::Service && seen.object["metadata"]["name"] == service && front.is_some_and(foreign) {
            self.violated(seen, "routing", format!("the front Service of {service} selects {}", front.unwrap_or(&Value::Null)));
        }
        let routed = state.routed(service);
        let elsewhere = state.revisions(service).into_iter().find(|revision| !routed.contains(revision) && state.ready(revision) > 0);
        let unserved = !routed.is_empty() && routed.iter().all(|revision| state.ready(revision) == 0) && elsewhere.is_some();
        if !unserved {
            self.unserved.remove(service);
            return;
        }
        let since = *self.unserved.entry(service.to_owned()).or_insert(seen.at);
        if seen.at.saturating_sub(since) > REROUTED_WITHIN {
            self.violated(seen, "routing", format!("{service} is routed to {routed:?} without a ready pod, and {elsewhere:?} has some"));
            self.unserved.insert(service.to_owned(), seen.at);
        }
    }

    /// What the route sent requests to keeps its pods until every parent has reported the route, and the drain time longer.
    pub fn drain(&mut self, state: &State, asked: &BTreeMap<Revision, i64>, seen: &Seen, service: &str) {
        let Some(weights) = state.weights(service) else { return };
        let expose = &state.services[service]["spec"]["expose"];
        let drain = expose["drainSeconds"].as_u64().unwrap_or(expose["timeoutSeconds"].as_u64().unwrap_or(0).max(2));
        for revision in state.revisions(service) {
            if weights.get(&revision).is_some_and(|weight| *weight > 0) {
                self.left_out.insert(revision, None);
                continue;
            }
            let Some(since) = self.left_out.get_mut(&revision) else { continue };
            let since = match *since {
                None if state.reported(service) => *since.insert(seen.at),
                None => Duration::MAX,
                Some(since) => since,
            };
            let shrank = asked.get(&revision).is_some_and(|before| state.deployments[&revision] < *before);
            if shrank && (since == Duration::MAX || seen.at + TOLERANCE < since + Duration::from_secs(drain)) {
                let waited = seen.at.saturating_sub(since).as_secs_f64();
                let why = if since == Duration::MAX {
                    "before its route was reported".to_owned()
                } else {
                    format!("{waited:.1} s after its route was reported, {drain} s are needed")
                };
                self.violated(seen, "drain", format!("{} of {service} was scaled down {why}", revision.1));
            }
        }
    }

    /// A rollout goes forward, decides each thing once, and ends once.
    pub fn decision(&mut self, old: Option<&Value>, seen: &Seen) {
        let Some(old) = old else { return };
        let service = seen.object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let (before, after) = (&old["status"]["rollout"], &seen.object["status"]["rollout"]);
        let (from, to) = (&before["progress"], &after["progress"]);
        if before.is_object() && after.is_null() {
            // Lost, as by a restored backup: what follows is rebuilt from what the cluster shows.
            self.ended.retain(|(of, _)| *of != service);
        } else if from.is_object() && from["id"] == to["id"] {
            if let (Some(from_rank), Some(to_rank)) = (rank(from), rank(to))
                && to_rank < from_rank
            {
                self.violated(seen, "decision", format!("{} of {service} went back from {from_rank:?} to {to_rank:?}", from["id"]));
            }
            let skipped = to["step"].as_i64() > from["step"].as_i64().map(|step| step + 1);
            let ordered = after["commands"].to_string().contains("promoteFull");
            if skipped && !ordered {
                self.violated(
                    seen,
                    "decision",
                    format!("{} of {service} skipped from step {} to {}", from["id"], from["step"], to["step"]),
                );
            }
            let begun = |progress: &Value| progress["weightSince"].as_str().map(str::to_owned);
            let same = from["step"] == to["step"] && from["stage"] == to["stage"] && from["stage"] == "Soaking";
            if same && begun(from).is_some() && begun(from) != begun(to) {
                self.violated(seen, "decision", format!("step {} of {} of {service} soaks anew", from["step"], from["id"]));
            }
        } else if let Some(id) = from["id"].as_str() {
            let first = before["stable"].is_null();
            // A revision that is rolled out again later has the same name, and another beginning.
            let rollout = format!("{id} since {}", from["started"]);
            if !first && !self.ended.insert((service.clone(), rollout)) {
                self.violated(seen, "decision", format!("{id} of {service} ended twice"));
            }
        }
        if before["stable"].is_string() && before["stable"] != after["stable"] && after.is_object() && from["revision"] != after["stable"] {
            self.violated(
                seen,
                "decision",
                format!("{} of {service} became stable, and {} was rolled out", after["stable"], from["revision"]),
            );
        }
    }

    /// Notes since when a service is settled.
    pub fn settle(&mut self, seen: &Seen) {
        let name = seen.object["metadata"]["name"].as_str().unwrap_or_default();
        let status = &seen.object["status"];
        let settled = (status["phase"] == "Stable" || status["phase"] == "RolledBack")
            && status["observedGeneration"] == seen.object["metadata"]["generation"];
        if settled && !seen.gone {
            self.settled.entry(name.to_owned()).or_insert(seen.at);
        } else {
            self.settled.remove(name);
        }
    }

    /// A settled service is left alone: whatever the operator writes has a cause from outside.
    pub fn silence(&mut self, state: &State, seen: &Seen, outside: Duration, quiet: Duration) {
        let labels = &seen.object["metadata"]["labels"];
        let own = seen.object["metadata"]["name"].as_str().filter(|name| state.services.contains_key(*name));
        let Some(service) = labels["plimsoll.dev/service"].as_str().or(own).map(str::to_owned) else { return };
        let still = self.settled.get(&service).is_some_and(|since| seen.at > *since + quiet && seen.at > outside + quiet);
        if still {
            let name = seen.object["metadata"]["name"].as_str().unwrap_or_default();
            self.violated(
                seen,
                "silence",
                format!("{:?} {name} was written although {service} was settled and nothing had happened", seen.kind),
            );
        }
    }
}

/// How far a rollout is: steps, and within a step its stages. Taking back comes after everything.
fn rank(progress: &Value) -> Option<(i64, i64)> {
    let back = progress["cause"].is_object();
    let stage = match progress["stage"].as_str()? {
        "Starting" | "Shifting" => 0,
        "Soaking" => 1,
        "Baking" => 2,
        "Draining" if !back => 3,
        "RollingBack" => return Some((i64::MAX, 0)),
        "Draining" => return Some((i64::MAX, 1)),
        _ => return None,
    };
    Some((progress["step"].as_i64()?, stage))
}
