//! Everything but the operator: cluster, workloads, users, and what is written down about them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::demand::{Demand, LONGEST, MetricsFault};
use super::gateway;
use super::invariants::Auditor;
use super::jobs::Jobs;
use super::scenario::{Action, Role, Scenario, Watch};
use super::timeline::Timeline;
use super::webhooks::Webhooks;
use super::workloads::Workloads;
use crate::api::control::PromoteTo;
use crate::api::status::Memory;
use crate::api::{ProductionService, ProductionServiceSpec};
use crate::decide::gates::Neighbour;
use crate::decide::traffic;
use crate::decide::{Kind, ObjectKey};

/// The world that the operator acts on.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) name: String,
    pub(super) cluster: Cluster,
    pub(super) workloads: Workloads,
    pub(super) demand: Demand,
    pub(super) timeline: Timeline,
    pub(super) auditor: Auditor,
    /// When the operator wrote or measured last.
    pub(super) active: Timestamp,
    /// Other services of the namespace, with the image that is stable there.
    pub(super) webhooks: Webhooks,
    neighbours: BTreeMap<String, String>,
    /// Pods that take traffic and their percent of it, by revision, as last printed.
    traffic: BTreeMap<String, (usize, f64)>,
}

impl World {
    pub(super) fn new(scenario: &Scenario, seed: u64, now: Timestamp) -> Self {
        let mut service = ProductionService::new(&scenario.name, scenario.service.clone());
        service.metadata.namespace = Some("default".into());
        let mut cluster = Cluster::new();
        if let Some(key) = traffic::users(&service.spec) {
            let backend = json!({"group": "", "kind": "Service", "name": scenario.name, "port": 80, "weight": 1});
            cluster.publish(&key, now, |body| {
                body["metadata"]["labels"] = json!({"plimsoll.dev/service": scenario.name});
                body["spec"] = json!({"parentRefs": [{"name": "public"}], "rules": [{"backendRefs": [backend]}]});
            });
        }
        cluster.put_service(service, now);
        Self {
            now,
            name: scenario.name.clone(),
            cluster,
            workloads: Workloads::new(scenario.nodes, scenario.images.clone(), Jobs::new(scenario.jobs.clone()), seed),
            demand: Demand::new(scenario.traffic, seed),
            timeline: Timeline::new(),
            auditor: Auditor::default(),
            active: now,
            neighbours: scenario.neighbours.clone(),
            webhooks: Webhooks::new(scenario.webhooks.clone()),
            traffic: BTreeMap::new(),
        }
    }

    /// The story begins: 0:00.
    pub(super) fn begin(&mut self) {
        self.timeline.begin(self.now);
        self.demand.served.clear();
        self.demand.lost = 0;
    }

    /// What the operator remembers, as it stands in the API server.
    pub(super) fn memory(&self) -> Option<&Memory> {
        self.cluster.service()?.status.as_ref()?.rollout.as_ref()
    }

    /// What gates see of the other services.
    pub(super) fn neighbours(&self) -> BTreeMap<String, Neighbour> {
        self.neighbours.iter().map(|(name, image)| (name.clone(), Neighbour { stable_image: Some(image.clone()) })).collect()
    }

    /// A line in the timeline.
    pub(super) fn say(&mut self, who: &str, what: &str, reason: &str) {
        self.timeline.line(self.now, who, what, reason);
    }

