//! What there is to know about a service, gathered from its status and its pods. Pure: the same objects give the same report.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde::Serialize;

use super::why::{Why, why};
use crate::api::ProductionService;
use crate::api::gate_status::{GateState, GateStatus};
use crate::api::status::{
    Condition, ConditionStatus, Memory, Moment, ObjectiveReport, Outcome, Phase, ProductionServiceStatus, Progress, Quarantined,
    RevisionStatus, Stage,
};
use crate::decide::plan;
use crate::decide::render::ownership::REVISION;

/// How it stands, as an exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Standing {
    /// The spec's own revision serves: 0.
    Stable,
    /// Taken back, blocked, or short of ready pods: 1.
    Failed,
    /// Under way: 2.
    InProgress,
}

impl Standing {
    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Stable => 0,
            Self::Failed => 1,
            Self::InProgress => 2,
        }
    }
}

/// A service at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Whether it is where its spec wants it.
    pub standing: Standing,
    /// Its phase; absent until the operator has seen it.
    pub phase: Option<Phase>,
    /// What was decided last, or is waited for, in one sentence.
    pub message: String,
    /// Whatever serves has too few ready pods: in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<String>,
    /// The revisions that have pods, stable first.
    pub revisions: Vec<Revision>,
    /// The step of the rollout that is on: `1/3`, or `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Percent of the traffic that this step asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_weight: Option<i32>,
    /// Verdict and evidence of each objective.
    pub verdicts: Vec<ObjectiveReport>,
    /// Why each objective stands where it stands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Why>,
    /// What judges a new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged_by: Option<String>,
    /// What is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<Waiting>,
    /// How the last rollout ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Outcome>,
    /// Revisions that were taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<Quarantined>,
    /// Earlier stable revisions, kept without pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<String>,
    /// Why the pods are not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods_hidden: Option<String>,
}

/// A revision with its pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// `stable`, `candidate` or `other`.
    pub role: &'static str,
    /// What the status says of it.
    #[serde(flatten)]
    pub status: RevisionStatus,
    /// Its pods, by name.
    pub pods: Vec<PodReport>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// Its name.
    pub name: String,
    /// It gets traffic if its revision does.
    pub ready: bool,
    /// How it is: `ready`, `not ready`, `ending`, or Kubernetes' reason (`CrashLoopBackOff`).
    pub state: String,
    /// Restarts of its containers.
    pub restarts: i32,
    /// The node it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// What.
    pub what: String,
    /// Until when; absent where nothing but a person ends the wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Report {
    /// The report of a service, with its pods or the reason why they are not known.
    #[must_use]
    pub fn of(service: &ProductionService, pods: &Result<BTreeMap<String, Pod>, String>, now: Timestamp) -> Self {
        let status = service.status.clone().unwrap_or_default();
        let current = status.observed_generation == service.metadata.generation && status.phase.is_some();
        let memory = status.rollout.clone().unwrap_or_default();
        let plan = memory.progress.as_ref().map(|progress| planned(service, progress));
        let asked_weight =
            plan.as_ref().zip(memory.progress.as_ref()).filter(|(_, progress)| !matches!(progress.stage, Stage::Gated | Stage::Starting));
        let message = match (&status.message, current) {
            (Some(message), true) if message.is_empty() => "no word yet".to_owned(),
            (Some(message), true) => message.clone(),
            (Some(message), false) => format!("the operator has not looked at the latest change yet; before it: {message}"),
            (None, _) => "the operator has not looked at it yet: is plimsoll running in this cluster?".to_owned(),
        };
        let unhealthy = condition(&status, "Healthy").filter(|healthy| healthy.status == ConditionStatus::False);
        Self {
            name: service.metadata.name.clone().unwrap_or_default(),
            namespace: service.metadata.namespace.clone().unwrap_or_default(),
            standing: if current { standing(&status) } else { Standing::InProgress },
            phase: status.phase,
            message,
            unhealthy: unhealthy.map(|condition| condition.message.clone()),
            revisions: revisions(&status, pods.as_ref().ok()),
            step: status.step.clone(),
            asked_weight: asked_weight.map(|(plan, progress)| plan.asked_weight(progress.step)),
            verdicts: memory.progress.as_ref().map(|progress| progress.verdicts.clone()).unwrap_or_default(),
            why: plan
                .as_ref()
                .zip(memory.progress.as_ref())
                .map(|(plan, progress)| why(service, progress, plan, memory.stable.as_deref().unwrap_or_default(), now))
                .unwrap_or_default(),
            judged_by: status.effective.as_ref().map(|effective| effective.judged_by.clone()),
            waits_for: memory.progress.as_ref().zip(plan).map(|(progress, plan)| waiting(&status, &memory, progress, &plan, now)),
            last: memory.last,
            quarantined: status.quarantined,
            earlier: memory.history,
            pods_hidden: pods.as_ref().err().cloned(),
        }
    }
}

fn condition<'a>(status: &'a ProductionServiceStatus, kind: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.kind == kind)
}

