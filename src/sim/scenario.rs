//! The file format of `examples/scenarios/*.yaml`: a service, how its images behave, and what happens when.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;

pub use super::behaviour::Behaviour;
pub use super::jobs::JobEnd;
pub use super::values::{Share, Wait};
use super::world::merge;
use crate::api::ProductionServiceSpec;
use crate::api::control::PromoteTo;

/// A scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence or two.
    pub description: String,
    /// The service's name. Default: `shop`.
    #[serde(default = "shop")]
    pub name: String,
    /// The service, as in a `ProductionService`.
    pub service: ProductionServiceSpec,
    /// Merged into `service` at 0:00, once the service as given above has become stable. Absent: the clock starts when the service is
    /// created, which shows its first revision.
    pub candidate: Option<Value>,
    /// How images behave, by image. One that is not named here starts in a few seconds and never fails.
    #[serde(default)]
    pub images: BTreeMap<String, Behaviour>,
    /// What users send. Default: nothing.
    #[serde(default)]
    pub traffic: Traffic,
    /// Other services of the namespace, by name, with the image that is stable there. Default: none.
    #[serde(default)]
    pub neighbours: BTreeMap<String, String>,
    /// How the Jobs of gates end, by gate. One that is not named here succeeds after ten seconds.
    #[serde(default)]
    pub jobs: BTreeMap<String, JobEnd>,
    /// Statuses that webhooks are answered with, by gate, one after another; the last one stays. Default: 200.
    #[serde(default)]
    pub webhooks: BTreeMap<String, Vec<u16>>,
    /// Number of nodes, 1 to 100. Default: 3.
    #[serde(default = "three")]
    pub nodes: usize,
    /// What happens, in any order.
    #[serde(default)]
    pub events: Vec<Event>,
    /// When the scenario ends, counted from 0:00, if the service has not come to rest before. Default: 2 h.
    #[serde(default = "two_hours")]
    pub until: Wait,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// What is wrong, where (line, or path of the field), and what to write instead.
    pub fn read(text: &str) -> Result<Self, String> {
        let scenario: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let raw: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        known("service", &raw["service"], &scenario.service)?;
        let patches = scenario.events.iter().enumerate().filter_map(|(index, event)| match &event.action {
            Action::Spec(patch) => Some((format!("events[{index}].do.spec"), patch)),
            _ => None,
        });
        let mut spec = raw["service"].clone();
        for (path, patch) in scenario.candidate.iter().map(|patch| ("candidate".to_owned(), patch)).chain(patches) {
            merge(&mut spec, patch);
            let parsed: ProductionServiceSpec = serde_json::from_value(spec.clone()).map_err(|error| format!("{path}: {error}"))?;
            known(&path, &spec, &parsed)?;
        }
        if !(1..=100).contains(&scenario.nodes) {
            return Err(format!("nodes: {} is not a number from 1 to 100", scenario.nodes));
        }
        Ok(scenario)
    }
}

/// Every field that was written is one that a `ProductionService` has: it is still there after reading and writing.
fn known(path: &str, raw: &Value, spec: &ProductionServiceSpec) -> Result<(), String> {
    let kept = serde_json::to_value(spec).unwrap_or_default();
    match dropped(path, raw, &kept) {
        Some(path) => Err(format!("{path}: a ProductionService has no such field; `kubectl explain psvc.spec` lists them")),
        None => Ok(()),
    }
}

fn dropped(path: &str, raw: &Value, kept: &Value) -> Option<String> {
    match (raw, kept) {
        (Value::Object(raw), Value::Object(kept)) => raw.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match kept.get(name) {
                Some(kept) => dropped(&path, value, kept),
                // What is empty is left out in writing.
                None => (!matches!(value, Value::Null)
                    && !value.as_array().is_some_and(Vec::is_empty)
                    && !value.as_object().is_some_and(serde_json::Map::is_empty))
                .then_some(path),
            }
        }),
        (Value::Array(raw), Value::Array(kept)) => {
            raw.iter().zip(kept).enumerate().find_map(|(index, (raw, kept))| dropped(&format!("{path}[{index}]"), raw, kept))
        }
        _ => None,
    }
}

fn shop() -> String {
    "shop".to_owned()
}

const fn three() -> usize {
    3
}

const fn two_hours() -> Wait {
    Wait(SignedDuration::from_hours(2))
}

/// Something that happens.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// When, counted from 0:00: `90s`, `10m`, `1h`.
    pub at: Wait,
    /// What.
    #[serde(rename = "do")]
    pub action: Action,
}

