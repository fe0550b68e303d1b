//! A real mesh: Istio's control plane as a process of the test that starts it, and a client that it tells by xDS where calls go.
//!
//! There is no proxy: gRPC itself divides the calls as the control plane says (Istio calls such services proxyless). The programs are built from Istio's own module.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::bed::Bed;
use crate::build::Part;
use crate::companion::Companion;
use crate::host;
use crate::stop::Stop;

const NAMESPACE: &str = "istio-system";
const START_LIMIT: Duration = Duration::from_secs(120);

/// Istio's control plane. It ends with the value.
pub struct Mesh {
    client: MeshClient,
    _process: Companion,
}

/// How clients find it.
#[derive(Clone)]
pub struct MeshClient {
    discovery: SocketAddr,
    directory: PathBuf,
}

impl Mesh {
    /// Starts it on a bed that has the definitions of the Gateway API; the first time on a machine it is built.
    ///
    /// # Errors
    /// When it cannot be built, or is not ready in time.
    pub async fn start(bed: &Bed) -> Result<Self> {
        tokio::task::spawn_blocking(|| Part::Mesh.build(&Stop::default())).await.context("the build panicked")??;
        let directory = bed.directory().join("mesh");
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        bed.kubectl_with_input(&["apply", "--filename=-"], &namespace.to_string()).await?;
        let settings = directory.join("mesh.yaml");
        fs::write(&settings, "{}").with_context(|| format!("cannot write {}", settings.display()))?;
        let [discovery, ready, secure, hooks, monitoring] = addresses()?;
        let flag = |name: &str, value: String| format!("--{name}={value}");
        let arguments = [
            "discovery".to_owned(),
            flag("kubeconfig", bed.kubeconfig().display().to_string()),
            flag("meshConfig", settings.display().to_string()),
            flag("namespace", NAMESPACE.to_owned()),
            flag("grpcAddr", discovery.to_string()),
            flag("httpAddr", ready.to_string()),
            flag("secureGRPCAddr", secure.to_string()),
            flag("httpsAddr", hooks.to_string()),
            flag("monitoringAddr", monitoring.to_string()),
            flag("ctrlz_port", "0".to_owned()),
        ];
        // The bed's Gateways are served by somebody else.
        let environment = [
            ("PILOT_ENABLE_GATEWAY_API_GATEWAYCLASS_CONTROLLER", "false"),
            ("PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER", "false"),
            ("POD_NAMESPACE", NAMESPACE),
        ];
        let mut process = Companion::start(&Part::Mesh.program("pilot-discovery")?, &directory, &environment, &arguments)?;
        let deadline = Instant::now() + START_LIMIT;
        while !is_ready(ready) {
            let ended = process.ended()?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("Istio's control plane is not ready; the end of its log:\n{}", host::last_lines(&directory.join("log"), 15));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Self { client: MeshClient { discovery, directory }, _process: process })
    }

    /// How clients find it.
    #[must_use]
    pub fn client(&self) -> MeshClient {
        self.client.clone()
    }
}

impl MeshClient {
    /// A client in this namespace that calls the Service and port `rate` times a second, `calls` times or, without, until it is sent SIGTERM. Then it
    /// prints as JSON how many calls it has `sent`, how many `failed` with which error, and how many which of the `versions` answered.
    ///
    /// # Errors
    /// When its settings cannot be written.
    pub fn caller(&self, namespace: &str, service: &str, port: u16, rate: u32, calls: Option<u32>) -> Result<Command> {
        let bootstrap = json!({
            "xds_servers": [{
                "server_uri": self.discovery.to_string(), "channel_creds": [{ "type": "insecure" }], "server_features": ["xds_v3"],
            }],
            "node": {
                "id": format!("sidecar~127.0.0.1~caller.{namespace}~{namespace}.svc.cluster.local"),
                "metadata": { "GENERATOR": "grpc", "NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes" },
            },
        });
        let path = self.directory.join(format!("caller-{namespace}.json"));
        fs::write(&path, bootstrap.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(Part::Mesh.program("caller")?)
            .arg(format!("--target=xds:///{service}.{namespace}.svc.cluster.local:{port}"))
            .arg(format!("--rate={rate}"))
            .args(calls.map(|calls| format!("--calls={calls}")))
            .env("GRPC_XDS_BOOTSTRAP", path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Ok(command)
    }
}

/// Free addresses of this machine.
fn addresses() -> Result<[SocketAddr; 5]> {
    let listeners = [(); 5].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); 5];
    for (address, listener) in addresses.iter_mut().zip(listeners) {
        *address = listener.and_then(|listener| listener.local_addr()).context("no free port")?;
    }
    Ok(addresses)
}

/// Whether it says of itself that it is.
fn is_ready(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let _ = write!(stream, "GET /ready HTTP/1.0\r\n\r\n");
        let _ = stream.read_to_string(&mut answer);
    }
    answer.starts_with("HTTP/1.0 200")
}
