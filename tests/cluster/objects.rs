//! Looking at objects. Scenarios do so all the time, and a kubectl for each look takes more processor time than the cluster itself.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use plimsoll_bed::Bed;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::sleep;

/// Groups, versions and resources in one answer.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
/// How often an API server too busy to answer is asked.
const ATTEMPTS: u32 = 5;

/// Objects of one namespace, as the bed's administrator sees them. Belongs to the runtime that made it.
pub struct Objects {
    client: kube::Client,
    namespace: String,
}

impl Objects {
    /// Of this namespace.
    pub async fn of(bed: &Bed, namespace: &str) -> Self {
        Self { client: client(bed).await, namespace: namespace.to_owned() }
    }

    /// The object of this kind (by any name that kubectl knows it by) and name, if there is one.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let path = format!("{}/{name}", self.path(kind).await);
        ask(&self.client, &path, "application/json").await
    }

    /// The objects of this kind whose labels this selector matches; all with an empty one.
    pub async fn list(&self, kind: &str, selector: &str) -> Vec<Value> {
        let path = format!("{}?labelSelector={}", self.path(kind).await, selector.replace('=', "%3D"));
        let list = ask(&self.client, &path, "application/json").await.unwrap_or_else(|| panic!("{path} is not there"));
        list["items"].as_array().unwrap().clone()
    }

    async fn path(&self, kind: &str) -> String {
        /// Every name of a kind, with the version that serves it and its plural.
        static KINDS: Mutex<BTreeMap<String, (String, String)>> = Mutex::const_new(BTreeMap::new());
        let mut kinds = KINDS.lock().await;
        if !kinds.contains_key(kind) {
            kinds.append(&mut served(&self.client).await);
        }
        let (version, plural) = kinds.get(kind).unwrap_or_else(|| panic!("the API server knows no {kind}"));
        format!("/{version}/namespaces/{}/{plural}", self.namespace)
    }
}

/// A client of the calling test's own runtime.
pub async fn client(bed: &Bed) -> kube::Client {
    let kubeconfig = Kubeconfig::read_from(bed.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

async fn served(client: &kube::Client) -> BTreeMap<String, (String, String)> {
    let mut kinds = BTreeMap::new();
    for root in ["api", "apis"] {
        let groups = ask(client, &format!("/{root}"), AGGREGATED).await.expect("discovery");
        for group in groups["items"].as_array().unwrap() {
            // The preferred version comes first.
            let (name, version) = (group["metadata"]["name"].as_str().unwrap_or_default(), &group["versions"][0]);
            let served = [root, name, version["version"].as_str().unwrap()].into_iter().filter(|part| !part.is_empty());
            let served = served.collect::<Vec<_>>().join("/");
            for resource in version["resources"].as_array().unwrap() {
                let plural = resource["resource"].as_str().unwrap();
                let short = resource["shortNames"].as_array().into_iter().flatten();
                for name in [&resource["resource"], &resource["singularResource"]].into_iter().chain(short).filter_map(Value::as_str) {
                    kinds.entry(name.to_owned()).or_insert_with(|| (served.clone(), plural.to_owned()));
                }
            }
        }
    }
    kinds
}

/// What the API server answers; none where there is nothing.
async fn ask(client: &kube::Client, path: &str, accept: &str) -> Option<Value> {
    let mut failures = 0;
    loop {
        let request = http::Request::get(path).header("accept", accept).body(Vec::new()).unwrap();
        match client.request(request).await {
            Ok(answer) => return Some(answer),
            Err(kube::Error::Api(status)) if status.code == 404 => return None,
            Err(error) => {
                failures += 1;
                assert!(failures < ATTEMPTS, "{path}: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
