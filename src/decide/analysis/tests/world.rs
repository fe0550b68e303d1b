//! A small world for the judge: pods with counters, one scrape every five seconds.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::decide::analysis::{
    AnalysisState, Assessment, Control, Counters, Judge, Objective, ObjectiveKind, OnNoEvidence, Parts, PodSample, PodState, Scrape,
    Settings, SilentPod, Situation, Source, Verdict,
};

pub const STABLE: &str = "a11ce0ffee";
pub const CANDIDATE: &str = "7f9c4d01ab";

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub fn errors() -> Objective {
    Objective { name: "availability".to_owned(), kind: ObjectiveKind::ErrorRate { at_most: 0.005 } }
}

pub fn latency() -> Objective {
    Objective { name: "latency".to_owned(), kind: ObjectiveKind::Latency { percentile: 99.0, at_most_milliseconds: 300.0 } }
}

pub fn settings(objectives: Vec<Objective>) -> Settings {
    Settings {
        false_alarm: 0.01,
        tolerance: 0.001,
        min_requests: 200,
        warm_up_seconds: 30,
        interval_seconds: 5,
        memory_limit_bytes: Some(256.0 * 1_048_576.0),
        bake_seconds: 300,
        objectives,
        parts: Parts::default(),
    }
}

/// One pod of the world.
#[derive(Clone)]
pub struct Pod {
    pub state: PodState,
    started: Timestamp,
    pub counters: Counters,
    pub silent: bool,
}

/// Two revisions, their pods and their counters; requests and failures are dealt out exactly, without chance.
#[derive(Clone)]
pub struct World {
    pub judge: Judge,
    pub second: i64,
    pods: Vec<Pod>,
    pub stable: Traffic,
    pub candidate: Traffic,
    /// The share that the candidate's first pod fails of its own.
    pub sick: f64,
    pub weight_since: Option<i64>,
    pub soak_seconds: i64,
    pub next_weight: f64,
    pub baking: bool,
    pub control: Control,
    pub deadline: Option<i64>,
    pub on_no_evidence: OnNoEvidence,
    fractions: BTreeMap<&'static str, f64>,
}

/// Per five seconds and revision: requests, and the shares that fail and that take 400 ms instead of 40.
#[derive(Clone, Copy, Default)]
pub struct Traffic {
    pub requests: f64,
    pub fail: f64,
    pub slow: f64,
}

impl World {
    pub fn new(objectives: Vec<Objective>, stable: u32, candidate: u32) -> Self {
        Self::with(&settings(objectives), None, stable, candidate)
    }

    pub fn with(settings: &Settings, earlier: Option<&AnalysisState>, stable: u32, candidate: u32) -> Self {
        let mut pods = Vec::new();
        for (revision, count, started) in [(STABLE, stable, -3600), (CANDIDATE, candidate, -20)] {
            pods.extend((0..count).map(|index| {
                let name = format!("shop-{revision}-{index}");
                let ready_since = Some(at(started + 15));
                let state = PodState {
                    pod: name.clone(),
                    name,
                    revision: revision.to_owned(),
                    ready: true,
                    ready_since,
                    node_ready: true,
                    ..PodState::default()
                };
                Pod {
                    state,
                    started: at(started),
                    counters: Counters { source: Some(Source::RequestsTotal), ..Counters::default() },
                    silent: false,
                }
            }));
        }
        Self {
            judge: Judge::new(settings, earlier),
            second: 0,
            pods,
            stable: Traffic { requests: 900.0, ..Traffic::default() },
            candidate: Traffic::default(),
            sick: 0.0,
            weight_since: None,
            soak_seconds: 60,
            next_weight: 25.0,
            baking: false,
            control: Control::UntilEnd,
            deadline: None,
            on_no_evidence: OnNoEvidence::Hold,
            fractions: BTreeMap::new(),
        }
    }

    /// The weight is reported now; traffic goes to the candidate from now on.
    pub fn weight(&mut self, candidate: Traffic) {
        self.weight_since = Some(self.second);
        self.candidate = candidate;
    }

