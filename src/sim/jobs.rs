//! A stand-in for the Job controller, and what the Jobs of gates do.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::scenario::Wait;
use super::timeline::Timeline;
use crate::decide::gates::job::end;
use crate::decide::render::ownership::{GATE, ROLLOUT};
use crate::decide::{Kind, ObjectKey};

/// How the Job of a gate ends.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct JobEnd {
    /// How long it takes. Default: 10 s.
    pub after: Wait,
    /// It fails, and this is what it says last. Absent: it succeeds.
    pub fails: Option<String>,
}

impl Default for JobEnd {
    fn default() -> Self {
        Self { after: Wait(SignedDuration::from_secs(10)), fails: None }
    }
}

/// Jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    ends: BTreeMap<String, JobEnd>,
    /// (rollout, gate) of every Job that succeeded.
    pub(super) succeeded: BTreeSet<(String, String)>,
    /// When one of them ends next.
    pub(super) wake: Option<Timestamp>,
}

impl Jobs {
    pub(super) fn new(ends: BTreeMap<String, JobEnd>) -> Self {
        Self { ends, ..Self::default() }
    }

    /// The Jobs of these gates end like this from now on.
    pub(super) fn behave(&mut self, ends: &BTreeMap<String, JobEnd>) {
        self.ends.extend(ends.clone());
    }

    /// Starts what was made, and ends what is due.
    pub(super) fn advance(&mut self, cluster: &mut Cluster, timeline: &mut Timeline, now: Timestamp) {
        self.wake = None;
        let keys: Vec<ObjectKey> = running(cluster).map(|(key, _)| key.clone()).collect();
        for key in keys {
            if cluster.objects()[&key]["status"].is_null() {
                cluster.edit(&key, now, |job| job["status"] = json!({"startTime": now.to_string(), "active": 1}));
            }
            let Some((at, failed)) = self.ending(&cluster.objects()[&key]) else { continue };
            if at > now {
                self.wake = self.wake.into_iter().chain([at]).min();
                continue;
            }
            timeline.line(now, "jobs", &format!("{} {}", key.name, if failed.is_some() { "fails" } else { "succeeds" }), "");
            cluster.edit(&key, now, |job| {
                job["status"]["active"] = 0.into();
                if let Some(reason) = failed {
                    job["status"]["conditions"] = json!([{"type": "Failed", "status": "True", "reason": reason}]);
                    job["status"]["failed"] = 1.into();
                } else {
                    job["status"]["conditions"] = json!([{"type": "Complete", "status": "True"}]);
                    job["status"]["succeeded"] = 1.into();
                    job["status"]["completionTime"] = now.to_string().into();
                    self.succeeded.insert((label(job, ROLLOUT).to_owned(), label(job, GATE).to_owned()));
                }
            });
        }
    }

    /// When a Job that was started ends, and the reason of its failure.
    fn ending(&self, job: &Value) -> Option<(Timestamp, Option<&'static str>)> {
        let started: Timestamp = job["status"]["startTime"].as_str()?.parse().ok()?;
        let fate = self.fate(job);
        let limit = started + SignedDuration::from_secs(job["spec"]["activeDeadlineSeconds"].as_i64().unwrap_or(i64::from(i32::MAX)));
        let at = started + fate.after.0;
        Some(if at > limit { (limit, Some("DeadlineExceeded")) } else { (at, fate.fails.as_ref().map(|_| "BackoffLimitExceeded")) })
    }

    fn fate(&self, job: &Value) -> JobEnd {
        self.ends.get(label(job, GATE)).cloned().unwrap_or_default()
    }

    /// What the pods of the Jobs that failed said last, by the Job's name.
    pub(super) fn last_words(&self, cluster: &Cluster) -> BTreeMap<String, String> {
        let jobs = cluster.objects().iter().filter(|(key, _)| key.kind == Kind::Job);
        jobs.filter_map(|(key, job)| Some((key.name.clone(), self.fate(job).fails?))).collect()
    }
}

/// Jobs that have not ended.
pub(super) fn running(cluster: &Cluster) -> impl Iterator<Item = (&ObjectKey, &Value)> {
    cluster.objects().iter().filter(|(key, job)| key.kind == Kind::Job && end(job).is_none())
}

fn label<'a>(job: &'a Value, label: &str) -> &'a str {
    job["metadata"]["labels"][label].as_str().unwrap_or_default()
}
