//! The bed that all scenarios share, with the operator installed in it by helm; each scenario has a namespace of its own.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use libtest_mimic::{Failed, Trial};
use plimsoll_bed::mesh::{Mesh, MeshClient};
use plimsoll_bed::prometheus::Prometheus;
use plimsoll_bed::{Bed, Gateway, Options};
use plimsoll_demo::cluster::Cluster;
use plimsoll_demo::diagnosis::diagnose;
use plimsoll_demo::images::{self, Apps};
use plimsoll_demo::install::Release;
use plimsoll_demo::service::{Service, Watch};
use plimsoll_demo::{nestjs, wait};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::Instant;

/// The program under test, built by cargo with this test.
const OPERATOR: &str = env!("CARGO_BIN_EXE_plimsoll");

struct World {
    runtime: Runtime,
    beside: Mutex<Option<(Prometheus, Mesh)>>,
    bed: Mutex<Option<Bed>>,
    shared: Shared,
    /// Held alone by scenarios that take the node or the operator from all others ([`Turn`]).
    turns: Turns,
}

/// What every scenario gets.
#[derive(Clone)]
pub struct Shared {
    /// The bed's cluster.
    pub cluster: Cluster,
    /// The operator.
    pub release: Release,
    /// Programs to make images of.
    pub apps: Apps,
    /// The `NestJS` app, where it can be built.
    pub nestjs: Option<nestjs::App>,
    /// The shop as it should be.
    pub shop: String,
    /// The load generator's image.
    pub load: String,
    /// The Gateway.
    pub gateway: Gateway,
    /// The mesh.
    pub mesh: MeshClient,
}

/// Whether others may run at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Beside others.
    Shared,
    /// When those have ended, beside others of this kind.
    Late,
    /// Alone.
    Alone,
}

/// Who runs now.
#[derive(Default)]
struct Turns {
    shared: RwLock<()>,
    late: RwLock<()>,
}

/// What a scenario holds while it runs: a place among those of its kind, or everything.
type Held<'a> = (Option<RwLockReadGuard<'a, ()>>, Option<[RwLockWriteGuard<'a, ()>; 2]>);

impl Turn {
    /// Waits until it is this scenario's turn, which lasts as long as what is returned.
    async fn take(self, turns: &Turns) -> Held<'_> {
        if self != Self::Shared {
            others_have_ended().await;
        }
        match self {
            Self::Shared => (Some(turns.shared.read().await), None),
            Self::Late => {
                let place = turns.late.read().await;
                // Granted when none of the others runs any more; they began before.
                drop(turns.shared.write().await);
                (Some(place), None)
            }
            Self::Alone => (None, Some([turns.late.write().await, turns.shared.write().await])),
        }
    }
}

/// `PLIMSOLL_NODE_AFTER` names a file that somebody else who uses this cluster writes when they have ended.
async fn others_have_ended() {
    let Some(file) = std::env::var_os("PLIMSOLL_NODE_AFTER") else { return };
    while !std::path::Path::new(&file).exists() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The scenarios' namespaces. The operator serves no others, so that the demo may bring its own into the same cluster.
static NAMESPACES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
/// Started by the first scenario that runs, so that listing starts nothing. An error is everybody's.
static WORLD: OnceLock<Result<World, String>> = OnceLock::new();

/// Ends the bed and waits until nothing is left of it.
pub fn end() {
    let Some(Ok(world)) = WORLD.get() else { return };
    drop(world.beside.lock().unwrap().take());
    if let Some(bed) = world.bed.lock().unwrap().take() {
        world.runtime.block_on(bed.stop()).unwrap();
    }
}

/// A scenario as a test. Its namespace is called as it is.
pub fn scenario<F: Future<Output = Result<()>>>(name: &'static str, turn: Turn, run: impl FnOnce(Place) -> F + Send + 'static) -> Trial {
    NAMESPACES.lock().unwrap().push(name);
    Trial::test(name.replace('-', "_"), move || {
        let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}"))).as_ref().map_err(Failed::from)?;
        world.runtime.block_on(async {
            let _mine = turn.take(&world.turns).await;
            let began = Instant::now();
            let place = Place { namespace: name, shared: world.shared.clone() };
            let result = run(place.clone()).await;
            let told = match &result {
                Ok(()) => String::new(),
                Err(_) => diagnose(&place.shared.cluster, &place.shared.release, &[name]).await,
            };
            // Its pods would take processor time from the others.
            place.clear().await?;
            eprintln!("{name}: {} s", began.elapsed().as_secs());
            result.map_err(|error| Failed::from(format!("{error:#}\n{told}")))
        })
    })
}

