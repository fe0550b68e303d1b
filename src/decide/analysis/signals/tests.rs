use super::*;
use crate::decide::analysis::{Ended, Waiting};

const STABLE: &str = "a11ce0ffee";
const CANDIDATE: &str = "7f9c4d01ab";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn container() -> ContainerState {
    ContainerState { name: "shop".to_owned(), image: "registry.example/shop:2".to_owned(), ever_started: true, ..ContainerState::default() }
}

fn pod(revision: &str, index: usize) -> PodState {
    let name = format!("shop-{revision}-{index}");
    PodState {
        pod: name.clone(),
        name,
        revision: revision.to_owned(),
        ready: true,
        ready_since: Some(at(-60)),
        node_ready: true,
        containers: vec![container()],
        ..PodState::default()
    }
}

fn both(candidate: usize, stable: usize) -> Vec<PodState> {
    (0..candidate).map(|index| pod(CANDIDATE, index)).chain((0..stable).map(|index| pod(STABLE, index))).collect()
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState { waiting: Some(Waiting { reason: reason.to_owned(), message: message.to_owned() }), ever_started: false, ..container() }
}

fn ended(reason: &str, restarts: u32, second: i64) -> ContainerState {
    let end =
        Ended { reason: reason.to_owned(), exit_code: 1, at: Some(at(second)), message: "starting\npanic: no database\n\n".to_owned() };
    ContainerState { restarts, last_end: Some(end), ..container() }
}

fn look(pods: &[PodState], second: i64, memory: &mut SignalMemory) -> Vec<Signal> {
    judge(pods, &[], at(second), Some(STABLE), CANDIDATE, memory)
}

fn outcomes(pods: &[PodState]) -> Vec<(SignalKind, Outcome)> {
    look(pods, 0, &mut SignalMemory::default()).into_iter().map(|signal| (signal.kind, signal.outcome)).collect()
}

#[test]
fn healthy_pods_raise_nothing() {
    assert_eq!(outcomes(&both(4, 10)), []);
    assert_eq!(outcomes(&[]), []);
}

#[test]
fn example_30_restarts() {
    let mut pods = both(4, 10);
    pods[0].containers[0] = ended("Error", 2, -10);
    let signals = look(&pods, 0, &mut SignalMemory::default());
    assert_eq!((signals[0].kind, signals[0].outcome), (SignalKind::CrashLoop, Outcome::Fail));
    assert_eq!(signals[0].sentence, "2 restarts in 1 of 4 pods of 7f9c4d01ab (exit code 1: panic: no database); none on a11ce0ffee");
    // Half of stable's pods restarted as well: no version's fault.
    for pod in pods.iter_mut().skip(4).take(5) {
        pod.containers[0] = ended("Error", 1, -10);
    }
    let signals = look(&pods, 0, &mut SignalMemory::default());
    assert_eq!((signals[0].kind, signals[0].outcome), (SignalKind::CrashLoop, Outcome::Hold));
    assert!(signals[0].sentence.ends_with("; on a11ce0ffee as well, in 5 of 10 pods"), "{}", signals[0].sentence);
    // What happened to stable an hour ago excuses nobody.
    let mut later = pods.clone();
    later[0].containers[0] = ended("Error", 2, 3590);
    let signals = look(&later, 3600, &mut SignalMemory::default());
    assert_eq!(signals[0].outcome, Outcome::Fail);
    // Pods on nodes that are not ready count on neither side.
    for pod in &mut pods {
        pod.node_ready = false;
    }
    assert_eq!(outcomes(&pods), []);
}

#[test]
fn one_restart_is_an_accident_and_drained_pods_do_not_count() {
    let mut pods = both(4, 10);
    pods[0].containers[0] = ended("Error", 1, -10);
    assert_eq!(outcomes(&pods), [(SignalKind::CrashLoop, Outcome::Hold)]);
    pods[1].containers[0] = ended("Error", 1, -10);
    assert_eq!(outcomes(&pods), [(SignalKind::CrashLoop, Outcome::Fail)]);
    pods[1].disrupted = true;
    assert_eq!(outcomes(&pods), [(SignalKind::CrashLoop, Outcome::Hold)]);
}

#[test]
fn what_hit_both_is_never_the_candidates_own_and_is_forgotten() {
    for (reason, kind) in [("Error", SignalKind::CrashLoop), ("OOMKilled", SignalKind::OutOfMemory)] {
        let mut pods = both(2, 2);
        // Stable's pods end some seconds before the candidate's.
        for (index, second) in [(0, -2), (1, -2), (2, -40), (3, -40)] {
            pods[index].containers[0] = ended(reason, 1, second);
        }
        for second in 0..=298 {
            let signal = look(&pods, second, &mut SignalMemory::default()).into_iter().find(|signal| signal.kind == kind);
            let signal = signal.unwrap_or_else(|| panic!("no {kind:?} at {second}"));
            assert_eq!((signal.outcome, signal.wake), (Outcome::Hold, Some(at(299))), "{kind:?} at {second}");
        }
        assert_eq!(look(&pods, 299, &mut SignalMemory::default()), [], "{kind:?}");
    }
}

