//! Stand-ins for the controllers and kubelets that turn Deployments into pods and Services into endpoints.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::gateway::{self, Gateway};
use super::jobs::Jobs;
use super::pods::{Sight, SimPod, Step};
use super::random::Random;
use super::scenario::{Behaviour, Watch};
use super::timeline::Timeline;
use crate::decide::{Kind, ObjectKey};

/// How long a Deployment's controller takes to see a change.
const REACTION: SignedDuration = SignedDuration::from_millis(200);
/// How long a node is silent before it is marked unreachable, and then before its pods are evicted (both Kubernetes' defaults).
const NODE_GRACE: SignedDuration = SignedDuration::from_secs(40);
const EVICTED_AFTER: SignedDuration = SignedDuration::from_secs(340);

/// Nodes and pods.
#[derive(Debug)]
pub(super) struct Workloads {
    /// Since when each node is lost; `None`: it works.
    nodes: Vec<Option<Timestamp>>,
    pods: BTreeMap<String, SimPod>,
    images: BTreeMap<String, Behaviour>,
    random: Random,
    made: u64,
    /// The change of objects that was acted on last, and when to act on the present one.
    seen: Option<Timestamp>,
    sync_at: Option<Timestamp>,
    /// When a container crashed last.
    pub(super) crashed: Option<Timestamp>,
    /// The proxy before the service.
    pub(super) gateway: Gateway,
    /// Jobs of gates.
    pub(super) jobs: Jobs,
}

impl Workloads {
    pub(super) fn new(nodes: usize, images: BTreeMap<String, Behaviour>, jobs: Jobs, seed: u64) -> Self {
        Self {
            nodes: vec![None; nodes],
            pods: BTreeMap::new(),
            images,
            random: Random::new(seed, 1),
            made: 0,
            seen: None,
            sync_at: None,
            crashed: None,
            gateway: Gateway::default(),
            jobs,
        }
    }

    /// How pods of an image behave.
    pub(super) fn behaviour(&self, image: &str) -> Behaviour {
        self.images.get(image).cloned().unwrap_or_default()
    }

    /// From now on, pods of an image behave like this.
    pub(super) fn behave(&mut self, image: &str, behaviour: Behaviour, now: Timestamp) {
        for pod in self.pods.values_mut().filter(|pod| pod.image() == image) {
            pod.replan(&behaviour, now);
        }
        self.images.insert(image.to_owned(), behaviour);
    }

    /// A node stops answering.
    pub(super) fn lose_node(&mut self, node: usize, now: Timestamp) {
        if let Some(lost) = self.nodes.get_mut(node) {
            lost.get_or_insert(now);
        }
    }

    /// A lost node comes back; what was evicted from it ends, the rest is ready again.
    pub(super) fn restore_node(&mut self, node: usize, now: Timestamp) {
        let Some(lost) = self.nodes.get_mut(node) else { return };
        *lost = None;
        let images = &self.images;
        for pod in self.pods.values_mut() {
            if pod.node == Some(node) {
                pod.shown.state.node_ready = true;
                pod.replan(&images.get(pod.image()).cloned().unwrap_or_default(), now);
                if pod.shown.state.terminating {
                    pod.next = Some((now + SignedDuration::from_secs(1), Step::Vanish));
                }
            } else if pod.node.is_none() && pod.counts() {
                pod.next = Some((now, Step::Schedule));
            }
        }
    }