fn start() -> Result<World> {
    let runtime = Runtime::new().context("no runtime")?;
    let (bed, beside, shared) = runtime.block_on(async {
        let bed = Bed::start_or_attach(Options { fake_nodes: 1, gateway: true, ..Options::real() }).await?;
        let cluster = Cluster::of_bed(&bed)?;
        let gateway = bed.gateway().cloned().context("the bed has no Gateway")?;
        let folder = PathBuf::from(OPERATOR).with_file_name("demo-apps");
        let (apps, nestjs) = (images::build_apps(&folder)?, nestjs::build(&folder)?);
        let operator = images::push_operator(&cluster, OPERATOR.as_ref())?;
        let namespaces = NAMESPACES.lock().unwrap().clone();
        let serves = namespaces.iter().map(|&name| name.to_owned()).collect();
        let address = cluster
            .kubectl(&["get", "nodes", "--output=jsonpath={.items[?(@.metadata.name=='real-1')].status.addresses[0].address}"])
            .await?;
        let address = address.trim().parse().with_context(|| format!("the node has the address {address:?}"))?;
        let prometheus = Prometheus::start(&bed, &namespaces, address).await?;
        let (url, mesh) = (Some(prometheus.url()), Mesh::start(&bed).await?);
        let release = Release {
            name: "plimsoll".into(),
            namespace: "plimsoll-system".into(),
            serves,
            watch_nodes: true,
            prometheus: url,
            gateway: true,
            jobs: true,
        };
        // Only a bed that was attached to has one of an earlier run.
        release.uninstall(&cluster).await?;
        let all: Vec<_> = namespaces.iter().copied().chain([release.namespace.as_str()]).map(namespace).collect();
        cluster.apply("default", &json!({ "apiVersion": "v1", "kind": "List", "items": all }).to_string()).await?;
        release.install(&cluster, &operator).await?;
        let (shop, load) = (images::push_shop(&cluster, images::shop(&apps, "1"), "1", &[])?, images::push_load(&cluster, &apps)?);
        let client = mesh.client();
        anyhow::Ok((bed, (prometheus, mesh), Shared { cluster, release, apps, nestjs, shop, load, gateway, mesh: client }))
    })?;
    Ok(World { runtime, beside: Mutex::new(Some(beside)), bed: Mutex::new(Some(bed)), shared, turns: Turns::default() })
}

fn namespace(name: &str) -> Value {
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
}

/// A scenario's namespace.
#[derive(Clone)]
pub struct Place {
    /// Its name.
    pub namespace: &'static str,
    /// What all scenarios share.
    pub shared: Shared,
}

impl Place {
    /// Takes away what is here; the namespace stays, and the operator's rights in it.
    async fn clear(&self) -> Result<()> {
        let cluster = &self.shared.cluster;
        cluster.kubectl(&["delete", "productionservices,pods", "--all", "--namespace", self.namespace, "--timeout=240s"]).await?;
        let gone = async || self.field(&["pods"], "{.items[*].metadata.name}").await.is_empty().then_some(());
        wait::until("no pod is left", Duration::from_secs(240), gone).await
    }

    /// `kubectl apply`.
    pub async fn apply(&self, service: &Value) -> Result<()> {
        self.shared.cluster.apply(self.namespace, &service.to_string()).await.map(drop)
    }

    /// A field of an object here.
    pub async fn field(&self, object: &[&str], path: &str) -> String {
        self.shared.cluster.field(self.namespace, object, path).await
    }

    /// Watches the service `name`.
    pub fn watch(&self, name: &str) -> Result<Watch<Service>> {
        Watch::start(&self.shared.cluster, self.namespace, &["productionservices", name])
    }

    /// Waits until the service `shop` is in `phase` with its present spec. Another end than that is an error at once.
    pub async fn settled(&self, phase: &str, limit: Duration) -> Result<Service> {
        let service = self.until(limit, |service| ["Stable", "RolledBack", "Blocked"].iter().any(|phase| service.is(phase))).await?;
        if !service.is(phase) {
            bail!("the service is {} instead of {phase}: {}", service.status.phase, service.status.message);
        }
        Ok(service)
    }

    /// Waits until the service `shop` is as `wanted`.
    pub async fn until(&self, limit: Duration, mut wanted: impl FnMut(&Service) -> bool) -> Result<Service> {
        let mut watch = self.watch("shop")?;
        let mut latest = Service::default();
        let seen = tokio::time::timeout(limit, async {
            while !wanted(&latest) {
                latest = watch.next(limit).await?;
            }
            anyhow::Ok(())
        });
        match seen.await {
            Ok(Ok(())) => Ok(latest),
            Ok(Err(error)) => Err(error),
            Err(_) => bail!("not within {} s; last seen: {} {}", limit.as_secs(), latest.status.phase, latest.status.message),
        }
    }

    /// The shop's answer to a request through its Service.
    pub async fn visit(&self) -> Result<Value> {
        let path = format!("/api/v1/namespaces/{}/services/shop:8080/proxy/", self.namespace);
        let body = self.shared.cluster.kubectl(&["get", "--raw", &path]).await?;
        serde_json::from_str(&body).context("the shop answers something else")
    }
}

/// The sentence says it.
pub fn says(sentence: &str, words: &[&str]) -> Result<()> {
    for word in words {
        anyhow::ensure!(sentence.contains(word), "{word:?} is not in: {sentence}");
    }
    Ok(())
}
