//! What the operator does, in words for the timeline.

use serde_json::Value;

use super::cluster::Cluster;
use super::world::World;
use crate::api::ProductionServiceStatus;
use crate::decide::{Event, Kind, Write};

/// Tells of a status, if it says something new; numbers that go on counting are not.
pub(super) fn status(world: &mut World, before: Option<&ProductionServiceStatus>, now: &ProductionServiceStatus) {
    let place = |status: &ProductionServiceStatus| {
        let stage = status.rollout.as_ref().and_then(|memory| memory.progress.as_ref()).map(|progress| progress.stage);
        (status.phase, status.step.clone(), stage)
    };
    let words = |status: &ProductionServiceStatus| {
        status.message.as_deref().unwrap_or_default().replace(|letter: char| letter.is_ascii_digit(), "")
    };
    let same_words = before.is_some_and(|before| words(before) == words(now));
    let same_phase = before.is_some_and(|before| before.phase == now.phase && before.step == now.step);
    if same_words && (same_phase || before.is_some_and(|before| place(before) == place(now))) {
        return;
    }
    let (phase, step, stage) = place(now);
    let stage = stage.map(|stage| format!("/{stage:?}")).unwrap_or_default();
    let step = step.map(|step| format!(" {step}")).unwrap_or_default();
    let phase = phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
    let name = world.name.clone();
    world.say(&name, now.message.as_deref().unwrap_or_default(), &format!("{phase}{stage}{step}"));
}

/// Tells of an event.
pub(super) fn event(world: &mut World, event: &Event) {
    let repeated = world
        .cluster
        .service()
        .and_then(|service| service.status.as_ref())
        .is_some_and(|status| status.message.as_ref() == Some(&event.message));
    if !repeated {
        world.say("event", &event.message, event.reason);
    }
}

/// What a rule asks for: "90% shop-a, 10% shop-b".
fn asks(backends: &Value) -> String {
    let share = |backend: &Value| format!("{}% {}", backend["weight"], backend["name"].as_str().unwrap_or_default());
    let asks: Vec<String> = backends.as_array().into_iter().flatten().map(share).collect();
    if asks.len() == 1 { asks[0].split(' ').next_back().unwrap_or_default().to_owned() } else { asks.join(", ") }
}

/// What a write does, and why, if it is worth a line.
pub(super) fn write(cluster: &Cluster, write: &Write) -> Option<(String, String)> {
    let image = |body: &Value| body["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned();
    match write {
        Write::Create { key, body } if key.kind == Kind::Deployment => {
            Some((format!("creates {key}: {} pods of {}", body["spec"]["replicas"], image(body)), String::new()))
        }
        Write::Apply { key, body, .. } if key.kind == Kind::Deployment => {
            let (from, to) = (&cluster.objects().get(key)?["spec"]["replicas"], &body["spec"]["replicas"]);
            if from == to {
                Some((format!("repairs {key}"), "drift".into()))
            } else {
                Some((format!("scales {key} from {from} to {to}"), String::new()))
            }
        }
        Write::Apply { key, body, .. } if key.kind == Kind::Service => {
            let of = |body: &Value| {
                body["spec"]["selector"]["plimsoll.dev/revision"]
                    .as_str()
                    .map_or("every revision".to_owned(), |revision| format!("only {revision}"))
            };
            let (from, to) = (of(cluster.objects().get(key)?), of(body));
            Some((if from == to { format!("changes {key}") } else { format!("{key} selects {to}") }, String::new()))
        }
        Write::Create { key, body } | Write::Apply { key, body, .. } if matches!(key.kind, Kind::HttpRoute | Kind::GrpcRoute) => {
            Some((format!("{key}: {}", asks(&body["spec"]["rules"][0]["backendRefs"])), String::new()))
        }
        Write::Reroute { key, exchanges, .. } => Some((format!("{key}: {}", asks(&exchanges.first()?.wanted)), String::new())),
        Write::Create { key, .. } if matches!(key.kind, Kind::Service | Kind::Job) => Some((format!("creates {key}"), String::new())),
        Write::Apply { key, .. } => Some((format!("changes {key}"), String::new())),
        Write::Delete { key, .. } if matches!(key.kind, Kind::Deployment | Kind::Service | Kind::HorizontalPodAutoscaler | Kind::Job) => {
            Some((format!("deletes {key}"), String::new()))
        }
        Write::Scale { replicas } => {
            Some((format!("writes the scale: {replicas}"), "an autoscaler reads nothing while it is absent".into()))
        }
        Write::Create { .. } | Write::Delete { .. } | Write::Finalizers { .. } => None,
    }
}
