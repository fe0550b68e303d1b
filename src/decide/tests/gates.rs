//! Gates on a whole rollout, and blue-green's one switch.

use super::*;
use crate::api::gates::GateState;

fn gated(way: Value, gates: Value) -> Value {
    let mut rollout = way;
    rollout["gates"] = gates;
    spec("1", &rollout)
}

fn approval(at: &Value) -> Value {
    json!([{"name": "human", "at": at, "approval": {"count": 2}, "deadlineSeconds": 100}])
}

/// Approves as these people, and only them.
fn approve(world: &mut World, people: &[&str]) {
    let revision = world.revision();
    let entries: Vec<_> = people.iter().map(|by| json!({"revision": revision, "gate": "human", "by": by})).collect();
    world.change("/control", json!({"approve": entries}));
}

fn at_gate(world: &World) -> bool {
    world.progress().is_some_and(|progress| progress.gates.iter().any(|gate| gate.state == GateState::Waiting))
}

#[test]
fn a_gate_holds_the_rollout_at_its_place_until_enough_people_agree() {
    let places = [
        (canary(), json!({"start": {}}), Stage::Gated, 0),
        (canary(), json!({"beforeWeight": {"weight": 40}}), Stage::Soaking, 0),
        (canary(), json!({"beforePromotion": {}}), Stage::Soaking, 1),
        (rolling(), json!({"beforePromotion": {}}), Stage::Soaking, 2),
        (blue_green(), json!({"start": {}}), Stage::Soaking, 0),
        (blue_green(), json!({"beforePromotion": {}}), Stage::Soaking, 0),
    ];
    for (way, at, stage, step) in places {
        // The first revision has no weights and no promotion, but a start.
        let mut world = World::new(&gated(way.clone(), json!([])));
        world.run(4);
        world.set(&gated(way, approval(&at)));
        world.change("/image", "shop:2".into());
        let candidate = world.revision();
        world.until("the gate", at_gate);
        world.run(30);
        let progress = world.progress().unwrap();
        assert_eq!((progress.stage, progress.step), (stage, step), "{at}: {}", world.message());
        assert!(world.message().contains("gate human: 0 of 2 approvals"), "{}", world.message());
        assert!(stage != Stage::Gated || world.asked(&candidate).is_none(), "nothing of it exists before the start");
        approve(&mut world, &["anna"]);
        world.run(2);
        approve(&mut world, &["anna"]);
        world.run(5);
        assert!(world.message().contains("1 of 2 approvals (anna (unverified))"), "the same person again: {}", world.message());
        approve(&mut world, &["ben"]);
        world.until("promoted", |world| world.memory().stable.as_ref() == Some(&candidate));
        let people: Vec<_> = world.memory().last.unwrap().approvals.into_iter().map(|approval| approval.by).collect();
        assert_eq!(people, ["anna", "ben"], "the first one's word counts although it is gone");
    }
}

#[test]
fn whatever_sends_a_candidate_back_overtakes_its_gate() {
    for at in [json!({"start": {}}), json!({"beforePromotion": {}})] {
        let mut world = World::new(&gated(canary(), json!([])));
        world.run(4);
        let stable = world.revision();
        world.set(&gated(canary(), approval(&at)));
        world.change("/image", "shop:2".into());
        let candidate = world.revision();
        world.until("the gate", at_gate);
        world.change("/control", json!({"abort": candidate, "paused": true}));
        world.until("taken back", |world| world.progress().is_none());
        assert!(world.quarantined(&candidate) && world.memory().stable == Some(stable), "{}", world.message());
    }
}

#[test]
fn a_gate_ends_at_its_deadline_or_holds_if_that_is_asked_for() {
    for hold in [false, true] {
        let mut world = World::new(&gated(canary(), json!([])));
        world.run(4);
        let mut gates = approval(&json!({"beforePromotion": {}}));
        if hold {
            gates[0]["onDeadline"] = "hold".into();
        }
        world.set(&gated(canary(), gates));
        world.change("/image", "shop:2".into());
        let candidate = world.revision();
        world.until("the gate", at_gate);
        world.run(120);
        if hold {
            assert!(world.message().contains("its 100 s are over, and it holds"), "{}", world.message());
            approve(&mut world, &["anna", "ben"]);
            world.until("promoted", |world| world.memory().stable.as_ref() == Some(&candidate));
        } else {
            assert_eq!(world.phase(), Phase::RolledBack, "{}", world.message());
            assert!(world.quarantined(&candidate) && world.message().contains("its 100 s are over"), "{}", world.message());
        }
    }
}

