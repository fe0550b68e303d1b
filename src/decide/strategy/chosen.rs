//! Steps that nobody named (`decisions.md` §12): those that would teach nothing are left out.

use crate::api::status::{Progress, Stage};
use crate::decide::judgement::Judgement;
use crate::decide::plan::{Plan, Way};

/// Below this share of the traffic, in percent, a step is only worth its time where requests come.
const SMALL_PERCENT: f64 = 25.0;
/// Requests per second of the candidate that are too few for a small step.
const FEW_REQUESTS: f64 = 0.5;

/// Why the step that the rollout is in is left out, in words; `None`: it is taken. Nothing is left out once anything speaks against the candidate.
#[must_use]
pub fn left_out(plan: &Plan, progress: &Progress, judgement: &Judgement) -> Option<String> {
    let step = progress.step;
    let runs = matches!(progress.stage, Stage::Shifting | Stage::Soaking) && progress.cause.is_none() && plan.replicas > 0;
    if !runs || !judgement.only_waits() {
        return None;
    }
    if progress.stage == Stage::Shifting && repeats(plan, step) {
        let shape = plan.shape(step);
        return Some(format!("it has the pods of the step before, {} of {}", shape.candidate, shape.candidate + shape.stable));
    }
    let all = judgement.requests_per_second?;
    let few = least_requests_per_second(plan, step).is_some_and(|least| all < least);
    few.then(|| format!("{:.0}% of {all:.1} requests per second would teach too little", plan.expected_weight(step)))
}

fn is_chosen(plan: &Plan, step: i32) -> bool {
    matches!(plan.way, Way::Canary { chosen: true, .. }) && step < plan.steps() && plan.mirror(step).is_none()
}

/// Without a router the step asks for the same pods as the one before, so that nothing would change.
#[must_use]
pub fn repeats(plan: &Plan, step: i32) -> bool {
    is_chosen(plan, step) && step > 0 && !plan.is_weighted() && plan.shape(step) == plan.shape(step - 1)
}

/// Requests per second to the whole service below which the step is left out; `None`: it never is for their sake.
#[must_use]
pub fn least_requests_per_second(plan: &Plan, step: i32) -> Option<f64> {
    let percent = plan.expected_weight(step);
    (is_chosen(plan, step) && percent < SMALL_PERCENT).then(|| FEW_REQUESTS * 100.0 / percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ProductionService;
    use crate::decide::analysis::{Assessment, PendingReason, Verdict};

    fn plan(canary: &serde_json::Value, replicas: i32) -> Plan {
        let spec = serde_json::json!({
            "image": "a:1",
            "ports": [{"name": "http", "port": 80}],
            "expose": {"gateway": {"name": "public"}},
            "rollout": {"strategy": {"canary": canary}},
            "replicas": replicas,
        });
        crate::decide::plan::of_service(&ProductionService::new("shop", serde_json::from_value(spec).unwrap()))
    }

    fn progress(step: i32, stage: Stage) -> Progress {
        let at = "2026-11-30T10:00:00Z";
        let progress = serde_json::json!({
            "id": "b-1", "revision": "b", "attempt": 1, "started": at, "step": step, "stage": stage, "since": at, "deadline": at, "readyHighWater": 1,
        });
        serde_json::from_value(progress).unwrap()
    }

    fn waits(reason: PendingReason, requests_per_second: Option<f64>) -> Judgement {
        let assessment = Assessment {
            verdict: Verdict::Pending(reason),
            objectives: Vec::new(),
            e: 1.0,
            limit: 100.0,
            sentence: String::new(),
            wake: None,
        };
        Judgement { assessment: Some(assessment), requests_per_second, ..Judgement::default() }
    }

    #[test]
    fn steps_that_teach_nothing() {
        use PendingReason::{AlarmRising, SourceDown, TooFewRequests};
        let routed = serde_json::json!({"router": "gatewayApi"});
        let named = serde_json::json!({"router": "gatewayApi", "steps": [{"weight": 5}]});
        let mirrored = serde_json::json!({"router": "gatewayApi", "mirrorPercent": 50});
        let pods = serde_json::json!({});
        let cases = [
            ("few requests", &routed, 10, 0, waits(TooFewRequests, Some(9.0)), Stage::Soaking, true),
            ("enough", &routed, 10, 0, waits(TooFewRequests, Some(10.0)), Stage::Soaking, false),
            ("a larger share of them", &routed, 10, 1, waits(TooFewRequests, Some(9.0)), Stage::Soaking, false),
            ("25 percent are always taken", &routed, 10, 2, waits(TooFewRequests, Some(0.0)), Stage::Soaking, false),
            ("nobody knows how many come", &routed, 10, 0, waits(TooFewRequests, None), Stage::Soaking, false),
            ("an alarm rises", &routed, 10, 0, waits(AlarmRising, Some(1.0)), Stage::Soaking, false),
            ("the metrics are away", &routed, 10, 0, waits(SourceDown, Some(1.0)), Stage::Soaking, false),
            ("somebody asked for the step", &named, 10, 0, waits(TooFewRequests, Some(1.0)), Stage::Soaking, false),
            ("one of two pods is a third already", &pods, 2, 0, waits(TooFewRequests, Some(1.0)), Stage::Shifting, false),
            ("and so is the next step", &pods, 2, 1, waits(TooFewRequests, None), Stage::Shifting, true),
            ("it is not left out once it began", &pods, 2, 1, waits(TooFewRequests, None), Stage::Soaking, false),
            ("copies were asked for", &mirrored, 10, 0, waits(TooFewRequests, Some(1.0)), Stage::Soaking, false),
            ("the step after them was not", &mirrored, 10, 1, waits(TooFewRequests, Some(1.0)), Stage::Soaking, true),
            ("half of them is another step", &pods, 2, 3, waits(TooFewRequests, None), Stage::Shifting, false),
        ];
        for (why, canary, replicas, step, judgement, stage, expected) in cases {
            let progress = progress(step, stage);
            assert_eq!(left_out(&plan(canary, replicas), &progress, &judgement).is_some(), expected, "{why}");
        }
    }
}
