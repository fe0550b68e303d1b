//! What a rollout waits for, in one sentence that says for what and until when.

use jiff::ToSpan as _;

use super::Input;
use crate::api::status::{Progress, Stage};
use crate::decide::analysis::{PodState, signals};
use crate::decide::facts::Facts;
use crate::decide::judgement::Judgement;
use crate::decide::plan::Plan;
use crate::decide::render::service::preview_name;
use crate::decide::strategy::canary::Seen;
use crate::decide::strategy::shares;
use crate::decide::strategy::target::HELP_SECONDS;
use crate::decide::traffic::gateway_api;

/// A step's name for people: `step 1/3`, `preview`, `mirror`, or `full`.
#[must_use]
pub fn step_name(plan: &Plan, step: i32) -> String {
    if plan.switches() && step < plan.steps() {
        return "preview".to_owned();
    }
    if plan.mirror(step).is_some() {
        return "mirror".to_owned();
    }
    if step >= plan.steps() {
        return "full".to_owned();
    }
    // The step that is made of copies has a name of its own.
    let mirrors = i32::from(plan.mirror(0).is_some());
    format!("step {}/{}", step + 1 - mirrors, plan.steps() - mirrors)
}

/// What is waited for.
#[must_use]
pub fn waiting(input: &Input<'_>, progress: &Progress, stable: &str, judgement: &Judgement, seen: &Seen) -> String {
    let (plan, revision) = (input.plan, &progress.revision);
    let ready = input.facts.ready(revision);
    let until = progress.deadline.0.strftime("%H:%M:%S");
    match progress.stage {
        Stage::Gated => format!("{revision} waits before its first pod"),
        Stage::Shifting | Stage::Soaking | Stage::Baking if seen.empty => format!(
            "there are 0 replicas, so nothing can be watched; {revision} waits for spec.replicas to be raised, or for spec.control.promote to full"
        ),
        Stage::Starting => {
            format!(
                "{ready} of {} pods of {revision} are ready, waiting until {until} for one more{}",
                plan.replicas,
                because(input, revision)
            )
        }
        Stage::Shifting if !seen.candidate_ready => format!(
            "{}: {ready} of {} pods of {revision} are ready, waiting until {until} for one more{}",
            step_name(plan, progress.step),
            plan.shape(progress.step).candidate,
            because(input, revision)
        ),
        Stage::Shifting if seen.unreported => {
            format!("{}; waiting until {until}: {}", asked(plan, progress), unreported(input.facts))
        }
        Stage::Shifting => format!("{}: waiting until {until} for the pods of the running revision", step_name(plan, progress.step)),
        Stage::Baking if !seen.in_force && plan.is_weighted() => {
            format!("everything goes to {revision}; waiting until {until}: {}", unreported(input.facts))
        }
        Stage::Baking if !seen.in_force => {
            format!("everything goes to {revision}; waiting until {until} for Service {} to be seen to select it", plan.name)
        }
        Stage::Baking if judgement.passed() && !seen.can_take_over => format!(
            "the bake is passed; {ready} of {} pods of {revision} are ready, waiting for the others{}",
            plan.replicas,
            because(input, revision)
        ),
        Stage::Soaking | Stage::Baking => judgement.sentence().unwrap_or_else(|| watching(plan, progress, progress.stage == Stage::Baking)),
        Stage::RollingBack => {
            let cause = progress.cause.as_ref().map(|cause| cause.message.as_str()).unwrap_or_default();
            let ready = input.facts.ready(stable);
            format!(
                "{cause}; {ready} of {} pods of {stable} are ready, waiting until {until} for the others{}",
                plan.replicas,
                because(input, stable)
            )
        }
        Stage::Draining => match &progress.cause {
            Some(cause) => format!("{}{}", cause.message, pods_stay(input, progress)),
            None if !seen.can_take_over => {
                format!("{ready} of {} pods of {revision} are ready, waiting for the others{}", plan.replicas, because(input, revision))
            }
            None => format!("{revision} serves everything; the pods of the revision before it drain{}", pods_stay(input, progress)),
        },
    }
}

/// Whether the sentence tells what the cluster shows, and is told anew when that changes. What the metrics show changes with every measurement.
#[must_use]
pub fn tells_of_pods(stage: Stage, judgement: &Judgement) -> bool {
    !matches!(stage, Stage::Soaking | Stage::Baking) || !judgement.signals.is_empty()
}

