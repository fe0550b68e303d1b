//! A component (§6): one comparison of the candidate's bad requests with stable's; its evidence, its baseline, its φ.
//!
//! errorRate has two (failed requests, and pods' scores), latency up to three (requests slower than a bound). Per block, in this order:
//! the factors from what was known before, then the evidence that excludes an excess, then the baseline learns.

use super::calibration::Calibration;
use super::exclusion::Exclusion;
use super::numbers::{parse, parse_counts, print};
use super::parts::Parts;
use super::sequential::{Clock, Counts, Dispersion, Mixture, Null, clamp_share, log_factors, log_factors_alone};
use super::state::{ComponentState, Unreadable};

/// The most pseudo-requests that a prior is worth (W).
pub const MOST_PSEUDO_REQUESTS: f64 = 200.0;
/// Below this many requests and pseudo-requests there is no baseline to compare with.
const LEAST_BASELINE: f64 = 50.0;
/// Above this many requests the baseline forgets; above this many pod-blocks of each of stable's pods, that of scores.
pub const FORGET_ABOVE: f64 = 2000.0;
pub const FORGET_ABOVE_BLOCKS: f64 = 40.0;
const HALF_LIFE_SECONDS: f64 = 120.0;
/// c₀ above which stable itself is so bad that nothing can be told.
const BROKEN: f64 = 0.98;
/// The margin while cold: only what is plainly broken counts.
const GROSS: f64 = 0.05;
/// One-sided 99%: how far stable's share before may lie above what was seen.
const Z_99: f64 = 2.33;

/// Stable before the first weight ("Before", §4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Past {
    /// b, its share of bad requests.
    pub share: f64,
    /// `n_b`, the requests behind it.
    pub total: f64,
    /// Requests per pod and second.
    pub load: f64,
}

impl Past {
    /// b⁺: an upper bound of the share.
    pub fn upper_share(&self, phi: f64) -> f64 {
        (self.share + Z_99 * (phi * self.share * (1.0 - self.share) / self.total).sqrt()).min(1.0)
    }
}

/// Stable's expected share before the first block, and what it is worth.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Prior {
    /// p₀.
    pub share: f64,
    /// W: 0 if nothing is known.
    pub pseudo_requests: f64,
}

/// One closed block as a component sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// What was counted.
    pub counts: Counts,
    /// The requests behind it, for sentences.
    pub shown: Counts,
    /// Before it the component's E was at or below 1: sentences count from here.
    pub anew: bool,
    /// Its length.
    pub seconds: f64,
    /// Errors: most of the candidate's requests went to cold pods.
    pub cold: bool,
    /// L ≥ 1: how much more a pod of the candidate carries.
    pub load_factor: f64,
    /// False: no factor, by the component's own rule (§6, load).
    pub comparable: bool,
    /// het: by how much pods' own differences may move the candidate's share.
    pub differences: f64,
    /// What the baseline holds before it forgets.
    pub forget_above: f64,
    /// What the judge is made of.
    pub parts: Parts,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Latency: slower than this, in microseconds.
    pub bound: Option<u64>,
    /// ρ and d.
    pub null: Null,
    /// What was expected of stable at first.
    pub prior: Prior,
    /// Stable before the first weight, if known.
    pub past: Option<Past>,
    /// How stable's bad requests cluster.
    pub calibration: Calibration,
    /// `R_M`; on the objective's own bound only.
    pub exclusion: Option<Exclusion>,
    /// Since E was last at or below 1.
    pub shown: Counts,
    /// The candidate's bad requests since the start.
    pub bad_since_start: f64,
    /// φ as known before the present block.
    phi: f64,
    baseline_bad: f64,
    baseline_total: f64,
    now: Mixture,
    /// Against stable before the rollout; only for latency, which follows the load.
    then: Option<Mixture>,
}

impl Component {
    /// A component without evidence.
    pub fn new(bound: Option<u64>, null: Null, prior: Prior, calibration: Calibration) -> Self {
        Self {
            bound,
            null,
            prior,
            past: None,
            phi: calibration.phi(),
            calibration,
            exclusion: None,
            shown: Counts::default(),
            bad_since_start: 0.0,
            baseline_bad: 0.0,
            baseline_total: 0.0,
            now: Mixture::default(),
            then: None,
        }
    }

    /// Judges against stable as it was before the rollout as well.
    pub fn against(mut self, past: Option<Past>) -> Self {
        self.past = past;
        self.then = past.map(|_| Mixture::default());
        self
    }

    /// s₁: stable's share as known before the block.
    pub fn expected(&self) -> f64 {
        let (prior, total) = (self.prior, self.baseline_total + self.prior.pseudo_requests);
        if total > 0.0 { clamp_share((self.baseline_bad + prior.pseudo_requests * prior.share) / total) } else { 0.5 }
    }

    /// φ as known before the present block.
    pub fn phi(&self) -> f64 {
        self.phi
    }

    /// Takes over what the calibration has learned; only between blocks.
    pub fn refresh_phi(&mut self) {
        self.phi = self.calibration.phi();
    }

    /// Evidence that no block gave, on a clock whose mixture has begun whole.
    #[cfg(test)]
    pub fn set_e(&mut self, e: f64) {
        self.now = Mixture([e.ln(); 6]);
    }

