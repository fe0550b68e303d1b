//! Latency as shares of slow requests (§6): which bounds are compared, and how much slower is tolerated.
//!
//! A histogram gives the share of requests slower than each bound. Compared are the bound nearest to the objective (a
//! slow tail), and those that half and a tenth of stable's requests exceed (all requests a little slower). Bounds and
//! margins are chosen once, from what stable has shown by then, and stand for the rollout.

use std::collections::BTreeMap;

use super::sequential::{clamp_share, logistic, logit};

/// 10% slower is tolerated where differences between pods are known, 25% where they are not.
const TOLERATED_SLOWDOWN: f64 = 1.1;
const TOLERATED_SLOWDOWN_UNKNOWN: f64 = 1.25;
/// Shares of slow requests whose nearest bounds are compared as well.
const INTERESTING_SHARES: [f64; 2] = [0.5, 0.1];

/// A bound to compare at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// The bound in microseconds.
    pub bound: u64,
    /// Stable's share of requests slower than it.
    pub share: f64,
    /// The share by which a tolerated slowdown would raise that.
    pub margin: f64,
}

/// Stable's requests slower than each bound, of `total` whose time was taken; for `common` bounds only the edges are
/// chosen, but the margins use all of stable's. The objective's own edge comes first. Empty if nothing is common. More is tolerated at a bound
/// at which the differences between pods are not known.
pub fn edges(
    slower: &BTreeMap<u64, u64>,
    total: u64,
    common: impl Fn(u64) -> bool,
    objective_microseconds: f64,
    tolerance: f64,
    differences_known: impl Fn(u64) -> bool,
) -> Vec<Edge> {
    let share = |count: u64| clamp_share((count as f64 + 0.5) / (total as f64 + 1.0));
    let shares: Vec<(u64, f64)> = slower.iter().map(|(bound, count)| (*bound, share(*count))).collect();
    let usable = || shares.iter().enumerate().filter(|(_, (bound, _))| common(*bound));
    let nearest =
        |distance: &dyn Fn(&(u64, f64)) -> f64| usable().min_by(|a, b| distance(a.1).total_cmp(&distance(b.1))).map(|(index, _)| index);
    let by_bound = |(bound, _): &(u64, f64)| (libm::log(*bound as f64) - libm::log(objective_microseconds)).abs();
    let mut chosen: Vec<usize> = nearest(&by_bound).into_iter().collect();
    for wanted in INTERESTING_SHARES {
        let by_share = |(_, share): &(u64, f64)| (logit(*share) - logit(wanted)).abs();
        chosen.extend(nearest(&by_share).filter(|index| !chosen.contains(index)));
    }
    let slowdown = |bound| if differences_known(bound) { TOLERATED_SLOWDOWN } else { TOLERATED_SLOWDOWN_UNKNOWN };
    let edge = |index: usize| {
        let (bound, share) = shares[index];
        let below = index.checked_sub(1).map(|below| shares[below]);
        Edge { bound, share, margin: shift(share, bound, below, slowdown(bound)).max(tolerance) }
    };
    chosen.into_iter().map(edge).collect()
}

/// By how much the share slower than `bound` rises if every request takes `slowdown` times as long; `below` is the next
/// lower bound with its share.
pub fn shift(share: f64, bound: u64, below: Option<(u64, f64)>, slowdown: f64) -> f64 {
    let here = logit(share);
    let (bound_below, there) = below.map_or((bound as f64 / 2.0, here + 3.0), |(bound, share)| (bound as f64, logit(share)));
    let slope = (there - here).max(0.0) / libm::log(bound as f64 / bound_below);
    logistic(here + slope * libm::log(slowdown)) - share
}