    /// When something happens next.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        let steps = self.pods.values().filter(|pod| self.alive(pod)).filter_map(|pod| pod.next.map(|(at, _)| at));
        let nodes = self.nodes.iter().enumerate().filter_map(|(node, lost)| {
            let lost = (*lost)?;
            let on_it = || self.pods.values().filter(move |pod| pod.node == Some(node));
            let unreachable = on_it().any(|pod| pod.shown.state.node_ready).then(|| lost + NODE_GRACE);
            unreachable.or_else(|| on_it().any(|pod| !pod.shown.state.terminating).then(|| lost + EVICTED_AFTER))
        });
        steps.chain(nodes).chain(self.sync_at).chain(self.gateway.wake()).chain(self.jobs.wake).min()
    }

    fn alive(&self, pod: &SimPod) -> bool {
        pod.node.is_none_or(|node| self.nodes[node].is_none())
    }

    /// The Deployment controller hears of changes, and acts on them a moment later.
    pub(super) fn notice(&mut self, cluster: &Cluster, now: Timestamp) {
        if cluster.changed(Watch::Objects) != self.seen {
            self.seen = cluster.changed(Watch::Objects);
            self.sync_at.get_or_insert(now + REACTION);
        }
    }

    /// Everything that is due by `now`.
    pub(super) fn advance(&mut self, cluster: &mut Cluster, timeline: &mut Timeline, now: Timestamp) {
        self.advance_nodes(timeline, now);
        let due: Vec<_> = self
            .pods
            .iter()
            .filter(|(_, pod)| self.alive(pod))
            .filter_map(|(uid, pod)| pod.next.filter(|(at, _)| *at <= now).map(|(_, step)| (uid.clone(), step)))
            .collect();
        for (uid, step) in due {
            self.step(&uid, step, timeline, now);
        }
        if self.sync_at.is_some_and(|at| at <= now) {
            self.sync_at = None;
            self.sync(cluster, now);
        }
        self.publish(cluster, now);
        gateway::endpoint_slices(self, cluster, now);
        self.gateway.advance(cluster, now);
        self.jobs.advance(cluster, timeline, now);
    }

    fn advance_nodes(&mut self, timeline: &mut Timeline, now: Timestamp) {
        for (node, lost) in self.nodes.iter().enumerate() {
            let Some(lost) = lost else { continue };
            let on_it = self.pods.values_mut().filter(|pod| pod.node == Some(node));
            if *lost + EVICTED_AFTER <= now {
                for pod in on_it.filter(|pod| !pod.shown.state.terminating) {
                    pod.shown.state.disrupted = true;
                    pod.shown.state.terminating = true;
                    self.sync_at.get_or_insert(now + REACTION);
                }
            } else if *lost + NODE_GRACE <= now {
                let mut count = 0;
                for pod in on_it.filter(|pod| pod.shown.state.node_ready) {
                    pod.shown.state.node_ready = false;
                    pod.lose_readiness(now);
                    count += 1;
                }
                if count > 0 {
                    timeline.line(now, "nodes", &format!("node {node} is unreachable: {count} pods not ready"), "");
                }
            }
        }
    }

    fn step(&mut self, uid: &str, step: Step, timeline: &mut Timeline, now: Timestamp) {
        let Some(behaviour) = self.pods.get(uid).map(|pod| self.behaviour(pod.image())) else { return };
        match step {
            Step::Schedule => self.schedule(uid, &behaviour, now),
            Step::Vanish => {
                self.pods.remove(uid);
                self.sync_at.get_or_insert(now + REACTION);
            }
            _ => {
                let Some(pod) = self.pods.get_mut(uid) else { return };
                let sight = pod.step(step, &behaviour, now);
                let (owner, name, restarts) =
                    (pod.owner.clone(), pod.shown.state.name.clone(), pod.shown.state.containers.last().map_or(0, |app| app.restarts));
                match sight {
                    Some(Sight::Ready) => timeline.ready(now, &owner, self.ready_of(&owner)),
                    Some(Sight::Crashed(how)) => {
                        self.crashed = Some(now);
                        timeline.line(now, "pods", &format!("{name} crashed: {how}"), &format!("{restarts} restarts before"));
                    }
                    Some(Sight::Unpullable(image)) => timeline.line(now, "pods", &format!("{name}: image {image} cannot be pulled"), ""),
                    Some(Sight::Unready) => timeline.line(now, "pods", &format!("{name} is not ready any more"), ""),
                    None => {}
                }
            }
        }
    }

    fn schedule(&mut self, uid: &str, behaviour: &Behaviour, now: Timestamp) {
        let load = |node: usize| self.pods.values().filter(|pod| pod.node == Some(node)).count();
        let node = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_none()).min_by_key(|node| load(*node));
        let address = usize::try_from(self.made).unwrap_or(0);
        let Some(pod) = self.pods.get_mut(uid) else { return };
        if let Some(node) = node {
            pod.scheduled(node, address, behaviour, &mut self.random, now);
        } else {
            pod.next = None;
            pod.shown.state.unschedulable = Some(format!("0/{} nodes are available", self.nodes.len()));
        }
    }

    fn ready_of(&self, owner: &str) -> (usize, usize) {
        let of = || self.pods.values().filter(|pod| pod.owner == owner && pod.counts());
        (of().filter(|pod| pod.shown.state.ready).count(), of().count())
    }

    /// The Deployment controller, as many pods as each Deployment asks for; and the garbage collector, none whose Deployment is gone.
    fn sync(&mut self, cluster: &mut Cluster, now: Timestamp) {
        let deployments: BTreeMap<String, Value> = cluster
            .objects()
            .iter()
            .filter(|(key, _)| key.kind == Kind::Deployment)
            .map(|(_, body)| (body["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), body.clone()))
            .collect();
        for pod in self.pods.values_mut().filter(|pod| !deployments.contains_key(&pod.owner_uid)) {
            pod.terminate(now);
        }
        for (owner, body) in &deployments {
            let asked = usize::try_from(body["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(0);
            let mut present: Vec<_> = self
                .pods
                .iter()
                .filter(|(_, pod)| pod.owner_uid == *owner && pod.counts())
                .map(|(uid, pod)| (pod.shown.state.ready, std::cmp::Reverse(pod.created), uid.clone()))
                .collect();
            // As a ReplicaSet does: those that are not ready go first, then the youngest.
            present.sort();
            for (_, _, uid) in present.iter().take(present.len().saturating_sub(asked)) {
                if let Some(pod) = self.pods.get_mut(uid) {
                    pod.terminate(now);
                }
            }
            if self.behaviour(&image(body)).refused.is_none() {
                for _ in present.len()..asked {
                    self.made += 1;
                    let uid = cluster.uid();
                    self.pods.insert(uid.clone(), SimPod::new(uid, self.made, body, now));
                }
            }
        }
    }

    /// Pods and the status of Deployments, as the API server shows them.
    fn publish(&mut self, cluster: &mut Cluster, now: Timestamp) {
        cluster.put_pods(self.pods.values().map(|pod| pod.shown.clone()).collect(), now);
        let deployments: Vec<ObjectKey> = cluster.objects().keys().filter(|key| key.kind == Kind::Deployment).cloned().collect();
        for key in deployments {
            let (ready, count) = self.ready_of(&key.name);
            let refused = self.behaviour(&image(&cluster.objects()[&key])).refused;
            cluster.edit(&key, now, |body| {
                let conditions = refused.map(|message| json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]));
                body["status"] = json!({
                    "observedGeneration": body["metadata"]["generation"], "replicas": count, "readyReplicas": ready, "availableReplicas": ready,
                    "conditions": conditions.unwrap_or_else(|| json!([])),
                });
            });
        }
        // What was just written is our own: it needs no second look.
        if self.sync_at.is_none() {
            self.seen = cluster.changed(Watch::Objects);
        }
    }

    /// Pods that connections to a Service reach.
    pub(super) fn endpoints<'a>(&'a self, cluster: &'a Cluster, service: &str) -> impl Iterator<Item = &'a SimPod> + use<'a> {
        let selector = cluster.objects().get(&ObjectKey::new(Kind::Service, service)).and_then(|body| body["spec"]["selector"].as_object());
        let selected = move |pod: &SimPod| {
            selector.is_some_and(|selector| selector.iter().all(|(name, value)| pod.labels.get(name).map(String::as_str) == value.as_str()))
        };
        self.pods.values().filter(move |pod| pod.routed() && selected(pod))
    }

    /// The pod's process answers: it runs, and its node is there.
    pub(super) fn answers(&self, pod: &SimPod) -> bool {
        pod.answers() && self.alive(pod)
    }

    /// A pod.
    pub(super) fn pod(&self, uid: &str) -> Option<&SimPod> {
        self.pods.get(uid)
    }

    /// Image of a revision's ready pods, or of the youngest pod that is ready.
    pub(super) fn image_of(&self, revision: Option<&str>) -> Option<String> {
        let ready = self.pods.values().filter(|pod| pod.counts() && pod.shown.state.ready);
        let of_it = ready.filter(|pod| revision.is_none_or(|revision| pod.shown.state.revision == revision));
        of_it.max_by_key(|pod| pod.created).map(|pod| pod.image().to_owned())
    }

    /// Pods that count, and are ready, of a revision.
    pub(super) fn ready(&self, revision: &str) -> usize {
        self.pods.values().filter(|pod| pod.counts() && pod.shown.state.ready && pod.shown.state.revision == revision).count()
    }
}

/// The image of a Deployment's app.
fn image(deployment: &Value) -> String {
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}