#[test]
fn memory_kills_name_the_remedy_and_not_the_crash_loop() {
    let mut pods = both(2, 4);
    pods[0].containers[0] = ContainerState {
        waiting: Some(Waiting { reason: "CrashLoopBackOff".to_owned(), message: String::new() }),
        ..ended("OOMKilled", 1, -1)
    };
    let signals = look(&pods, 0, &mut SignalMemory::default());
    assert_eq!((signals[0].kind, signals[0].outcome), (SignalKind::OutOfMemory, Outcome::Fail), "{signals:?}");
    assert_eq!(
        signals[0].sentence,
        "2 kills for memory (OOMKilled) in 1 of 2 pods of 7f9c4d01ab; raise resources.limits.memory; none on a11ce0ffee"
    );
    assert_eq!(signals.len(), 1);
    // A single kill holds.
    pods[0].containers[0] = ContainerState { terminated: true, ..ended("OOMKilled", 0, -1) };
    assert_eq!(outcomes(&pods), [(SignalKind::OutOfMemory, Outcome::Hold)]);
}

#[test]
fn images_that_cannot_be_pulled() {
    // reason, has run before, seconds of waiting, outcome
    let cases = [
        ("InvalidImageName", false, 0, Outcome::Fail),
        ("ErrImageNeverPull", true, 0, Outcome::Fail),
        ("ErrImagePull", false, 0, Outcome::Hold),
        ("ImagePullBackOff", false, 59, Outcome::Hold),
        ("ImagePullBackOff", false, 60, Outcome::Fail),
        ("ImagePullBackOff", true, 600, Outcome::Hold),
    ];
    for (reason, ever_started, seconds, outcome) in cases {
        let mut memory = SignalMemory::default();
        let mut pods = both(2, 4);
        pods[0].containers[0] = waiting("ErrImagePull", "not found");
        pods[1].containers[0] = ContainerState { ever_started, ..waiting(reason, "no such tag") };
        if reason.starts_with("InvalidImage") {
            pods[0].containers[0] = pods[1].containers[0].clone();
        }
        let first = look(&pods, 0, &mut memory);
        let signals = look(&pods, seconds, &mut memory);
        assert_eq!((signals[0].kind, signals[0].outcome), (SignalKind::ImagePull, outcome), "{reason} {seconds}");
        assert!(
            signals[0].sentence.starts_with("image registry.example/shop:2 cannot be pulled in 2 of 2 pods of 7f9c4d01ab: no"),
            "{}",
            signals[0].sentence
        );
        assert_eq!(first[0].wake, (!ever_started).then_some(at(60)), "{reason}");
    }
}

#[test]
fn a_break_starts_the_time_anew() {
    let mut memory = SignalMemory::default();
    let mut pods = both(1, 4);
    pods[0].containers[0] = waiting("ErrImagePull", "not found");
    look(&pods, 0, &mut memory);
    pods[0].containers[0] = container();
    assert_eq!(look(&pods, 30, &mut memory), []);
    pods[0].containers[0] = waiting("ErrImagePull", "not found");
    assert_eq!(look(&pods, 65, &mut memory)[0].outcome, Outcome::Hold);
    assert_eq!(look(&pods, 125, &mut memory)[0].outcome, Outcome::Fail);
}

#[test]
fn an_image_that_runs_as_root_or_names_its_user_fails_at_once_with_its_remedy() {
    for message in [
        "container has runAsNonRoot and image will run as root (pod: \"shop\", container: shop)",
        "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
    ] {
        let mut pods = both(2, 4);
        pods[0].containers[0] = waiting("CreateContainerConfigError", message);
        let signals = look(&pods, 0, &mut SignalMemory::default());
        assert_eq!(signals[0].outcome, Outcome::Fail);
        assert!(
            signals[0].sentence.contains("set securityContext.runAsUser to a number, for example 1000, or USER 1000 in the Dockerfile"),
            "{}",
            signals[0].sentence
        );
    }
    let mut pods = both(2, 4);
    pods[0].containers[0] = waiting("CreateContainerConfigError", "secret \"shop-db\" not found");
    let mut memory = SignalMemory::default();
    let held = look(&pods, 0, &mut memory);
    assert_eq!((held[0].outcome, held[0].wake), (Outcome::Hold, Some(at(60))));
    assert_eq!(
        look(&pods, 60, &mut memory)[0].sentence,
        "a container cannot be created in 1 of 2 pods of 7f9c4d01ab: secret \"shop-db\" not found; none on a11ce0ffee"
    );
    assert_eq!(look(&pods, 60, &mut memory)[0].outcome, Outcome::Fail);
}

#[test]
fn lost_readiness_fails_after_ten_seconds() {
    let mut pods = both(4, 10);
    for pod in &mut pods[..2] {
        (pod.ready, pod.ready_since, pod.lost_ready) = (false, None, Some(at(-1)));
    }
    let mut memory = SignalMemory::default();
    assert_eq!(look(&pods, 0, &mut memory)[0].outcome, Outcome::Hold);
    let signals = look(&pods, 10, &mut memory);
    assert_eq!((signals[0].kind, signals[0].outcome), (SignalKind::ReadinessLost, Outcome::Fail));
    // A pod that was never ready has lost nothing; one that is being deleted either.
    pods[0].lost_ready = None;
    assert_eq!(look(&pods, 20, &mut memory), []);
    pods[0].lost_ready = Some(at(-1));
    pods[1].terminating = true;
    assert_eq!(look(&pods, 20, &mut memory), []);
}

