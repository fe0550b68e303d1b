//! A real Prometheus that discovers the pods of some namespaces by itself: a process of the test that starts it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use crate::bed::Bed;
use crate::build::Part;
use crate::companion::Companion;
use crate::stop::Stop;

/// Seconds between two of its scrapes.
pub const SCRAPE_INTERVAL_SECONDS: u16 = 5;

/// A Prometheus. It ends with the value, or with the process that started it, however that ends.
pub struct Prometheus {
    address: SocketAddr,
    _process: Companion,
}

impl Prometheus {
    /// Starts one that scrapes the ports called `metrics` of all pods of the namespaces, and listens at this address of the host; the first time
    /// on a machine it is built.
    ///
    /// # Errors
    /// When it cannot be built or started.
    pub async fn start(bed: &Bed, namespaces: &[&str], address: IpAddr) -> Result<Self> {
        tokio::task::spawn_blocking(|| Part::Prometheus.build(&Stop::default())).await.context("the build panicked")??;
        let directory = bed.directory().join("prometheus");
        std::fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let label = |source: &str, target: &str| json!({"source_labels": [source], "target_label": target});
        let config = json!({
            "global": {"scrape_interval": format!("{SCRAPE_INTERVAL_SECONDS}s")},
            "scrape_configs": [{
                "job_name": "pods",
                "kubernetes_sd_configs": [{"role": "pod", "kubeconfig_file": bed.kubeconfig(), "namespaces": {"names": namespaces}}],
                "relabel_configs": [
                    {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "metrics", "action": "keep"},
                    label("__meta_kubernetes_namespace", "namespace"),
                    label("__meta_kubernetes_pod_name", "pod"),
                ],
            }],
        });
        let path = directory.join("prometheus.yml");
        std::fs::write(&path, config.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        let address = TcpListener::bind((address, 0)).and_then(|listener| listener.local_addr()).context("no free port")?;
        let program = Part::Prometheus.program("prometheus")?;
        let process = Companion::start(&program, &directory, &[], &arguments(&directory, address))?;
        Ok(Self { address, _process: process })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn arguments(directory: &Path, address: SocketAddr) -> [String; 3] {
    let flag = |name: &str, value: String| format!("--{name}={value}");
    [
        flag("config.file", directory.join("prometheus.yml").display().to_string()),
        flag("storage.tsdb.path", directory.join("storage").display().to_string()),
        flag("web.listen-address", address.to_string()),
    ]
}
