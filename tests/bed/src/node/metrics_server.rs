//! metrics-server, as a process of this machine behind an aggregated API.

use anyhow::Result;
use serde_json::json;

use crate::build::Part;
use crate::control_plane::{flags, path};
use crate::processes::Processes;
use crate::site::Site;
use crate::slot::Slot;

/// Starts metrics-server and registers `metrics.k8s.io`. First numbers come after about 20 seconds.
pub fn start(site: &Site, slot: &mut Slot, processes: &mut Processes) -> Result<()> {
    let port = slot.port()?;
    let kubeconfig = path(&site.component("metrics-server", "metrics-server", Some("system:masters"))?);
    let arguments = flags(&[
        ("kubeconfig", &kubeconfig),
        ("authentication-kubeconfig", &kubeconfig),
        ("authorization-kubeconfig", &kubeconfig),
        ("bind-address", &site.network.gateway()),
        ("secure-port", &port.to_string()),
        ("cert-dir", &path(&site.directory.join("metrics-server"))),
        ("kubelet-insecure-tls", "true"),
        ("kubelet-preferred-address-types", "InternalIP"),
        ("kubelet-use-node-status-port", "true"),
        ("metric-resolution", "10s"),
        ("kubelet-request-timeout", "5s"),
        // Fake nodes have no kubelet to ask.
        ("node-selector", &format!("{}=real", crate::KIND_LABEL)),
    ]);
    processes.start("metrics-server", &Part::Metrics.program("metrics-server")?, &arguments, None)?;
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "metrics-server", "namespace": "kube-system" },
            "spec": { "ports": [{ "name": "https", "port": 443, "targetPort": port }] },
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "metrics-server", "namespace": "kube-system",
                "labels": { "kubernetes.io/service-name": "metrics-server" },
            },
            "addressType": "IPv4",
            "ports": [{ "name": "https", "port": port }],
            "endpoints": [{ "addresses": [site.network.gateway()], "conditions": { "ready": true } }],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": { "name": "v1beta1.metrics.k8s.io" },
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "insecureSkipTLSVerify": true,
                "service": { "name": "metrics-server", "namespace": "kube-system" },
            },
        },
    ]});
    site.apply("metrics-server", &list.to_string())
}
