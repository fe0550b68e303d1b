//! Signals that act at once (§10): what the pods' own status shows, without any measurement.
//!
//! Pods on a node that is not ready, and evicted, preempted or drained ones, count on neither side. And what hits stable
//! as well is no version's fault: every Fail needs the candidate's share of pods concerned to be at least twice
//! stable's; else the rollout holds. Without a stable revision the same signals explain why the first one is blocked.

mod words;

use jiff::{SignedDuration, Timestamp};

use super::{ContainerState, PodState, SignalMemory};
pub use words::why_not_ready;
use words::{IMAGE_REMEDY, MEMORY_REMEDY, USER_REMEDY};

/// How long a configuration error or a failing pull is given (a Secret may still be coming, a registry recover).
const GRACE: SignedDuration = SignedDuration::from_secs(60);
/// How long half of the pods may be unready.
const READINESS_GRACE: SignedDuration = SignedDuration::from_secs(10);
/// The candidate's restarts and kills are of interest for so long.
const LATELY: SignedDuration = SignedDuration::from_mins(5);
/// Stable's speak for the candidate for longer: what hits both does not hit both at the same second, and must not look like the candidate's own
/// when stable's part of it is just too old.
const LATELY_ON_STABLE: SignedDuration = SignedDuration::from_mins(10);
/// Restarts, or kills, of the candidate that are no accident.
const REPEATED: u32 = 2;

/// Which signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignalKind {
    /// Containers were killed for their memory.
    OutOfMemory,
    /// Containers end again and again.
    CrashLoop,
    /// An image cannot be pulled, or its container cannot be configured.
    ImagePull,
    /// Pods that were ready are not.
    ReadinessLost,
    /// The API server refuses to create pods.
    PodsRefused,
}

impl SignalKind {
    /// Its name as in status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutOfMemory => "OutOfMemory",
            Self::CrashLoop => "CrashLoop",
            Self::ImagePull => "ImagePull",
            Self::ReadinessLost => "ReadinessLost",
            Self::PodsRefused => "PodsRefused",
        }
    }
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Go back.
    Fail,
    /// Do not go on while this lasts.
    Hold,
}

/// One signal that is raised now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Which.
    pub kind: SignalKind,
    /// What it asks for.
    pub outcome: Outcome,
    /// One sentence with numbers, and the remedy where there is one.
    pub sentence: String,
    /// When time alone would make it a Fail, or end it.
    pub wake: Option<Timestamp>,
}

/// A Deployment with `ReplicaFailure=True`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its revision.
    pub revision: String,
    /// The condition's message.
    pub message: String,
}

/// All signals raised now, those that fail first. `stable` is `None` for the first revision. `memory` keeps since when a
/// signal has held without a break; it is updated.
#[must_use]
pub fn judge(
    pods: &[PodState],
    refused: &[Refused],
    now: Timestamp,
    stable: Option<&str>,
    candidate: &str,
    memory: &mut SignalMemory,
) -> Vec<Signal> {
    let sides = Sides {
        candidate: Side::new(pods, candidate),
        stable: stable.map_or_else(Side::default, |stable| Side::new(pods, stable)),
        stable_name: stable,
        candidate_name: candidate,
        now,
    };
    let mut signals: Vec<Signal> =
        [sides.out_of_memory(), sides.crash_loop(), sides.config_error(memory), sides.image_pull(memory), sides.readiness_lost(memory)]
            .into_iter()
            .flatten()
            .collect();
    for refusal in refused.iter().filter(|refusal| refusal.revision == candidate || Some(refusal.revision.as_str()) == stable) {
        let sentence = format!("pods of {} are refused: {}", refusal.revision, words::brief(&refusal.message));
        signals.push(Signal { kind: SignalKind::PodsRefused, outcome: Outcome::Hold, sentence, wake: None });
    }
    // A container that was killed for its memory crash-loops too: one cause is one signal.
    if signals.iter().any(|signal| signal.kind == SignalKind::OutOfMemory && signal.outcome == Outcome::Fail) {
        signals.retain(|signal| signal.kind != SignalKind::CrashLoop);
    }
    signals.sort_by_key(|signal| (signal.outcome, signal.kind));
    signals
}

/// The pods of one revision that count.
#[derive(Default)]
struct Side<'a>(Vec<&'a PodState>);

impl<'a> Side<'a> {
    fn new(pods: &'a [PodState], revision: &str) -> Self {
        Self(pods.iter().filter(|pod| pod.revision == revision && pod.node_ready && !pod.disrupted).collect())
    }

