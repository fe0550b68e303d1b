//! The demo in a cluster that somebody else owns: a bed of this test plays that cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use plimsoll_bed::{Bed, Options, host};
use plimsoll_demo::cluster::Cluster;
use plimsoll_demo::install::crd_exists;
use plimsoll_demo::wait;

const DEMO: &str = env!("CARGO_BIN_EXE_plimsoll-demo");
/// The context's name in a bed's kubeconfig.
const CONTEXT: &str = "plimsoll-bed";
/// What the demo brings into the cluster.
const NAMESPACES: [&str; 2] = ["plimsoll-demo", "plimsoll-demo-operator"];
const LIMIT: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = host::is_root();
    if !root {
        eprintln!("not run: a bed with a real node, which plays the user's cluster, needs root; counted as ignored");
    }
    let trials = vec![
        Trial::test("without_a_registry_it_stops_with_that_sentence", without_registry),
        Trial::test("it_plays_in_the_users_cluster_and_takes_everything_away_again", users_cluster).with_ignored_flag(!root),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn without_registry() -> Result<(), Failed> {
    let demo = Command::new(DEMO).env("DEMO_CONTEXT", "mine").env_remove("DEMO_REGISTRY").output()?;
    let words = String::from_utf8_lossy(&demo.stderr);
    assert_eq!(demo.status.code(), Some(2), "{words}");
    assert!(words.contains("set DEMO_REGISTRY as well"), "{words}");
    assert!(demo.stdout.is_empty(), "it began all the same");
    Ok(())
}

fn users_cluster() -> Result<(), Failed> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let bed = Bed::start_or_attach(Options { metrics_server: false, ..Options::real() }).await?;
        let cluster = Cluster::of_bed(&bed)?;
        interrupted(&bed, &cluster).await?;
        // The real node is taken by this bed: had the demo started one of its own, it would have failed.
        let demo = tokio::process::Command::from(demo(&bed)).output().await?;
        let told = format!("{}{}", String::from_utf8_lossy(&demo.stdout), String::from_utf8_lossy(&demo.stderr));
        assert_eq!(demo.status.code(), Some(0), "{told}");
        assert!(told.contains("rolled back at ") && told.contains("requests failed"), "{told}");
        nothing_left(&cluster).await?;
        assert!(crd_exists(&cluster).await, "the chart keeps the CRD");
        // One that was attached to stays.
        bed.stop().await
    })?;
    Ok(())
}

/// Ctrl-C in the middle: everything is taken away.
async fn interrupted(bed: &Bed, cluster: &Cluster) -> anyhow::Result<()> {
    let mut demo = demo(bed).stdout(Stdio::piped()).spawn()?;
    wait_for_line(&mut demo, "version 1");
    host::run("kill", &["-INT", &demo.id().to_string()])?;
    let status = wait::until("the demo ends after ctrl-C", LIMIT, async || demo.try_wait().ok().flatten()).await?;
    assert_eq!(status.code(), Some(130));
    nothing_left(cluster).await
}

async fn nothing_left(cluster: &Cluster) -> anyhow::Result<()> {
    for namespace in NAMESPACES {
        assert_eq!(cluster.field("default", &["namespace", namespace], "{.metadata.name}").await, "");
    }
    // An operator that serves others' namespaces is nothing of the demo's.
    let releases = cluster.helm(&["list", "--all-namespaces", "--short"]).await?;
    assert!(!releases.contains("demo"), "{releases}");
    Ok(())
}

fn demo(bed: &Bed) -> Command {
    let mut command = Command::new(DEMO);
    let registry = format!("{}/demo", bed.registry().unwrap());
    command.env("DEMO_CONTEXT", CONTEXT).env("DEMO_REGISTRY", registry).env("DEMO_APP", "go").env("KUBECONFIG", bed.kubeconfig());
    command
}

/// Reads until a line says this; what follows is read to its end aside, so that the demo is never held up.
fn wait_for_line(demo: &mut Child, words: &str) {
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(words)), "the demo ended before {words:?}");
    std::thread::spawn(move || lines.for_each(drop));
}