/// What can happen.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Somebody changes `spec`: the given fields are merged into it, null removes one.
    Spec(Value),
    /// `control.paused`.
    Pause(bool),
    /// `control.abort` of the present candidate.
    Abort {},
    /// `control.promote` of the present candidate.
    Promote(PromoteTo),
    /// `control.retry` of the revision that the spec describes.
    Retry {
        /// Which attempt this shall be.
        attempt: i32,
    },
    /// `control.approve` of a gate of the present candidate.
    Approve {
        /// The gate.
        gate: String,
        /// Who.
        by: String,
    },
    /// Another service has promoted an image, by name.
    Neighbours(BTreeMap<String, String>),
    /// The Jobs of gates end like this from now on.
    Jobs(BTreeMap<String, JobEnd>),
    /// Somebody deletes the Jobs of gates.
    DeleteJobs {},
    /// `kubectl scale`.
    Scale(i32),
    /// The autoscaler writes the scale subresource.
    Autoscale(i32),
    /// A node stops answering; nodes are counted from 0.
    LoseNode(usize),
    /// It comes back.
    RestoreNode(usize),
    /// The operator is not there for so long.
    OperatorDown(Wait),
    /// The operator dies around one of its next writes, and is back after so long.
    OperatorDies(Death),
    /// So many of the operator's next writes are answered 409.
    Conflicts(u32),
    /// A second operator runs too, for so long.
    SecondOperator(Wait),
    /// What the operator sees is this old from now on.
    Lag {
        /// What lags.
        watch: Watch,
        /// By how much.
        by: Wait,
    },
    /// Metrics are not what they should be for so long.
    Metrics {
        /// What comes instead.
        answer: Answer,
        /// For how long.
        lasting: Wait,
        /// Only of every second pod. Default: of all.
        #[serde(default)]
        half: bool,
    },
    /// Images behave like this from now on.
    Behave(BTreeMap<String, Behaviour>),
    /// Users send this from now on.
    Traffic(Traffic),
    /// The Gateway's controller does nothing for so long: routes neither take effect nor are reported.
    GatewayStops(Wait),
    /// `status` is lost, as after restoring a backup.
    LoseStatus {},
    /// Somebody edits the Deployment of a revision: `stable` or `candidate`.
    EditReplicas {
        /// Whose.
        of: Role,
        /// To how many.
        replicas: i32,
    },
    /// Somebody deletes the Deployment of a revision.
    DeleteDeployment(Role),
    /// The service is deleted.
    DeleteService {},
    /// Operators and metrics are well again.
    Heal {},
}

/// What the operator watches; each of these can lag by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Watch {
    /// The `ProductionService`.
    Service,
    /// Objects that plimsoll makes.
    Objects,
    /// Pods.
    Pods,
}

impl Watch {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Service, Self::Objects, Self::Pods];
}

/// A revision's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// The one that was promoted last.
    Stable,
    /// The one that is being rolled out.
    Candidate,
}

/// How and when the operator dies.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Death {
    /// At which of its next writes, counted from 1; the write of the status counts.
    pub at_write: u32,
    /// Whether that write reached the API server.
    pub applied: bool,
    /// How long it takes until an operator is back.
    pub back_after: Wait,
}

/// What comes instead of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Connections are refused.
    Down,
    /// Nothing within the time that the operator waits.
    Hangs,
    /// Status 500.
    Status500,
    /// An empty page.
    Empty,
    /// A page for people.
    Html,
    /// A sample that is `NaN`.
    NotANumber,
    /// A page that ends in the middle of a line.
    Cut,
}

/// What users send.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Traffic {
    /// Requests in a second, on average.
    pub requests_per_second: f64,
    /// The rate follows a curve with a period of a day, from a quarter of this rate to all of it, highest at noon UTC. Default: false.
    #[serde(default)]
    pub daily: bool,
}

impl Traffic {
    /// Requests in a second at a moment.
    pub(super) fn rate(&self, now: Timestamp) -> f64 {
        if !self.daily {
            return self.requests_per_second;
        }
        let seconds = i32::try_from(now.as_second().rem_euclid(86_400)).unwrap_or(0);
        let phase = std::f64::consts::TAU * f64::from(seconds) / 86_400.0;
        self.requests_per_second * (0.625 - 0.375 * libm::cos(phase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_are_read_or_refused_with_a_remedy() {
        let wait = |text: &str| serde_json::from_value::<Wait>(text.into());
        assert_eq!(wait("90s").unwrap().0, SignedDuration::from_secs(90));
        assert_eq!(wait("1h30m").unwrap().0, SignedDuration::from_mins(90));
        assert!(wait("soon").unwrap_err().to_string().contains("write for example"));
        assert!(wait("-5s").is_err(), "nothing happens before the beginning");
        let read = |text: &str| serde_json::from_value::<Share>(text.into());
        assert_eq!(read("5%").unwrap(), Share(0.05));
        assert!(read("500%").unwrap_err().to_string().contains("write for example"));
    }

    #[test]
    fn a_wrong_file_is_refused_with_place_and_remedy() {
        let good = "description: x\nservice:\n  image: shop:1\n  rollout: {strategy: {canary: {steps: [{weight: 5}]}}}\ncandidate: {image: shop:2}\n";
        assert!(Scenario::read(good).is_ok(), "{:?}", Scenario::read(good));
        let cases = [
            ("a typing error of ours", "untill: 1h\n", "untill"),
            ("a time that is none", "until: soon\n", "write for example"),
            ("an action that does not exist", "events: [{at: 5s, do: {explode: {}}}]\n", "explode"),
            ("no nodes", "nodes: 0\n", "nodes"),
            (
                "an unknown field of the service",
                "events: [{at: 5s, do: {spec: {rollout: {bakeSecond: 5}}}}]\n",
                "events[0].do.spec.rollout.bakeSecond",
            ),
        ];
        for (why, bad, expected) in cases {
            let error = Scenario::read(&format!("{good}{bad}")).expect_err(why);
            assert!(error.contains(expected), "{why}: {error}");
        }
        let error = Scenario::read(&good.replace("weight", "wait")).expect_err("a typing error in the service");
        assert!(error.contains("weight") || error.contains("service.rollout"), "{error}");
        assert!(Scenario::read(&format!("{good}untill: 1h\n")).expect_err("line").contains("line 6"));
    }

    #[test]
    fn the_day_has_its_high_at_noon() {
        let traffic = Traffic { requests_per_second: 100.0, daily: true };
        let at = |hour: i64| traffic.rate(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour));
        assert!((at(0) - 25.0).abs() < 1e-9);
        assert!((at(12) - 100.0).abs() < 1e-9);
    }
}
