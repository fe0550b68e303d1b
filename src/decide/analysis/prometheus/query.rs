//! The queries, written out. Every text from outside is escaped, and every selector carries the namespace.

use crate::decide::analysis::convention::{Reading, rules};
use crate::decide::analysis::pressure;

/// Label by which parts of an answer are told apart.
pub const MARK: &str = "plimsoll";
/// When the pod was last scraped.
pub const AT: &str = "at";
/// Whether that worked.
pub const UP: &str = "up";
/// Of how many series a bound is the sum.
pub const SERIES: &str = "series";

/// Exactly these pods, as the value of a matcher.
#[must_use]
pub fn pods_called<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(regex::escape).collect::<Vec<_>>().join("|")
}

/// Requests of these pods by everything that tells failures, when each was scraped, and whether that worked; and, of the present, how hard each is
/// pressed.
#[must_use]
pub fn counts(namespace: &str, pods: &str, reading: &Reading, now: bool) -> String {
    let own = format!("namespace={},pod=~{}", quoted(namespace), quoted(pods));
    let by = ["__name__", "pod"].into_iter().chain(reading.labels()).collect::<Vec<_>>().join(",");
    let pressure = pressure::NAMES.iter().filter(|_| now).map(ToString::to_string);
    let names: Vec<String> = reading.counters().into_iter().chain(pressure).collect();
    let sum = format!("sum by ({by}) ({{__name__=~{},{own}}})", quoted(&names.join("|")));
    let marked = |expression: &str, mark: &str| format!("label_replace({expression},\"{MARK}\",\"{mark}\",\"\",\"\")");
    let at = marked(&format!("min by (pod) (timestamp(up{{{own}}}))"), AT);
    let up = marked(&format!("max by (pod) (up{{{own}}})"), UP);
    format!("{sum} or {at} or {up}")
}

/// Classic histograms of these pods, with the number of series in each sum; `None` where the spec names no histogram.
#[must_use]
pub fn buckets(namespace: &str, pods: &str, reading: &Reading) -> Option<String> {
    let names: Vec<String> = reading.histograms().iter().map(|name| format!("{name}_bucket")).collect();
    if names.is_empty() {
        return None;
    }
    let own = format!("{{__name__=~{},namespace={},pod=~{}}}", quoted(&names.join("|")), quoted(namespace), quoted(pods));
    let by = format!("by (__name__,pod,le,{})", rules::OWN_LABELS.join(","));
    Some(format!("sum {by} ({own}) or label_replace(count {by} ({own}),\"{MARK}\",\"{SERIES}\",\"\",\"\")"))
}

/// The highest rate of the service's requests over `seconds` in so many days, in requests per second. Of several metrics that count them, the first. The
/// longer the time, the fewer moments are looked at: Prometheus limits what a query may read.
#[must_use]
pub fn peak(namespace: &str, service: &str, reading: &Reading, days: i32, seconds: i64) -> String {
    let step = i64::from((days + 6) / 7).max(1) * 60;
    let pods = format!("{}-[0-9a-f]{{10}}-.+", regex::escape(service));
    let own = format!("namespace={},pod=~{}", quoted(namespace), quoted(&pods));
    let rates = reading.requests().into_iter().map(|(name, only)| {
        let only = only.map(|(label, starts)| format!(",{label}=~{}", quoted(&format!("({}).*", starts.join("|"))))).unwrap_or_default();
        format!("max_over_time(sum(rate({{__name__={},{own}{only}}}[{seconds}s]))[{days}d:{step}s])", quoted(&name))
    });
    rates.collect::<Vec<_>>().join(" or ")
}

/// A string of PromQL.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
