//! The pods' bridge and kube-proxy.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::build::Part;
use crate::control_plane::{flags, path};
use crate::host;
use crate::network::Network;
use crate::processes::Processes;
use crate::site::Site;
use crate::slot::Slot;

/// kube-proxy's tables are named alike for every cluster: a machine that is a node already cannot be one of ours as well.
pub fn refuse_foreign_proxy() -> Result<()> {
    let nft = host::find_program("nft").context("nft is missing")?;
    let tables = host::run(nft, &["list", "tables"]).context("this kernel has no nftables, which the real node needs")?;
    if tables.contains("kube-proxy") {
        bail!("this machine already is a node of a cluster (it has nftables tables of a kube-proxy): no real node here");
    }
    Ok(())
}

/// Makes the bridge, with the address at which pods find this machine, and the way to `ClusterIP`s.
pub fn create_bridge(network: Network) -> Result<()> {
    let ip = host::find_program("ip").context("ip is missing")?;
    let (gateway, bridge) = (network.gateway(), network.bridge());
    let run = |arguments: &[&str]| host::run(&ip, arguments).map(drop);
    run(&["link", "add", &bridge, "type", "bridge"])?;
    run(&["address", "add", &format!("{gateway}/20"), "dev", &bridge])?;
    run(&["link", "set", &bridge, "up"])?;
    // kube-proxy rewrites the destination later; without a route a machine that is offline could not even start to connect.
    run(&["route", "add", &network.services(), "dev", &bridge, "src", &gateway])
}

/// The configuration of the network plugins.
pub fn write_cni(site: &Site) -> Result<()> {
    let folder = site.directory.join("cni");
    let bridge = json!({
        "type": "bridge",
        "bridge": site.network.bridge(),
        "isGateway": true,
        "ipMasq": false,
        // A pod reaches its own Service.
        "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": site.network.real_pods(), "gateway": site.network.gateway() }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
            "dataDir": site.directory.join("cni-addresses"),
        },
    });
    let list = json!({ "cniVersion": "1.0.0", "name": "plimsoll-bed", "plugins": [bridge] });
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join("10-bed.conflist"), list.to_string()))
        .context("cannot write the network plugins' configuration")
}

/// Starts kube-proxy: `ClusterIP`s answer, for pods and for this machine.
pub fn start_proxy(site: &Site, slot: &mut Slot, processes: &mut Processes) -> Result<()> {
    let kubeconfig = site.component("kube-proxy", "system:kube-proxy", None)?;
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": super::NAME,
        "bindAddress": site.network.gateway(),
        "clusterCIDR": site.network.real_pods(),
        "clientConnection": { "kubeconfig": kubeconfig },
        // The size of the machine's connection table is not ours to change.
        "conntrack": { "maxPerCore": 0, "min": 0 },
        "healthzBindAddress": format!("127.0.0.1:{}", slot.port()?),
        "metricsBindAddress": format!("127.0.0.1:{}", slot.port()?),
        // The default waits a second for changes to gather; tests look sooner.
        "nftables": { "minSyncPeriod": "100ms" },
        "nodePortAddresses": [format!("{}/32", site.network.gateway())],
    });
    let file = site.directory.join("kube-proxy.json");
    fs::write(&file, configuration.to_string()).context("cannot write kube-proxy's configuration")?;
    processes.start("kube-proxy", &Part::ControlPlane.program("kube-proxy")?, &flags(&[("config", &path(&file))]), None)
}
