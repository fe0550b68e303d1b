//! A Job that has to succeed.
//!
//! It is ordered in status before it is made, and made by a creation that fails where one of its name exists. Once it was seen, no other one takes
//! its place: where it is gone before it ended, how it ended can never be known.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{About, Standing};
use crate::api::gate_status::{GateState, GateStatus, JobOrder};
use crate::api::gates::JobGate;
use crate::api::status::Progress;
use crate::decide::plan::Plan;
use crate::decide::revision::digest;
use crate::decide::snapshot::{Child, Kind, ObjectKey, Snapshot};

/// Characters of a name that are left for the words in it, beside a hyphen and eight digits.
const WORDS: usize = 63 - 9;
/// Characters of a Job's last words that are repeated.
const LAST_WORDS: usize = 300;
/// How often the Job's pod is replaced where the spec does not say.
pub const RETRIES: i32 = 0;
/// Seconds that it may take where the spec does not say.
pub const TIMEOUT_SECONDS: i32 = 600;

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It succeeded, after so many seconds where it says so.
    Succeeded(Option<i64>),
    /// It failed, and why by its own conditions where these say more.
    Failed(Option<String>),
}

/// Where the gate stands. Orders the Job when it is first asked.
pub(super) fn standing(about: &About<'_>, progress: &Progress, gate: &JobGate, status: &mut GateStatus) -> Standing {
    let snapshot = about.snapshot;
    if !snapshot.around.jobs {
        return Standing::Waiting("the operator may not make Jobs: install it with the chart value jobs=true".into());
    }
    let Some(order) = &mut status.job else {
        if let Some(other) = earlier(snapshot) {
            return Standing::Waiting(format!("Job {other} of an earlier rollout still runs"));
        }
        if !about.begins {
            return Standing::Waiting("its Job is not made while nothing goes forward".into());
        }
        let name = name(about.plan, progress, &status.name);
        let made = format!("Job {name} is made");
        status.job = Some(JobOrder { name, uid: None });
        return Standing::Waiting(made);
    };
    let name = &order.name;
    let found = snapshot.children.get(&ObjectKey::new(Kind::Job, name)).filter(|child| child.ours);
    let Some(job) = found else {
        return match order.uid {
            Some(_) => Standing::Unknown(format!("Job {name} was deleted before it was seen to end: how it ended is not known")),
            None => Standing::Waiting(format!("Job {name} is made")),
        };
    };
    if order.uid.as_ref().is_some_and(|uid| *uid != job.uid) {
        return Standing::Unknown(format!("Job {name} is not the one that was made: how that one ended is not known"));
    }
    order.uid = Some(job.uid.clone());
    match end(&job.body) {
        Some(End::Succeeded(Some(seconds))) => Standing::Open(format!("Job {name} succeeded after {seconds} s")),
        Some(End::Succeeded(None)) => Standing::Open(format!("Job {name} succeeded")),
        Some(End::Failed(why)) => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            Standing::Closed(format!("Job {name} failed{why}; {}", said(name, snapshot.around.last_words.get(name))))
        }
        None => Standing::Waiting(format!("Job {name} runs{}", tries(gate, &job.body))),
    }
}

/// How a Job ended, if it did.
#[must_use]
pub fn end(job: &Value) -> Option<End> {
    let conditions = job["status"]["conditions"].as_array()?;
    let holds = |kind: &str| conditions.iter().find(|condition| condition["type"] == kind && condition["status"] == "True");
    if holds("Complete").is_some() {
        let moment = |field: &str| job["status"][field].as_str()?.parse::<Timestamp>().ok();
        let seconds = moment("startTime").and_then(|start| Some(moment("completionTime")?.duration_since(start).as_secs()));
        return Some(End::Succeeded(seconds));
    }
    let failed = holds("Failed")?;
    let text = |field: &str| failed[field].as_str().unwrap_or_default();
    Some(End::Failed(match text("reason") {
        "DeadlineExceeded" => Some(format!("it did not end in {} s", job["spec"]["activeDeadlineSeconds"])),
        "BackoffLimitExceeded" => {
            job["status"]["failed"].as_i64().filter(|pods| *pods > 1).map(|pods| format!("each of its {pods} pods did"))
        }
        reason => Some(format!("{reason} {}", text("message")).trim().to_owned()).filter(|why| !why.is_empty()),
    }))
}

