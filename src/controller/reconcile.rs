//! One look at one service: observe, see what is due, decide, apply.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _};
use serde_json::Value;

use super::clock::Clock;
use super::error::Error;
use super::events::Subject;
use super::observe::{self, Observed};
use super::queue::{Key, Next};
use super::routes::Routes;
use super::{Context, apply, measure};
use crate::decide::gates::webhook::{Call, Outcome};
use crate::decide::{self, Decision, Due, Event, Snapshot};

/// Seconds after which foreign objects under our names are looked at again: no watch shows when they go.
const LOOK_AGAIN_SECONDS: i64 = 30;

/// Looks at the service and does what is to be done.
pub async fn reconcile(context: Arc<Context>, key: Key) -> Next {
    let began = Clock.instant();
    let outcome = attempt(&context, &key).await;
    let news = context.notes.with(&key, |note| note_refusal(&mut note.refused, outcome.as_ref().map(|_| ())));
    let (word, next) = match &outcome {
        // What was refused is not any more: the status has to say so.
        Ok(_) if news => ("written", Next::Again),
        Ok(next) => (if *next == Next::Again { "written" } else { "settled" }, *next),
        Err(error @ (Error::Stale | Error::Moved { .. })) => {
            tracing::debug!(service = %key, %error, "again");
            (error.word(), Next::Again)
        }
        Err(error) => {
            tracing::warn!(service = %key, %error, "reconcile failed");
            complain(&context, &key, error);
            (error.word(), Next::Failed(error.retry_after().unwrap_or_default()))
        }
    };
    context.telemetry.reconciled(word, Clock.instant().duration_since(began).as_secs_f64());
    next
}

/// Keeps what the API server refuses until a round ends without that. Returns whether anything changed.
fn note_refusal(refused: &mut Option<String>, outcome: Result<(), &Error>) -> bool {
    let now = match outcome {
        Ok(()) => None,
        Err(error @ Error::Apply { .. }) => error.refusal(),
        // Nothing was tried.
        Err(_) => return false,
    };
    std::mem::replace(refused, now.clone()) != now
}

async fn attempt(context: &Arc<Context>, key: &Key) -> Result<Next, Error> {
    let Some((mut snapshot, mut raw)) = seen(context, key, observe::cached(context, key).await?) else { return Ok(Next::Wait(None)) };
    if Routes::are_asked_for(&raw) && !context.routes.are_known() {
        context.routes.ask();
        return Ok(Next::Wait(None));
    }
    let now = Clock.now();
    let look_again = look_again(context, key, &snapshot, now).await?;
    if look_again.is_some_and(|at| at <= now) {
        return Ok(Next::Again);
    }
    let mut due = decide::due(&snapshot, now);
    call(context, key, std::mem::take(&mut due.calls));
    if !due.is_nothing() {
        measure(context, key, &snapshot, due, now);
        (snapshot.measured, snapshot.queried) = context.notes.with(key, |note| (note.measured, note.queried.clone()));
    }
    let round = context.notes.with(key, |note| note.measurements.clone());
    let measurements = round.as_deref().cloned().unwrap_or_default();
    let mut decision = decide::decide(&snapshot, &measurements, now);
    if decision.is_grave(&snapshot) {
        let Some(fresh) = seen(context, key, observe::fresh(context, key).await?) else { return Ok(Next::Wait(None)) };
        let asked = (snapshot.measured, std::mem::take(&mut snapshot.queried));
        (snapshot, raw) = fresh;
        (snapshot.measured, snapshot.queried) = asked;
        decision = decide::decide(&snapshot, &measurements, now);
    }
    let written = apply::status(context, key, &snapshot, *raw, &decision).await?;
    let rollout = observe::rollout(Some(&decision.status));
    context.notes.with(key, |note| {
        if note.rollout != rollout {
            (note.measured, note.measurements) = (None, None);
            note.queried.clear();
        } else if note.measurements.as_ref().map(Arc::as_ptr) == round.as_ref().map(Arc::as_ptr) {
            note.measurements = None;
        }
        note.judge.clone_from(&decision.judge);
        if rollout.is_none() {
            note.calls.clear();
        }
        note.rollout = rollout;
    });
    tell(context, key, &snapshot, &decision);
    let apply::Written { changed, again } = apply::writes(context, key, &snapshot, &decision.writes, now).await?;
    if written || changed {
        return Ok(Next::Again);
    }
    Ok(Next::Wait(decision.wake.into_iter().chain(look_again).chain(again).min().map(|at| Clock.instant_of(at))))
}

fn seen(context: &Context, key: &Key, observed: Observed) -> Option<(Box<Snapshot>, Box<Value>)> {
    match observed {
        Observed::Seen(snapshot, raw) => return Some((snapshot, raw)),
        Observed::Gone => context.notes.forget(key),
        Observed::Undecodable { subject, why } => {
            tracing::warn!(service = %key, why, "cannot be read and is left alone");
            let message = format!("this object cannot be read and is left as it stands: {why}");
            context.events.send(subject, Event::warning("Undecodable", message));
        }
    }
    None
}

