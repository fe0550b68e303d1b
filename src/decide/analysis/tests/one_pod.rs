//! §7: one sick pod is not yet a bad version.

use super::world::{Traffic, World, errors, good};
use crate::decide::analysis::{FailReason, Judge, PendingReason, Verdict};

/// A rollout of four pods, of which the first one fails half of its requests.
fn with_a_sick_pod() -> World {
    let mut world = World::new(vec![errors()], 6, 4);
    world.run(60);
    world.weight(good(100.0));
    world.run(40);
    world.sick = 0.5;
    world
}

#[test]
fn it_is_left_out_and_named() {
    let mut world = with_a_sick_pod();
    let mut held = world.tick();
    while held.verdict != Verdict::Pending(PendingReason::OnePod) {
        assert!(!matches!(held.verdict, Verdict::Fail(_) | Verdict::Pass), "{}", held.sentence);
        held = world.tick();
    }
    assert!(held.sentence.contains("come from one pod, shop-7f9c4d01ab-0; deciding by "), "{}", held.sentence);
}

#[test]
fn one_that_recovers_comes_back_in_and_the_step_passes() {
    let mut world = with_a_sick_pod();
    world.run(30);
    world.sick = 0.0;
    assert_eq!(world.run(120).verdict, Verdict::Pending(PendingReason::OnePod));
    let (passed, _) = world.until_decided(900);
    assert_eq!(passed.verdict, Verdict::Pass, "{}", passed.sentence);
    // There is no second time.
    world.sick = 0.5;
    let (failed, _) = world.until_decided(300);
    let (failed, _) = if failed.verdict == Verdict::Pass { later(&mut world) } else { (failed, 0) };
    assert_eq!(failed.verdict, Verdict::Fail(FailReason::Worse), "{}", failed.sentence);
}

/// Ticks on through Pass until something is wrong.
fn later(world: &mut World) -> (crate::decide::analysis::Assessment, i64) {
    for _ in 0..60 {
        let assessment = world.tick();
        if matches!(assessment.verdict, Verdict::Fail(_)) {
            return (assessment, 0);
        }
    }
    (world.assess(), 300)
}

#[test]
fn one_that_stays_sick_sends_the_version_back() {
    let mut world = with_a_sick_pod();
    let (failed, seconds) = world.until_decided(400);
    assert_eq!(failed.verdict, Verdict::Fail(FailReason::OnePod), "{}", failed.sentence);
    // It fails twelve or so requests in each scrape: after 200 of them nobody waits for the end of the three minutes.
    assert!((60..=200).contains(&seconds), "{seconds}");
    assert!(failed.sentence.ends_with("come from one pod, shop-7f9c4d01ab-0, and it goes on failing"), "{}", failed.sentence);
}

#[test]
fn the_others_may_show_it_as_well() {
    let mut world = with_a_sick_pod();
    while world.tick().verdict != Verdict::Pending(PendingReason::OnePod) {}
    world.candidate = Traffic { fail: 0.2, ..good(100.0) };
    let (failed, seconds) = world.until_decided(180);
    assert_eq!(failed.verdict, Verdict::Fail(FailReason::Worse), "{}", failed.sentence);
    assert!(seconds < 120, "{seconds}");
}

#[test]
fn a_restart_of_the_operator_remembers_it() {
    let mut world = with_a_sick_pod();
    while world.tick().verdict != Verdict::Pending(PendingReason::OnePod) {}
    let state = world.judge.state();
    let mut resumed = Judge::resume(&super::world::settings(vec![errors()]), &state).unwrap();
    assert_eq!(resumed.state(), state);
    world.judge = resumed;
    assert_eq!(world.tick().verdict, Verdict::Pending(PendingReason::OnePod));
}
