//! The cells: good versions that must not go back, and bad ones that must.

use crate::scenario::{Bad, Incident, Scenario};

/// A version that is bad in one way, at 100 requests per second.
fn bad(name: &'static str, bad: Bad) -> Scenario {
    Scenario { bad, ..Scenario::plain(name, 100.0) }
}

fn with(mut scenario: Scenario, change: &dyn Fn(&mut Scenario)) -> Scenario {
    change(&mut scenario);
    scenario
}

/// Bad versions.
pub fn bad_ones() -> Vec<Scenario> {
    let fails = |fails| Bad { fails, ..Bad::default() };
    let late = |fails| Bad { from: 600.0, fails, ..Bad::default() };
    vec![
        bad("100% bad", fails(1.0)),
        bad("50% bad", fails(0.5)),
        bad("+5 points", fails(0.05)),
        bad("+1 point", fails(0.01)),
        bad("+0.5 points", fails(0.005)),
        with(bad("+1 point, 10 rps", fails(0.01)), &|s| s.rate = 10.0),
        with(bad("+5 points, 10 rps", fails(0.05)), &|s| s.rate = 10.0),
        with(bad("100% bad, 1 rps", fails(1.0)), &|s| s.rate = 1.0),
        with(bad("100% bad, 0.1 rps", fails(1.0)), &|s| s.rate = 0.1),
        bad("latency ×1.2", Bad { slower: 1.2, ..Bad::default() }),
        bad("latency ×2", Bad { slower: 2.0, ..Bad::default() }),
        bad("3% tail", Bad { tail: 0.03, ..Bad::default() }),
        bad("crash loop", Bad { crashes: 20.0, ..Bad::default() }),
        bad("one pod of five fails 50%", Bad { one_pod: true, ..fails(0.5) }),
        bad("+5 points under full load only", Bad { above: 50.0, ..fails(0.05) }),
        with(bad("+5 points, retries", fails(0.05)), &|s| s.retries = 5.0),
        with(bad("+5 points, bursts", fails(0.05)), &bursts),
        with(bad("+1 point, bursts", fails(0.01)), &bursts),
        with(bad("100% bad, bursts, 10 min of history", fails(1.0)), &|s| (s.incident, s.history) = (Some(BURST_20), 600.0)),
        with(bad("100% bad, blocks of 15 s", fails(1.0)), &|s| s.interval = 15.0),
        with(bad("+5 points, blocks of 15 s", fails(0.05)), &|s| s.interval = 15.0),
        bad("+1 point from 600 s", late(0.01)),
        bad("+5 points from 600 s", late(0.05)),
        bad("50% from 600 s", late(0.5)),
        bad("leak to +5 points", Bad { over: 300.0, ..late(0.05) }),
        with(bad("+1 point from 600 s, no control", late(0.01)), &|s| s.control = false),
        with(bad("+5 points from 600 s, no control", late(0.05)), &|s| s.control = false),
        with(bad("50% from 600 s, no control", late(0.5)), &|s| s.control = false),
        with(bad("+5 points after an outage", late(0.05)), &|s| s.outage = Some((300.0, 180.0))),
        with(bad("+1 point, 7 min after an outage", Bad { from: 900.0, ..fails(0.01) }), &|s| s.outage = Some((300.0, 180.0))),
        bad("crash loop, pods run for a minute", Bad { crashes: 60.0, ..Bad::default() }),
        with(bad("latency ×1.2, 10 pods", Bad { slower: 1.2, ..Bad::default() }), &|s| s.pods = (10, 10)),
    ]
}

fn bursts(scenario: &mut Scenario) {
    scenario.incident = Some(BURST_20);
}

/// Pods that fail 20% for 20 s, twice an hour.
const BURST_20: Incident = Incident { every: 1800.0, lasting: 20.0, fails: 0.2, slow: 0.0 };
const BURST_60: Incident = Incident { every: 3600.0, lasting: 60.0, fails: 0.1, slow: 0.0 };
const PAUSE: Incident = Incident { every: 60.0, lasting: 1.5, fails: 0.0, slow: 1.0 };
const RARE: Incident = Incident { every: 36_000.0, lasting: 40.0, fails: 0.3, slow: 0.0 };
const RARER: Incident = Incident { every: 72_000.0, lasting: 20.0, fails: 0.2, slow: 0.0 };
const LESS_RARE: Incident = Incident { every: 18_000.0, lasting: 60.0, fails: 0.5, slow: 0.0 };
/// A container's host stands still for a moment, or its sidecar restarts.
const HICCUP: Incident = Incident { every: 36_000.0, lasting: 2.0, fails: 1.0, slow: 0.0 };