fn standing(status: &ProductionServiceStatus) -> Standing {
    let unhealthy = condition(status, "Healthy").is_some_and(|healthy| healthy.status == ConditionStatus::False);
    match status.phase {
        Some(Phase::Stable) if !unhealthy => Standing::Stable,
        Some(Phase::Stable | Phase::RolledBack | Phase::Blocked) => Standing::Failed,
        Some(Phase::Progressing | Phase::Paused | Phase::Baking | Phase::RollingBack) | None => Standing::InProgress,
    }
}

/// The plan of the rollout that is on, for its times and weights.
fn planned(service: &ProductionService, progress: &Progress) -> plan::Plan {
    let snapshot = crate::cli::render::alone(service.clone(), BTreeMap::new(), "");
    plan::plan_of_record(&snapshot, &progress.revision, &service.spec)
}

fn waiting(status: &ProductionServiceStatus, memory: &Memory, progress: &Progress, plan: &plan::Plan, now: Timestamp) -> Waiting {
    let step = status
        .step
        .as_deref()
        .map_or_else(String::new, |step| if matches!(step, "full" | "preview") { step.to_owned() } else { format!("step {step}") });
    let wait = |what: String, until: Option<Timestamp>| Waiting { what, until };
    let watched = |what: &str, seconds: i32| {
        let begun = progress.weight_since.unwrap_or(progress.since).0;
        let over = begun + i64::from(seconds).seconds();
        if over > now {
            return wait(format!("{what} is watched"), Some(over));
        }
        let deadline = over + i64::from(plan.progress_deadline_seconds).seconds();
        let fewer = format!("{what}: time is over, more evidence is needed");
        wait(fewer, Some(deadline).filter(|deadline| *deadline > now))
    };
    match progress.stage {
        _ if status.phase == Some(Phase::Paused) => wait("somebody to set spec.control.paused to false".to_owned(), None),
        Stage::Gated | Stage::Soaking if waiting_gate(progress).is_some() => {
            let gate = waiting_gate(progress);
            wait(gate.map(|gate| format!("gate {}: {}", gate.name, gate.message)).unwrap_or_default(), gate.map(|gate| gate.deadline.0))
        }
        Stage::Gated => wait("what stands before its first pod".to_owned(), None),
        Stage::Starting => wait(format!("the pods of {} to become ready", progress.revision), Some(progress.deadline.0)),
        Stage::Shifting => wait(format!("{step}: pods to become ready"), Some(progress.deadline.0)),
        Stage::Soaking => watched(&step, plan.soak_seconds(progress.step)),
        Stage::Baking => watched("the bake", plan.bake_seconds),
        Stage::RollingBack => {
            let stable = memory.stable.as_deref().unwrap_or("the revision before");
            wait(format!("{stable} to have the pods that the whole load needs"), Some(progress.deadline.0))
        }
        Stage::Draining => wait("pods that get no new connections to finish what they have".to_owned(), None),
    }
}

fn waiting_gate(progress: &Progress) -> Option<&GateStatus> {
    progress.gates.iter().find(|gate| matches!(gate.state, GateState::Waiting | GateState::Unknown))
}

fn revisions(status: &ProductionServiceStatus, pods: Option<&BTreeMap<String, Pod>>) -> Vec<Revision> {
    let known = [("stable", &status.stable), ("candidate", &status.candidate)];
    let mut revisions: Vec<Revision> =
        known.into_iter().filter_map(|(role, status)| Some(Revision { role, status: status.clone()?, pods: Vec::new() })).collect();
    for pod in pods.into_iter().flat_map(BTreeMap::values) {
        let name = pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION)).cloned().unwrap_or_default();
        let index = revisions.iter().position(|revision| revision.status.revision == name).unwrap_or_else(|| {
            let status = RevisionStatus { revision: name, image: None, replicas: 0, ready: 0, weight: 0, metrics: None };
            revisions.push(Revision { role: "other", status, pods: Vec::new() });
            revisions.len() - 1
        });
        revisions[index].pods.push(PodReport::of(pod));
    }
    revisions
}

impl PodReport {
    fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let ready = status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let containers: Vec<&ContainerStatus> = status.init_container_statuses.iter().chain(&status.container_statuses).flatten().collect();
        // Init containers and app wait for each other with these; they are no news.
        let patient = ["ContainerCreating", "PodInitializing"];
        let trouble = containers.iter().find_map(|container| {
            let state = container.state.as_ref()?;
            let waiting =
                state.waiting.as_ref().and_then(|waiting| waiting.reason.clone()).filter(|reason| !patient.contains(&reason.as_str()));
            let ended = state
                .terminated
                .as_ref()
                .filter(|ended| ended.exit_code != 0)
                .map(|ended| ended.reason.clone().unwrap_or_else(|| "Error".to_owned()));
            waiting.or(ended)
        });
        let state = match trouble {
            _ if pod.metadata.deletion_timestamp.is_some() => "ending".to_owned(),
            _ if ready => "ready".to_owned(),
            Some(reason) => reason,
            None => match (status.reason, status.phase.as_deref()) {
                (Some(reason), _) => reason,
                (None, Some("Running") | None) => "not ready".to_owned(),
                (None, Some(phase)) => phase.to_lowercase(),
            },
        };
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            ready,
            state,
            restarts: containers.iter().map(|container| container.restart_count).sum(),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        }
    }
}

/// When a moment of the status was.
#[must_use]
pub fn at(moment: Moment) -> String {
    moment.0.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
