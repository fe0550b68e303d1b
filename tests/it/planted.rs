//! The invariants are tested too: each bug that is planted in the operator is caught by some seed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use plimsoll::sim::faults::{Mode, deal};
use plimsoll::sim::planted::Bug;
use plimsoll::sim::run_with;

use super::invariants::fault;

/// A bug that is not caught by then is a hole in the invariants.
const SEEDS: u64 = 10_000;

/// Where bugs that take long to be caught were caught last. It only saves time: all other seeds are tried as well.
const CAUGHT: [(Bug, u64); 2] = [(Bug::NoFence, 976), (Bug::ActsOnAStaleCache, 1993)];

/// What catches the bug first: seed, mode and violation.
fn caught(bug: Bug) -> Option<(u64, Mode, String)> {
    let hints = CAUGHT.iter().filter(|(hinted, _)| *hinted == bug).map(|(_, seed)| *seed);
    let mut runs = hints.chain(0..SEEDS).flat_map(|seed| [(seed, Mode::Safety), (seed, Mode::Liveness)]);
    runs.find_map(|(seed, mode)| Some((seed, mode, fault(&run_with(bug, &deal(seed, mode).unwrap(), seed), mode)?)))
}

#[test]
fn every_planted_bug_is_caught() {
    let (next, escaped) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(bug) = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok().and_then(|index| Bug::ALL.get(index)) {
                    match caught(*bug) {
                        Some((seed, mode, what)) => println!("{bug:?}: {mode:?}, seed {seed}: {what}"),
                        None => escaped.lock().unwrap().push(*bug),
                    }
                }
            });
        }
    });
    assert_eq!(escaped.into_inner().unwrap(), [], "bugs that no invariant notices in {SEEDS} seeds");
}
