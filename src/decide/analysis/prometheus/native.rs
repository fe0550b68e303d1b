//! Native histograms: their buckets are as many as there were values, so they are read at bounds that all of them share.

use std::borrow::Cow;

use super::answer::{Element, Histogram};
use crate::decide::analysis::exposition::Sample;

/// Finest resolution that is read: bounds are 2^(1/4) apart, 19%.
const FINEST: i32 = 2;
/// From 2⁻¹⁰ (1 ms in seconds) to 2¹⁸ (262 s in milliseconds).
const POWERS: std::ops::RangeInclusive<i32> = -10..=18;

/// The series that a classic histogram of the same name would have: its count, and its buckets.
pub fn samples<'a>(element: &'a Element, histogram: &Histogram) -> Vec<Sample<'a>> {
    let name = element.label("__name__").unwrap_or_default();
    let series = |suffix: &str, bound: Option<String>, value: f64| {
        let labels = element.labels.iter().filter(|(label, _)| label.as_str() != "__name__");
        let labels = labels.map(|(label, value)| (Cow::from(label.as_str()), Cow::from(value.as_str())));
        let bound = bound.map(|bound| (Cow::from("le"), Cow::from(bound)));
        Sample { name: format!("{name}{suffix}").into(), labels: labels.chain(bound).collect(), value, at_milliseconds: None }
    };
    let steps = 1 << schema(histogram).min(FINEST);
    let below = |bound: f64| {
        // A bucket belongs below a bound that is its own upper one; rounding in print must not move it.
        histogram.buckets.iter().filter(|bucket| bucket.upper <= bound * (1.0 + 1e-9)).map(|bucket| bucket.count).sum::<f64>()
    };
    let bounds = POWERS.flat_map(|power| (0..steps).map(move |part| libm::exp2(f64::from(power) + f64::from(part) / f64::from(steps))));
    let buckets = bounds.map(|bound| series("_bucket", Some(bound.to_string()), below(bound)));
    let ends = [series("_bucket", Some("+Inf".to_owned()), histogram.count), series("_count", None, histogram.count)];
    buckets.chain(ends).collect()
}

/// 2^(2^-schema) is the ratio of a bucket's bounds. Coarser than powers of two: 0, and bounds in between read too few, never too many.
fn schema(histogram: &Histogram) -> i32 {
    let ratio =
        histogram.buckets.iter().filter(|bucket| bucket.lower > 0.0 && bucket.upper.is_finite()).map(|bucket| bucket.upper / bucket.lower);
    let schema = ratio.map(|ratio| -libm::log2(libm::log2(ratio)).round()).fold(f64::INFINITY, f64::min);
    #[expect(clippy::cast_possible_truncation, reason = "clamped")]
    let schema = schema.clamp(0.0, 8.0) as i32;
    schema
}
