//! Whole rollouts through the façade: pods with counters, one scrape every five seconds.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::decide::analysis::{
    AnalysisState, Assessment, Counters, FailReason, Judge, Objective, ObjectiveKind, OnNoEvidence, PendingReason, PodSample, PodState,
    Scrape, Settings, SilentPod, Situation, Source, Verdict,
};

const STABLE: &str = "a11ce0ffee";
const CANDIDATE: &str = "7f9c4d01ab";

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
    Settings { false_alarm: 0.01, tolerance: 0.001, min_requests: 200, warm_up_seconds: 30, interval_seconds: 5, objectives }
}

/// One pod of the world.
#[derive(Clone)]
struct Pod {
    state: PodState,
    started: Timestamp,
    counters: Counters,
    silent: bool,
}

/// Two revisions, their pods and their counters; requests and failures are dealt out exactly, without chance.
#[derive(Clone)]
pub struct World {
    pub judge: Judge,
    pub second: i64,
    pods: Vec<Pod>,
    pub stable: Traffic,
    pub candidate: Traffic,
    pub weight_since: Option<i64>,
    pub soak_seconds: i64,
    pub next_weight: f64,
    pub baking: bool,
    pub control_until_end: bool,
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
        Self::with(settings(objectives), None, stable, candidate)
    }

    pub fn with(settings: Settings, earlier: Option<&AnalysisState>, stable: u32, candidate: u32) -> Self {
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
            judge: Judge::new(&settings, earlier),
            second: 0,
            pods,
            stable: Traffic { requests: 900.0, ..Traffic::default() },
            candidate: Traffic::default(),
            weight_since: None,
            soak_seconds: 60,
            next_weight: 25.0,
            baking: false,
            control_until_end: true,
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
            control_until_end: self.control_until_end,
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
            let pods: Vec<_> = self.pods.iter_mut().filter(|pod| pod.state.revision == revision).collect();
            let count = pods.len() as u64;
            // What does not divide goes round.
            let turn = self.second.unsigned_abs() / 5;
            for (index, pod) in pods.into_iter().enumerate() {
                let part = |amount: u64| amount / count + u64::from((index as u64 + turn) % count < amount % count);
                let (requests, failed, slow) = (part(requests), part(failed).min(part(requests)), part(slow).min(part(requests)));
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

    fn every_pod(&mut self, revision: &str, change: impl Fn(&mut Pod)) {
        self.pods.iter_mut().filter(|pod| pod.state.revision == revision).for_each(change);
    }
}

fn good(requests: f64) -> Traffic {
    Traffic { requests, ..Traffic::default() }
}

#[test]
fn a_good_candidate_passes_when_its_soak_is_over() {
    let mut world = World::new(vec![errors()], 4, 2);
    world.run(40);
    world.weight(good(100.0));
    assert_eq!(world.run(55).verdict, Verdict::Pending(PendingReason::Soaking));
    let soaking = world.assess();
    assert_eq!(soaking.sentence, "holding at 10%: 0 of 1 000 failed so far; soaking for 5 s");
    assert_eq!(soaking.wake, Some(at(100)));
    let (passed, seconds) = world.until_decided(300);
    assert_eq!((passed.verdict, 55 + seconds), (Verdict::Pass, 60), "{}", passed.sentence);
    assert_eq!(passed.sentence, "passed: 0 of 1 100 failed; an excess above 2 points is excluded (95%)");
    assert!(passed.e <= 1.0);
}

#[test]
fn total_failure_is_found_within_three_scrapes() {
    // Also where stable has nothing to compare with, and also while every pod is cold.
    for (stable, reason, words) in [
        (good(900.0), FailReason::Worse, "200 of 200 requests failed on 7f9c4d01ab, 0 of 1 800 on a11ce0ffee (e = 516, limit 100)"),
        (good(4.0), FailReason::Broken, "200 of 200 requests failed on 7f9c4d01ab, 0 of 8 on a11ce0ffee within two measurements"),
        (good(0.0), FailReason::Broken, "200 of 200 requests failed on 7f9c4d01ab; no control within two measurements"),
    ] {
        let mut world = World::new(vec![errors()], 4, 2);
        world.stable = stable;
        world.run(10);
        world.weight(Traffic { fail: 1.0, ..good(100.0) });
        let (failed, seconds) = world.until_decided(60);
        assert_eq!((failed.verdict, seconds), (Verdict::Fail(reason), 15), "{}", failed.sentence);
        assert!(failed.sentence.starts_with("rolled back at 10%: ") && failed.sentence.contains(words), "{}", failed.sentence);
    }
    // One pod of two: the test decides, nobody calls the version broken.
    let mut world = World::new(vec![errors()], 4, 2);
    world.run(10);
    world.weight(Traffic { fail: 0.5, ..good(100.0) });
    assert_eq!(world.until_decided(60).0.verdict, Verdict::Fail(FailReason::Worse));
}

#[test]
fn five_percent_failures_are_sent_back_with_their_numbers() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.run(40);
    world.weight(Traffic { fail: 0.05, ..good(100.0) });
    let (failed, seconds) = world.until_decided(600);
    assert_eq!(failed.verdict, Verdict::Fail(FailReason::Worse), "{}", failed.sentence);
    assert!(seconds <= 90, "{seconds}");
    assert!(failed.e >= failed.limit);
    assert!(failed.sentence.starts_with("rolled back at 10%: "), "{}", failed.sentence);
    assert!(failed.sentence.contains("requests failed on 7f9c4d01ab, 0 of "), "{}", failed.sentence);
    assert_eq!(failed.objectives[0].verdict, Verdict::Fail(FailReason::Worse));
    assert!(matches!(failed.objectives[1].verdict, Verdict::Pending(_)));
}

