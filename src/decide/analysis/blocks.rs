//! Blocks (§3): the stretches of time that the test multiplies over.
//!
//! A block closes at the first scrape by which everyone needed has served a request; until then it goes on collecting.
//! It never spans a change of weight: shares must be comparable within a block.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::increments::{Increment, PodCount};
use super::score::PodRequests;
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
    pub fn add(&mut self, increments: &[&Increment<'_>], candidate: &str, at: Timestamp) {
        for increment in increments {
            let from = self.span.map_or(increment.from, |(from, _)| from.min(increment.from));
            self.span = Some((from, at));
            let side = if increment.revision == candidate { &mut self.candidate } else { &mut self.stable };
            let part = side.entry(increment.pod.to_owned()).or_default();
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
    pub fn failures(&self, older_than: Option<i64>) -> Sides<'_> {
        self.sides(older_than, |count| Some((count.total, count.failed)))
    }

    /// Slow requests of pods older than `older_than` seconds that have this bound.
    pub fn slower(&self, older_than: i64, bound: u64) -> Sides<'_> {
        self.sides(Some(older_than), |count| Some((count.timed, *count.slower.get(&bound)?)))
    }

    /// Errors (§3): warm if warm pods carried at least half of the candidate's requests; then only they count.
    pub fn errors(&self, warm_up_seconds: i64) -> (Sides<'_>, bool) {
        let (warm, all) = (self.failures(Some(warm_up_seconds)), self.failures(None));
        let is_warm = side(&warm.candidate).total.saturating_mul(2) >= side(&all.candidate).total;
        if is_warm { (warm, false) } else { (all, true) }
    }

    fn sides(&self, older_than: Option<i64>, read: impl Fn(&PodCount) -> Option<(u64, u64)>) -> Sides<'_> {
        let counts = |part: &Part| older_than.is_none_or(|age| part.is_older(self.until, age));
        let mut sides = Sides::default();
        for (from, to) in [(&self.stable, &mut sides.stable), (&self.candidate, &mut sides.candidate)] {
            to.reserve_exact(from.len());
            let served = from.iter().filter(|(_, part)| counts(part)).filter_map(|(pod, part)| Some((pod, read(&part.count)?)));
            let served = served.filter(|(_, (total, _))| *total > 0);
            to.extend(served.map(|(pod, (total, bad))| PodRequests { pod, total, bad: bad.min(total) }));
        }
        sides
    }
}

/// The pods of both sides that count and have served, with what is bad of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sides<'a> {
    /// Stable's.
    pub stable: Vec<PodRequests<'a>>,
    /// The candidate's.
    pub candidate: Vec<PodRequests<'a>>,
}

/// A side's sums.
pub fn side(pods: &[PodRequests<'_>]) -> Side {
    pods.iter().fold(Side::default(), |sum, pod| Side {
        total: sum.total.saturating_add(pod.total),
        bad: sum.bad.saturating_add(pod.bad),
        pods: sum.pods + 1,
    })
}

impl Part {
    fn is_older(&self, than: Timestamp, seconds: i64) -> bool {
        self.ready_since.is_some_and(|since| than.duration_since(since) > SignedDuration::from_secs(seconds))
    }
}

/// Both sides as the test takes them.
pub fn counts(sides: &Sides<'_>) -> Counts {
    let (stable, candidate) = (side(&sides.stable), side(&sides.candidate));
    Counts {
        stable_total: stable.total as f64,
        stable_bad: stable.bad as f64,
        candidate_total: candidate.total as f64,
        candidate_bad: candidate.bad as f64,
    }
}
