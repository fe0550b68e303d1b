//! A load test: a Job that is told how many requests per second it shall send, so many times the service's peak.
//!
//! The peak is asked of Prometheus when the gate is reached, and written down before the Job is ordered: a second Job of the same attempt would be told
//! the same.

use jiff::{Timestamp, ToSpan as _};

use super::{About, GateKind, Gates, PlannedGate, Standing, goes_forward, job};
use crate::api::gate_status::{GateState, GateStatus, LoadOrder};
use crate::api::gates::{JobGate, LoadTestGate};
use crate::api::status::Progress;
use crate::decide::analysis::convention::Reading;
use crate::decide::analysis::prometheus;
use crate::decide::plan::{Plan, Refusal};
use crate::decide::queries::{QueryAnswer, QueryRequest, number, promql};
use crate::decide::snapshot::Snapshot;

/// Days looked back where the spec does not say.
const LOOK_BACK_DAYS: i32 = 7;
/// Seconds between two questions while there is no answer.
const AGAIN_SECONDS: i64 = 30;
/// The rate is one over so many scrapes, and over so many seconds at least.
const SCRAPES: i64 = 4;
const LEAST_SECONDS: i64 = 60;
/// Characters of a reason that are kept.
const LONGEST: usize = 200;
/// What questions of gates are called, before the gate's name: no objective has a slash.
const QUESTION: &str = "gate/";

/// A load test with its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedLoad {
    /// So many times the peak.
    pub multiple: f64,
    /// Days looked back.
    pub days: i32,
    /// The Prometheus that is asked; empty where the spec names none and was refused for it.
    pub provider: String,
    /// How requests are counted.
    pub reading: Reading,
    /// The Job.
    pub job: JobGate,
}

/// How a service's metrics are read.
pub struct Measured<'a> {
    /// What counts its requests.
    pub reading: &'a Reading,
    /// The Prometheus that its metrics come from, if one does.
    pub provider: Option<&'a str>,
}

pub(super) fn planned(gate: &LoadTestGate, index: usize, of: &Measured<'_>, refusals: &mut Vec<Refusal>) -> PlannedLoad {
    let provider = gate.provider.as_deref().or(of.provider);
    if provider.is_none() {
        let field = format!("spec.rollout.gates[{index}].loadTest.provider");
        let message = format!("{field}: only a Prometheus knows the peak: name one, here or in spec.observability.metrics.provider");
        refusals.push(Refusal::new("UnknownProvider", message));
    }
    let days = gate.look_back_days.unwrap_or(LOOK_BACK_DAYS);
    PlannedLoad {
        multiple: gate.multiple_of_peak.parse().unwrap_or(1.0),
        days,
        provider: provider.unwrap_or_default().to_owned(),
        reading: of.reading.clone(),
        job: gate.job.clone(),
    }
}

/// Load tests whose Prometheus is none that the operator knows.
pub fn unknown(gates: &Gates, known: impl Fn(&str) -> bool) -> impl Iterator<Item = Refusal> {
    gates.gates.iter().filter_map(load_of).filter(move |(_, load)| !load.provider.is_empty() && !known(&load.provider)).map(|(gate, load)| {
        let (gate, provider) = (&gate.name, &load.provider);
        let message = format!("spec.rollout.gates: {gate} asks {provider:?}, which the operator does not know; ask who runs plimsoll to add it to its providers");
        Refusal::new("UnknownProvider", message)
    })
}

fn load_of(gate: &PlannedGate) -> Option<(&PlannedGate, &PlannedLoad)> {
    if let GateKind::LoadTest(load) = &gate.kind { Some((gate, load)) } else { None }
}

