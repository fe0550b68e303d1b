//! §15: worked examples, values to three digits.

use super::world::{errors, latency, settings};
use crate::decide::analysis::calibration::{Calibration, Differences, WindowSums};
use crate::decide::analysis::component::{Block, Component, FORGET_ABOVE, Prior};
use crate::decide::analysis::exclusion::Exclusion;
use crate::decide::analysis::latency::shift;
use crate::decide::analysis::one_pod::one_sick_pod;
use crate::decide::analysis::planning::Plan;
use crate::decide::analysis::score::score;
use crate::decide::analysis::sequential::{
    CAP, Clock, Counts, Dispersion, Mixture, Null, alternatives, closest_null, kappa, log_factor, log_factors_alone,
};
use crate::decide::analysis::{Judge, Parts};

pub fn close(actual: f64, expected: f64, what: &str) {
    // Three digits as printed on the page: half a unit of the third digit, and a hair because its inputs are rounded too.
    let unit = 10f64.powf(expected.abs().log10().floor() - 2.0);
    assert!((actual - expected).abs() <= 0.52 * unit, "{what}: {actual} is not {expected}");
}

pub const NULL: Null = Null { ratio: 1.25, margin: 0.001 };
const INDEPENDENT: Dispersion = Dispersion { stable: 1.0, candidate: 1.0 };

pub fn block(stable_total: u64, stable_bad: u64, candidate_total: u64, candidate_bad: u64) -> Counts {
    let [stable_total, stable_bad, candidate_total, candidate_bad] =
        [stable_total, stable_bad, candidate_total, candidate_bad].map(|count| count as f64);
    Counts { stable_total, stable_bad, candidate_total, candidate_bad }
}

/// A component under test, with a φ that its calibration would not give.
pub struct Run {
    pub component: Component,
    clock: Clock,
    load_factor: f64,
    cold: bool,
    seconds: f64,
}

impl Run {
    pub fn new(share: f64, null: Null, phi: f64) -> Self {
        let prior = Prior { share, pseudo_requests: 200.0 };
        let mut component = Component::new(None, null, prior, Calibration::default());
        component.set_phi(phi);
        Self { component, clock: Clock::default(), load_factor: 1.0, cold: false, seconds: 5.0 }
    }

    pub fn step(&mut self, counts: Counts) -> f64 {
        let gamma = self.clock.advance(self.seconds, Parts::default());
        let phi = self.component.phi();
        let block = Block {
            counts,
            shown: counts,
            anew: false,
            seconds: self.seconds,
            cold: self.cold,
            load_factor: self.load_factor,
            comparable: true,
            differences: 0.0,
            forget_above: FORGET_ABOVE,
            parts: Parts::default(),
        };
        self.component.step(&block, gamma);
        self.component.set_phi(phi);
        self.e()
    }

    pub fn times(&mut self, count: usize, counts: Counts) -> f64 {
        for _ in 0..count {
            self.step(counts);
        }
        self.e()
    }

    pub fn e(&self) -> f64 {
        self.component.ln_e(&self.clock).exp()
    }
}

fn default_run() -> Run {
    Run::new(0.001, NULL, 1.0)
}

#[test]
fn example_1_alternatives() {
    for (actual, expected) in alternatives(NULL.at(0.001)).into_iter().zip([0.00319, 0.00499, 0.0110, 0.0358, 0.169, 0.712]) {
        close(actual, expected, "c_j");
    }
}

#[test]
fn example_2_closest_point_of_the_null() {
    let cases = [
        ((0.001, 0.01, 1000.0, 100.0), NULL, 0.00146),
        ((0.001, 0.05, 450.0, 50.0), NULL, 0.00510),
        ((0.01, 0.5, 100.0, 100.0), NULL, 0.234),
        ((0.6, 0.75, 900.0, 100.0), Null { ratio: 1.0, margin: 0.05 }, 0.611),
    ];
    for ((stable, candidate, n_s, n_c), null, expected) in cases {
        close(closest_null(stable, candidate, (n_s, n_c), null), expected, "s*");
    }
}

