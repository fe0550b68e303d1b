//! From a metrics page to one pod's counters: which metric counts requests, which label tells a failure.
//!
//! `auto` tries the conventions in the order of their specificity and says which one fits, or in words what is missing.
//! Whatever cannot be told for certain (a status that is no status, a counter that is NaN, the same series twice) makes
//! the page unusable; it is never read as "fewer failures".

mod reading;
pub(super) mod rules;
mod status;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

use super::exposition::{Exposition, Line, Sample};
use super::pressure::Pressure;
use reading::{FAILED, Names, Told};
pub use reading::{Failing, Reading};
use rules::{Part, Rule};
use tally::Tally;

/// The largest page that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The most series of the metrics that count; a service with more has a label of unbounded values.
const MAX_SERIES: usize = 10_000;
/// The largest count that an f64 holds exactly, 2⁵³.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

pub use crate::api::objective::Convention;

/// Where the request counts come from, in the order in which `auto` looks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `http_server_request_duration_seconds` and `rpc_server_duration_…`.
    OpenTelemetry,
    /// `http_requests_total`.
    RequestsTotal,
    /// `http_request_duration_seconds_count`.
    RequestDuration,
    /// `http_server_requests_seconds_count`.
    Micrometer,
    /// `grpc_server_handled_total`.
    Grpc,
    /// `istio_requests_total`.
    Istio,
    /// `response_total`.
    Linkerd,
    /// `envoy_cluster_upstream_rq`.
    Envoy,
    /// The names that the spec gives.
    Custom,
}

impl Source {
    /// The histogram that latency is read from, for people.
    #[must_use]
    pub const fn histogram(self) -> &'static str {
        rules::histogram_name(self)
    }

    /// Sources of a convention, the most specific first.
    const fn of(convention: Convention) -> &'static [Self] {
        match convention {
            Convention::Auto => &[
                Self::OpenTelemetry,
                Self::RequestsTotal,
                Self::RequestDuration,
                Self::Micrometer,
                Self::Grpc,
                Self::Istio,
                Self::Linkerd,
                Self::Envoy,
            ],
            Convention::PromClient => &[Self::RequestsTotal, Self::RequestDuration],
            Convention::OpenTelemetry => &[Self::OpenTelemetry],
            Convention::Micrometer => &[Self::Micrometer],
            Convention::Grpc => &[Self::Grpc],
            Convention::Istio => &[Self::Istio],
            Convention::Linkerd => &[Self::Linkerd],
            Convention::Envoy => &[Self::Envoy],
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenTelemetry => "openTelemetry (http_server_request_duration_seconds)",
            Self::RequestsTotal => "promClient (http_requests_total)",
            Self::RequestDuration => "promClient (http_request_duration_seconds)",
            Self::Micrometer => "micrometer (http_server_requests_seconds)",
            Self::Grpc => "grpc (grpc_server_handled_total)",
            Self::Istio => "istio (istio_requests_total)",
            Self::Linkerd => "linkerd (response_total)",
            Self::Envoy => "envoy (envoy_cluster_upstream_rq)",
            Self::Custom => "custom",
        })
    }
}

/// One pod's cumulative counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Where the requests come from. `None`: no convention fits (yet: many libraries show a metric only after the first
    /// request), and all counts are 0.
    pub source: Option<Source>,
    /// What is missing, in words, where no convention fits.
    pub missing: Option<String>,
    /// Requests by status; 0 where none was sent, from 1000 on failures that have no HTTP status. gRPC codes: themselves, or 1000 + code where
    /// the code is the server's failure.
    pub by_status: BTreeMap<u16, u64>,
    /// All requests, where failures have a counter of their own: `by_status` then has those only.
    pub total: Option<u64>,
    /// Which statuses are failures.
    pub failing: Failing,
    /// Requests that took at most so many microseconds; only bounds that every series has.
    pub buckets: BTreeMap<u64, u64>,
    /// Requests whose time was taken.
    pub timed: u64,
    /// The oldest time that the page itself gives for these series.
    pub at: Option<Timestamp>,
    /// How hard the pod is pressed.
    pub pressure: Pressure,
}