    /// When something happens next without anybody doing anything.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        let users = (self.demand.traffic.requests_per_second > 0.0).then(|| self.now + LONGEST);
        self.workloads.wake().into_iter().chain(users).min()
    }

    /// Lets time pass: users send requests, then whatever is due happens.
    pub(super) fn pass(&mut self, to: Timestamp) {
        self.demand.pass(self.now, to, &self.workloads, &self.cluster, &self.name);
        self.now = self.now.max(to);
    }

    /// What is due for nodes, pods and controllers.
    pub(super) fn settle(&mut self) {
        self.workloads.notice(&self.cluster, self.now);
        self.workloads.advance(&mut self.cluster, &mut self.timeline, self.now);
        self.tell_traffic();
    }

    fn tell_traffic(&mut self) {
        let mut traffic: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        for share in gateway::shares(&self.workloads, &self.cluster, &self.name) {
            let pods: Vec<_> = share.pods.into_iter().filter(|pod| pod.counts()).collect();
            for pod in &pods {
                let (count, percent) = traffic.entry(pod.shown.state.revision.clone()).or_default();
                *count += 1;
                *percent += 100.0 * share.of_all / pods.len() as f64;
            }
        }
        if traffic != self.traffic {
            let share = |(revision, (count, percent)): (&String, &(usize, f64))| format!("{percent:.0}% to {revision} ({count})");
            let none = traffic.is_empty();
            let text = if none { "no pod takes traffic".to_owned() } else { traffic.iter().map(share).collect::<Vec<_>>().join(", ") };
            self.traffic = traffic;
            self.say("traffic", &text, "");
        }
    }

    fn patch(&mut self, patch: &Value) {
        let Some(service) = self.cluster.service() else { return };
        let mut service = service.clone();
        let mut spec = serde_json::to_value(&service.spec).unwrap_or_default();
        merge(&mut spec, patch);
        match serde_json::from_value::<ProductionServiceSpec>(spec) {
            Ok(spec) => {
                service.spec = spec;
                self.cluster.put_service(service, self.now);
                self.say("user", &format!("spec: {patch}"), "");
            }
            Err(error) => self.say("user", &format!("spec: {patch}"), &format!("refused by the API server: {error}")),
        }
    }

    fn revision(&self, role: Role) -> Option<String> {
        let memory = self.memory()?;
        match role {
            Role::Stable => memory.stable.clone(),
            Role::Candidate => memory.progress.as_ref().map(|progress| progress.revision.clone()),
        }
    }

    fn deployment(&self, role: Role) -> Option<ObjectKey> {
        Some(ObjectKey::new(Kind::Deployment, format!("{}-{}", self.name, self.revision(role)?)))
    }

    fn command(&mut self, command: impl FnOnce(String) -> Value) {
        match self.revision(Role::Candidate) {
            Some(revision) => self.patch(&json!({"control": command(revision)})),
            None => self.say("user", "a command to a rollout", "none is on"),
        }
    }

    fn scale(&mut self, who: &str, replicas: i32) {
        let Some(mut service) = self.cluster.service().cloned() else { return };
        service.spec.replicas = Some(replicas);
        self.cluster.put_service(service, self.now);
        self.say(who, &format!("scale to {replicas}"), "");
    }

    fn autoscale(&mut self, replicas: i32) {
        let Some(service) = self.cluster.service() else { return };
        if !self.cluster.objects().contains_key(&ObjectKey::new(Kind::HorizontalPodAutoscaler, &self.name)) {
            self.say("hpa", "does not exist", "");
        } else if service.spec.replicas.is_none() {
            self.say("hpa", "cannot read the scale", "spec.replicas is absent");
        } else {
            self.scale("hpa", replicas);
        }
    }

    fn delete_jobs(&mut self) {
        let jobs: Vec<ObjectKey> = self.cluster.objects().keys().filter(|key| key.kind == Kind::Job).cloned().collect();
        for key in jobs {
            if self.cluster.delete(&key, None, self.now).is_ok() {
                self.say("user", &format!("deletes {key}"), "");
            }
        }
    }

    /// What somebody or something does; what concerns operators is done by them.
    pub(super) fn act(&mut self, action: &Action) {
        match action {
            Action::Spec(patch) => self.patch(patch),
            Action::Pause(paused) => self.patch(&json!({"control": {"paused": paused}})),
            Action::Abort {} => self.command(|revision| json!({"abort": revision})),
            Action::Promote(to) => {
                let to = if *to == PromoteTo::Next { "next" } else { "full" };
                self.command(|revision| json!({"promote": {"revision": revision, "to": to}}));
            }
            Action::Retry { attempt } => {
                let quarantined =
                    self.cluster.service().and_then(|service| service.status.as_ref()).and_then(|status| status.quarantined.last());
                match quarantined.map(|quarantined| quarantined.revision.clone()) {
                    Some(revision) => self.patch(&json!({"control": {"retry": {"revision": revision, "attempt": attempt}}})),
                    None => self.say("user", "retry", "no revision is quarantined"),
                }
            }
            Action::Approve { gate, by } => {
                let approve = |revision| json!({"approve": [{"revision": revision, "gate": gate, "by": by}]});
                self.command(approve);
            }
            Action::Neighbours(images) => {
                self.neighbours.extend(images.clone());
                for (name, image) in images {
                    self.say("others", &format!("{name} is stable with {image}"), "");
                }
                // Its watch wakes whoever depends on it.
                if let Some(service) = self.cluster.service().cloned() {
                    self.cluster.put_service(service, self.now);
                }
            }
            Action::Scale(replicas) => self.scale("user", *replicas),
            Action::Autoscale(replicas) => self.autoscale(*replicas),
            Action::LoseNode(node) => {
                self.workloads.lose_node(*node, self.now);
                self.say("nodes", &format!("node {node} stops answering"), "");
            }
            Action::RestoreNode(node) => {
                self.workloads.restore_node(*node, self.now);
                self.say("nodes", &format!("node {node} is back"), "");
            }
            Action::Metrics { answer, lasting, half } => {
                self.demand.fault = Some(MetricsFault { until: self.now + lasting.0, answer: *answer, half: *half });
                self.say(
                    "metrics",
                    &format!("{answer:?} of {} for {:#}", if *half { "every second pod" } else { "all pods" }, lasting.0),
                    "",
                );
            }
            Action::Behave(images) => {
                for (image, behaviour) in images {
                    self.workloads.behave(image, behaviour.clone(), self.now);
                    self.say("pods", &format!("{image} behaves in another way from now on"), &behaviour.to_string());
                }
            }
            Action::Traffic(traffic) => {
                self.demand.traffic = *traffic;
                self.say("users", &format!("{} requests a second", traffic.requests_per_second), "");
            }
            Action::GatewayStops(wait) => {
                self.workloads.gateway.stop(self.now + wait.0);
                self.say("route", &format!("its Gateway's controller stops for {:#}", wait.0), "");
            }
            Action::LoseStatus {} => {
                let version = self.cluster.service().and_then(|service| service.metadata.resource_version.clone()).unwrap_or_default();
                if self.cluster.put_status(&version, None, self.now).is_ok() {
                    self.auditor.forget();
                    self.say("user", "status is lost", "as after restoring a backup");
                }
            }
            Action::EditReplicas { of, replicas } => {
                let Some(key) = self.deployment(*of) else { return };
                self.cluster.edit(&key, self.now, |body| body["spec"]["replicas"] = (*replicas).into());
                self.say("user", &format!("edits Deployment {}: {replicas} replicas", key.name), "");
            }
            Action::DeleteDeployment(of) => {
                let Some(key) = self.deployment(*of) else { return };
                if self.cluster.delete(&key, None, self.now).is_ok() {
                    self.say("user", &format!("deletes Deployment {}", key.name), "");
                }
            }
            Action::Jobs(ends) => {
                self.workloads.jobs.behave(ends);
                let gates: Vec<&str> = ends.keys().map(String::as_str).collect();
                self.say("user", &format!("mends what the Jobs of {} do", gates.join(", ")), "");
            }
            Action::DeleteJobs {} => self.delete_jobs(),
            Action::DeleteService {} => {
                self.cluster.delete_service(self.now);
                self.say("user", "deletes the service", "");
            }
            Action::OperatorDown(_)
            | Action::OperatorDies(_)
            | Action::Conflicts(_)
            | Action::SecondOperator(_)
            | Action::Lag { .. }
            | Action::Heal {} => {}
        }
    }

    /// Whether anything changed that a watch shows, at or after `then`.
    pub(super) fn changed_since(&self, then: Timestamp) -> bool {
        Watch::ALL.iter().any(|watch| self.cluster.changed(*watch).is_some_and(|at| at >= then))
    }
}

/// JSON merge patch (RFC 7386).
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.remove(name);
            }
        } else {
            merge(&mut target[name], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_merges_and_null_removes() {
        let mut target = json!({"image": "shop:1", "control": {"paused": true, "abort": "x"}});
        merge(&mut target, &json!({"image": "shop:2", "control": {"abort": null}, "replicas": 3}));
        assert_eq!(target, json!({"image": "shop:2", "control": {"paused": true}, "replicas": 3}));
    }
}
