//! The front Service: what other workloads call.
//!
//! While two revisions run, both have to be reachable on the ports that callers know: the Service keeps the ports of the older one, and
//! takes new ones of the newer one as far as they do not contradict. The newer one's ports are all there is once it is alone.

use serde_json::{Value, json};

use super::ownership::{Owner, revision_key, selector};
use crate::api::expose::RouteProtocol;
use crate::api::pod::Port;
use crate::decide::plan::Plan;
use crate::decide::snapshot::{Kind, ObjectKey};
use crate::decide::strategy::Front;

/// The front Service over these revisions' ports, older revisions first. None without any port.
#[must_use]
pub fn service(plan: &Plan, serving: &[&[Port]], front: &Front) -> Option<Value> {
    let ports = ports(plan, serving);
    let revision = match front {
        Front::All => None,
        Front::One(revision) => Some(revision.as_str()),
    };
    (!ports.is_empty()).then(|| {
        let body = json!({"spec": {"type": "ClusterIP", "selector": selector(&plan.name, revision), "ports": ports}});
        Owner::of(plan).object(&ObjectKey::new(Kind::Service, &plan.name), None, body)
    })
}

/// Name of the Service that reaches the candidate before any user does.
#[must_use]
pub fn preview_name(service: &str) -> String {
    format!("{service}-preview")
}

/// The Service that reaches one revision, on its own ports. None without any port.
#[must_use]
pub fn preview(plan: &Plan, revision: &str, own: &[Port]) -> Option<Value> {
    let body = of_one(plan, revision, own)?;
    Some(Owner::of(plan).object(&ObjectKey::new(Kind::Service, preview_name(&plan.name)), None, body))
}

/// The Service of one revision that a router names; what it selects never changes. None without any port.
#[must_use]
pub fn of_revision(plan: &Plan, revision: &str, own: &[Port]) -> Option<Value> {
    let body = of_one(plan, revision, own)?;
    Some(Owner::of(plan).object(&revision_key(Kind::Service, &plan.name, revision), Some(revision), body))
}

fn of_one(plan: &Plan, revision: &str, own: &[Port]) -> Option<Value> {
    let ports = ports(plan, &[own]);
    let body = json!({"spec": {"type": "ClusterIP", "selector": selector(&plan.name, Some(revision)), "ports": ports}});
    (!own.is_empty()).then_some(body)
}

fn ports(plan: &Plan, serving: &[&[Port]]) -> Vec<Value> {
    let all = || serving.iter().copied().flatten();
    let mut kept: Vec<&Port> = Vec::new();
    for port in all() {
        if !kept.iter().any(|other| other.name == port.name || address(other) == address(port)) {
            kept.push(port);
        }
    }
    let rendered = |port: &Port| {
        // By name each revision is reached on its own number. A port that a revision calls otherwise is reached by its number.
        let renamed = all().any(|other| address(other) == address(port) && other.name != port.name);
        let mut body = json!({
            "name": port.name,
            "port": port.port,
            "protocol": port.protocol.unwrap_or_default(),
            "targetPort": if renamed { json!(port.port) } else { json!(port.name) },
        });
        // A proxy speaks HTTP/1.1 with pods unless it is told otherwise, and gRPC is HTTP/2.
        let grpc = plan.route.as_ref().is_some_and(|route| route.protocol == RouteProtocol::Grpc && route.port == port.port);
        let spoken = port.app_protocol.as_deref().or(grpc.then_some("kubernetes.io/h2c"));
        if let Some(protocol) = spoken {
            body["appProtocol"] = protocol.into();
        }
        body
    };
    kept.into_iter().map(rendered).collect()
}

fn address(port: &Port) -> (i32, &'static str) {
    (port.port, super::protocol(port))
}
