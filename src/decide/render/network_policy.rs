//! The `NetworkPolicy` of an isolated service.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ownership::{GATES_OF, Owner, selector};
use crate::api::network::Network;
use crate::api::pod::{Port, Protocol};
use crate::decide::plan::{Plan, metrics_of};
use crate::decide::snapshot::{Kind, ObjectKey};
use crate::decide::traffic::Entrance;

/// The policy of a service, whose revisions listen on these ports.
///
/// In: its own pods; the operator where it reads metrics; the namespace of the Gateway that it is exposed by; who is allowed. Out: its own pods, DNS, and what is allowed.
#[must_use]
pub fn network_policy(plan: &Plan, network: &Network, serving: &[&[Port]], operator_namespace: &str) -> Value {
    let own_pods = own_pods(plan);
    let every_port = service_ports(serving);
    let operator = plan.metrics.as_ref().filter(|metrics| metrics.provider.is_none()).map(|metrics| {
        // Each revision answers where its own ports are, for as long as it is compared.
        let own = serving.iter().filter_map(|ports| metrics_of(plan, ports)).map(|metrics| metrics.port);
        let ports: BTreeSet<u16> = own.chain([metrics.port]).collect();
        let ports: Vec<Value> = ports.into_iter().map(|port| json!({"port": port, "protocol": Protocol::Tcp})).collect();
        let peer = json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}},
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "plimsoll"}},
        });
        rule("from", &[peer], &ports)
    });
    let allowed_in = network.allow_from.iter().map(|source| {
        let ports = source.port.map_or_else(|| every_port.clone(), |port| of_number(&every_port, port));
        rule("from", &[peer(source.service.as_ref(), source.namespace_labels.as_ref(), source.cidr.as_ref())], &ports)
    });
    // Who calls by a mesh, or by a route of the user's, stands in allowFrom.
    let gateway = plan.route.as_ref().and_then(|route| {
        let Entrance::Gateway { namespace, .. } = &route.entrance else { return None };
        let namespace = namespace.as_deref().unwrap_or(&plan.namespace);
        let peer = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
        Some(rule("from", &[peer], &of_number(&every_port, route.port)))
    });
    // The pods of its gates may test it.
    let gates = plan.gates.have_jobs().then(|| json!({"podSelector": {"matchLabels": {GATES_OF: plan.name}}}));
    let inside: Vec<Value> = std::iter::once(own_pods).chain(gates).collect();
    let ingress: Vec<Value> = std::iter::once(rule("from", &inside, &[])).chain(operator).chain(gateway).chain(allowed_in).collect();
    let body = json!({"spec": {
        "podSelector": {"matchLabels": selector(&plan.name, None)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress(plan, network),
    }});
    Owner::of(plan).object(&ObjectKey::new(Kind::NetworkPolicy, &plan.name), None, body)
}

/// The policy of the pods of an isolated service's gates: out as the service itself, in nobody.
#[must_use]
pub fn of_jobs(plan: &Plan, network: &Network) -> Value {
    let body = json!({"spec": {
        "podSelector": {"matchLabels": {GATES_OF: plan.name}},
        "policyTypes": ["Ingress", "Egress"],
        "egress": egress(plan, network),
    }});
    Owner::of(plan).object(&ObjectKey::new(Kind::NetworkPolicy, jobs_name(&plan.name)), None, body)
}

/// Name of that policy.
#[must_use]
pub fn jobs_name(service: &str) -> String {
    format!("{service}-gates")
}

/// Where the pods of a service may connect to: to each other, to DNS, and to what is allowed.
fn egress(plan: &Plan, network: &Network) -> Vec<Value> {
    let dns = network.dns.unwrap_or(true).then(|| {
        let port = |protocol| json!({"port": 53, "protocol": protocol});
        json!({"ports": [port(Protocol::Udp), port(Protocol::Tcp)]})
    });
    let allowed = network.allow_to.iter().map(|target| {
        let ports: Vec<Value> = target.port.iter().map(|port| json!({"port": port, "protocol": Protocol::Tcp})).collect();
        rule("to", &[peer(target.service.as_ref(), target.namespace_labels.as_ref(), target.cidr.as_ref())], &ports)
    });
    std::iter::once(rule("to", &[own_pods(plan)], &[])).chain(dns).chain(allowed).collect()
}

fn own_pods(plan: &Plan) -> Value {
    json!({"podSelector": {"matchLabels": selector(&plan.name, None)}})
}

/// A rule for these peers; no ports: every port.
fn rule(direction: &str, peers: &[Value], ports: &[Value]) -> Value {
    if ports.is_empty() { json!({direction: peers}) } else { json!({direction: peers, "ports": ports}) }
}

fn peer(service: Option<&String>, namespace_labels: Option<&BTreeMap<String, String>>, cidr: Option<&String>) -> Value {
    match (service, namespace_labels, cidr) {
        (Some(service), ..) => json!({"podSelector": {"matchLabels": selector(service, None)}}),
        (None, Some(labels), _) => json!({"namespaceSelector": {"matchLabels": labels}}),
        // The schema asks for one of the three; should none be there, nobody is meant, not everybody.
        (None, None, cidr) => json!({"ipBlock": {"cidr": cidr.map_or("0.0.0.0/32", String::as_str)}}),
    }
}

fn service_ports(serving: &[&[Port]]) -> Vec<Value> {
    let mut ports = Vec::new();
    for port in serving.iter().copied().flatten() {
        let port = json!({"port": port.port, "protocol": port.protocol.unwrap_or_default()});
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

/// The service's ports of this number, TCP if it has none.
fn of_number(ports: &[Value], number: i32) -> Vec<Value> {
    let known: Vec<Value> = ports.iter().filter(|port| port["port"] == number).cloned().collect();
    if known.is_empty() { vec![json!({"port": number, "protocol": Protocol::Tcp})] } else { known }
}
