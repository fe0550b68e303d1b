//! Another system's word, by one signed request.
//!
//! The request is ordered in status, in the name of one process of the operator, before it is sent; that process sends it once. Where it ended before
//! the answer was written down, whether it was heard can never be known: only what is idempotent is asked again then.

use jiff::{Timestamp, ToSpan as _};
use serde_json::json;

use super::{About, GateKind, PlannedGate, Standing, goes_forward};
use crate::api::gate_status::{GateState, GateStatus, WebhookOrder};
use crate::api::gates::{GateAt, WebhookGate};
use crate::api::status::{Moment, Progress};
use crate::decide::plan::Plan;
use crate::decide::revision::digest;
use crate::decide::snapshot::Snapshot;

/// Seconds for an answer where the spec does not say.
const TIMEOUT_SECONDS: i32 = 10;
/// Seconds before the second try; twice as many before each further one, up to [`LONGEST_PAUSE_SECONDS`].
const PAUSE_SECONDS: i64 = 5;
const LONGEST_PAUSE_SECONDS: i64 = 300;
/// Characters of a reason that are kept.
const LONGEST: usize = 200;

/// A request that is to be sent now, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Under which its outcome is found: the idempotency key and the try.
    pub id: String,
    /// The same for each try of the same order.
    pub key: String,
    /// Where to.
    pub url: String,
    /// What: JSON.
    pub body: String,
    /// Seconds for its answer.
    pub timeout_seconds: i32,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered with this status.
    Answered(u16),
    /// It was certainly not sent, and why.
    NotSent(String),
    /// It may have been heard; why there is no answer.
    Unknown(String),
}

/// Where the gate stands. Orders the request when it is first asked.
pub(super) fn standing(
    about: &About<'_>,
    progress: &Progress,
    gate: &WebhookGate,
    status: &mut GateStatus,
    wakes: &mut Vec<Timestamp>,
) -> Standing {
    let (around, now, host) = (&about.snapshot.around, about.now, host(&gate.url));
    let Some(instance) = &around.webhooks else {
        return Standing::Waiting(
            "the operator has no key to sign its requests with: ask who runs plimsoll to set the chart value webhooks.keySecret".into(),
        );
    };
    let Some(order) = &mut status.webhook else {
        if !about.begins {
            return Standing::Waiting(format!("{host} is not asked while nothing goes forward"));
        }
        let key = digest(&json!([about.plan.uid, progress.id, progress.started, status.name]));
        status.webhook = Some(WebhookOrder { key, by: instance.clone(), tries: 1, at: Moment(now), before: None });
        return Standing::Waiting(format!("asks {host}"));
    };
    let idempotent = gate.idempotent == Some(true);
    if order.by != *instance {
        if !idempotent && order.at.0 <= now {
            return Standing::Unknown(format!("the operator ended while it asked {host}: what became of that is not known"));
        }
        (order.by, order.tries) = (instance.clone(), order.tries + 1);
    }
    let failed = match around.calls.get(&id(order)) {
        None | Some(None) => None,
        Some(Some(Outcome::Answered(code @ 200..=299))) => return Standing::Open(format!("{host} answered {code}")),
        Some(Some(Outcome::Answered(code @ (429 | 500..=599)))) if idempotent => Some(format!("{host} answered {code}")),
        Some(Some(Outcome::Answered(code))) => return Standing::Closed(format!("{host} answered {code}")),
        Some(Some(Outcome::NotSent(why))) => Some(format!("{host} cannot be asked: {why}")),
        Some(Some(Outcome::Unknown(why))) if idempotent => Some(format!("{host}: {why}")),
        Some(Some(Outcome::Unknown(why))) => {
            return Standing::Unknown(format!("{host} was asked: {why}; what became of that is not known"));
        }
    };
    if let Some(why) = failed {
        let pause = (PAUSE_SECONDS << (order.tries - 1).clamp(0, 8)).min(LONGEST_PAUSE_SECONDS);
        order.at = Moment(now + pause.seconds());
        order.tries += 1;
        order.before = Some(why.chars().take(LONGEST).collect());
    }
    if order.at.0 > now {
        wakes.push(order.at.0);
    }
    match &order.before {
        Some(why) => Standing::Waiting(format!("{why}; asked again at {}", order.at.0.strftime("%H:%M:%S"))),
        None => Standing::Waiting(format!("asks {host}")),
    }
}

fn id(order: &WebhookOrder) -> String {
    format!("{}/{}", order.key, order.tries)
}

/// The host of an address, for people: the rest of it may be a secret.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// The requests that this process has ordered, and not sent yet.
#[must_use]
pub fn due(plan: &Plan, progress: &Progress, snapshot: &Snapshot, now: Timestamp) -> Vec<Call> {
    let forward = goes_forward(progress);
    let waiting = progress.gates.iter().filter(|status| forward && status.state == GateState::Waiting);
    let call = |status: &GateStatus| {
        let order = status.webhook.as_ref()?;
        let gate = plan.gates.gates.iter().find(|gate| gate.name == status.name)?;
        let GateKind::Webhook(webhook) = &gate.kind else { return None };
        let mine = snapshot.around.webhooks.as_ref() == Some(&order.by);
        let due = mine && order.at.0 <= now && !snapshot.around.calls.contains_key(&id(order));
        due.then(|| Call {
            id: id(order),
            key: order.key.clone(),
            url: webhook.url.clone(),
            body: body(plan, progress, gate, snapshot),
            timeout_seconds: webhook.timeout_seconds.unwrap_or(TIMEOUT_SECONDS),
        })
    };
    waiting.filter_map(call).collect()
}

fn body(plan: &Plan, progress: &Progress, gate: &PlannedGate, snapshot: &Snapshot) -> String {
    let stable = snapshot.service.status.as_ref().and_then(|status| status.rollout.as_ref()?.stable.as_ref());
    let at = match gate.at {
        GateAt::Start(_) => "start".to_owned(),
        GateAt::BeforeWeight(before) => format!("beforeWeight {}", before.weight),
        GateAt::BeforePromotion(_) => "beforePromotion".to_owned(),
    };
    json!({
        "namespace": plan.namespace,
        "service": plan.name,
        "uid": plan.uid,
        "gate": gate.name,
        "at": at,
        "rollout": progress.id,
        "attempt": progress.attempt,
        "step": progress.step,
        "revision": progress.revision,
        "image": plan.spec.image,
        "stable": stable,
    })
    .to_string()
}
