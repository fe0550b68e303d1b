//! The closing table, and whether all of it is as it has to be.

use plimsoll_demo::load::Summary;

use crate::story::Decision;

/// Requests that nobody answered are nobody's failure, but more than this share of all is not zero downtime.
const UNANSWERED_OF: u64 = 1000;

/// What became of the three versions.
pub struct Outcome {
    /// In their order.
    pub decisions: [Decision; 3],
    /// As the users saw it.
    pub load: Summary,
}

impl Outcome {
    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut lines = vec![
            String::new(),
            format!("{:<9}{:<13}{:>15}{:>12}{:>11}{:>9}", "version", "outcome", "s to decision", "s to end", "requests", "failed"),
        ];
        for (number, decision) in (1..).zip(&self.decisions) {
            let served = self.load.version(&format!("{number}"));
            let outcome = match (decision.phase.as_str(), number) {
                ("RolledBack", _) => "rolled back",
                (_, 1) => "deployed",
                _ => "promoted",
            };
            let (decided, ended) = (decision.decided.as_secs_f64(), decision.ended.as_secs_f64());
            let requests = served.ok + served.failed;
            lines.push(format!("{number:<9}{outcome:<13}{decided:>15.1}{ended:>12.1}{requests:>11}{:>9}", served.failed));
        }
        lines.push(format!("{:<49}{:>11}{:>9}", "no answer (refused, reset, timed out)", self.load.unanswered, self.load.unanswered));
        lines.push(format!("\nversion 2: {}\nversion 3: {}\n", self.decisions[1].message, self.decisions[2].message));
        lines.join("\n")
    }

    /// What is not as it has to be, a sentence each; none when the demo has shown what it promises.
    #[must_use]
    pub fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut expect = |holds: bool, sentence: String| {
            if !holds {
                differences.push(sentence);
            }
        };
        let [first, second, third] = &self.decisions;
        expect(first.phase == "Stable", format!("version 1 is not Stable but {}: {}", first.phase, first.message));
        expect(second.phase == "RolledBack", format!("version 2 was not rolled back: {} {}", second.phase, second.message));
        expect(
            second.cause == "Analysis" && second.message.bytes().any(|byte| byte.is_ascii_digit()),
            format!("version 2 was not rolled back by its numbers ({}): {}", second.cause, second.message),
        );
        expect(third.phase == "Stable", format!("version 3 was not promoted: {} {}", third.phase, third.message));
        for version in ["1", "3"] {
            let served = self.load.version(version);
            expect(served.ok > 0, format!("version {version} served nobody"));
            expect(served.failed == 0, format!("version {version} failed {} of {} requests", served.failed, served.ok + served.failed));
        }
        let second = self.load.version("2");
        expect(second.failed > 0, format!("version 2 failed none of its {} requests, so there was nothing to catch", second.ok));
        expect(
            self.load.unanswered * UNANSWERED_OF <= self.load.sent,
            format!("{} of {} requests had no answer at all; the last: {}", self.load.unanswered, self.load.sent, self.load.last_error),
        );
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_demo::load::Version;

    fn good() -> Outcome {
        let decision = |phase: &str, cause: &str| Decision {
            phase: phase.into(),
            cause: cause.into(),
            message: "rolled back at 20%: 22 of 431 requests failed".into(),
            ..Decision::default()
        };
        let version = |ok, failed| Version { ok, failed, ..Version::default() };
        let versions = [("1", version(900, 0)), ("2", version(409, 22)), ("3", version(800, 0))];
        Outcome {
            decisions: [decision("Stable", ""), decision("RolledBack", "Analysis"), decision("Stable", "")],
            load: Summary { sent: 2131, versions: versions.map(|(name, counts)| (name.to_owned(), counts)).into(), ..Summary::default() },
        }
    }

    #[test]
    fn the_promised_outcome_differs_in_nothing() {
        assert_eq!(good().differences(), Vec::<String>::new());
        assert!(good().table().contains("2        rolled back              0.0         0.0        431       22"), "{}", good().table());
    }

    #[test]
    fn whatever_differs_is_said() {
        type Change = fn(&mut Outcome);
        let cases: [(Change, &str); 6] = [
            (|outcome| outcome.decisions[1].phase = "Stable".into(), "version 2 was not rolled back: Stable"),
            (|outcome| outcome.decisions[1].cause = "Signal".into(), "version 2 was not rolled back by its numbers (Signal)"),
            (|outcome| outcome.decisions[2].phase = "RolledBack".into(), "version 3 was not promoted"),
            (|outcome| outcome.load.versions.entry("3".into()).or_default().failed = 1, "version 3 failed 1 of 801 requests"),
            (|outcome| outcome.load.versions.retain(|name, _| name != "2"), "version 2 failed none of its 0 requests"),
            (|outcome| outcome.load.unanswered = 3, "3 of 2131 requests had no answer at all"),
        ];
        for (change, expected) in cases {
            let mut outcome = good();
            change(&mut outcome);
            let differences = outcome.differences();
            assert!(differences.iter().any(|difference| difference.contains(expected)), "{expected}: {differences:?}");
        }
    }
}