#[test]
fn a_slow_candidate_is_sent_back_by_its_latency() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.stable.slow = 0.01;
    world.run(60);
    world.weight(Traffic { slow: 0.2, ..good(100.0) });
    let warming = world.run(50);
    assert_eq!(warming.objectives[1].verdict, Verdict::Pending(PendingReason::WarmingUp));
    let (failed, _) = world.until_decided(600);
    assert_eq!(failed.objectives[1].verdict, Verdict::Fail(FailReason::Worse), "{}", failed.sentence);
    assert!(failed.sentence.contains(" of requests on 7f9c4d01ab took over 250 ms, 1.0% on a11ce0ffee (e = "), "{}", failed.sentence);
}

#[test]
fn a_good_candidate_passes_both_objectives() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.stable.slow = 0.01;
    world.run(60);
    world.weight(Traffic { slow: 0.01, ..good(100.0) });
    let (passed, seconds) = world.until_decided(900);
    assert_eq!(passed.verdict, Verdict::Pass, "{}", passed.sentence);
    assert!(seconds <= 300, "{seconds}");
}

#[test]
fn a_late_regression_is_found_in_the_bake_and_its_counts_are_not_diluted() {
    let mut world = World::new(vec![errors()], 4, 2);
    world.run(40);
    world.weight(good(500.0));
    world.baking = true;
    world.soak_seconds = 900;
    world.next_weight = 100.0;
    world.run(600);
    world.candidate.fail = 0.05;
    let (failed, seconds) = world.until_decided(900);
    assert_eq!(failed.verdict, Verdict::Fail(FailReason::Worse));
    assert!(seconds <= 45, "{seconds}");
    let shown = failed.objectives[0].candidate;
    assert!(shown.total <= 5000 && shown.bad * 25 >= shown.total, "{shown:?}");
}

#[test]
fn what_hits_both_sends_nobody_back_and_says_so() {
    let mut world = World::new(vec![errors()], 4, 2);
    world.run(40);
    world.stable.fail = 0.9;
    world.weight(Traffic { fail: 0.9, ..good(100.0) });
    let held = world.run(240);
    assert_eq!(held.verdict, Verdict::Pending(PendingReason::StableBroken), "{}", held.sentence);
    assert_eq!(held.sentence, "holding at 10%: stable fails 90.0% too; no evidence either way");
    // A fix that is clearly better takes stable's place.
    world.candidate.fail = 0.0;
    world.weight(good(100.0));
    let (passed, seconds) = world.until_decided(300);
    assert!(passed.verdict == Verdict::Pass && seconds <= 120, "{seconds} {}", passed.sentence);
}

