//! The memory in status, and what to do when it is lost.

use std::cmp::Reverse;

use super::facts::{Deployed, Facts};
use super::render::ownership::QUARANTINED;
use super::snapshot::{Kind, Snapshot};
use super::strategy::Front;
use crate::api::status::{Memory, Quarantined};

/// Earlier stable revisions that are kept at 0 replicas.
pub const HISTORY: usize = 2;

/// What status remembers. After a loss (a restored backup) it is rebuilt from what the cluster shows: the revision with most traffic is stable.
/// `wanted` is the revision that the spec describes: whatever else is equal, the other one is stable, since there is never a silent promotion.
#[must_use]
pub fn recall(snapshot: &Snapshot, facts: &Facts, wanted: Option<&str>) -> Memory {
    let written = snapshot.service.status.as_ref().and_then(|status| status.rollout.clone());
    written.unwrap_or_else(|| rebuilt(facts, wanted))
}

/// Whether there is no memory although there are Deployments.
#[must_use]
pub fn lost(snapshot: &Snapshot, memory: &Memory) -> bool {
    memory.stable.is_some() && snapshot.service.status.as_ref().is_none_or(|status| status.rollout.is_none())
}

fn rebuilt(facts: &Facts, wanted: Option<&str>) -> Memory {
    let routed =
        |revision: &str| facts.front.as_ref().is_none_or(|front| *front == Front::All || *front == Front::One(revision.to_owned()));
    let mut deployed: Vec<(&String, &Deployed)> = facts.revisions.iter().filter(|(_, deployed)| deployed.asked.is_some()).collect();
    deployed.sort_by_key(|(revision, deployed)| {
        let serving = if routed(revision) { deployed.ready } else { 0 };
        let serving = facts.weight(revision).filter(|_| deployed.ready > 0).unwrap_or(serving);
        (Reverse(serving), Reverse(deployed.asked), wanted == Some(revision.as_str()))
    });
    // The spec's own revision without a ready pod has never served: it comes up as the first one does. Another one did serve, once.
    let served = |(revision, deployed): &(&String, &Deployed)| {
        deployed.ready > 0 || (deployed.asked > Some(0) && wanted.is_some_and(|wanted| wanted != revision.as_str()))
    };
    let Some(stable) = deployed.iter().find(|found| served(found)).map(|(revision, _)| (*revision).clone()) else {
        return Memory::default();
    };
    let history =
        deployed.into_iter().map(|(revision, _)| revision).filter(|revision| **revision != stable).take(HISTORY).cloned().collect();
    Memory { stable: Some(stable), history, ..Memory::default() }
}

/// The revisions that were taken back; after a loss, those whose records say so.
#[must_use]
pub fn quarantined(snapshot: &Snapshot) -> Vec<Quarantined> {
    match &snapshot.service.status {
        Some(status) if status.rollout.is_some() || !status.quarantined.is_empty() => status.quarantined.clone(),
        _ => {
            let records = snapshot.children.iter().filter(|(key, child)| key.kind == Kind::ConfigMap && child.ours && !child.deleting);
            let entries = records.filter_map(|(_, record)| record.body["metadata"]["annotations"][QUARANTINED].as_str());
            let mut found: Vec<Quarantined> = entries.filter_map(|entry| serde_json::from_str(entry).ok()).collect();
            found.sort_by_key(|entry| entry.at);
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(revisions: &[(&str, i32, i32)], front: Option<Front>) -> Facts {
        let deployed = |asked, ready| Deployed { asked: Some(asked), present: ready, up: ready, ready };
        let revisions = revisions.iter().map(|(revision, asked, ready)| ((*revision).to_owned(), deployed(*asked, *ready))).collect();
        Facts { revisions, front, ..Facts::default() }
    }

    #[test]
    fn the_revision_with_most_traffic_is_stable() {
        let one = |revision: &str| Some(Front::One(revision.to_owned()));
        let cases = [
            // why                                                       asked and ready               front            wanted     stable
            ("nothing was ever deployed", vec![], None, Some("b"), None),
            ("one revision serves", vec![("a", 2, 2)], one("a"), Some("a"), Some("a")),
            ("mid-canary", vec![("a", 4, 4), ("b", 1, 1)], Some(Front::All), Some("b"), Some("a")),
            ("as many of both: never a silent promotion", vec![("a", 4, 4), ("b", 4, 4)], Some(Front::All), Some("b"), Some("a")),
            ("the same, named the other way round", vec![("a", 4, 4), ("b", 4, 4)], Some(Front::All), Some("a"), Some("b")),
            ("the traffic counts, not the pods", vec![("a", 2, 1), ("b", 4, 4)], one("a"), Some("b"), Some("a")),
            ("the first revision is still coming up", vec![("a", 2, 0)], one("a"), Some("a"), None),
            (
                "an outage: the one that is not asked for now did serve",
                vec![("a", 2, 0), ("b", 1, 0)],
                Some(Front::All),
                Some("b"),
                Some("a"),
            ),
            ("what is at 0 replicas serves nobody", vec![("a", 0, 0), ("b", 2, 0)], one("b"), Some("b"), None),
        ];
        for (why, revisions, front, wanted, stable) in cases {
            assert_eq!(rebuilt(&found(&revisions, front), wanted).stable.as_deref(), stable, "{why}");
        }
    }
}
