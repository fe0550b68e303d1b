//! What nobody has measured proves nothing: outages of the operator and of the metrics, and times shorter than a measurement.

use super::world::{CANDIDATE, STABLE, Traffic, World, at, errors, good, settings};
use crate::decide::analysis::{Control, FailReason, Judge, OnNoEvidence, PendingReason, Verdict};

#[test]
fn an_operator_that_was_away_looks_before_a_deadline_decides() {
    for restarted in [true, false] {
        for on_no_evidence in [OnNoEvidence::RollBack, OnNoEvidence::Promote] {
            let mut world = World::new(vec![errors()], 4, 3);
            world.run(40);
            world.weight(good(100.0));
            world.on_no_evidence = on_no_evidence;
            world.deadline = Some(world.second + 660);
            world.run(20);
            world.second += 3600;
            if restarted {
                let state = world.judge.state();
                world.judge = Judge::resume(&settings(vec![errors()]), &state).unwrap();
                assert!(matches!(world.assess().verdict, Verdict::Pending(_)), "nothing was measured yet");
            }
            let first = world.tick();
            assert!(matches!(first.verdict, Verdict::Pending(_)), "{}", first.sentence);
            let (decided, seconds) = world.until_decided(300);
            assert_eq!(decided.verdict, Verdict::Pass, "the evidence was there: {}", decided.sentence);
            assert!(!decided.sentence.contains("without evidence") && seconds < 90, "{seconds}: {}", decided.sentence);
        }
    }
}

#[test]
fn neither_a_short_deadline_nor_a_short_bake_passes_unmeasured() {
    let mut world = World::new(vec![errors()], 4, 3);
    world.run(40);
    world.weight(good(0.0));
    (world.soak_seconds, world.deadline, world.on_no_evidence) = (0, Some(world.second + 1), OnNoEvidence::Promote);
    world.second += 2;
    assert!(matches!(world.assess().verdict, Verdict::Pending(_)));
    let mut world = World::new(vec![errors()], 4, 3);
    world.run(40);
    world.weight(good(100.0));
    (world.soak_seconds, world.baking) = (3, true);
    for second in [4, 8] {
        world.second += 4;
        let scrape = world.scrape();
        world.with_situation(|judge, situation| judge.observe(&scrape, situation));
        assert!(matches!(world.assess().verdict, Verdict::Pending(_)), "{second} s");
    }
    let (passed, seconds) = world.until_decided(60);
    assert_eq!(passed.verdict, Verdict::Pass, "{}", passed.sentence);
    assert!(seconds <= 20, "{seconds}");
}

#[test]
fn a_short_bake_waits_for_the_measurement_that_decides() {
    let mut world = World::new(vec![errors()], 4, 3);
    world.control = Control::Never;
    world.run(10);
    world.stable.requests = 0.0;
    world.weight(Traffic { fail: 0.2, ..good(1500.0) });
    (world.soak_seconds, world.baking) = (4, true);
    let (failed, seconds) = world.until_decided(60);
    assert_eq!(failed.verdict, Verdict::Fail(FailReason::Worse), "{seconds} s: {}", failed.sentence);
}

#[test]
fn patience_is_counted_in_what_was_measured() {
    let mut world = World::new(vec![errors()], 4, 3);
    world.run(40);
    // Enough requests for a step, not enough to exclude a harmful excess.
    world.weight(good(20.0));
    world.soak_seconds = 10;
    world.next_weight = 100.0;
    world.run(60);
    world.every_pod(STABLE, |pod| pod.silent = true);
    world.every_pod(CANDIDATE, |pod| pod.silent = true);
    world.run(900);
    world.every_pod(STABLE, |pod| pod.silent = false);
    world.every_pod(CANDIDATE, |pod| pod.silent = false);
    let back = world.run(20);
    assert_eq!(back.verdict, Verdict::Pending(PendingReason::NotYetExcluded), "an outage is no evidence: {}", back.sentence);
}

#[test]
fn after_an_outage_nobody_knows_what_was_not_served() {
    let mut world = World::new(vec![errors()], 4, 3);
    world.run(40);
    world.weight(good(0.0));
    world.every_pod(CANDIDATE, |pod| pod.silent = true);
    world.run(900);
    world.every_pod(CANDIDATE, |pod| pod.silent = false);
    let back = world.run(30);
    assert!(back.sentence.contains("no request has reached 7f9c4d01ab in 25 s"), "{}", back.sentence);
}

#[test]
fn pods_that_are_ending_are_not_asked_for_an_answer() {
    let mut world = World::new(vec![errors()], 4, 3);
    world.run(40);
    world.weight(good(100.0));
    world.run(20);
    let mut scrape = world.scrape();
    let mut left = 1;
    scrape.samples.retain(|sample| sample.revision == STABLE || std::mem::take(&mut left) == 1);
    world.every_pod(CANDIDATE, |pod| pod.state.terminating = true);
    world.second += 5;
    scrape.at = at(world.second);
    world.with_situation(|judge, situation| judge.observe(&scrape, situation));
    let assessment = world.assess();
    assert!(!assessment.sentence.contains("answer with metrics"), "{}", assessment.sentence);
}
