//! How stable's bad requests cluster (§4): the design effect φ, learned from stable's own minutes.
//!
//! Failures that come in bursts say less than as many independent ones; φ is by how much. It is measured as the spread
//! *between pods in the same window*, so what hits all pods alike cancels. With little history a service is taken to be
//! bursty (φ = 4), and φ falls towards what was seen within 240 pod-minutes.
//!
//! Rule: a block is judged with the φ known before it began.
//! Pods that differ for good (another node, another share of heavy users) differ in the candidate as well; het is by how much two revisions'
//! means may differ for that reason alone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::numbers::{parse_counts, print};
use super::state::{CalibrationState, Unreadable};

/// Pod-minutes after which nothing is added for lack of history.
const ENOUGH_POD_MINUTES: f64 = 240.0;
/// Added to S and V: as if five ordinary events had been seen.
const PRIOR: f64 = 5.0;
const MINUTE_SECONDS: i64 = 60;
/// A minute that took longer than this had a hole in it.
const LONGEST_MINUTE_SECONDS: i64 = 90;

/// Requests and bad ones per pod.
pub type PodTotals = BTreeMap<String, (f64, f64)>;

/// Minutes after which a pod's own share says something of the pod.
const POD_MINUTES: f64 = 30.0;
/// Student's t, one-sided 99%, by degrees of freedom.
const T_99: [(f64, f64); 14] = [
    (1.0, 31.82),
    (2.0, 6.965),
    (3.0, 4.541),
    (4.0, 3.747),
    (5.0, 3.365),
    (6.0, 3.143),
    (7.0, 2.998),
    (8.0, 2.896),
    (9.0, 2.821),
    (10.0, 2.764),
    (12.0, 2.681),
    (15.0, 2.602),
    (20.0, 2.528),
    (30.0, 2.457),
];

/// Adds to what a pod has so far.
pub fn add(totals: &mut PodTotals, pod: &str, (total, bad): (f64, f64)) {
    match totals.get_mut(pod) {
        Some(sum) => *sum = (sum.0 + total, sum.1 + bad),
        None => drop(totals.insert(pod.to_owned(), (total, bad))),
    }
}

/// Running sums over windows of one length.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct WindowSums {
    spread: f64,
    variance: f64,
    spread_squares: f64,
    products: f64,
    variance_squares: f64,
    usual: f64,
    windows_seen: bool,
}

impl WindowSums {
    /// Adds a window of at least two pods with requests.
    pub fn add(&mut self, pods: &[(f64, f64)]) {
        let total: f64 = pods.iter().map(|pod| pod.0).sum();
        let bad: f64 = pods.iter().map(|pod| pod.1).sum();
        if pods.len() < 2 || total < 1.0 {
            return;
        }
        let count = pods.len() as f64;
        let share = bad / total;
        let squares: f64 = pods.iter().map(|(n, x)| x - n * share).map(|off| off * off).sum();
        let events = bad.min(total - bad);
        if self.windows_seen {
            self.usual += (events.min(5.0 * (self.usual + 2.0)) - self.usual) / 60.0;
        } else {
            self.usual = events;
            self.windows_seen = true;
        }
        // An outage weighs no more than ten usual windows.
        let weight = if events > 0.0 { (10.0 * self.usual.max(0.5) / events).min(1.0) } else { 1.0 };
        let spread = weight * count / (count - 1.0) * squares;
        let variance = weight * total * share * (1.0 - share);
        self.spread += spread;
        self.variance += variance;
        self.spread_squares += spread * spread;
        self.products += spread * variance;
        self.variance_squares += variance * variance;
    }

    /// φ of this window length, without floor: the estimate, and one standard error where that is more than chance.
    pub fn phi(&self) -> f64 {
        let estimate = (self.spread + PRIOR) / (self.variance + PRIOR);
        let square = self.spread_squares - 2.0 * estimate * self.products + estimate * estimate * self.variance_squares;
        // By so much independent failures of three pods are off 1 (one standard deviation), and those of ten by half of it.
        let error = if square > self.variance_squares { square.sqrt() } else { 0.0 };
        estimate + error / (self.variance + PRIOR)
    }

