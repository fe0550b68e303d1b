use super::*;
use crate::decide::analysis::Source;

const INTERVAL: i64 = 5;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn counters(requests: u64, failures: u64) -> Counters {
    let by_status = BTreeMap::from([(200, requests - failures), (500, failures)]);
    Counters { source: Some(Source::RequestsTotal), by_status, ..Counters::default() }
}

fn sample(second: i64, counters: Counters) -> PodSample {
    PodSample { pod: "p".to_owned(), revision: "r".to_owned(), at: at(second), started: Some(at(-3600)), ready_since: None, counters }
}

fn scrape(second: i64, samples: Vec<PodSample>) -> Scrape {
    Scrape { at: at(second), samples, silent: Vec::new() }
}

/// (requests, failures) of the pod, if it counted anything.
fn take(references: &mut References, second: i64, samples: Vec<PodSample>) -> Option<(u64, u64)> {
    let scrape = scrape(second, samples);
    let increments = references.take(&scrape, INTERVAL);
    increments.counted.first().map(|increment| (increment.count.total, increment.count.failed))
}

#[test]
fn example_27_a_pod_that_restarts_and_falls_silent() {
    let mut references = References::default();
    let steps = [
        (0, Some((100, 4)), None),
        (5, Some((130, 7)), Some((30, 3))),
        (10, Some((20, 1)), Some((20, 1))),
        (15, None, None),
        (20, Some((50, 1)), Some((30, 0))),
    ];
    for (second, seen, expected) in steps {
        let samples = seen.into_iter().map(|(requests, failures)| sample(second, counters(requests, failures))).collect();
        assert_eq!(take(&mut references, second, samples), expected, "{second}");
    }
}

#[test]
fn what_counts_and_what_only_sets_a_reference() {
    let first = || sample(0, counters(100, 4));
    let status = |status: u16, count| Counters { by_status: BTreeMap::from([(200, 150), (status, count)]), ..counters(0, 0) };
    let histogram = Counters { source: Some(Source::RequestDuration), ..counters(200, 4) };
    let none = Counters::default();
    // why, first answer, second answer (its scrape 5 s later unless said), expected
    let cases = [
        ("an increment", first(), sample(5, counters(130, 7)), Some((30, 3))),
        (
            "a label value that appears counts from 0",
            first(),
            sample(5, Counters { by_status: BTreeMap::from([(200, 96), (500, 4), (503, 9)]), ..counters(0, 0) }),
            Some((9, 9)),
        ),
        ("one series fell: all is new", first(), sample(5, counters(120, 1)), Some((120, 1))),
        (
            "another container answers: all is new",
            first(),
            PodSample { started: Some(at(2)), ..sample(5, counters(300, 9)) },
            Some((300, 9)),
        ),
        ("a gap of three intervals", first(), sample(15, counters(130, 7)), Some((30, 3))),
        ("a longer gap", first(), sample(16, counters(130, 7)), None),
        ("too old", first(), PodSample { at: at(9), ..sample(20, counters(130, 7)) }, None),
        ("not newer than the reference", first(), PodSample { at: at(0), ..sample(5, counters(130, 7)) }, None),
        ("from the future", first(), PodSample { at: at(11), ..sample(5, counters(130, 7)) }, None),
        ("a series is gone though nothing restarted", first(), sample(5, status(404, 2)), None),
        ("all series are gone", first(), sample(5, none.clone()), None),
        ("another metric counts now", first(), sample(5, histogram), None),
        ("the first series appear", sample(0, none), sample(5, counters(50, 9)), Some((50, 9))),
    ];
    for (why, before, now, expected) in cases {
        let mut references = References::default();
        assert_eq!(take(&mut references, 0, vec![before]), None, "{why}");
        let second = if why.contains("gap") {
            (now.at.as_second() - 1_000_000).max(5)
        } else if why == "too old" {
            20
        } else {
            5
        };
        assert_eq!(take(&mut references, second, vec![now]), expected, "{why}");
    }
}

