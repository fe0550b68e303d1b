//! What a spec comes to, written down a second time for the invariants: they must not ask the code that they check.

use crate::api::analysis::OnNoEvidence;
use crate::api::gates::{Gate, GateAt};
use crate::api::rollout::{BlueGreen, Canary, Router, Step, Strategy};
use crate::api::values::IntOrPercent;
use crate::api::{ProductionServiceSpec, rollout::Rollout};

fn rollout(spec: &ProductionServiceSpec) -> Rollout {
    spec.rollout.clone().unwrap_or_default()
}

fn canary(spec: &ProductionServiceSpec) -> Option<Canary> {
    match rollout(spec).strategy {
        Some(Strategy::Canary(canary)) => Some(canary),
        _ => None,
    }
}

/// Users never meet two versions.
pub(super) fn blue_green(spec: &ProductionServiceSpec) -> Option<BlueGreen> {
    match rollout(spec).strategy {
        Some(Strategy::BlueGreen(blue_green)) => Some(blue_green),
        _ => None,
    }
}

/// R; `None`: an autoscaler is on and has not written yet.
pub(super) fn replicas(spec: &ProductionServiceSpec) -> Option<i32> {
    match (&spec.scaling, spec.replicas) {
        (_, Some(replicas)) => Some(replicas),
        (None, None) => Some(2),
        (Some(_), None) => None,
    }
}

fn surge(spec: &ProductionServiceSpec, replicas: i32) -> i32 {
    let default = if canary(spec).is_some() || blue_green(spec).is_some() { 100 } else { 25 };
    let percent = |percent: i32| (replicas * percent + 99) / 100;
    match rollout(spec).surge {
        None => percent(default),
        Some(IntOrPercent::Int(pods)) => pods,
        Some(IntOrPercent::Percent(text)) => percent(text.trim_end_matches('%').parse().unwrap_or(100)),
    }
}

/// Pods that may be missing on purpose.
pub(super) fn max_unavailable(spec: &ProductionServiceSpec, replicas: usize) -> usize {
    let percent = |percent: usize| (replicas * percent).div_ceil(100);
    match spec.availability.as_ref().and_then(|availability| availability.max_unavailable.clone()) {
        None => percent(10).max(1),
        Some(IntOrPercent::Int(pods)) => usize::try_from(pods).unwrap_or(0),
        Some(IntOrPercent::Percent(text)) => percent(text.trim_end_matches('%').parse().unwrap_or(100)),
    }
}

/// Pods of candidate and stable in a step, as `rollouts.md` says under "Capacity without a router".
pub(super) fn shape(spec: &ProductionServiceSpec, replicas: i32, step: i32) -> (i32, i32) {
    let surge = surge(spec, replicas);
    let with = |candidate: i32| (candidate, replicas.min(replicas + surge - candidate));
    let index = usize::try_from(step).unwrap_or(0);
    if let Some(blue_green) = blue_green(spec) {
        let warm = match blue_green.warm_replicas {
            Some(IntOrPercent::Int(pods)) => pods,
            Some(IntOrPercent::Percent(text)) => (replicas * text.trim_end_matches('%').parse().unwrap_or(100) + 99) / 100,
            None => replicas,
        };
        return (if step == 0 { warm.min(replicas) } else { replicas }, replicas);
    }
    if let (Some(weight), Some(_)) = (routed_weight(spec, step), canary(spec)) {
        let steps = canary(spec).map_or(0, |canary| weights(&canary).len());
        let least = if surge >= replicas { 2 } else { 1 };
        let copies = canary(spec).and_then(|canary| canary.mirror_percent).filter(|_| index == 0 && weight == 0).unwrap_or(0);
        let candidate = if index < steps { ((weight.max(copies) * replicas + 99) / 100).max(least).min(replicas) } else { replicas };
        return with(candidate);
    }
    match canary(spec) {
        Some(canary) => {
            let weights = weights(&canary);
            let Some(weight) = weights.get(index) else { return with(replicas) };
            (1..=replicas)
                .map(with)
                .find(|(candidate, stable)| 100 * candidate >= weight * (candidate + stable))
                .unwrap_or_else(|| with(replicas))
        }
        None => with(replicas.min((step + 1) * surge.max(1))),
    }
}

/// Percent of a canary's steps; 5, 10, 25 and 50 where nobody named any; before them 0, for copies.
fn weights(canary: &Canary) -> Vec<i32> {
    let steps = if canary.steps.is_empty() { vec![5, 10, 25, 50] } else { canary.steps.iter().map(|step| step.weight).collect() };
    canary.mirror_percent.map(|_| 0).into_iter().chain(steps).collect()
}

/// A step that nobody named, of less than 25 percent, may be left before its time when hardly a request comes: here fewer than one in a second,
/// twice what the operator leaves out.
pub(super) fn may_be_left_out(spec: &ProductionServiceSpec, step: i32, requests: u64, seconds: i64) -> bool {
    let small =
        canary(spec).filter(|canary| canary.steps.is_empty()).is_some_and(|canary| step < 2 + i32::from(canary.mirror_percent.is_some()));
    small && i64::try_from(requests).is_ok_and(|requests| requests <= seconds.max(30))
}

