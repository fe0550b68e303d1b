//! The functional core: arguments in, values out. No clock, no I/O, no randomness, no logging.
//!
//! ```text
//! observe (I/O) ─► Snapshot ─► due(snapshot, now) ─► measure (I/O) ─► decide(snapshot, measurements, now) ─► Decision ─► apply (I/O)
//! ```
//! [`decide`] is total and made of four functions: `plan` (spec → [`plan::Plan`], the only home of defaults), `advance` (moves the
//! rollout, the only place that does), `render` (state → objects) and `report` (→ conditions, events, the sentence for people).
//! The controller, the simulator and the command line all run this same function.

pub mod advance;
pub mod analysis;
pub mod commands;
pub mod facts;
pub mod judgement;
pub mod memory;
pub mod plan;
pub mod render;
pub mod report;
pub mod revision;
pub mod snapshot;
pub mod strategy;
pub mod units;
pub mod writes;

use jiff::Timestamp;

use crate::api::ProductionServiceStatus;
use analysis::Judge;
pub use snapshot::{Child, Contents, Kind, Measurements, ObjectKey, Pod, Record, Request, Snapshot};
pub use writes::Write;

/// What shall be done, in this order: status (if it changed), writes, events; and when to look again.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The whole new status. Written first, under the resourceVersion of [`Snapshot::service`], if it differs from the one there.
    pub status: ProductionServiceStatus,
    /// Writes to objects, in order.
    pub writes: Vec<Write>,
    /// What to tell people. A courtesy: nothing is decided by them.
    pub events: Vec<Event>,
    /// The earliest moment at which this decision may become another one without anything being seen.
    pub wake: Option<Timestamp>,
    /// The judge of the rollout that is on, for the next snapshot.
    pub judge: Option<Judge>,
}

/// Something to tell people, attached to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Something to worry about.
    pub warning: bool,
    /// One word, `CamelCase`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl Event {
    /// Something to know.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: false, reason, message: message.into() }
    }

    /// Something to worry about.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, reason, message: message.into() }
    }
}
