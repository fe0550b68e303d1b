//! What a write does to those that serve (1, 2, 4, 5).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Auditor;
use crate::api::ProductionServiceSpec;
use crate::api::status::{CauseReason, Memory, Stage};
use crate::decide::{Kind, Write};
use crate::sim::cluster::Cluster;
use crate::sim::expectations as expected;
use crate::sim::gateway::{self, Share};
use crate::sim::workloads::Workloads;

/// Between the last moment at which pods take traffic and their end: the operator's two seconds, of which whole-second times may take one.
const DRAIN: SignedDuration = SignedDuration::from_secs(1);
/// A share of the requests that no weight can express.
const ROUNDING: f64 = 0.01;
/// A step beyond every way.
const FULL: i32 = 1_000;

/// Ready pods that take traffic, and go on doing so under the replicas that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sim) struct Served {
    pods: usize,
    /// Replicas that are asked for, by Deployment.
    asked: BTreeMap<String, i64>,
}

impl Served {
    pub(in crate::sim) fn of(cluster: &Cluster, workloads: &Workloads, service: &str) -> Self {
        let deployments = cluster.objects().iter().filter(|(key, _)| key.kind == Kind::Deployment);
        let asked: BTreeMap<String, i64> =
            deployments.map(|(key, body)| (key.name.clone(), body["spec"]["replicas"].as_i64().unwrap_or(0))).collect();
        let most = |owner: &str| asked.get(owner).and_then(|asked| usize::try_from(*asked).ok()).unwrap_or(0);
        // So many pods could carry the load if it were divided as it is: a tenth of the load on one pod is ten pods' worth.
        let carries = |share: &Share<'_>| {
            let mut ready: BTreeMap<&str, usize> = BTreeMap::new();
            for pod in share.pods.iter().filter(|pod| pod.counts()) {
                *ready.entry(&pod.owner).or_default() += 1;
            }
            let pods: usize = ready.into_iter().map(|(owner, ready)| ready.min(most(owner))).sum();
            // Weights are whole percents: two of three pods get 67.
            let share = if share.of_all < 1.0 { (share.of_all - ROUNDING).max(ROUNDING) } else { 1.0 };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number of pods")]
            let worth = (pods as f64 / share + 1e-9) as usize;
            worth
        };
        let now = gateway::shares(workloads, cluster, service);
        let then = gateway::asked(workloads, cluster, service);
        Self { pods: now.iter().chain(&then).map(carries).min().unwrap_or(0), asked }
    }
}

