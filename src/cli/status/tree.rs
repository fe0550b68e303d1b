//! The report as a tree: service → revisions → pods, then what was judged, decided and waited for.
//!
//! Every word stands for itself; colour only repeats what a word says.

use jiff::Timestamp;

use super::report::{PodReport, Report, Revision, Standing, at};
use crate::cli::output::columns;

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const BOLD: &str = "1";

/// The tree, with a line break at its end.
#[must_use]
pub fn tree(report: &Report, now: Timestamp, color: bool, why: bool) -> String {
    let paint = |text: &str, code: &str| if color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() };
    let tone = match report.standing {
        Standing::Stable => GREEN,
        Standing::Failed => RED,
        Standing::InProgress => YELLOW,
    };
    let phase = report.phase.map_or("Unknown".to_owned(), |phase| format!("{phase:?}"));
    let head = format!("{} in namespace {}: {}", paint(&report.name, BOLD), report.namespace, paint(&phase, tone));
    let mut branches: Vec<(String, Vec<String>)> = vec![(report.message.clone(), Vec::new())];
    branches.extend(report.unhealthy.iter().map(|why| (paint(&format!("too few pods: {why}"), RED), Vec::new())));
    let heads = columns(&report.revisions.iter().map(revision).collect::<Vec<_>>());
    for (head, revision) in heads.into_iter().zip(&report.revisions) {
        let pods = revision.pods.iter().map(|pod| pod_row(pod, now)).collect::<Vec<_>>();
        let lines = columns(&pods).into_iter().zip(&revision.pods).map(|(line, pod)| if pod.ready { line } else { paint(&line, YELLOW) });
        let metrics = revision.status.metrics.iter().map(|found| format!("metrics: {found}"));
        branches.push((head, lines.chain(metrics).collect()));
    }
    branches.extend(report.pods_hidden.iter().map(|why| (format!("pods are not shown: {why}"), Vec::new())));
    branches.extend(verdicts(report));
    if why {
        branches.extend(reasons(report));
    }
    branches.extend(report.waits_for.iter().map(|waiting| {
        let until =
            waiting.until.map(|until| format!(", until {}{}", until.strftime("%H:%M:%S UTC"), remaining(until, now))).unwrap_or_default();
        (format!("waits for   {}{until}", waiting.what), Vec::new())
    }));
    branches.extend(report.last.iter().map(|last| (format!("last        {} ({})", last.message, at(last.at)), Vec::new())));
    branches.extend(taken_back(report));
    if !report.earlier.is_empty() {
        branches.push((format!("earlier     {} (without pods, to go back to)", report.earlier.join(", ")), Vec::new()));
    }
    drawn(&head, &branches)
}

fn revision(revision: &Revision) -> [String; 4] {
    let status = &revision.status;
    let image = status.image.clone().unwrap_or_default();
    [
        format!("{:10}  {}", revision.role, status.revision),
        format!("{}%", status.weight),
        format!("{}/{} ready", status.ready, status.replicas),
        image,
    ]
}

fn pod_row(pod: &PodReport, now: Timestamp) -> [String; 5] {
    let age = pod.created.map(|created| duration(now.duration_since(created).as_secs())).unwrap_or_default();
    let restarts = if pod.restarts == 1 { "1 restart".to_owned() } else { format!("{} restarts", pod.restarts) };
    [pod.name.clone(), pod.state.clone(), restarts, age, pod.node.clone().unwrap_or_default()]
}

fn verdicts(report: &Report) -> Option<(String, Vec<String>)> {
    let step = report.step.as_ref()?;
    let asked = report.asked_weight.map(|asked| format!(" (asks for {asked}%)")).unwrap_or_default();
    let name = |role: &str| {
        report.revisions.iter().find(|revision| revision.role == role).map_or("?", |revision| revision.status.revision.as_str())
    };
    let rows: Vec<[String; 4]> = report
        .verdicts
        .iter()
        .map(|verdict| {
            let reason = verdict.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            let verdict_and_reason = format!("{}{reason}", verdict.verdict);
            if verdict.evidence.is_empty() {
                // A query: its numbers speak for themselves.
                return [verdict.name.clone(), verdict_and_reason, verdict.trend.clone(), verdict.message.clone().unwrap_or_default()];
            }
            let numbers = format!("bad: {} on {}, {} on {}", verdict.candidate, name("candidate"), verdict.stable, name("stable"));
            [verdict.name.clone(), verdict_and_reason, format!("e = {}", verdict.evidence), numbers]
        })
        .collect();
    let judged_by = report.judged_by.as_deref().filter(|_| rows.is_empty()).map(|by| format!(", judged by {by}")).unwrap_or_default();
    Some((format!("step        {step}{asked}{judged_by}"), columns(&rows)))
}

fn reasons(report: &Report) -> Vec<(String, Vec<String>)> {
    let reason = |why: &super::why::Why| {
        let lines = vec![why.numbers.clone(), why.evidence.clone(), format!("passes: {}", why.passes), format!("goes back: {}", why.fails)];
        (format!("why         {}", why.objective), lines)
    };
    report.why.iter().map(reason).collect()
}

fn taken_back(report: &Report) -> Option<(String, Vec<String>)> {
    let latest = report.quarantined.last()?;
    let row = |entry: &crate::api::status::Quarantined| {
        [entry.revision.clone(), format!("attempt {}", entry.attempt), at(entry.at), entry.reason.clone()]
    };
    let rows: Vec<[String; 4]> = report.quarantined.iter().rev().map(row).collect();
    let retry = format!(r#"{{"spec":{{"control":{{"retry":{{"revision":"{}","attempt":{}}}}}}}}}"#, latest.revision, latest.attempt + 1);
    let mut lines = columns(&rows);
    if report.standing == Standing::Failed {
        lines.push(format!("to try it again: kubectl patch psvc {} -n {} --type merge -p '{retry}'", report.name, report.namespace));
    }
    Some(("taken back, not tried again by itself".to_owned(), lines))
}

fn remaining(until: Timestamp, now: Timestamp) -> String {
    let seconds = until.duration_since(now).as_secs();
    if seconds > 0 { format!(" (in {})", duration(seconds)) } else { String::new() }
}

/// Seconds as kubectl prints ages: `45s`, `12m`, `3h20m`, `5d`.
fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{}d", seconds / 86400),
    }
}

fn drawn(head: &str, branches: &[(String, Vec<String>)]) -> String {
    let mut lines = vec![head.to_owned()];
    for (index, (branch, leaves)) in branches.iter().enumerate() {
        let last = index + 1 == branches.len();
        lines.push(format!("{} {branch}", arm(last)));
        let stem = if last { "   " } else { "│  " };
        lines.extend(leaves.iter().enumerate().map(|(index, leaf)| format!("{stem}{} {leaf}", arm(index + 1 == leaves.len()))));
    }
    lines.join("\n") + "\n"
}

const fn arm(last: bool) -> &'static str {
    if last { "└─" } else { "├─" }
}
