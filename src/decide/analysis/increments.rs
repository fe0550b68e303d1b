//! From cumulative counters to what happened since the scrape before, per pod (§2).
//!
//! A counter that fell tells of a restart: then all of its present value is new. What cannot be told for certain (a long
//! gap, a series that is gone though nothing restarted) makes a new reference and counts nothing.
//! References live in memory only: a restart of the operator equals one missed scrape.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::convention::Counters;
use super::{PodSample, Scrape};

/// An increment counts over a gap of at most so many intervals.
const LONGEST_GAP_INTERVALS: i64 = 3;
/// A sample older than this many intervals is missing.
const OLDEST_SAMPLE_INTERVALS: i64 = 2;
/// A sample further in the future is missing.
const FURTHEST_FUTURE_SECONDS: i64 = 5;
/// Scrapes are never exactly on time.
const JITTER: SignedDuration = SignedDuration::from_millis(500);

/// What one pod did between two scrapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Increment<'a> {
    /// The pod's uid.
    pub pod: &'a str,
    /// Its revision.
    pub revision: &'a str,
    /// The earliest moment that is counted.
    pub from: Timestamp,
    /// Since when it is ready.
    pub ready_since: Option<Timestamp>,
    /// What it did.
    pub count: PodCount,
}

/// Requests of one pod over some time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodCount {
    /// n, its requests.
    pub total: u64,
    /// x ≤ n, those that failed.
    pub failed: u64,
    /// Those whose time was taken.
    pub timed: u64,
    /// Of these, slower than each bound (microseconds); not increasing in the bound.
    pub slower: BTreeMap<u64, u64>,
}

impl PodCount {
    /// Both together; only bounds that both have, unless one has no times at all.
    pub fn add(&mut self, other: &Self) {
        match (self.timed, other.timed) {
            (0, _) => self.slower.clone_from(&other.slower),
            (_, 0) => {}
            _ => self.slower.retain(|bound, count| {
                let more = other.slower.get(bound);
                *count = count.saturating_add(more.copied().unwrap_or_default());
                more.is_some()
            }),
        }
        self.total = self.total.saturating_add(other.total);
        self.failed = self.failed.saturating_add(other.failed);
        self.timed = self.timed.saturating_add(other.timed);
    }
}

/// What a scrape gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Increments<'a> {
    /// What is new, ordered by pod.
    pub counted: Vec<Increment<'a>>,
    /// Pods whose answer could be read and used, be it as a reference only.
    pub answered: BTreeSet<&'a str>,
}

#[derive(Debug, Clone, PartialEq)]
struct Reference {
    at: Timestamp,
    started: Option<Timestamp>,
    counters: Counters,
}

/// The last usable answer of every pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct References {
    pods: BTreeMap<String, Reference>,
    scraped_at: Option<Timestamp>,
}

impl References {
    /// The scrape is newer than the last.
    pub fn is_newer(&self, scrape: &Scrape) -> bool {
        self.scraped_at.is_none_or(|at| scrape.at > at)
    }

