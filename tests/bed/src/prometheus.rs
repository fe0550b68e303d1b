//! A real Prometheus that discovers the pods of some namespaces by itself: a process of the test that starts it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::json;

use crate::bed::Bed;
use crate::build::Part;
use crate::host;
use crate::stop::Stop;

/// Seconds between two of its scrapes.
pub const SCRAPE_INTERVAL_SECONDS: u16 = 5;

/// A Prometheus. It ends with the value, or with the thread that started it, however that ends.
pub struct Prometheus {
    directory: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
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
        let mut prometheus = Self { directory, address, child: None };
        prometheus.resume()?;
        Ok(prometheus)
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn resume(&mut self) -> Result<()> {
        let setpriv = host::find_program("setpriv").context("the program `setpriv` is missing: install util-linux")?;
        let log = std::fs::File::create(self.directory.join("log")).context("cannot write Prometheus' log")?;
        let flag = |name: &str, value: String| format!("--{name}={value}");
        let child = Command::new(setpriv)
            // A test that is killed takes it along.
            .args(["--pdeathsig", "KILL"])
            .arg(Part::Prometheus.program("prometheus")?)
            .arg(flag("config.file", self.directory.join("prometheus.yml").display().to_string()))
            .arg(flag("storage.tsdb.path", self.directory.join("storage").display().to_string()))
            .arg(flag("web.listen-address", self.address.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot run prometheus")?;
        self.child = Some(child);
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Gone already is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.stop();
    }
}
