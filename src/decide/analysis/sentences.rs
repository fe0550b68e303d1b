//! What people read (§14): counts of both revisions, e, and what is waited for.

use super::assessment::EvidenceCounts;

/// What a sentence about bad requests needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison<'a> {
    /// Latency: slower than this many microseconds; `None` for failures.
    pub bound: Option<u64>,
    /// The candidate's name.
    pub candidate: &'a str,
    /// Stable's name.
    pub stable: &'a str,
    /// The candidate's counts.
    pub candidate_counts: EvidenceCounts,
    /// Stable's; `None` where there was no control.
    pub stable_counts: Option<EvidenceCounts>,
}

/// "31 of 412 requests failed on 7f9c4d, 2 of 7 810 on a11ce0"; for latency in percent.
pub fn compared(comparison: &Comparison<'_>) -> String {
    let Comparison { bound, candidate, stable, candidate_counts, stable_counts } = comparison;
    let text = match bound {
        None => format!("{} of {} requests failed on {candidate}", grouped(candidate_counts.bad), grouped(candidate_counts.total)),
        Some(bound) => format!("{} of requests on {candidate} took over {}", percent(candidate_counts), milliseconds(*bound)),
    };
    match (bound, stable_counts) {
        (_, None) => format!("{text}; no control"),
        (None, Some(counts)) => format!("{text}, {} of {} on {stable}", grouped(counts.bad), grouped(counts.total)),
        (Some(_), Some(counts)) => format!("{text}, {} on {stable}", percent(counts)),
    }
}

/// "(e = 214, limit 100)".
pub fn evidence(e: f64, limit: f64) -> String {
    format!("(e = {}, limit {})", three_digits(e), three_digits(limit))
}

/// "0 of 640 failed"; for latency "1.2% of 640 took over 300 ms".
pub fn served(counts: EvidenceCounts, bound: Option<u64>) -> String {
    match bound {
        None => format!("{} of {} failed", grouped(counts.bad), grouped(counts.total)),
        Some(bound) => format!("{} of {} took over {}", percent(&counts), grouped(counts.total), milliseconds(bound)),
    }
}

/// "an excess above 1 point is excluded (95%)", or that none is.
pub fn excluded(excess: f64) -> String {
    if excess >= 1.0 {
        return "no excess is excluded yet".to_owned();
    }
    let points = excess * 100.0;
    let word = if (points - 1.0).abs() < 1e-9 { "point" } else { "points" };
    format!("an excess above {points} {word} is excluded (95%)")
}

/// "12 of 200 requests in 10 min; about 157 more minutes at this traffic, or a load-test gate". What is forecast is the time until the `least`
/// requests are there, and as many as the evidence needs, or its `patience` is over.
pub fn too_few(seen: u64, least: u64, needed: u64, patience: f64, seconds: f64) -> String {
    let so_far = format!("{} of {} requests in {}", grouped(seen), grouped(least), duration(seconds));
    if seen == 0 || seconds < 1.0 {
        return so_far;
    }
    let until = |count: u64| count.saturating_sub(seen) as f64 / (seen as f64 / seconds);
    let minutes = (until(least.max(needed)).min(until(least) + patience) / 60.0).ceil();
    let word = if minutes > 1.0 { "minutes" } else { "minute" };
    format!("{so_far}; about {minutes} more {word} at this traffic, or a load-test gate")
}

/// "10 min", "45 s".
pub fn duration(seconds: f64) -> String {
    if seconds >= 120.0 { format!("{} min", (seconds / 60.0).floor()) } else { format!("{} s", seconds.max(0.0).floor()) }
}

/// "12:04:10", in UTC.
pub fn clock(at: jiff::Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// "7 810".
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// "9.1%", "0.04%": two digits below 1, else one decimal.
pub fn percent(counts: &EvidenceCounts) -> String {
    let percent = if counts.total == 0 { 0.0 } else { counts.bad as f64 * 100.0 / counts.total as f64 };
    if percent > 0.0 && percent < 0.95 { format!("{percent:.2}%") } else { format!("{percent:.1}%") }
}

/// "5", "33", "12.5": percent of traffic, without a trailing zero.
pub fn weight(weight: f64) -> String {
    let rounded = (weight * 10.0).round() / 10.0;
    format!("{rounded}%")
}

fn milliseconds(bound: u64) -> String {
    format!("{} ms", bound as f64 / 1000.0)
}

/// Three significant digits: "0.731", "31.3", "214", "1 530", "1.2e30".
pub fn three_digits(number: f64) -> String {
    let size = number.abs();
    if size >= 1e6 {
        format!("{number:.1e}")
    } else if size >= 100.0 {
        let step = if size >= 1e5 {
            1000.0
        } else if size >= 1e4 {
            100.0
        } else if size >= 1e3 {
            10.0
        } else {
            1.0
        };
        grouped(super::component::whole(((number / step).round() * step).max(0.0)))
    } else if size >= 10.0 {
        format!("{number:.1}")
    } else if size >= 1.0 {
        format!("{number:.2}")
    } else {
        format!("{number:.3}")
    }
}
