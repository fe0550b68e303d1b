//! A Gateway that Contour and Envoy serve, as processes of this machine. Needs no root.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::build::Part;
use crate::control_plane::{flags, path};
use crate::description::Gateway;
use crate::host;
use crate::processes::Processes;
use crate::site::Site;
use crate::slot::Slot;
use crate::stop::Stop;

const NAMESPACE: &str = "gateway";
const NAME: &str = "bed";
const CLASS: &str = "contour";
/// Contour opens a listener that many ports above the one the Gateway names, so that Envoy needs no privilege for port 80.
const LISTENER_OFFSET: u16 = 8000;
const START_LIMIT: Duration = Duration::from_secs(300);

/// Installs the definitions, starts both programs and waits until Envoy serves the Gateway.
///
/// # Errors
/// When kubectl fails, a program ends or is not ready in time, or `stop` is up.
pub fn start(site: &Site, slot: &mut Slot, processes: &mut Processes, stop: &Stop) -> Result<Gateway> {
    for file in ["gateway-api.yaml", "contour.yaml"] {
        // Too large for the annotation of a client-side apply.
        site.kubectl(&["apply", "--server-side", "--filename", &path(&Part::Gateway.program(file)?)])?;
    }
    let deadline = Instant::now() + START_LIMIT;
    // Contour ends if one of its kinds is not served yet. kubectl's wait fails where there is no condition at all yet, so it is asked again.
    let established = ["wait", "--for=condition=Established", "customresourcedefinitions", "--all", "--timeout=10s"];
    while let Err(error) = site.kubectl(&established) {
        if Instant::now() > deadline {
            return Err(error);
        }
        stop.pause(Duration::from_millis(500))?;
    }
    let listener = slot.port()?;
    // What is established is discovered a moment later.
    while let Err(error) = site.apply("gateway", &objects(listener - LISTENER_OFFSET)) {
        if Instant::now() > deadline {
            return Err(error);
        }
        stop.pause(Duration::from_millis(500))?;
    }
    let discovery = slot.port()?;
    let ready = slot.port()?;
    start_contour(site, slot, processes, discovery, ready)?;
    start_envoy(site, processes, discovery)?;
    wait_until_served(site, processes, ready, stop)?;
    Ok(Gateway { address: format!("127.0.0.1:{listener}"), controller: processes.id("contour")?, proxy: processes.id("envoy")? })
}

fn objects(port: u16) -> String {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } },
        {
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": { "name": CLASS },
            "spec": { "controllerName": "projectcontour.io/gateway-controller" },
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "name": NAME, "namespace": NAMESPACE },
            "spec": {
                "gatewayClassName": CLASS,
                "listeners": [{
                    "name": "http", "protocol": "HTTP", "port": port, "allowedRoutes": { "namespaces": { "from": "All" } },
                }],
            },
        },
    ]});
    list.to_string()
}

fn start_contour(site: &Site, slot: &mut Slot, processes: &mut Processes, discovery: u16, ready: u16) -> Result<()> {
    let configuration = site.directory.join("contour.config");
    let text = json!({
        "gateway": { "gatewayRef": { "namespace": NAMESPACE, "name": NAME } },
        // A line for each request of a load test would fill the disk.
        "accesslog-level": "error",
    });
    fs::write(&configuration, text.to_string()).context("cannot write Contour's configuration")?;
    let kubeconfig = site.component("contour", "contour", Some("system:masters"))?;
    let ports = [slot.port()?, slot.port()?, slot.port()?].map(|port| port.to_string());
    let mut arguments = vec!["serve".to_owned()];
    arguments.extend(flags(&[
        ("kubeconfig", &path(&kubeconfig)),
        ("config-path", &path(&configuration)),
        ("xds-address", "127.0.0.1"),
        ("xds-port", &discovery.to_string()),
        ("stats-address", "127.0.0.1"),
        ("stats-port", &ready.to_string()),
        ("health-address", "127.0.0.1"),
        ("health-port", &ports[0]),
        ("http-address", "127.0.0.1"),
        ("http-port", &ports[1]),
        ("debug-http-port", &ports[2]),
        // What the Gateway's status names as its address.
        ("ingress-status-address", "127.0.0.1"),
    ]));
    arguments.extend(["--insecure", "--disable-leader-election"].map(str::to_owned));
    // Contour wants them in alpha versions that the Gateway API no longer serves.
    for feature in ["tlsroutes", "tcproutes", "backendtlspolicies"] {
        arguments.push(format!("--disable-feature={feature}"));
    }
    processes.start("contour", &Part::Gateway.program("contour")?, &arguments, None)
}

/// The supervisor is Envoy's parent and outlives it: this build of Envoy ends with the process that started it.
fn start_envoy(site: &Site, processes: &mut Processes, discovery: u16) -> Result<()> {
    let bootstrap = path(&site.directory.join("envoy.json"));
    let admin = path(&site.directory.join("envoy.sock"));
    let discovery = discovery.to_string();
    let contour = Part::Gateway.program("contour")?;
    let options = flags(&[("xds-address", "127.0.0.1"), ("xds-port", &discovery), ("admin-address", &admin)]);
    let mut arguments: Vec<&str> = vec!["bootstrap", &bootstrap];
    arguments.extend(options.iter().map(String::as_str));
    host::run(contour, &arguments)?;
    let arguments = ["--config-path", &bootstrap, "--service-cluster", "bed", "--service-node", "bed", "--log-level", "warn"];
    let mut arguments = arguments.map(str::to_owned).to_vec();
    // Shared memory of a hot restart would tie the Envoys of several beds together.
    arguments.extend(["--disable-hot-restart", "--concurrency", "2"].map(str::to_owned));
    processes.start("envoy", &Part::Gateway.program("envoy")?, &arguments, None)
}

/// Envoy opens the port `ready` when Contour has told it to, so both run and talk to each other.
fn wait_until_served(site: &Site, processes: &mut Processes, ready: u16, stop: &Stop) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    let condition = "--output=jsonpath={.status.conditions[?(@.type==\"Programmed\")].status}";
    loop {
        processes.check()?;
        let programmed = || site.kubectl(&["get", "gateway", NAME, "--namespace", NAMESPACE, condition]);
        if TcpStream::connect(("127.0.0.1", ready)).is_ok() && programmed()? == "True" {
            return Ok(());
        }
        if Instant::now() > deadline {
            let log = host::last_lines(&processes.log("contour"), 15);
            bail!("the Gateway is not served after {} s; the end of Contour's log:\n{log}", START_LIMIT.as_secs());
        }
        stop.pause(Duration::from_millis(500))?;
    }
}
