//! Seeds × faults: what must hold in every run holds in thousands that nobody thought of.
//!
//! `make seeds` runs 10 000 of them in both modes; `SEED=17 cargo test --test it invariants` runs one and prints its timeline.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use plimsoll::api::status::Phase;
use plimsoll::sim::faults::{Mode, deal, smaller};
use plimsoll::sim::{self, Report, Scenario};

const SEEDS: u64 = 60;

fn number(name: &str) -> Option<u64> {
    std::env::vars().find(|(found, _)| found == name).and_then(|(_, value)| value.parse().ok())
}

/// What is wrong with a run, if anything is.
pub fn fault(report: &Report, mode: Mode) -> Option<String> {
    if let Some(violation) = report.violations.first() {
        return Some(format!("{}: {}", violation.invariant, violation.seen));
    }
    let ended = matches!(report.phase, Some(Phase::Stable | Phase::RolledBack | Phase::Paused | Phase::Blocked));
    (mode == Mode::Liveness && !(report.settled && ended))
        .then(|| format!("12 the desired state is reached: {:?}, settled: {}: {}", report.phase, report.settled, report.message))
}

/// The same kind of failure with as few events as possible.
fn shrunk(scenario: Scenario, seed: u64, mode: Mode, what: &str) -> Scenario {
    let kind = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let fails = |scenario: &Scenario| fault(&sim::run(scenario, seed), mode).is_some_and(|found| kind(&found) == kind(what));
    match smaller(&scenario).into_iter().find(fails) {
        Some(smaller) => shrunk(smaller, seed, mode, what),
        None => scenario,
    }
}

fn check(mode: Mode) {
    let only = number("SEED");
    let seeds = only.map_or(0..number("SEEDS").unwrap_or(SEEDS), |seed| seed..seed + 1);
    let next = AtomicU64::new(seeds.start);
    let (failures, ends) = (Mutex::new(BTreeMap::new()), Mutex::new(BTreeMap::<String, u64>::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let report = sim::run(&deal(seed, mode).unwrap(), seed);
                    if only.is_some() {
                        println!("{}\n{}", report.timeline, report.summary);
                    }
                    *ends.lock().unwrap().entry(format!("{:?}", report.phase)).or_default() += 1;
                    if let Some(what) = fault(&report, mode) {
                        failures.lock().unwrap().insert(seed, what);
                    }
                }
            });
        }
    });
    let (failures, ends) = (failures.into_inner().unwrap(), ends.into_inner().unwrap());
    println!("{mode:?}: {ends:?}");
    if only.is_none() {
        // A generator whose rollouts all end in the same way tests little.
        for phase in ["Some(Stable)", "Some(RolledBack)"] {
            assert!(ends.get(phase).is_some_and(|count| count * 20 > seeds.end), "{phase}: {ends:?}");
        }
    }
    let Some((seed, what)) = failures.first_key_value() else { return };
    let mut kinds = BTreeMap::<&str, Vec<u64>>::new();
    for (seed, what) in &failures {
        kinds.entry(what.split(':').next().unwrap_or_default()).or_default().push(*seed);
    }
    let small = shrunk(deal(*seed, mode).unwrap(), *seed, mode, what);
    let report = sim::run(&small, *seed);
    panic!(
        "{mode:?}: {} of {} seeds fail, by kind: {kinds:?}\nseed {seed}: {what}\nwith only these events: {:#?}\n{}\n{}",
        failures.len(),
        seeds.end,
        small.events,
        report.timeline,
        report.summary
    );
}

#[test]
fn safety() {
    check(Mode::Safety);
}

#[test]
fn liveness() {
    check(Mode::Liveness);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let run = || sim::run(&deal(seed, Mode::Safety).unwrap(), seed);
        assert_eq!(run().timeline, run().timeline, "seed {seed}");
    }
}
