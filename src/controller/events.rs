//! Kubernetes events: what people see in `kubectl describe`. A courtesy: they are sent beside the work and never fail a reconcile.
//!
//! The same sentence about the same object is counted up instead of sent anew. (kube's recorder leaves the sentence out of that comparison and
//! would count a rollback up on top of an earlier one with other numbers.)

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::access::Access;
use super::clock::Clock;
use crate::decide::Event;

/// Events that wait to be sent; more are dropped.
const WAITING: usize = 1024;
/// Sentences that are remembered.
const REMEMBERED: usize = 4096;
/// After so many seconds a sentence is sent anew rather than counted up.
const SERIES_SECONDS: i64 = 360;
/// The API server's limit for a note is 1 KiB.
const LONGEST_NOTE: usize = 1000;
const CONTROLLER: &str = "plimsoll.dev/operator";

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Namespace of the service.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Sends events.
#[derive(Clone)]
pub struct Events(mpsc::Sender<(Subject, Event)>);

impl Events {
    /// Begins to send events in the name of this replica.
    #[must_use]
    pub fn start(access: Arc<Access>, instance: String) -> Self {
        let (sender, mut receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            let mut told = Told::default();
            while let Some((subject, event)) = receiver.recv().await {
                let (body, again) = told.tell(&subject, &event, &instance, Clock.now());
                if let Err(error) = access.event(&subject.namespace, &body, again).await {
                    tracing::debug!(%error, reason = event.reason, "event not sent");
                }
            }
        });
        Self(sender)
    }

    /// Sends an event, sometime.
    pub fn send(&self, subject: Subject, event: Event) {
        if self.0.try_send((subject, event)).is_err() {
            tracing::debug!("too many events: one is dropped");
        }
    }
}

#[derive(Default)]
struct Told(BTreeMap<(Subject, &'static str, String), Line>);

struct Line {
    name: String,
    count: i32,
    last: Timestamp,
}

impl Told {
    /// The event to send, and whether it counts an earlier one up.
    fn tell(&mut self, subject: &Subject, event: &Event, instance: &str, now: Timestamp) -> (Value, bool) {
        self.0.retain(|_, line| now.duration_since(line.last).as_secs() < SERIES_SECONDS);
        while self.0.len() >= REMEMBERED {
            self.0.pop_first();
        }
        let line = self
            .0
            .entry((subject.clone(), event.reason, event.message.clone()))
            .and_modify(|line| line.count += 1)
            .or_insert_with(|| Line { name: format!("{}.{:x}", subject.name, now.as_nanosecond()), count: 1, last: now });
        line.last = now;
        let mut body = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": line.name, "namespace": subject.namespace},
            "eventTime": micro(now),
            "type": if event.warning { "Warning" } else { "Normal" },
            "reason": event.reason,
            "action": event.reason,
            "note": short(&event.message),
            "reportingController": CONTROLLER,
            "reportingInstance": instance,
            "regarding": {
                "apiVersion": "plimsoll.dev/v1alpha1",
                "kind": "ProductionService",
                "namespace": subject.namespace,
                "name": subject.name,
                "uid": subject.uid,
            },
        });
        let again = line.count > 1;
        if again {
            body["series"] = json!({"count": line.count, "lastObservedTime": micro(now)});
        }
        (body, again)
    }
}

fn micro(at: Timestamp) -> String {
    format!("{at:.6}")
}

fn short(text: &str) -> &str {
    let end = (0..=LONGEST_NOTE.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_sentence_is_counted_up_another_one_is_not() {
        let subject = Subject { namespace: "shop".into(), name: "cart".into(), uid: "1".into() };
        let event = |message: &str| Event { warning: true, reason: "RolledBack", message: message.into() };
        let mut told = Told::default();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let (first, again) = told.tell(&subject, &event("31 of 412 failed"), "a", at(1));
        assert!(!again);
        let (_, again) = told.tell(&subject, &event("7 of 90 failed"), "a", at(2));
        assert!(!again, "other numbers are other news");
        let (repeated, again) = told.tell(&subject, &event("31 of 412 failed"), "a", at(3));
        assert!(again);
        assert_eq!(repeated["metadata"]["name"], first["metadata"]["name"]);
        assert_eq!(repeated["series"]["count"], 2);
        let (_, again) = told.tell(&subject, &event("31 of 412 failed"), "a", at(3 + SERIES_SECONDS));
        assert!(!again, "an old one is not counted up: the server may have forgotten it");
    }

    #[test]
    fn a_note_is_cut_between_characters() {
        assert_eq!(short("short"), "short");
        let long = "ü".repeat(LONGEST_NOTE);
        assert!(short(&long).len() <= LONGEST_NOTE && !short(&long).is_empty());
    }
}
