//! Gates: what has to be settled before a rollout makes its next move forward.
//!
//! ```text
//! start gates ─► first step … soak passed ─► gates before the next weight ─► … ─► gates before promotion ─► full ─► bake
//! ```
//! A gate begins when nothing else stands in the way of the move: the step before it has passed, the time window is open, the gates before it in
//! the list are open. From then on its deadline runs, in status. Once open it stays open for this rollout. Waiting never stops anything else: the
//! candidate goes on being judged, and whatever sends it back overtakes every gate.

mod dependency;
mod hours;
pub mod job;
pub mod load;
pub mod webhook;

use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan as _};

pub use dependency::Neighbour;
pub use hours::{Closed, Hours};
use load::{Measured, PlannedLoad};

use super::Event;
use super::plan::{Plan, Refusal};
use super::snapshot::Snapshot;
use crate::api::ProductionServiceSpec;
use crate::api::control::Control;
use crate::api::gate_status::{Approval, GateState, GateStatus};
use crate::api::gates::{ApprovalGate, Gate, GateAt, JobGate, OnDeadline, WebhookGate};
use crate::api::status::{Moment, Progress, Stage};

/// Seconds that a gate may wait where the spec does not say.
const DEADLINE_SECONDS: i32 = 86_400;
/// Most approvals that are remembered.
const APPROVALS: usize = 40;

/// Everything that can stand in the way of a move forward.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gates {
    /// In the order in which they are taken.
    pub gates: Vec<PlannedGate>,
    /// Windows and freezes.
    pub hours: Hours,
}

impl Gates {
    /// Whether there is a gate that makes a Job.
    #[must_use]
    pub fn have_jobs(&self) -> bool {
        self.gates.iter().any(|gate| matches!(gate.kind, GateKind::Job(_) | GateKind::LoadTest(_)))
    }

    /// What the Job of a gate shall be.
    #[must_use]
    pub fn job(&self, name: &str) -> Option<&JobGate> {
        self.gates.iter().find(|gate| gate.name == name).and_then(|gate| match &gate.kind {
            GateKind::Job(job) => Some(&**job),
            GateKind::LoadTest(load) => Some(&load.job),
            _ => None,
        })
    }
}

/// A gate with its defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedGate {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub at: GateAt,
    /// What it waits for.
    pub kind: GateKind,
    /// Seconds that it may wait.
    pub deadline_seconds: i32,
    /// What happens then.
    pub on_deadline: OnDeadline,
}

/// What a gate waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum GateKind {
    /// So many people's consent.
    Approval {
        /// How many.
        count: i32,
    },
    /// Another service's stable version.
    Dependency {
        /// The service.
        service: String,
        /// The version, at least; `None`: any.
        at_least: Option<String>,
    },
    /// A Job that succeeds.
    Job(Box<JobGate>),
    /// One that is told how much load to make.
    LoadTest(Box<PlannedLoad>),
    /// Another system's word.
    Webhook(WebhookGate),
}

/// How a gate stands at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits for this.
    Waiting(String),
    /// It is open, and why.
    Open(String),
    /// It will never let this rollout through, and why.
    Closed(String),
    /// It can never be known how it ended, and why.
    Unknown(String),
}

/// What stands between a rollout and its next move forward.
#[derive(Clone, Debug, Default)]
pub struct Passage {
    /// Something does.
    pub barred: bool,
    /// A gate will not let the revision through: why.
    pub closed: Option<String>,
    /// What is waited for.
    pub sentence: Option<String>,
    /// What to tell people.
    pub events: Vec<Event>,
    /// When to look again although nothing is seen.
    pub wakes: Vec<Timestamp>,
}

/// The gates of a spec, with what is wrong with them.
pub fn planned(spec: &ProductionServiceSpec, of: &Measured<'_>, refusals: &mut Vec<Refusal>) -> Gates {
    let dependencies = spec.depends_on.iter().map(|dependency| PlannedGate {
        name: format!("dependsOn/{}", dependency.service),
        at: GateAt::Start(crate::api::gates::Place {}),
        kind: GateKind::Dependency { service: dependency.service.clone(), at_least: dependency.at_least_version.clone() },
        deadline_seconds: dependency.deadline_seconds.unwrap_or(DEADLINE_SECONDS),
        on_deadline: OnDeadline::RollBack,
    });
    let rollout = spec.rollout.clone().unwrap_or_default();
    let mut gates: Vec<PlannedGate> = dependencies.collect();
    gates.extend(rollout.gates.iter().enumerate().filter_map(|(index, gate)| planned_gate(gate, index, of, refusals)));
    Gates { gates, hours: hours::planned(&rollout.windows, &rollout.freezes, refusals) }
}