/// The weight is in force: what is watched now, and for how long.
#[must_use]
pub fn watching(plan: &Plan, progress: &Progress, full: bool) -> String {
    let shape = plan.shape(plan.step_of(progress));
    if plan.switches() {
        let (revision, pods, preview) = (&progress.revision, shape.candidate, preview_name(&plan.name));
        return if full {
            format!("bake: everything goes to {revision}, the pods of the revision before it stay; watched for {} s", plan.bake_seconds)
        } else {
            let soak = plan.soak_seconds(progress.step);
            format!("preview: {pods} pods of {revision} behind Service {preview}, no user meets them; watched for {soak} s")
        };
    }
    if let Some(percent) = plan.mirror(progress.step).filter(|_| !full) {
        let (soak, revision) = (plan.soak_seconds(progress.step), &progress.revision);
        return format!("mirror: {revision} gets copies of {percent}% of the requests, nobody gets its answers; watched for {soak} s");
    }
    if plan.shifts_weights() {
        let part = format!("{}% of the requests go to {}", progress.weight.unwrap_or(0), progress.revision);
        return if full {
            format!("bake: {part}, the others to the revision before it as its control; watched for {} s", plan.bake_seconds)
        } else {
            format!("{}: {part}; watched for {} s", step_name(plan, progress.step), plan.soak_seconds(progress.step))
        };
    }
    let pods = format!("{} of {} pods are {}'s", shape.candidate, shape.candidate + shape.stable, progress.revision);
    if full {
        return format!("bake: {pods}, the others stay as its control; watched for {} s", plan.bake_seconds);
    }
    let (name, asked) = (step_name(plan, progress.step), plan.asked_weight(progress.step));
    format!("{name}: {pods}, asked {asked}%; watched for {} s", plan.soak_seconds(progress.step))
}

/// What the router was asked for.
#[must_use]
pub fn asked(plan: &Plan, progress: &Progress) -> String {
    if let Some(percent) = plan.mirror(plan.step_of(progress)) {
        return format!("mirror: {} is asked to send copies of {percent}% of the requests to {}", route_name(plan), progress.revision);
    }
    let (name, percent) = (step_name(plan, plan.step_of(progress)), progress.weight.unwrap_or(0));
    format!("{name}: {} is asked to give {} {percent}% of the requests", route_name(plan), progress.revision)
}

/// Why the weight that was asked for was never seen, if it was asked for.
#[must_use]
pub fn silent_router(plan: &Plan, progress: &Progress, facts: &Facts) -> Option<String> {
    let shifting = shares::is_unreported(plan, progress, facts);
    let switching = plan.is_weighted() && plan.switches() && progress.stage == Stage::Baking;
    (shifting || switching).then(|| {
        format!("{} did not give it its share within {} s: {}", route_name(plan), plan.progress_deadline_seconds, unreported(facts))
    })
}

/// The pods that lost the traffic stay for as long as the router has not said that they get no more.
fn pods_stay(input: &Input<'_>, progress: &Progress) -> String {
    let long = input.now >= progress.since.0 + HELP_SECONDS.seconds() && progress.weight_since.is_none();
    let why = input.facts.route.as_ref().and_then(|route| route.unreported.as_ref()).filter(|_| long && input.plan.is_weighted());
    why.map(|why| format!("; no pod is taken away yet: {why}")).unwrap_or_default()
}

fn unreported(facts: &Facts) -> String {
    match &facts.route {
        None => "there is no route".to_owned(),
        Some(route) => route.unreported.clone().unwrap_or_else(|| "the route has other weights".to_owned()),
    }
}

fn route_name(plan: &Plan) -> String {
    let kind = plan.route.as_ref().map_or("route", |route| gateway_api::kind(route.protocol).names().1);
    let name = plan.route.as_ref().and_then(|route| route.users.as_ref()).map_or(&plan.name, |users| &users.name);
    format!("{kind} {name}")
}

/// What became of the pods that did not become ready in time.
#[must_use]
pub fn too_late(input: &Input<'_>, revision: &str, wanted: i32) -> String {
    format!(
        "{} of {wanted} pods of {revision} became ready, and not one more in {} s{}",
        input.facts.ready(revision),
        input.plan.progress_deadline_seconds,
        because(input, revision)
    )
}

/// Why the first revision cannot come up, if it cannot.
#[must_use]
pub fn blocked(input: &Input<'_>, progress: &Progress, judgement: &Judgement) -> Option<String> {
    let refused = !input.facts.refused.is_empty();
    let signal = judgement.signals.iter().find(|signal| signal.outcome == signals::Outcome::Fail || refused);
    let late = || (input.now >= progress.deadline.0).then(|| too_late(input, &progress.revision, input.plan.replicas));
    signal.map(|signal| signal.sentence.clone()).or_else(late)
}

/// `: ` and the pods' own reason for not being ready, if they have one.
fn because(input: &Input<'_>, revision: &str) -> String {
    let pods: Vec<PodState> = input.snapshot.pods.iter().map(|pod| pod.state.clone()).collect();
    let refused = input.facts.refused.iter().find(|refused| refused.revision == revision).map(|refused| refused.message.clone());
    let why = refused.or_else(|| signals::why_not_ready(&pods, revision, input.now));
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

/// Why the first revision was not let through, and how to try it again: nothing does that by itself.
pub fn tried_again(why: &str, progress: &Progress) -> String {
    let Progress { revision, attempt, .. } = progress;
    format!("{why}; to try again: spec.control.retry: {{revision: {revision}, attempt: {}}}", attempt + 1)
}