/// Looks again at what stands in our way, if it is time. Returns when the next look is due; not later than now if something may have changed.
async fn look_again(context: &Context, key: &Key, snapshot: &Snapshot, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let (any, last) = context.notes.with(key, |note| {
        let any = !note.met.is_empty();
        if any && note.met_at.is_none() {
            note.met_at = Some(now);
        }
        (any, note.met_at.filter(|_| any))
    });
    let Some(next) = last.map(|last| last + LOOK_AGAIN_SECONDS.seconds()).filter(|_| any) else {
        context.notes.with(key, |note| note.met_at = None);
        return Ok(None);
    };
    if next > now {
        return Ok(Some(next));
    }
    let before = context.notes.of(key).met;
    apply::look_again(context, key, snapshot).await?;
    let same = context.notes.with(key, |note| {
        note.met_at = Some(now);
        note.met == before
    });
    Ok(Some(if same { now + LOOK_AGAIN_SECONDS.seconds() } else { now }))
}

/// Begins a round of measurements beside this reconcile, unless one is under way; its end wakes the service.
fn measure(context: &Arc<Context>, key: &Key, snapshot: &Snapshot, due: Due, now: Timestamp) {
    let rollout = observe::rollout(snapshot.service.status.as_ref());
    let begins = context.notes.with(key, |note| {
        let begins = !note.measuring;
        if begins {
            note.measuring = true;
            if !due.requests.is_empty() {
                note.measured = Some(now);
            }
            note.queried.extend(due.questions.iter().map(|question| (question.objective.clone(), now)));
            note.rollout.clone_from(&rollout);
        }
        begins
    });
    if begins {
        let (context, key) = (context.clone(), key.clone());
        tokio::spawn(async move {
            // As a task of its own: even a panic in it ends the round.
            let round = context.pods.clone().round(key.namespace.clone(), due);
            let measurements = measure::bounded(tokio::spawn(round)).await;
            context.notes.with(&key, |note| {
                note.measuring = false;
                if note.rollout == rollout
                    && let Some(measurements) = measurements
                {
                    note.measurements = Some(Arc::new(measurements));
                }
            });
            context.queue.add(key);
        });
    }
}

/// Sends webhooks beside this reconcile, each once; its outcome wakes the service.
fn call(context: &Arc<Context>, key: &Key, calls: Vec<Call>) {
    let Some(webhooks) = &context.settings.webhooks else { return };
    for call in calls {
        let begins = context.notes.with(key, |note| note.calls.insert(call.id.clone(), None).is_none());
        if !begins {
            continue;
        }
        let (context, key, webhooks) = (context.clone(), key.clone(), webhooks.clone());
        tokio::spawn(async move {
            let sent = webhooks.send(&call, &context.settings.api_server).await;
            context.telemetry.measured(matches!(sent, Outcome::Answered(_)));
            tracing::info!(service = %key, key = call.key, outcome = ?sent, "a webhook was sent");
            context.notes.with(&key, |note| note.calls.insert(call.id, Some(sent)));
            context.queue.add(key);
        });
    }
}

/// Tells people what was decided: events, and one line in the log.
fn tell(context: &Context, key: &Key, snapshot: &Snapshot, decision: &Decision) {
    let status = &decision.status;
    let progress = status.rollout.as_ref().and_then(|memory| memory.progress.as_ref());
    let revision =
        progress.map(|progress| progress.revision.as_str()).or(status.rollout.as_ref().and_then(|memory| memory.stable.as_deref()));
    let revision = revision.unwrap_or_default();
    for event in &decision.events {
        context.telemetry.decided(event.reason);
        context.events.send(subject(snapshot), event.clone());
        if event.warning {
            tracing::warn!(service = %key, revision, reason = event.reason, "{}", event.message);
        } else {
            tracing::info!(service = %key, revision, reason = event.reason, "{}", event.message);
        }
    }
    let sentence = status.message.as_deref().unwrap_or_default();
    if context.notes.with(key, |note| std::mem::replace(&mut note.told, sentence.to_owned()) != sentence) {
        tracing::debug!(service = %key, revision, phase = ?status.phase, "{sentence}");
    }
}

/// Tells the service's people why nothing can be written for it.
fn complain(context: &Context, key: &Key, error: &Error) {
    let Some(service) = context.cache.family(key).service else { return };
    let subject = Subject { namespace: key.namespace.to_string(), name: key.name.to_string(), uid: service.object.uid.into() };
    context.events.send(subject, Event::warning("CannotApply", error.to_string()));
}

fn subject(snapshot: &Snapshot) -> Subject {
    let metadata = &snapshot.service.metadata;
    Subject {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
    }
}
