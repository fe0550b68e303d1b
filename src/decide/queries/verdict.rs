//! What the answers come to.

use jiff::Timestamp;

use super::{Bound, CONCLUSIVE, PlannedQuery};
use crate::api::analysis::OnNoEvidence;
use crate::api::status::{Progress, QueryMemory};
use crate::decide::plan::Plan;

/// Answers that have to hold in a step, and the last ones that have to hold without another one between them.
const HELD: i32 = 3;
/// Of the last ten answers, so many that failed send a version back.
const HALF: usize = CONCLUSIVE / 2;
/// Answers without a number in a row, from which on the reason is said instead.
const SILENT: usize = 5;

/// Where an objective stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds, often enough.
    Pass,
    /// It sends the version back.
    Fail(&'static str),
    /// Neither, and why.
    Pending(&'static str),
}

/// An objective's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryVerdict {
    /// The objective.
    pub name: String,
    /// Where it stands.
    pub standing: Standing,
    /// Why, in one sentence.
    pub sentence: String,
    /// The last numbers: of the candidate and of stable.
    pub numbers: [Option<String>; 2],
    /// The last answers: S held, F failed, I said nothing, E was none.
    pub recent: String,
}

/// The verdicts, in the order of the spec; empty while no weight is in force.
#[must_use]
pub fn verdicts(plan: &Plan, progress: &Progress, stable: &str, deadline: Option<Timestamp>, now: Timestamp) -> Vec<QueryVerdict> {
    let (Some(_), nothing) = (progress.weight_since, QueryMemory::default()) else { return Vec::new() };
    let of = |query: &PlannedQuery| progress.queries.iter().find(|memory| memory.name == query.name).unwrap_or(&nothing);
    let late = deadline.is_some_and(|deadline| now >= deadline);
    let verdict = |query: &PlannedQuery| {
        let memory = of(query);
        let (standing, sentence) = judged(query, memory, progress, stable);
        let (standing, sentence) = match standing {
            Standing::Pending(_) if late => at_the_deadline(plan.on_no_evidence, memory, standing, &sentence),
            _ => (standing, sentence),
        };
        QueryVerdict {
            name: query.name.clone(),
            standing,
            sentence,
            numbers: [memory.candidate.clone(), memory.stable.clone()],
            recent: memory.recent.clone(),
        }
    };
    plan.queries.iter().map(verdict).collect()
}

fn judged(query: &PlannedQuery, memory: &QueryMemory, progress: &Progress, stable: &str) -> (Standing, String) {
    let name = &query.name;
    let conclusive: Vec<char> = memory.recent.chars().filter(|letter| matches!(letter, 'S' | 'F')).collect();
    let in_a_row = |letter| conclusive.iter().rev().take_while(|found| **found == letter).count();
    let failed = conclusive.iter().rev().take(CONCLUSIVE).filter(|letter| **letter == 'F').count();
    let seen = seen(query.bound, memory, &progress.revision, stable);
    if in_a_row('F') >= query.failure_limit {
        return (Standing::Fail("FailedInARow"), format!("{name}: {seen}; it failed {} in a row", times(in_a_row('F'))));
    }
    if failed >= HALF {
        return (Standing::Fail("FailedTooOften"), format!("{name}: {seen}; it failed {failed} of the last {} times", conclusive.len()));
    }
    if memory.held >= HELD && in_a_row('S') >= usize::try_from(HELD).unwrap_or(usize::MAX) {
        return (Standing::Pass, format!("{name}: {seen}; it held {} in a row", times(in_a_row('S'))));
    }
    let silent = memory.recent.chars().rev().take_while(|letter| matches!(letter, 'I' | 'E')).count();
    let hits_both = memory.recent.ends_with('I') && memory.candidate.is_some();
    if hits_both {
        return (Standing::Pending("StableToo"), format!("{name}: {seen}; it fails on the running revision as well"));
    }
    if silent >= SILENT {
        let why = memory.silence.as_deref().unwrap_or("no answer");
        return (Standing::Pending("NoAnswer"), format!("{name}: no number {} in a row: {why}", times(silent)));
    }
    let so_far = usize::try_from(memory.held).unwrap_or(0).min(in_a_row('S'));
    (Standing::Pending("TooFewAnswers"), format!("{name}: {so_far} of {HELD} answers in a row that hold; {seen}"))
}

/// Time without evidence does what `onNoEvidence` says; it never promotes a version whose last number failed.
fn at_the_deadline(wanted: OnNoEvidence, memory: &QueryMemory, standing: Standing, sentence: &str) -> (Standing, String) {
    let fails = memory.recent.chars().rfind(|letter| matches!(letter, 'S' | 'F')) == Some('F');
    match wanted {
        OnNoEvidence::RollBack => (Standing::Fail("NoEvidence"), format!("{sentence}; the time for it is over")),
        OnNoEvidence::Promote if !fails => (Standing::Pass, format!("{sentence}; the time for it is over, and onNoEvidence is promote")),
        OnNoEvidence::Promote | OnNoEvidence::Hold => (standing, format!("{sentence}; the time for it is over, and it holds")),
    }
}

fn seen(bound: Bound, memory: &QueryMemory, revision: &str, stable: &str) -> String {
    match (&memory.candidate, &memory.stable) {
        (Some(own), Some(other)) => format!("{own} on {revision}, {other} on {stable}, {bound} is asked"),
        (Some(own), None) => format!("{own}, {bound} is asked"),
        (None, _) => format!("{bound} is asked"),
    }
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}
