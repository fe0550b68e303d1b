//! Capacity as users have it.

use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::workloads::Workloads;
use crate::decide::Kind;

/// Ready pods that take traffic, and go on doing so under the replicas that are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) pods: usize,
}

impl Served {
    pub(super) fn of(cluster: &Cluster, workloads: &Workloads, service: &str) -> Self {
        let mut ready: BTreeMap<&str, usize> = BTreeMap::new();
        for pod in workloads.endpoints(cluster, service).filter(|pod| pod.counts()) {
            *ready.entry(&pod.owner).or_default() += 1;
        }
        let asked = |owner: &str| {
            let deployment = cluster.objects().iter().find(|(key, _)| key.kind == Kind::Deployment && key.name == owner);
            deployment.and_then(|(_, body)| usize::try_from(body["spec"]["replicas"].as_i64()?).ok()).unwrap_or(0)
        };
        Self { pods: ready.into_iter().map(|(owner, ready)| ready.min(asked(owner))).sum() }
    }
}
