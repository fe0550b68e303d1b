//! Spec → [`Plan`]: every default filled in, every contradiction named. The only home of defaults.

use std::collections::BTreeMap;

use crate::api::analysis::OnNoEvidence;
use crate::api::pod::Port;
use crate::api::rollout::{Step, Strategy};
use crate::api::status::{Progress, Stage};
use crate::api::values::IntOrPercent;
use crate::api::{ProductionService, ProductionServiceSpec};

use super::analysis::convention::Reading;
use super::analysis::{Objective, ObjectiveKind, Parts, Settings};
use super::gates::{self, Gates};
use super::queries::{self, PlannedQuery};
use super::render::quantity;
use super::revision;
use super::snapshot::Snapshot;
use super::traffic::{self, RoutePlan, Routing};
use super::units::{rounded_up, share};

/// Replicas where the spec names none.
pub const REPLICAS: i32 = 2;
/// Steps of a canary for which nobody named any: weight in percent, and seconds (§12).
const CHOSEN_WEIGHTS: [i32; 4] = [5, 10, 25, 50];
const CHOSEN_SOAK_SECONDS: i32 = 30;
const CANARY_SOAK_SECONDS: i32 = 60;
const MIRROR_SECONDS: i32 = 60;
const ROLLING_SOAK_SECONDS: i32 = 10;
const PREVIEW_SOAK_SECONDS: i32 = 60;
const BAKE_SECONDS: i32 = 300;
const BAKE_SECONDS_WITHOUT_OBJECTIVES: i32 = 60;
/// Percent that a router leaves to stable until the bake has ended.
const BAKE_CONTROL_PERCENT: i32 = 10;
const PROGRESS_DEADLINE_SECONDS: i32 = 600;
const FALSE_ALARM: f64 = 0.01;
const TOLERANCE: f64 = 0.001;
const MIN_REQUESTS: i32 = 200;
const WARM_UP_SECONDS: i32 = 30;
const INTERVAL_SECONDS: i32 = 5;
/// Least seconds between two measurements where Prometheus is the source.
const PROVIDER_INTERVAL_SECONDS: i64 = 15;
/// Seconds that a pod waits, still answering, before SIGTERM.
pub const DRAIN_SECONDS: i32 = 5;
/// Seconds from the end's announcement to SIGKILL.
pub const GRACE_SECONDS: i32 = 45;
/// Path of the app's own metrics.
const METRICS_PATH: &str = "/metrics";

/// The spec with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Name of the service.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// The spec that counts: the present one, or the last accepted one while the present one is refused.
    pub spec: ProductionServiceSpec,
    /// The revision that the spec describes.
    pub revision: String,
    /// R: pods that the whole load needs.
    pub replicas: i32,
    /// The steps on the way to full.
    pub way: Way,
    /// Pods that may exist beyond R.
    pub surge: IntOrPercent,
    /// Seconds of the bake.
    pub bake_seconds: i32,
    /// Seconds without one more ready pod after which a revision has failed to start.
    pub progress_deadline_seconds: i32,
    /// What the judge is asked.
    pub settings: Settings,
    /// What a step without evidence leads to.
    pub on_no_evidence: OnNoEvidence,
    /// Objectives that are queries of the user's own.
    pub queries: Vec<PlannedQuery>,
    /// Where the app's metrics are. Absent without objectives: nothing is measured then.
    pub metrics: Option<MetricsEndpoint>,
    /// What stands in the way of moves forward.
    pub gates: Gates,
    /// The route from outside of the cluster, if there is to be one.
    pub route: Option<RoutePlan>,
    /// Percent that a router leaves to stable until the bake has ended.
    pub bake_control_percent: i32,
}

/// Where the app's metrics are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsEndpoint {
    /// The Prometheus that knows them, by its name; `None`: the pods are asked.
    pub provider: Option<String>,
    /// Number of the port; 0 with a provider.
    pub port: u16,
    /// Path, with its leading slash.
    pub path: String,
    /// How an answer is read.
    pub reading: Reading,
}

