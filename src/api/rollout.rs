//! `spec.rollout`: how a new revision takes the place of the old one.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use super::gates::{Freeze, Gate, Window};
use super::rules;
use super::values::IntOrPercent;

/// How a new revision takes the place of the old one. Every field has a default; the section may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = rules::BLUE_GREEN_SURGE)]
#[x_kube(validation = rules::BLUE_GREEN_GATES)]
#[x_kube(validation = rules::BAKE_CONTROL)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// The way of going from the old revision to the new one. Default: `rolling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// How the new revision is compared with the running one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Seconds for which the old revision is kept able to take everything back after the new one has got all it shall get, 0 to 86400.
    /// Default: 300 with objectives, 60 without.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub bake_seconds: Option<i32>,
    /// Seconds without one more pod becoming ready after which a revision has failed to start, 10 to 86400. A step may take this long beyond
    /// its soak before `analysis.onNoEvidence` decides. Default: 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86400))]
    pub progress_deadline_seconds: Option<i32>,
    /// Pods that may exist beyond `replicas` during a rollout: a number, 1 to 1000, or a percentage of the replicas, `"1%"` to `"100%"`, rounded
    /// up to a whole pod. Less than 100% means that going back has to start pods first.
    /// Default: 100% for canary, 25% for rolling; blue-green has 100% and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surge: Option<IntOrPercent>,
    /// What has to be settled before the rollout begins, gets a weight, or is promoted. Default: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub gates: Vec<Gate>,
    /// Times of the week in which a rollout may begin, take a step or be promoted. Going back needs none, and a bake ends at any time. The very
    /// first revision comes up at any time. Default: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
    /// Times in which no rollout begins, takes a step or is promoted, whatever the windows say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub freezes: Vec<Freeze>,
}

/// One of `canary`, `rolling` and `blueGreen`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.canary) ? 1 : 0) + (has(self.rolling) ? 1 : 0) + (has(self.blueGreen) ? 1 : 0) == 1",
    "message": "a strategy is one of canary, rolling and blueGreen: set exactly one",
}]))]
pub enum Strategy {
    /// A little traffic first, then more, in steps, each of which has to be passed.
    Canary(Canary),
    /// Slice by slice, each of the size of the surge, with a short look at each.
    Rolling(Rolling),
    /// All at once: the new revision is brought up beside the old one, seen by a preview Service only, and then gets everything in one switch.
    BlueGreen(BlueGreen),
}

/// All at once. Users never meet two versions. Service `<service>-preview` reaches the new revision from its first ready pod until the rollout is
/// over; gates `at: start` stand before the switch, so that tests can be run against it. Needs room for twice the pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlueGreen {
    /// Pods of the new revision while only the preview reaches it: a number, 1 to 1000, or a percentage of the replicas, `"1%"` to `"100%"`,
    /// rounded up, at most the replicas. For the switch it always has all of them. Default: 100%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_replicas: Option<IntOrPercent>,
    /// Who reaches the preview from outside. Default: nobody, it has a Service in the cluster only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Seconds for which the new revision is watched behind the preview before the switch, 0 to 86400. Evidence is not needed there, since no user is
    /// sent; what the preview's own traffic shows counts. Default: 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub soak_seconds: Option<i32>,
}

/// A host name at which the Gateway of `expose` leads to the new revision before the switch: a route of its own, `<service>-preview`, for as long as
/// the preview Service is there. Whoever knows the name reaches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The host name, other than those of `expose.hostnames`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"))]
    pub hostname: String,
}