#[test]
fn without_evidence_nothing_passes_and_the_deadline_does_what_it_is_told() {
    type Change = fn(&mut World);
    let cases: [(&str, Change, PendingReason, &str); 8] = [
        (
            "the source is down",
            |world| {
                world.silence(STABLE, 9);
                world.silence(CANDIDATE, 9);
            },
            PendingReason::SourceDown,
            "no pod answers with metrics (connection refused)",
        ),
        (
            "the candidate is silent",
            |world| world.silence(CANDIDATE, 2),
            PendingReason::Silent,
            "1 of 3 ready pods of 7f9c4d01ab answer with metrics (connection refused)",
        ),
        ("no traffic", |world| world.candidate.requests = 0.0, PendingReason::NoTraffic, "no request has reached 7f9c4d01ab in"),
        ("no control", |world| world.stable.requests = 0.0, PendingReason::NoControl, "no request has reached a11ce0ffee in"),
        ("too few requests", |world| world.candidate.requests = 0.1, PendingReason::TooFewRequests, "of 200 requests in 10 min; about"),
        (
            "no convention",
            |world| {
                world.every_pod(CANDIDATE, |pod| {
                    pod.counters = Counters { missing: Some("no http_requests_total".to_owned()), ..Counters::default() }
                })
            },
            PendingReason::UnknownConvention,
            "fit no known convention: no http_requests_total",
        ),
        (
            "other buckets",
            |world| world.every_pod(CANDIDATE, |pod| pod.counters.buckets.clear()),
            PendingReason::NoCommonBuckets,
            "have no bound in common",
        ),
        (
            "young pods",
            |world| {
                let young = at(world.second + 650);
                world.every_pod(CANDIDATE, |pod| pod.state.ready_since = Some(young));
            },
            PendingReason::WarmingUp,
            "is younger than",
        ),
    ];
    for (why, change, reason, words) in cases {
        for (on_no_evidence, expected) in [
            (OnNoEvidence::Hold, Verdict::Pending(reason)),
            (OnNoEvidence::RollBack, Verdict::Fail(FailReason::NoEvidence)),
            (OnNoEvidence::Promote, Verdict::Pass),
        ] {
            let objectives =
                if matches!(reason, PendingReason::NoCommonBuckets | PendingReason::WarmingUp) { vec![latency()] } else { vec![errors()] };
            let mut world = World::new(objectives, 4, 3);
            world.run(40);
            world.weight(good(100.0));
            world.on_no_evidence = on_no_evidence;
            world.deadline = Some(world.second + 660);
            let mut last = None;
            for _ in 0..122 {
                change(&mut world);
                world.second += 5;
                world.serve();
                change(&mut world);
                let scrape = world.scrape();
                world.with_situation(|judge, situation| judge.observe(&scrape, situation));
                last = Some(world.assess());
            }
            let held = last.unwrap();
            assert_eq!(held.verdict, Verdict::Pending(reason), "{why}: {}", held.sentence);
            assert!(held.sentence.contains(words), "{why}: {}", held.sentence);
            world.second += 55;
            let scrape = world.scrape();
            world.with_situation(|judge, situation| judge.observe(&scrape, situation));
            let after = world.assess();
            assert_eq!(after.verdict, expected, "{why}: {}", after.sentence);
        }
    }
}

#[test]
fn time_never_promotes_what_mostly_fails() {
    let mut world = World::new(vec![errors()], 4, 2);
    world.run(40);
    world.stable.requests = 0.0;
    // One request every ten seconds, and every one fails: too few for any statistic.
    world.weight(Traffic { fail: 1.0, ..good(0.5) });
    world.on_no_evidence = OnNoEvidence::Promote;
    world.deadline = Some(world.second + 100);
    assert_eq!(world.run(200).verdict, Verdict::Pending(PendingReason::NoControl));
    world.baking = true;
    assert_eq!(world.run(600).verdict, Verdict::Pending(PendingReason::NoControl));
}

#[test]
fn without_a_control_the_candidate_is_judged_alone() {
    let mut world = World::new(vec![errors()], 4, 2);
    world.control_until_end = false;
    world.run(40);
    world.stable.requests = 0.0;
    world.weight(Traffic { fail: 0.1, ..good(100.0) });
    let (failed, seconds) = world.until_decided(600);
    assert_eq!(failed.verdict, Verdict::Fail(FailReason::Worse), "{}", failed.sentence);
    assert!(seconds <= 120, "{seconds}");
    assert!(failed.sentence.contains(" requests failed on 7f9c4d01ab; no control (e = "), "{}", failed.sentence);
    let mut world = World::new(vec![latency()], 4, 2);
    world.control_until_end = false;
    world.run(60);
    world.weight(good(100.0));
    world.soak_seconds = 3600;
    world.run(200);
    world.stable.requests = 0.0;
    world.candidate.slow = 0.5;
    assert_eq!(world.until_decided(600).0.verdict, Verdict::Fail(FailReason::Worse));
}

