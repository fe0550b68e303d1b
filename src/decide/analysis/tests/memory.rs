//! §13: what is kept in status, and what a restart changes.

use super::world::{Traffic, World, at, errors, good, latency, settings};
use crate::decide::analysis::{AnalysisState, Judge, PendingReason, Scrape, Verdict};

#[test]
fn a_restart_of_the_operator_changes_nothing_but_the_scrapes_it_missed() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.control = crate::decide::analysis::Control::InSteps;
    world.stable = Traffic { fail: 0.01, slow: 0.02, ..good(900.0) };
    world.run(60);
    world.weight(Traffic { fail: 0.02, slow: 0.03, ..good(100.0) });
    world.run(185);
    let state = world.judge.state();
    let mut restarted = world.clone();
    restarted.judge = Judge::resume(&settings(vec![errors(), latency()]), &state).unwrap();
    assert_eq!(restarted.judge.clone().state(), state);
    assert_eq!(restarted.assess().verdict, Verdict::Pending(PendingReason::SourceDown));
    // Both miss the same scrape: one because it has no references yet, the other because it is not asked.
    for lost in [&mut world, &mut restarted] {
        lost.second += 5;
        lost.serve();
        let scrape = Scrape { at: at(lost.second), samples: Vec::new(), silent: Vec::new() };
        lost.with_situation(|judge, situation| judge.observe(&scrape, situation));
    }
    for _ in 0..5 {
        world.second += 5;
        world.serve();
        restarted.second += 5;
        restarted.serve();
    }
    for _ in 0..30 {
        let (one, other) = (world.tick(), restarted.tick());
        // The minute that was being collected is lost, so φ differs a little; all else is the same.
        assert_eq!(one.verdict, other.verdict);
        assert!((one.e / other.e - 1.0).abs() < 1e-3, "{} {}", one.e, other.e);
    }
}

#[test]
fn the_state_is_small_and_reads_back_as_it_was() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.control = crate::decide::analysis::Control::InSteps;
    world.stable.slow = 0.02;
    world.stable.fail = 0.001;
    for phase in 0..3 {
        world.run(65);
        if phase == 1 {
            world.weight(Traffic { fail: 0.004, slow: 0.04, ..good(103.0) });
        }
        let state = world.judge.state();
        for objective in &state.objectives {
            let size = serde_json::to_string(objective).unwrap().len();
            assert!(size <= 1536, "{size} bytes in phase {phase}: {objective:?}");
        }
        let text = serde_json::to_string(&state).unwrap();
        let parsed: AnalysisState = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed, state);
        assert_eq!(Judge::resume(&settings(vec![errors(), latency()]), &parsed).unwrap().state(), state);
    }
    let settled = world.judge.state().settled();
    assert!(settled.objectives.iter().all(|objective| objective.components.is_empty() && !objective.calibrations.is_empty()));
}

#[test]
fn an_unreadable_state_is_refused() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.run(60);
    world.weight(good(100.0));
    world.run(200);
    let state = serde_json::to_value(world.judge.state()).unwrap();
    let (mut spoiled, mut words) = (0, Vec::new());
    collect(&state, String::new(), &mut words);
    for pointer in words.iter().filter(|pointer| !pointer.ends_with("/name") && !pointer.ends_with("/stepSince")) {
        for wrong in ["nan", "1 2", "x", "inf", "-1 -1 -1 -1 -1 -1 -1", "1e999"] {
            let mut state = state.clone();
            *state.pointer_mut(pointer).unwrap() = wrong.into();
            let state: AnalysisState = serde_json::from_value(state).unwrap();
            if wrong == "nan" || wrong == "x" || wrong == "inf" {
                assert!(Judge::resume(&settings(vec![errors(), latency()]), &state).is_err(), "{pointer} {wrong}");
                spoiled += 1;
            } else if let Ok(judge) = Judge::resume(&settings(vec![errors(), latency()]), &state) {
                assert!(world.with_situation(|_, situation| judge.judge(situation)).e.is_finite());
            }
        }
    }
    assert!(spoiled > 30);
    assert!(Judge::resume(&settings(vec![errors()]), &AnalysisState::default()).is_err());
}

fn collect(value: &serde_json::Value, pointer: String, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| collect(value, format!("{pointer}/{name}"), found)),
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| collect(value, format!("{pointer}/{index}"), found));
        }
        serde_json::Value::String(_) => found.push(pointer),
        _ => {}
    }
}

#[test]
fn what_earlier_rollouts_showed_counts_half() {
    let mut world = World::new(vec![errors(), latency()], 4, 2);
    world.stable = Traffic { requests: 900.0, fail: 0.01, slow: 0.02 };
    world.run(60);
    world.weight(Traffic { fail: 0.01, slow: 0.02, ..good(100.0) });
    world.run(1800);
    let settled = world.judge.state().settled();
    let next = World::with(&settings(vec![errors(), latency()]), Some(&settled), 4, 2);
    let (before, after) = (&world.judge.objectives[0].components[0], &next.judge.objectives[0].components[0]);
    assert!(before.phi() < 2.6 && after.phi() > before.phi() && after.phi() < 4.0, "{} {}", before.phi(), after.phi());
    let mut next = next;
    next.stable = world.stable;
    next.run(60);
    next.weight(Traffic { fail: 0.01, slow: 0.02, ..good(100.0) });
    next.run(30);
    assert!((next.judge.objectives[0].components[0].prior.share - 0.01).abs() < 0.002);
    assert!(next.judge.objectives[1].components.iter().all(|edge| edge.phi() < 4.0));
}
