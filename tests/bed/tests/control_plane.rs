//! The control plane with fake nodes: what every cluster test relies on.

use std::path::Path;
use std::time::{Duration, Instant};

use plimsoll_bed::{Bed, Options, audit};

async fn until(what: &str, limit: Duration, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !check().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn status(bed: &Bed, deployment: &str, path: &str) -> String {
    let template = format!("--output=jsonpath={{.items[0].status.{path}}}");
    bed.kubectl(&["get", "pods", &format!("--selector=app={deployment}"), &template]).await.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn fake_pods_behave_as_asked_and_nothing_stays_behind() {
    let bed = Bed::start(Options::default()).await.unwrap();
    let mut requests = bed.audit().unwrap();
    for behaviour in ["fine", "crash-loop", "oom-killed", "image-pull-backoff", "config-error-nonroot"] {
        let image = format!("--image=example.test/app:{behaviour}");
        bed.kubectl(&["create", "deployment", behaviour, &image]).await.unwrap();
    }
    let limit = Duration::from_secs(60);
    bed.kubectl(&["rollout", "status", "deployment/fine", "--timeout=60s"]).await.unwrap();
    assert!(status(&bed, "fine", "podIP").await.starts_with(bed.pod_cidr().trim_end_matches("0.0/17")));
    until("a crash loop restarts again and again", limit, async || {
        status(&bed, "crash-loop", "containerStatuses[0].restartCount").await.parse().unwrap_or(0) >= 2
    })
    .await;
    until("a crash loop backs off", limit, async || {
        status(&bed, "crash-loop", "containerStatuses[0].state.waiting.reason").await == "CrashLoopBackOff"
    })
    .await;
    assert_eq!(status(&bed, "crash-loop", "containerStatuses[0].lastState.terminated.exitCode").await, "1");
    until("an OOM kill shows", limit, async || {
        status(&bed, "oom-killed", "containerStatuses[0].lastState.terminated.reason").await == "OOMKilled"
    })
    .await;
    until("an image is not found", limit, async || {
        status(&bed, "image-pull-backoff", "containerStatuses[0].state.waiting.reason").await == "ImagePullBackOff"
    })
    .await;
    let message = status(&bed, "config-error-nonroot", "containerStatuses[0].state.waiting.message").await;
    assert!(message.starts_with("container has runAsNonRoot and image will run as root"), "{message}");

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

/// How many processes carry the mark of the bed in `directory`.
fn processes_in(directory: &Path) -> usize {
    let mark = format!("PLIMSOLL_BED_DIRECTORY={}", directory.display()).into_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let environments = entries.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
    environments.filter(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == mark)).count()
}
