//! Evidence that goes into the memory: with every decision, and else every 30 seconds.

use jiff::{Timestamp, ToSpan as _};

use crate::api::status::{Moment, ObjectiveReport, Progress};
use crate::decide::analysis::{EvidenceCounts, Judge, Verdict};
use crate::decide::judgement::Judgement;
use crate::decide::queries::{QueryVerdict, Standing};

/// Seconds between two writes of evidence that decides nothing: 500 rollouts must not mean 100 writes a second.
const SAVE_SECONDS: i64 = 30;
/// The longest sentence of an objective, in characters.
const LONGEST: usize = 500;
/// Values of the evidence that are kept of each objective.
const TREND: usize = 40;

/// Whether sentence and evidence are written now: the rollout moves or has news, the verdict of an objective changed, or it is time.
#[must_use]
pub fn due(progress: &Progress, judgement: &Judgement, news: bool, now: Timestamp) -> bool {
    let changed = || judgement.assessment.is_some() && words(&verdicts(judgement)) != words(&progress.verdicts);
    news || progress.saved.is_none_or(|saved| now >= saved.0 + SAVE_SECONDS.seconds()) || changed()
}

/// Writes the judge's state and its verdicts into the memory.
pub fn save(progress: &mut Progress, judgement: &mut Judgement, now: Timestamp) {
    let mut found = verdicts(judgement);
    for report in &mut found {
        if !report.trend.is_empty() {
            continue;
        }
        let before = progress.verdicts.iter().find(|before| before.name == report.name).map_or("", |before| before.trend.as_str());
        let mut values: Vec<&str> = before.split_ascii_whitespace().chain([report.evidence.as_str()]).collect();
        values.drain(..values.len().saturating_sub(TREND));
        report.trend = values.join(" ");
    }
    if let Some(judge) = &mut judgement.judge {
        progress.saved = Some(Moment(now));
        // In memory the judge becomes what is written: a restart changes nothing after it.
        progress.analysis = Some(Judge::state(judge));
    }
    if judgement.assessment.is_some() {
        progress.verdicts = found;
    }
}

fn words(verdicts: &[ObjectiveReport]) -> Vec<(&str, Option<&str>)> {
    verdicts.iter().map(|report| (report.verdict.as_str(), report.reason.as_deref())).collect()
}

fn verdicts(judgement: &Judgement) -> Vec<ObjectiveReport> {
    let of = |counts: EvidenceCounts| format!("{} of {}", counts.bad, counts.total);
    let objectives = judgement.assessment.iter().flat_map(|assessment| &assessment.objectives);
    let measured = objectives.map(|objective| {
        let (verdict, reason) = match objective.verdict {
            Verdict::Pass => ("Pass", None),
            Verdict::Fail(reason) => ("Fail", Some(format!("{reason:?}"))),
            Verdict::Pending(reason) => ("Pending", Some(format!("{reason:?}"))),
        };
        ObjectiveReport {
            name: objective.name.clone(),
            verdict: verdict.to_owned(),
            reason,
            evidence: format!("{:.3e}", objective.e),
            candidate: of(objective.candidate),
            stable: of(objective.stable),
            trend: String::new(),
            message: Some(objective.sentence.chars().take(LONGEST).collect()),
        }
    });
    measured.chain(judgement.queries.iter().map(asked)).collect()
}

fn asked(query: &QueryVerdict) -> ObjectiveReport {
    let (verdict, reason) = match query.standing {
        Standing::Pass => ("Pass", None),
        Standing::Fail(reason) => ("Fail", Some(reason.to_owned())),
        Standing::Pending(reason) => ("Pending", Some(reason.to_owned())),
    };
    let [candidate, stable] = query.numbers.clone().map(Option::unwrap_or_default);
    ObjectiveReport {
        name: query.name.clone(),
        verdict: verdict.to_owned(),
        reason,
        evidence: String::new(),
        candidate,
        stable,
        trend: query.recent.clone(),
        message: Some(query.sentence.chars().take(LONGEST).collect()),
    }
}