#[test]
fn without_objectives_the_soak_alone_decides() {
    let mut world = World::new(Vec::new(), 4, 2);
    assert_eq!(world.assess().verdict, Verdict::Pending(PendingReason::Soaking));
    world.run(40);
    world.weight(Traffic { fail: 1.0, ..good(100.0) });
    assert_eq!(world.run(55).verdict, Verdict::Pending(PendingReason::Soaking));
    let passed = world.run(5);
    assert_eq!(passed.verdict, Verdict::Pass);
    assert_eq!(passed.sentence, "passed: the soak is over; no objectives, so only crashes, readiness and image pulls are judged");
}

#[test]
fn a_new_weight_starts_a_new_step() {
    let mut world = World::new(vec![errors()], 4, 2);
    world.run(40);
    world.weight(good(100.0));
    assert_eq!(world.run(60).verdict, Verdict::Pass);
    world.weight_since = None;
    assert_eq!(world.assess().verdict, Verdict::Pending(PendingReason::Soaking));
    world.weight(good(10.0));
    let held = world.run(60);
    assert_eq!(held.verdict, Verdict::Pending(PendingReason::TooFewRequests));
    assert!(held.sentence.contains("110 of 200 requests in 60 s; about 1 more minute"), "{}", held.sentence);
}

#[test]
fn an_alarm_that_rises_at_the_end_of_the_bake_prolongs_it_at_most_twofold() {
    let mut world = World::new(vec![errors()], 4, 2);
    world.run(40);
    world.weight(good(100.0));
    world.baking = true;
    world.run(35);
    let mut held = world.assess();
    for _ in 0..40 {
        // Just enough failures to keep the alarm between a tenth of the limit and the limit.
        world.candidate.fail = if held.e < 20.0 { 0.05 } else { 0.0 };
        held = world.tick();
        if held.verdict == Verdict::Pending(PendingReason::AlarmRising) && world.second - 40 > 60 {
            assert!(held.sentence.contains("failed on 7f9c4d01ab"), "{}", held.sentence);
            assert!(world.second - 40 < 120);
        }
        if held.verdict == Verdict::Pass {
            break;
        }
    }
    assert_eq!((held.verdict, world.second - 40), (Verdict::Pass, 120), "{}", held.sentence);
    assert!(held.e >= 10.0);
}

#[test]
fn a_restart_of_the_operator_changes_nothing_but_the_scrapes_it_missed() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.control_until_end = false;
    world.stable = Traffic { fail: 0.01, slow: 0.02, ..good(900.0) };
    world.run(60);
    world.weight(Traffic { fail: 0.02, slow: 0.03, ..good(100.0) });
    world.run(185);
    let state = world.judge.state();
    let mut restarted = world.clone();
    restarted.judge = Judge::resume(&settings(vec![errors(), latency()]), &state).unwrap();
    assert_eq!(restarted.judge.clone().state(), state);
    assert_eq!(restarted.assess().verdict, Verdict::Pending(PendingReason::SourceDown));
    // Both miss the same scrape: one because it has no references yet, the other because it is not asked.
    for lost in [&mut world, &mut restarted] {
        lost.second += 5;
        lost.serve();
        let scrape = Scrape { at: at(lost.second), samples: Vec::new(), silent: Vec::new() };
        lost.with_situation(|judge, situation| judge.observe(&scrape, situation));
    }
    for _ in 0..5 {
        world.second += 5;
        world.serve();
        restarted.second += 5;
        restarted.serve();
    }
    for _ in 0..30 {
        let (one, other) = (world.tick(), restarted.tick());
        // The minute that was being collected is lost, so φ differs a little; all else is the same.
        assert_eq!(one.verdict, other.verdict);
        assert!((one.e / other.e - 1.0).abs() < 1e-3, "{} {}", one.e, other.e);
    }
}

