//! What would change the verdict.

use super::world::{Traffic, World, errors, good, settings};
use crate::decide::analysis::{FailReason, Parts, Settings, Verdict};

#[test]
fn so_many_bad_requests_more_send_it_back_and_one_less_does_not() {
    let settings = Settings { parts: Parts { pod_scores: false, one_sick_pod: false, ..Parts::default() }, ..settings(vec![errors()]) };
    let mut world = World::with(&settings, None, 4, 2);
    world.run(60);
    world.weight(good(100.0));
    assert_eq!(world.judge.bad_until_back("availability", 1.0), None, "nothing was counted yet");
    world.run(60);
    // The first block begins one interval after the weight.
    let (bad, requests) = world.judge.bad_until_back("availability", 11.0).unwrap();
    assert_eq!(requests, 200);
    assert!((4..100).contains(&bad), "{bad}");
    for (each, fails) in [(bad / 2, true), (bad / 2 - 1, false)] {
        let mut next = world.clone();
        next.candidate = Traffic { fail: each as f64 / 100.0, ..good(100.0) };
        next.tick();
        let verdict = next.tick().verdict;
        assert_eq!(verdict == Verdict::Fail(FailReason::Worse), fails, "twice {each} of 100 bad: {verdict:?}");
    }
    assert_eq!(world.judge.bad_until_back("no such objective", 11.0), None);
}
