//! Probes: a TCP connection to the first port unless something better is written.

use serde_json::{Value, json};

use crate::api::health::{Probe, Scheme, TcpSocket};
use crate::api::pod::{Port, Protocol};

/// How often, and how many failures count, where the probe does not say.
struct Pace {
    period_seconds: i32,
    failure_threshold: i32,
}

const STARTUP: Pace = Pace { period_seconds: 2, failure_threshold: 150 };
const READINESS: Pace = Pace { period_seconds: 5, failure_threshold: 3 };
const LIVENESS: Pace = Pace { period_seconds: 10, failure_threshold: 3 };

/// Has the app started? Without a probe: does the first port accept a connection?
#[must_use]
pub fn startup(given: Option<&Probe>, ports: &[Port]) -> Option<Value> {
    given.cloned().or_else(|| connection(ports)).map(|probe| rendered(&probe, ports, &STARTUP))
}

/// May the pod get traffic? Without a probe: does the first port accept a connection?
#[must_use]
pub fn readiness(given: Option<&Probe>, ports: &[Port]) -> Option<Value> {
    given.cloned().or_else(|| connection(ports)).map(|probe| rendered(&probe, ports, &READINESS))
}

/// Must the container be restarted? Only where somebody has written how to tell.
#[must_use]
pub fn liveness(given: Option<&Probe>, ports: &[Port]) -> Option<Value> {
    given.map(|probe| rendered(probe, ports, &LIVENESS))
}

/// The port that is probed where none is named: the first one. Only TCP can tell whether anybody listens.
#[must_use]
pub fn default_port(ports: &[Port]) -> Option<&Port> {
    ports.iter().find(|port| port.protocol.unwrap_or_default() == Protocol::Tcp)
}

/// The probe that needs nothing but a port.
fn connection(ports: &[Port]) -> Option<Probe> {
    default_port(ports).map(|_| Probe { tcp_socket: Some(TcpSocket { port: None }), ..Probe::default() })
}

fn rendered(probe: &Probe, ports: &[Port], pace: &Pace) -> Value {
    let name = |given: &Option<String>| given.clone().or_else(|| default_port(ports).map(|port| port.name.clone()));
    // The gRPC probe is the one that takes no names.
    let number = |given: &Option<String>| {
        let name = name(given)?;
        ports.iter().find(|port| port.name == name).map(|port| port.port)
    };
    json!({
        "httpGet": probe.http_get.as_ref().map(|http| json!({
            "path": http.path.as_deref().unwrap_or("/"),
            "port": name(&http.port),
            "scheme": http.scheme.unwrap_or(Scheme::Http),
        })),
        "tcpSocket": probe.tcp_socket.as_ref().map(|tcp| json!({"port": name(&tcp.port)})),
        "grpc": probe.grpc.as_ref().map(|grpc| json!({"port": number(&grpc.port), "service": grpc.service})),
        "exec": probe.exec,
        "periodSeconds": probe.period_seconds.unwrap_or(pace.period_seconds),
        "failureThreshold": probe.failure_threshold.unwrap_or(pace.failure_threshold),
        "timeoutSeconds": probe.timeout_seconds.unwrap_or(1),
        "initialDelaySeconds": probe.initial_delay_seconds.filter(|seconds| *seconds > 0),
    })
}
