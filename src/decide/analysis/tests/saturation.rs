//! Saturation holds, and never fails (§10).

use super::world::{CANDIDATE, STABLE, World, errors, good};
use crate::decide::analysis::{Judge, OnNoEvidence, PendingReason, Verdict};

const MEBIBYTE: u64 = 1024 * 1024;

/// A step that would pass.
fn passing() -> World {
    let mut world = World::new(vec![errors()], 4, 4);
    world.run(60);
    world.weight(good(900.0));
    world
}

/// Its verdict after so long, with metrics that `press` makes of the seconds since the weight was reported.
fn after(world: &mut World, seconds: i64, press: impl Fn(&mut World, u64)) -> (Verdict, String) {
    let mut last = world.assess();
    for _ in 0..seconds / 5 {
        let passed = (world.second - world.weight_since.unwrap()).unsigned_abs();
        press(world, passed);
        last = world.tick();
    }
    (last.verdict, last.sentence)
}

fn lag(world: &mut World, revision: &str, milliseconds: u64) {
    world.every_pod(revision, |pod| pod.counters.pressure.loop_lag_microseconds = Some(milliseconds * 1000));
}

#[test]
fn a_step_is_held_while_the_event_loop_is_late_and_stables_is_not() {
    let cases = [
        (
            "late",
            180,
            Some(12),
            "holding at 10%: the event loop of 7f9c4d01ab is late by 180 ms (p99), 12 ms on a11ce0ffee; no step is taken while that lasts",
        ),
        (
            "late, and nothing is known of stable",
            180,
            None,
            "holding at 10%: the event loop of 7f9c4d01ab is late by 180 ms (p99); no step is taken while that lasts",
        ),
        ("stable's is half as late", 180, Some(91), "passed: "),
        ("not late enough", 99, Some(12), "passed: "),
    ];
    for (why, candidate, stable, expected) in cases {
        let mut world = passing();
        let (verdict, sentence) = after(&mut world, 180, |world, _| {
            lag(world, CANDIDATE, candidate);
            if let Some(stable) = stable {
                lag(world, STABLE, stable);
            }
        });
        assert!(sentence.starts_with(expected), "{why}: {sentence}");
        let held = verdict == Verdict::Pending(PendingReason::Saturated);
        assert_eq!(held, expected.starts_with("holding"), "{why}: {verdict:?}");
    }
}

#[test]
fn a_minute_without_a_break_is_needed_and_its_end_is_the_end() {
    let mut world = passing();
    let every_other = |world: &mut World, passed: u64| lag(world, CANDIDATE, if passed % 60 == 30 { 10 } else { 500 });
    assert_eq!(after(&mut world, 180, every_other).0, Verdict::Pass, "it ends before a minute is over");
    assert_eq!(after(&mut world, 70, |world, _| lag(world, CANDIDATE, 500)).0, Verdict::Pending(PendingReason::Saturated));
    assert_eq!(after(&mut world, 5, |world, _| lag(world, CANDIDATE, 10)).0, Verdict::Pass, "one good number ends it");
}

#[test]
fn a_throttled_processor_and_memory_on_its_way_to_the_limit_hold_too() {
    let mut world = passing();
    let (_, sentence) = after(&mut world, 180, |world, passed| {
        for (revision, throttled) in [(CANDIDATE, 6), (STABLE, 1)] {
            world.every_pod(revision, |pod| {
                pod.counters.pressure.periods = Some(passed * 20);
                pod.counters.pressure.throttled_periods = Some(passed * throttled);
            });
        }
    });
    assert!(sentence.contains("7f9c4d01ab was throttled in 30% of its processor's periods, 5% on a11ce0ffee"), "{sentence}");

    // 200 MiB, and a mebibyte more every so many seconds: 256 are reached within a bake of 300 s, or not.
    for (seconds, held) in [(2, true), (60, false)] {
        let mut world = passing();
        let (verdict, sentence) = after(&mut world, 200, |world, passed| {
            let grown = (passed.min(80) / seconds) * MEBIBYTE;
            let grown = if seconds == 2 { passed * MEBIBYTE / 4 } else { grown };
            world.every_pod(CANDIDATE, |pod| pod.counters.pressure.resident_bytes = Some(190 * MEBIBYTE + grown));
            world.every_pod(STABLE, |pod| pod.counters.pressure.resident_bytes = Some(150 * MEBIBYTE));
        });
        assert_eq!(verdict == Verdict::Pending(PendingReason::Saturated), held, "{sentence}");
        if held {
            let expected = "memory on 7f9c4d01ab grows by 15.0 MiB a minute, 0.0 MiB a minute on a11ce0ffee, and would reach its limit of 256 MiB within a bake of 5 min";
            assert!(sentence.contains(expected), "{sentence}");
        }
    }
}

#[test]
fn it_never_sends_back_and_goes_on_at_the_deadline_only_where_no_evidence_would() {
    for (on_no_evidence, expected) in [
        (OnNoEvidence::Hold, Verdict::Pending(PendingReason::Saturated)),
        (OnNoEvidence::RollBack, Verdict::Pending(PendingReason::Saturated)),
        (OnNoEvidence::Promote, Verdict::Pass),
    ] {
        let mut world = passing();
        world.on_no_evidence = on_no_evidence;
        world.deadline = Some(world.second + 100);
        assert_eq!(after(&mut world, 180, |world, _| lag(world, CANDIDATE, 500)).0, expected, "{on_no_evidence:?}");
    }
}

#[test]
fn a_restart_of_the_operator_does_not_end_it() {
    let mut world = passing();
    after(&mut world, 120, |world, _| lag(world, CANDIDATE, 500));
    let state = world.judge.state();
    world.judge = Judge::resume(&world.judge.settings, &state).unwrap();
    assert_eq!(world.judge.state(), state);
    let (verdict, _) = after(&mut world, 60, |world, _| lag(world, CANDIDATE, 500));
    assert_eq!(verdict, Verdict::Pending(PendingReason::Saturated));
}
