//! Numbers of many runs, in tables.

use crate::ours::Decided;
use crate::play::Outcome;

/// What a policy reached in a cell.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Share of runs that went back.
    pub back: f64,
    /// Its 95% interval.
    pub interval: (f64, f64),
    /// Share of runs that were promoted.
    pub promoted: f64,
    /// Seconds to going back: median and 95th percentile of those that did.
    pub seconds: (f64, f64),
    /// Mean excess of failed and of slow requests.
    pub excess: (f64, f64),
    /// Seconds to 90% of the requests: median and 95th percentile of those that had them.
    pub ninety: (f64, f64),
    /// The same to 100%.
    pub hundred: (f64, f64),
}

impl Row {
    /// Of one policy in runs of all of them.
    pub fn of(runs: &[Vec<Outcome>], policy: usize) -> Self {
        let outcomes: Vec<Outcome> = runs.iter().map(|run| run[policy]).collect();
        let runs = outcomes.len() as f64;
        let count = |decided| outcomes.iter().filter(|outcome| outcome.decided == decided).count();
        let back = count(Decided::Back);
        let times = |of: fn(&Outcome) -> Option<f64>| {
            let mut times: Vec<f64> = outcomes.iter().filter_map(of).collect();
            times.sort_by(f64::total_cmp);
            (quantile(&times, 0.5), quantile(&times, 0.95))
        };
        let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / runs;
        Self {
            back: back as f64 / runs,
            interval: interval(back as u64, outcomes.len() as u64),
            promoted: count(Decided::Promoted) as f64 / runs,
            seconds: times(|outcome| (outcome.decided == Decided::Back).then_some(outcome.at)),
            excess: (mean(|outcome| outcome.failed), mean(|outcome| outcome.slow)),
            ninety: times(|outcome| outcome.ninety),
            hundred: times(|outcome| outcome.hundred),
        }
    }
}

/// The value at a share of the sorted ones; NaN of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Clopper and Pearson's one-sided upper 95% bound of `count` in `runs`.
pub fn upper_bound(count: u64, runs: u64) -> f64 {
    least_likely(count, runs, 0.05)
}

/// Clopper and Pearson's 95% interval of `count` in `runs`.
fn interval(count: u64, runs: u64) -> (f64, f64) {
    (1.0 - least_likely(runs - count, runs, 0.025), least_likely(count, runs, 0.025))
}

/// The share of which so few as `count` in `runs` are seen with this probability.
fn least_likely(count: u64, runs: u64, probability: f64) -> f64 {
    if count >= runs {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(count, runs, middle) > probability { low = middle } else { high = middle }
    }
    high
}

/// P(X ≤ `count`) of a binomial number. In logarithms: the first terms may be smaller than any number.
fn at_most(count: u64, runs: u64, share: f64) -> f64 {
    let odds = (share / (1.0 - share)).ln();
    let mut term = runs as f64 * (-share).ln_1p();
    let mut sum = term.exp();
    for k in 0..count {
        term += ((runs - k) as f64 / (k + 1) as f64).ln() + odds;
        sum += term.exp();
    }
    sum
}

/// A cell of a table: a dash for what is not there.
pub fn seconds(value: f64) -> String {
    if value.is_nan() { "–".to_owned() } else { format!("{value:.0}") }
}

/// A median and a 95th percentile.
pub fn median_and_late((median, late): (f64, f64)) -> String {
    format!("{} ({})", seconds(median), seconds(late))
}

/// "ours ÷ theirs" as "1/20".
pub fn ratio(ours: f64, theirs: f64) -> String {
    let ratio = theirs / ours.max(0.5);
    if ratio >= 10.0 {
        format!("1/{ratio:.0}")
    } else if ratio >= 1.0 {
        format!("1/{ratio:.1}")
    } else {
        format!("{:.1}×", 1.0 / ratio.max(1e-3))
    }
}