/// The steps on the way to full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Given weights.
    Canary {
        /// The steps, weights rising.
        steps: Vec<PlannedStep>,
        /// Nobody named them: what would teach nothing is left out.
        chosen: bool,
    },
    /// Slices of the size of the surge.
    Rolling {
        /// Seconds for which each slice is watched.
        soak_seconds: i32,
    },
    /// Behind the preview, then everything in one switch.
    BlueGreen {
        /// Pods behind the preview.
        warm: IntOrPercent,
        /// Seconds for which the preview is watched.
        soak_seconds: i32,
    },
}

/// A step of a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// Percent of the traffic.
    pub weight: i32,
    /// Seconds for which the step is watched.
    pub soak_seconds: i32,
    /// Pods of the candidate, where a router gives it its share and that needs fewer.
    pub replicas: Option<IntOrPercent>,
    /// Percent of the requests that it gets copies of, at weight 0.
    pub mirror: Option<i32>,
}

/// How many pods each revision has in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Pods of the candidate.
    pub candidate: i32,
    /// Pods of stable.
    pub stable: i32,
}

impl Shape {
    /// The candidate's share of the pods, in percent.
    #[must_use]
    pub fn weight(self) -> f64 {
        super::units::percent(self.candidate, self.candidate + self.stable)
    }
}

/// Why a spec cannot be honoured although admission let it pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One word, for the condition.
    pub reason: &'static str,
    /// Path of the field, what is wrong with it, and what to write instead.
    pub message: String,
}

impl Refusal {
    /// A refusal of `reason` that says `message`.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl Plan {
    /// T: pods that may exist at once during a rollout.
    #[must_use]
    pub fn most_pods(&self) -> i32 {
        self.replicas + rounded_up(&self.surge, self.replicas)
    }

    /// Steps before full.
    #[must_use]
    pub fn steps(&self) -> i32 {
        match &self.way {
            Way::Canary { steps, .. } => i32::try_from(steps.len()).unwrap_or(i32::MAX),
            Way::Rolling { .. } => (self.replicas + self.slice() - 1) / self.slice() - 1,
            Way::BlueGreen { .. } => 1,
        }
        .max(0)
    }

    /// Users never meet two versions: the traffic is switched, not divided.
    #[must_use]
    pub const fn switches(&self) -> bool {
        matches!(self.way, Way::BlueGreen { .. })
    }

