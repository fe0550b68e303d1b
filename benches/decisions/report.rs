//! Numbers of many runs, in tables.

use crate::ours::Decided;
use crate::play::Outcome;

/// What a policy reached in a cell.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Share of runs that went back.
    pub back: f64,
    /// Share of runs that were promoted.
    pub promoted: f64,
    /// Seconds to going back: median and 95th percentile of those that did.
    pub seconds: (f64, f64),
    /// Mean excess of failed and of slow requests.
    pub excess: (f64, f64),
    /// Median seconds to 90% and 100%.
    pub ninety: f64,
    /// See above.
    pub hundred: f64,
}

impl Row {
    /// Of one policy in runs of all of them.
    pub fn of(runs: &[Vec<Outcome>], policy: usize) -> Self {
        let outcomes: Vec<Outcome> = runs.iter().map(|run| run[policy]).collect();
        let count = outcomes.len() as f64;
        let share = |decided| outcomes.iter().filter(|outcome| outcome.decided == decided).count() as f64 / count;
        let times = |decided| sorted(outcomes.iter().filter(|outcome| outcome.decided == decided).map(|outcome| outcome.at));
        let back = times(Decided::Back);
        let mean = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / count;
        Self {
            back: share(Decided::Back),
            promoted: share(Decided::Promoted),
            seconds: (quantile(&back, 0.5), quantile(&back, 0.95)),
            excess: (mean(|outcome| outcome.failed), mean(|outcome| outcome.slow)),
            ninety: quantile(&sorted(outcomes.iter().filter_map(|outcome| outcome.ninety)), 0.5),
            hundred: quantile(&times(Decided::Promoted), 0.5),
        }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value at a share of the sorted ones; NaN of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let index = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(index.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Clopper and Pearson's one-sided upper 95% bound of `count` in `runs`.
pub fn upper_bound(count: u64, runs: u64) -> f64 {
    if count >= runs {
        return 1.0;
    }
    let below = |share: f64| -> f64 {
        // P(X ≤ count), by recursion.
        let mut probability = (runs as f64 * (-share).ln_1p()).exp();
        let mut sum = probability;
        for k in 0..count {
            probability *= (runs - k) as f64 / (k + 1) as f64 * share / (1.0 - share);
            sum += probability;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 1.0 - 1e-9);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if below(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// A cell of a table: a dash for what is not there.
pub fn seconds(value: f64) -> String {
    if value.is_nan() { "–".to_owned() } else { format!("{value:.0}") }
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
