//! What this replica remembers of a service between two reconciles, beside what stands in its status. All of it may be lost at any time: the
//! judge is resumed from status, contents are read again, a foreign object is met again when it is in the way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::queue::Key;
use crate::decide::analysis::Judge;
use crate::decide::gates::webhook::Outcome;
use crate::decide::{Child, Contents, Measurements, ObjectKey};

/// Notes on every service that was reconciled.
#[derive(Default)]
pub struct Notes(Mutex<BTreeMap<Key, Note>>);

/// Notes on one service.
#[derive(Clone, Default)]
pub struct Note {
    /// The judge as the last decision left it.
    pub judge: Option<Judge>,
    /// The rollout that judge and measurements belong to.
    pub rollout: Option<String>,
    /// When the last round of measurements began.
    pub measured: Option<Timestamp>,
    /// When the objectives that are queries were asked last, by name.
    pub queried: BTreeMap<String, Timestamp>,
    /// Webhooks that were sent in the rollout that is on, and what became of them; `None`: under way.
    pub calls: BTreeMap<String, Option<Outcome>>,
    /// A round that ended and that no decision has used yet.
    pub measurements: Option<Arc<Measurements>>,
    /// A round is under way.
    pub measuring: bool,
    /// Objects that were met under a name of ours although no watch shows them, for they lack our label: foreign ones, and ours that somebody
    /// took the label from or handed over.
    pub met: BTreeMap<ObjectKey, Child>,
    /// When these were last looked at.
    pub met_at: Option<Timestamp>,
    /// When what others had added to an object was last removed, or a change to it last came to nothing.
    pub repaired: BTreeMap<ObjectKey, Timestamp>,
    /// Contents of the `ConfigMaps` that the spec refers to, with the resourceVersion at which they were read.
    pub contents: BTreeMap<String, (u64, Arc<Contents>)>,
    /// The revisions' records as compact JSON, by uid. They are immutable.
    pub records: BTreeMap<Box<str>, Arc<[u8]>>,
    /// What the API server said to the last write, if it refused it and will again.
    pub refused: Option<String>,
    /// The sentence that was logged last.
    pub told: String,
}

impl Notes {
    /// A copy of the notes on this service; cheap, since what is large is shared.
    #[must_use]
    pub fn of(&self, key: &Key) -> Note {
        self.with(key, |note| note.clone())
    }

    /// Changes the notes on this service.
    pub fn with<T>(&self, key: &Key, change: impl FnOnce(&mut Note) -> T) -> T {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(notes.entry(key.clone()).or_default())
    }

    /// The service is gone.
    pub fn forget(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Another replica leads: what we remember is about to become old. Only that a webhook was sent is true for ever.
    pub fn clear(&self) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.retain(|_, note| !note.calls.is_empty());
        for note in notes.values_mut() {
            *note = Note { calls: std::mem::take(&mut note.calls), ..Note::default() };
        }
    }
}

/// A record's `ConfigMap` as it is kept: all of its contents, since a Deployment or the record itself may have to be made again from them.
#[must_use]
pub fn kept_of_record(config_map: &Value) -> Arc<[u8]> {
    let mut kept = config_map.clone();
    super::object::strip(&mut kept, false);
    serde_json::to_vec(&kept).unwrap_or_default().into()
}