/// A Job of this service that has not ended. One that was ordered by this rollout is not looked for here: each gate makes one at most, and the gate
/// before it is open by then.
fn earlier(snapshot: &Snapshot) -> Option<&str> {
    let own = |(key, child): &(&ObjectKey, &Child)| key.kind == Kind::Job && child.ours && end(&child.body).is_none();
    snapshot.children.iter().find(own).map(|(key, _)| key.name.as_str())
}

/// Which of its pods it is at, where it has several.
fn tries(gate: &JobGate, job: &Value) -> String {
    let retries = i64::from(gate.retries.unwrap_or(RETRIES));
    match job["status"]["failed"].as_i64().unwrap_or(0) {
        0 => String::new(),
        failed => format!(", pod {} of {}", (failed + 1).min(retries + 1), retries + 1),
    }
}

/// The end of what it said, in one line, or where to look for it.
fn said(job: &str, words: Option<&String>) -> String {
    let lines = words.iter().flat_map(|words| words.lines()).map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" / ");
    if line.is_empty() {
        return format!("kubectl describe job {job} says more");
    }
    let cut = line.chars().count().saturating_sub(LAST_WORDS);
    let tail: String = line.chars().skip(cut).collect();
    format!("it said: {}{tail}", if cut > 0 { "…" } else { "" })
}

/// Names of Jobs whose last words are wanted: those that failed, of gates that do not say so yet.
pub fn mute<'a>(progress: Option<&'a Progress>, children: &'a BTreeMap<ObjectKey, Child>) -> impl Iterator<Item = &'a str> {
    let waiting = progress.into_iter().flat_map(|progress| &progress.gates).filter(|gate| gate.state == GateState::Waiting);
    waiting.filter_map(|gate| gate.job.as_ref()).map(|order| order.name.as_str()).filter(move |name| {
        let job = children.get(&ObjectKey::new(Kind::Job, *name));
        job.is_some_and(|job| job.ours && matches!(end(&job.body), Some(End::Failed(_))))
    })
}

/// A name that says whose it is, and that no other rollout's Job has: the same revision may be rolled out twice.
fn name(plan: &Plan, progress: &Progress, gate: &str) -> String {
    let key = digest(&json!([plan.uid, progress.id, progress.started, gate]));
    let words: String = format!("{}-{gate}", plan.name).chars().take(WORDS).collect();
    format!("{}-{}", words.trim_end_matches('-'), key.chars().take(8).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_job_is_what_its_conditions_say() {
        let job = |conditions: Value, failed: i64| {
            json!({
                "spec": {"activeDeadlineSeconds": 600},
                "status": {"conditions": conditions, "failed": failed, "startTime": "2026-01-05T08:00:00Z", "completionTime": "2026-01-05T08:00:12Z"},
            })
        };
        let holds = |kind: &str, reason: &str| json!([{"type": kind, "status": "True", "reason": reason, "message": "as it says"}]);
        let failed = |why: &str| Some(End::Failed(Some(why.to_owned())));
        let cases = [
            ("it has just been made", json!({}), None),
            ("it runs", job(json!([]), 0), None),
            ("it will fail, but its pods still end", job(holds("FailureTarget", "BackoffLimitExceeded"), 1), None),
            ("not true", job(json!([{"type": "Failed", "status": "False"}]), 0), None),
            ("it succeeded", job(holds("Complete", "CompletionsReached"), 0), Some(End::Succeeded(Some(12)))),
            ("its pod failed", job(holds("Failed", "BackoffLimitExceeded"), 1), Some(End::Failed(None))),
            ("its pods failed", job(holds("Failed", "BackoffLimitExceeded"), 3), failed("each of its 3 pods did")),
            ("too long", job(holds("Failed", "DeadlineExceeded"), 1), failed("it did not end in 600 s")),
            ("another reason", job(holds("Failed", "PodFailurePolicy"), 1), failed("PodFailurePolicy as it says")),
        ];
        for (why, job, expected) in cases {
            assert_eq!(end(&job), expected, "{why}");
        }
    }

    #[test]
    fn its_last_words_are_one_line_of_bounded_length() {
        let said = |words: &str| said("shop-migrate-1", Some(&words.to_owned()));
        assert_eq!(said("\n  connecting\r\n\nno such table\n"), "it said: connecting / no such table");
        assert_eq!(said(" \n"), "kubectl describe job shop-migrate-1 says more");
        let long = said(&"ö".repeat(5000));
        assert_eq!(long.chars().count(), "it said: …".chars().count() + LAST_WORDS);
    }
}
