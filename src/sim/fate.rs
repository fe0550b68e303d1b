//! A service's own strategy against a version of a given kind: the scenario behind `simulate -f`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::json;

use super::scenario::{Behaviour, Scenario, Share, Traffic, Wait};
use crate::api::ProductionServiceSpec;

/// Words for versions, for messages.
const WORDS: &str = "good, bad-at-5% (fails that share of its requests), slow-by-3x, crash-loop, out-of-memory, never-ready";
/// Median answer of a version that is not slow, in milliseconds.
const MILLISECONDS: f64 = 60.0;

/// How a version behaves that a word names.
///
/// # Errors
/// The words that there are.
pub fn behaviour(word: &str) -> Result<Behaviour, String> {
    let good = Behaviour { latency_milliseconds: MILLISECONDS, ..Behaviour::default() };
    let after = |seconds: i64| Some(Wait(SignedDuration::from_secs(seconds)));
    let unknown = || format!("{word:?} is no kind of version; write one of: {WORDS}");
    match word {
        "good" => return Ok(good),
        "crash-loop" => return Ok(Behaviour { crashes_after: after(10), ..good }),
        "out-of-memory" => return Ok(Behaviour { out_of_memory_after: after(10), ..good }),
        "never-ready" => return Ok(Behaviour { never_ready: true, ..good }),
        _ => {}
    }
    if let Some(percent) = word.strip_prefix("bad-at-").and_then(|rest| rest.strip_suffix('%')) {
        let percent: f64 = percent.parse().map_err(|_| unknown())?;
        return if percent > 0.0 && percent <= 100.0 { Ok(Behaviour { failures: Share(percent / 100.0), ..good }) } else { Err(unknown()) };
    }
    let times = word.strip_prefix("slow-by-").and_then(|rest| rest.strip_suffix('x')).and_then(|times| times.parse::<f64>().ok());
    match times.filter(|times| (1.0..=1000.0).contains(times)) {
        Some(times) => Ok(Behaviour { latency_milliseconds: MILLISECONDS * times, ..good }),
        None => Err(unknown()),
    }
}

/// The service serves, never failing a request, and then a version that behaves like this is rolled out. Gates, windows and services that it depends
/// on are taken as open: they are no part of how a version is judged. Nor are queries of one's own: nobody knows what they would answer.
#[must_use]
pub fn scenario(name: &str, spec: &ProductionServiceSpec, candidate: Behaviour, requests_per_second: f64) -> Scenario {
    let mut spec = spec.clone();
    spec.depends_on.clear();
    spec.objectives.retain(|objective| objective.promql.is_none());
    spec.control = None;
    if let Some(rollout) = &mut spec.rollout {
        rollout.gates.clear();
        rollout.windows.clear();
        rollout.freezes.clear();
    }
    // What they hold plays no part here, and there is no cluster to read it from.
    if let Some(config) = &mut spec.config {
        config.config_map_refs.clear();
    }
    let (old, new) = ("running-version".to_owned(), "new-version".to_owned());
    spec.image.clone_from(&old);
    let good = Behaviour { latency_milliseconds: MILLISECONDS, ..Behaviour::default() };
    Scenario {
        description: String::new(),
        name: name.to_owned(),
        service: spec,
        candidate: Some(json!({"image": new})),
        images: BTreeMap::from([(old, good), (new, candidate)]),
        traffic: Traffic { requests_per_second, daily: false },
        neighbours: BTreeMap::new(),
        jobs: BTreeMap::new(),
        webhooks: BTreeMap::new(),
        nodes: 3,
        events: Vec::new(),
        until: Wait(SignedDuration::from_hours(6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_behaviour_or_are_refused_with_those_that_there_are() {
        assert!((behaviour("bad-at-5%").unwrap().failures.0 - 0.05).abs() < 1e-12);
        assert!((behaviour("slow-by-3x").unwrap().latency_milliseconds - 180.0).abs() < 1e-9);
        assert!(behaviour("crash-loop").unwrap().crashes_after.is_some());
        for word in ["bad", "bad-at-%", "bad-at-0%", "bad-at-101%", "slow-by-0x", "slow"] {
            assert!(behaviour(word).unwrap_err().contains("bad-at-5%"), "{word}");
        }
    }
}