    /// A router gives each revision its share of the requests.
    #[must_use]
    pub fn is_weighted(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.weighted)
    }

    /// A router is asked for, and the cluster knows none.
    #[must_use]
    pub fn lacks_router(&self) -> bool {
        self.route.as_ref().is_some_and(|route| route.weighted && !route.known)
    }

    /// The candidate gets its share step by step, by a router.
    #[must_use]
    pub fn shifts_weights(&self) -> bool {
        self.is_weighted() && !self.switches()
    }

    /// Seconds for which a step is watched; full is watched by the bake.
    #[must_use]
    pub fn soak_seconds(&self, step: i32) -> i32 {
        match &self.way {
            Way::Canary { steps, .. } => usize::try_from(step).ok().and_then(|step| steps.get(step)).map_or(0, |step| step.soak_seconds),
            Way::Rolling { soak_seconds } | Way::BlueGreen { soak_seconds, .. } => *soak_seconds,
        }
    }

    /// The weight that a step asks for, in percent. Full is 100, but for what a router leaves to stable for the bake.
    #[must_use]
    pub fn asked_weight(&self, step: i32) -> i32 {
        match &self.way {
            Way::Canary { .. } if step >= self.steps() && self.is_weighted() => 100 - self.bake_control_percent,
            Way::Canary { steps, .. } => usize::try_from(step).ok().and_then(|step| steps.get(step)).map_or(100, |step| step.weight),
            #[expect(clippy::cast_possible_truncation, reason = "a percentage")]
            Way::Rolling { .. } if step < self.steps() => self.shape(step).weight().round() as i32,
            Way::BlueGreen { .. } if step < self.steps() => 0,
            Way::Rolling { .. } | Way::BlueGreen { .. } => 100,
        }
    }

    /// Percent of the requests that the candidate gets copies of in this step, which nobody waits for; `None`: it is an ordinary step.
    #[must_use]
    pub fn mirror(&self, step: i32) -> Option<i32> {
        let Way::Canary { steps, .. } = &self.way else { return None };
        usize::try_from(step).ok().and_then(|step| steps.get(step)?.mirror)
    }

    /// The candidate's share of the traffic in a step, in percent: what a router is asked for, else its share of the pods.
    #[must_use]
    pub fn expected_weight(&self, step: i32) -> f64 {
        if self.is_weighted() { f64::from(self.asked_weight(step)) } else { self.shape(step).weight() }
    }

    /// Pods of each revision in a step (`rollouts.md`, Capacity). Steps from [`Plan::steps`] on are full. With a router the candidate has as many
    /// as its share of the requests needs, and at least one.
    ///
    /// Without one, a weight that the present number of replicas cannot reach gives what comes nearest, which is full.
    #[must_use]
    pub fn shape(&self, step: i32) -> Shape {
        let full = self.with_candidate(self.replicas);
        if step >= self.steps() {
            return full;
        }
        match &self.way {
            Way::Canary { steps, .. } if self.is_weighted() => {
                let given = usize::try_from(step).ok().and_then(|step| steps.get(step)?.replicas.as_ref());
                let given = given.map_or(0, |given| rounded_up(given, self.replicas));
                let share = self.asked_weight(step).max(self.mirror(step).unwrap_or(0));
                let candidate = (share * self.replicas + 99) / 100;
                // A share of the requests that one pod serves has nobody when that pod goes: measured, 3 of 60 a second were lost.
                let least = if self.most_pods() >= 2 * self.replicas { 2 } else { 1 };
                self.with_candidate(candidate.max(given.max(least)).min(self.replicas))
            }
            Way::Canary { .. } => self.least_reaching(self.asked_weight(step)).unwrap_or(full),
            Way::Rolling { .. } => self.with_candidate(((step + 1) * self.slice()).min(self.replicas)),
            Way::BlueGreen { warm, .. } => self.with_candidate(rounded_up(warm, self.replicas).min(self.replicas)),
        }
    }

    /// The step that a rollout is in by the present plan. Whoever bakes has got everything, also when more replicas or an edited strategy have
    /// meanwhile made the way there longer.
    #[must_use]
    pub fn step_of(&self, progress: &Progress) -> i32 {
        if progress.stage == Stage::Baking { self.steps() } else { progress.step }
    }

    fn slice(&self) -> i32 {
        rounded_up(&self.surge, self.replicas).max(1)
    }

    fn with_candidate(&self, candidate: i32) -> Shape {
        Shape { candidate, stable: self.replicas.min(self.most_pods() - candidate) }
    }

    fn least_reaching(&self, weight: i32) -> Option<Shape> {
        (1..=self.replicas)
            .map(|candidate| self.with_candidate(candidate))
            .find(|shape| 100 * shape.candidate >= weight * (shape.candidate + shape.stable))
    }
}

/// The plan that the present spec describes.
///
/// # Errors
/// What the spec asks for and cannot be honoured, every reason that was found.
pub fn plan(snapshot: &Snapshot) -> Result<Plan, Vec<Refusal>> {
    let service = &snapshot.service;
    let mut refusals = revision::refusals(&service.spec, &snapshot.config_maps);
    let revision = revision::identity(&service.spec, &snapshot.config_maps);
    let replicas = replicas(snapshot);
    let mut plan = plan_of(service, &service.spec, revision, replicas, &snapshot.around.routing, &mut refusals);
    refusals.extend(by_provider(&mut plan, snapshot.providers.as_ref()));
    refusals.extend(snapshot.providers.iter().flat_map(|known| queries::unknown(&plan.queries, known)));
    refusals.extend(snapshot.providers.iter().flat_map(|known| gates::load::unknown(&plan.gates, |name| known.contains_key(name))));
    let checked_at = service.spec.scaling.as_ref().map_or(replicas, |scaling| scaling.max_replicas);
    let at = Plan { replicas: checked_at, ..plan.clone() };
    if let Way::Canary { steps, .. } = &plan.way
        && checked_at > 0
        && !plan.is_weighted()
    {
        refusals.extend(steps.iter().enumerate().filter(|(_, step)| at.least_reaching(step.weight).is_none()).map(|(index, step)| {
            Refusal::new(
                "WeightUnreachable",
                format!(
                    "spec.rollout.strategy.canary.steps[{index}].weight: {} percent cannot be reached with {checked_at} replicas and a surge of {}: over 50 needs a router or a smaller surge",
                    step.weight,
                    rounded_up(&at.surge, checked_at),
                ),
            )
        }));
    }
    if refusals.is_empty() { Ok(plan) } else { Err(refusals) }
}