#[test]
fn a_page_that_is_not_whole_leaves_the_reference_standing() {
    let mut references = References::default();
    take(&mut references, 0, vec![sample(0, counters(100, 4))]);
    let cut = scrape(5, vec![sample(5, Counters { by_status: BTreeMap::from([(200, 120)]), ..counters(0, 0) })]);
    let cut = references.take(&cut, INTERVAL);
    assert_eq!((cut.counted.len(), cut.answered.len()), (0, 0));
    assert_eq!(take(&mut references, 10, vec![sample(10, counters(140, 9))]), Some((40, 5)));
}

#[test]
fn a_new_pod_counts_from_0_if_it_started_after_the_scrape_before() {
    for (started, expected) in [(Some(at(2)), Some((50, 9))), (Some(at(0)), None), (None, None)] {
        let mut references = References::default();
        take(&mut references, 0, Vec::new());
        assert_eq!(take(&mut references, 5, vec![PodSample { started, ..sample(5, counters(50, 9)) }]), expected, "{started:?}");
    }
    // At the very first scrape nothing is known of any pod.
    assert_eq!(take(&mut References::default(), 5, vec![PodSample { started: Some(at(4)), ..sample(5, counters(50, 9)) }]), None);
}

#[test]
fn order_and_doubles_do_not_matter_and_old_scrapes_are_ignored() {
    let other = |second, requests| PodSample { pod: "q".to_owned(), ..sample(second, counters(requests, 0)) };
    let (mut one, mut two) = (References::default(), References::default());
    one.take(&scrape(0, vec![sample(0, counters(10, 0)), other(0, 5)]), INTERVAL);
    two.take(&scrape(0, vec![other(0, 5), sample(0, counters(10, 0)), other(0, 5)]), INTERVAL);
    let next = scrape(5, vec![sample(5, counters(30, 1)), other(5, 9)]);
    assert_eq!(one.take(&next, INTERVAL), two.take(&next, INTERVAL));
    assert_eq!(one, two);
    assert_eq!(one.take(&next, INTERVAL), Increments::default());
}

#[test]
fn slow_requests_are_clamped_and_not_increasing() {
    let histogram = |fast: u64, middle: u64, timed: u64| Counters {
        buckets: BTreeMap::from([(100, fast), (200, middle)]),
        timed,
        ..counters(timed, 0)
    };
    let mut references = References::default();
    let mut counted =
        |second, sample| references.take(&scrape(second, vec![sample]), INTERVAL).counted.first().map(|found| found.count.clone());
    assert_eq!(counted(0, sample(0, histogram(5, 6, 10))), None);
    // 10 more requests, 4 more within 100 µs; the bound of 200 µs moved less than that of 100 µs, which cannot be.
    let expected = PodCount { total: 10, failed: 0, timed: 10, slower: BTreeMap::from([(100, 6), (200, 6)]) };
    assert_eq!(counted(5, sample(5, histogram(9, 8, 20))), Some(expected));
    // A bound that appears has no past.
    let more = Counters { buckets: BTreeMap::from([(100, 9), (150, 9), (200, 9)]), timed: 21, ..counters(21, 0) };
    assert_eq!(counted(10, sample(10, more)).unwrap().slower, BTreeMap::from([(100, 1), (200, 0)]));
    // All of it is new after a restart, and a histogram that vanishes is no fall.
    let expected = PodCount { total: 3, failed: 0, timed: 3, slower: BTreeMap::from([(100, 2), (200, 1)]) };
    assert_eq!(counted(15, PodSample { started: Some(at(12)), ..sample(15, histogram(1, 2, 3)) }), Some(expected));
    assert_eq!(take(&mut references, 20, vec![PodSample { started: Some(at(12)), ..sample(20, counters(9, 0)) }]), None);
}

#[test]
fn counts_add_up_over_common_bounds() {
    let count = |timed, slower: &[(u64, u64)]| PodCount { total: timed, failed: 1, timed, slower: slower.iter().copied().collect() };
    let mut sum = PodCount::default();
    sum.add(&count(3, &[(1, 2), (2, 1)]));
    sum.add(&count(4, &[(2, 3), (3, 1)]));
    sum.add(&PodCount { total: 5, ..PodCount::default() });
    assert_eq!(sum, PodCount { total: 12, failed: 2, timed: 7, slower: BTreeMap::from([(2, 4)]) });
}
