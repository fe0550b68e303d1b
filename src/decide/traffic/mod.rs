//! Routers: what divides requests between revisions by weight. Pure pairs: weights → object, object → weights.
//!
//! Without a router the front Service over the pods of both revisions divides connections by the number of ready pods; that needs nothing
//! from here. With one, the front Service belongs to stable, each revision has a Service of its own, and only weights move. A weight counts
//! as moved when the router *reports* it, never when it was written.

pub mod features;
pub mod gateway_api;
pub mod users_route;

use std::collections::{BTreeMap, BTreeSet};

use features::Listed;

use super::plan::Refusal;
use super::snapshot::{Kind, ObjectKey};
use crate::api::ProductionServiceSpec;
use crate::api::expose::{GatewayReference, RouteProtocol};
use crate::api::pod::Port;
use crate::api::rollout::{RequestMatch, RouteKind, RouteReference, Router, Strategy};

/// Seconds between the moment at which the front Service, or the router's report, is seen to leave a revision out and the end of its pods, at
/// least. Measured on Contour and Envoy, the report comes 16 ms after traffic has moved: the rest is for every other proxy.
pub const DRAIN_SECONDS: i32 = 2;

/// The route that the spec asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutePlan {
    /// The route is the user's own: this one. Then nothing of what follows is asked of it but the weights.
    pub users: Option<ObjectKey>,
    /// Where requests come from.
    pub entrance: Entrance,
    /// Requests are divided between revisions by weights. Otherwise all go to the front Service.
    pub weighted: bool,
    /// What is spoken.
    pub protocol: RouteProtocol,
    /// Number of the port that requests are sent to.
    pub port: i32,
    /// Seconds between the router's report and the end of the pods that lost the traffic.
    pub drain_seconds: i32,
    /// Requests that the candidate gets whatever its weight.
    pub matches: Vec<RequestMatch>,
    /// The cluster knows this kind of route.
    pub known: bool,
    /// Its routes call a sticky user's cookie `sessionName`, as the Gateway API did before 1.7.
    pub session_name: bool,
}

/// Where the requests of a route come from: its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// From outside, by a Gateway.
    Gateway {
        /// Its namespace; `None`: the service's own.
        namespace: Option<String>,
        /// Its name.
        name: String,
        /// Its listener; `None`: every one.
        section: Option<String>,
    },
    /// From other workloads, by the front Service.
    Mesh,
}

impl Entrance {
    /// Its name for people, of a service of this name.
    #[must_use]
    pub fn named(&self, service: &str) -> String {
        match self {
            Self::Gateway { name, .. } => format!("Gateway {name}"),
            Self::Mesh => format!("the mesh of Service {service}"),
        }
    }
}

/// What the cluster shows of the Gateway API, and what the operator was told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// The cluster has the Gateway API.
    pub known: bool,
    /// Gateways that services of every namespace may name: name → (namespace, name).
    pub gateways: BTreeMap<String, (String, String)>,
    /// Fields that a rule of a route has in this cluster; `None`: nobody has looked.
    pub fields: Option<BTreeSet<String>>,
    /// What the classes of Gateways list, of those that a service asks more of than every Gateway has.
    pub listed: Listed,
}

impl Routing {
    /// Namespace and name of the Gateway that a spec names; `None`: the service's own namespace.
    #[must_use]
    pub fn place(&self, reference: &GatewayReference) -> (Option<String>, String) {
        let told = self.gateways.get(&reference.name).cloned();
        told.map_or((None, reference.name.clone()), |(namespace, name)| (Some(namespace), name))
    }

    /// The cluster has the Gateway API; nobody has told of any Gateway.
    #[must_use]
    pub fn present() -> Self {
        Self { known: true, ..Self::default() }
    }
}

