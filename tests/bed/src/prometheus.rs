//! A real Prometheus that discovers the pods of some namespaces by itself: a process of the test that starts it.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context, Result};
use serde_json::json;

use crate::bed::Bed;
use crate::build::Part;
use crate::host;
use crate::stop::Stop;

/// Seconds between two of its scrapes.
pub const SCRAPE_INTERVAL_SECONDS: u16 = 5;

/// A Prometheus. It ends with the value, or with the process that started it, however that ends.
pub struct Prometheus {
    address: SocketAddr,
    child: Child,
    /// Its parent is a thread of its own: the kernel ends it with the thread that started it, and a test's thread ends before others' do.
    _parent: Sender<()>,
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
        let mut command = command(&directory, address)?;
        let (end, ended) = channel::<()>();
        let (started, child) = channel();
        std::thread::spawn(move || {
            let _ = started.send(command.spawn());
            // Until the other side is dropped.
            let _ = ended.recv();
        });
        let child = child.recv().context("the parent of Prometheus ended")?.context("cannot run prometheus")?;
        Ok(Self { address, child, _parent: end })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn command(directory: &Path, address: SocketAddr) -> Result<Command> {
    let setpriv = host::find_program("setpriv").context("the program `setpriv` is missing: install util-linux")?;
    let log = std::fs::File::create(directory.join("log")).context("cannot write Prometheus' log")?;
    let flag = |name: &str, value: String| format!("--{name}={value}");
    let mut command = Command::new(setpriv);
    command
        // A test that is killed takes it along.
        .args(["--pdeathsig", "KILL"])
        .arg(Part::Prometheus.program("prometheus")?)
        .arg(flag("config.file", directory.join("prometheus.yml").display().to_string()))
        .arg(flag("storage.tsdb.path", directory.join("storage").display().to_string()))
        .arg(flag("web.listen-address", address.to_string()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Ok(command)
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
