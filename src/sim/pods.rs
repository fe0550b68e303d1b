//! A pod and its kubelet: scheduled, pulled, started, ready; crashing, losing its readiness, ending.
//!
//! A pod knows one next step and when it is due. What it shows is what the real kubelet reports, field by field, because the signals that
//! judge a version are read from it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::random::Random;
use super::scenario::Behaviour;
use crate::decide::Pod;
use crate::decide::analysis::{ContainerState, Ended, PodState, Waiting};

/// How long kube-proxy goes on sending connections to a pod that is about to end.
const UNROUTED_AFTER: SignedDuration = SignedDuration::from_secs(1);
/// The kubelet's first back-off, doubled at each crash or failed pull, and its end.
const BACK_OFF_SECONDS: i64 = 10;
const LONGEST_BACK_OFF_SECONDS: i64 = 300;

/// What happens to a pod next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The scheduler looks at it.
    Schedule,
    /// The image is there: the container starts.
    Start,
    /// The image cannot be pulled.
    PullFails,
    /// The kubelet waits before it pulls again.
    PullWaits,
    /// The readiness probe passes.
    BecomeReady,
    /// The readiness probe fails.
    LoseReadiness,
    /// The process ends.
    Crash,
    /// The kubelet waits before it starts the container again.
    CrashWaits,
    /// It is about to end, and no connection reaches it any more.
    Unroute,
    /// It is gone.
    Vanish,
}

/// A pod.
#[derive(Clone, Debug)]
pub(super) struct SimPod {
    /// What the API server shows of it.
    pub(super) shown: Pod,
    /// Name and uid of its Deployment.
    pub(super) owner: String,
    pub(super) owner_uid: String,
    /// Its labels.
    pub(super) labels: BTreeMap<String, String>,
    /// Its node.
    pub(super) node: Option<usize>,
    /// When it was made.
    pub(super) created: Timestamp,
    /// kube-proxy sends connections to it while it is ready, and for a moment while it ends.
    pub(super) unrouted: bool,
    /// Seconds for which it goes on answering after its end was announced.
    drain_seconds: i64,
    failed_pulls: u32,
    /// What happens next, and when.
    pub(super) next: Option<(Timestamp, Step)>,
}

/// Something that a person would see happen to a pod.
pub(super) enum Sight {
    Ready,
    Crashed(String),
    Unpullable(String),
    Unready,
}

fn after(now: Timestamp, seconds: i64) -> Timestamp {
    now + SignedDuration::from_secs(seconds)
}

