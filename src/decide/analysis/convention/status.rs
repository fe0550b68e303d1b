//! What a series' labels say of its requests: one number, by which failures are told.

use super::reading::FAILED;
use super::rules::Rule;
use crate::decide::analysis::exposition::Sample;

/// No status was sent, or nothing is known of it but that it is no failure.
const NO_STATUS: u16 = 0;
/// gRPC codes by their number.
const CODES: [&str; 17] = [
    "ok",
    "canceled",
    "unknown",
    "invalidargument",
    "deadlineexceeded",
    "notfound",
    "alreadyexists",
    "permissiondenied",
    "resourceexhausted",
    "failedprecondition",
    "aborted",
    "outofrange",
    "unimplemented",
    "internal",
    "unavailable",
    "dataloss",
    "unauthenticated",
];
/// gRPC codes that are the server's failure: Unknown, `DeadlineExceeded`, Unimplemented, Internal, Unavailable, `DataLoss`.
const GRPC_FAILURES: [u16; 6] = [2, 4, 12, 13, 14, 15];

/// How a convention tells what became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// An HTTP status.
    Status,
    /// An HTTP status, or none was sent (OpenTelemetry); `error_type` makes that a failure.
    StatusOrNone,
    /// An HTTP status, or `UNKNOWN` where the answer got lost (Micrometer); `outcome` then tells.
    StatusOrOutcome,
    /// An HTTP status, beside it a gRPC code where gRPC was spoken (Istio).
    StatusAndCode,
    /// A gRPC code.
    Code,
    /// A gRPC code, or none (OpenTelemetry).
    CodeOrNone,
    /// `classification` tells (Linkerd); the status beside it is for `failureStatus`.
    Classification,
}

/// The status of a series' requests: as in HTTP; 0 where none was sent; from [`FAILED`] on failures without a status. gRPC codes are themselves, or
/// [`FAILED`] + code where they are the server's failure.
///
/// # Errors
/// What is missing or wrong, in words.
pub fn status(sample: &Sample<'_>, rule: &Rule) -> Result<u16, String> {
    let label = rule.status.iter().find_map(|label| sample.label(label));
    let missing = || format!("{} has no label {}", sample.name, rule.status.join(", "));
    let wrong =
        |text: &str| format!("{} has the status \"{}\", which is no status", sample.name, text.chars().take(40).collect::<String>());
    let http = |text: &str| parse(text).ok_or_else(|| wrong(text));
    let grpc = |text: &str| code(text).ok_or_else(|| wrong(text));
    let none = || if sample.label("error_type").is_some() { FAILED } else { NO_STATUS };
    match (rule.scheme, label) {
        (Scheme::StatusOrNone | Scheme::CodeOrNone, None) => Ok(none()),
        (Scheme::StatusAndCode, Some(text)) => {
            let status = http(text)?;
            let code = sample.label("grpc_response_status").map(grpc).transpose()?;
            Ok(code.filter(|code| *code != 0 && status == 200).unwrap_or(status))
        }
        (Scheme::StatusOrOutcome, Some(text)) => match (parse(text), sample.label("outcome")) {
            (Some(status), _) => Ok(status),
            (None, Some("SERVER_ERROR")) => Ok(FAILED),
            (None, Some(_)) => Ok(NO_STATUS),
            (None, None) => Err(wrong(text)),
        },
        (Scheme::Classification, _) => match sample.label("classification") {
            Some("success") => label.map_or(Ok(NO_STATUS), http),
            Some("failure") => Ok(FAILED),
            _ => Err(format!("{} has no label classification", sample.name)),
        },
        (Scheme::Code | Scheme::CodeOrNone, Some(text)) => grpc(text),
        (_, Some(text)) => http(text),
        (_, None) => Err(missing()),
    }
}

/// "503", "5xx" (its lowest); `None` if it is no status.
fn parse(text: &str) -> Option<u16> {
    if let [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] = text.as_bytes() {
        return Some(u16::from(class - b'0') * 100);
    }
    text.parse::<u16>().ok().filter(|status| *status <= 999 && text.len() <= 3)
}

/// A gRPC code by number or by name: `Unavailable`, `UNAVAILABLE`, `DEADLINE_EXCEEDED`; `None` if it is none.
fn code(text: &str) -> Option<u16> {
    let number = text.parse::<u16>().ok().filter(|code| *code <= 16);
    let named = || {
        let name: String = text.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect();
        let name = if name == "cancelled" { "canceled" } else { &name };
        CODES.iter().position(|code| *code == name).and_then(|code| u16::try_from(code).ok())
    };
    let code = number.or_else(named)?;
    Some(if GRPC_FAILURES.contains(&code) { FAILED + code } else { code })
}