    fn containers(&self) -> impl Iterator<Item = (&'a PodState, &'a ContainerState)> + '_ {
        self.0.iter().flat_map(|pod| pod.containers.iter().map(move |container| (*pod, container)))
    }

    /// Pods of which a container is concerned.
    fn count(&self, concerned: impl Fn(&ContainerState) -> bool) -> usize {
        self.0.iter().filter(|pod| pod.containers.iter().any(&concerned)).count()
    }
}

struct Sides<'a> {
    candidate: Side<'a>,
    stable: Side<'a>,
    stable_name: Option<&'a str>,
    candidate_name: &'a str,
    now: Timestamp,
}

impl Sides<'_> {
    /// Some pods of the candidate are concerned, at least twice the share of stable's.
    fn is_candidates_own(&self, candidate: usize, stable: usize) -> bool {
        let (pods, stable_pods) = (self.candidate.0.len(), self.stable.0.len());
        candidate > 0 && (stable_pods == 0 || candidate * stable_pods >= 2 * stable * pods)
    }

    fn signal(&self, kind: SignalKind, concerned: (usize, usize), what: &str, fail: bool, wake: Option<Timestamp>) -> Signal {
        let outcome = if fail && self.is_candidates_own(concerned.0, concerned.1) { Outcome::Fail } else { Outcome::Hold };
        let sentence = match (self.stable_name, concerned.1) {
            (None, _) => what.to_owned(),
            (Some(stable), 0) => format!("{what}; none on {stable}"),
            (Some(stable), pods) => format!("{what}; on {stable} as well, in {pods} of {} pods", self.stable.0.len()),
        };
        Signal { kind, outcome, sentence, wake }
    }

    fn in_pods(&self, concerned: usize) -> String {
        format!("in {concerned} of {} {} of {}", self.candidate.0.len(), words::plural(self.candidate.0.len(), "pod"), self.candidate_name)
    }

    fn out_of_memory(&self) -> Option<Signal> {
        let killed = |container: &ContainerState| container.last_end.as_ref().is_some_and(|end| end.reason == "OOMKilled");
        let kills: u32 = self.candidate.containers().filter(|(_, container)| killed(container)).map(|(_, container)| ends(container)).sum();
        let concerned = self.candidate.count(|container| killed(container) && self.ended_within(LATELY, container));
        if concerned == 0 {
            return None;
        }
        let stable = self.stable.count(|container| killed(container) && self.ended_within(LATELY_ON_STABLE, container));
        let what = format!(
            "{kills} {} for memory (OOMKilled) {}; {MEMORY_REMEDY}",
            words::plural(kills as usize, "kill"),
            self.in_pods(concerned)
        );
        Some(self.signal(SignalKind::OutOfMemory, (concerned, stable), &what, kills >= REPEATED, self.forgotten_at(killed)))
    }

    fn crash_loop(&self) -> Option<Signal> {
        let backs_off = |container: &ContainerState| words::waits_for(container, &["CrashLoopBackOff"]);
        let restarts: u32 = self.candidate.containers().map(|(_, container)| container.restarts).sum();
        let restarted = |container: &ContainerState| container.restarts > 0;
        let lately =
            |within, container: &ContainerState| backs_off(container) || (restarted(container) && self.ended_within(within, container));
        let concerned = self.candidate.count(|container| lately(LATELY, container));
        if concerned == 0 {
            return None;
        }
        let stable = self.stable.count(|container| lately(LATELY_ON_STABLE, container));
        let how = self
            .candidate
            .containers()
            .filter(|(_, container)| container.restarts > 0 || backs_off(container))
            .find_map(|(_, container)| words::how_it_ended(container));
        let how = how.map_or_else(String::new, |how| format!(" ({how})"));
        let what = format!("{restarts} {} {}{how}", words::plural(restarts as usize, "restart"), self.in_pods(concerned));
        Some(self.signal(SignalKind::CrashLoop, (concerned, stable), &what, restarts >= REPEATED, self.forgotten_at(restarted)))
    }

    fn config_error(&self, memory: &mut SignalMemory) -> Option<Signal> {
        let waits = |container: &ContainerState| words::waits_for(container, &["CreateContainerConfigError"]);
        let concerned = self.candidate.count(waits);
        let since = held(&mut memory.config_error_since, concerned > 0, self.now)?;
        let waiting = self.candidate.containers().filter(|(_, container)| waits(container));
        let messages: Vec<_> =
            waiting.filter_map(|(_, container)| container.waiting.as_ref().map(|waiting| waiting.message.as_str())).collect();
        let as_root = messages.iter().copied().find(|message| message.contains("runAsNonRoot"));
        let message = words::brief(as_root.or_else(|| messages.first().copied()).unwrap_or_default());
        let remedy = if as_root.is_some() { format!("; {USER_REMEDY}") } else { String::new() };
        let what = format!("a container cannot be created {}: {message}{remedy}", self.in_pods(concerned));
        let stable = self.stable.count(waits);
        let (due, wake) = (self.now.duration_since(since) >= GRACE, since.saturating_add(GRACE).ok());
        Some(self.signal(SignalKind::ImagePull, (concerned, stable), &what, due || as_root.is_some(), wake.filter(|_| !due)))
    }

    fn image_pull(&self, memory: &mut SignalMemory) -> Option<Signal> {
        let hopeless = |container: &ContainerState| words::waits_for(container, &words::NEVER_PULLED);
        let waits = |container: &ContainerState| hopeless(container) || words::waits_for(container, &words::NOT_PULLED);
        let concerned = self.candidate.count(waits);
        let since = held(&mut memory.image_pull_since, concerned > 0, self.now)?;
        let now_or_never = self.candidate.count(hopeless) > 0;
        let ever_started = self.candidate.containers().any(|(_, container)| container.ever_started);
        let waiting = self.candidate.containers().filter(|(_, container)| waits(container)).map(|(_, container)| container);
        // The first error names the cause, the back-off after it only repeats the image.
        let named = waiting.min_by_key(|container| words::waits_for(container, &["ImagePullBackOff"]));
        let (image, message) = named.map_or(("", ""), |container| {
            (container.image.as_str(), container.waiting.as_ref().map_or("", |waiting| waiting.message.as_str()))
        });
        let what = format!("image {image} cannot be pulled {}: {}; {IMAGE_REMEDY}", self.in_pods(concerned), words::brief(message));
        let due = self.now.duration_since(since) >= GRACE;
        let wake = since.saturating_add(GRACE).ok().filter(|_| !due && !ever_started);
        // Where the image has run before, the registry or a node is at fault, not the version.
        Some(self.signal(SignalKind::ImagePull, (concerned, self.stable.count(waits)), &what, now_or_never || (due && !ever_started), wake))
    }

    fn readiness_lost(&self, memory: &mut SignalMemory) -> Option<Signal> {
        let lost = |side: &Side<'_>| side.0.iter().filter(|pod| lost_ready(pod)).count();
        let concerned = lost(&self.candidate);
        let half = concerned > 0 && concerned * 2 >= self.candidate.0.len();
        let since = held(&mut memory.readiness_lost_since, half, self.now)?;
        let pods = self.candidate.0.iter().filter(|pod| lost_ready(pod));
        let why = pods.filter_map(|pod| words::reason(pod, self.now)).min().map_or_else(String::new, |(_, why)| format!(": {why}"));
        let what = format!("readiness was lost {}{why}", self.in_pods(concerned));
        let due = self.now.duration_since(since) >= READINESS_GRACE;
        let wake = since.saturating_add(READINESS_GRACE).ok().filter(|_| !due);
        Some(self.signal(SignalKind::ReadinessLost, (concerned, lost(&self.stable)), &what, due, wake))
    }

    fn ended_within(&self, span: SignedDuration, container: &ContainerState) -> bool {
        // An end without a time is taken to be recent: that can only hold a rollout, never fail one.
        container.last_end.as_ref().is_none_or(|end| end.at.is_none_or(|at| self.now.duration_since(at) <= span))
    }

    /// When the latest end of such a container of the candidate stops to be of interest: a rollout is not held by it for ever.
    fn forgotten_at(&self, concerned: impl Fn(&ContainerState) -> bool) -> Option<Timestamp> {
        let ends = self
            .candidate
            .containers()
            .filter(|(_, container)| concerned(container))
            .filter_map(|(_, container)| container.last_end.as_ref()?.at);
        ends.max()?.saturating_add(LATELY + SignedDuration::from_secs(1)).ok()
    }
}

/// How often a container has ended: a restart follows every end but the one it waits after.
fn ends(container: &ContainerState) -> u32 {
    let waits_after_one = container.terminated || words::waits_for(container, &["CrashLoopBackOff"]);
    container.restarts.saturating_add(u32::from(waits_after_one)).max(1)
}

/// It was ready, and is not.
fn lost_ready(pod: &PodState) -> bool {
    !pod.ready && !pod.terminating && pod.lost_ready.is_some()
}

/// Since when `holds` has been true without a break.
fn held(since: &mut Option<Timestamp>, holds: bool, now: Timestamp) -> Option<Timestamp> {
    *since = holds.then(|| since.unwrap_or(now));
    *since
}

#[cfg(test)]
mod tests;
