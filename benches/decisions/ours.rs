//! plimsoll's own policy: the real judge, the steps of `steps: auto`, a bake of 900 s at 90% with a control.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use plimsoll::decide::analysis::{
    ContainerState, Control, Counters, Ended, Judge, Objective, ObjectiveKind, OnNoEvidence, Parts, PodSample, PodState, Scrape, Settings,
    SignalMemory, SilentPod, Situation, Source, Verdict, signals,
};

use crate::random::Random;
use crate::scenario::{Bad, Scenario};
use crate::world::{BOUNDS, Cell, Health, TICK, World};

const STABLE: &str = "stable";
const CANDIDATE: &str = "candidate";
const STEPS: [f64; 4] = [5.0, 10.0, 25.0, 50.0];
/// Weights below 25 that give the candidate no more requests per second than this are left out. The operator leaves out what it measures to be
/// below: a rate that is exactly this is measured so before long.
const LEAST_RATE: f64 = 0.5;
const BAKE_WEIGHT: f64 = 90.0;
const BAKE_SECONDS: i64 = 900;
const SOAK_SECONDS: i64 = 30;

/// The moment of the first weight.
fn at(seconds: f64) -> Timestamp {
    Timestamp::constant(1_767_265_200, 0) + SignedDuration::from_millis((seconds * 1000.0) as i64)
}

/// Defaults of both objectives, with some parts left out.
pub fn settings(scenario: &Scenario, parts: Parts) -> Settings {
    let objective = |name: &str, kind| Objective { name: name.to_owned(), kind };
    Settings {
        false_alarm: 0.01,
        tolerance: 0.001,
        min_requests: 200,
        warm_up_seconds: scenario.warm_up,
        memory_limit_bytes: None,
        bake_seconds: 0,
        interval_seconds: scenario.interval as i64,
        objectives: vec![
            objective("availability", ObjectiveKind::ErrorRate { at_most: 0.01 }),
            objective("latency", ObjectiveKind::Latency { percentile: 99.0, at_most_milliseconds: 500.0 }),
        ],
        parts,
    }
}

/// A pod's counters, as it would show them.
#[derive(Clone, Debug)]
struct Pod {
    started: Timestamp,
    cell: [u64; 2],
    bins: [u64; BOUNDS.len() + 1],
}

impl Pod {
    /// What its status shows, and its counters.
    fn new(revision: &str, name: &str, ready: f64) -> (PodState, Self) {
        let name = format!("{revision}-{name}");
        let state = PodState {
            pod: name.clone(),
            name,
            revision: revision.to_owned(),
            ready: true,
            ready_since: Some(at(ready)),
            node_ready: true,
            containers: vec![ContainerState { ever_started: true, ..ContainerState::default() }],
            ..PodState::default()
        };
        (state, Self { started: at(ready), cell: [0; 2], bins: [0; BOUNDS.len() + 1] })
    }

    /// What its status shows at `time`, after so many crashes.
    fn note(&mut self, state: &mut PodState, health: &Health, time: f64) {
        let [container] = state.containers.as_mut_slice() else { return };
        if container.restarts < health.crashes {
            container.restarts = health.crashes;
            container.last_end = Some(Ended { reason: "Error".to_owned(), exit_code: 1, at: Some(at(time)), ..Ended::default() });
            (self.cell, self.bins) = ([0; 2], [0; BOUNDS.len() + 1]);
            (self.started, state.ready_since) = (at(health.down_until), Some(at(health.down_until)));
        }
        state.ready = health.down_until <= time;
        state.lost_ready = (!state.ready).then(|| state.lost_ready.unwrap_or_else(|| at(time)));
    }

    fn add(&mut self, cell: &Cell) {
        self.cell[0] += u64::from(cell.requests);
        self.cell[1] += u64::from(cell.failed);
        for (sum, bin) in self.bins.iter_mut().zip(cell.bins) {
            *sum += u64::from(bin);
        }
    }

    fn sample(&self, state: &PodState, at: Timestamp) -> PodSample {
        let [requests, failed] = self.cell;
        let mut within = 0;
        let buckets: BTreeMap<u64, u64> = BOUNDS
            .iter()
            .zip(self.bins)
            .map(|(bound, bin)| {
                within += bin;
                ((bound * 1000.0) as u64, within)
            })
            .collect();
        let by_status = BTreeMap::from([(200, requests - failed), (500, failed)]);
        let counters = Counters { source: Some(Source::RequestsTotal), by_status, buckets, timed: requests, ..Counters::default() };
        PodSample {
            pod: state.pod.clone(),
            revision: state.revision.clone(),
            at,
            started: Some(self.started),
            ready_since: state.ready_since,
            counters,
        }
    }
}

/// What has been decided so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Nothing yet.
    Not,
    /// It went back.
    Back,
    /// It has everything.
    Promoted,
}

/// A rollout judged by plimsoll.
#[derive(Clone, Debug)]
pub struct Ours {
    judge: Judge,
    states: Vec<PodState>,
    pods: Vec<Pod>,
    scenario: Scenario,
    random: Random,
    step: usize,
    steps: Vec<f64>,
    weight_since: Option<f64>,
    /// A share that never changes, for the bound on false alarms.
    fixed: Option<f64>,
    decided: Decided,
    last_scrape: f64,
    signals: SignalMemory,
}