#[test]
fn example_3_kappa() {
    for (ratio, expected) in [(1.0, 1.0), (1.5, 1.07), (2.0, 1.13), (5.0, 1.35), (20.0, 1.78), (100.0, 2.41)] {
        close(kappa(ratio), expected, "kappa");
    }
}

#[test]
fn example_4_factors_before_the_cap() {
    let four = Dispersion { stable: 4.0, candidate: 4.0 };
    let cases = [
        (block(450, 0, 50, 3), 0.05, INDEPENDENT, 5.53),
        (block(450, 0, 50, 3), 0.05, four, 1.38),
        (block(450, 5, 50, 3), 0.05, INDEPENDENT, -2.64),
        (block(450, 0, 50, 50), 0.5, INDEPENDENT, 126.0),
        (block(450, 0, 50, 0), 0.01, INDEPENDENT, -0.124),
    ];
    for (counts, candidate, dispersion, expected) in cases {
        close(log_factor(&counts, 0.001, candidate, NULL, dispersion), expected, "l");
    }
    assert!((CAP - 100f64.ln()).abs() < 1e-12);
}

#[test]
fn example_5_all_fail() {
    let mut run = default_run();
    close(run.step(block(450, 0, 50, 50)), 31.3, "x1");
    close(run.step(block(450, 0, 50, 50)), 3060.0, "x2");
}

#[test]
fn example_6_all_fail_cold() {
    let mut run = Run { cold: true, ..default_run() };
    close(run.step(block(450, 0, 50, 50)), 11.1, "x1");
    close(run.step(block(450, 0, 50, 50)), 1020.0, "x2");
}

#[test]
fn example_7_three_of_fifty() {
    let mut run = default_run();
    close(run.step(block(450, 0, 50, 3)), 13.7, "x1");
    close(run.step(block(450, 0, 50, 3)), 1160.0, "x2");
    let mut cold = Run { cold: true, ..default_run() };
    close(cold.times(6, block(450, 0, 50, 3)), 0.895, "cold");
}

#[test]
fn example_8_clustered_failures() {
    let mut run = Run::new(0.001, NULL, 4.0);
    close(run.times(4, block(450, 0, 50, 3)), 5.50, "x4");
    close(run.times(3, block(450, 0, 50, 3)), 64.4, "x7");
    close(run.step(block(450, 0, 50, 3)), 156.0, "x8");
    let mut loaded = Run { load_factor: 2.0, ..Run::new(0.001, NULL, 4.0) };
    close(loaded.times(6, block(450, 0, 50, 3)), 3.67, "L = 2");
}

#[test]
fn examples_9_and_10_no_failures_then_a_late_regression() {
    let mut run = default_run();
    close(run.times(12, block(450, 0, 50, 0)), 0.731, "x12");
    close(run.times(108, block(450, 0, 50, 0)), 0.377, "x120");
    close(run.step(block(450, 0, 50, 3)), 0.734, "x1");
    close(run.step(block(450, 0, 50, 3)), 28.3, "x2");
    close(run.step(block(450, 0, 50, 3)), 2660.0, "x3");
}

#[test]
fn example_11_a_shared_outage_is_no_evidence_and_is_forgotten() {
    let mut run = default_run();
    run.times(6, block(450, 0, 50, 0));
    close(run.times(12, block(450, 135, 50, 15)), 0.609, "outage");
    run.times(24, block(450, 0, 50, 0));
    close(run.times(5, block(450, 0, 50, 3)), 175.0, "after");
}

#[test]
fn example_12_one_point_worse() {
    let mut run = default_run();
    for _ in 0..12 {
        run.step(block(450, 0, 50, 1));
        run.step(block(450, 1, 50, 0));
    }
    close(run.e(), 54.7, "24 blocks");
    close(run.step(block(450, 0, 50, 1)), 158.0, "25 blocks");
}

#[test]
fn example_13_low_traffic() {
    let mut run = Run { seconds: 60.0, ..default_run() };
    for expected in [2.92, 23.5, 280.0] {
        close(run.step(block(9, 0, 1, 1)), expected, "low traffic");
    }
}