impl Counters {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.total.unwrap_or_else(|| self.by_status.values().fold(0, |sum, count| sum.saturating_add(*count)))
    }

    /// Requests with a status that is a failure.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let failed = self.by_status.iter().filter(|(status, _)| self.failing.contains(**status));
        failed.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// Why a page says nothing. Printed for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmeasured {
    /// Over [`MAX_BODY_BYTES`].
    #[error("the metrics page is larger than 1 MiB")]
    TooLarge,
    /// Nothing on it.
    #[error("the metrics page is empty")]
    Empty,
    /// HTML, JSON or protobuf.
    #[error("the answer is no metrics page in text format (is the path right?)")]
    NotMetrics,
    /// Not UTF-8.
    #[error("the metrics page is not UTF-8 text")]
    NotText,
    /// The end is missing.
    #[error("the metrics page is cut off")]
    Cut,
    /// A line that no parser of this format accepts.
    #[error("line {line} of the metrics page {what}")]
    Malformed {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// NaN, infinite, negative or above 2⁵³.
    #[error("{metric} counts {value}, which is no count")]
    NotACount {
        /// The metric.
        metric: String,
        /// Its value.
        value: String,
    },
    /// Which of the two is right, nobody can tell.
    #[error("{metric} has the same series twice")]
    Twice {
        /// The metric.
        metric: String,
    },
    /// More than 10 000 series that count.
    #[error("{metric} has more than 10 000 series (a label with unbounded values?)")]
    TooManySeries {
        /// The metric.
        metric: String,
    },
}

/// Reads one pod's page.
///
/// # Errors
/// Why it says nothing; nothing of it may be used then.
pub fn read(body: &[u8], content_type: &str, reading: &Reading) -> Result<Counters, Unmeasured> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Unmeasured::TooLarge);
    }
    let mut page = Page::new(reading);
    for line in Exposition::new(body, content_type)?.lines() {
        match line? {
            Line::Declared(name) => page.declared(name),
            Line::Sample(sample) => page.sample(&sample, 1)?,
        }
    }
    Ok(page.counters())
}

/// What has been read of the metrics that some convention knows.
pub(super) struct Page<'a> {
    reading: &'a Reading,
    said_anything: bool,
    tallies: BTreeMap<Source, Tally>,
    /// Failures that have a counter of their own.
    failures: Tally,
    seen: BTreeSet<u64>,
    pressure: Pressure,
}

impl<'a> Page<'a> {
    /// Nothing has been read yet.
    pub(super) fn new(reading: &'a Reading) -> Self {
        Self {
            reading,
            said_anything: false,
            tallies: BTreeMap::new(),
            failures: Tally::default(),
            seen: BTreeSet::new(),
            pressure: Pressure::default(),
        }
    }

    fn declared(&mut self, name: &str) {
        let counter = |given: &str| given == name || given.strip_suffix("_total") == Some(name);
        if let Some(names) = &self.reading.custom {
            if counter(&names.requests) {
                self.tally(Source::Custom).declared = true;
            }
            if matches!(&names.failures, Told::Metric(metric) if counter(metric)) {
                self.failures.declared = true;
            }
        } else if let Some(source) = rules::declared(name) {
            self.tally(source).declared = true;
        }
    }

    fn tally(&mut self, source: Source) -> &mut Tally {
        self.tallies.entry(source).or_default()
    }

    /// A series, or a sum of several.
    pub(super) fn sample(&mut self, sample: &Sample<'_>, series: u64) -> Result<(), Unmeasured> {
        let name = sample.name.as_ref();
        self.pressure.take(name, sample.value);
        self.said_anything = true;
        let known = match &self.reading.custom {
            Some(names) => custom_part(names, name),
            None => rules::part(name),
        };
        let Some((source, part, rule)) = known else { return Ok(()) };
        if rule
            .only
            .is_some_and(|(label, begins)| !begins.iter().any(|own| sample.label(label).is_some_and(|value| value.starts_with(own))))
        {
            self.tally(source).passed_over = true;
            return Ok(());
        }
        let metric = || name.to_owned();
        if self.seen.len() >= MAX_SERIES {
            return Err(Unmeasured::TooManySeries { metric: metric() });
        }
        if !self.seen.insert(identity(sample)) {
            return Err(Unmeasured::Twice { metric: metric() });
        }
        if !(0.0..=MAX_COUNT).contains(&sample.value) {
            return Err(Unmeasured::NotACount { metric: metric(), value: sample.value.to_string() });
        }
        let told = self.reading.custom.as_ref().map(|names| &names.failures);
        let tally = if part == Part::Failures { &mut self.failures } else { self.tallies.entry(source).or_default() };
        tally.time(sample.at_milliseconds);
        match (part, told) {
            (Part::Bucket, _) => tally.bucket(sample, rule.unit, series),
            (Part::Failures, _) => tally.count(FAILED, sample.value),
            (Part::Requests, Some(Told::Metric(_))) => tally.count(0, sample.value),
            (Part::Requests, Some(Told::Label(label, pattern))) => {
                let failed = pattern.is_match(sample.label(label).unwrap_or_default());
                tally.count(if failed { FAILED } else { 0 }, sample.value);
            }
            (Part::Requests, None) => tally.requests(sample, rule),
        }
        Ok(())
    }

