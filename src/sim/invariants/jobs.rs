//! What must hold of the Jobs of gates.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::Auditor;
use super::capacity::describe;
use crate::api::ProductionServiceSpec;
use crate::api::gates::Gate;
use crate::api::status::Progress;
use crate::decide::gates::webhook::Call;
use crate::decide::{Kind, Write};
use crate::sim::cluster::Cluster;
use crate::sim::expectations as expected;
use crate::sim::jobs::{Jobs, running};

impl Auditor {
    /// A Job was made: as status orders it, once, and beside no other one.
    pub(super) fn job_made(&mut self, now: Timestamp, write: &Write, cluster: &Cluster) {
        let Write::Create { key, body } = write else { return };
        if key.kind != Kind::Job {
            return;
        }
        let memory = cluster.service().and_then(|service| service.status.as_ref()?.rollout.as_ref());
        let gates = memory.and_then(|memory| memory.progress.as_ref()).map(|progress| progress.gates.as_slice()).unwrap_or_default();
        if !gates.iter().any(|gate| gate.job.as_ref().is_some_and(|job| job.name == key.name)) {
            self.violated(now, "4 no effect without a persisted decision", describe(write));
        }
        if !self.jobs.insert(key.name.clone()) {
            self.violated(now, "4 at most once", format!("{} again", describe(write)));
        }
        let others: BTreeSet<&str> = running(cluster).map(|(key, _)| key.name.as_str()).filter(|name| *name != key.name).collect();
        if !others.is_empty() {
            self.violated(now, "4 one at a time", format!("{} while {others:?} run", describe(write)));
        }
        if body["spec"]["template"]["metadata"]["labels"]["plimsoll.dev/service"] != Value::Null {
            self.violated(now, "2 only pods that serve are selected", describe(write));
        }
    }

    /// A webhook was sent: as status orders it, and once, unless it may be asked twice.
    pub(in crate::sim) fn called(&mut self, now: Timestamp, call: &Call, gate: &str, times: usize, cluster: &Cluster) {
        let service = cluster.service();
        let memory = service.and_then(|service| service.status.as_ref()?.rollout.as_ref());
        let gates = memory.and_then(|memory| memory.progress.as_ref()).map(|progress| progress.gates.as_slice()).unwrap_or_default();
        if !gates.iter().any(|gate| gate.webhook.as_ref().is_some_and(|order| order.key == call.key)) {
            self.violated(now, "4 no effect without a persisted decision", format!("webhook of gate {gate}"));
        }
        let gates = service.and_then(|service| service.spec.rollout.as_ref()).map(|rollout| rollout.gates.as_slice()).unwrap_or_default();
        let twice = |spec: &Gate| spec.name == gate && spec.webhook.as_ref().is_some_and(|webhook| webhook.idempotent == Some(true));
        if times > 1 && !gates.iter().any(twice) {
            self.violated(now, "4 at most once", format!("webhook of gate {gate} for the time {times}"));
        }
    }

    /// Nobody goes on before the Jobs of the gates on the way have succeeded.
    pub(super) fn jobs_succeeded(
        &mut self,
        now: Timestamp,
        spec: &ProductionServiceSpec,
        after: &Progress,
        steps: (i32, i32),
        jobs: &Jobs,
    ) {
        for gate in expected::job_gates(spec, steps.0, steps.1) {
            if !jobs.succeeded.contains(&(after.id.clone(), gate.clone())) {
                self.violated(now, "9 a gate holds", format!("{}: to step {} before the Job of {gate} succeeded", after.id, steps.1));
            }
        }
    }
}