#[test]
fn example_14_on_the_tolerance_line() {
    close(default_run().times(20, block(4000, 4, 4000, 9)), 0.602, "line");
}

#[test]
fn example_15_stable_fails_as_well() {
    let mut run = Run::new(0.3, NULL, 1.0);
    close(run.step(block(450, 135, 50, 30)), 5.81, "x1");
    close(run.step(block(450, 135, 50, 30)), 318.0, "x2");
    let mut broken = Run::new(0.8, NULL, 1.0);
    close(broken.times(5, block(450, 360, 50, 50)), 1.00, "broken");
    assert!(broken.component.stable_broken());
}

#[test]
fn example_16_a_larger_tolerance() {
    let mut run = Run::new(0.001, Null { margin: 0.005, ..NULL }, 1.0);
    close(run.step(block(450, 0, 50, 3)), 7.43, "x1");
    close(run.step(block(450, 0, 50, 3)), 457.0, "x2");
}

#[test]
fn example_17_an_empty_block_changes_nothing() {
    let mut run = default_run();
    close(run.step(block(450, 0, 50, 3)), 13.7, "x1");
    close(run.step(block(0, 0, 0, 0)), 13.7, "empty");
    close(run.step(block(450, 0, 50, 3)), 1160.0, "x2");
}

#[test]
fn example_18_an_edge() {
    let mut run = Run::new(0.0207, Null { ratio: 1.0, margin: 0.0064 }, 1.2);
    for expected in [2.69, 35.3, 733.0] {
        close(run.step(block(450, 9, 50, 6)), expected, "edge");
    }
}

#[test]
fn example_19_alone() {
    type Case = (f64, u32, &'static [(usize, f64)]);
    let cases: [Case; 3] = [(0.012, 25, &[(1, 16.0), (2, 1530.0)]), (0.012, 5, &[(4, 0.681)]), (0.02, 15, &[(7, 97.3), (8, 284.0)])];
    for (limit, bad, expected) in cases {
        let (mut mixture, mut clock) = (Mixture::default(), Clock::default());
        for count in 1..=8 {
            let gamma = clock.advance(5.0, Parts::default());
            mixture.step(&log_factors_alone(f64::from(bad), 500.0, limit, INDEPENDENT, Parts::default()), gamma);
            if let Some((_, expected)) = expected.iter().find(|(at, _)| *at == count) {
                close(mixture.ln_e(&clock).exp(), *expected, "alone");
            }
        }
    }
}

#[test]
fn example_20_weights_of_components_and_objectives() {
    let mut judge = Judge::new(&settings(vec![errors(), latency()]), None);
    judge.clock = Clock { seconds: 1e9, begun: 1.0 };
    judge.objectives[0].set_score_share(0.1);
    for (counts, expected) in [(180.0, 97.7), (185.0, 100.4)] {
        judge.objectives[0].components[0].set_e(counts);
        judge.objectives[0].components[1].set_e(1.0);
        close(judge.ln_e().exp(), expected, "E");
    }
}

#[test]
fn example_21_excluding_an_excess() {
    let mut exclusion = Exclusion::default();
    exclusion.step(&block(475, 0, 25, 0), 0.001, INDEPENDENT);
    for (actual, expected) in exclusion.evidence().into_iter().zip([5.55, 2.61, 1.26, 0.481, 0.228, 0.104]) {
        close(actual, expected, "R");
    }
    let mut exclusion = Exclusion::default();
    let mut reached = Vec::new();
    for blocks in 1..=29 {
        exclusion.step(&block(475, 0, 25, 0), 0.001, INDEPENDENT);
        if reached.last().is_none_or(|(_, margin)| *margin > exclusion.excluded()) && exclusion.excluded() < 1.0 {
            reached.push((blocks, exclusion.excluded()));
        }
    }
    assert_eq!(reached, [(1, 0.2), (2, 0.1), (3, 0.05), (7, 0.02), (14, 0.01), (29, 0.005)]);
}

#[test]
fn example_22_dispersion() {
    let cases = [
        ([[1, 0, 2], [0, 1, 0], [2, 1, 0], [0, 0, 1]], 1.00, 8.0, 7.99),
        ([[12, 0, 0], [0, 1, 0], [0, 0, 15], [0, 0, 1]], 13.0, 371.0, 28.8),
    ];
    for (windows, phi, spread, variance) in cases {
        let mut sums = WindowSums::default();
        for window in windows {
            sums.add(&window.map(|bad| (600.0, f64::from(bad))));
        }
        close(sums.phi().max(1.0), phi, "phi");
        close(sums.sums().0, spread, "S");
        close(sums.sums().1, variance, "V");
    }
}

#[test]
fn what_chance_alone_shows_is_no_cluster() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut failures = || f64::from((0..600).map(|_| u32::from(random.u32(0..1000) == 0)).sum::<u32>());
    let minutes: Vec<[f64; 10]> = (0..120).map(|_| [(); 10].map(|()| failures())).collect();
    let sums = |times: f64| {
        let mut sums = WindowSums::default();
        for minute in &minutes {
            sums.add(&minute.map(|bad| (600.0, times * bad)));
        }
        sums
    };
    let (independent, clustered) = (sums(1.0), sums(3.0));
    let (spread, variance) = independent.sums();
    assert!((independent.phi() - 1.0).abs() < 0.1, "independent: {}", independent.phi());
    assert!((independent.phi() - (spread + 5.0) / (variance + 5.0)).abs() < 1e-12, "the estimate alone, without its error");
    assert!((2.5..3.5).contains(&clustered.phi()), "three at a time: {}", clustered.phi());
}

