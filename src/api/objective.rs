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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = rules::CONVENTION)]
#[x_kube(validation = rules::PROVIDER)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Read them from this Prometheus instead of from the pods: one that the operator knows under this name. It has to scrape the pods with the
    /// labels `namespace` and `pod`. Port and path are its own affair then. A measurement takes at least 15 seconds.
    /// Default: none, so the pods themselves are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub provider: Option<String>,
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
    /// Statuses that are failures, such as `"429"`, and classes such as `"5xx"`. Where it is given it is the whole list. gRPC codes, and failures
    /// without a status, count as before. Default: 500 and above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 3), regex(pattern = "^[1-5]([0-9]{2}|xx)$")))]
    pub failure_status: Vec<String>,
    /// Names of the app's own, where no convention fits. Instead of `convention`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Custom>,
}

/// Names by which requests, failures and latency are known. `auto`: found out from the metrics, and said in status. `promClient`:
/// `http_requests_total` or `http_request_duration_seconds`, with the status in `code`, `status`, `status_code` or `http_status`.
/// `openTelemetry`: `http_server_request_duration_seconds` with `http_response_status_code`, `rpc_server_duration`. `micrometer`:
/// `http_server_requests_seconds` with `status` and `outcome`. `grpc`: `grpc_server_handled_total` with `grpc_code`. `istio`, `linkerd`, `envoy`:
/// the sidecar's `istio_requests_total`, `response_total` or `envoy_cluster_upstream_rq`, incoming requests only. Default: `auto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Convention {
    /// Recognised from the metrics themselves.
    #[default]
    Auto,
    /// `http_requests_total` or `http_request_duration_seconds`, with the status in `code`, `status`, `status_code` or `http_status`.
    PromClient,
    /// `http_server_request_duration_seconds` with `http_response_status_code`, `rpc_server_duration` with `rpc_grpc_status_code`.
    OpenTelemetry,
    /// `http_server_requests_seconds` with `status` and `outcome`.
    Micrometer,
    /// `grpc_server_handled_total` with `grpc_code`.
    Grpc,
    /// `istio_requests_total` with `response_code`, reported by the destination.
    Istio,
    /// `response_total` with `classification`, inbound.
    Linkerd,
    /// `envoy_cluster_upstream_rq` with `envoy_response_code`, of clusters whose name begins with `local` or `inbound`.
    Envoy,
}

/// Names of the app's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Custom {
    /// The counter of all requests.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub requests: String,
    /// How failures are told.
    pub failures: Failures,
    /// The histogram of durations, for `latency` objectives: in milliseconds if its name ends in `_milliseconds` or `_ms`, else in seconds.
    /// Default: none, so latency is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub buckets: Option<String>,
}

/// How failures are told: by a counter of their own, or by a label of the requests. Set `metric`, or `label` and `matches`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = rules::FAILURES)]
#[serde(rename_all = "camelCase")]
pub struct Failures {
    /// A counter of the failed requests. Until the app shows it, nothing is known of failures, and no step passes. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub metric: Option<String>,
    /// A label of the counter of requests. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub label: Option<String>,
    /// Regular expression (RE2) that the label's whole value matches where the requests failed: `5..|timeout`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub matches: Option<String>,
}

/// One thing that must hold for the app to be healthy. Set exactly one of `errorRate`, `latency` and `promql`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = rules::OBJECTIVE)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// Name of the objective, used in status and messages.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Share of the requests that may fail. A request has failed when its status is 500 or above, unless `failureStatus` says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<ErrorRate>,
    /// Time within which a share of the requests must be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// A number of your own, asked of a Prometheus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promql: Option<PromQl>,
}

/// A query whose answer, one number, keeps a bound. Asked while a step or the bake is watched, from a minute after its weight is in force. A step
/// passes when three answers in a row held; a version goes back when `failureLimit` answers in a row failed, or 5 of the last 10. What is no number
/// counts for neither. It has no part in `falseAlarm`: choose the bound so that a good version keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = rules::BOUND)]
#[serde(rename_all = "camelCase")]
pub struct PromQl {
    /// The query. It sees series of this namespace only: `namespace` is added to each of its selectors. `{{revision}}` stands for the new revision;
    /// where it is named, the running revision is asked about too, and what fails on both is held against neither.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
    /// The largest answer that is good, for example `"0.01"`. Default: none, so `atLeast` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 24), regex(pattern = r"^-?[0-9]{1,15}([.][0-9]{1,9})?$"))]
    pub at_most: Option<String>,
    /// The smallest answer that is good, for example `"0.9"`. Default: none, so `atMost` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 24), regex(pattern = r"^-?[0-9]{1,15}([.][0-9]{1,9})?$"))]
    pub at_least: Option<String>,
    /// The Prometheus that is asked: one that the operator knows under this name. Default: `observability.metrics.provider`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub provider: Option<String>,
    /// Seconds between two questions, 10 to 3600. Default: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 3600))]
    pub interval_seconds: Option<i32>,
    /// Answers in a row that send the version back, 1 to 10. Default: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub failure_limit: Option<i32>,
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