/// The plan of a spec that was accepted before, for a service whose present spec is refused.
#[must_use]
pub fn plan_of_record(snapshot: &Snapshot, revision: &str, spec: &ProductionServiceSpec) -> Plan {
    // What deleting the service does is nothing that was accepted together with an image: the present word counts, or an app that was to be
    // left behind would go.
    let spec = ProductionServiceSpec { deletion_policy: snapshot.service.spec.deletion_policy, ..spec.clone() };
    let mut plan = plan_of(&snapshot.service, &spec, revision.to_owned(), replicas(snapshot), &snapshot.around.routing, &mut Vec::new());
    by_provider(&mut plan, snapshot.providers.as_ref());
    plan
}

/// Prometheus shows nothing new before its next scrape. A name that the operator does not know is refused.
fn by_provider(plan: &mut Plan, known: Option<&BTreeMap<String, i64>>) -> Option<Refusal> {
    let name = plan.metrics.as_ref()?.provider.as_ref()?;
    let seconds = known.map_or(Some(&0), |known| known.get(name)).copied();
    plan.settings.interval_seconds = plan.settings.interval_seconds.max(PROVIDER_INTERVAL_SECONDS).max(seconds.unwrap_or_default());
    let names = || known.into_iter().flatten().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    seconds.is_none().then(|| {
        let all = names();
        let all = if all.is_empty() { "it knows none" } else { &all };
        Refusal::new("UnknownProvider", format!("spec.observability.metrics.provider: the operator knows no {name:?} ({all}); ask who runs plimsoll to add it to its providers"))
    })
}