#[test]
fn the_state_is_small_and_reads_back_as_it_was() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.control_until_end = false;
    world.stable.slow = 0.02;
    world.stable.fail = 0.001;
    for phase in 0..3 {
        world.run(65);
        if phase == 1 {
            world.weight(Traffic { fail: 0.004, slow: 0.04, ..good(103.0) });
        }
        let state = world.judge.state();
        for objective in &state.objectives {
            let size = serde_json::to_string(objective).unwrap().len();
            assert!(size <= 1536, "{size} bytes in phase {phase}: {objective:?}");
        }
        let text = serde_json::to_string(&state).unwrap();
        let parsed: AnalysisState = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed, state);
        assert_eq!(Judge::resume(&settings(vec![errors(), latency()]), &parsed).unwrap().state(), state);
    }
    let settled = world.judge.state().settled();
    assert!(settled.objectives.iter().all(|objective| objective.components.is_empty() && !objective.calibrations.is_empty()));
}

#[test]
fn an_unreadable_state_is_refused() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.run(60);
    world.weight(good(100.0));
    world.run(200);
    let state = serde_json::to_value(world.judge.state()).unwrap();
    let (mut spoiled, mut words) = (0, Vec::new());
    collect(&state, String::new(), &mut words);
    for pointer in words.iter().filter(|pointer| !pointer.ends_with("/name") && !pointer.ends_with("/stepSince")) {
        for wrong in ["nan", "1 2", "x", "inf", "-1 -1 -1 -1 -1 -1 -1", "1e999"] {
            let mut state = state.clone();
            *state.pointer_mut(pointer).unwrap() = wrong.into();
            let state: AnalysisState = serde_json::from_value(state).unwrap();
            if wrong == "nan" || wrong == "x" || wrong == "inf" {
                assert!(Judge::resume(&settings(vec![errors(), latency()]), &state).is_err(), "{pointer} {wrong}");
                spoiled += 1;
            } else if let Ok(judge) = Judge::resume(&settings(vec![errors(), latency()]), &state) {
                assert!(world.with_situation(|_, situation| judge.judge(situation)).e.is_finite());
            }
        }
    }
    assert!(spoiled > 30);
    assert!(Judge::resume(&settings(vec![errors()]), &AnalysisState::default()).is_err());
}

fn collect(value: &serde_json::Value, pointer: String, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| collect(value, format!("{pointer}/{name}"), found)),
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| collect(value, format!("{pointer}/{index}"), found))
        }
        serde_json::Value::String(_) => found.push(pointer),
        _ => {}
    }
}

#[test]
fn what_earlier_rollouts_showed_counts_half() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.stable = Traffic { requests: 900.0, fail: 0.01, slow: 0.02 };
    world.run(60);
    world.weight(Traffic { fail: 0.01, slow: 0.02, ..good(100.0) });
    world.run(1800);
    let settled = world.judge.state().settled();
    let next = World::with(settings(vec![errors(), latency()]), Some(&settled), 4, 2);
    let (before, after) = (&world.judge.objectives[0].components[0], &next.judge.objectives[0].components[0]);
    assert!(before.phi() < 2.6 && after.phi() > before.phi() && after.phi() < 4.0, "{} {}", before.phi(), after.phi());
    let mut next = next;
    next.stable = world.stable;
    next.run(60);
    next.weight(Traffic { fail: 0.01, slow: 0.02, ..good(100.0) });
    next.run(30);
    assert!((next.judge.objectives[0].components[0].prior.share - 0.01).abs() < 0.002);
    assert!(next.judge.objectives[1].components.iter().all(|edge| edge.phi() < 4.0));
}

#[test]
fn silent_pods_and_gaps_lose_blocks_only() {
    let mut world = World::new(vec![errors()], 4, 4);
    world.run(40);
    world.weight(good(100.0));
    world.silence(CANDIDATE, 2);
    let half = world.run(60);
    assert_ne!(half.verdict, Verdict::Pending(PendingReason::Silent), "half of the pods are enough: {}", half.sentence);
    world.silence(CANDIDATE, 3);
    assert_eq!(world.run(30).verdict, Verdict::Pending(PendingReason::Silent));
    world.every_pod(CANDIDATE, |pod| pod.silent = false);
    assert_eq!(world.run(120).verdict, Verdict::Pass);
    world.second += 40;
    let stale = world.assess();
    assert_eq!(stale.verdict, Verdict::Pending(PendingReason::SourceDown), "{}", stale.sentence);
}