impl Auditor {
    /// An object was written.
    pub(in crate::sim) fn written(&mut self, now: Timestamp, write: &Write, before: &Served, cluster: &Cluster, workloads: &Workloads) {
        let Some(service) = cluster.service() else { return };
        let name = service.metadata.name.clone().unwrap_or_default();
        let after = Served::of(cluster, workloads, &name);
        // An autoscaled service without a number has none that could be missed.
        let needed = expected::replicas(&service.spec).map_or(0, |replicas| usize::try_from(replicas).unwrap_or(0));
        let memory = service.status.as_ref().and_then(|status| status.rollout.as_ref());
        let least = needed.saturating_sub(self.may_be_missing(&service.spec, memory, needed, now));
        if after.pods < before.pods && after.pods < least {
            let seen = format!("{}: {} of {needed} pods take traffic, {} before", describe(write), after.pods, before.pods);
            self.violated(now, "1 capacity", seen);
        }
        if after.pods == 0 && before.pods > 0 && needed > 0 {
            self.violated(now, "2 never route to nothing", describe(write));
        }
        self.drained(now, write, (before, &after), needed, memory);
        self.job_made(now, write, cluster);
        if let Write::Create { key, body } | Write::Apply { key, body, .. } = write
            && key.kind == Kind::Deployment
        {
            let revision = body["metadata"]["labels"]["plimsoll.dev/revision"].as_str().unwrap_or_default();
            let replicas = body["spec"]["replicas"].as_i64().unwrap_or(0);
            let progress = memory.and_then(|memory| memory.progress.as_ref());
            let stable = memory.and_then(|memory| memory.stable.as_deref());
            let known = stable == Some(revision) || progress.is_some_and(|progress| progress.revision == revision);
            // What a first revision replaced may still serve until the new one is ready.
            let shrinks = matches!(write, Write::Apply { guarded: true, .. });
            if replicas > 0 && !known && !shrinks && stable.is_some() {
                self.violated(now, "4 no effect without a persisted decision", format!("{}: {replicas} pods", describe(write)));
            }
            if let Some(progress) =
                progress.filter(|progress| stable == Some(revision) && progress.cause.is_none() && progress.stage != Stage::Draining)
                && let Some(required) = expected::replicas(&service.spec)
            {
                // A bake is full, also when an autoscaler has changed how many steps lead there.
                let step = if progress.stage == Stage::Baking { FULL } else { progress.step };
                let (_, least) = expected::shape(&service.spec, required, step);
                // What somebody else took from stable comes back as there is room; that is no loss.
                let loses = before.asked.get(&key.name).is_some_and(|asked| replicas < *asked);
                if loses && replicas < i64::from(least) {
                    let seen = format!("{} leaves stable {replicas} pods in step {}, not {least}", describe(write), progress.step);
                    self.violated(now, "5 rollback is reachable", seen);
                }
            }
        }
    }

    /// Whoever has lost the traffic in a rollout keeps its pods for a moment. What helped out after a way back had ended goes when it is not
    /// needed any more: nothing but its pods' preStop drains it.
    fn drained(&mut self, now: Timestamp, write: &Write, (before, after): (&Served, &Served), needed: usize, memory: Option<&Memory>) {
        let Some(memory) = memory.filter(|_| needed > 0) else { return };
        let on = memory.progress.iter().map(|progress| progress.revision.as_str());
        let last = memory.last.iter().filter(|last| memory.progress.is_none() && now <= last.at.0 + DRAIN * 2);
        let over = last.flat_map(|last| memory.history.iter().map(String::as_str).chain(last.id.split('-').next()));
        for revision in memory.stable.as_deref().into_iter().chain(on).chain(over).filter(|_| memory.stable.is_some()) {
            let gone = |(name, asked): &(&String, &i64)| {
                name.ends_with(revision) && **asked > 0 && after.asked.get(*name).is_none_or(|asked| *asked == 0)
            };
            let Some((name, _)) = before.asked.iter().find(gone) else { continue };
            if self.routed.get(name).is_some_and(|last| now < *last + DRAIN) {
                self.violated(now, "1 drain", format!("{}: the pods of {name} took traffic until just now", describe(write)));
            }
        }
    }

    /// Pods that may be missing behind stable when it gets everything back from a candidate that fails its users: after half a minute as many
    /// as may be missing on purpose, after the deadline any.
    fn may_be_missing(&self, spec: &ProductionServiceSpec, memory: Option<&Memory>, needed: usize, now: Timestamp) -> usize {
        let cause = memory.and_then(|memory| memory.progress.as_ref()?.cause.as_ref());
        let harmful = cause.is_some_and(|cause| matches!(cause.reason, CauseReason::Analysis | CauseReason::Signal));
        let Some(turned) = self.turned.filter(|_| harmful) else { return 0 };
        let waited = now.duration_since(turned).as_secs();
        let deadline = spec.rollout.as_ref().and_then(|rollout| rollout.progress_deadline_seconds).unwrap_or(600);
        match waited {
            _ if waited >= deadline.into() => needed,
            30.. => expected::max_unavailable(spec, needed),
            _ => 0,
        }
    }
}

pub(super) fn describe(write: &Write) -> String {
    write.key().map_or_else(|| "the scale".to_owned(), ToString::to_string)
}
