//! Where the demo plays: a bed of its own, a bed that is up already, or a cluster that the user names.

use std::fs;

use anyhow::{Context, Result, bail};
use plimsoll_bed::build::{Part, build_crane};
use plimsoll_bed::stop::Stop;
use plimsoll_bed::{Bed, Description, Options, host};
use plimsoll_demo::cluster::Cluster;
use plimsoll_demo::install::{CRD, Release, crd_exists};

use crate::say::{say, step};

/// Where the app lives. The demo makes this namespace, and takes it away again.
pub const NAMESPACE: &str = "plimsoll-demo";
/// Marks namespaces that an earlier demo has made and could not remove.
const LABEL: &str = "plimsoll.dev/demo";

/// What the environment asks for.
pub enum Place {
    /// The test bed with its real node.
    Bed,
    /// A context of the user's kubeconfig, and a registry that its nodes can pull from.
    User {
        /// The context's name.
        context: String,
        /// `host/path`
        registry: String,
    },
}

impl Place {
    /// Reads `DEMO_CONTEXT` and `DEMO_REGISTRY`.
    ///
    /// # Errors
    /// When only one of them is set.
    pub fn from_environment() -> Result<Self> {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (read("DEMO_CONTEXT"), read("DEMO_REGISTRY")) {
            (None, None) => Ok(Self::Bed),
            (Some(context), Some(registry)) => Ok(Self::User { context, registry }),
            (Some(context), None) => bail!(
                "DEMO_CONTEXT={context} names your own cluster, and its nodes must be able to pull the demo's images: set DEMO_REGISTRY as \
                 well, to a registry that you can push to, for example DEMO_CONTEXT={context} DEMO_REGISTRY=registry.example/demo make demo"
            ),
            (None, Some(_)) => bail!("DEMO_REGISTRY is for a cluster of your own: set DEMO_CONTEXT as well, or neither"),
        }
    }
}

/// A cluster with what the demo has put there so far, so that it can be taken away again at any moment.
#[derive(Default)]
pub struct Ground {
    /// Ends the cluster when it is stopped; none where the cluster is somebody else's.
    bed: Option<Bed>,
    cluster: Option<Cluster>,
    release: Option<Release>,
    namespaces: Vec<String>,
    installed: bool,
    brought_crd: bool,
}

impl Ground {
    /// The cluster, once there is one.
    ///
    /// # Errors
    /// Before `prepare`.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("there is no cluster yet")
    }

    /// The release, once there is a cluster.
    #[must_use]
    pub fn release(&self) -> Option<&Release> {
        self.release.as_ref()
    }

    /// Makes or finds the cluster, and the demo's namespaces in it.
    ///
    /// # Errors
    /// When the bed does not start, the cluster does not answer, or somebody else's plimsoll runs in it.
    pub async fn prepare(&mut self, place: &Place) -> Result<()> {
        let (cluster, release) = self.find(place).await?;
        let version = cluster.kubectl(&["version", "--output=json"]).await.context("the cluster does not answer")?;
        let version: serde_json::Value = serde_json::from_str(&version).context("kubectl's version cannot be read")?;
        say("cluster", &format!("Kubernetes {}", version["serverVersion"]["gitVersion"].as_str().unwrap_or_default()));
        self.brought_crd = !crd_exists(&cluster).await;
        let namespaces = [NAMESPACE, release.namespace.as_str()];
        remove_leftovers(&cluster, &release, &namespaces).await?;
        refuse_others(&cluster).await?;
        for namespace in namespaces {
            self.namespaces.push(namespace.to_owned());
            cluster.apply("default", &namespace_manifest(namespace)).await?;
        }
        (self.cluster, self.release) = (Some(cluster), Some(release));
        Ok(())
    }

    /// The cluster, and what is to be installed in it.
    async fn find(&mut self, place: &Place) -> Result<(Cluster, Release)> {
        let release = |name: &str, namespace: &str, serves: &[&str]| Release {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            serves: serves.iter().map(|&name| name.to_owned()).collect(),
            prometheus: None,
            gateway: false,
            jobs: false,
            watch_nodes: false,
        };
        // In a cluster that others use, the operator sees the demo's namespace and nothing else.
        let guest = release("plimsoll-demo", "plimsoll-demo-operator", &[NAMESPACE]);
        if let Place::User { context, registry } = place {
            // Of the bed only its tools: kubectl, helm, and crane for the images.
            step("tools", "building kubectl, helm and crane, where they are missing", build_tools()).await?;
            return Ok((Cluster::of_user(context, registry), guest));
        }
        if let Some(bed) = running_bed()? {
            say("bed", "using the bed that is up (make bed); it stays up");
            return Ok((Cluster::of_bed(&bed)?, guest));
        }
        let start = Bed::start(Options { metrics_server: false, ..Options::real() });
        let bed = step("bed", "starting a Kubernetes with a real node on this machine", start).await?;
        let cluster = Cluster::of_bed(&bed)?;
        self.bed = Some(bed);
        Ok((cluster, release("plimsoll", "plimsoll-system", &[])))
    }

    /// From now on there is a release to be taken away.
    pub fn begin_install(&mut self) {
        self.installed = true;
    }

    /// Takes everything away that the demo has brought, but for what the chart leaves on purpose.
    ///
    /// # Errors
    /// When something could not be removed; the message says what.
    pub async fn clear(&mut self) -> Result<()> {
        if let Some(bed) = self.bed.take() {
            return step("bed", "taking the cluster away", bed.stop()).await;
        }
        let Some(cluster) = self.cluster.take() else { return Ok(()) };
        let namespaces = std::mem::take(&mut self.namespaces);
        step("cleanup", &format!("removing the release and the namespaces {}", namespaces.join(", ")), async {
            // The apps first, while their operator is there: nothing depends on it, but so no half of it is seen.
            for namespace in &namespaces {
                if self.release.as_ref().is_some_and(|release| release.namespace == *namespace) && self.installed {
                    let release = self.release.take().context("there is no release")?;
                    release.uninstall(&cluster).await?;
                }
                cluster.kubectl(&["delete", "namespace", namespace, "--ignore-not-found", "--timeout=240s"]).await?;
            }
            anyhow::Ok(())
        })
        .await?;
        if self.brought_crd && self.installed {
            say("cleanup", &format!("the CRD stays, as the chart has it; to remove it too: kubectl delete crd {CRD}"));
        }
        Ok(())
    }
}