/// Good versions, with a share that stays: the bound on false alarms, in percent, that each must keep.
pub fn good_ones() -> Vec<(Scenario, f64)> {
    let plain = |name, rate| Scenario { pods: (10, 2), ..Scenario::plain(name, rate) };
    let with = |name, change: &dyn Fn(&mut Scenario)| with(plain(name, 100.0), change);
    let line = |scenario: &mut Scenario| scenario.on_the_line = true;
    let mut cells: Vec<(Scenario, f64)> = vec![
        (plain("plain, 0.1 rps", 0.1), 1.0),
        (plain("plain, 1 rps", 1.0), 1.0),
        (plain("plain, 10 rps", 10.0), 1.0),
        (plain("plain, 100 rps", 100.0), 1.0),
        (plain("plain, 1000 rps", 1000.0), 1.0),
        (with("no failures", &|s| s.fails = 0.0), 1.0),
        (with("1% fail", &|s| s.fails = 0.01), 1.0),
        (with("5% fail", &|s| s.fails = 0.05), 1.0),
        (with("0.8% fail, at the objective", &|s| s.fails = 0.008), 1.0),
        (with("1.5% fail, above the objective", &|s| s.fails = 0.015), 1.0),
        (with("on the tolerance line", &line), 1.0),
        (with("outage of both", &|s| s.outage = Some((-1.0, 360.0))), 1.0),
        (with("outage of both at 60 s", &|s| s.outage = Some((60.0, 360.0))), 1.0),
        (with("day cycle", &|s| s.day = true), 1.0),
        (with("a retry now and then", &|s| s.retries = 1.15), 1.0),
        (with("a retry now and then, on the line", &|s| (s.retries, s.on_the_line) = (1.15, true)), 1.0),
        (with("retries", &|s| s.retries = 5.0), 1.0),
        (with("retries, on the line", &|s| (s.retries, s.on_the_line) = (5.0, true)), 1.0),
        (with("pod bursts of 20 s", &bursts), 1.0),
        (with("pod bursts of 20 s, on the line", &|s| (s.incident, s.on_the_line) = (Some(BURST_20), true)), 1.0),
        (with("pod bursts of 60 s", &|s| s.incident = Some(BURST_60)), 1.0),
        (with("pod bursts of 60 s, on the line", &|s| (s.incident, s.on_the_line) = (Some(BURST_60), true)), 1.0),
        (with("pauses", &|s| s.incident = Some(PAUSE)), 1.0),
        (with("pauses, on the line", &|s| (s.incident, s.on_the_line) = (Some(PAUSE), true)), 1.0),
        (with("pods differ", &|s| (s.pods_differ, s.fails) = (0.3, 0.005)), 1.0),
        (with("pods differ, on the line", &|s| (s.pods_differ, s.fails, s.on_the_line) = (0.3, 0.005, true)), 1.0),
        (with("cold caches, 60 s", &|s| s.cold_seconds = 60.0), 1.0),
        (with("cold caches, 120 s", &|s| s.cold_seconds = 120.0), 1.0),
        (with("1% more fail in the first minute", &|s| s.cold_fails = true), 5.0),
        (with("the same, warmUpSeconds: 60", &|s| (s.cold_fails, s.warm_up) = (true, 60)), 2.0),
        (with("latency grows with load, 50 percent", &|s| (s.load_slows, s.weight, s.pods) = (true, 50.0, (10, 5))), 1.0),
        (with("no history", &|s| s.history = 0.0), 1.0),
        (with("10 min of history", &|s| s.history = 600.0), 1.0),
        (with("10 min of history, bursts", &|s| (s.history, s.incident) = (600.0, Some(BURST_20))), 5.0),
        (with("blocks of 15 s", &|s| s.interval = 15.0), 1.0),
        (with("half of the scrapes lost", &|s| s.lost_scrapes = true), 1.0),
        (with("pods replaced each minute", &|s| s.replaced = true), 1.0),
        (with("rare pod incidents (20 h, 20 s, 20%)", &|s| s.incident = Some(RARER)), 2.0),
        (with("rare pod incidents (10 h, 40 s, 30%)", &|s| s.incident = Some(RARE)), 2.0),
        (with("rare pod incidents (5 h, 60 s, 50%)", &|s| s.incident = Some(LESS_RARE)), 2.0),
        (with("hiccups of 2 s (10 h), 1 stable pod, 1 candidate", &|s| (s.incident, s.pods) = (Some(HICCUP), (1, 1))), 2.0),
    ];
    for stable in [1, 2, 3] {
        let name = ["1 stable pod, 1 candidate", "2 stable pods, 1 candidate", "3 stable pods, 1 candidate"][stable - 1];
        cells.push((Scenario { pods: (stable, 1), ..plain(name, 100.0) }, 1.0));
    }
    for (name, incident) in [("pod bursts of 20 s, 1 candidate", BURST_20), ("pod bursts of 60 s, 1 candidate", BURST_60)] {
        cells.push((Scenario { incident: Some(incident), pods: (10, 1), ..plain(name, 100.0) }, 1.0));
    }
    cells
}
