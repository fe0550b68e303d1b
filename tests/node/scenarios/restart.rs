//! The operator is killed in the middle of a step.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use plimsoll_bed::host;
use plimsoll_demo::service::Service;
use serde_json::json;

use super::{DECIDED, DEPLOYED};
use crate::app::shop;
use crate::world::Place;

const SOAK_SECONDS: i64 = 20;

/// `kill -9` of every replica while a step soaks: the rollout goes on where it was, no step is skipped, none starts over.
pub async fn killed(place: Place) -> Result<()> {
    let steps = json!([{ "weight": 30, "soakSeconds": SOAK_SECONDS }, { "weight": 50, "soakSeconds": SOAK_SECONDS }]);
    let stepwise = |restart: &str| json!({ "restart": restart, "rollout": { "strategy": { "canary": { "steps": steps } } } });
    place.apply(&shop(&place.shared.shop, stepwise("1"))).await?;
    place.settled("Stable", DEPLOYED).await?;

    let mut watch = place.watch("shop")?;
    place.apply(&shop(&place.shared.shop, stepwise("2"))).await?;
    place.until(DEPLOYED, soaks_in_first_step).await?;
    // In the middle, not at the begin.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let killed = kill_operators(&place.shared.release.namespace)?;
    ensure!(killed == 2, "{killed} operators were killed, there should be 2");

    let mut soaks: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let mut steps = Vec::new();
    let mut latest = Service::default();
    let all = tokio::time::timeout(DECIDED, async {
        while !(steps.len() > 1 && latest.is("Stable")) {
            latest = watch.next(DECIDED).await?;
            let Some(progress) = &latest.status.rollout.progress else { continue };
            if steps.last() != Some(&progress.step) {
                steps.push(progress.step);
            }
            if let (Some(since), "Soaking") = (&progress.weight_since, progress.stage.as_str()) {
                let soak = soaks.entry(progress.step).or_default();
                if soak.last() != Some(since) {
                    soak.push(since.clone());
                }
            }
        }
        anyhow::Ok(())
    });
    match all.await {
        Ok(result) => result?,
        Err(_) => bail!("not Stable in time; steps {steps:?}; last seen: {} {}", latest.status.phase, latest.status.message),
    }
    ensure!(steps == [0, 1, 2], "the steps were {steps:?}");
    ensure!(soaks.keys().copied().collect::<Vec<_>>() == [0, 1], "soaked in {soaks:?}");
    for (step, begins) in &soaks {
        ensure!(begins.len() == 1, "step {step} began more than once: {begins:?}");
    }
    let (first, second) = (moment(&soaks[&0][0])?, moment(&soaks[&1][0])?);
    let between = second.duration_since(first).as_secs();
    ensure!(between >= SOAK_SECONDS, "the first step soaked for {between} s only");
    let restarts = place.shared.cluster.field(
        &place.shared.release.namespace,
        &["pods", "--selector=app.kubernetes.io/name=plimsoll"],
        "{.items[*].status.containerStatuses[*].restartCount}",
    );
    let restarts = restarts.await;
    ensure!(restarts.split(' ').all(|count| count != "0"), "an operator was not restarted: {restarts}");
    // Pods that were killed once wait longer when they are killed again, and scenarios that do so follow.
    let fresh = ["rollout", "restart", "deployment/plimsoll", "--namespace", &place.shared.release.namespace];
    place.shared.cluster.kubectl(&fresh).await.map(drop)
}

fn soaks_in_first_step(service: &Service) -> bool {
    service.is_current()
        && service.status.rollout.progress.as_ref().is_some_and(|progress| progress.stage == "Soaking" && progress.step == 0)
}

fn moment(text: &str) -> Result<jiff::Timestamp> {
    text.parse().with_context(|| format!("{text} is not a time"))
}

/// Kills the operators of the bed, and nothing else of this machine: processes in the bed's cgroups with the pod's variables.
pub fn kill_operators(namespace: &str) -> Result<usize> {
    let variable = format!("POD_NAMESPACE={namespace}").into_bytes();
    let mut killed = 0;
    for entry in fs::read_dir("/proc").context("no /proc")?.flatten() {
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let is_operator = read("cmdline").starts_with(b"/plimsoll\0run\0");
        let is_ours = read("environ").split(|byte| *byte == 0).any(|found| found == variable);
        let in_bed = String::from_utf8_lossy(&read("cgroup")).contains("plimsoll-bed-");
        if is_operator && is_ours && in_bed {
            let id = entry.file_name().to_string_lossy().into_owned();
            host::run_command(Command::new("kill").args(["-KILL", &id]))?;
            killed += 1;
        }
    }
    Ok(killed)
}