    /// Takes in a scrape that is newer than the last; another is ignored.
    pub fn take<'a>(&mut self, scrape: &'a Scrape, interval_seconds: i64) -> Increments<'a> {
        let mut increments = Increments::default();
        if !self.is_newer(scrape) {
            return increments;
        }
        let oldest = scrape.at.saturating_sub(SignedDuration::from_secs(OLDEST_SAMPLE_INTERVALS * interval_seconds) + JITTER);
        let newest = scrape.at.saturating_add(SignedDuration::from_secs(FURTHEST_FUTURE_SECONDS));
        let (oldest, newest) = (oldest.unwrap_or(Timestamp::MIN), newest.unwrap_or(Timestamp::MAX));
        let mut samples: Vec<_> = scrape.samples.iter().filter(|sample| sample.at >= oldest && sample.at <= newest).collect();
        // The same whatever the order in which the answers came in.
        samples.sort_by_key(|sample| (&sample.pod, sample.at, sample.counters.requests()));
        samples.dedup_by(|later, first| later.pod == first.pod);
        let gap = SignedDuration::from_secs(LONGEST_GAP_INTERVALS * interval_seconds) + JITTER;
        for sample in samples {
            let reference = self.pods.get(&sample.pod).filter(|reference| sample.at.duration_since(reference.at) <= gap);
            let step = match reference {
                Some(reference) => since(reference, sample),
                None => self.first(sample),
            };
            let (from, count) = match step {
                Step::Unusable => continue,
                Step::Unchanged => {
                    increments.answered.insert(&sample.pod);
                    continue;
                }
                Step::Reference => (sample.at, None),
                Step::Counts { from, count } => (from, Some(count)),
            };
            increments.answered.insert(&sample.pod);
            let (pod, revision) = (&sample.pod, &sample.revision);
            increments.counted.extend(count.map(|count| Increment { pod, revision, from, ready_since: sample.ready_since, count }));
            let reference = Reference { at: sample.at, started: sample.started, counters: sample.counters.clone() };
            match self.pods.get_mut(pod) {
                Some(before) => *before = reference,
                None => drop(self.pods.insert(pod.clone(), reference)),
            }
        }
        self.pods.retain(|_, reference| scrape.at.duration_since(reference.at) <= gap);
        self.scraped_at = Some(scrape.at);
        increments
    }

    /// A pod not seen before counts from 0 if it started after the scrape before.
    fn first(&self, sample: &PodSample) -> Step {
        match (self.scraped_at, sample.started) {
            (Some(before), Some(started)) if started > before => {
                Step::Counts { from: before, count: difference(&Counters::default(), &sample.counters) }
            }
            _ => Step::Reference,
        }
    }
}

enum Step {
    Unusable,
    /// The same answer once more: Prometheus has not asked the pod since.
    Unchanged,
    Reference,
    Counts {
        from: Timestamp,
        count: PodCount,
    },
}

fn since(reference: &Reference, sample: &PodSample) -> Step {
    let (before, now, from) = (&reference.counters, &sample.counters, reference.at);
    if sample.at == reference.at && before == now {
        return Step::Unchanged;
    }
    if sample.at <= reference.at {
        return Step::Unusable;
    }
    let container_restarted = matches!((reference.started, sample.started), (Some(before), Some(now)) if before != now);
    if container_restarted || fell(before, now) {
        return Step::Counts { from, count: difference(&Counters::default(), now) };
    }
    let gone = before.by_status.iter().any(|(status, count)| *count > 0 && !now.by_status.contains_key(status)) || now.timed < before.timed;
    if gone || (before.source.is_some() && now.source.is_none()) {
        // Nothing restarted, yet a series is missing: this page is not whole, whatever it says.
        return Step::Unusable;
    }
    if before.source.is_some() && before.source != now.source {
        return Step::Reference;
    }
    Step::Counts { from, count: difference(before, now) }
}

/// Any series that is there in both is lower now.
fn fell(before: &Counters, now: &Counters) -> bool {
    let lower = |(status, count): (&u16, &u64)| now.by_status.get(status).is_some_and(|now| now < count);
    let lower_bucket = |(bound, count): (&u64, &u64)| now.buckets.get(bound).is_some_and(|now| now < count);
    before.by_status.iter().any(lower)
        || before.buckets.iter().any(lower_bucket)
        || (now.timed > 0 && now.timed < before.timed)
        || matches!((before.total, now.total), (Some(before), Some(now)) if now < before)
}

fn difference(before: &Counters, now: &Counters) -> PodCount {
    let total = now.requests().saturating_sub(before.requests());
    let timed = now.timed.saturating_sub(before.timed);
    let (mut least, mut slower) = (timed, now.buckets.clone());
    slower.retain(|bound, count| {
        // A bound that appears in a histogram that was there already has no past to compare with.
        let earlier = if before.timed == 0 { Some(0) } else { before.buckets.get(bound).copied() };
        let Some(earlier) = earlier else { return false };
        least = least.min(timed.saturating_sub(count.saturating_sub(earlier)));
        *count = least;
        true
    });
    PodCount { total, failed: now.failures().saturating_sub(before.failures()).min(total), timed, slower }
}

#[cfg(test)]
mod tests;