#[test]
fn example_25_what_a_tolerated_slowdown_does_to_a_share() {
    close(shift(0.233, 100_000, Some((50_000, 0.603)), 1.1), 0.0418, "at 100 ms");
    close(shift(0.0207, 250_000, Some((100_000, 0.233)), 1.1), 0.00643, "at 250 ms");
}

#[test]
fn example_23_pod_scores() {
    let cases = [(50, 0, 0.00225, 0.0), (50, 1, 0.00225, 0.439), (50, 2, 0.00225, 1.0), (5, 1, 0.00225, 1.0), (500, 3, 0.00225, 0.293)];
    for (total, bad, reference, expected) in cases.into_iter().chain([(500, 4, 0.00225, 1.0), (500, 86, 0.14, 1.0)]) {
        let actual = score(total, bad, reference);
        assert!((actual - expected).abs() < 0.0006, "score of {bad} in {total} at {reference}: {actual} is not {expected}");
    }
}

#[test]
fn example_24_pods_that_differ() {
    let pods = [300.0, 360.0, 270.0, 330.0].map(|bad| (30_000.0, bad));
    close(Differences::of(&pods, 1.0).unwrap().margin(2.0, 4.0), 0.00452, "het");
    assert_eq!(Differences::of(&pods[..1], 1.0), None, "one pod cannot differ");
}

#[test]
fn example_26_requests_to_find_an_excess() {
    let plan = Plan { stable: 0.001, phi: 1.0, ratio: 1.0 / 9.0 };
    for (excess, expected) in [(0.005, 4260.0), (0.01, 1040.0), (0.05, 81.8)] {
        close(plan.requests_to_find(excess, 0.001, 0.01, 0.54), expected, "n");
    }
    // The page's formula takes stable's uncertainty in full: a little longer than the 14 blocks of 25 that example 21 takes.
    let blocks = Plan { ratio: 1.0 / 19.0, ..plan }.requests_to_exclude(0.01) / 25.0;
    assert!((14.0..17.0).contains(&blocks), "{blocks}");
}

#[test]
fn example_28_one_sick_pod() {
    let of = |pods: [(&'static str, u64, u64); 2]| one_sick_pod(0.00225, pods.into_iter());
    assert_eq!(of([("a", 500, 20), ("b", 500, 1)]), Some("a"));
    assert_eq!(of([("a", 500, 12), ("b", 500, 9)]), None);
    assert_eq!(one_sick_pod(0.00225, [("a", 500, 20)].into_iter()), None, "the only pod");
}
