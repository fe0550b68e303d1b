//! From a metrics page to one pod's counters: which metric counts requests, which label tells a failure.
//!
//! `auto` tries the conventions in the order of their specificity and says which one fits, or in words what is missing.
//! Whatever cannot be told for certain (a status that is no status, a counter that is NaN, the same series twice) makes
//! the page unusable; it is never read as "fewer failures".

mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

use super::exposition::{Exposition, Line, Sample};
use tally::Tally;

/// The largest page that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The most series of the metrics that count; a service with more has a label of unbounded values.
const MAX_SERIES: usize = 10_000;
/// The largest count that an f64 holds exactly, 2⁵³.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;
/// The least status that is a failure.
const FIRST_FAILURE: u16 = 500;

pub use crate::api::objective::Convention;

/// Where the request counts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `http_server_request_duration_seconds` and `rpc_server_duration_…`.
    OpenTelemetry,
    /// `http_requests_total`.
    RequestsTotal,
    /// `http_request_duration_seconds_count`.
    RequestDuration,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenTelemetry => "openTelemetry (http_server_request_duration_seconds)",
            Self::RequestsTotal => "promClient (http_requests_total)",
            Self::RequestDuration => "promClient (http_request_duration_seconds)",
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
    /// Requests by status; 0 where none was sent. gRPC codes: 500 + code where the code is the server's failure.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests that took at most so many microseconds; only bounds that every series has.
    pub buckets: BTreeMap<u64, u64>,
    /// Requests whose time was taken.
    pub timed: u64,
    /// The oldest time that the page itself gives for these series.
    pub at: Option<Timestamp>,
}

impl Counters {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.by_status.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Requests with a status ≥ 500.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.by_status.range(FIRST_FAILURE..).fold(0, |sum, (_, count)| sum.saturating_add(*count))
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
pub fn read(body: &[u8], content_type: &str, convention: Convention) -> Result<Counters, Unmeasured> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Unmeasured::TooLarge);
    }
    let mut page = Page::default();
    for line in Exposition::new(body, content_type)?.lines() {
        match line? {
            Line::Declared(name) => page.declared(name),
            Line::Sample(sample) => page.sample(&sample)?,
        }
    }
    Ok(page.counters(convention))
}

/// What has been read of the metrics that some convention knows.
#[derive(Default)]
struct Page {
    said_anything: bool,
    open_telemetry: Tally,
    requests_total: Tally,
    request_duration: Tally,
    seen: BTreeSet<u64>,
}

/// What a series of a known family is.
enum Part {
    Requests,
    Bucket,
    Other,
}

impl Page {
    fn declared(&mut self, name: &str) {
        if let Some((tally, _)) = self.family(name) {
            tally.declared = true;
        }
    }

    fn sample(&mut self, sample: &Sample<'_>) -> Result<(), Unmeasured> {
        self.said_anything = true;
        let name = sample.name.as_ref();
        let (base, part) = split(name);
        let Some((_, rule)) = self.family(base).filter(|_| !matches!(part, Part::Other)) else {
            return Ok(());
        };
        let metric = || name.to_owned();
        if !self.seen.insert(identity(sample)) {
            return Err(Unmeasured::Twice { metric: metric() });
        }
        if self.seen.len() > MAX_SERIES {
            return Err(Unmeasured::TooManySeries { metric: metric() });
        }
        if !(0.0..=MAX_COUNT).contains(&sample.value) {
            return Err(Unmeasured::NotACount { metric: metric(), value: sample.value.to_string() });
        }
        let Some((tally, _)) = self.family(base) else { return Ok(()) };
        tally.time(sample.at_milliseconds);
        match part {
            Part::Bucket => tally.bucket(sample, rule),
            Part::Requests => tally.requests(sample, rule),
            Part::Other => {}
        }
        Ok(())
    }

    fn family(&mut self, base: &str) -> Option<(&mut Tally, &'static tally::Rule)> {
        Some(match base {
            "http_server_request_duration_seconds" => (&mut self.open_telemetry, &tally::OPEN_TELEMETRY_HTTP),
            "rpc_server_duration_milliseconds" => (&mut self.open_telemetry, &tally::OPEN_TELEMETRY_RPC),
            "rpc_server_duration_seconds" => (&mut self.open_telemetry, &tally::OPEN_TELEMETRY_RPC_SECONDS),
            "http_requests_total" | "http_requests" => (&mut self.requests_total, &tally::PROM_CLIENT),
            "http_request_duration_seconds" => (&mut self.request_duration, &tally::PROM_CLIENT),
            _ => return None,
        })
    }

    fn counters(self, convention: Convention) -> Counters {
        let open_telemetry = (Source::OpenTelemetry, &self.open_telemetry);
        let total = (Source::RequestsTotal, &self.requests_total);
        let duration = (Source::RequestDuration, &self.request_duration);
        let sources = match convention {
            Convention::Auto => vec![open_telemetry, total, duration],
            Convention::PromClient => vec![total, duration],
            Convention::OpenTelemetry => vec![open_telemetry],
        };
        let fits = |(_, tally): &&(Source, &Tally)| tally.fault().is_none();
        // A family with series goes before one that is only declared.
        let chosen = sources
            .iter()
            .filter(fits)
            .find(|(_, tally)| tally.any_requests)
            .or_else(|| sources.iter().filter(fits).find(|(_, tally)| tally.declared));
        let Some((source, requests)) = chosen else {
            let fault = sources.iter().find_map(|(_, tally)| tally.fault().map(ToOwned::to_owned));
            return Counters { missing: Some(fault.unwrap_or_else(|| self.nothing_found(convention))), ..Counters::default() };
        };
        let histogram = if *source == Source::OpenTelemetry { &self.open_telemetry } else { &self.request_duration };
        let (buckets, timed) = histogram.histogram();
        Counters {
            source: Some(*source),
            missing: None,
            by_status: requests.by_status.clone(),
            buckets,
            timed,
            at: [requests.oldest, histogram.oldest].into_iter().flatten().min(),
        }
    }

    fn nothing_found(&self, convention: Convention) -> String {
        let wanted = match convention {
            Convention::Auto => {
                "http_requests_total, http_request_duration_seconds, http_server_request_duration_seconds or rpc_server_duration"
            }
            Convention::PromClient => "http_requests_total or http_request_duration_seconds",
            Convention::OpenTelemetry => "http_server_request_duration_seconds or rpc_server_duration",
        };
        let found = if self.said_anything { "other metrics only" } else { "no series at all" };
        format!("no {wanted}; {found}")
    }
}

/// A series' family and its part in it.
fn split(name: &str) -> (&str, Part) {
    if name == "http_requests_total" {
        (name, Part::Requests)
    } else if let Some(base) = name.strip_suffix("_count") {
        (base, Part::Requests)
    } else if let Some(base) = name.strip_suffix("_bucket") {
        (base, Part::Bucket)
    } else {
        (name, Part::Other)
    }
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
mod tests;