/// Percent that a router gives the candidate in a step; beyond the last one, in the bake. `None`: no router divides the requests.
pub(super) fn routed_weight(spec: &ProductionServiceSpec, step: i32) -> Option<i32> {
    let canary = canary(spec).filter(|canary| canary.router == Some(Router::GatewayApi))?;
    let weights = weights(&canary);
    let control = rollout(spec).analysis.and_then(|analysis| analysis.bake_control_percent).unwrap_or(10);
    Some(usize::try_from(step).ok().and_then(|step| weights.get(step).copied()).unwrap_or(100 - control))
}

/// Approvals without which nobody gets from one step to another; -1 is before the first pod.
pub(super) fn approvals(spec: &ProductionServiceSpec, from: i32, to: i32) -> Vec<(String, usize)> {
    let gates = gates(spec, from, to);
    gates.into_iter().filter_map(|gate| Some((gate.name, usize::try_from(gate.approval?.count.unwrap_or(1)).ok()?))).collect()
}

/// Gates whose Jobs have to succeed before anybody gets from one step to another.
pub(super) fn job_gates(spec: &ProductionServiceSpec, from: i32, to: i32) -> Vec<String> {
    gates(spec, from, to).into_iter().filter(|gate| gate.job.is_some() || gate.load_test.is_some()).map(|gate| gate.name).collect()
}

fn gates(spec: &ProductionServiceSpec, from: i32, to: i32) -> Vec<Gate> {
    let Some(weights) = canary(spec).map(|canary| weights(&canary)) else { return Vec::new() };
    let step = |at: &GateAt| match at {
        GateAt::Start(_) => 0,
        GateAt::BeforeWeight(before) => weights.iter().take_while(|weight| **weight < before.weight).count(),
        GateAt::BeforePromotion(_) => weights.len(),
    };
    rollout(spec).gates.into_iter().filter(|gate| i32::try_from(step(&gate.at)).is_ok_and(|step| from < step && step <= to)).collect()
}

/// Seconds of a step's soak.
pub(super) fn soak_seconds(spec: &ProductionServiceSpec, step: i32) -> i32 {
    match rollout(spec).strategy {
        Some(Strategy::Canary(canary)) => {
            let mirror = canary.mirror_percent.map(|_| canary.mirror_seconds.unwrap_or(60));
            let own = |step: &Step| step.soak_seconds.unwrap_or(60);
            let steps: Vec<i32> = if canary.steps.is_empty() { vec![30; 4] } else { canary.steps.iter().map(own).collect() };
            usize::try_from(step).ok().and_then(|step| mirror.into_iter().chain(steps).nth(step)).unwrap_or(60)
        }
        Some(Strategy::Rolling(rolling)) => rolling.soak_seconds.unwrap_or(10),
        Some(Strategy::BlueGreen(blue_green)) => blue_green.soak_seconds.unwrap_or(60),
        None => 10,
    }
}

/// Seconds of the bake.
pub(super) fn bake_seconds(spec: &ProductionServiceSpec) -> i32 {
    rollout(spec).bake_seconds.unwrap_or(if spec.objectives.is_empty() { 60 } else { 300 })
}

/// Requests without which no step passes.
pub(super) fn least_requests(spec: &ProductionServiceSpec) -> u64 {
    let given = rollout(spec).analysis.and_then(|analysis| analysis.min_requests).unwrap_or(200);
    let measured = spec.objectives.iter().any(|objective| objective.promql.is_none());
    if !measured || blue_green(spec).is_some() { 0 } else { u64::try_from(given).unwrap_or(0) }
}

fn on_no_evidence(spec: &ProductionServiceSpec) -> Option<OnNoEvidence> {
    rollout(spec).analysis.and_then(|analysis| analysis.on_no_evidence)
}

/// A step without evidence goes on at its deadline.
pub(super) fn no_evidence_goes_on(spec: &ProductionServiceSpec) -> bool {
    on_no_evidence(spec) == Some(OnNoEvidence::Promote)
}

/// A step without evidence goes back at its deadline.
pub(super) fn no_evidence_sends_back(spec: &ProductionServiceSpec) -> bool {
    on_no_evidence(spec) == Some(OnNoEvidence::RollBack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_those_of_the_design() {
        let spec = |value: serde_json::Value| serde_json::from_value::<ProductionServiceSpec>(value).unwrap();
        let canary = spec(serde_json::json!({"image": "shop:1", "rollout": {"strategy": {"canary": {}}}}));
        assert_eq!([0, 1, 2, 3, 4].map(|step| shape(&canary, 4, step)), [(1, 4), (1, 4), (2, 4), (4, 4), (4, 4)]);
        let rolling = spec(serde_json::json!({"image": "shop:1"}));
        assert_eq!([0, 1, 2, 3].map(|step| shape(&rolling, 4, step)), [(1, 4), (2, 3), (3, 2), (4, 1)]);
    }
}