/// The route of a spec; `None` where it asks for none.
#[must_use]
pub fn planned(spec: &ProductionServiceSpec, routing: &Routing, refusals: &mut Vec<Refusal>) -> Option<RoutePlan> {
    if let Some(reference) = reference(spec) {
        return users_plan(spec, reference, routing);
    }
    let expose = spec.expose.as_ref()?;
    features::refused(spec, routing, refusals);
    let port = port(spec, expose.port.as_deref(), refusals)?;
    let entrance = match &expose.gateway {
        None => Entrance::Mesh,
        Some(reference) => {
            let (namespace, name) = routing.place(reference);
            Entrance::Gateway { namespace, name, section: reference.section_name.clone() }
        }
    };
    let strategy = spec.rollout.as_ref().and_then(|rollout| rollout.strategy.as_ref());
    let weighted = match strategy {
        Some(Strategy::Canary(canary)) => canary.router == Some(Router::GatewayApi),
        Some(Strategy::BlueGreen(_)) => true,
        Some(Strategy::Rolling(_)) | None => false,
    };
    let matches = match strategy {
        Some(Strategy::Canary(canary)) => canary.matches.clone(),
        _ => Vec::new(),
    };
    Some(RoutePlan {
        users: None,
        entrance,
        weighted,
        protocol: expose.protocol.unwrap_or_default(),
        port: port.port,
        drain_seconds: expose.drain_seconds.unwrap_or_else(|| expose.timeout_seconds.unwrap_or_default().max(DRAIN_SECONDS)),
        matches,
        known: routing.known,
        session_name: routing.fields.as_ref().is_some_and(|fields| fields.contains("sessionPersistence.sessionName")),
    })
}

/// The route of the user's own whose weights the spec lets be moved.
#[must_use]
pub fn users(spec: &ProductionServiceSpec) -> Option<ObjectKey> {
    reference(spec).map(named)
}

fn reference(spec: &ProductionServiceSpec) -> Option<&RouteReference> {
    let Some(Strategy::Canary(canary)) = &spec.rollout.as_ref()?.strategy else { return None };
    canary.route_ref.as_ref().filter(|_| canary.router == Some(Router::GatewayApi))
}

fn named(reference: &RouteReference) -> ObjectKey {
    let kind = match reference.kind.unwrap_or_default() {
        RouteKind::Http => Kind::HttpRoute,
        RouteKind::Grpc => Kind::GrpcRoute,
    };
    ObjectKey::new(kind, &reference.name)
}

fn users_plan(spec: &ProductionServiceSpec, reference: &RouteReference, routing: &Routing) -> Option<RoutePlan> {
    let users = named(reference);
    Some(RoutePlan {
        // The route says itself where its requests come from.
        entrance: Entrance::Mesh,
        weighted: true,
        protocol: if users.kind == Kind::GrpcRoute { RouteProtocol::Grpc } else { RouteProtocol::Http },
        port: spec.ports.first()?.port,
        drain_seconds: reference.drain_seconds.unwrap_or(DRAIN_SECONDS),
        matches: Vec::new(),
        known: routing.known,
        session_name: false,
        users: Some(users),
    })
}

fn port<'a>(spec: &'a ProductionServiceSpec, name: Option<&str>, refusals: &mut Vec<Refusal>) -> Option<&'a Port> {
    let Some(name) = name else { return spec.ports.first() };
    let named = spec.ports.iter().find(|port| port.name == name);
    if named.is_none() {
        let all: Vec<_> = spec.ports.iter().map(|port| port.name.as_str()).collect();
        refusals.push(Refusal::new("UnknownPort", format!("spec.expose.port: {name:?} is not one of spec.ports ({})", all.join(", "))));
    }
    named
}

/// What the router shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Percent of the requests, by revision, as the route asks for it; revisions at 0 are named in it all the same. Empty where it sends
    /// everything to the front Service.
    pub weights: BTreeMap<String, i32>,
    /// The revision that gets matched requests whatever its weight.
    pub matched: Option<String>,
    /// The revision that gets copies of requests.
    pub mirrored: Option<String>,
    /// Why it is not certain that every Gateway of the route works by these weights; `None`: each has reported it.
    pub unreported: Option<String>,
}

impl Routed {
    /// Whether any request can reach this revision, by its weight or because it matches.
    #[must_use]
    pub fn leads_to(&self, revision: &str) -> bool {
        self.weights.get(revision).is_some_and(|weight| *weight > 0) || self.matched.as_deref() == Some(revision)
    }

    /// Whether this revision is seen to get so many percent of the requests.
    #[must_use]
    pub fn reports(&self, revision: &str, percent: i32) -> bool {
        self.unreported.is_none() && self.weights.get(revision) == Some(&percent)
    }
}
