//! Objectives in the user's own PromQL (`decisions.md` §9): one number, held against a bound, several times in a row.
//!
//! There is no model of what such a number means, so its chance of a false alarm is not known: it is outside of `falseAlarm`. A version fails by
//! answers in a row, or by half of the last ten; never by a total, which would fail every long rollout.

pub mod promql;
mod verdict;

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _};

use super::plan::{Plan, Refusal};
use super::snapshot::Snapshot;
use crate::api::ProductionServiceSpec;
use crate::api::objective::PromQl;
use crate::api::status::{Progress, QueryMemory, Stage};
pub use verdict::{QueryVerdict, Standing, verdicts};

/// Seconds between two answers where the spec does not say.
const INTERVAL_SECONDS: i32 = 30;
/// Answers in a row that fail a version where the spec does not say.
const FAILURE_LIMIT: i32 = 3;
/// Seconds after the weight is in force before which nothing is asked: rates over a minute still speak of what was before.
const FIRST_SECONDS: i64 = 60;
/// So many answers of one number or the other are looked back at.
const CONCLUSIVE: usize = 10;
/// The most answers that are remembered.
const REMEMBERED: usize = 40;
/// Characters of a reason that are kept.
const LONGEST: usize = 200;

/// An objective with its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedQuery {
    /// The objective's name.
    pub name: String,
    /// The query as it was written.
    pub query: String,
    /// What its answer is held against.
    pub bound: Bound,
    /// The Prometheus that is asked.
    pub provider: String,
    /// Seconds between two answers.
    pub interval_seconds: i64,
    /// Answers in a row that fail the version.
    pub failure_limit: usize,
}

/// What an answer is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// It has to be this or less.
    AtMost(f64),
    /// It has to be this or more.
    AtLeast(f64),
}

/// A question that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryRequest {
    /// The objective.
    pub objective: String,
    /// The Prometheus to ask.
    pub provider: String,
    /// The revision that it is about; `None`: the query names none.
    pub revision: Option<String>,
    /// The query, held to the service's namespace.
    pub query: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryAnswer {
    /// The objective.
    pub objective: String,
    /// The revision that it is about.
    pub revision: Option<String>,
    /// The number, or why there is none.
    pub value: Result<f64, Silence>,
}

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The query was answered, and the answer is not one finite number.
    Inconclusive(String),
    /// There was no answer.
    Error(String),
}

impl Silence {
    /// Why, in words.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Inconclusive(why) | Self::Error(why) => why,
        }
    }
}

impl Bound {
    /// Whether a number keeps it.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(bound) => write!(out, "at most {bound}"),
            Self::AtLeast(bound) => write!(out, "at least {bound}"),
        }
    }
}

/// The objectives of a spec that are queries, with what is wrong with them.
pub fn planned(spec: &ProductionServiceSpec, namespace: &str, refusals: &mut Vec<Refusal>) -> Vec<PlannedQuery> {
    let metrics = spec.observability.as_ref().and_then(|observability| observability.metrics.as_ref());
    let default = metrics.and_then(|metrics| metrics.provider.clone());
    let queries =
        spec.objectives.iter().enumerate().filter_map(|(index, objective)| Some((index, &objective.name, objective.promql.as_ref()?)));
    let mut planned = Vec::new();
    for (index, name, promql) in queries {
        let field = format!("spec.objectives[{index}].promql");
        let mut refuse = |reason, message: String| refusals.push(Refusal::new(reason, format!("{field}{message}")));
        if let Err(why) = promql::forced(&promql.query, "0000000000", namespace) {
            refuse("UnreadableQuery", format!(".query: Prometheus would not read it: {why}"));
            continue;
        }
        let Some(bound) = bound(promql) else {
            refuse("InvalidBound", ": set exactly one of atMost and atLeast, to a number".to_owned());
            continue;
        };
        let Some(provider) = promql.provider.clone().or_else(|| default.clone()) else {
            refuse("UnknownProvider", ".provider: name the Prometheus to ask, here or in spec.observability.metrics.provider".to_owned());
            continue;
        };
        planned.push(PlannedQuery {
            name: name.clone(),
            query: promql.query.clone(),
            bound,
            provider,
            interval_seconds: promql.interval_seconds.unwrap_or(INTERVAL_SECONDS).into(),
            failure_limit: usize::try_from(promql.failure_limit.unwrap_or(FAILURE_LIMIT)).unwrap_or(1),
        });
    }
    planned
}

/// Objectives whose Prometheus is none that the operator knows.
pub fn unknown(queries: &[PlannedQuery], known: &BTreeMap<String, i64>) -> impl Iterator<Item = Refusal> {
    let unknown = queries.iter().filter(|query| !known.contains_key(&query.provider));
    unknown.map(|PlannedQuery { name, provider, .. }| {
        let message = format!("spec.objectives: {name} is asked of {provider:?}, which the operator does not know; ask who runs plimsoll to add it to its providers");
        Refusal::new("UnknownProvider", message)
    })
}

