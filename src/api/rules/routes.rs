//! Rules about routers and routes.

use super::Said;

/// Only a router looks at requests.
pub const MATCH: Said = (
    "!has(self.match) || has(self.router) && self.router == 'gatewayApi'",
    "match is for a router, which sees each request: add router: gatewayApi and expose, or remove match",
);

/// Without a router the number of pods is the share.
pub const STEP_REPLICAS: Said = (
    "!has(self.steps) || has(self.router) && self.router == 'gatewayApi' || self.steps.all(step, !has(step.replicas))",
    "without a router a step's pods are its share of the traffic: add router: gatewayApi and expose, or remove replicas from the steps",
);

/// Only a router copies requests, and sends users where they were before.
pub const BY_ROUTER: Said = (
    "!has(self.mirrorPercent) && !has(self.mirrorSeconds) && !has(self.stickiness) || has(self.router) && self.router == 'gatewayApi' && !has(self.routeRef)",
    "mirrorPercent and stickiness are for the route that expose makes: add router: gatewayApi and expose, or remove them",
);

/// A mirror has a share.
pub const MIRROR: Said = (
    "!has(self.mirrorSeconds) || has(self.mirrorPercent)",
    "mirrorSeconds is how long mirrorPercent of the requests are copied: add mirrorPercent, or remove mirrorSeconds",
);

/// Only a route sends again, and only HTTP.
pub const RESILIENCE: Said = (
    "!has(self.resilience) || !has(self.resilience.retries) || has(self.expose) && (!has(self.expose.protocol) || self.expose.protocol == 'http')",
    "resilience.retries are for the HTTPRoute that expose makes: add expose, without protocol: grpc, or remove them",
);

/// Rules of a user's route are the user's.
pub const ROUTE_REF: Said = (
    "!has(self.routeRef) || has(self.router) && self.router == 'gatewayApi' && !has(self.match)",
    "routeRef is for router: gatewayApi, and in a route of your own what testers match is a rule of yours: add router, or remove match",
);

/// gRPC has methods, not paths.
pub const GRPC_RULES: Said = (
    "!has(self.protocol) || self.protocol != 'grpc' || (!has(self.rules) && !has(self.timeoutSeconds))",
    "a GRPCRoute has neither paths nor a timeout: remove rules and timeoutSeconds",
);

/// The bake's control is what a router leaves to stable.
pub const BAKE_CONTROL: Said = (
    "!has(self.analysis) || !has(self.analysis.bakeControlPercent) || has(self.strategy) && has(self.strategy.canary) && has(self.strategy.canary.router) && self.strategy.canary.router == 'gatewayApi'",
    "analysis.bakeControlPercent is the share that a router leaves to the stable revision in the bake: add strategy.canary.router, or remove it",
);

/// Requests come in at one place.
pub const ENTRANCE: Said = (
    "has(self.gateway) != has(self.mesh) && (!has(self.mesh) || !has(self.hostnames))",
    "requests come from a gateway or within a mesh, which knows the service by its own name: set exactly one of gateway and mesh, and no hostnames with mesh",
);

/// A preview is reached by the same Gateway, under another name.
pub const PREVIEW: Said = (
    "!has(self.rollout) || !has(self.rollout.strategy) || !has(self.rollout.strategy.blueGreen) || !has(self.rollout.strategy.blueGreen.preview) || has(self.expose) && has(self.expose.gateway) && has(self.expose.hostnames) && !(self.rollout.strategy.blueGreen.preview.hostname in self.expose.hostnames)",
    "blueGreen.preview.hostname is another name at the gateway of expose: add expose with gateway and hostnames, and name another host",
);
