//! The test tank: the same `decide()`, in another world. A discrete-event simulation on a virtual clock, the same for the same seed.
//!
//! ```text
//!                 ┌── users' requests ── pods ── Deployments ◄─┐
//!  virtual clock ─┤                                            ├ cluster (resourceVersions) ◄── operator: snapshot → due → measure → decide → apply
//!                 └── scenario: changes, faults ───────────────┘
//! ```
//! Each part says when it has something to do next; the clock jumps to the earliest of these moments. After every step the invariants of
//! `rollouts.md` are checked by code that shares nothing with `decide`.

mod apply;
pub mod behaviour;
mod cluster;
mod demand;
mod expectations;
pub mod fate;
pub mod faults;
mod gateway;
mod invariants;
mod jobs;
mod operator;
pub mod planted;
mod pods;
mod random;
pub mod scenario;
mod tell;
mod timeline;
mod values;
mod webhooks;
mod workloads;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use crate::api::status::Phase;
pub use demand::Served;
pub use invariants::Violation;
use operator::Operator;
use planted::Bug;
pub use scenario::Scenario;
use scenario::{Action, Event};
use timeline::clock;
use world::World;

/// When every simulation begins: an hour before noon, so that a daily curve is near its top.
const BEGINNING: Timestamp = Timestamp::constant(1_767_265_200, 0);
/// What has not changed for so long has come to rest.
const REST: SignedDuration = SignedDuration::from_secs(120);
/// Whatever crashes for ever has crashed once more by then: the longest back-off, and what it runs.
const CRASHES_AGAIN: SignedDuration = SignedDuration::from_mins(6);
/// A service that does not become stable within this time before 0:00 is a scenario that makes no sense.
const PREPARED_WITHIN: SignedDuration = SignedDuration::from_mins(15);

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// One line for each thing that happened.
    pub timeline: String,
    /// What it came to: requests by revision, how and when the rollout ended.
    pub summary: String,
    /// What must not happen, and did.
    pub violations: Vec<Violation>,
    /// The service's phase at the end.
    pub phase: Option<Phase>,
    /// Nothing was written, measured or changed for two minutes at the end, and nothing is going to.
    pub settled: bool,
    /// The revision that was promoted last.
    pub stable: Option<String>,
    /// The image of the candidate's spec at the end.
    pub image: String,
    /// The status's sentence at the end.
    pub message: String,
    /// Requests by revision, since 0:00.
    pub served: BTreeMap<String, Served>,
}

/// Runs a scenario.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    Run::new(scenario, seed, None).play()
}

/// Runs a scenario with a bug in the operator, for the tests of the invariants.
#[must_use]
pub fn run_with(bug: Bug, scenario: &Scenario, seed: u64) -> Report {
    Run::new(scenario, seed, Some(bug)).play()
}

