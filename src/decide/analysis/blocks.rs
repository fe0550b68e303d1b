//! Blocks (§3): the stretches of time that the test multiplies over.
//!
//! A block closes at the first scrape by which everyone needed has served a request; until then it goes on collecting.
//! It never spans a change of weight: shares must be comparable within a block.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::increments::{Increment, PodCount};
use super::sequential::Counts;

/// One pod's part in a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Part {
    ready_since: Option<Timestamp>,
    count: PodCount,
}

/// Counts of one side over the pods that count, and how many pods served any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Side {
    /// n.
    pub total: u64,
    /// x.
    pub bad: u64,
    /// K: pods with requests.
    pub pods: u64,
}

/// Collects increments until they make a block.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Collector {
    span: Option<(Timestamp, Timestamp)>,
    stable: BTreeMap<String, Part>,
    candidate: BTreeMap<String, Part>,
}

/// A closed block.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedBlock {
    /// Its length.
    pub seconds: f64,
    until: Timestamp,
    stable: BTreeMap<String, Part>,
    candidate: BTreeMap<String, Part>,
}

impl Collector {
    /// Drops what is pending.
    pub fn drop_pending(&mut self) {
        *self = Self::default();
    }

    /// Nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.span.is_none()
    }

    /// Takes in increments up to `at`; `candidate` is that revision's name.
    pub fn add(&mut self, increments: &[&Increment], candidate: &str, at: Timestamp) {
        for increment in increments {
            let from = self.span.map_or(increment.from, |(from, _)| from.min(increment.from));
            self.span = Some((from, at));
            let side = if increment.revision == candidate { &mut self.candidate } else { &mut self.stable };
            let part = side.entry(increment.pod.clone()).or_default();
            part.ready_since = increment.ready_since;
            part.count.add(&increment.count);
        }
    }

    /// The block, if the candidate has served a request and, where `both` are needed, stable as well.
    pub fn close(&mut self, both: bool) -> Option<ClosedBlock> {
        let served = |side: &BTreeMap<String, Part>| side.values().any(|part| part.count.total > 0);
        let (from, until) = self.span.filter(|_| served(&self.candidate) && (!both || served(&self.stable)))?;
        let Self { stable, candidate, .. } = std::mem::take(self);
        Some(ClosedBlock { seconds: until.duration_since(from).as_secs_f64(), until, stable, candidate })
    }
}

impl ClosedBlock {
    /// Failures of all pods, or of those older than `older_than` seconds.
    pub fn failures(&self, older_than: Option<i64>) -> (Side, Side) {
        self.sides(older_than, |count| Some((count.total, count.failed)))
    }

    /// Slow requests of pods older than `older_than` seconds that have this bound.
    pub fn slower(&self, older_than: i64, bound: u64) -> (Side, Side) {
        self.sides(Some(older_than), |count| Some((count.timed, *count.slower.get(&bound)?)))
    }

    /// Errors (§3): warm if warm pods carried at least half of the candidate's requests; then only they count.
    pub fn errors(&self, warm_up_seconds: i64) -> (Side, Side, bool) {
        let (stable, candidate) = self.failures(Some(warm_up_seconds));
        let (all_stable, all_candidate) = self.failures(None);
        if candidate.total.saturating_mul(2) >= all_candidate.total {
            (stable, candidate, false)
        } else {
            (all_stable, all_candidate, true)
        }
    }

    fn sides(&self, older_than: Option<i64>, read: impl Fn(&PodCount) -> Option<(u64, u64)>) -> (Side, Side) {
        let counts = |part: &&Part| older_than.is_none_or(|age| part.is_older(self.until, age));
        let sum = |side: &BTreeMap<String, Part>| {
            let served = side.values().filter(counts).filter_map(|part| read(&part.count)).filter(|(total, _)| *total > 0);
            served.fold(Side::default(), |sum, (total, bad)| Side {
                total: sum.total.saturating_add(total),
                bad: sum.bad.saturating_add(bad.min(total)),
                pods: sum.pods + 1,
            })
        };
        (sum(&self.stable), sum(&self.candidate))
    }
}

impl Part {
    fn is_older(&self, than: Timestamp, seconds: i64) -> bool {
        self.ready_since.is_some_and(|since| than.duration_since(since) > SignedDuration::from_secs(seconds))
    }
}

/// Both sides as the test takes them.
pub fn counts(stable: Side, candidate: Side) -> Counts {
    Counts { stable_total: stable.total, stable_bad: stable.bad, candidate_total: candidate.total, candidate_bad: candidate.bad }
}