#[test]
fn the_very_first_revision_waits_at_the_start_only_and_is_blocked_by_a_closed_gate() {
    let mut world = World::new(&gated(canary(), approval(&json!({"start": {}}))));
    let first = world.revision();
    world.run(10);
    assert_eq!((world.phase(), world.asked(&first)), (Phase::Progressing, None), "{}", world.message());
    world.run(120);
    assert_eq!(world.phase(), Phase::Blocked, "{}", world.message());
    world.change("/control", json!({"retry": {"revision": first, "attempt": 2}}));
    world.until("the gate", at_gate);
    approve(&mut world, &["anna", "ben"]);
    world.until("stable", |world| world.phase() == Phase::Stable);
    assert_eq!(world.memory().stable, Some(first));
}

#[test]
fn no_command_opens_a_gate() {
    let mut world = World::new(&gated(canary(), json!([])));
    world.run(4);
    world.set(&gated(canary(), approval(&json!({"beforePromotion": {}}))));
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    world.until_stage(Stage::Shifting);
    world.change("/control", json!({"promote": {"revision": candidate, "to": "full"}}));
    world.run(30);
    assert!(at_gate(&world) && world.progress().unwrap().step == 0, "{}", world.message());
    approve(&mut world, &["anna", "ben"]);
    world.until("promoted", |world| world.memory().stable.as_ref() == Some(&candidate));
}

#[test]
fn a_rollout_waits_for_what_it_depends_on_before_its_first_pod() {
    let mut world = World::serving(&spec("1", &blue_green()));
    world.change("/dependsOn", json!([{"service": "payments", "atLeastVersion": "2.3"}]));
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    world.run(10);
    assert!(world.message().contains("there is no such ProductionService"), "{}", world.message());
    let neighbour = |image: &str| BTreeMap::from([("payments".to_owned(), gates::Neighbour { stable_image: Some(image.to_owned()) })]);
    world.snapshot.around.neighbours = neighbour("payments:2.2");
    world.run(10);
    assert!(world.message().contains("it is stable with payments:2.2"), "{}", world.message());
    assert_eq!((world.progress().unwrap().stage, world.asked(&candidate)), (Stage::Gated, None));
    world.snapshot.around.neighbours = neighbour("payments:2.3.1");
    world.until("promoted", |world| world.memory().stable.as_ref() == Some(&candidate));
}

#[test]
fn a_freeze_holds_the_start_and_every_step_but_not_the_bakes_end_nor_the_way_back() {
    let freeze = |world: &World, from: i64, to: i64| {
        let at = |seconds: i64| (world.now + seconds.seconds()).to_string();
        json!([{"name": "audit", "start": at(from), "end": at(to)}])
    };
    let mut world = World::serving(&spec("1", &canary()));
    world.change("/rollout/freezes", freeze(&world, -1, 20));
    world.change("/image", "shop:2".into());
    let candidate = world.revision();
    world.run(10);
    assert_eq!((world.progress().unwrap().stage, world.asked(&candidate)), (Stage::Gated, None), "{}", world.message());
    assert!(world.message().contains("freeze audit; goes on at"), "{}", world.message());
    world.until_stage(Stage::Soaking);
    world.change("/rollout/freezes", freeze(&world, 0, 40));
    world.run(20);
    assert_eq!(world.progress().unwrap().step, 0, "a step is no exception: {}", world.message());
    world.until_stage(Stage::Baking);
    world.change("/rollout/freezes", freeze(&world, 0, 1_000));
    world.until("promoted", |world| world.memory().stable.as_ref() == Some(&candidate));
}

#[test]
fn blue_green_switches_once_and_back_and_never_serves_two_versions() {
    for abort in [false, true] {
        let mut world = World::serving(&spec("1", &blue_green()));
        let old = world.revision();
        world.change("/image", "shop:2".into());
        let new = world.revision();
        let preview = ObjectKey::new(Kind::Service, "shop-preview");
        let mut fronts = vec![old.clone()];
        let mut previewed = false;
        for _ in 0..120 {
            world.second();
            let Some(strategy::Front::One(front)) = facts::Facts::of(&world.snapshot).front else { panic!("both: {}", world.message()) };
            if fronts.last() != Some(&front) {
                fronts.push(front);
            }
            if let Some(child) = world.snapshot.children.get(&preview) {
                assert_eq!(child.body["spec"]["selector"]["plimsoll.dev/revision"], new.as_str());
                previewed |= fronts.len() == 1;
            }
            if abort && world.progress().is_some_and(|progress| progress.stage == Stage::Baking) {
                world.change("/control", json!({"abort": new}));
            }
        }
        assert!(previewed, "the preview is there before any user is");
        assert!(!world.snapshot.children.contains_key(&preview), "and gone with the rollout");
        let (way, stable) = if abort { (vec![old.clone(), new.clone(), old.clone()], old) } else { (vec![old, new.clone()], new) };
        assert_eq!((fronts, world.memory().stable), (way, Some(stable)), "{}", world.message());
    }
}
