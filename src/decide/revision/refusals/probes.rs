//! Probes and the end of a pod.

use super::{Findings, protocol};
use crate::api::ProductionServiceSpec;
use crate::api::health::Probe;
use crate::api::pod::Protocol;
use crate::decide::plan::DRAIN_SECONDS;
use crate::decide::render::probe::default_port;

pub fn check(spec: &ProductionServiceSpec, findings: &mut Findings) {
    let Some(health) = &spec.health else { return };
    for (name, probe) in [("startup", &health.startup), ("readiness", &health.readiness), ("liveness", &health.liveness)] {
        if let Some(probe) = probe {
            port(spec, &format!("spec.health.{name}"), probe, findings);
        }
    }
    let drain = health.drain_seconds.unwrap_or(DRAIN_SECONDS);
    if let Some(grace) = health.termination_grace_seconds.filter(|grace| *grace <= drain) {
        let problem = format!("{grace} seconds leave none after the drain of {drain}; write more than {drain}, or a shorter drainSeconds");
        findings.add("InvalidProbe", "spec.health.terminationGraceSeconds", problem);
    }
}

fn port(spec: &ProductionServiceSpec, path: &str, probe: &Probe, findings: &mut Findings) {
    let (kind, given) = match (&probe.http_get, &probe.tcp_socket, &probe.grpc) {
        (Some(http), ..) => ("httpGet", &http.port),
        (_, Some(tcp), _) => ("tcpSocket", &tcp.port),
        (.., Some(grpc)) => ("grpc", &grpc.port),
        (None, None, None) => return,
    };
    let path = format!("{path}.{kind}.port");
    match given {
        Some(name) => match spec.ports.iter().find(|port| port.name == *name) {
            None => findings.add(
                "UnknownPort",
                path,
                format!("{name:?} is not one of spec.ports ({}); add it there or name one of them", names(spec)),
            ),
            Some(port) if protocol(port.protocol) != Protocol::Tcp => {
                findings.add("InvalidProbe", path, format!("port {name:?} is not TCP, which a probe needs; name a TCP port, or use exec"));
            }
            Some(_) => {}
        },
        None if default_port(&spec.ports).is_none() => {
            findings.add("UnknownPort", path, "there is no TCP port in spec.ports to probe; add one, or use exec");
        }
        None => {}
    }
}

fn names(spec: &ProductionServiceSpec) -> String {
    let names: Vec<_> = spec.ports.iter().map(|port| port.name.as_str()).collect();
    if names.is_empty() { "which is empty".to_owned() } else { names.join(", ") }
}
