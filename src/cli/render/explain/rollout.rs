//! How a new version takes the place of the old one, and what each step needs.

use super::{Origin, Rows, amount, seconds};
use crate::api::rollout::{Rollout, Strategy};
use crate::decide::analysis::planning::forecast;
use crate::decide::plan::{Plan, Way};
use crate::decide::strategy::chosen;

/// What a step needs to exclude a regression, and to find one.
fn needed(rows: &mut Rows, step: &str, plan: &Plan, weight: f64) {
    let Some(needs) = forecast(&plan.settings, weight) else { return };
    let why = format!("to it, to exclude 1 point more failures; about {:.0} to find them (stable fails 0.1%)", needs.to_find);
    rows.add(&format!("{step} needs"), format!("{:.0} requests", needs.to_exclude), Origin::Computed, why);
}

/// Strategy, steps, surge and times.
pub(super) fn rollout(rows: &mut Rows, plan: &Plan) {
    let Rollout { strategy, surge, bake_seconds, progress_deadline_seconds, .. } = plan.spec.rollout.clone().unwrap_or_default();
    let given = strategy.is_some();
    match &plan.way {
        Way::Canary { steps, .. } => {
            let own = matches!(&strategy, Some(Strategy::Canary(canary)) if !canary.steps.is_empty());
            rows.given("rollout.strategy", "canary", given, "a little traffic first, then more");
            if let Some(users) = plan.route.as_ref().and_then(|route| route.users.as_ref()) {
                let why = format!("yours: its backend {} is divided while a version is rolled out, then it is as you wrote it", plan.name);
                rows.given("rollout.strategy.canary.routeRef", users.to_string(), true, &why);
            }
            for (index, step) in (0..).zip(steps) {
                if let Some(percent) = step.mirror {
                    let why = format!(
                        "copies to {} pods, before any user meets them, for {}",
                        plan.shape(index).candidate,
                        seconds(step.soak_seconds)
                    );
                    rows.given("rollout.strategy.canary.mirrorPercent", format!("{percent}%"), true, &why);
                    continue;
                }
                let shape = plan.shape(index);
                let name = format!("rollout.steps[{index}]");
                let pods = shape.candidate + shape.stable;
                let why = if plan.is_weighted() {
                    format!("of the requests, by the route's weights; {} pods beside stable's {}", shape.candidate, shape.stable)
                } else {
                    format!("{} of {pods} pods, {:.0}% of the connections: no router divides them finer", shape.candidate, shape.weight())
                };
                let least = chosen::least_requests_per_second(plan, index);
                let why = if chosen::repeats(plan, index) {
                    "left out: it has the pods of the step before".to_owned()
                } else if let Some(least) = least.filter(|_| plan.metrics.is_some()) {
                    format!("{why}; left out below {least:.0} requests per second in all")
                } else {
                    why
                };
                rows.given(&name, format!("{}% for {}", step.weight, seconds(step.soak_seconds)), own, &why);
                needed(rows, &name, plan, plan.expected_weight(index));
            }
        }
        Way::BlueGreen { soak_seconds, .. } => {
            rows.given("rollout.strategy", "blueGreen", given, "all at once: a preview first, then one switch");
            let own = match &strategy {
                Some(Strategy::BlueGreen(blue_green)) => (blue_green.warm_replicas.is_some(), blue_green.soak_seconds.is_some()),
                _ => (false, false),
            };
            let why = "pods behind the preview; for the switch there are all of them";
            rows.given("rollout.strategy.blueGreen.warmReplicas", plan.shape(0).candidate.to_string(), own.0, why);
            let why = "the preview is watched for so long before the switch";
            rows.given("rollout.strategy.blueGreen.soakSeconds", seconds(soak_seconds), own.1, why);
        }
        Way::Rolling { soak_seconds } => {
            rows.given("rollout.strategy", "rolling", given, "slice by slice, each as large as the surge");
            let own = matches!(&strategy, Some(Strategy::Rolling(rolling)) if rolling.soak_seconds.is_some());
            rows.given("rollout.strategy.rolling.soakSeconds", seconds(soak_seconds), own, "each slice is watched for so long");
            rows.add("slices", (plan.steps() + 1).to_string(), Origin::Computed, format!("of {} replicas", plan.replicas));
        }
    }
    rows.given(
        "rollout.surge",
        amount(&plan.surge),
        surge.is_some(),
        "pods beyond the replicas during a rollout; with 100% going back needs no new pod",
    );
    rows.add("most pods", plan.most_pods().to_string(), Origin::Computed, "replicas and surge: what quota and nodes must have room for");
    let why = if plan.spec.objectives.is_empty() {
        "kept ready to go back; short, since nothing is measured"
    } else {
        "the old version is kept ready, the new one is still judged"
    };
    rows.given("rollout.bakeSeconds", seconds(plan.bake_seconds), bake_seconds.is_some(), why);
    let why = "without one more ready pod for so long, a revision has failed to start";
    rows.given("rollout.progressDeadlineSeconds", seconds(plan.progress_deadline_seconds), progress_deadline_seconds.is_some(), why);
}