#[test]
fn refused_pods_hold_with_the_servers_message() {
    let refusal = |revision: &str| Refused { revision: revision.to_owned(), message: "exceeded quota: pods".to_owned() };
    for revision in [STABLE, CANDIDATE] {
        let signals =
            judge(&both(1, 1), &[refusal(revision), refusal("other")], at(0), Some(STABLE), CANDIDATE, &mut SignalMemory::default());
        assert_eq!(signals.len(), 1);
        assert_eq!((signals[0].kind, signals[0].outcome), (SignalKind::PodsRefused, Outcome::Hold));
        assert_eq!(signals[0].sentence, format!("pods of {revision} are refused: exceeded quota: pods"));
    }
}

#[test]
fn the_first_revision_is_judged_without_comparison() {
    let mut pods = both(1, 0);
    pods[0].containers[0] = ended("Error", 2, -1);
    let signals = judge(&pods, &[], at(0), None, CANDIDATE, &mut SignalMemory::default());
    assert_eq!(signals[0].outcome, Outcome::Fail);
    assert_eq!(signals[0].sentence, "2 restarts in 1 of 1 pod of 7f9c4d01ab (exit code 1: panic: no database)");
}

#[test]
fn several_signals_come_worst_first() {
    let mut pods = both(4, 10);
    pods[0].containers[0] = ended("Error", 1, -10);
    pods[1].containers[0] = waiting("InvalidImageName", "bad");
    assert_eq!(outcomes(&pods), [(SignalKind::ImagePull, Outcome::Fail), (SignalKind::CrashLoop, Outcome::Hold)]);
    let names = [SignalKind::OutOfMemory, SignalKind::CrashLoop, SignalKind::ImagePull, SignalKind::ReadinessLost, SignalKind::PodsRefused]
        .map(SignalKind::name);
    assert_eq!(names, ["OutOfMemory", "CrashLoop", "ImagePull", "ReadinessLost", "PodsRefused"]);
}

#[test]
fn why_pods_are_not_ready_in_their_own_words() {
    type Change = fn(&mut PodState);
    let unready = |change: Change| {
        let mut pods = vec![PodState { ready: false, ready_since: None, ..pod(CANDIDATE, 0) }, pod(CANDIDATE, 1)];
        change(&mut pods[0]);
        why_not_ready(&pods, CANDIDATE, at(100))
    };
    let cases: [(Change, &str); 12] = [
        (
            |pod| pod.unschedulable = Some("0/3 nodes are available: insufficient cpu".to_owned()),
            "it cannot be scheduled: 0/3 nodes are available: insufficient cpu",
        ),
        (|pod| pod.node_ready = false, "its node is not ready"),
        (
            |pod| pod.containers[0] = ended("OOMKilled", 1, 0),
            "container shop was killed for its memory (OOMKilled); raise resources.limits.memory",
        ),
        (
            |pod| pod.containers[0] = waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
            "container shop cannot be created: container has runAsNonRoot and image will run as root; set securityContext.runAsUser to a number, for example 1000, or USER 1000 in the Dockerfile",
        ),
        (
            |pod| pod.containers[0] = waiting("ErrImagePull", "not\n found"),
            "container shop cannot pull image registry.example/shop:2: not found; check its name, its tag and imagePullSecrets",
        ),
        (|pod| pod.containers[0] = ended("Error", 1, 0), "container shop has restarted 1 time (exit code 1: panic: no database)"),
        (
            |pod| {
                pod.containers[0] = ContainerState {
                    last_end: Some(Ended { reason: "StartError".to_owned(), exit_code: 128, ..Ended::default() }),
                    ..ended("", 3, 0)
                }
            },
            "container shop has restarted 3 times (StartError, exit code 128)",
        ),
        (
            |pod| pod.containers[0] = waiting("CreateContainerConfigError", "secret not found"),
            "container shop waits: CreateContainerConfigError (secret not found)",
        ),
        (|pod| pod.containers[0] = waiting("CreateContainerError", ""), "container shop waits: CreateContainerError"),
        (|pod| pod.lost_ready = Some(at(0)), "its readiness probe fails"),
        (|_| {}, "it runs, but its readiness probe has not succeeded"),
        (|pod| pod.containers[0] = waiting("ErrImagePull", &"x".repeat(400)), "…; check its name, its tag and imagePullSecrets"),
    ];
    for (change, words) in cases {
        let why = unready(change).unwrap();
        assert!(why.starts_with("1 of 2 pods of 7f9c4d01ab not ready; shop-7f9c4d01ab-0: ") && why.ends_with(words), "{why}");
    }
    assert_eq!(unready(|pod| pod.containers[0] = waiting("ContainerCreating", "")), None);
    assert_eq!(unready(|pod| pod.ready = true), None);
}
