//! The timeline: one line for each thing that happened, with its reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

/// What happened, in order.
#[derive(Debug)]
pub(super) struct Timeline {
    /// The moment that is printed as 0:00; what happened before is not printed.
    zero: Option<Timestamp>,
    text: String,
    /// Ready pods of each Deployment as last printed.
    ready: BTreeMap<String, (usize, usize)>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self { zero: None, text: String::new(), ready: BTreeMap::new() }
    }

    /// The story begins now.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.zero = Some(now);
    }

    /// Adds a line.
    pub(super) fn line(&mut self, now: Timestamp, who: &str, what: &str, reason: &str) {
        let Some(zero) = self.zero else { return };
        let _ = writeln!(self.text, "{}", format!("{:>8}  {who:<9}{what:<70}  {reason}", clock(now.duration_since(zero))).trim_end());
    }

    /// All pods of a Deployment have become ready.
    pub(super) fn ready(&mut self, now: Timestamp, deployment: &str, ready: (usize, usize)) {
        if ready.0 == ready.1 && self.ready.insert(deployment.to_owned(), ready) != Some(ready) {
            self.line(now, "pods", &format!("{deployment}: {} of {} ready", ready.0, ready.1), "");
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// Minutes and seconds, with hours where there are any: `4:05`, `1:04:05`.
pub(super) fn clock(time: SignedDuration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_like_a_clock() {
        let cases = [(0, "0:00"), (65, "1:05"), (3_599, "59:59"), (3_661, "1:01:01")];
        for (seconds, expected) in cases {
            assert_eq!(clock(SignedDuration::from_secs(seconds)), expected);
        }
    }
}
