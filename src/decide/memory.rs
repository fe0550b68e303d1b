//! The memory in status, and what to do when it is lost.

use super::facts::Facts;
use super::snapshot::Snapshot;
use crate::api::status::{Memory, Quarantined};

/// What status remembers. After a loss (a restored backup) it is rebuilt from what the cluster shows: the revision with most ready pods is
/// stable. Anything else that the spec asks for then starts as a candidate; there is never a silent promotion.
#[must_use]
pub fn recall(snapshot: &Snapshot, facts: &Facts) -> Memory {
    let written = snapshot.service.status.as_ref().and_then(|status| status.rollout.clone());
    written.unwrap_or_else(|| {
        let serving = facts.revisions.iter().filter(|(_, deployed)| deployed.ready > 0 && deployed.asked.is_some());
        let stable = serving.max_by_key(|(_, deployed)| deployed.ready).map(|(revision, _)| revision.clone());
        Memory { stable, ..Memory::default() }
    })
}

/// The revisions that were taken back.
#[must_use]
pub fn quarantined(snapshot: &Snapshot) -> Vec<Quarantined> {
    snapshot.service.status.as_ref().map(|status| status.quarantined.clone()).unwrap_or_default()
}
