//! Envoy Gateway, installed by its own chart: it obeys what Contour ignores. Its proxy and itself are pods of the real node.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use plimsoll_bed::build::Part;
use plimsoll_bed::image::Image;
use plimsoll_bed::stop::Stop;
use plimsoll_demo::cluster::Cluster;
use plimsoll_demo::wait;
use serde_json::{Value, json};

const NAMESPACE: &str = "envoy-gateway-system";
const RELEASE: &str = "envoy-gateway";
const CLASS: &str = "envoy";
const START_LIMIT: Duration = Duration::from_secs(180);
/// Images are looked through for programs by their names alone.
const PROGRAMS: &str = "/usr/local/bin";
/// The policy that keeps routes of the experimental channel from replacing those of the standard one.
const POLICY: &str = "safe-upgrades.gateway.networking.k8s.io";

/// A Gateway of Envoy Gateway.
pub struct EnvoyGateway {
    /// Where its listener is reached.
    pub address: IpAddr,
}

impl EnvoyGateway {
    /// Builds it, the first time on a machine, installs it, and waits until the Gateway `name` in this namespace is served.
    pub async fn install(cluster: &Cluster, namespace: &str, name: &str) -> Result<Self> {
        tokio::task::spawn_blocking(|| Part::EnvoyGateway.build(&Stop::default())).await.context("the build panicked")??;
        let controller = push(cluster, Part::EnvoyGateway, "envoy-gateway")?;
        let proxy = push(cluster, Part::Gateway, "envoy")?;
        let chart = Part::EnvoyGateway.program("chart")?;
        let definitions = chart.join("charts/crds/crds/generated").display().to_string();
        // Too large for the annotation of a client-side apply.
        cluster.kubectl(&["apply", "--server-side", "--filename", &definitions]).await?;
        // Only a bed that was attached to has one of an earlier run.
        Self::uninstall(cluster, namespace, name).await?;
        let images = [
            format!("global.images.envoyGateway.image={controller}"),
            "global.images.envoyGateway.pullPolicy=IfNotPresent".to_owned(),
            format!("config.envoyGateway.provider.kubernetes.shutdownManager.image={controller}"),
        ];
        let chart = chart.display().to_string();
        let mut arguments = vec!["install", RELEASE, &chart, "--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout=180s"];
        arguments.extend(["--set", "crds.enabled=false", "--set", "topologyInjector.enabled=false"]);
        for image in &images {
            arguments.extend(["--set", image]);
        }
        cluster.helm(&arguments).await?;
        let control = cluster.field(NAMESPACE, &["service", "envoy-gateway"], "{.spec.clusterIP}").await;
        cluster.apply(NAMESPACE, &class(&proxy, &control).to_string()).await?;
        let gateway = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "name": name },
            "spec": { "gatewayClassName": CLASS, "listeners": [{ "name": "http", "protocol": "HTTP", "port": 80 }] },
        });
        cluster.apply(namespace, &gateway.to_string()).await?;
        let served = async || {
            let gateway = ["gateway", name];
            let programmed = cluster.field(namespace, &gateway, "{.status.conditions[?(@.type==\"Programmed\")].status}").await;
            let address = cluster.field(namespace, &gateway, "{.status.addresses[0].value}").await;
            if programmed == "True" { address.parse().ok() } else { None }
        };
        Ok(Self { address: wait::until("Envoy Gateway serves its Gateway", START_LIMIT, served).await? })
    }

    /// Takes it away, if it is there, after its Gateway: it has to let go of that. Its definitions stay.
    pub async fn uninstall(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
        cluster.kubectl(&["delete", "gateway", name, "--namespace", namespace, "--ignore-not-found", "--timeout=60s"]).await?;
        cluster.kubectl(&["delete", "gatewayclass", CLASS, "--ignore-not-found", "--timeout=60s"]).await?;
        cluster.helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found", "--wait"]).await?;
        // Its proxy would wait for minutes for connections to end.
        cluster.kubectl(&["delete", "pods", "--all", "--namespace", NAMESPACE, "--force", "--grace-period=0"]).await?;
        cluster.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s"]).await.map(drop)
    }
}

/// Routes as the experimental channel of the Gateway API has them, in the version that Envoy Gateway knows.
pub async fn install_experimental_routes(cluster: &Cluster) -> Result<()> {
    for kind in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        cluster.kubectl(&["delete", kind, POLICY, "--ignore-not-found"]).await?;
    }
    let routes = Part::EnvoyGateway.program("experimental-routes.yaml")?.display().to_string();
    let install = ["apply", "--server-side", "--force-conflicts", "--filename", &routes];
    // The policy is asked for a moment longer.
    wait::until("routes of the experimental channel are installed", START_LIMIT, async || cluster.kubectl(&install).await.ok())
        .await
        .map(drop)
}

fn push(cluster: &Cluster, part: Part, program: &str) -> Result<String> {
    let place = format!("{PROGRAMS}/{program}");
    let image = Image::new().program(&part.program(program)?, &place).entrypoint(&[&place]).user("65532:65532");
    let reference = cluster.image(&format!("{program}:bed"));
    image.environment("PATH", PROGRAMS).push(&reference)?;
    Ok(reference)
}

/// The class, with its proxy. `control`: where the proxy finds Envoy Gateway, for pods here have no DNS, and Envoy's own resolver reads no file.
fn class(proxy: &str, control: &str) -> Value {
    let hosts = format!("{control} envoy-gateway.{NAMESPACE}.svc.cluster.local.\n");
    let resolver = json!([{ "op": "add", "path": "/typed_dns_resolver_config", "value": {
        "name": "envoy.network.dns_resolver.getaddrinfo",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig" },
    } }]);
    let provider = json!({
        "type": "Kubernetes",
        "kubernetes": {
            "envoyService": { "type": "ClusterIP" },
            "envoyDeployment": {
                "pod": { "volumes": [{ "name": "hosts", "configMap": { "name": "hosts" } }] },
                "container": {
                    "image": proxy,
                    "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
                    "volumeMounts": [{ "name": "hosts", "mountPath": "/etc/hosts", "subPath": "hosts" }],
                },
            },
        },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "hosts", "namespace": NAMESPACE }, "data": { "hosts": hosts } },
        {
            "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
            "metadata": { "name": CLASS, "namespace": NAMESPACE },
            "spec": {
                "provider": provider, "bootstrap": { "type": "JSONPatch", "jsonPatches": resolver },
                // A line for each request is of no use here.
                "telemetry": { "accessLog": { "disable": true } },
            },
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": { "name": CLASS },
            "spec": {
                "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
                "parametersRef": { "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": CLASS, "namespace": NAMESPACE },
            },
        },
    ]})
}
