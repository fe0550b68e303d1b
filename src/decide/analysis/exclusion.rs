//! Evidence *for* the candidate (§8, d): which excess over stable is excluded by now?
//!
//! The same factors as the test's, turned round: the alternative is "no worse" (s₁, s₁), the null "worse by at least
//! M", for six margins M. Once R of a margin reaches ln(1/β), an excess of M is excluded with confidence 1 − β.

use super::numbers::{parse, print};
use super::sequential::{Counts, Dispersion, Null, log_factor};
use super::state::{Numbers, Unreadable};

/// Margins M, in the order in which they are excluded.
pub const MARGINS: [f64; 6] = [0.2, 0.1, 0.05, 0.02, 0.01, 0.005];
/// ln(1/β), β = 0.05.
pub const ENOUGH: f64 = 2.995_732_273_553_991;
/// Above this, stable's share plus the margin leaves nothing to compare with.
const NEARLY_ALL: f64 = 0.999;

/// `R_M` for every margin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Exclusion([f64; 6]);

impl Exclusion {
    /// One block, with stable's share expected at `stable`.
    pub fn step(&mut self, counts: &Counts, stable: f64, dispersion: Dispersion) {
        for (evidence, margin) in self.0.iter_mut().zip(MARGINS) {
            if stable + margin < NEARLY_ALL {
                *evidence += log_factor(counts, stable, stable, Null { ratio: 1.0, margin }, dispersion);
            }
        }
    }

    /// u: the least excess that is excluded; 1 if none is.
    pub fn excluded(&self) -> f64 {
        let excluded = self.0.iter().zip(MARGINS).filter(|(evidence, _)| **evidence >= ENOUGH);
        excluded.map(|(_, margin)| margin).fold(1.0, f64::min)
    }

    /// The six numbers.
    #[cfg(test)]
    pub fn evidence(&self) -> [f64; 6] {
        self.0
    }

    /// To status.
    pub fn write(&self) -> Numbers {
        print(&self.0)
    }

    /// From status.
    pub fn read(numbers: &Numbers) -> Result<Self, Unreadable> {
        Ok(Self(parse(numbers, "exclusion")?))
    }
}