struct Run<'a> {
    scenario: &'a Scenario,
    world: World,
    operators: Vec<Operator>,
    /// What is still to happen, the next one last.
    events: Vec<Event>,
    settled: bool,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, seed: u64, bug: Option<Bug>) -> Self {
        let mut events = scenario.events.clone();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        Self { scenario, world: World::new(scenario, seed, BEGINNING), operators: vec![Operator::with(bug)], events, settled: false }
    }

    fn play(mut self) -> Report {
        if let Some(candidate) = &self.scenario.candidate {
            self.until_rest(BEGINNING + PREPARED_WITHIN, false);
            self.world.begin();
            self.world.act(&Action::Spec(candidate.clone()));
        } else {
            self.world.begin();
            self.world.say("user", &format!("creates the service with {}", self.scenario.service.image), "");
        }
        let zero = self.world.now;
        self.until_rest(zero + self.scenario.until.0, true);
        self.close(zero)
    }

    /// Lets things happen until nothing does any more, or the end has come.
    fn until_rest(&mut self, end: Timestamp, with_events: bool) {
        let zero = self.world.now;
        loop {
            let event = self.events.last().filter(|_| with_events).map(|event| zero + event.at.0);
            let operators = self
                .operators
                .iter()
                .filter_map(|operator| operator.due(&self.world))
                .chain(self.operators.iter().filter_map(|operator| operator.ends))
                .min();
            let rest = self.world.active.max(zero) + REST;
            self.settled =
                event.is_none() && self.world.now >= rest && operators.is_none_or(|at| at >= self.world.now + REST) && self.at_rest(zero);
            if self.settled || self.world.now >= end {
                // Pods that crash for ever give neither the world nor what is said of it any rest.
                self.settled |= self.ended() && self.world.workloads.crashed.is_some_and(|at| at + CRASHES_AGAIN > self.world.now);
                return;
            }
            let next = [event, operators, self.world.wake()].into_iter().flatten().min().unwrap_or(end);
            // At rest is seen no later than two minutes after the last thing that was done.
            let next = if rest > self.world.now { next.min(rest) } else { next.min(self.world.now + REST) };
            self.world.pass(next.clamp(self.world.now, end));
            if event.is_some_and(|at| at <= self.world.now)
                && let Some(event) = self.events.pop()
            {
                self.act(&event.action);
            }
            self.world.settle();
            self.operate();
            let awake = self.operators.iter().any(|operator| operator.awake(self.world.now));
            self.world.auditor.at_rest(self.world.now, &self.world.cluster, &self.world.workloads, awake);
        }
    }

    fn operate(&mut self) {
        let now = self.world.now;
        self.operators.retain(|operator| operator.ends.is_none_or(|end| end > now));
        for operator in &mut self.operators {
            if operator.due(&self.world).is_some_and(|at| at <= now) {
                operator.reconcile(&mut self.world);
            }
        }
    }

    fn ended(&self) -> bool {
        let phase = self.world.cluster.service().and_then(|service| service.status.as_ref()).and_then(|status| status.phase);
        matches!(phase, Some(Phase::Stable | Phase::RolledBack | Phase::Paused | Phase::Blocked))
    }

    fn at_rest(&self, zero: Timestamp) -> bool {
        let since = (self.world.now - REST).max(zero);
        self.ended() && !self.world.changed_since(since) && self.operators.iter().all(|operator| operator.well(self.world.now))
            || self.world.cluster.service().is_none()
    }

    fn act(&mut self, action: &Action) {
        let now = self.world.now;
        let first = self.operators.first_mut();
        match (action, first) {
            (Action::OperatorDown(wait), Some(first)) => {
                first.stop(now + wait.0);
                self.world.say("operator", &format!("is not there for {:#}", wait.0), "");
            }
            (Action::OperatorDies(death), Some(first)) => first.doom(*death),
            (Action::Conflicts(count), Some(first)) => first.refuse(*count),
            (Action::Lag { watch, by }, Some(first)) => {
                first.lag(*watch, by.0);
                self.world.say("operator", &format!("sees {watch:?} {:#} late", by.0), "");
            }
            (Action::SecondOperator(wait), Some(first)) => {
                let second = first.beside(now + wait.0);
                self.operators.push(second);
                self.world.say("operator", &format!("a second one runs for {:#}", wait.0), "");
            }
            (Action::Heal {}, _) => {
                self.operators.truncate(1);
                self.operators.iter_mut().for_each(|operator| operator.heal(now));
                self.world.demand.fault = None;
            }
            (action, _) => self.world.act(action),
        }
    }

    fn close(mut self, zero: Timestamp) -> Report {
        let world = &mut self.world;
        if self.settled {
            world.auditor.at_end(world.now, &world.cluster, &world.workloads);
        }
        let service = world.cluster.service().cloned();
        let status = service.as_ref().and_then(|service| service.status.clone()).unwrap_or_default();
        let memory = status.rollout.clone().unwrap_or_default();
        let mut summary = String::new();
        for (revision, served) in &world.demand.served {
            let role = if memory.stable.as_ref() == Some(revision) { "  stable" } else { "" };
            let share = if served.requests == 0 { 0.0 } else { 100.0 * served.failed as f64 / served.requests as f64 };
            let (requests, failed, slow) = (served.requests, served.failed, served.slow);
            let _ = writeln!(summary, "{revision}: {requests} requests, {failed} failed ({share:.2}%), {slow} over 500 ms{role}");
        }
        if world.demand.lost > 0 {
            let _ = writeln!(summary, "no pod took {} requests", world.demand.lost);
        }
        if let Some(last) = memory.last.as_ref().filter(|last| last.at.0 >= zero) {
            let at = clock(last.at.0.duration_since(zero));
            let _ = writeln!(summary, "{} {at} after the beginning", if last.promoted { "promoted" } else { "rolled back" });
        }
        let phase = status.phase.map_or_else(|| "no status".to_owned(), |phase| format!("{phase:?}"));
        let rest = if self.settled { "at rest" } else { "not at rest" };
        let _ = writeln!(summary, "end: {phase}, {rest} at {}", clock(world.now.duration_since(zero)));
        for violation in &world.auditor.violations {
            let _ =
                writeln!(summary, "VIOLATED at {}: {}: {}", clock(violation.at.duration_since(zero)), violation.invariant, violation.seen);
        }
        Report {
            violations: std::mem::take(&mut world.auditor.violations),
            phase: status.phase,
            settled: self.settled,
            stable: memory.stable,
            image: service.map(|service| service.spec.image).unwrap_or_default(),
            message: status.message.unwrap_or_default(),
            served: std::mem::take(&mut world.demand.served),
            timeline: self.world.timeline.into_text(),
            summary,
        }
    }
}