/// Where the gate stands. Orders the Job once the peak is known.
pub(super) fn standing(about: &About<'_>, progress: &Progress, load: &PlannedLoad, status: &mut GateStatus) -> Standing {
    let (provider, days) = (&load.provider, load.days);
    let order = status.load.get_or_insert_default();
    let (Some(peak), Some(target)) = (&order.peak, &order.target) else {
        let asks = format!("asks Prometheus {provider} for the peak of the last {days} days");
        return Standing::Waiting(order.silence.as_ref().map_or_else(|| asks.clone(), |why| format!("{asks}: {why}")));
    };
    let at = format!("{target} requests per second, {} times the peak of {days} days, {peak}", load.multiple);
    let with = |what: String| format!("{what}; {at}");
    match job::standing(about, progress, &load.job, status) {
        Standing::Waiting(what) => Standing::Waiting(with(what)),
        Standing::Open(why) => Standing::Open(with(why)),
        Standing::Closed(why) => Standing::Closed(with(why)),
        Standing::Unknown(why) => Standing::Unknown(why),
    }
}

/// Gates of a rollout that goes forward, and that wait for their peak.
fn waiting<'a>(plan: &'a Plan, progress: &'a Progress) -> impl Iterator<Item = (&'a PlannedGate, &'a PlannedLoad)> {
    let forward = goes_forward(progress);
    let unknown =
        |status: &GateStatus| forward && status.state == GateState::Waiting && status.load.as_ref().is_some_and(|load| load.peak.is_none());
    let names: Vec<&str> = progress.gates.iter().filter(|status| unknown(status)).map(|status| status.name.as_str()).collect();
    plan.gates.gates.iter().filter_map(load_of).filter(move |(gate, _)| names.contains(&gate.name.as_str()))
}

fn next(gate: &PlannedGate, snapshot: &Snapshot, now: Timestamp) -> Timestamp {
    snapshot.queried.get(&format!("{QUESTION}{}", gate.name)).map_or(now, |last| *last + AGAIN_SECONDS.seconds())
}

/// Peaks that are to be asked for now.
#[must_use]
pub fn due(plan: &Plan, progress: &Progress, snapshot: &Snapshot, now: Timestamp) -> Vec<QueryRequest> {
    let question = |(gate, load): (&PlannedGate, &PlannedLoad)| {
        let interval = snapshot.providers.as_ref().and_then(|known| known.get(&load.provider)).copied().unwrap_or_default();
        let query = prometheus::peak(&plan.namespace, &plan.name, &load.reading, load.days, (SCRAPES * interval).max(LEAST_SECONDS));
        let (objective, provider) = (format!("{QUESTION}{}", gate.name), load.provider.clone());
        Some(QueryRequest { objective, provider, revision: None, query: promql::forced(&query, "", &plan.namespace).ok()? })
    };
    waiting(plan, progress).filter(|(gate, _)| next(gate, snapshot, now) <= now).filter_map(question).collect()
}

/// When the next is to be asked for.
#[must_use]
pub fn wake(plan: &Plan, progress: &Progress, snapshot: &Snapshot, now: Timestamp) -> Option<Timestamp> {
    waiting(plan, progress).map(|(gate, _)| next(gate, snapshot, now)).min()
}

/// Takes down peaks that came back.
pub fn observe(plan: &Plan, progress: &mut Progress, answers: &[QueryAnswer]) {
    for (gate, load) in plan.gates.gates.iter().filter_map(load_of) {
        let answer = answers.iter().find(|answer| answer.objective.strip_prefix(QUESTION) == Some(&gate.name));
        let status = progress.gates.iter_mut().find(|status| status.name == gate.name);
        let Some((answer, status)) = answer.zip(status.filter(|status| status.load.as_ref().is_some_and(|load| load.peak.is_none())))
        else {
            continue;
        };
        let silent = |why: &str| LoadOrder { silence: Some(why.chars().take(LONGEST).collect()), ..LoadOrder::default() };
        status.load = Some(match &answer.value {
            Ok(peak) if *peak > 0.0 => LoadOrder { peak: Some(number(*peak)), target: Some(number(peak * load.multiple)), silence: None },
            Ok(_) => silent("it knows of no request"),
            Err(silence) => silent(silence.why()),
        });
    }
}