    /// A φ that no calibration gave.
    #[cfg(test)]
    pub fn set_phi(&mut self, phi: f64) {
        self.phi = phi;
    }

    fn has_baseline(&self) -> bool {
        self.baseline_total + self.prior.pseudo_requests >= LEAST_BASELINE
    }

    /// Stable is so bad that no candidate can be told from it.
    pub fn stable_broken(&self) -> bool {
        self.has_baseline() && self.null.at(self.expected()) > BROKEN
    }

    /// ln E of this component.
    pub fn ln_e(&self, clock: &Clock) -> f64 {
        let now = self.now.ln_e(clock);
        self.then.as_ref().map_or(now, |then| now.min(then.ln_e(clock)))
    }

    /// One closed block, and γ.
    pub fn step(&mut self, block: &Block, gamma: f64) {
        self.show(block);
        let (counts, stable) = (&block.counts, self.expected());
        let phi = if block.parts.dispersion { self.phi } else { 1.0 };
        let dispersion = Dispersion { stable: phi, candidate: phi * block.load_factor };
        let both = counts.stable_total > 0.0 && counts.candidate_total > 0.0 && self.has_baseline();
        let testable = both && block.comparable && !self.stable_broken();
        let cold_margin = block.cold.then_some(GROSS);
        let none = [0.0; 6];
        let null = Null { margin: self.null.margin + block.differences, ..self.null };
        let factors = if testable { log_factors(counts, stable, null, cold_margin, dispersion, block.parts) } else { none };
        self.now.step(&factors, gamma);
        if let (Some(then), Some(past)) = (&mut self.then, &self.past) {
            let limit = past.upper_share(self.phi) + null.margin;
            let alone = || log_factors_alone(counts.candidate_bad, counts.candidate_total, limit, dispersion, block.parts);
            then.step(&if testable { alone() } else { none }, gamma);
        }
        if let Some(exclusion) = self.exclusion.as_mut().filter(|_| both && block.comparable) {
            exclusion.step(counts, stable, dispersion);
        }
        self.learn(block);
        self.refresh_phi();
    }

    fn show(&mut self, block: &Block) {
        if block.anew {
            self.shown = Counts::default();
        }
        self.shown.add(&block.shown);
        self.bad_since_start += block.shown.candidate_bad;
    }

    fn learn(&mut self, block: &Block) {
        if self.baseline_total > block.forget_above && block.parts.forgetting {
            let keep = libm::exp2(-block.seconds.max(0.0) / HALF_LIFE_SECONDS);
            self.baseline_bad *= keep;
            self.baseline_total *= keep;
        }
        self.baseline_bad += block.counts.stable_bad;
        self.baseline_total += block.counts.stable_total;
    }

    /// The evidence so far is forgotten, what is known of stable is not.
    pub fn begin_anew(&mut self) {
        self.now = Mixture::default();
        self.then = self.then.map(|_| Mixture::default());
        self.shown = Counts::default();
    }

    /// To status.
    pub fn write(&self) -> ComponentState {
        let Counts { candidate_bad, candidate_total, stable_bad, stable_total } = self.shown;
        ComponentState {
            bound_microseconds: self.bound.and_then(|bound| i64::try_from(bound).ok()),
            prior: print(&[self.prior.share, self.prior.pseudo_requests, self.null.margin]),
            before: self.past.map(|past| print(&[past.share, past.total, past.load])),
            baseline: print(&[self.baseline_bad, self.baseline_total]),
            now: print(&self.now.0),
            then: self.then.map(|then| print(&then.0)),
            exclusion: self.exclusion.map(|exclusion| exclusion.write()),
            shown: print(&[candidate_bad, candidate_total, stable_bad, stable_total, self.bad_since_start]),
        }
    }

    /// From status; `ratio` is ρ, which follows from the objective.
    pub fn read(state: &ComponentState, ratio: f64, calibration: Calibration) -> Result<Self, Unreadable> {
        const WHAT: &str = "component";
        let [share, pseudo_requests, margin] = parse_counts(&state.prior, WHAT)?;
        let past = match &state.before {
            None => None,
            Some(before) => {
                let [share, total, load] = parse_counts(before, WHAT)?;
                Some(Past { share, total, load })
            }
        };
        let [baseline_bad, baseline_total] = parse_counts(&state.baseline, WHAT)?;
        let [candidate_bad, candidate_total, stable_bad, stable_total, bad_since_start] = parse_counts(&state.shown, WHAT)?;
        Ok(Self {
            bound: state.bound_microseconds.and_then(|bound| u64::try_from(bound).ok()),
            null: Null { ratio, margin },
            prior: Prior { share, pseudo_requests },
            past,
            phi: calibration.phi(),
            calibration,
            exclusion: state.exclusion.as_ref().map(Exclusion::read).transpose()?,
            shown: Counts { stable_total, stable_bad, candidate_total, candidate_bad },
            bad_since_start,
            baseline_bad,
            baseline_total,
            now: Mixture(parse(&state.now, WHAT)?),
            then: state.then.as_ref().map(|then| parse(then, WHAT).map(Mixture)).transpose()?,
        })
    }
}

/// A count as it was before it became decimal text; never negative here.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are parsed as non-negative and stay below 2^53 in practice"
)]
pub fn whole(count: f64) -> u64 {
    count as u64
}