fn planned_gate(gate: &Gate, index: usize, of: &Measured<'_>, refusals: &mut Vec<Refusal>) -> Option<PlannedGate> {
    let kind = match gate {
        Gate { approval: Some(ApprovalGate { count }), .. } => GateKind::Approval { count: count.unwrap_or(1) },
        Gate { job: Some(job), .. } => GateKind::Job(Box::new(job.clone())),
        Gate { load_test: Some(load), .. } => GateKind::LoadTest(Box::new(load::planned(load, index, of, refusals))),
        Gate { webhook: Some(webhook), .. } => GateKind::Webhook(webhook.clone()),
        _ => return None,
    };
    Some(PlannedGate {
        name: gate.name.clone(),
        at: gate.at,
        kind,
        deadline_seconds: gate.deadline_seconds.unwrap_or(DEADLINE_SECONDS),
        on_deadline: gate.on_deadline.unwrap_or_default(),
    })
}

/// The step that a gate stands before, for a plan's present steps.
fn place(plan: &Plan, gate: &PlannedGate) -> i32 {
    match gate.at {
        // What can be tested behind the preview stands before the switch.
        GateAt::Start(_) if plan.switches() && !matches!(gate.kind, GateKind::Dependency { .. }) => plan.steps(),
        GateAt::Start(_) => 0,
        GateAt::BeforeWeight(before) => {
            (0..plan.steps()).find(|step| plan.asked_weight(*step) >= before.weight).unwrap_or_else(|| plan.steps())
        }
        GateAt::BeforePromotion(_) => plan.steps(),
    }
}

/// Whether a revision has anything to wait for before its first pod. Nobody can be harmed by a very first one at any hour.
#[must_use]
pub fn before_the_start(plan: &Plan, first: bool, now: Timestamp) -> bool {
    plan.gates.gates.iter().any(|gate| place(plan, gate) <= 0 || plan.replicas == 0 && !first)
        || (!first && plan.gates.hours.closed(now).is_some())
}

/// The rollout still makes moves forward that a gate can stand before.
#[must_use]
pub fn goes_forward(progress: &Progress) -> bool {
    matches!(progress.stage, Stage::Gated | Stage::Shifting | Stage::Soaking) && progress.cause.is_none()
}

/// Takes down the approvals for this revision that were not seen before.
pub fn record_approvals(control: Option<&Control>, snapshot: &Snapshot, progress: &mut Progress, now: Timestamp) {
    for approve in control.into_iter().flat_map(|control| &control.approve).filter(|approve| approve.revision == progress.revision) {
        let known = progress.approvals.iter().any(|approval| approval.gate == approve.gate && approval.by == approve.by);
        if !known && progress.approvals.len() < APPROVALS {
            let verified = snapshot.around.approvals_verified;
            progress.approvals.push(Approval { gate: approve.gate.clone(), by: approve.by.clone(), at: Moment(now), verified });
        }
    }
}

/// Looks at the gates before the move to step `to`. `wants`: nothing else stands in the way of that move, so that gates may begin. `first`: there
/// is no stable revision.
pub fn pass(plan: &Plan, snapshot: &Snapshot, progress: &mut Progress, to: i32, wants: bool, first: bool, now: Timestamp) -> Passage {
    let mut passage = Passage::default();
    let from = if progress.stage == Stage::Gated { -1 } else { progress.step };
    let closed = plan.gates.hours.closed(now).filter(|_| !first);
    let begins = wants && closed.is_none();
    for gate in plan.gates.gates.iter().filter(|gate| (from + 1..=to).contains(&place(plan, gate))) {
        let reached = progress.gates.iter().any(|status| status.name == gate.name);
        if !reached {
            passage.barred = true;
            if !begins {
                break;
            }
            let deadline = now + i64::from(gate.deadline_seconds).seconds();
            progress.gates.push(GateStatus {
                name: gate.name.clone(),
                state: GateState::Waiting,
                since: Moment(now),
                deadline: Moment(deadline),
                message: String::new(),
                job: None,
                load: None,
                webhook: None,
            });
            passage.events.push(Event::normal("GateReached", format!("{} is at gate {}", progress.revision, gate.name)));
        }
        if !look(&About { plan, snapshot, begins, now }, gate, progress, &mut passage) {
            break;
        }
        passage.barred = false;
    }
    if let Some(closed) = closed.filter(|_| wants) {
        passage.barred = true;
        passage.sentence.get_or_insert(closed.why);
        passage.wakes.push(closed.until);
    }
    passage
}

