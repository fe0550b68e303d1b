//! `spec.health`: probes, drain and grace period.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// Probes, drain and grace period. What is absent has a default; there is no liveness probe unless one is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = rules::DRAIN)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// Has the app started? Nothing else is probed before. Default: a TCP connection to the first TCP
    /// port, every 2 seconds, 150 tries; without one, no probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// May the pod get traffic? Default: a TCP connection to the first TCP port, every 5 seconds, 3 tries; without one,
    /// no probe, and a running pod is a ready one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Must the container be restarted? Default: no probe. A liveness probe that tests a dependency turns its outage into yours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// Seconds a pod that is to end waits, still answering, while it is taken out of the endpoints; then comes SIGTERM. 0 to 300. Default: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 300))]
    pub drain_seconds: Option<i32>,
    /// Seconds from the end's announcement to SIGKILL, the drain included, 1 to 3600. Must be more than the drain. Default: 45.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub termination_grace_seconds: Option<i32>,
}

/// One probe. Set exactly one of `httpGet`, `tcpSocket`, `grpc` and `exec`; there is no `host` field on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = (
    "(has(self.httpGet) ? 1 : 0) + (has(self.tcpSocket) ? 1 : 0) + (has(self.grpc) ? 1 : 0) + (has(self.exec) ? 1 : 0) == 1",
    "a probe is one of httpGet, tcpSocket, grpc and exec: set exactly one"
))]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// An HTTP GET; 200 to 399 is success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGet>,
    /// A TCP connection; accepted is success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocket>,
    /// The gRPC health protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<Grpc>,
    /// A command inside the container; exit code 0 is success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
    /// Seconds between two tries, 1 to 3600. Default: 2 for startup, 5 for readiness, 10 for liveness.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub period_seconds: Option<i32>,
    /// Seconds after which a try without an answer has failed, 1 to 600. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: Option<i32>,
    /// Failed tries in a row that count, 1 to 1000. Default: 150 for startup, 3 for readiness and liveness.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: Option<i32>,
    /// Seconds before the first try, 0 to 3600. Default: 0. A startup probe is usually better.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub initial_delay_seconds: Option<i32>,
}

/// An HTTP GET to the pod itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpGet {
    /// Path, with its leading slash. Default: `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/\S*$"))]
    pub path: Option<String>,
    /// Name of a port out of `ports`. Default: the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub port: Option<String>,
    /// Plain or over TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
}

/// `HTTP`, or `HTTPS`, whose certificate is not checked. Default: `HTTP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// A TCP connection to the pod itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpSocket {
    /// Name of a port out of `ports`. Default: the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub port: Option<String>,
}

/// The gRPC health protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grpc {
    /// Name of a port out of `ports`. Default: the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub port: Option<String>,
    /// Service name in the health request. Default: empty, the whole server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service: Option<String>,
}

/// A command inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// The command and its arguments; no shell is involved.
    #[schemars(length(min = 1, max = 32), inner(length(max = 1024)))]
    pub command: Vec<String>,
}