    /// The counters by the convention that fits.
    pub(super) fn counters(self) -> Counters {
        let failing = self.reading.failing.clone();
        let sources = if self.reading.custom.is_some() { &[Source::Custom] } else { Source::of(self.reading.convention) };
        let found = || sources.iter().filter_map(|source| Some((*source, self.tallies.get(source)?)));
        // A family with series goes before one that is only declared.
        let fitting = || found().filter(|(_, tally)| tally.fits());
        let chosen = fitting().find(|(_, tally)| tally.any_requests).or_else(|| fitting().next());
        let Some((source, requests)) = chosen.filter(|_| self.failures_are_told()) else {
            let fault = found().find_map(|(_, tally)| tally.fault().map(ToOwned::to_owned));
            return Counters {
                missing: Some(fault.unwrap_or_else(|| self.nothing_found(sources))),
                failing,
                pressure: self.pressure,
                ..Counters::default()
            };
        };
        let beside = if source == Source::RequestsTotal { Source::RequestDuration } else { source };
        let histogram = self.tallies.get(&beside);
        let (buckets, timed) = histogram.map(Tally::histogram).unwrap_or_default();
        let ages = [requests.oldest, self.failures.oldest, histogram.and_then(|histogram| histogram.oldest)];
        let own = matches!(&self.reading.custom, Some(Names { failures: Told::Metric(_), .. }));
        let sum = requests.by_status.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        Counters {
            source: Some(source),
            missing: None,
            by_status: if own { self.failures.by_status.clone() } else { requests.by_status.clone() },
            total: own.then_some(sum),
            failing,
            buckets,
            timed,
            at: ages.into_iter().flatten().min(),
            pressure: self.pressure,
        }
    }

    /// Failures that have a counter of their own are known of; without it a misspelt name would read as "no failures".
    fn failures_are_told(&self) -> bool {
        let own = matches!(&self.reading.custom, Some(Names { failures: Told::Metric(_), .. }));
        !own || self.failures.any_requests || self.failures.declared
    }

    fn nothing_found(&self, sources: &[Source]) -> String {
        if let Some(names) = &self.reading.custom {
            let requests = self.tallies.get(&Source::Custom).is_some_and(|tally| tally.any_requests || tally.declared);
            return match &names.failures {
                Told::Metric(metric) if requests => format!("no {metric}, which is to count failures"),
                _ => format!("no {}, which is to count requests", names.requests),
            };
        }
        let passed_over = |(source, tally): (&Source, &Tally)| (tally.passed_over && sources.contains(source)).then_some(*source);
        if let Some(source) = self.tallies.iter().find_map(passed_over) {
            return format!("{source} has no series of this service's own incoming requests{}", hint(source));
        }
        let names: Vec<_> = rules::KNOWN.iter().filter(|(source, _)| sources.contains(source)).map(|(_, name)| *name).collect();
        let wanted = match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        };
        let found = if self.said_anything { "other metrics only" } else { "no series at all" };
        format!("no {wanted}; {found}")
    }
}

/// By what such series would be known.
fn hint(source: Source) -> &'static str {
    match source {
        Source::Istio => " (reporter=\"destination\")",
        Source::Linkerd => " (direction=\"inbound\")",
        Source::Envoy => " (envoy_cluster_name beginning with \"local\" or \"inbound\"): name its cluster so, or use custom",
        _ => "",
    }
}

/// What a series of this name is by the names that the spec gives.
fn custom_part(names: &Names, name: &str) -> Option<(Source, Part, &'static Rule)> {
    let rule = match names.buckets.as_deref() {
        Some(base) if base.ends_with("_milliseconds") || base.ends_with("_ms") => &rules::CUSTOM_MILLISECONDS,
        _ => &rules::CUSTOM_SECONDS,
    };
    let part = if name == names.requests {
        Part::Requests
    } else if matches!(&names.failures, Told::Metric(metric) if metric == name) {
        Part::Failures
    } else if names.buckets.is_some() && name.strip_suffix("_bucket") == names.buckets.as_deref() {
        Part::Bucket
    } else {
        return None;
    };
    Some((Source::Custom, part, rule))
}

/// A number for the series, whatever the order of its labels.
fn identity(sample: &Sample<'_>) -> u64 {
    let mut labels: Vec<_> = sample.labels.iter().collect();
    labels.sort();
    let mut hasher = DefaultHasher::new();
    (&sample.name, labels).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod every_convention;
#[cfg(test)]
mod tests;