fn plan_of(
    service: &ProductionService,
    spec: &ProductionServiceSpec,
    revision: String,
    replicas: i32,
    routing: &Routing,
    refusals: &mut Vec<Refusal>,
) -> Plan {
    let rollout = spec.rollout.clone().unwrap_or_default();
    let analysis = rollout.analysis.unwrap_or_default();
    let (way, default_surge) = way(rollout.strategy);
    let bake = if spec.objectives.is_empty() { BAKE_SECONDS_WITHOUT_OBJECTIVES } else { BAKE_SECONDS };
    let mut read = |field: &str, text: Option<&str>, default: f64, range: std::ops::RangeInclusive<f64>| {
        let Some(text) = text else { return default };
        share(text).filter(|share| range.contains(share)).unwrap_or_else(|| {
            refusals.push(Refusal::new(
                "InvalidShare",
                format!(
                    "{field}: {text:?} is not a share from {}% to {}%; write for example \"1%\"",
                    100.0 * range.start(),
                    100.0 * range.end()
                ),
            ));
            default
        })
    };
    let settings = Settings {
        false_alarm: read("spec.rollout.analysis.falseAlarm", analysis.false_alarm.as_deref(), FALSE_ALARM, 0.0001..=0.2),
        tolerance: read(
            "spec.rollout.analysis.compare.tolerance",
            analysis.compare.as_ref().and_then(|compare| compare.tolerance.as_deref()),
            TOLERANCE,
            0.0..=0.2,
        ),
        min_requests: u64::try_from(analysis.min_requests.unwrap_or(MIN_REQUESTS)).unwrap_or_default(),
        warm_up_seconds: i64::from(analysis.warm_up_seconds.unwrap_or(WARM_UP_SECONDS)),
        interval_seconds: i64::from(analysis.interval_seconds.unwrap_or(INTERVAL_SECONDS)),
        parts: Parts::default(),
        memory_limit_bytes: memory_limit_bytes(spec),
        bake_seconds: i64::from(rollout.bake_seconds.unwrap_or(bake)),
        objectives: spec
            .objectives
            .iter()
            .enumerate()
            .filter_map(|(index, objective)| {
                let kind = match (&objective.error_rate, &objective.latency) {
                    (Some(errors), _) => ObjectiveKind::ErrorRate {
                        at_most: read(&format!("spec.objectives[{index}].errorRate.atMost"), Some(&errors.at_most), 0.01, 0.0..=0.99),
                    },
                    (None, Some(latency)) => ObjectiveKind::Latency {
                        percentile: f64::from(latency.percentile),
                        at_most_milliseconds: f64::from(latency.at_most_milliseconds),
                    },
                    (None, None) => return None,
                };
                Some(Objective { name: objective.name.clone(), kind })
            })
            .collect(),
    };
    let metrics = metrics(spec, refusals);
    let given = spec.observability.as_ref().and_then(|observability| observability.metrics.as_ref());
    // Of a wrong reading the spec is told by its metrics.
    let reading = given.and_then(|given| Reading::of(given).ok()).unwrap_or_default();
    let provider = given.and_then(|given| given.provider.as_deref());
    let measured = gates::load::Measured { reading: &reading, provider };
    Plan {
        uid: service.metadata.uid.clone().unwrap_or_default(),
        revision,
        replicas,
        way,
        surge: rollout.surge.unwrap_or(default_surge),
        bake_seconds: rollout.bake_seconds.unwrap_or(bake),
        progress_deadline_seconds: rollout.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE_SECONDS),
        queries: queries::planned(spec, service.metadata.namespace.as_deref().unwrap_or_default(), refusals),
        metrics,
        gates: gates::planned(spec, &measured, refusals),
        route: traffic::planned(spec, routing, refusals),
        bake_control_percent: analysis.bake_control_percent.unwrap_or(BAKE_CONTROL_PERCENT),
        settings,
        on_no_evidence: analysis.on_no_evidence.unwrap_or_default(),
        spec: spec.clone(),
        name: service.metadata.name.clone().unwrap_or_default(),
        namespace: service.metadata.namespace.clone().unwrap_or_default(),
    }
}

fn way(strategy: Option<Strategy>) -> (Way, IntOrPercent) {
    match strategy {
        Some(Strategy::Canary(canary)) => {
            let named = CHOSEN_WEIGHTS.map(|weight| Step { weight, soak_seconds: Some(CHOSEN_SOAK_SECONDS), replicas: None });
            let chosen = canary.steps.is_empty();
            let steps = if chosen { named.to_vec() } else { canary.steps };
            let planned = |step: Step| PlannedStep {
                weight: step.weight,
                soak_seconds: step.soak_seconds.unwrap_or(CANARY_SOAK_SECONDS),
                replicas: step.replicas,
                mirror: None,
            };
            let soak_seconds = canary.mirror_seconds.unwrap_or(MIRROR_SECONDS);
            let mirror =
                canary.mirror_percent.map(|percent| PlannedStep { weight: 0, soak_seconds, replicas: None, mirror: Some(percent) });
            let steps = mirror.into_iter().chain(steps.into_iter().map(planned)).collect();
            (Way::Canary { steps, chosen }, IntOrPercent::Percent("100%".into()))
        }
        Some(Strategy::Rolling(rolling)) => {
            let soak_seconds = rolling.soak_seconds.unwrap_or(ROLLING_SOAK_SECONDS);
            (Way::Rolling { soak_seconds }, IntOrPercent::Percent("25%".into()))
        }
        Some(Strategy::BlueGreen(blue_green)) => {
            let whole = IntOrPercent::Percent("100%".into());
            let soak_seconds = blue_green.soak_seconds.unwrap_or(PREVIEW_SOAK_SECONDS);
            (Way::BlueGreen { warm: blue_green.warm_replicas.unwrap_or(whole.clone()), soak_seconds }, whole)
        }
        None => way(Some(Strategy::Rolling(crate::api::rollout::Rolling::default()))),
    }
}