impl Ours {
    /// Before the first weight, with the history of stable that the scenario gives; `fixed`: the scenario's weight never changes.
    pub fn new(scenario: &Scenario, random: Random, fixed: bool, parts: Parts) -> Self {
        let judge = Judge::new(&settings(scenario, parts), None);
        let stable = (0..scenario.pods.0).map(|index| Pod::new(STABLE, &index.to_string(), -scenario.history - 3600.0));
        let candidate = (0..scenario.pods.1).map(|index| Pod::new(CANDIDATE, &index.to_string(), 0.0));
        let (states, pods) = stable.chain(candidate).unzip();
        let mut ours = Self {
            judge,
            states,
            pods,
            scenario: scenario.clone(),
            random: random.clone(),
            step: 0,
            steps: STEPS.into_iter().filter(|weight| *weight >= 25.0 || scenario.rate * weight / 100.0 > LEAST_RATE).collect(),
            weight_since: None,
            fixed: fixed.then_some(scenario.weight),
            decided: Decided::Not,
            last_scrape: -scenario.history,
            signals: SignalMemory::default(),
        };
        let mut history = World::new(&Scenario { outage: None, bad: Bad::default(), ..scenario.clone() }, random);
        let ticks = (scenario.history / TICK) as i64;
        for tick in -ticks..0 {
            let time = tick as f64 * TICK;
            let (stable, _) = history.divided(time, 0.0);
            ours.serve(&[stable], &[]);
            ours.look(time + TICK, true);
        }
        ours
    }

    /// The same history in another run.
    pub fn with(&self, random: Random) -> Self {
        Self { random, ..self.clone() }
    }

    /// The weight that it gives now, in percent.
    pub fn weight(&self) -> f64 {
        match (self.decided, self.fixed) {
            (Decided::Back, _) => 0.0,
            (_, Some(weight)) => weight,
            (Decided::Promoted, None) => 100.0,
            (Decided::Not, None) => self.steps.get(self.step).copied().unwrap_or_else(|| self.bake_weight()),
        }
    }

    const fn bake_weight(&self) -> f64 {
        if self.scenario.control { BAKE_WEIGHT } else { 100.0 }
    }

    /// What has been decided.
    pub const fn decided(&self) -> Decided {
        self.decided
    }

    /// Counts a tick's requests.
    pub fn serve(&mut self, stable: &[Vec<Cell>], candidate: &[Vec<Cell>]) {
        let first = self.scenario.pods.0;
        for slot in stable {
            for (pod, cell) in self.pods.iter_mut().zip(slot) {
                pod.add(cell);
            }
        }
        for slot in candidate {
            for (pod, cell) in self.pods[first..].iter_mut().zip(slot) {
                pod.add(cell);
            }
        }
    }

    /// What the status of the candidate's pods shows.
    pub fn note(&mut self, health: &[Health], time: f64) {
        let pods = self.pods.iter_mut().zip(&mut self.states).skip(self.scenario.pods.0);
        for ((pod, state), health) in pods.zip(health) {
            pod.note(state, health, time);
        }
    }

    /// The next pod of each revision in turn is replaced by a new one.
    fn replace(&mut self, time: f64, history: bool) {
        let (stable, candidate) = self.scenario.pods;
        let minute = (time / 60.0).abs() as usize;
        let name = format!("at-{time}");
        let mut renew = |index: usize, revision: &str| (self.states[index], self.pods[index]) = Pod::new(revision, &name, time);
        renew(minute % stable, STABLE);
        if !history {
            renew(stable + minute % candidate, CANDIDATE);
        }
    }

    /// Scrapes and judges at `time`, the end of a tick.
    pub fn look(&mut self, time: f64, history: bool) {
        if self.decided != Decided::Not {
            return;
        }
        if !history && self.weight_since.is_none() {
            self.weight_since = Some(time - TICK);
        }
        if time - self.last_scrape + 1e-6 < self.scenario.interval {
            return;
        }
        self.last_scrape = time;
        let now = at(time);
        let (mut samples, mut silent) = (Vec::new(), Vec::new());
        let shown = if history { self.scenario.pods.0 } else { self.pods.len() };
        let states = &self.states[..shown];
        for (state, pod) in states.iter().zip(&self.pods).filter(|(state, _)| state.ready) {
            if self.scenario.lost_scrapes && self.random.happens(0.5) {
                silent.push(SilentPod { pod: state.pod.clone(), revision: state.revision.clone(), why: "lost".to_owned() });
            } else {
                samples.push(pod.sample(state, now));
            }
        }
        let baking = self.step >= self.steps.len() && self.fixed.is_none();
        let situation = Situation {
            now,
            stable: STABLE,
            candidate: CANDIDATE,
            weight: self.weight(),
            weight_since: self.weight_since.map(at),
            next_weight: self.steps.get(self.step + 1).copied().unwrap_or(if baking { 100.0 } else { self.bake_weight() }),
            soak_seconds: if baking { BAKE_SECONDS } else { SOAK_SECONDS },
            baking,
            control: if self.scenario.control { Control::UntilEnd } else { Control::InSteps },
            deadline: None,
            on_no_evidence: OnNoEvidence::Hold,
            pods: states,
        };
        self.judge.observe(&Scrape { at: now, samples, silent }, &situation);
        let back = !history
            && signals::judge(states, &[], now, Some(STABLE), CANDIDATE, &mut self.signals)
                .iter()
                .any(|signal| signal.outcome == signals::Outcome::Fail);
        let verdict = (!history).then(|| self.judge.judge(&situation).verdict);
        if self.scenario.replaced && time % 60.0 == 0.0 {
            self.replace(time, history);
        }
        match verdict {
            _ if back => self.decided = Decided::Back,
            Some(Verdict::Fail(_)) => self.decided = Decided::Back,
            Some(Verdict::Pass) if baking => self.decided = Decided::Promoted,
            Some(Verdict::Pass) if self.fixed.is_none() => {
                self.step += 1;
                // The decision acts one tick later.
                self.weight_since = Some(time + TICK);
            }
            Some(Verdict::Pass | Verdict::Pending(_)) | None => {}
        }
    }
}
