//! What has to be when a run has come to rest.

use jiff::Timestamp;

use super::{Auditor, expected};
use crate::api::status::Phase;
use crate::decide::Kind;
use crate::decide::traffic::{self, users_route};
use crate::sim::cluster::Cluster;
use crate::sim::workloads::Workloads;

impl Auditor {
    /// Everything has come to rest: what stands there is what shall stand there.
    pub(in crate::sim) fn at_end(&mut self, now: Timestamp, cluster: &Cluster, workloads: &Workloads) {
        let Some(service) = cluster.service() else { return };
        let Some(status) = &service.status else { return self.violated(now, "12 the desired state is reached", "no status") };
        let (Some(memory), Some(replicas)) = (&status.rollout, expected::replicas(&service.spec)) else { return };
        if !matches!(status.phase, Some(Phase::Stable | Phase::RolledBack)) {
            return;
        }
        // Where stable lacks pods (a node is lost for good), another revision may go on serving in their place.
        if memory.stable.as_deref().is_some_and(|stable| i32::try_from(workloads.ready(stable)).is_ok_and(|ready| ready < replicas)) {
            return;
        }
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let users = traffic::users(&service.spec).and_then(|key| Some((cluster.objects().get(&key)?, key)));
        if let Some((body, key)) = users.filter(|(body, _)| users_route::is_lent(name, body)) {
            self.violated(now, "16 a user's route is handed back", format!("{key} names a revision: {}", body["spec"]["rules"]));
        }
        if service.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty()) {
            self.violated(now, "16 a finalizer only while a route is lent", format!("{:?}", service.metadata.finalizers));
        }
        for (key, body) in cluster.objects().iter().filter(|(key, _)| key.kind == Kind::Deployment) {
            let revision = body["metadata"]["labels"]["plimsoll.dev/revision"].as_str();
            let wanted = if revision == memory.stable.as_deref() { replicas } else { 0 };
            if body["spec"]["replicas"].as_i64() != Some(wanted.into()) {
                self.violated(
                    now,
                    "12 the desired state is reached",
                    format!("{key} has {} replicas, not {wanted}", body["spec"]["replicas"]),
                );
            }
        }
    }
}
