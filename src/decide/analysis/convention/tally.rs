//! Sums over the series of one family.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::decide::analysis::component::whole;
use crate::decide::analysis::exposition::Sample;

/// Microseconds in a second.
const MICROSECONDS: f64 = 1e6;
/// gRPC codes that are the server's failure: Unknown, `DeadlineExceeded`, Unimplemented, Internal, Unavailable, `DataLoss`.
const GRPC_FAILURES: [u16; 6] = [2, 4, 12, 13, 14, 15];

/// How the series of a family are read.
pub struct Rule {
    /// Labels that may hold the status; the first that is there counts.
    status: &'static [&'static str],
    /// The status is a gRPC code.
    grpc: bool,
    /// A series without a status is a request to which none was sent (OpenTelemetry); `error_type` makes it a failure.
    may_lack_status: bool,
    /// Microseconds in the unit of `le`.
    unit: f64,
}

/// `http_server_request_duration_seconds`.
pub const OPEN_TELEMETRY_HTTP: Rule =
    Rule { status: &["http_response_status_code", "http_status_code"], grpc: false, may_lack_status: true, unit: MICROSECONDS };
/// `rpc_server_duration_milliseconds`.
pub const OPEN_TELEMETRY_RPC: Rule = Rule { status: &["rpc_grpc_status_code"], grpc: true, may_lack_status: true, unit: 1000.0 };
/// `rpc_server_duration_seconds`.
pub const OPEN_TELEMETRY_RPC_SECONDS: Rule = Rule { unit: MICROSECONDS, ..OPEN_TELEMETRY_RPC };
/// `http_requests_total`, `http_request_duration_seconds`.
pub const PROM_CLIENT: Rule =
    Rule { status: &["code", "status", "status_code", "http_status"], grpc: false, may_lack_status: false, unit: MICROSECONDS };

/// Sums over the series of one family.
#[derive(Default)]
pub struct Tally {
    /// A `TYPE` or `HELP` line names it.
    pub declared: bool,
    /// It has at least one series that counts requests.
    pub any_requests: bool,
    /// Requests by status.
    pub by_status: BTreeMap<u16, u64>,
    /// The oldest time given.
    pub oldest: Option<Timestamp>,
    /// Per bound: the sum, and how many series have it.
    buckets: BTreeMap<u64, (u64, usize)>,
    /// The same for the bound +Inf.
    all: (u64, usize),
    fault: Option<String>,
}

impl Tally {
    /// Why it cannot be used, in words.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Takes a series' own time into account.
    pub fn time(&mut self, milliseconds: Option<i64>) {
        // A time that no calendar has is as old as can be: the sample is then too old to be used.
        let at = milliseconds.map(|at| Timestamp::from_millisecond(at).unwrap_or(Timestamp::MIN));
        self.oldest = [self.oldest, at].into_iter().flatten().min();
    }

    /// A series that counts requests.
    pub fn requests(&mut self, sample: &Sample<'_>, rule: &Rule) {
        self.any_requests = true;
        let label = rule.status.iter().find_map(|label| sample.label(label));
        let status = match label {
            None if rule.may_lack_status => Some(if sample.label("error_type").is_some() { 500 } else { 0 }),
            None => None,
            Some(text) => parse_status(text, rule.grpc),
        };
        let Some(status) = status else {
            self.fault = Some(match label {
                None => format!("{} has no label {}", sample.name, rule.status.join(", ")),
                Some(text) => {
                    format!("{} has the status \"{}\", which is no status", sample.name, text.chars().take(40).collect::<String>())
                }
            });
            return;
        };
        let sum = self.by_status.entry(status).or_default();
        *sum = sum.saturating_add(whole(sample.value));
    }

    /// A series that counts requests up to a bound.
    pub fn bucket(&mut self, sample: &Sample<'_>, rule: &Rule) {
        let Some(bound) = sample.label("le").and_then(|le| le.parse::<f64>().ok()).filter(|le| *le > 0.0) else { return };
        let bucket = if bound.is_infinite() { &mut self.all } else { self.buckets.entry(whole((bound * rule.unit).round())).or_default() };
        *bucket = (bucket.0.saturating_add(whole(sample.value)), bucket.1 + 1);
    }

    /// Requests up to each bound that all series have, and all requests whose time was taken.
    pub fn histogram(&self) -> (BTreeMap<u64, u64>, u64) {
        let (all, series) = self.all;
        let common = self.buckets.iter().filter(|(_, (_, having))| *having == series);
        (common.map(|(bound, (sum, _))| (*bound, *sum)).collect(), all)
    }
}

/// "503", "5xx" (its lowest), a gRPC code; `None` if it is no status.
fn parse_status(text: &str, grpc: bool) -> Option<u16> {
    if grpc {
        let code = text.parse::<u16>().ok().filter(|code| *code <= 16)?;
        return Some(if GRPC_FAILURES.contains(&code) { 500 + code } else { code });
    }
    if let [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] = text.as_bytes() {
        return Some(u16::from(class - b'0') * 100);
    }
    text.parse::<u16>().ok().filter(|status| *status <= 999 && text.len() <= 3)
}