    pub fn with_situation<T>(&mut self, act: impl FnOnce(&mut Judge, &Situation<'_>) -> T) -> T {
        let pods: Vec<_> = self.pods.iter().map(|pod| pod.state.clone()).collect();
        let situation = Situation {
            now: at(self.second),
            stable: STABLE,
            candidate: CANDIDATE,
            weight: 10.0,
            weight_since: self.weight_since.map(at),
            next_weight: self.next_weight,
            soak_seconds: self.soak_seconds,
            baking: self.baking,
            control: self.control,
            deadline: self.deadline.map(at),
            on_no_evidence: self.on_no_evidence,
            pods: &pods,
        };
        act(&mut self.judge, &situation)
    }

    pub fn assess(&mut self) -> Assessment {
        self.with_situation(|judge, situation| judge.judge(situation))
    }

    /// Whole requests out of fractions, carried over.
    fn whole(&mut self, what: &'static str, amount: f64) -> u64 {
        let sum = self.fractions.entry(what).or_default();
        *sum += amount + 1e-9;
        let whole = sum.floor();
        *sum -= whole;
        crate::decide::analysis::component::whole(whole)
    }

    pub fn serve(&mut self) {
        let keys = [(STABLE, self.stable, ["s", "sf", "ss"]), (CANDIDATE, self.candidate, ["c", "cf", "cs"])];
        for (revision, traffic, [all, fail, slow]) in keys {
            let requests = self.whole(all, traffic.requests);
            let failed = self.whole(fail, requests as f64 * traffic.fail).min(requests);
            let slow = self.whole(slow, requests as f64 * traffic.slow).min(requests);
            let sick = if revision == CANDIDATE { self.sick } else { 0.0 };
            let pods: Vec<_> = self.pods.iter_mut().filter(|pod| pod.state.revision == revision).collect();
            let count = pods.len() as u64;
            // What does not divide goes round.
            let turn = self.second.unsigned_abs() / 5;
            for (index, pod) in pods.into_iter().enumerate() {
                let part = |amount: u64| amount / count + u64::from((index as u64 + turn) % count < amount % count);
                let (requests, failed, slow) = (part(requests), part(failed).min(part(requests)), part(slow).min(part(requests)));
                let own = crate::decide::analysis::component::whole(requests as f64 * if index == 0 { sick } else { 0.0 });
                let failed = failed.max(own);
                let counters = &mut pod.counters;
                *counters.by_status.entry(200).or_default() += requests - failed;
                *counters.by_status.entry(500).or_default() += failed;
                counters.timed += requests;
                for (bound, fast) in [(25_000, 0), (50_000, requests - slow), (250_000, requests - slow), (500_000, requests)] {
                    *counters.buckets.entry(bound).or_default() += fast;
                }
            }
        }
    }

    pub fn scrape(&self) -> Scrape {
        let now = at(self.second);
        let (mut samples, mut silent) = (Vec::new(), Vec::new());
        for Pod { state, started, counters, silent: is_silent } in &self.pods {
            let (pod, revision) = (state.pod.clone(), state.revision.clone());
            if *is_silent {
                silent.push(SilentPod { pod, revision, why: "connection refused".to_owned() });
            } else {
                samples.push(PodSample {
                    pod,
                    revision,
                    at: now,
                    started: Some(*started),
                    ready_since: state.ready_since,
                    counters: counters.clone(),
                });
            }
        }
        Scrape { at: now, samples, silent }
    }

    /// Five seconds.
    pub fn tick(&mut self) -> Assessment {
        self.second += 5;
        self.serve();
        let scrape = self.scrape();
        self.with_situation(|judge, situation| judge.observe(&scrape, situation));
        self.assess()
    }

    pub fn run(&mut self, seconds: i64) -> Assessment {
        let mut last = self.assess();
        for _ in 0..seconds / 5 {
            last = self.tick();
        }
        last
    }

    /// Ticks until the verdict is no longer Pending, at most `seconds`; what it then is, and after how long.
    pub fn until_decided(&mut self, seconds: i64) -> (Assessment, i64) {
        let begun = self.second;
        loop {
            let assessment = self.tick();
            if !matches!(assessment.verdict, Verdict::Pending(_)) || self.second - begun >= seconds {
                return (assessment, self.second - begun);
            }
        }
    }

    pub fn silence(&mut self, revision: &str, count: usize) {
        for pod in self.pods.iter_mut().filter(|pod| pod.state.revision == revision).take(count) {
            pod.silent = true;
        }
    }

    pub fn every_pod(&mut self, revision: &str, change: impl Fn(&mut Pod)) {
        self.pods.iter_mut().filter(|pod| pod.state.revision == revision).for_each(change);
    }
}

pub fn good(requests: f64) -> Traffic {
    Traffic { requests, ..Traffic::default() }
}
