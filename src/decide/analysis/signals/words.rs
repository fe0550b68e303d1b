//! The pods' own reasons in words, with the remedy where there is one.

use jiff::{SignedDuration, Timestamp};

use crate::decide::analysis::{ContainerState, PodState};

/// For images that run as root or name their user.
pub const USER_REMEDY: &str = "set securityContext.runAsUser to a number, for example 1000, or USER 1000 in the Dockerfile";
/// For containers killed for their memory.
pub const MEMORY_REMEDY: &str = "raise resources.limits.memory";
/// For images that cannot be pulled.
pub const IMAGE_REMEDY: &str = "check its name, its tag and imagePullSecrets";
/// Reasons why an image will never be pulled.
pub const NEVER_PULLED: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];
/// Reasons why an image is not pulled now.
pub const NOT_PULLED: [&str; 5] =
    ["ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"];
/// The longest message that is repeated.
const LONGEST: usize = 300;
/// A pod that is this young may still be starting.
const STARTING: SignedDuration = SignedDuration::from_secs(5);

/// The container waits for one of these reasons.
pub fn waits_for(container: &ContainerState, reasons: &[&str]) -> bool {
    container.waiting.as_ref().is_some_and(|waiting| reasons.contains(&waiting.reason.as_str()))
}

/// One line of at most 300 characters.
pub fn brief(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST { line } else { line.chars().take(LONGEST).chain(['…']).collect() }
}

/// "pod" or "pods".
pub fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// "exit code 1: panic: no database".
pub fn how_it_ended(container: &ContainerState) -> Option<String> {
    let end = container.last_end.as_ref()?;
    let reason = if matches!(end.reason.as_str(), "" | "Error") {
        format!("exit code {}", end.exit_code)
    } else {
        format!("{}, exit code {}", end.reason, end.exit_code)
    };
    // The last words of a log say most.
    let last = end.message.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(brief);
    Some(last.map_or(reason.clone(), |last| format!("{reason}: {last}")))
}

/// Why pods of a revision are not ready, by their own account, the most telling first; `None` if all are ready or just
/// starting.
#[must_use]
pub fn why_not_ready(pods: &[PodState], revision: &str, now: Timestamp) -> Option<String> {
    let unready: Vec<&PodState> = pods.iter().filter(|pod| pod.revision == revision && !pod.ready && !pod.terminating).collect();
    let reason = unready.iter().filter_map(|pod| Some((reason(pod, now)?, pod))).min_by_key(|((rank, _), _)| *rank);
    reason.map(|((_, why), pod)| {
        format!(
            "{} of {} {} of {revision} not ready; {}: {why}",
            unready.len(),
            count(pods, revision),
            plural(count(pods, revision), "pod"),
            pod.name
        )
    })
}

fn count(pods: &[PodState], revision: &str) -> usize {
    pods.iter().filter(|pod| pod.revision == revision && !pod.terminating).count()
}

/// Why a pod is not ready, and how telling that is: the lower the more.
pub fn reason(pod: &PodState, now: Timestamp) -> Option<(u8, String)> {
    if let Some(message) = &pod.unschedulable {
        return Some((3, format!("it cannot be scheduled: {}", brief(message))));
    }
    if !pod.node_ready {
        return Some((4, "its node is not ready".to_owned()));
    }
    let worst = pod
        .containers
        .iter()
        .filter_map(|container| of_container(container).map(|(rank, why)| (rank, format!("container {} {why}", container.name))))
        .min();
    let since = pod.lost_ready.filter(|since| now.duration_since(*since) >= STARTING);
    worst.or_else(|| since.map(|_| (5, "its readiness probe fails".to_owned()))).or_else(|| {
        let running = !pod.containers.is_empty() && pod.containers.iter().all(|container| container.ever_started);
        running.then(|| (6, "it runs, but its readiness probe has not succeeded".to_owned()))
    })
}

fn of_container(container: &ContainerState) -> Option<(u8, String)> {
    let message = container.waiting.as_ref().map_or_else(String::new, |waiting| brief(&waiting.message));
    if container.last_end.as_ref().is_some_and(|end| end.reason == "OOMKilled") {
        return Some((0, format!("was killed for its memory (OOMKilled); {MEMORY_REMEDY}")));
    }
    if message.contains("runAsNonRoot") {
        return Some((0, format!("cannot be created: {message}; {USER_REMEDY}")));
    }
    if waits_for(container, &NEVER_PULLED) || waits_for(container, &NOT_PULLED) {
        return Some((1, format!("cannot pull image {}: {message}; {IMAGE_REMEDY}", container.image)));
    }
    if container.restarts > 0 || waits_for(container, &["CrashLoopBackOff"]) {
        let how = how_it_ended(container).map_or_else(String::new, |how| format!(" ({how})"));
        return Some((1, format!("has restarted {} {}{how}", container.restarts, plural(container.restarts as usize, "time"))));
    }
    if let Some(how) = how_it_ended(container).filter(|_| container.terminated) {
        return Some((1, format!("ended with {how}")));
    }
    let waiting =
        container.waiting.as_ref().filter(|waiting| !matches!(waiting.reason.as_str(), "" | "ContainerCreating" | "PodInitializing"))?;
    Some((2, if message.is_empty() { format!("waits: {}", waiting.reason) } else { format!("waits: {} ({message})", waiting.reason) }))
}
