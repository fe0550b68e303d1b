//! The control plane with fake nodes: what every cluster test relies on.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test ends by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{output, until};
use plimsoll_bed::{Bed, Options, audit};

/// How long to wait for anything: this machine may be busy with other things.
const LIMIT: Duration = Duration::from_secs(240);
/// Tells a child of this test to hold a bed, and where to note its folder.
const HOLD_VARIABLE: &str = "PLIMSOLL_BED_TEST_NOTE";

async fn status(bed: &Bed, deployment: &str, path: &str) -> String {
    output(bed, "pods", &format!("-l=app={deployment}"), &format!("{{.items[0].status.{path}}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fake_pods_behave_as_asked_and_nothing_stays_behind() {
    let bed = Bed::start(Options::default()).await.unwrap();
    let mut requests = bed.audit().unwrap();
    for behaviour in ["fine", "crash-loop", "oom-killed", "image-pull-backoff", "config-error-nonroot"] {
        let image = format!("--image=example.test/app:{behaviour}");
        bed.kubectl(&["create", "deployment", behaviour, &image]).await.unwrap();
    }
    bed.kubectl(&["rollout", "status", "deployment/fine", "--timeout=240s"]).await.unwrap();
    assert!(status(&bed, "fine", "podIP").await.starts_with(bed.pod_cidr().trim_end_matches("0.0/17")));
    until("a crash loop restarts again and again", LIMIT, async || {
        status(&bed, "crash-loop", "containerStatuses[0].restartCount").await.parse().unwrap_or(0) >= 2
    })
    .await;
    until("a crash loop backs off", LIMIT, async || {
        status(&bed, "crash-loop", "containerStatuses[0].state.waiting.reason").await == "CrashLoopBackOff"
    })
    .await;
    assert_eq!(status(&bed, "crash-loop", "containerStatuses[0].lastState.terminated.exitCode").await, "1");
    until("an OOM kill shows", LIMIT, async || {
        status(&bed, "oom-killed", "containerStatuses[0].lastState.terminated.reason").await == "OOMKilled"
    })
    .await;
    until("an image is not found", LIMIT, async || {
        status(&bed, "image-pull-backoff", "containerStatuses[0].state.waiting.reason").await == "ImagePullBackOff"
    })
    .await;
    until("the kubelet refuses an image that runs as root", LIMIT, async || {
        let message = status(&bed, "config-error-nonroot", "containerStatuses[0].state.waiting.message").await;
        message.starts_with("container has runAsNonRoot and image will run as root")
    })
    .await;

    let counts = audit::count(&requests.read().unwrap());
    assert_eq!(counts.get(&("bed-admin".into(), "create".into(), "deployments".into())), Some(&5));

    let directory = bed.directory().to_owned();
    bed.stop().await.unwrap();
    assert!(!directory.exists());
    assert_eq!(processes_in(&directory), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_may_do_what_its_roles_allow() {
    let bed = Bed::start(Options { fake_nodes: 1, ..Options::default() }).await.unwrap();
    bed.kubectl(&["create", "serviceaccount", "reader"]).await.unwrap();
    bed.kubectl(&["create", "role", "reader", "--verb=list", "--resource=pods"]).await.unwrap();
    bed.kubectl(&["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader"]).await.unwrap();
    let kubeconfig = bed.kubeconfig_for_service_account("default", "reader").await.unwrap();
    let option = format!("--kubeconfig={}", kubeconfig.display());
    bed.kubectl(&[&option, "get", "pods"]).await.unwrap();
    let refused = bed.kubectl(&[&option, "get", "secrets"]).await.unwrap_err();
    assert!(refused.to_string().contains("Forbidden"), "{refused}");

    // Attached to, a bed outlives the value.
    drop(Bed::attach(bed.kubeconfig()).unwrap());
    bed.kubectl(&["get", "nodes"]).await.unwrap();
}

/// Not a test by itself: the process that the next one kills.
#[tokio::test(flavor = "multi_thread")]
async fn holds_a_bed_for_another_test() {
    let Some(note) = std::env::var_os(HOLD_VARIABLE) else { return };
    let bed = Bed::start(Options { fake_nodes: 0, ..Options::default() }).await.unwrap();
    // What a test starts for its bed, as an operator.
    bed.command("sh".as_ref()).args(["-c", "sleep 600 > /dev/null 2>&1 &"]).stdin(Stdio::null()).status().unwrap();
    std::fs::write(note, bed.directory().display().to_string()).unwrap();
    std::future::pending::<()>().await;
}

async fn bed_of_another_process() -> (std::process::Child, PathBuf) {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let note = std::env::temp_dir().join(format!("plimsoll-bed-note-{}-{number}", std::process::id()));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_a_bed_for_another_test"])
        .env(HOLD_VARIABLE, &note)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until("another process has its bed", LIMIT, async || std::fs::read_to_string(&note).is_ok_and(|text| !text.is_empty())).await;
    let directory = PathBuf::from(std::fs::read_to_string(&note).unwrap());
    std::fs::remove_file(&note).unwrap();
    assert!(processes_in(&directory) >= 4);
    (child, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_behind_when_the_test_is_killed() {
    let (mut child, directory) = bed_of_another_process().await;
    child.kill().unwrap();
    child.wait().unwrap();
    until("the supervisor tears down", LIMIT, async || !directory.exists() && processes_in(&directory) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_bed_clears_up_after_a_killed_supervisor() {
    let (mut child, directory) = bed_of_another_process().await;
    let supervisor = Bed::attach(&directory.join("kubeconfig")).unwrap().supervisor_id();
    // Only a signal that cannot be caught keeps the supervisor from tidying up.
    Command::new("sh").args(["-c", &format!("kill -s KILL {supervisor}")]).status().unwrap();
    // All but the one that the test itself has started; unless a bed of another test is started in this very moment and clears up first.
    until("the bed's processes die with it", LIMIT, async || processes_in(&directory) == 1 || !directory.exists()).await;
    let next = Bed::start(Options { fake_nodes: 0, ..Options::default() }).await.unwrap();
    // Whichever bed is the next one: where it is not ours, it may still be at it.
    until("the next bed clears up", LIMIT, async || !directory.exists() && processes_in(&directory) == 0).await;
    child.kill().unwrap();
    child.wait().unwrap();
    next.stop().await.unwrap();
}

/// How many processes carry the mark of the bed in `directory`.
fn processes_in(directory: &Path) -> usize {
    let mark = format!("PLIMSOLL_BED_DIRECTORY={}", directory.display()).into_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let environments = entries.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
    environments.filter(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == mark)).count()
}