    /// S and V.
    #[cfg(test)]
    pub fn sums(&self) -> (f64, f64) {
        (self.spread, self.variance)
    }

    fn halved(self) -> Self {
        Self {
            spread: self.spread / 2.0,
            variance: self.variance / 2.0,
            spread_squares: self.spread_squares / 2.0,
            products: self.products / 2.0,
            variance_squares: self.variance_squares / 2.0,
            ..self
        }
    }

    fn to_array(self) -> [f64; 7] {
        let seen = if self.windows_seen { 1.0 } else { 0.0 };
        [self.spread, self.variance, self.spread_squares, self.products, self.variance_squares, self.usual, seen]
    }

    fn from_array([spread, variance, spread_squares, products, variance_squares, usual, seen]: [f64; 7]) -> Self {
        Self { spread, variance, spread_squares, products, variance_squares, usual, windows_seen: seen > 0.0 }
    }
}

/// What one window length is collecting; in memory only, a restart loses the window.
#[derive(Debug, Clone, Default, PartialEq)]
struct Window {
    pods: PodTotals,
    /// The last window of a lone pod: two successive ones stand for two pods.
    lone: Option<(f64, f64)>,
}

impl Window {
    fn close(&mut self, sums: &mut WindowSums) {
        let pods: Vec<_> = std::mem::take(&mut self.pods).into_values().filter(|pod| pod.0 > 0.0).collect();
        match (pods.as_slice(), self.lone.take()) {
            ([now], Some(before)) => sums.add(&[before, *now]),
            ([now], None) => self.lone = Some(*now),
            (pods, _) => sums.add(pods),
        }
    }
}

/// The calibration of one component.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration {
    one: WindowSums,
    five: WindowSums,
    pod_minutes: f64,
    bad: f64,
    total: f64,
    minute: Window,
    minute_since: Option<Timestamp>,
    minutes: Window,
    minutes_collected: u32,
    /// Minutes, requests and bad ones of each pod so far; in memory only.
    pods: BTreeMap<String, (f64, f64, f64)>,
    /// What the pods' own shares have shown; outlives the rollout.
    differences: Option<Differences>,
}

/// How far stable's pods differ from each other for good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Differences {
    /// Variance of their shares beyond chance.
    pub variance: f64,
    /// Number of pods.
    pub pods: f64,
}

impl Differences {
    /// Of pods with these requests and bad ones; none of fewer than two.
    pub fn of(pods: &[(f64, f64)], phi: f64) -> Option<Self> {
        let served: Vec<(f64, f64)> = pods.iter().copied().filter(|(total, _)| *total > 0.0).collect();
        if served.len() < 2 {
            return None;
        }
        let count = served.len() as f64;
        let (total, bad) = served.iter().fold((0.0, 0.0), |sum, pod| (sum.0 + pod.0, sum.1 + pod.1));
        let (pooled, mean) = (bad / total, served.iter().map(|(n, x)| x / n).sum::<f64>() / count);
        let spread = served.iter().map(|(n, x)| (x / n - mean) * (x / n - mean)).sum::<f64>() / (count - 1.0);
        let chance = served.iter().map(|(n, _)| phi * pooled * (1.0 - pooled) / n).sum::<f64>() / count;
        Some(Self { variance: (spread - chance).max(0.0), pods: count })
    }

    /// het: by how much the means of so many pods of the candidate and of stable may differ.
    pub fn margin(self, candidate_pods: f64, stable_pods: f64) -> f64 {
        let degrees = (self.pods - 1.0).max(1.0);
        let t = T_99.iter().rev().find(|(least, _)| *least <= degrees).map_or(T_99[0].1, |(_, t)| *t);
        t * (self.variance * (1.0 / candidate_pods.max(1.0) + 1.0 / stable_pods.max(1.0))).sqrt()
    }
}

impl Calibration {
    /// How far stable's pods differ, once two of them have been seen for half an hour, or earlier rollouts have shown it.
    pub fn differences(&self) -> Option<Differences> {
        let long = self.pods.values().filter(|(minutes, _, _)| *minutes >= POD_MINUTES);
        let pods: Vec<(f64, f64)> = long.map(|(_, total, bad)| (*total, *bad)).collect();
        Differences::of(&pods, self.phi()).or(self.differences)
    }

