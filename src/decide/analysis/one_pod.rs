//! One sick pod is not yet a bad version (§7): a broken disk, a bad node, a connection pool that went wrong. Where nearly all of the harm comes
//! from one pod of several, it is left out and the others decide; if it stays sick, it decides after all.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use super::numbers::{parse, print};
use super::state::{OnePodState, Unreadable};

/// From this share of the excess on it is one pod's.
const ONE_PODS: f64 = 0.8;
/// How long the others have.
pub const SECONDS: i64 = 180;
/// The sick pod's last seconds, which decide at the end.
const LAST_SECONDS: i64 = 60;
/// The others have shown it as well once their own evidence has grown so much: ln 20.
const OTHERS: f64 = 2.995_732_273_553_991;
/// No pod may fail more requests meanwhile.
const MOST_FAILED: u64 = 300;

/// The pod with nearly all of the excess over the share `limit` (c₀): (uid, requests, bad ones) of at least two pods.
pub fn one_sick_pod<'a>(limit: f64, pods: impl Iterator<Item = (&'a str, u64, u64)>) -> Option<&'a str> {
    let excess: Vec<(&str, f64)> = pods.map(|(pod, total, bad)| (pod, (bad as f64 - total as f64 * limit).max(0.0))).collect();
    let sum: f64 = excess.iter().map(|(_, excess)| excess).sum();
    let worst = excess.iter().copied().reduce(|worst, next| if next.1 > worst.1 { next } else { worst })?;
    (excess.len() >= 2 && sum > 0.0 && worst.1 >= ONE_PODS * sum).then_some(worst.0)
}

/// A pod that is left out, or was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OnePod {
    /// Its uid; `None` once it has come back in. There is no second time.
    pub pod: Option<String>,
    /// When it was left out, or came back in.
    pub since: Timestamp,
    /// ln E at that moment.
    ln_e: f64,
    /// c₀ at that moment.
    limit: f64,
    /// Requests and bad ones of all of the candidate's pods, and of this one, up to that moment.
    pub seen: [u64; 2],
    failed: u64,
    /// (at, requests, bad ones) of the last seconds; in memory only.
    recent: VecDeque<(Timestamp, u64, u64)>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The others have not decided yet.
    Waits,
    /// The others show it as well.
    OthersToo,
    /// It stays sick.
    StaysSick,
    /// It comes back in.
    Recovers,
}

impl OnePod {
    /// Leaves a pod out; `seen`: bad requests of this pod and of all of the candidate.
    pub fn new(pod: &str, since: Timestamp, ln_e: f64, limit: f64, seen: [u64; 2]) -> Self {
        Self { pod: Some(pod.to_owned()), since, ln_e, limit, seen, ..Self::default() }
    }

    /// Requests of the pod that is left out.
    pub fn add(&mut self, at: Timestamp, total: u64, bad: u64) {
        self.failed = self.failed.saturating_add(bad);
        self.recent.push_back((at, total, bad));
        let last = SignedDuration::from_secs(LAST_SECONDS);
        self.recent.retain(|(then, _, _)| at.duration_since(*then) < last);
    }

    /// When the others' time is over.
    pub fn until(&self) -> Timestamp {
        self.since.saturating_add(SignedDuration::from_secs(SECONDS)).unwrap_or(Timestamp::MAX)
    }

    /// What becomes of it, at ln E of the others.
    pub fn fate(&self, ln_e: f64, now: Timestamp) -> Fate {
        let (total, bad) = self.recent.iter().fold((0_u64, 0_u64), |sum, (_, total, bad)| (sum.0 + total, sum.1 + bad));
        let sick = bad as f64 > (2.0 * self.limit + 0.01) * total as f64;
        if ln_e - self.ln_e >= OTHERS {
            Fate::OthersToo
        } else if self.failed >= MOST_FAILED || now >= self.until() && sick {
            Fate::StaysSick
        } else if now >= self.until() {
            Fate::Recovers
        } else {
            Fate::Waits
        }
    }

    /// It comes back in.
    pub fn back(&mut self, at: Timestamp) {
        *self = Self { since: at, ..Self::default() };
    }

    /// To status.
    pub fn write(&self) -> OnePodState {
        let [own, all] = self.seen.map(|count| count as f64);
        let numbers = print(&[self.ln_e, self.limit, own, all, self.failed as f64]);
        OnePodState { pod: self.pod.clone(), since: Some(self.since), numbers: self.pod.is_some().then_some(numbers) }
    }

    /// From status; `running`: what goes on, whose last seconds are kept.
    pub fn read(state: &OnePodState, running: Option<&Self>) -> Result<Self, Unreadable> {
        const WHAT: &str = "one pod";
        let [ln_e, limit, own, all, failed] = state.numbers.as_ref().map_or(Ok([0.0; 5]), |numbers| parse(numbers, WHAT))?;
        Ok(Self {
            pod: state.pod.clone(),
            since: state.since.ok_or(Unreadable { what: WHAT })?,
            ln_e,
            limit,
            seen: [own, all].map(super::component::whole),
            failed: super::component::whole(failed),
            recent: running.map(|running| running.recent.clone()).unwrap_or_default(),
        })
    }
}
