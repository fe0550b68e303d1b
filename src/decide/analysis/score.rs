//! The pod score (§6): a sick pod counts once per block, however many requests it fails. This is what sees a regression in a bursty service
//! sooner: what clusters within a pod cannot make it more than one pod.

use libm::{exp, log1p};

use super::sequential::Counts;

/// ρ·s stays below this: a reference that nearly all may exceed tells nothing.
const HIGHEST_REFERENCE: f64 = 0.98;
/// The share of good pods that reach a score of 1 by chance.
const BY_CHANCE: f64 = 0.05;
/// One-sided 95%.
const Z_95: f64 = 1.6449;
/// Expected bad requests above which the normal approximation serves.
const MANY: f64 = 30.0;

/// Requests and bad ones of one pod in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodRequests<'a> {
    /// The pod's uid.
    pub pod: &'a str,
    /// n.
    pub total: u64,
    /// x.
    pub bad: u64,
}

/// Scores of a block's pods.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores<'a> {
    /// Pods and sums of scores of both sides.
    pub counts: Counts,
    /// Each of stable's pods.
    pub stable: Vec<(&'a str, f64)>,
}

/// The score of a pod with `bad` of `total` requests where a share of `reference` is usual: 1 if no more than 5% of good pods have as many,
/// 0 if more do, and a fraction on the border, so that good pods score 0.05 in the mean.
pub fn score(total: u64, bad: u64, reference: f64) -> f64 {
    let (count, share) = (total as f64, reference.clamp(0.0, HIGHEST_REFERENCE));
    let expected = count * share;
    if expected > MANY {
        let limit = expected + Z_95 * (expected * (1.0 - share)).sqrt() + 0.5;
        return if bad as f64 > limit { 1.0 } else { 0.0 };
    }
    if expected <= 0.0 {
        return if bad > 0 { 1.0 } else { BY_CHANCE };
    }
    // P(X = k) by recursion from k = 0; the expectation is small, so this ends soon.
    let (mut probability, mut below, mut k) = (exp(count * log1p(-share)), 0.0, 0_u64);
    while below + probability < 1.0 - BY_CHANCE && k < total {
        below += probability;
        probability *= (count - k as f64) / (k as f64 + 1.0) * share / (1.0 - share);
        k += 1;
    }
    let above = (1.0 - below - probability).max(0.0);
    match bad.cmp(&k) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => ((BY_CHANCE - above) / probability).clamp(0.0, 1.0),
        std::cmp::Ordering::Less => 0.0,
    }
}

/// The scores of a block. Usual is what the null allows for stable's share `expected`, or for its share in this very block where that is
/// higher; one of stable's own pods is not compared with itself.
pub fn scores<'a>(stable: &[PodRequests<'a>], candidate: &[PodRequests<'_>], expected: f64, usual: impl Fn(f64) -> f64) -> Scores<'a> {
    let total: u64 = stable.iter().map(|pod| pod.total).sum();
    let bad: u64 = stable.iter().map(|pod| pod.bad).sum();
    let share = |bad: u64, total: u64| if total == 0 { 0.0 } else { bad as f64 / total as f64 };
    let of = |pod: &PodRequests<'_>, now: f64| score(pod.total, pod.bad, usual(expected.max(now)));
    let stable: Vec<(&str, f64)> = stable.iter().map(|pod| (pod.pod, of(pod, share(bad - pod.bad, total - pod.total)))).collect();
    let counts = Counts {
        stable_total: stable.len() as f64,
        stable_bad: stable.iter().map(|(_, score)| score).sum(),
        candidate_total: candidate.len() as f64,
        candidate_bad: candidate.iter().map(|pod| of(pod, share(bad, total))).sum(),
    };
    Scores { counts, stable }
}