    /// φ ≥ 1.
    pub fn phi(&self) -> f64 {
        let for_lack_of_history = 1.0 + 3.0 * (1.0 - self.pod_minutes / ENOUGH_POD_MINUTES).max(0.0);
        [self.one.phi(), self.five.phi(), for_lack_of_history].into_iter().fold(1.0, f64::max)
    }

    /// Stable's share in earlier minutes and the requests behind it, if there were any.
    pub fn share(&self) -> Option<(f64, f64)> {
        (self.total >= 1.0).then(|| ((self.bad + 0.5) / (self.total + 1.0), self.total))
    }

    /// Takes in what stable's pods served up to `at`, since the call before.
    pub fn observe<'a>(&mut self, at: Timestamp, pods: impl IntoIterator<Item = (&'a str, (f64, f64))>) {
        let Some(since) = self.minute_since else {
            self.minute_since = Some(at);
            return;
        };
        for (pod, more) in pods {
            add(&mut self.minute.pods, pod, more);
        }
        let taken = at.duration_since(since);
        if taken < SignedDuration::from_secs(MINUTE_SECONDS) {
            return;
        }
        self.minute_since = Some(at);
        if taken > SignedDuration::from_secs(LONGEST_MINUTE_SECONDS) {
            self.minute = Window::default();
            self.minutes = Window::default();
            self.minutes_collected = 0;
            return;
        }
        self.close_minute();
    }

    fn close_minute(&mut self) {
        for (pod, (total, bad)) in &self.minute.pods {
            if *total > 0.0 {
                self.pod_minutes += 1.0;
                self.total += total;
                self.bad += bad;
                add(&mut self.minutes.pods, pod, (*total, *bad));
                let own = self.pods.entry(pod.clone()).or_default();
                *own = (own.0 + 1.0, own.1 + total, own.2 + bad);
            }
        }
        self.minute.close(&mut self.one);
        self.minutes_collected += 1;
        if self.minutes_collected == 5 {
            self.minutes_collected = 0;
            self.minutes.close(&mut self.five);
        }
    }

    /// The sums to keep; `bound` for latency.
    pub fn write(&self, bound: Option<u64>) -> CalibrationState {
        CalibrationState {
            bound_microseconds: bound.and_then(|bound| i64::try_from(bound).ok()),
            seen: print(&[self.pod_minutes, self.bad, self.total]),
            one: print(&self.one.to_array()),
            five: print(&self.five.to_array()),
            differences: self.differences().map(|differences| print(&[differences.variance, differences.pods])),
        }
    }

    /// Reads the sums; the windows begin anew.
    pub fn read(state: &CalibrationState) -> Result<Self, Unreadable> {
        let [pod_minutes, bad, total] = parse_counts(&state.seen, "calibration")?;
        let one = WindowSums::from_array(parse_counts(&state.one, "calibration")?);
        let five = WindowSums::from_array(parse_counts(&state.five, "calibration")?);
        let differences = match &state.differences {
            None => None,
            Some(differences) => {
                let [variance, pods] = parse_counts(differences, "calibration")?;
                Some(Differences { variance, pods })
            }
        };
        Ok(Self { one, five, pod_minutes, bad, total, differences, ..Self::default() })
    }

    /// The same with the sums as written, so that a restart changes nothing after this.
    pub fn rounded(&self, state: &CalibrationState) -> Result<Self, Unreadable> {
        let Self { one, five, pod_minutes, bad, total, .. } = Self::read(state)?;
        Ok(Self { one, five, pod_minutes, bad, total, ..self.clone() })
    }

    /// At the start of a rollout, what earlier ones have shown counts half.
    pub fn halved(&self) -> Self {
        Self {
            one: self.one.halved(),
            five: self.five.halved(),
            pod_minutes: self.pod_minutes / 2.0,
            bad: self.bad / 2.0,
            total: self.total / 2.0,
            differences: self.differences,
            ..Self::default()
        }
    }
}
