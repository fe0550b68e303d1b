//! The test itself (§5): one block, one alternative, one factor; factors multiply to E.
//!
//! Null: the candidate's share c is at most ρ·s + d for *some* share s of stable, anew in every block, so an outage
//! that hits both cancels. Against it stand six alternatives H, and every moment may be the one at which the regression
//! began (the mixture over start times). A factor divides the likelihood under the alternative by that under the
//! null's closest point s* (the reverse information projection), which makes its mean at most 1 on the whole null.
//!
//! Rule: a factor may use only what was known before its block (s₁, φ, margins); then E ≥ 1/α happens with
//! probability ≤ α, ever.

use libm::{exp, log, log1p};

use super::parts::Parts;

/// Alternatives, as steps in logit above the null: from "a little worse" to "all fail". Equal weights.
pub const STEPS: [f64; 6] = [0.35, 0.8, 1.6, 2.8, 4.5, 7.0];
/// One block multiplies by at most this (ln 100): it never decides alone.
pub const CAP: f64 = 4.605_170_185_988_091;
/// Share of the start-time mixture that assumes a regression from the first block on.
pub const FROM_THE_START: f64 = 0.3;
/// Seconds after which half of the rest of the mixture has begun.
const HALF_BEGUN_SECONDS: f64 = 600.0;
/// Shares stay this far away from 0 and 1.
const EDGE: f64 = 1e-6;

/// The highest share of the candidate that the null still allows: ρ·s + d.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Null {
    /// ρ, the relative margin, ≥ 1.
    pub ratio: f64,
    /// d, the absolute margin, in [0, 1).
    pub margin: f64,
}

impl Null {
    /// c₀ at stable's share `stable`.
    pub fn at(self, stable: f64) -> f64 {
        self.ratio * stable + self.margin
    }
}

/// Requests and bad ones (failed, or slow) of both revisions in one block; or pods and their scores, which may be fractions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// Stable's requests.
    pub stable_total: f64,
    /// Stable's bad requests.
    pub stable_bad: f64,
    /// The candidate's requests.
    pub candidate_total: f64,
    /// The candidate's bad requests.
    pub candidate_bad: f64,
}

impl Counts {
    /// Adds to all four.
    pub fn add(&mut self, other: &Self) {
        self.stable_total += other.stable_total;
        self.stable_bad += other.stable_bad;
        self.candidate_total += other.candidate_total;
        self.candidate_bad += other.candidate_bad;
    }
}

/// Design effects: by how much failures come in clusters (1 = independent), for each side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dispersion {
    /// φ for stable's counts.
    pub stable: f64,
    /// φL for the candidate's: its pods carry more load each.
    pub candidate: f64,
}

impl Dispersion {
    /// φ tempered for an alternative `ratio` times the null (κ of §5).
    fn against(self, ratio: f64, parts: Parts) -> Self {
        let kappa = if parts.tempering { kappa(ratio) } else { 1.0 };
        Self { stable: 1.0 + (self.stable - 1.0) * kappa, candidate: 1.0 + (self.candidate - 1.0) * kappa }
    }
}

/// Keeps a share off 0 and 1.
pub fn clamp_share(share: f64) -> f64 {
    share.clamp(EDGE, 1.0 - EDGE)
}

/// ln(p/(1−p)).
pub fn logit(share: f64) -> f64 {
    log(share) - log1p(-share)
}

/// The inverse of [`logit`].
pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// The candidate's shares under the six alternatives to `null_share` (c₀ in (0, 1)).
pub fn alternatives(null_share: f64) -> [f64; 6] {
    let base = logit(clamp_share(null_share));
    STEPS.map(|step| logistic(base + step).min(1.0 - EDGE))
}

/// κ(r): clusters with exponential tails need more caution the larger the alternative is.
pub fn kappa(ratio: f64) -> f64 {
    if ratio <= 1.001 {
        return 1.0;
    }
    let ln_ratio = log(ratio);
    0.5 * ln_ratio / (1.0 - ln_ratio / (ratio - 1.0))
}

/// s*: stable's share at the null's point closest to (`stable`, `candidate`). `weights` are `n_s/φ_s` and `n_c/φ_c`.
///
/// It is the zero of an increasing function (§5), and so of that function times its denominators, a cubic: Newton's steps, and a bisection
/// where one would leave the bracket. Nothing but the four operations is used, so the bits are the same everywhere.
pub fn closest_null(stable: f64, candidate: f64, weights: (f64, f64), null: Null) -> f64 {
    const OFF: f64 = 1e-9;
    // The factor is flat there: what s* is off by moves it by the square of that.
    const ENOUGH: f64 = 1e-9;
    let (mut low, mut high) = if candidate > null.at(stable) {
        let ends = [(candidate - null.margin) / null.ratio, (1.0 - OFF - null.margin) / null.ratio, 1.0 - OFF];
        (stable, ends.into_iter().fold(f64::INFINITY, f64::min))
    } else {
        (((candidate - null.margin) / null.ratio).max(OFF), stable)
    };
    if high <= low {
        return low;
    }
    let mut s = f64::midpoint(low, high);
    for _ in 0..60 {
        let c = null.at(s);
        let (stable_term, candidate_term) = (weights.0 * (s - stable), null.ratio * weights.1 * (c - candidate));
        let (s_spread, c_spread) = (s * (1.0 - s), c * (1.0 - c));
        let value = stable_term * c_spread + candidate_term * s_spread;
        let slope = weights.0 * c_spread
            + stable_term * null.ratio * (1.0 - 2.0 * c)
            + null.ratio * null.ratio * weights.1 * s_spread
            + candidate_term * (1.0 - 2.0 * s);
        if value > 0.0 {
            high = s;
        } else {
            low = s;
        }
        let step = s - value / slope;
        let next = if low < step && step < high { step } else { f64::midpoint(low, high) };
        if (next - s).abs() <= ENOUGH * s {
            return next;
        }
        s = next;
    }
    s
}