impl SimPod {
    /// A pod as the Deployment's controller makes it from its template.
    pub(super) fn new(uid: String, number: u64, deployment: &Value, now: Timestamp) -> Self {
        let text = |name: &str| deployment["metadata"][name].as_str().unwrap_or_default().to_owned();
        let (owner, template) = (text("name"), &deployment["spec"]["template"]);
        let labels: BTreeMap<String, String> = template["metadata"]["labels"]
            .as_object()
            .map(|labels| labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
            .unwrap_or_default();
        let of = |list: &str| template["spec"][list].as_array().cloned().unwrap_or_default();
        let waiting = |container: &Value| ContainerState {
            name: container["name"].as_str().unwrap_or_default().to_owned(),
            image: container["image"].as_str().unwrap_or_default().to_owned(),
            waiting: Some(Waiting { reason: "ContainerCreating".into(), message: String::new() }),
            ..ContainerState::default()
        };
        let app = of("containers");
        let sleep = app.first().and_then(|app| app["lifecycle"]["preStop"]["sleep"]["seconds"].as_i64());
        let state = PodState {
            pod: uid,
            name: format!("{owner}-{number:x}"),
            revision: labels.get("plimsoll.dev/revision").cloned().unwrap_or_default(),
            node_ready: true,
            containers: of("initContainers").iter().chain(&app).map(waiting).collect(),
            ..PodState::default()
        };
        Self {
            shown: Pod { state, ip: None, started: None },
            owner,
            owner_uid: text("uid"),
            labels,
            node: None,
            created: now,
            unrouted: false,
            drain_seconds: sleep.unwrap_or(0),
            failed_pulls: 0,
            next: Some((now + SignedDuration::from_millis(100), Step::Schedule)),
        }
    }

    /// Its app's image: that of the last container.
    pub(super) fn image(&self) -> &str {
        self.shown.state.containers.last().map_or("", |container| container.image.as_str())
    }

    fn app(&mut self) -> Option<&mut ContainerState> {
        self.shown.state.containers.last_mut()
    }

    /// kube-proxy sends connections to it.
    pub(super) fn routed(&self) -> bool {
        self.shown.state.ready && !self.unrouted
    }

    /// It counts for its Deployment.
    pub(super) const fn counts(&self) -> bool {
        !self.shown.state.terminating
    }

    /// It answers what reaches it.
    pub(super) const fn answers(&self) -> bool {
        self.shown.started.is_some() && !(self.shown.state.terminating && self.drain_seconds == 0)
    }

    /// The scheduler has found a node.
    pub(super) fn scheduled(&mut self, node: usize, address: usize, behaviour: &Behaviour, random: &mut Random, now: Timestamp) {
        self.node = Some(node);
        self.shown.state.unschedulable = None;
        self.shown.ip = Some(format!("10.98.{}.{}", address / 250, address % 250 + 1));
        let step = if behaviour.unpullable { Step::PullFails } else { Step::Start };
        let pull = SignedDuration::from_secs(behaviour.pull_seconds) + SignedDuration::from_millis(random.between(0, 1000));
        self.next = Some((now + pull, step));
    }

    /// Carries out a step other than scheduling and vanishing.
    pub(super) fn step(&mut self, step: Step, behaviour: &Behaviour, now: Timestamp) -> Option<Sight> {
        self.next = None;
        match step {
            Step::Schedule | Step::Vanish => None,
            Step::PullFails => {
                self.failed_pulls += 1;
                let image = self.image().to_owned();
                self.wait("ErrImagePull", format!("failed to pull and unpack image \"{image}\": not found"));
                self.next = Some((after(now, 2), Step::PullWaits));
                (self.failed_pulls == 1).then_some(Sight::Unpullable(image))
            }
            Step::PullWaits => {
                let image = self.image().to_owned();
                self.wait("ImagePullBackOff", format!("Back-off pulling image \"{image}\""));
                let step = if behaviour.unpullable { Step::PullFails } else { Step::Start };
                self.next = Some((after(now, back_off(self.failed_pulls)), step));
                None
            }
            Step::Start => {
                self.start(behaviour, now);
                None
            }
            Step::BecomeReady => {
                self.shown.state.ready = true;
                self.shown.state.ready_since = Some(now);
                self.shown.state.lost_ready = None;
                self.next = self.failure(behaviour);
                Some(Sight::Ready)
            }
            Step::LoseReadiness => {
                self.lose_readiness(now);
                Some(Sight::Unready)
            }
            Step::Crash => Some(self.crash(behaviour, now)),
            Step::CrashWaits => {
                let restarts = self.app().map_or(1, |app| app.restarts);
                let seconds = back_off(restarts);
                self.wait("CrashLoopBackOff", format!("back-off {seconds}s restarting failed container"));
                self.next = Some((after(now, seconds), Step::Start));
                None
            }
            Step::Unroute => {
                self.unrouted = true;
                self.next = Some((after(now, self.drain_seconds.max(1)), Step::Vanish));
                None
            }
        }
    }

    fn wait(&mut self, reason: &str, message: String) {
        if let Some(app) = self.app() {
            app.terminated = false;
            app.waiting = Some(Waiting { reason: reason.into(), message });
        }
    }

    fn start(&mut self, behaviour: &Behaviour, now: Timestamp) {
        let count = self.shown.state.containers.len();
        for (index, container) in self.shown.state.containers.iter_mut().enumerate() {
            if index + 1 == count {
                container.restarts += u32::from(container.ever_started);
                container.terminated = false;
            } else if !container.ever_started {
                container.terminated = true;
                container.last_end = Some(Ended { reason: "Completed".into(), at: Some(now), ..Ended::default() });
            }
            container.waiting = None;
            container.ever_started = true;
        }
        self.shown.started = Some(now);
        self.replan(behaviour, now);
    }

    /// What is due next for a container that runs: after its start, and when its image begins to behave in another way.
    pub(super) fn replan(&mut self, behaviour: &Behaviour, now: Timestamp) {
        let (Some(started), false) = (self.shown.started, self.shown.state.terminating) else { return };
        let ready = (!self.shown.state.ready && !behaviour.never_ready)
            .then(|| (after(started, behaviour.start_seconds).max(now), Step::BecomeReady));
        let failure = self.failure(behaviour).map(|(at, step)| (at.max(now), step));
        self.next = [ready, failure].into_iter().flatten().min_by_key(|(at, _)| *at);
    }

    fn failure(&self, behaviour: &Behaviour) -> Option<(Timestamp, Step)> {
        let started = self.shown.started?;
        let crash = behaviour.crashes_after.or(behaviour.out_of_memory_after).map(|wait| (started + wait.0, Step::Crash));
        let unready =
            behaviour.loses_readiness_after.filter(|_| self.shown.state.ready).map(|wait| (started + wait.0, Step::LoseReadiness));
        [crash, unready].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn crash(&mut self, behaviour: &Behaviour, now: Timestamp) -> Sight {
        self.lose_readiness(now);
        self.shown.started = None;
        let (reason, exit_code) = if behaviour.crashes_after.is_some() { ("Error", 1) } else { ("OOMKilled", 137) };
        let ended = Ended { reason: reason.into(), exit_code, at: Some(now), message: String::new() };
        let restarts = self.app().map_or(0, |app| {
            app.terminated = true;
            app.last_end = Some(ended);
            app.restarts
        });
        // The first restart comes at once, the next ones wait.
        self.next = Some((after(now, 1), if restarts == 0 { Step::Start } else { Step::CrashWaits }));
        Sight::Crashed(format!("{reason}, exit code {exit_code}"))
    }

    /// The condition `Ready` becomes false.
    pub(super) fn lose_readiness(&mut self, now: Timestamp) {
        if self.shown.state.ready {
            self.shown.state.ready = false;
            self.shown.state.ready_since = None;
            self.shown.state.lost_ready = Some(now);
        }
    }

    /// Its end is announced: it leaves the endpoints, goes on answering while it drains, then gets SIGTERM.
    pub(super) fn terminate(&mut self, now: Timestamp) {
        if !self.shown.state.terminating {
            self.shown.state.terminating = true;
            let step = if self.routed() { (now + UNROUTED_AFTER, Step::Unroute) } else { (after(now, 1), Step::Vanish) };
            self.next = Some(step);
        }
    }
}

fn back_off(times: u32) -> i64 {
    (BACK_OFF_SECONDS << times.saturating_sub(1).min(8)).min(LONGEST_BACK_OFF_SECONDS)
}
