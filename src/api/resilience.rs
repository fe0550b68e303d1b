//! `spec.resilience`: what a router does about requests that fail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the route of `expose` does about requests that fail. A retry hides a failure from the user, not from the judge: each try counts in the metrics of the
/// pod that answered it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resilience {
    /// Failed requests are sent again. Default: the Gateway's own habit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
}

/// Failed requests are sent again by the proxy. HTTP only. Whether a Gateway does so only traffic shows: where its `GatewayClass` does not list
/// `HTTPRouteRetryCodes`, the condition `RoutesAccepted` says that it is not proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Further tries of one request, 1 to 10.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: i32,
    /// Seconds in which one try has to be answered, 1 to 3600. Default: no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub per_try_timeout_seconds: Option<i32>,
    /// Milliseconds before a further try, 1 to 60000. Default: the Gateway's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub backoff_milliseconds: Option<i32>,
    /// Answers after which a request is sent again; connections that break as well, as the Gateway does it. Default: 502, 503 and 504.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 400, max = 599)), extend("x-kubernetes-list-type" = "set"))]
    pub codes: Vec<i32>,
}