/// ln of the likelihood ratio of share `to` over share `from` for `bad` of `total`.
fn log_likelihood_ratio(bad: f64, total: f64, to: f64, from: f64) -> f64 {
    let good = (total - bad).max(0.0);
    let term = |count: f64, ratio: f64| if count > 0.0 { count * log(ratio) } else { 0.0 };
    term(bad, to / from) + term(good, (1.0 - to) / (1.0 - from))
}

/// ℓ before the cap: ln of the factor of one block for the alternative (`stable`, `candidate`) to `null`.
pub fn log_factor(counts: &Counts, stable: f64, candidate: f64, null: Null, dispersion: Dispersion) -> f64 {
    let weights = (counts.stable_total / dispersion.stable, counts.candidate_total / dispersion.candidate);
    let null_stable = closest_null(stable, candidate, weights, null);
    log_likelihood_ratio(counts.stable_bad, counts.stable_total, stable, null_stable) / dispersion.stable
        + log_likelihood_ratio(counts.candidate_bad, counts.candidate_total, candidate, null.at(null_stable)) / dispersion.candidate
}

/// `ℓ_j`, capped, of the six alternatives against `null` with stable's share expected at `stable`. A cold block also
/// needs its `cold_margin`: only alternatives plainly beyond it (twice the null) count, the others are 0.
pub fn log_factors(counts: &Counts, stable: f64, null: Null, cold_margin: Option<f64>, dispersion: Dispersion, parts: Parts) -> [f64; 6] {
    let tested = Null { margin: cold_margin.map_or(null.margin, |gross| null.margin.max(gross)), ..null };
    let limit = tested.at(stable);
    alternatives(null.at(stable)).map(|candidate| {
        if cold_margin.is_some() && candidate <= 2.0 * limit {
            return 0.0;
        }
        capped(log_factor(counts, stable, candidate, tested, dispersion.against(candidate / limit, parts)), parts)
    })
}

/// `ℓ_j`, capped, where no control exists: `bad` of `total` against the fixed share `limit` (q).
pub fn log_factors_alone(bad: f64, total: f64, limit: f64, dispersion: Dispersion, parts: Parts) -> [f64; 6] {
    let limit = clamp_share(limit);
    alternatives(limit).map(|candidate| {
        let phi = dispersion.against(candidate / limit, parts).candidate;
        capped(log_likelihood_ratio(bad, total, candidate, limit) / phi, parts)
    })
}

fn capped(factor: f64, parts: Parts) -> f64 {
    if parts.cap { factor.min(CAP) } else { factor }
}

/// Time that blocks have covered, and the share G of the start-time mixture that has begun by then.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Clock {
    /// T, in seconds.
    pub seconds: f64,
    /// G; 0 before the first block.
    pub begun: f64,
}

impl Clock {
    /// Moves on by a block's length and returns γ, what begins with this block.
    pub fn advance(&mut self, seconds: f64, parts: Parts) -> f64 {
        self.seconds += seconds.max(0.0);
        let later = (1.0 - FROM_THE_START) * self.seconds / (self.seconds + HALF_BEGUN_SECONDS);
        let begun = if parts.start_mixture { FROM_THE_START + later } else { 1.0 };
        let gamma = (begun - self.begun).max(0.0);
        self.begun = self.begun.max(begun);
        gamma
    }
}

/// ln `A_j`: the evidence that each alternative has gathered over all start times so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixture(pub [f64; 6]);

impl Default for Mixture {
    fn default() -> Self {
        Self([f64::NEG_INFINITY; 6])
    }
}

impl Mixture {
    /// One block: what begins now joins, then the factors multiply. All factors 0 leave E as it is.
    pub fn step(&mut self, factors: &[f64; 6], gamma: f64) {
        let begins = log(gamma);
        for (ln_a, factor) in self.0.iter_mut().zip(factors) {
            *ln_a = log_sum(&[*ln_a, begins]) + factor;
        }
    }

    /// ln E.
    pub fn ln_e(&self, clock: &Clock) -> f64 {
        let prior = log(1.0 / STEPS.len() as f64);
        let not_begun = log((1.0 - clock.begun).max(1e-12));
        let mut terms = [not_begun; 1 + STEPS.len()];
        for (term, ln_a) in terms.iter_mut().skip(1).zip(self.0) {
            *term = ln_a + prior;
        }
        log_sum(&terms)
    }
}

/// E is at or below 1. 10⁻⁹: blocks without a factor leave it at 1 up to rounding.
pub fn is_at_rest(ln_e: f64) -> bool {
    ln_e <= 1e-9
}

/// ln Σ e^x without overflow; −∞ for none.
pub fn log_sum(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    let share = |below: f64| if below == 0.0 { 1.0 } else { exp(below) };
    largest + log(terms.iter().map(|term| share(term - largest)).sum())
}
