//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler. Needs no root.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::Part;
use crate::processes::Processes;
use crate::site::Site;
use crate::slot::Slot;
use crate::stop::Stop;

const START_LIMIT: Duration = Duration::from_secs(300);

/// Every request on one line, bodies left out; a watch shows when it starts, anything else when it is answered.
const AUDIT_POLICY: &str = r#"{"apiVersion":"audit.k8s.io/v1","kind":"Policy","omitStages":["RequestReceived"],
"rules":[{"level":"Metadata"}]}"#;

/// Starts the control plane and waits until the API server is ready.
///
/// # Errors
/// When a process cannot be started, ends or is not ready in time, or `stop` is up.
pub fn start(site: &Site, slot: &mut Slot, processes: &mut Processes, stop: &Stop) -> Result<()> {
    site.write_administrator()?;
    let etcd = start_etcd(site, slot, processes)?;
    let (private, public) = site.service_account_keys()?;
    let arguments = api_server_arguments(site, &etcd, &path(&private), &path(&public))?;
    processes.start("kube-apiserver", &Part::ControlPlane.program("kube-apiserver")?, &arguments, None)?;
    wait_until_ready(site, processes, stop)?;

    let authority = path(&site.authority.certificate());
    let kubeconfig = site.component("kube-controller-manager", "system:kube-controller-manager", None)?;
    let arguments = flags(&[
        ("kubeconfig", &path(&kubeconfig)),
        ("service-account-private-key-file", &path(&private)),
        ("root-ca-file", &authority),
        ("use-service-account-credentials", "true"),
        ("leader-elect", "false"),
        ("horizontal-pod-autoscaler-sync-period", "5s"),
        // Its default lies outside the bed's folder.
        ("flex-volume-plugin-dir", &path(&site.directory.join("flex-volume"))),
        // HPA ignores pods younger than this; a test does not wait five minutes for it.
        ("horizontal-pod-autoscaler-cpu-initialization-period", "10s"),
        ("horizontal-pod-autoscaler-initial-readiness-delay", "5s"),
        ("secure-port", "0"),
    ]);
    processes.start("kube-controller-manager", &Part::ControlPlane.program("kube-controller-manager")?, &arguments, None)?;

    let kubeconfig = site.component("kube-scheduler", "system:kube-scheduler", None)?;
    let arguments = flags(&[("kubeconfig", &path(&kubeconfig)), ("leader-elect", "false"), ("secure-port", "0")]);
    processes.start("kube-scheduler", &Part::ControlPlane.program("kube-scheduler")?, &arguments, None)
}

fn start_etcd(site: &Site, slot: &mut Slot, processes: &mut Processes) -> Result<String> {
    let client = format!("http://127.0.0.1:{}", slot.port()?);
    let peer = format!("http://127.0.0.1:{}", slot.port()?);
    let arguments = flags(&[
        ("name", "bed"),
        ("data-dir", &path(&site.directory.join("etcd"))),
        ("listen-client-urls", &client),
        ("advertise-client-urls", &client),
        ("listen-peer-urls", &peer),
        ("initial-advertise-peer-urls", &peer),
        ("initial-cluster", &format!("bed={peer}")),
        // The state is thrown away: waiting for the disk would protect nothing.
        ("unsafe-no-fsync", "true"),
        ("log-level", "warn"),
    ]);
    processes.start("etcd", &Part::ControlPlane.program("etcd")?, &arguments, None)?;
    Ok(client)
}

fn api_server_arguments(site: &Site, etcd: &str, private: &str, public: &str) -> Result<Vec<String>> {
    let policy = site.directory.join("audit-policy.json");
    fs::write(&policy, AUDIT_POLICY).context("cannot write the audit policy")?;
    // Pods of the real node come in by the bridge; without one, loopback is all that is needed.
    let (bind, advertise) =
        if site.options.real_node { ("0.0.0.0", site.network.gateway()) } else { ("127.0.0.1", site.network.fake_node()) };
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1"];
    let mut names: Vec<String> = names.map(str::to_owned).into();
    names.extend(["kubernetes.default.svc.cluster.local".to_owned(), site.network.kubernetes(), site.network.gateway()]);
    let serving = site.authority.server("kube-apiserver", &names)?;
    let kubelet = site.authority.client("kubelet-client", "kube-apiserver-kubelet-client", Some("system:masters"))?;
    let proxy = site.proxy_authority.client("front-proxy-client", "front-proxy-client", None)?;
    Ok(flags(&[
        ("etcd-servers", etcd),
        ("secure-port", &site.port.to_string()),
        ("bind-address", bind),
        ("advertise-address", &advertise),
        ("tls-cert-file", &path(&serving.certificate)),
        ("tls-private-key-file", &path(&serving.key)),
        ("client-ca-file", &path(&site.authority.certificate())),
        ("service-account-key-file", public),
        ("service-account-signing-key-file", private),
        ("service-account-issuer", "https://kubernetes.default.svc"),
        ("authorization-mode", "RBAC"),
        ("service-cluster-ip-range", &site.network.services()),
        ("allow-privileged", "true"),
        ("enable-admission-plugins", "NodeRestriction,OwnerReferencesPermissionEnforcement"),
        ("kubelet-preferred-address-types", "InternalIP"),
        ("kubelet-client-certificate", &path(&kubelet.certificate)),
        ("kubelet-client-key", &path(&kubelet.key)),
        ("requestheader-client-ca-file", &path(&site.proxy_authority.certificate())),
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-username-headers", "X-Remote-User"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("proxy-client-cert-file", &path(&proxy.certificate)),
        ("proxy-client-key-file", &path(&proxy.key)),
        ("audit-policy-file", &path(&policy)),
        ("audit-log-path", &path(&site.audit_log())),
        // In MiB: no rotation in the middle of a test's count.
        ("audit-log-maxsize", "10000"),
    ]))
}

fn wait_until_ready(site: &Site, processes: &mut Processes, stop: &Stop) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        processes.check()?;
        // Asking costs more than looking whether there is anybody to ask.
        let listens = TcpStream::connect(("127.0.0.1", site.port)).context("it does not listen");
        match listens.and_then(|_| site.kubectl(&["get", "--raw", "/readyz", "--request-timeout=5s"])) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                bail!("kube-apiserver is not ready after {} s: {error:#}", START_LIMIT.as_secs())
            }
            Err(_) => stop.pause(Duration::from_millis(300))?,
        }
    }
}

/// `--name=value` for each pair.
#[must_use]
pub fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// A path as text; the bed chooses its paths itself, so nothing is lost.
#[must_use]
pub fn path(path: &std::path::Path) -> String {
    path.display().to_string()
}