/// R. While an autoscaler is on and nobody has written a number, what serves now goes on serving.
fn replicas(snapshot: &Snapshot) -> i32 {
    let spec = &snapshot.service.spec;
    match (&spec.scaling, spec.replicas) {
        (None, given) => given.unwrap_or(REPLICAS),
        (Some(_), Some(given)) => given,
        (Some(scaling), None) => least(scaling).max(i32::try_from(serving(snapshot)).unwrap_or(0)),
    }
}

/// Fewest pods under autoscaling.
#[must_use]
pub fn least(scaling: &crate::api::scaling::Scaling) -> i32 {
    scaling.min_replicas.unwrap_or(REPLICAS.min(scaling.max_replicas))
}

fn serving(snapshot: &Snapshot) -> usize {
    let stable = snapshot.service.status.as_ref().and_then(|status| status.rollout.as_ref()).and_then(|memory| memory.stable.clone());
    snapshot.pods.iter().filter(|pod| pod.state.ready && !pod.state.terminating && Some(&pod.state.revision) == stable.as_ref()).count()
}

/// Where the metrics of a revision with these ports are: a revision that runs still has the ports that it was accepted with.
#[must_use]
pub fn metrics_of(plan: &Plan, ports: &[Port]) -> Option<MetricsEndpoint> {
    metrics(&ProductionServiceSpec { ports: ports.to_vec(), ..plan.spec.clone() }, &mut Vec::new())
}

/// What the app's container may occupy.
fn memory_limit_bytes(spec: &ProductionServiceSpec) -> Option<f64> {
    let limit = spec.resources.as_ref()?.limits.get("memory")?;
    quantity::nanos(&quantity::text(limit)).map(|nanos| nanos as f64 / 1e9)
}

fn metrics(spec: &ProductionServiceSpec, refusals: &mut Vec<Refusal>) -> Option<MetricsEndpoint> {
    let metrics = spec.observability.as_ref().and_then(|observability| observability.metrics.clone()).unwrap_or_default();
    let named = |name: &str| spec.ports.iter().find(|port| port.name == name);
    let port = match &metrics.port {
        Some(name) => named(name).or_else(|| {
            let ports: Vec<_> = spec.ports.iter().map(|port| port.name.as_str()).collect();
            refusals.push(Refusal::new(
                "UnknownPort",
                format!("spec.observability.metrics.port: {name:?} is not one of spec.ports ({})", ports.join(", ")),
            ));
            None
        }),
        None => named("metrics").or(spec.ports.first()),
    };
    if spec.objectives.iter().all(|objective| objective.promql.is_some()) {
        return None;
    }
    let reading = Reading::of(&metrics).unwrap_or_else(|why| {
        refusals.push(Refusal::new("InvalidMetrics", format!("spec.observability.metrics.{why}")));
        Reading::default()
    });
    if metrics.provider.is_some() {
        return Some(MetricsEndpoint { provider: metrics.provider, port: 0, path: String::new(), reading });
    }
    let Some(port) = port else {
        if metrics.port.is_none() {
            refusals.push(Refusal::new(
                "NoMetricsPort",
                "spec.objectives: they are measured by the app's metrics, and spec.ports is empty; add the port of the metrics",
            ));
        }
        return None;
    };
    Some(MetricsEndpoint {
        provider: None,
        port: u16::try_from(port.port).unwrap_or_default(),
        path: metrics.path.unwrap_or_else(|| METRICS_PATH.to_owned()),
        reading,
    })
}

