//! A service that is deleted while Services of its revisions stand in a route of the user's: the route is handed back first.
//!
//! Nothing else needs that. A finalizer therefore stands on a service only while a route is lent to it, and a deletion at any other time needs no
//! operator alive.

use super::snapshot::{Child, Kind, ObjectKey, Snapshot};
use super::traffic::users_route;
use super::writes::Write;
use super::{Decision, Event};

/// Says that a route has to be handed back before the service may go.
pub const FINALIZER: &str = "plimsoll.dev/route";

/// Somebody has deleted the service.
#[must_use]
pub fn is_deleted(snapshot: &Snapshot) -> bool {
    snapshot.service.metadata.deletion_timestamp.is_some()
}

/// What of the service's finalizers has to change: ours stands there while a route is lent.
#[must_use]
pub fn finalizers(snapshot: &Snapshot, lent: bool) -> Option<Write> {
    let seen = snapshot.service.metadata.finalizers.clone().unwrap_or_default();
    if seen.iter().any(|finalizer| finalizer == FINALIZER) == lent || is_deleted(snapshot) && lent {
        return None;
    }
    let others = seen.iter().filter(|finalizer| *finalizer != FINALIZER).cloned();
    let wanted = others.chain(lent.then(|| FINALIZER.to_owned())).collect();
    Some(Write::Finalizers { seen, wanted })
}

/// Hands every route back, then lets the service go. Status stays as it is: nobody waits for it any more.
#[must_use]
pub fn decide(snapshot: &Snapshot) -> Decision {
    let name = snapshot.service.metadata.name.as_deref().unwrap_or_default();
    let lent = |(key, child): &(&ObjectKey, &Child)| {
        matches!(key.kind, Kind::HttpRoute | Kind::GrpcRoute) && !child.ours && !child.deleting && users_route::is_lent(name, &child.body)
    };
    let lent: Vec<_> = snapshot.children.iter().filter(lent).collect();
    let event = |(key, _): &(&ObjectKey, &Child)| Event::normal("RouteHandedBack", format!("{key} leads to Service {name} alone again"));
    Decision {
        status: snapshot.service.status.clone().unwrap_or_default(),
        writes: if lent.is_empty() {
            finalizers(snapshot, false).into_iter().collect()
        } else {
            lent.iter().filter_map(|(key, child)| users_route::hand_back(name, key, child)).collect()
        },
        events: lent.iter().map(event).collect(),
        wake: None,
        judge: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::ProductionService;
    use crate::decide::Measurements;

    fn snapshot(deleted: bool, finalizers: &[&str], backends: &serde_json::Value) -> Snapshot {
        let mut service: ProductionService = serde_json::from_value(json!({
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ProductionService",
            "metadata": {"name": "shop", "namespace": "n", "uid": "u", "finalizers": finalizers},
            "spec": {"image": "shop:1", "ports": [{"name": "http", "port": 80}]},
        }))
        .unwrap();
        if deleted {
            service.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-30T10:00:00Z")).unwrap();
        }
        let route = Child {
            uid: "r".into(),
            resource_version: "7".into(),
            ours: false,
            deleting: false,
            body: json!({"spec": {"rules": [{"backendRefs": backends}]}}),
        };
        let mut snapshot = Snapshot::of(service);
        snapshot.children.insert(ObjectKey::new(Kind::HttpRoute, "public"), route);
        snapshot
    }

    #[test]
    fn a_route_is_handed_back_before_the_service_goes() {
        let divided = json!([
            {"name": "shop", "port": 80, "weight": 0},
            {"name": "shop-0123456789", "port": 80, "weight": 80},
            {"name": "shop-abcdef0123", "port": 80, "weight": 20},
            {"name": "cart", "port": 80, "weight": 100},
        ]);
        let snapshot_then = snapshot(true, &["theirs", FINALIZER], &divided);
        let decision = crate::decide::decide(&snapshot_then, &Measurements::default(), jiff::Timestamp::UNIX_EPOCH);
        let [Write::Reroute { exchanges, .. }] = decision.writes.as_slice() else { panic!("{:#?}", decision.writes) };
        let back = json!([{"name": "shop", "port": 80, "weight": 100}, {"name": "cart", "port": 80, "weight": 100}]);
        assert_eq!(exchanges[0].wanted, back);
        let then = decide(&snapshot(true, &["theirs", FINALIZER], &back)).writes;
        assert_eq!(then, [Write::Finalizers { seen: vec!["theirs".into(), FINALIZER.into()], wanted: vec!["theirs".into()] }]);
        assert_eq!(decide(&snapshot(true, &["theirs"], &back)).writes, [], "somebody else's finalizer is not ours to take away");
    }

    #[test]
    fn ours_stands_there_only_while_a_route_is_lent() {
        let alone = json!([{"name": "shop", "port": 80}]);
        let wanted = |finalizers: &[&str], lent| match super::finalizers(&snapshot(false, finalizers, &alone), lent) {
            Some(Write::Finalizers { wanted, .. }) => Some(wanted),
            _ => None,
        };
        assert_eq!(wanted(&["theirs"], true), Some(vec!["theirs".to_owned(), FINALIZER.to_owned()]));
        assert_eq!(wanted(&[FINALIZER], true), None);
        assert_eq!(wanted(&[FINALIZER], false), Some(vec![]));
        assert_eq!(wanted(&[], false), None);
    }
}
