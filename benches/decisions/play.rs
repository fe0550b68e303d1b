//! Plays runs: the same requests for every policy.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use plimsoll::decide::analysis::Parts;

use crate::ours::{Decided, Ours};
use crate::peers::{Peer, Rollout};
use crate::random::Random;
use crate::scenario::Scenario;
use crate::world::{Cell, SLOTS, TICK, Tick, World};

/// Seconds of a ramp, and of a share that stays.
const RAMP: f64 = 75.0 * 60.0;
const FIXED: f64 = 60.0 * 60.0;
/// Histories of stable that runs share.
const HISTORIES: u64 = 100;

/// How one run of one policy ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Went back, was promoted, or neither.
    pub decided: Decided,
    /// When it was decided.
    pub at: f64,
    /// When it had 90% of the requests, if it did.
    pub ninety: Option<f64>,
    /// When it had all of them, if it did.
    pub hundred: Option<f64>,
    /// Failed requests that the candidate alone caused.
    pub failed: f64,
    /// Slow ones.
    pub slow: f64,
}

#[expect(clippy::large_enum_variant, reason = "seven of them in each run")]
enum Policy {
    Ours(Ours),
    Peer(Rollout),
}

impl Policy {
    fn weight(&self) -> f64 {
        match self {
            Self::Ours(ours) => ours.weight(),
            Self::Peer(rollout) => rollout.weight(),
        }
    }

    const fn decided(&self) -> Decided {
        match self {
            Self::Ours(ours) => ours.decided(),
            Self::Peer(rollout) => rollout.decided(),
        }
    }

    /// `candidate` and `stable`: the slots that each has served.
    fn look(&mut self, time: f64, tick: &Tick, candidate: &[Vec<Cell>], stable: &[Vec<Cell>]) {
        match self {
            Self::Ours(ours) => {
                ours.serve(stable, candidate);
                ours.note(&tick.health, time);
                ours.look(time, false);
            }
            Self::Peer(rollout) => {
                let ready = tick.health.iter().all(|health| health.down_until <= time);
                rollout.look(time, sum(candidate), sum(stable), ready);
            }
        }
    }
}

fn sum(slots: &[Vec<Cell>]) -> Cell {
    slots.iter().flatten().fold(Cell::default(), |mut sum, cell| {
        sum.add(cell);
        sum
    })
}

/// A policy in a run: a decision acts one tick later.
struct Seat {
    policy: Policy,
    now: f64,
    next: f64,
    outcome: Outcome,
}

/// One ramp: outcomes of ours and of each peer.
fn ramp(scenario: &Scenario, ours: Ours, peers: &[Peer], random: Random) -> Vec<Outcome> {
    let mut world = World::new(scenario, random);
    let policies = std::iter::once(Policy::Ours(ours)).chain(peers.iter().map(|peer| Policy::Peer(Rollout::new(*peer))));
    let mut seats: Vec<Seat> = policies
        .map(|policy| {
            let weight = policy.weight();
            let outcome = Outcome { decided: Decided::Not, at: RAMP, ninety: None, hundred: None, failed: 0.0, slow: 0.0 };
            Seat { policy, now: weight, next: weight, outcome }
        })
        .collect();
    let mut time = 0.0;
    while time < RAMP && seats.iter().any(|seat| seat.now > 0.0 || seat.outcome.decided == Decided::Not) {
        let tick = world.tick(time);
        let under_load = || tick.candidate.iter().map(|slot| slot.iter().map(|cell| cell.loaded()).collect()).collect();
        let loaded: Option<Vec<Vec<Cell>>> = (scenario.bad.above > 0.0).then(under_load);
        time += TICK;
        for seat in &mut seats {
            let slots = SLOTS.iter().filter(|end| **end * 100.0 <= seat.now + 1e-9).count();
            let served = loaded.as_ref().filter(|_| seat.now >= scenario.bad.above).unwrap_or(&tick.candidate);
            let (own, instead) = (sum(&served[..slots]), sum(&tick.stable[..slots]));
            seat.outcome.failed += f64::from(own.failed) - f64::from(instead.failed);
            seat.outcome.slow += f64::from(own.slow()) - f64::from(instead.slow());
            seat.policy.look(time, &tick, &served[..slots], &tick.stable[slots..]);
            (seat.now, seat.next) = (seat.next, seat.policy.weight());
            if seat.outcome.decided == Decided::Not {
                seat.outcome.decided = seat.policy.decided();
                seat.outcome.at = time;
            }
            for (weight, reached) in [(90.0, &mut seat.outcome.ninety), (100.0, &mut seat.outcome.hundred)] {
                if seat.next >= weight && reached.is_none() {
                    *reached = Some(time + TICK);
                }
            }
        }
        // A good version that everybody has promoted changes no more.
        if scenario.bad.is_none() && seats.iter().all(|seat| seat.outcome.decided != Decided::Not) {
            break;
        }
    }
    seats.into_iter().map(|seat| seat.outcome).collect()
}

