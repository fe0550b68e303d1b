//! Nodes and pods that only kwok plays. Needs no root, apart from the addresses of pods.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::build::Part;
use crate::control_plane::{flags, path};
use crate::processes::Processes;
use crate::site::Site;
use crate::stop::Stop;
use crate::{host, progress, stages};

/// kwok plays the nodes that carry this annotation and no other.
const ANNOTATION: (&str, &str) = ("kwok.x-k8s.io/node", "fake");
/// The label that tells fake nodes from the real one.
pub const KIND_LABEL: &str = "bed.plimsoll.dev/node";
const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
const READY_LIMIT: Duration = Duration::from_secs(300);

/// Starts kwok, creates the nodes and waits until pods can be scheduled on them.
///
/// # Errors
/// When kwok or kubectl fails, a node is not ready in time or `stop` is up.
pub fn start(site: &Site, processes: &mut Processes, stop: &Stop) -> Result<()> {
    let stages = Part::ControlPlane.directory()?.join("node-stages.yaml");
    let nodes = fs::read_to_string(&stages).with_context(|| format!("cannot read {}", stages.display()))?;
    let configuration = site.directory.join("stages.yaml");
    fs::write(&configuration, nodes + &stages::pods()).context("cannot write kwok's stages")?;
    route_pods(site)?;
    let kubeconfig = site.component("kwok", "kwok", Some("system:masters"))?;
    let arguments = flags(&[
        ("kubeconfig", &path(&kubeconfig)),
        ("config", &path(&configuration)),
        ("manage-all-nodes", "false"),
        ("manage-nodes-with-annotation-selector", &format!("{}={}", ANNOTATION.0, ANNOTATION.1)),
        ("node-lease-duration-seconds", "40"),
        ("cidr", &site.network.fake_pods()),
        ("node-ip", &site.network.fake_node()),
    ]);
    processes.start("kwok", &Part::ControlPlane.program("kwok")?, &arguments, None)?;
    let list: Vec<Value> = (0..site.options.fake_nodes).map(|index| node(index, site.options.real_node)).collect();
    if !list.is_empty() {
        site.apply("fake-nodes", &json!({ "apiVersion": "v1", "kind": "List", "items": list }).to_string())?;
    }
    wait_until_usable(site, processes, stop)
}

/// The object of fake node number `index` (from 0).
fn node(index: u32, beside_real: bool) -> Value {
    let name = format!("fake-{}", index + 1);
    let zone = ZONES[index as usize % ZONES.len()];
    let resources = json!({ "cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "2000" });
    let taints = if beside_real { json!([{ "key": "bed.plimsoll.dev/fake", "value": "true", "effect": "NoSchedule" }]) } else { json!([]) };
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": { ANNOTATION.0: ANNOTATION.1 },
            "labels": {
                KIND_LABEL: "fake",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/region": "region-1",
                "topology.kubernetes.io/zone": zone,
            },
        },
        "spec": { "taints": taints },
        "status": { "allocatable": resources, "capacity": resources },
    })
}

/// Makes this machine answer for the addresses of fake pods.
fn route_pods(site: &Site) -> Result<()> {
    let Some(ip) = host::find_program("ip").filter(|_| host::is_root()) else {
        progress::say("not root, or `ip` is missing: nothing answers at the addresses of fake pods (no metrics from them)");
        return Ok(());
    };
    host::run(ip, &["route", "replace", "local", &site.network.fake_pods(), "dev", "lo"]).map(drop)
}

/// Waits for the nodes' readiness, the end of their start-up taints and the first service account.
fn wait_until_usable(site: &Site, processes: &mut Processes, stop: &Stop) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        processes.check()?;
        let state = site.kubectl(&["get", "nodes,serviceaccounts", "--namespace=default", "--output=json"])?;
        let state: Value = serde_json::from_str(&state).context("kubectl answered no JSON")?;
        let items = state["items"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let nodes = items.iter().filter(|item| is_usable(item)).count();
        let accounts = items.iter().any(|item| item["kind"] == "ServiceAccount");
        if nodes >= site.options.fake_nodes as usize && accounts {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the fake nodes are not ready after {} s", READY_LIMIT.as_secs());
        }
        stop.pause(Duration::from_millis(500))?;
    }
}

/// Whether an object is a node that takes pods.
pub(crate) fn is_usable(node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let starting = taints.iter().any(|taint| taint["key"].as_str().unwrap_or_default().starts_with("node.kubernetes.io/"));
    let conditions = node["status"]["conditions"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    let ready = conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    node["kind"] == "Node" && ready && !starting
}
