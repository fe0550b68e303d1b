//! `spec.expose`: how users outside of the cluster reach the service, by the Gateway API.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// A route of the Gateway API to this service: an HTTPRoute, or a GRPCRoute, with the service's name. Its backends are the front Service, or, where
/// a canary is divided by `router: gatewayApi` and with `blueGreen`, a Service of each revision, between which weights move.
///
/// The cluster needs the Gateway API (`gateway.networking.k8s.io/v1`) and a Gateway that admits routes of this namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::GRPC_RULES)]
#[x_kube(validation = rules::ENTRANCE)]
pub struct Expose {
    /// The Gateway that takes the requests in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayReference>,
    /// Requests of other workloads in the cluster, in a service mesh that obeys routes of the Gateway API: the route's parent is the Service of this
    /// name, and who calls that is divided between the revisions. Instead of `gateway`. Write `{}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Mesh>,
    /// Host names of the requests that are meant; `*.example.com` means every name below. Default: every host of the Gateway's listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"))
    )]
    pub hostnames: Vec<String>,
    /// Paths of the requests that are meant, for HTTP. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub rules: Vec<PathRule>,
    /// What is spoken: `http` makes an HTTPRoute, `grpc` a GRPCRoute. Default: `http`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<RouteProtocol>,
    /// Name of the port of `spec.ports` that takes the requests. Default: the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub port: Option<String>,
    /// Seconds in which a request has to be answered, 1 to 3600; after that the proxy answers 504. HTTP only. Default: the Gateway's own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,
    /// Seconds that pods go on running after the Gateway has reported that they get no more requests, 0 to 3600: requests under way are answered in
    /// that time. Default: `timeoutSeconds`, and at least 2 for proxies other than the one that reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub drain_seconds: Option<i32>,
}

/// In a service mesh. Write `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mesh {}

/// A Gateway of this namespace, or one that the operator was told of by this name (`gateways` of its chart), wherever that is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// One of its listeners, for example the one that ends TLS. Default: every listener that admits the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub section_name: Option<String>,
}

/// Requests by their path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathRule {
    /// The path and everything below it: `/v1` means `/v1` and `/v1/orders`, not `/v10`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[-A-Za-z0-9/._~!$&'()*+,;=:@%]*$"))]
    pub path: String,
}

/// What is spoken on a route: `http` makes an HTTPRoute, `grpc` a GRPCRoute. Default: `http`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RouteProtocol {
    /// HTTP/1.1 and HTTP/2.
    #[default]
    Http,
    /// gRPC.
    Grpc,
}