/// A share that stays for an hour: when ours would have gone back, and whether a pooled z test that peeks would have.
fn fixed(scenario: &Scenario, mut ours: Ours, random: Random) -> (Option<f64>, bool) {
    let mut world = World::new(scenario, random);
    let (mut own, mut other, mut peeked) = (Cell::default(), Cell::default(), false);
    let (mut time, mut back) = (0.0, None);
    while time < FIXED {
        let (stable, candidate) = world.divided(time, scenario.weight);
        time += TICK;
        own.add(&sum(std::slice::from_ref(&candidate)));
        other.add(&sum(std::slice::from_ref(&stable)));
        peeked |= pooled_z(&own, &other) > 2.3263;
        if back.is_none() {
            ours.serve(&[stable], &[candidate]);
            ours.look(time, false);
            back = (ours.decided() == Decided::Back).then_some(time);
        }
    }
    (back, peeked)
}

fn pooled_z(own: &Cell, other: &Cell) -> f64 {
    let (n, m) = (f64::from(own.requests), f64::from(other.requests));
    let pooled = f64::from(own.failed + other.failed) / (n + m).max(1.0);
    let error = (pooled * (1.0 - pooled) * (1.0 / n.max(1.0) + 1.0 / m.max(1.0))).sqrt();
    if error > 0.0 { (f64::from(own.failed) / n.max(1.0) - f64::from(other.failed) / m.max(1.0)) / error } else { 0.0 }
}

/// Both processors, each run with its own number.
fn in_parallel<T: Send>(runs: Range<u64>, play: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicU64::new(runs.start), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= runs.end {
                        break;
                    }
                    let outcome = play(run);
                    done.lock().unwrap().push((run, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(run, _)| *run);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

fn histories(scenario: &Scenario, cell: u64, runs: u64, fixed: bool, parts: Parts) -> Vec<Ours> {
    let count = if scenario.history > 0.0 { HISTORIES.min(runs) } else { 1 };
    in_parallel(0..count, |run| Ours::new(scenario, Random::new(cell + 1_000_000, run), fixed, parts))
}

/// Outcomes of every run: ours first, then each of `peers`.
pub fn ramps(scenario: &Scenario, cell: u64, runs: u64, peers: &[Peer], parts: Parts) -> Vec<Vec<Outcome>> {
    let histories = histories(scenario, cell, runs, false, parts);
    in_parallel(0..runs, |run| {
        let ours = histories[run as usize % histories.len()].with(Random::new(cell + 2_000_000, run));
        ramp(scenario, ours, peers, Random::new(cell, run))
    })
}

/// Runs in which a share stays: when ours went back, and whether the control that peeks did.
pub fn stays(scenario: &Scenario, cell: u64, runs: Range<u64>, parts: Parts) -> Vec<(Option<f64>, bool)> {
    let histories = histories(scenario, cell, runs.end, true, parts);
    in_parallel(runs, |run| {
        let ours = histories[run as usize % histories.len()].with(Random::new(cell + 2_000_000, run));
        fixed(scenario, ours, Random::new(cell, run))
    })
}