/// A little traffic first, then more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::MATCH)]
#[x_kube(validation = rules::STEP_REPLICAS)]
#[x_kube(validation = rules::ROUTE_REF)]
#[x_kube(validation = rules::BY_ROUTER)]
#[x_kube(validation = rules::MIRROR)]
pub struct Canary {
    /// What divides the traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,
    /// The steps, weights rising. Default: chosen automatically: 5, 10, 25 and 50 percent, 30 seconds each, without those that would teach
    /// nothing: below 25 percent where that is less than one request in two seconds, and what asks for the same pods as the step before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = rules::STEPS)]
    pub steps: Vec<Step>,
    /// A route of your own in which the weights are moved, instead of one that `expose` makes. For `router: gatewayApi`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route_ref: Option<RouteReference>,
    /// Requests that the new revision gets whatever the step's weight, from its first ready pod on until it is promoted or taken back: those of
    /// testers. Any of the entries will do. For `router: gatewayApi`. Default: none.
    #[serde(rename = "match", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<RequestMatch>,
    /// Percent of the requests, 1 to 100, of which copies are sent to the new revision before its first weight; the answers are thrown away. Whatever a
    /// request does it does twice then: only for services whose requests may be repeated. Its metrics are judged as ever. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub mirror_percent: Option<i32>,
    /// Seconds for which they are sent at least, 1 to 86400. Default: 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub mirror_seconds: Option<i32>,
    /// A user who has met a revision goes on meeting it. The evidence then comes from fewer users than requests. Default: each request is divided anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<Stickiness>,
}

/// A cookie of the Gateway's own sends a user to the revision that answered first. Needs the experimental channel of the Gateway API
/// (`sessionPersistence`), and a Gateway that obeys it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stickiness {
    /// Name of the cookie.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub cookie: String,
    /// Seconds for which it holds, 1 to 604800. Default: until the browser is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub max_age_seconds: Option<i32>,
}

/// An HTTPRoute or GRPCRoute of this namespace that you own, with a rule that has this service's Service as a backend, and with the label
/// `plimsoll.dev/service: <this service>`: by that its owner agrees. While a revision is rolled out, the Services of both revisions stand
/// beside that backend and share its weight; nothing else in the route is touched, and afterwards it is as you wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<RouteKind>,
    /// Seconds that pods go on running after every parent of the route has reported that they get no more requests, 0 to 3600: requests under way
    /// are answered in that time. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub drain_seconds: Option<i32>,
}

/// `HTTPRoute` or `GRPCRoute`. Default: `HTTPRoute`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RouteKind {
    /// HTTP/1.1 and HTTP/2.
    #[default]
    #[serde(rename = "HTTPRoute")]
    Http,
    /// gRPC.
    #[serde(rename = "GRPCRoute")]
    Grpc,
}

/// Requests by what they carry. Set exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.header) ? 1 : 0) + (has(self.cookie) ? 1 : 0) + (has(self.query) ? 1 : 0) == 1",
    "message": "a request is known by one of header, cookie and query: set exactly one, and more entries for more",
}]))]
pub enum RequestMatch {
    /// A header, in whatever case its name is written.
    Header(Named),
    /// A cookie. HTTP only; the Gateway has to support headers by regular expression, which is checked by sending requests, not by its word.
    Cookie(Named),
    /// A parameter of the query. HTTP only.
    Query(Named),
}

/// A name and the value that it has to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Named {
    /// The name.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub name: String,
    /// The whole value, as it is sent.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9._~-]+$"))]
    pub exact: String,
}

/// What divides the traffic between two revisions. `none`: nothing but the front Service over the pods of both, so the share is the ratio of
/// ready pods; kube-proxy balances connections, not requests. `gatewayApi`: the weights of the route that `spec.expose` describes, request by
/// request. Default: `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Router {
    /// The front Service over the pods of both revisions: the share is the ratio of ready pods. kube-proxy balances connections, not requests.
    #[default]
    None,
    /// The weights of the route that `spec.expose` describes: requests are divided one by one, as finely as a percent. A soak begins when every
    /// Gateway of the route has reported the weight. Callers inside the cluster, by the front Service, meet the stable revision only.
    GatewayApi,
}

/// One step of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Percent of the traffic that the new revision gets at least, 1 to 99.
    #[schemars(range(min = 1, max = 99))]
    pub weight: i32,
    /// Seconds for which the step is watched, from the moment on which the weight is seen to be in force, 0 to 86400. Default: 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub soak_seconds: Option<i32>,
    /// Pods of the new revision in this step, where its share needs fewer: a number, 1 to 1000, or a percentage of the replicas, `"1%"` to `"100%"`,
    /// rounded up, at most the replicas. For `router: gatewayApi`. Default: what its share needs, and 2 where the surge has room for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<IntOrPercent>,
}

/// Slice by slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rolling {
    /// Seconds for which each slice is watched once it is ready, 0 to 3600. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub soak_seconds: Option<i32>,
}