/// The plan of a service that stands alone, for tests.
#[cfg(test)]
#[must_use]
pub fn of_service(service: &ProductionService) -> Plan {
    let replicas = service.spec.replicas.unwrap_or(REPLICAS);
    plan_of(service, &service.spec, "r".to_owned(), replicas, &Routing::present(), &mut Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "the rows build it")]
    fn planned(replicas: i32, rollout: serde_json::Value) -> Plan {
        let mut spec =
            serde_json::json!({"image": "a:1", "ports": [{"name": "http", "port": 80}], "rollout": rollout, "replicas": replicas});
        if rollout["strategy"]["canary"]["router"] == "gatewayApi" {
            spec["expose"] = serde_json::json!({"gateway": {"name": "public"}});
        }
        of_service(&ProductionService::new("shop", serde_json::from_value(spec).unwrap()))
    }

    fn shapes(plan: &Plan) -> Vec<(i32, i32)> {
        (0..=plan.steps()).map(|step| plan.shape(step)).map(|shape| (shape.candidate, shape.stable)).collect()
    }

    #[test]
    fn weights_become_pods() {
        let canary = |weights: &[i32], surge: &str| {
            let steps: Vec<_> = weights.iter().map(|weight| serde_json::json!({"weight": weight})).collect();
            serde_json::json!({"strategy": {"canary": {"steps": steps}}, "surge": surge})
        };
        let routed = |weights: &[i32], surge: &str| {
            let mut rollout = canary(weights, surge);
            rollout["strategy"]["canary"]["router"] = "gatewayApi".into();
            rollout
        };
        let rolling = |surge: &str| serde_json::json!({"strategy": {"rolling": {}}, "surge": surge});
        let blue_green = |warm: &str| serde_json::json!({"strategy": {"blueGreen": {"warmReplicas": warm}}});
        let cases = [
            ("with a full surge stable keeps its pods", 10, canary(&[10, 25, 50], "100%"), vec![(2, 10), (4, 10), (10, 10), (10, 10)]),
            ("three replicas: one pod is the least", 3, canary(&[5, 50], "100%"), vec![(1, 3), (3, 3), (3, 3)]),
            ("with a small surge stable shrinks", 4, canary(&[20, 60], "25%"), vec![(1, 4), (3, 2), (4, 1)]),
            ("what cannot be reached is full", 4, canary(&[60], "100%"), vec![(4, 4), (4, 4)]),
            ("slices of the surge", 4, rolling("25%"), vec![(1, 4), (2, 3), (3, 2), (4, 1)]),
            ("the default of two replicas", 2, rolling("25%"), vec![(1, 2), (2, 1)]),
            ("one replica has no step before full", 1, rolling("25%"), vec![(1, 1)]),
            ("everything at once", 3, rolling("100%"), vec![(3, 3)]),
            ("nothing serves", 0, rolling("25%"), vec![(0, 0)]),
            ("blue and green are both whole", 3, blue_green("100%"), vec![(3, 3), (3, 3)]),
            (
                "a router: as many as the share needs, two at least",
                10,
                routed(&[5, 25, 50], "100%"),
                vec![(2, 10), (3, 10), (5, 10), (10, 10)],
            ),
            (
                "a router: more than the share needs, never fewer, at most all",
                10,
                serde_json::json!({"strategy": {"canary": {"router": "gatewayApi", "steps": [
                    {"weight": 5, "replicas": "45%"}, {"weight": 50, "replicas": 1}, {"weight": 60, "replicas": 40},
                ]}}}),
                vec![(5, 10), (5, 10), (10, 10), (10, 10)],
            ),
            ("a router over one pod", 1, routed(&[5], "100%"), vec![(1, 1), (1, 1)]),
            ("a router with a small surge: stable shrinks", 4, routed(&[25, 75], "25%"), vec![(1, 4), (3, 2), (4, 1)]),
            ("a smaller preview, rounded up", 3, blue_green("50%"), vec![(2, 3), (3, 3)]),
        ];
        for (why, replicas, rollout, expected) in cases {
            assert_eq!(shapes(&planned(replicas, rollout)), expected, "{why}");
        }
    }

    #[test]
    fn defaults() {
        let plan = planned(2, serde_json::json!({}));
        assert_eq!(plan.way, Way::Rolling { soak_seconds: 10 });
        assert_eq!((plan.bake_seconds, plan.progress_deadline_seconds, plan.most_pods()), (60, 600, 3));
        assert_eq!(plan.metrics, None, "without objectives nothing is measured");
        let plan = planned(2, serde_json::json!({"strategy": {"canary": {}}}));
        let soaks = [5, 10, 25, 50].map(|weight| PlannedStep { weight, soak_seconds: 30, replicas: None, mirror: None });
        assert_eq!(plan.way, Way::Canary { steps: soaks.to_vec(), chosen: true });
        assert_eq!(plan.most_pods(), 4);
    }
}
