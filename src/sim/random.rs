//! Chance from a seed: the same seed gives the same numbers on every machine.
//!
//! Logarithms, exponentials and cosines come from `libm`, because those of the standard library differ in their last bits between platforms.

/// `SplitMix64` (Steele, Lea, Flood 2014): small, fast, and good enough for a test tank.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// A stream of its own for each purpose, so that a fault that is dealt out does not change the traffic.
    pub(super) fn new(seed: u64, purpose: u64) -> Self {
        let mut random = Self(seed ^ purpose.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with probability `chance`.
    pub(super) fn happens(&mut self, chance: f64) -> bool {
        self.unit() < chance
    }

    /// Uniform in `from..to`.
    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        let span = u64::try_from(to - from).unwrap_or(1).max(1);
        from + i64::try_from(self.next() % span).unwrap_or(0)
    }

    /// Standard normal (Box, Muller 1958).
    fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded and kept at or above 0; counts stay far below 2^53")]
    fn near(&mut self, mean: f64, variance: f64) -> u64 {
        (mean + libm::sqrt(variance) * self.normal()).round().max(0.0) as u64
    }

    /// Poisson: by multiplication of uniforms up to a mean of 30, its normal approximation above.
    pub(super) fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 30.0 {
            return self.near(mean, mean);
        }
        let limit = libm::exp(-mean);
        let (mut count, mut product) = (0, self.unit());
        while product > limit {
            count += 1;
            product *= self.unit();
        }
        count
    }

    /// Binomial: by the gaps between successes up to 30 expected, its normal approximation above.
    pub(super) fn binomial(&mut self, trials: u64, chance: f64) -> u64 {
        if trials == 0 || chance <= 0.0 {
            return 0;
        }
        if chance >= 1.0 {
            return trials;
        }
        if chance > 0.5 {
            return trials - self.binomial(trials, 1.0 - chance);
        }
        let mean = trials as f64 * chance;
        if mean > 30.0 {
            return self.near(mean, mean * (1.0 - chance)).min(trials);
        }
        let miss = libm::log(1.0 - chance);
        let (mut successes, mut at) = (0, 0.0);
        loop {
            at += libm::floor(libm::log(1.0 - self.unit()) / miss) + 1.0;
            if at > trials as f64 {
                return successes;
            }
            successes += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_variance(numbers: &[u64]) -> (f64, f64) {
        let mean = numbers.iter().sum::<u64>() as f64 / numbers.len() as f64;
        (mean, numbers.iter().map(|number| (*number as f64 - mean).powi(2)).sum::<f64>() / numbers.len() as f64)
    }

    #[test]
    fn counts_have_the_mean_and_the_variance_of_their_distribution() {
        let mut random = Random::new(1, 0);
        for mean in [0.01, 2.0, 29.0, 500.0] {
            let (seen, variance) = mean_and_variance(&(0..40_000).map(|_| random.poisson(mean)).collect::<Vec<_>>());
            assert!((seen / mean - 1.0).abs() < 0.1, "Poisson({mean}): mean {seen}");
            assert!((variance / mean - 1.0).abs() < 0.1, "Poisson({mean}): variance {variance}");
        }
        for (trials, chance) in [(500_u64, 0.001), (100, 0.05), (10, 0.9), (500, 0.3)] {
            let mean = trials as f64 * chance;
            let (seen, variance) = mean_and_variance(&(0..40_000).map(|_| random.binomial(trials, chance)).collect::<Vec<_>>());
            assert!((seen / mean - 1.0).abs() < 0.05, "Bin({trials}, {chance}): mean {seen}");
            assert!((variance / (mean * (1.0 - chance)) - 1.0).abs() < 0.1, "Bin({trials}, {chance}): variance {variance}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_purpose_others() {
        let draw = |seed, purpose| (0..8).map(|_| Random::new(seed, purpose).between(0, 1_000_000)).next();
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }
}
