//! `plimsoll status --why`: each objective's numbers, how its evidence has moved, and what would change the verdict.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::ProductionService;
use crate::api::status::{ObjectiveReport, Progress};
use crate::decide::analysis::Judge;
use crate::decide::plan::Plan;
use crate::decide::queries::PlannedQuery;

/// From nothing to the limit.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Why an objective stands where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The objective.
    pub objective: String,
    /// Its numbers: counts and shares of both revisions.
    pub numbers: String,
    /// Its evidence, the limit, and how it has moved: one bar for each time that it was written down, half a minute apart; a full bar is the limit.
    pub evidence: String,
    /// What lets it pass.
    pub passes: String,
    /// What sends the candidate back.
    pub fails: String,
}

/// One entry for each objective of the rollout that is on.
#[must_use]
pub fn why(service: &ProductionService, progress: &Progress, plan: &Plan, stable: &str, now: Timestamp) -> Vec<Why> {
    let judge = progress.analysis.as_ref().and_then(|state| Judge::resume(&plan.settings, state).ok());
    let limit = 1.0 / plan.settings.false_alarm;
    let seconds = progress.weight_since.map_or(0.0, |since| now.duration_since(since.0).as_secs_f64());
    let blocks = seconds / plan.settings.interval_seconds.max(1) as f64;
    let requested = service.spec.objectives.len();
    progress
        .verdicts
        .iter()
        .take(requested)
        .map(|report| {
            if let Some(query) = plan.queries.iter().find(|query| query.name == report.name) {
                return asked(report, query);
            }
            let next = judge.as_ref().and_then(|judge| judge.bad_until_back(&report.name, blocks));
            Why {
                objective: report.name.clone(),
                numbers: format!("{} on {}, {} on {stable}", share(&report.candidate), progress.revision, share(&report.stable)),
                evidence: format!("e = {} of {limit:.0}  {}", plain(&report.evidence), bars(report, limit)),
                passes: report.message.clone().unwrap_or_default(),
                fails: match (report.verdict.as_str(), next) {
                    ("Fail", _) => "it does".to_owned(),
                    (_, Some((bad, requests))) => format!("at once, if {bad} of the next {requests} requests are bad"),
                    (_, None) => "not by the next few requests, however bad".to_owned(),
                },
            }
        })
        .collect()
}

/// The same of an objective that is a query.
fn asked(report: &ObjectiveReport, query: &PlannedQuery) -> Why {
    let number = |text: &String| if text.is_empty() { "no number yet".to_owned() } else { text.clone() };
    let stable = if report.stable.is_empty() { String::new() } else { format!(", {} on the running revision", report.stable) };
    Why {
        objective: report.name.clone(),
        numbers: format!("{}{stable}; {} is asked", number(&report.candidate), query.bound),
        evidence: format!("{}  (S held, F failed, I said nothing, E was no answer; every {} s)", report.trend, query.interval_seconds),
        passes: report.message.clone().unwrap_or_default(),
        fails: match report.verdict.as_str() {
            "Fail" => "it does".to_owned(),
            _ => format!("when {} answers in a row fail, or 5 of the last 10", query.failure_limit),
        },
    }
}

/// "3 of 412 (0.73%)".
fn share(counts: &str) -> String {
    let parsed = counts.split_once(" of ").and_then(|(bad, total)| Some((bad.parse::<f64>().ok()?, total.parse::<f64>().ok()?)));
    match parsed {
        Some((bad, total)) if total > 0.0 => format!("{counts} bad ({:.2}%)", 100.0 * bad / total),
        _ => format!("{counts} bad"),
    }
}

/// "1.20" of "1.200e0".
fn plain(evidence: &str) -> String {
    match evidence.parse::<f64>() {
        Ok(e) if e < 10.0 => format!("{e:.2}"),
        Ok(e) if e < 1e6 => format!("{e:.0}"),
        _ => evidence.to_owned(),
    }
}

/// On a logarithmic scale: evidence multiplies.
fn bars(report: &ObjectiveReport, limit: f64) -> String {
    let bar = |e: f64| {
        let level = (e.max(1.0).ln() / limit.ln()).clamp(0.0, 1.0) * (BARS.len() - 1) as f64;
        BARS.iter().zip(0_u32..).find(|(_, index)| f64::from(*index) >= level.floor()).map_or('█', |(bar, _)| *bar)
    };
    report.trend.split_ascii_whitespace().filter_map(|word| word.parse::<f64>().ok()).map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_logarithmic_and_full_at_the_limit() {
        let report = |trend: &str| ObjectiveReport { trend: trend.to_owned(), ..ObjectiveReport::default() };
        for (why, trend, expected) in [
            ("nothing yet", "", ""),
            ("no evidence is the lowest", "0.5 1", "▁▁"),
            ("ten of a hundred is half way", "1 10 100", "▁▄█"),
            ("beyond the limit there is nothing", "1e9", "█"),
            ("what is no number is left out", "x 100", "█"),
        ] {
            assert_eq!(bars(&report(trend), 100.0), expected, "{why}");
        }
    }

    #[test]
    fn shares_are_of_requests() {
        assert_eq!(share("3 of 412"), "3 of 412 bad (0.73%)");
        assert_eq!(share("0 of 0"), "0 of 0 bad");
    }
}