/// What a gate is looked at with.
struct About<'a> {
    plan: &'a Plan,
    snapshot: &'a Snapshot,
    /// What is not under way may begin.
    begins: bool,
    now: Timestamp,
}

/// Looks at a gate that was reached. Whether it is open.
fn look(about: &About<'_>, gate: &PlannedGate, progress: &mut Progress, passage: &mut Passage) -> bool {
    let (snapshot, now) = (about.snapshot, about.now);
    let Some(index) = progress.gates.iter().position(|status| status.name == gate.name) else { return false };
    let mut status = progress.gates[index].clone();
    if status.state == GateState::Waiting {
        let standing = match &gate.kind {
            GateKind::Approval { count } => approval(gate, *count, progress),
            GateKind::Dependency { service, at_least } => dependency::standing(service, at_least.as_deref(), snapshot),
            GateKind::Job(job) => job::standing(about, progress, job, &mut status),
            GateKind::LoadTest(load) => load::standing(about, progress, load, &mut status),
            GateKind::Webhook(webhook) => webhook::standing(about, progress, webhook, &mut status, &mut passage.wakes),
        };
        (status.state, status.message) = match standing {
            Standing::Open(why) => {
                passage.events.push(Event::normal("GateOpened", format!("gate {} is open: {why}", gate.name)));
                (GateState::Open, why)
            }
            Standing::Waiting(what) => (GateState::Waiting, what),
            Standing::Closed(why) => (GateState::Closed, why),
            Standing::Unknown(why) => (GateState::Unknown, why),
        };
    }
    if now >= status.deadline.0
        && matches!(status.state, GateState::Waiting | GateState::Unknown)
        && gate.on_deadline == OnDeadline::RollBack
    {
        status.state = GateState::Closed;
        status.message = format!("{}; its {} s are over", status.message, gate.deadline_seconds);
    }
    let until = status.deadline.0;
    let waits = format!("gate {}: {}", gate.name, status.message);
    passage.barred = status.state != GateState::Open;
    match status.state {
        GateState::Open => {}
        GateState::Closed => passage.closed = Some(waits),
        GateState::Waiting | GateState::Unknown if now < until => {
            passage.sentence = Some(format!("{waits}; waiting until {}", until.strftime("%F %H:%M:%S UTC")));
            passage.wakes.push(until);
        }
        GateState::Waiting | GateState::Unknown => {
            passage.sentence = Some(format!("{waits}; its {} s are over, and it holds", gate.deadline_seconds));
        }
    }
    progress.gates[index] = status;
    !passage.barred
}

fn approval(gate: &PlannedGate, count: i32, progress: &Progress) -> Standing {
    let given: Vec<&Approval> = progress.approvals.iter().filter(|approval| approval.gate == gate.name).collect();
    let people: BTreeSet<&str> = given.iter().map(|approval| approval.by.as_str()).collect();
    let word = |approval: &&Approval| format!("{}{}", approval.by, if approval.verified { "" } else { " (unverified)" });
    let names = given.iter().map(word).collect::<Vec<_>>().join(", ");
    let enough = usize::try_from(count).is_ok_and(|count| people.len() >= count);
    if enough {
        return Standing::Open(format!("approved by {names}"));
    }
    let so_far = if names.is_empty() { String::new() } else { format!(" ({names})") };
    let (revision, gate) = (&progress.revision, &gate.name);
    let how = format!("approve with spec.control.approve: [{{revision: {revision}, gate: {gate}, by: YOU}}]");
    Standing::Waiting(format!("{} of {count} approvals{so_far}; {how}", people.len()))
}