fn bound(promql: &PromQl) -> Option<Bound> {
    let number = |text: &Option<String>| text.as_ref()?.parse::<f64>().ok().filter(|number| number.is_finite());
    match (number(&promql.at_most), number(&promql.at_least)) {
        (Some(most), None) => Some(Bound::AtMost(most)),
        (None, Some(least)) => Some(Bound::AtLeast(least)),
        _ => None,
    }
}

/// The questions that are due: while a weight is watched, each once in its interval.
#[must_use]
pub fn due(plan: &Plan, snapshot: &Snapshot, now: Timestamp) -> Vec<QueryRequest> {
    let memory = snapshot.service.status.as_ref().and_then(|status| status.rollout.as_ref());
    let Some((progress, stable)) = memory.and_then(|memory| Some((memory.progress.as_ref()?, memory.stable.as_ref()?))) else {
        return Vec::new();
    };
    let mut requests = Vec::new();
    for query in plan.queries.iter().filter(|query| next(query, plan, progress, &snapshot.queried).is_some_and(|at| at <= now)) {
        let by_revision = query.query.contains(promql::REVISION);
        let about = if by_revision { vec![Some(&progress.revision), Some(stable)] } else { vec![None] };
        for revision in about {
            let name = revision.map_or("", String::as_str);
            let Ok(forced) = promql::forced(&query.query, name, &plan.namespace) else { continue };
            let (objective, provider) = (query.name.clone(), query.provider.clone());
            requests.push(QueryRequest { objective, provider, revision: revision.cloned(), query: forced });
        }
    }
    requests
}

/// When the next question is due. `None` while nothing is watched.
#[must_use]
pub fn wake(plan: &Plan, progress: &Progress, queried: &BTreeMap<String, Timestamp>) -> Option<Timestamp> {
    plan.queries.iter().filter_map(|query| next(query, plan, progress, queried)).min()
}

fn next(query: &PlannedQuery, plan: &Plan, progress: &Progress, queried: &BTreeMap<String, Timestamp>) -> Option<Timestamp> {
    if !matches!(progress.stage, Stage::Soaking | Stage::Baking) {
        return None;
    }
    let first = progress.weight_since?.0 + plan.settings.warm_up_seconds.max(FIRST_SECONDS).seconds();
    Some(queried.get(&query.name).map_or(first, |last| first.max(*last + query.interval_seconds.seconds())))
}

/// Takes answers into the memory of the rollout.
pub fn observe(plan: &Plan, progress: &mut Progress, answers: &[QueryAnswer]) {
    for query in &plan.queries {
        let of = |revision: Option<&str>| {
            answers
                .iter()
                .find(|answer| answer.objective == query.name && answer.revision.as_deref() == revision)
                .map(|answer| &answer.value)
        };
        let own = of(Some(&progress.revision)).or_else(|| of(None));
        let other = answers.iter().find(|answer| {
            answer.objective == query.name && answer.revision.as_ref().is_some_and(|revision| *revision != progress.revision)
        });
        let Some(own) = own else { continue };
        let since = progress.weight_since;
        let known = progress.queries.iter().position(|memory| memory.name == query.name);
        let index = known.unwrap_or_else(|| {
            progress.queries.push(QueryMemory { name: query.name.clone(), ..QueryMemory::default() });
            progress.queries.len() - 1
        });
        let memory = &mut progress.queries[index];
        if memory.since != since {
            (memory.since, memory.held) = (since, 0);
        }
        let stable = other.and_then(|answer| answer.value.as_ref().ok());
        let outcome = match own {
            Ok(value) if query.bound.holds(*value) => 'S',
            // What hits both is no fault of the new version.
            Ok(_) if stable.is_some_and(|stable| !query.bound.holds(*stable)) => 'I',
            Ok(_) => 'F',
            Err(Silence::Inconclusive(_)) => 'I',
            Err(Silence::Error(_)) => 'E',
        };
        memory.held += i32::from(outcome == 'S');
        memory.recent.push(outcome);
        memory.recent = shortened(&memory.recent);
        memory.candidate = own.as_ref().ok().map(|value| number(*value));
        memory.stable = stable.map(|value| number(*value));
        memory.silence = own.as_ref().err().map(|silence| silence.why().chars().take(LONGEST).collect());
    }
    progress.queries.retain(|memory| plan.queries.iter().any(|query| query.name == memory.name));
}

/// The last answers, as far as they can still count.
fn shortened(recent: &str) -> String {
    let conclusive = |letter: char| matches!(letter, 'S' | 'F');
    let mut left = CONCLUSIVE;
    let kept = recent.chars().rev().take(REMEMBERED).take_while(|letter| {
        let more = left > 0;
        left -= usize::from(more && conclusive(*letter));
        more
    });
    let mut kept: Vec<char> = kept.collect();
    kept.reverse();
    kept.into_iter().collect()
}

/// A number for people: four digits that count.
#[must_use]
pub fn number(value: f64) -> String {
    let rounded = if value == 0.0 {
        0.0
    } else {
        let digits = 3.0 - libm::floor(libm::log10(value.abs()));
        let scale = libm::pow(10.0, digits);
        if scale.is_finite() && scale > 0.0 { libm::round(value * scale) / scale } else { value }
    };
    let text = format!("{rounded}");
    if text.len() > 24 { format!("{value:.3e}") } else { text }
}

#[cfg(test)]
mod tests;
