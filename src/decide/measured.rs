//! What was found in a revision's metrics, and what is missing, in words: for people, nothing is decided by it.

use std::collections::BTreeSet;

use super::analysis::{Counters, ObjectiveKind, Scrape, Settings};
use crate::api::measured::Measured;

/// What this scrape shows of each revision in it, by its name.
#[must_use]
pub fn found(scrape: &Scrape, settings: &Settings) -> Vec<Measured> {
    let latency = settings.objectives.iter().any(|objective| matches!(objective.kind, ObjectiveKind::Latency { .. }));
    let answered = scrape.samples.iter().map(|sample| sample.revision.as_str());
    let revisions: BTreeSet<&str> = answered.chain(scrape.silent.iter().map(|pod| pod.revision.as_str())).collect();
    let of = |revision: &str| {
        let pages: Vec<&Counters> =
            scrape.samples.iter().filter(|sample| sample.revision == revision).map(|sample| &sample.counters).collect();
        let silent: Vec<&str> = scrape.silent.iter().filter(|pod| pod.revision == revision).map(|pod| pod.why.as_str()).collect();
        let sources: BTreeSet<_> = pages.iter().filter_map(|page| page.source).collect();
        let names: Vec<String> = sources.iter().map(ToString::to_string).collect();
        let mut missing: Vec<String> = Vec::new();
        if sources.is_empty() {
            missing.extend(pages.iter().find_map(|page| page.missing.clone()));
        } else if latency && pages.iter().all(|page| page.buckets.is_empty()) && pages.iter().any(|page| page.requests() > 0) {
            missing.extend(sources.first().map(|source| format!("no {} with buckets, which latency is read from", source.histogram())));
        }
        if let Some(why) = silent.first() {
            missing.push(format!("{} of {} pods do not answer ({why})", silent.len(), silent.len() + pages.len()));
        }
        Measured {
            revision: revision.to_owned(),
            convention: (!names.is_empty()).then(|| names.join(" and ")),
            missing: (!missing.is_empty()).then(|| missing.join("; ")),
        }
    };
    revisions.into_iter().map(of).collect()
}

/// Something in it is worth being written at once: a convention that was not known before.
#[must_use]
pub fn is_news(found: &[Measured], known: &[Measured]) -> bool {
    let same = |now: &Measured| known.iter().any(|before| before.revision == now.revision && before.convention == now.convention);
    found.iter().any(|now| now.convention.is_some() && !same(now))
}

/// Takes it into the memory. What was found of a revision that is silent now stays.
pub fn take_in(found: Vec<Measured>, known: &mut Vec<Measured>) {
    for now in found {
        match known.iter_mut().find(|before| before.revision == now.revision) {
            Some(before) => *before = Measured { convention: now.convention.or(before.convention.take()), ..now },
            None => known.push(now),
        }
    }
}

impl Measured {
    /// As status shows it.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.convention, &self.missing) {
            (Some(convention), Some(missing)) => format!("{convention}; {missing}"),
            (Some(convention), None) => convention.clone(),
            (None, missing) => format!("nothing found: {}", missing.as_deref().unwrap_or("no pod was asked yet")),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::decide::analysis::convention::{Reading, read};
    use crate::decide::analysis::{Objective, PodSample, SilentPod};

    fn scrape(pages: &[(&str, &str)], silent: &[&str]) -> Scrape {
        let sample = |(index, (revision, page)): (usize, &(&str, &str))| PodSample {
            pod: index.to_string(),
            revision: (*revision).to_owned(),
            at: Timestamp::UNIX_EPOCH,
            started: None,
            ready_since: None,
            counters: read(page.as_bytes(), "", &Reading::default()).unwrap(),
        };
        let quiet =
            |revision: &&str| SilentPod { pod: "x".to_owned(), revision: (*revision).to_owned(), why: "connection refused".to_owned() };
        Scrape {
            at: Timestamp::UNIX_EPOCH,
            samples: pages.iter().enumerate().map(sample).collect(),
            silent: silent.iter().map(quiet).collect(),
        }
    }

    #[test]
    fn what_is_found_and_what_is_missing_of_each_revision() {
        let latency = ObjectiveKind::Latency { percentile: 99.0, at_most_milliseconds: 300.0 };
        let settings = Settings {
            false_alarm: 0.01,
            tolerance: 0.001,
            min_requests: 200,
            warm_up_seconds: 30,
            interval_seconds: 5,
            memory_limit_bytes: None,
            bake_seconds: 300,
            objectives: vec![Objective { name: "latency".to_owned(), kind: latency }],
            parts: crate::decide::analysis::Parts::default(),
        };
        let good = "http_requests_total{code=\"200\"} 9\nhttp_request_duration_seconds_bucket{le=\"1\"} 9\nhttp_request_duration_seconds_bucket{le=\"+Inf\"} 9\n";
        let no_times = "http_requests_total{code=\"200\"} 9\n";
        let cases = [
            ("all there", scrape(&[("a", good)], &[]), "promClient (http_requests_total)"),
            (
                "no histogram",
                scrape(&[("a", no_times)], &[]),
                "promClient (http_requests_total); no http_request_duration_seconds with buckets, which latency is read from",
            ),
            (
                "one silent",
                scrape(&[("a", good)], &["a"]),
                "promClient (http_requests_total); 1 of 2 pods do not answer (connection refused)",
            ),
            ("all silent", scrape(&[], &["a"]), "nothing found: 1 of 1 pods do not answer (connection refused)"),
            (
                "another convention beside it",
                scrape(&[("a", good), ("a", "http_server_requests_seconds_count{status=\"200\"} 1\n")], &[]),
                "promClient (http_requests_total) and micrometer (http_server_requests_seconds)",
            ),
        ];
        for (why, scrape, expected) in cases {
            assert_eq!(found(&scrape, &settings)[0].words(), expected, "{why}");
        }
        let mut known = Vec::new();
        let seen = found(&scrape(&[("a", good), ("b", "up 1\n")], &[]), &settings);
        assert!(is_news(&seen, &known));
        take_in(seen.clone(), &mut known);
        assert!(!is_news(&seen, &known));
        assert!(known[1].words().starts_with("nothing found: no http_requests_total"), "{}", known[1].words());
        take_in(found(&scrape(&[], &["a"]), &settings), &mut known);
        assert!(known[0].words().starts_with("promClient (http_requests_total); 1 of 1 pods"), "{}", known[0].words());
    }
}
