//! `spec.observability` and `spec.objectives`: where the numbers come from and what they must be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Where the app's own metrics are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observability {
    /// The app's own Prometheus metrics, read by plimsoll directly from each pod during a rollout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
}

/// The app's own Prometheus metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Name of the port, out of `ports`. Default: the port called `metrics`, else the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub port: Option<String>,
    /// Path of the metrics. Default: `/metrics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^/[^\s?#]*$"))]
    pub path: Option<String>,
    /// Names by which requests, failures and latency are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convention: Option<Convention>,
}

/// Names by which requests, failures and latency are known. `auto`: found out from the metrics, and said in status. `promClient`:
/// `http_requests_total` or `http_request_duration_seconds`, with the status in `code`, `status`, `status_code` or `http_status`.
/// `openTelemetry`: `http_server_request_duration_seconds` with `http_response_status_code`. Default: `auto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Convention {
    /// Recognised from the metrics themselves.
    #[default]
    Auto,
    /// `http_requests_total` or `http_request_duration_seconds`, with the status in `code`, `status`, `status_code` or `http_status`.
    PromClient,
    /// `http_server_request_duration_seconds` with `http_response_status_code`.
    OpenTelemetry,
}

/// One thing that must hold for the app to be healthy. Set exactly one of `errorRate` and `latency`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = ("has(self.errorRate) != has(self.latency)", "an objective is one of errorRate and latency: set exactly one"))]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// Name of the objective, used in status and messages.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Share of the requests that may fail. A request has failed when its status is 500 or above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<ErrorRate>,
    /// Time within which a share of the requests must be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// Share of the requests that may fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorRate {
    /// The share, from 0% to 99%: `"0.5%"` or `"0.005"`.
    #[schemars(length(min = 1, max = 12))]
    #[x_kube(validation = rules::AT_MOST)]
    pub at_most: String,
}

/// Time within which a share of the requests must be answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Percent of the requests that must be answered in time, 50 to 99.
    #[schemars(range(min = 50, max = 99))]
    pub percentile: i32,
    /// The time in milliseconds, 1 to 600000. Only as fine as the app's histogram: the nearest bucket bound is used.
    #[schemars(range(min = 1, max = 600_000))]
    pub at_most_milliseconds: i32,
}