/// Removes what an earlier demo left that was killed; namespaces of the same name that it did not make stop the demo.
async fn remove_leftovers(cluster: &Cluster, release: &Release, namespaces: &[&str]) -> Result<()> {
    let mut found = Vec::new();
    for &namespace in namespaces {
        let labels = cluster.field("default", &["namespace", namespace], "{.metadata.name} {.metadata.labels}").await;
        if !labels.trim().is_empty() {
            if !labels.contains(LABEL) {
                bail!("the namespace {namespace} exists and is not of an earlier demo: the demo will not touch it; rename or delete it");
            }
            found.push(namespace);
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    step("cleanup", &format!("removing what an earlier demo left in {}", found.join(", ")), async {
        release.uninstall(cluster).await?;
        let mut arguments = vec!["delete", "namespace", "--ignore-not-found", "--timeout=240s"];
        arguments.extend(found);
        cluster.kubectl(&arguments).await.map(drop)
    })
    .await
}

/// Two operators would fight over the demo's app; one that serves other namespaces only is no matter.
async fn refuse_others(cluster: &Cluster) -> Result<()> {
    let shown =
        "--output=jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.spec.template.spec.containers[*].args}{'\\n'}{end}";
    let arguments =
        ["get", "deployments", "--all-namespaces", "--selector=app.kubernetes.io/name=plimsoll,app.kubernetes.io/managed-by=Helm", shown];
    let found = cluster.kubectl(&arguments).await.context("cannot see whether plimsoll runs in this cluster already")?;
    let others: Vec<_> =
        found.lines().filter_map(|line| line.split_once(' ')).filter(|(_, arguments)| serves(arguments, NAMESPACE)).collect();
    if let Some((name, _)) = others.first() {
        bail!("plimsoll runs in this cluster already ({name}): it and the demo's would fight over the demo's app");
    }
    Ok(())
}

/// Whether an operator with these arguments (a JSON list, as kubectl prints it) serves the namespace.
fn serves(arguments: &str, namespace: &str) -> bool {
    let arguments: Vec<String> = serde_json::from_str(arguments).unwrap_or_default();
    let namespaces = arguments.iter().find_map(|argument| argument.strip_prefix("--watch-namespaces="));
    namespaces.is_none_or(|namespaces| namespaces.split(',').any(|name| name == namespace))
}

fn namespace_manifest(name: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": { LABEL: "true", "pod-security.kubernetes.io/enforce": "restricted" } },
    })
    .to_string()
}

async fn build_tools() -> Result<()> {
    tokio::task::spawn_blocking(|| {
        Part::Kubectl.build(&Stop::default())?;
        build_crane(&Stop::default())
    })
    .await
    .context("building the tools panicked")?
}

/// The bed that `make bed` has left running, if it has a real node.
fn running_bed() -> Result<Option<Bed>> {
    let Ok(directory) = fs::read_to_string(host::runtime_directory()?.join("up")) else { return Ok(None) };
    let Ok(description) = Description::load(directory.trim().as_ref()) else { return Ok(None) };
    let usable = description.is_held() && description.real_node;
    usable.then(|| Bed::attach(&description.kubeconfig)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_serves_what_it_was_told_or_everything() {
        let cases = [
            // why                          arguments                                             serves
            ("it serves all namespaces", r#"["run","--log-format=json"]"#, true),
            ("it serves the demo's", r#"["run","--watch-namespaces=shop,plimsoll-demo"]"#, true),
            ("it serves others only", r#"["run","--watch-namespaces=shop,plimsoll-demo-2"]"#, false),
            ("nothing is known of it", "", true),
        ];
        for (why, arguments, expected) in cases {
            assert_eq!(serves(arguments, NAMESPACE), expected, "{why}");
        }
    }
}
