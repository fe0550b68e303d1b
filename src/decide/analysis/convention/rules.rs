//! The table of conventions: which metric counts requests, which label tells a failure, in which unit the bounds are.

use super::Source;
use super::status::Scheme;

/// Microseconds in a second.
const SECONDS: f64 = 1e6;
const MILLISECONDS: f64 = 1e3;

/// What a series of a known family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It counts requests.
    Requests,
    /// It counts failures only.
    Failures,
    /// It counts requests up to a bound.
    Bucket,
}

/// How the series of a family are read.
#[derive(Debug)]
pub struct Rule {
    /// Labels that may hold the status; the first that is there counts.
    pub status: &'static [&'static str],
    /// What a status means.
    pub scheme: Scheme,
    /// Microseconds in the unit of `le`.
    pub unit: f64,
    /// Only series whose label begins with one of these are the service's own incoming requests.
    pub only: Option<(&'static str, &'static [&'static str])>,
}

const HTTP: Rule = Rule { status: &["code", "status", "status_code", "http_status"], scheme: Scheme::Status, unit: SECONDS, only: None };
const OPEN_TELEMETRY: Rule =
    Rule { status: &["http_response_status_code", "http_status_code"], scheme: Scheme::StatusOrNone, unit: SECONDS, only: None };
const OPEN_TELEMETRY_MILLISECONDS: Rule = Rule { unit: MILLISECONDS, ..OPEN_TELEMETRY };
const OPEN_TELEMETRY_RPC: Rule = Rule { status: &["rpc_grpc_status_code"], scheme: Scheme::CodeOrNone, unit: SECONDS, only: None };
const OPEN_TELEMETRY_RPC_MILLISECONDS: Rule = Rule { unit: MILLISECONDS, ..OPEN_TELEMETRY_RPC };
const MICROMETER: Rule = Rule { status: &["status"], scheme: Scheme::StatusOrOutcome, unit: SECONDS, only: None };
const GRPC: Rule = Rule { status: &["grpc_code", "code"], scheme: Scheme::Code, unit: SECONDS, only: None };
const ISTIO: Rule = Rule {
    status: &["response_code"],
    scheme: Scheme::StatusAndCode,
    unit: MILLISECONDS,
    // The same sidecar also reports the requests that the app sends.
    only: Some(("reporter", &["destination"])),
};
const LINKERD: Rule =
    Rule { status: &["status_code"], scheme: Scheme::Classification, unit: MILLISECONDS, only: Some(("direction", &["inbound"])) };
const ENVOY: Rule = Rule {
    status: &["envoy_response_code"],
    scheme: Scheme::Status,
    unit: MILLISECONDS,
    // Local clusters lead to the app beside the proxy, all others are called by it.
    only: Some(("envoy_cluster_name", &["local", "inbound"])),
};
/// The names of the service's own: failures are told by [`super::reading::Told`].
pub const CUSTOM_SECONDS: Rule = Rule { status: &[], scheme: Scheme::StatusOrNone, unit: SECONDS, only: None };
/// The same, bounds in milliseconds.
pub const CUSTOM_MILLISECONDS: Rule = Rule { unit: MILLISECONDS, ..CUSTOM_SECONDS };

/// Names of families that count requests, as the sentence about a page without any says them.
pub const KNOWN: [(Source, &str); 9] = [
    (Source::RequestsTotal, "http_requests_total"),
    (Source::RequestDuration, "http_request_duration_seconds"),
    (Source::OpenTelemetry, "http_server_request_duration_seconds"),
    (Source::OpenTelemetry, "rpc_server_duration"),
    (Source::Micrometer, "http_server_requests_seconds"),
    (Source::Grpc, "grpc_server_handled_total"),
    (Source::Istio, "istio_requests_total"),
    (Source::Linkerd, "response_total"),
    (Source::Envoy, "envoy_cluster_upstream_rq"),
];

/// Labels that say whose requests a sidecar's series are.
pub const OWN_LABELS: [&str; 3] = ["reporter", "direction", "envoy_cluster_name"];
/// Those, and all that tell failures.
pub const LABELS: [&str; 17] = [
    "code",
    "status",
    "status_code",
    "http_status",
    "http_response_status_code",
    "http_status_code",
    "error_type",
    "rpc_grpc_status_code",
    "outcome",
    "grpc_code",
    "response_code",
    "grpc_response_status",
    "classification",
    "envoy_response_code",
    "reporter",
    "direction",
    "envoy_cluster_name",
];
const COUNTERS: [&str; 5] =
    ["http_requests_total", "grpc_server_handled_total", "istio_requests_total", "response_total", "envoy_cluster_upstream_rq"];
const HISTOGRAMS: [&str; 10] = [
    "http_server_request_duration_seconds",
    "http_server_duration_milliseconds",
    "rpc_server_duration_seconds",
    "rpc_server_duration_milliseconds",
    "http_request_duration_seconds",
    "http_server_requests_seconds",
    "grpc_server_handling_seconds",
    "istio_request_duration_milliseconds",
    "response_latency_ms",
    "envoy_cluster_upstream_rq_time",
];

/// Names of the series that count the requests of these sources, and of their histograms, which may be native.
pub fn counters(sources: &[Source]) -> Vec<String> {
    let counters = COUNTERS.iter().filter(|name| counter(name).is_some_and(|(source, _)| sources.contains(&source)));
    let counts = |name: &&&str| histogram(name).is_some_and(|(source, _, counts)| counts && sources.contains(&source));
    let counts = HISTOGRAMS.iter().filter(counts).map(|name| format!("{name}_count"));
    counters.map(ToString::to_string).chain(counts).chain(histograms(sources)).collect()
}

/// Names of the series that count a source's requests, with what marks the service's own.
pub fn requests(source: Source) -> Vec<(String, super::reading::Own)> {
    let names = counters(&[source]).into_iter();
    names.filter_map(|name| part(&name).filter(|(_, part, _)| *part == Part::Requests).map(|(.., rule)| (name, rule.only))).collect()
}

/// Names of the histograms of these sources, without `_bucket`.
pub fn histograms(sources: &[Source]) -> Vec<String> {
    let own = |name: &&&str| histogram(name).is_some_and(|(source, ..)| sources.contains(&source));
    HISTOGRAMS.iter().filter(own).map(ToString::to_string).collect()
}

/// What a series of this name is; `None` where no convention knows it.
pub fn part(name: &str) -> Option<(Source, Part, &'static Rule)> {
    if let Some((source, rule)) = counter(name) {
        return Some((source, Part::Requests, rule));
    }
    if let Some(base) = name.strip_suffix("_count") {
        return histogram(base).filter(|(.., counts)| *counts).map(|(source, rule, _)| (source, Part::Requests, rule));
    }
    let (source, rule, _) = histogram(name.strip_suffix("_bucket")?)?;
    Some((source, Part::Bucket, rule))
}

/// The source that a `TYPE` or `HELP` line of this name announces; `OpenMetrics` leaves `_total` away there.
pub fn declared(name: &str) -> Option<Source> {
    let counts = histogram(name).filter(|(.., counts)| *counts).map(|(source, ..)| source);
    counts.or_else(|| counter(name).map(|(source, _)| source)).or(match name {
        "http_requests" => Some(Source::RequestsTotal),
        "grpc_server_handled" => Some(Source::Grpc),
        "istio_requests" => Some(Source::Istio),
        _ => None,
    })
}

fn counter(name: &str) -> Option<(Source, &'static Rule)> {
    Some(match name {
        "http_requests_total" => (Source::RequestsTotal, &HTTP),
        "grpc_server_handled_total" => (Source::Grpc, &GRPC),
        "istio_requests_total" => (Source::Istio, &ISTIO),
        "response_total" => (Source::Linkerd, &LINKERD),
        "envoy_cluster_upstream_rq" => (Source::Envoy, &ENVOY),
        _ => return None,
    })
}

/// A histogram's source and rule, and whether its `_count` tells failures too.
pub fn histogram(base: &str) -> Option<(Source, &'static Rule, bool)> {
    Some(match base {
        "http_server_request_duration_seconds" => (Source::OpenTelemetry, &OPEN_TELEMETRY, true),
        "http_server_duration_milliseconds" => (Source::OpenTelemetry, &OPEN_TELEMETRY_MILLISECONDS, true),
        "rpc_server_duration_seconds" => (Source::OpenTelemetry, &OPEN_TELEMETRY_RPC, true),
        "rpc_server_duration_milliseconds" => (Source::OpenTelemetry, &OPEN_TELEMETRY_RPC_MILLISECONDS, true),
        "http_request_duration_seconds" => (Source::RequestDuration, &HTTP, true),
        "http_server_requests_seconds" => (Source::Micrometer, &MICROMETER, true),
        "grpc_server_handling_seconds" => (Source::Grpc, &GRPC, false),
        "istio_request_duration_milliseconds" => (Source::Istio, &ISTIO, false),
        "response_latency_ms" => (Source::Linkerd, &LINKERD, false),
        "envoy_cluster_upstream_rq_time" => (Source::Envoy, &ENVOY, false),
        _ => return None,
    })
}

/// The histogram that goes with a source, without `_bucket`, for people.
pub const fn histogram_name(source: Source) -> &'static str {
    match source {
        Source::OpenTelemetry => "http_server_request_duration_seconds",
        Source::RequestsTotal | Source::RequestDuration => "http_request_duration_seconds",
        Source::Micrometer => "http_server_requests_seconds",
        Source::Grpc => "grpc_server_handling_seconds",
        Source::Istio => "istio_request_duration_milliseconds",
        Source::Linkerd => "response_latency_ms",
        Source::Envoy => "envoy_cluster_upstream_rq_time",
        Source::Custom => "custom.buckets",
    }
}
