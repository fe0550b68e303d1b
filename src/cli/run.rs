//! `plimsoll run`: the operator.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use kube::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use crate::controller::lease::LeaseSettings;
use crate::controller::prometheus::Providers;
use crate::controller::telemetry::{self, LogFormat};
use crate::controller::webhooks::Webhooks;
use crate::controller::{self, Settings, client};

/// Run the operator.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(after_help = "Ends by SIGTERM or ctrl-C: what is under way is finished and the lease given up, within 10 seconds.")]
pub struct Arguments {
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "PLIMSOLL_METRICS_ADDRESS", default_value = "127.0.0.1:8080")]
    metrics_address: SocketAddr,
    /// Format of the log lines on standard error.
    #[arg(long, env = "PLIMSOLL_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// error, warn, info, debug or trace; or a filter as of tracing's EnvFilter.
    #[arg(long, env = "PLIMSOLL_LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// Namespaces to serve, separated by commas. Default: all of them.
    #[arg(long, env = "PLIMSOLL_WATCH_NAMESPACES", value_delimiter = ',', value_name = "NAMESPACE")]
    watch_namespaces: Vec<String>,
    /// Watch nodes, so that pods lost with their node are not held against a version. Needs the right to list and watch nodes.
    #[arg(long, env = "PLIMSOLL_WATCH_NODES")]
    watch_nodes: bool,
    /// Read Gateways and their classes, to say which features of a route are not proven. Needs the right to get both.
    #[arg(long, env = "PLIMSOLL_READ_GATEWAYS")]
    read_gateways: bool,
    /// Make Jobs for the gates that ask for them. Needs the right to list, watch, create and delete Jobs.
    #[arg(long, env = "PLIMSOLL_JOBS")]
    jobs: bool,
    /// The chart's admission policy for approvals is installed: nobody can approve in another one's name. Without it, status says unverified.
    #[arg(long, env = "PLIMSOLL_APPROVALS_VERIFIED")]
    approvals_verified: bool,
    /// Namespace of the lease by which one of several replicas leads. Default: the operator's own, from POD_NAMESPACE or the kubeconfig.
    #[arg(long, env = "PLIMSOLL_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of the lease.
    #[arg(long, env = "PLIMSOLL_LEASE_NAME", default_value = "plimsoll", value_name = "NAME")]
    lease_name: String,
    /// Lead without a lease. Only where no second replica runs.
    #[arg(long, env = "PLIMSOLL_NO_LEASE", conflicts_with = "lease_namespace")]
    no_lease: bool,
    /// Services that are looked at side by side.
    #[arg(long, env = "PLIMSOLL_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// File with the Prometheus servers that specs may name: `main: {prometheus: {url: "http://prometheus.monitoring:9090"}}`.
    #[arg(long, env = "PLIMSOLL_PROVIDERS", value_name = "FILE")]
    providers: Option<PathBuf>,
    /// File with the key that webhooks of gates are signed with, and where they may go: `keyFile`, `plainHosts`, `privateRanges`, `caFile`.
    #[arg(long, env = "PLIMSOLL_WEBHOOKS", value_name = "FILE")]
    webhooks: Option<PathBuf>,
    /// Gateways of other namespaces that specs may name in `expose.gateway`, each as NAME=NAMESPACE/GATEWAY, separated by commas.
    #[arg(long, env = "PLIMSOLL_GATEWAYS", value_delimiter = ',', value_name = "NAME=NAMESPACE/GATEWAY", value_parser = gateway)]
    gateways: Vec<(String, (String, String))>,
    #[command(flatten)]
    cluster: Cluster,
    /// Namespace that the operator's pod runs in.
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pod_namespace: Option<String>,
    /// Name of the operator's pod.
    #[arg(long, env = "POD_NAME", hide = true)]
    pod_name: Option<String>,
}

/// Runs until a signal says stop.
///
/// # Errors
/// When the operator cannot begin.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::log(arguments.log_format, &arguments.log_level)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let config = arguments.cluster.config().await?;
        let providers = read(arguments.providers.as_deref(), "is no list of providers", Providers::read)?.unwrap_or_default();
        let webhooks = read(arguments.webhooks.as_deref(), "does not say how webhooks are sent", Webhooks::read)?;
        let settings = settings(arguments, &config, providers, webhooks);
        controller::run(client::client(config)?, settings, stopped_by_signal()?).await
    })
}

/// What a file of the operator's own says, if there is one; `purpose`: what it cannot be taken for if it makes no sense.
fn read<T>(file: Option<&Path>, purpose: &str, parse: impl Fn(&str) -> anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text).with_context(|| format!("{} {purpose}", file.display())).map(Some)
}

fn settings(arguments: Arguments, config: &Config, providers: Providers, webhooks: Option<Webhooks>) -> Settings {
    let operator_namespace = arguments.pod_namespace.unwrap_or_else(|| config.default_namespace.clone());
    let instance = arguments.pod_name.unwrap_or_else(|| "plimsoll".into());
    let lease = (!arguments.no_lease).then(|| LeaseSettings {
        namespace: arguments.lease_namespace.unwrap_or_else(|| operator_namespace.clone()),
        name: arguments.lease_name,
        identity: controller::identity(&instance),
    });
    Settings {
        metrics_address: arguments.metrics_address,
        watch_namespaces: arguments.watch_namespaces.into_iter().filter(|namespace| !namespace.is_empty()).collect(),
        watch_nodes: arguments.watch_nodes,
        read_gateways: arguments.read_gateways,
        jobs: arguments.jobs,
        approvals_verified: arguments.approvals_verified,
        lease,
        concurrency: arguments.concurrency.into(),
        operator_namespace,
        instance,
        providers,
        webhooks,
        api_server: api_server(config),
        gateways: arguments.gateways.into_iter().collect(),
    }
}

fn api_server(config: &Config) -> (String, u16) {
    let url = &config.cluster_url;
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    (host, url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 }))
}

fn gateway(text: &str) -> Result<(String, (String, String)), String> {
    let parts = text.split_once('=').and_then(|(name, place)| Some((name, place.split_once('/')?)));
    match parts {
        Some((name, (namespace, gateway))) if ![name, namespace, gateway].contains(&"") => {
            Ok((name.to_owned(), (namespace.to_owned(), gateway.to_owned())))
        }
        _ => Err("write NAME=NAMESPACE/GATEWAY, for example public=infra/public".to_owned()),
    }
}

fn stopped_by_signal() -> anyhow::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("asked to stop");
        stopped.cancel();
    });
    Ok(stop)
}
