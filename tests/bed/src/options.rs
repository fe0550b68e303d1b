//! What a bed is to have.

/// What a bed is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Nodes that only kwok plays, 0 or more. On a bed with a real node they carry the taint
    /// `bed.plimsoll.dev/fake=true:NoSchedule`, so that pods run for real unless they tolerate it.
    pub fake_nodes: u32,
    /// A kubelet with containerd and kube-proxy on this machine, and a registry. Needs root; one per machine.
    pub real_node: bool,
    /// metrics-server, for HPAs on CPU and memory. Needs the real node.
    pub metrics_server: bool,
    /// The Gateway API's definitions, and a Gateway that Contour and Envoy serve as processes of this machine. Traffic reaches fake pods
    /// only as root.
    pub gateway: bool,
}

impl Default for Options {
    /// Four fake nodes in three zones, nothing that needs root.
    fn default() -> Self {
        Self { fake_nodes: 4, real_node: false, metrics_server: false, gateway: false }
    }
}

impl Options {
    /// A real node, a registry and metrics-server; no fake nodes, no gateway.
    #[must_use]
    pub fn real() -> Self {
        Self { fake_nodes: 0, real_node: true, metrics_server: true, gateway: false }
    }

    /// The options as the supervisor's command line.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--fake-nodes".to_owned(), self.fake_nodes.to_string()];
        arguments.extend(self.real_node.then(|| "--node".to_owned()));
        arguments.extend(self.metrics_server.then(|| "--metrics-server".to_owned()));
        arguments.extend(self.gateway.then(|| "--gateway".to_owned()));
        arguments
    }
}
