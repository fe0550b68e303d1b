//! Whose an object is, and how that is written on it.
//!
//! An object is ours if its controlling owner is the service, by uid. Under `deletionPolicy: orphan` there is no owner, since the garbage
//! collector would act on it; the annotation [`OWNER_UID`] says the same. Everything else under one of our names is foreign: never
//! adopted, never overwritten, unless its owner hands it over with the annotation [`ADOPT`].

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::service::DeletionPolicy;
use crate::decide::plan::Plan;
use crate::decide::revision::digest;
use crate::decide::snapshot::{Child, Kind, ObjectKey};

/// Label: name of the service that the object belongs to.
pub const SERVICE: &str = "plimsoll.dev/service";
/// Label: the revision that the object belongs to.
pub const REVISION: &str = "plimsoll.dev/revision";
/// Label of a Job: the rollout that it belongs to.
pub const ROLLOUT: &str = "plimsoll.dev/rollout";
/// Label of a Job: the gate that it belongs to.
pub const GATE: &str = "plimsoll.dev/gate";
/// Label of a Job's pods: the service whose gate they are. They do not carry [`SERVICE`]: nothing that selects the service's pods means them.
pub const GATES_OF: &str = "plimsoll.dev/gates-of";
/// Annotation: uid of the service that the object belongs to although it must not be deleted with it.
pub const OWNER_UID: &str = "plimsoll.dev/owner-uid";
/// Annotation: uid or name of the service that a foreign object is handed over to.
pub const ADOPT: &str = "plimsoll.dev/adopt";
/// Annotation of a revision's record: its entry in `status.quarantined`.
pub const QUARANTINED: &str = "plimsoll.dev/quarantined";
/// Annotation: hash of the object as rendered.
pub const APPLIED: &str = "plimsoll.dev/applied";

/// The service that objects are rendered for.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// What deleting it does to the object.
    pub deletion: DeletionPolicy,
}

impl<'a> Owner<'a> {
    /// The owner of everything that a plan describes.
    #[must_use]
    pub fn of(plan: &'a Plan) -> Self {
        Self { name: &plan.name, namespace: &plan.namespace, uid: &plan.uid, deletion: plan.spec.deletion_policy.unwrap_or_default() }
    }

    /// Labels of the service's objects, and with `revision` of that revision's.
    #[must_use]
    pub fn labels(&self, revision: Option<&str>) -> BTreeMap<String, String> {
        let mut labels = selector(self.name, revision);
        labels.insert("app.kubernetes.io/name".into(), self.name.into());
        labels.insert("app.kubernetes.io/managed-by".into(), "plimsoll".into());
        labels
    }

    /// Completes a body: kind, metadata, owner, and the hash of it all.
    #[must_use]
    pub fn object(&self, key: &ObjectKey, revision: Option<&str>, mut body: Value) -> Value {
        let (api_version, kind, _) = key.kind.names();
        body["apiVersion"] = api_version.into();
        body["kind"] = kind.into();
        body["metadata"]["name"] = key.name.clone().into();
        body["metadata"]["namespace"] = self.namespace.into();
        body["metadata"]["labels"] = json!(self.labels(revision));
        match self.deletion {
            DeletionPolicy::Orphan => body["metadata"]["annotations"][OWNER_UID] = self.uid.into(),
            DeletionPolicy::Delete => {
                body["metadata"]["ownerReferences"] = json!([{
                    "apiVersion": "plimsoll.dev/v1alpha1",
                    "kind": "ProductionService",
                    "name": self.name,
                    "uid": self.uid,
                    "controller": true,
                    "blockOwnerDeletion": false,
                }]);
            }
        }
        let applied = digest(&body);
        body["metadata"]["annotations"][APPLIED] = applied.into();
        body
    }
}

/// Labels that select the pods of a service, and with `revision` of that one only.
#[must_use]
pub fn selector(service: &str, revision: Option<&str>) -> BTreeMap<String, String> {
    let service = (SERVICE.to_owned(), service.to_owned());
    let revision = revision.map(|revision| (REVISION.to_owned(), revision.to_owned()));
    std::iter::once(service).chain(revision).collect()
}

/// Name of everything that belongs to a revision.
#[must_use]
pub fn revision_name(service: &str, revision: &str) -> String {
    format!("{service}-{revision}")
}

/// Whether a live object belongs to the service of this name and uid.
#[must_use]
pub fn is_ours(body: &Value, name: &str, uid: &str) -> bool {
    let metadata = &body["metadata"];
    let controller = metadata["ownerReferences"].as_array().into_iter().flatten().find(|owner| owner["controller"] == true);
    match controller {
        Some(owner) => owner["uid"] == uid,
        None => metadata["annotations"][OWNER_UID] == uid || [name, uid].iter().any(|ours| metadata["annotations"][ADOPT] == *ours),
    }
}

/// Objects that somebody else has under names that we want: they are left alone, and the service is `Stalled/NameConflict`.
#[must_use]
pub fn conflicts(wanted: &BTreeMap<ObjectKey, Value>, children: &BTreeMap<ObjectKey, Child>) -> Vec<ObjectKey> {
    wanted.keys().filter(|key| children.get(*key).is_some_and(|child| !child.ours)).cloned().collect()
}

/// The object of a kind that exists once per revision.
#[must_use]
pub fn revision_key(kind: Kind, service: &str, revision: &str) -> ObjectKey {
    ObjectKey::new(kind, revision_name(service, revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_what_we_created_or_were_given() {
        let owned = |uid: &str, controller: bool| json!({"ownerReferences": [{"uid": uid, "controller": controller}]});
        let cases = [
            ("our controlled object", owned("u1", true), true),
            ("a namesake that was created anew has another uid", owned("u2", true), false),
            ("an owner that does not control says nothing", owned("u1", false), false),
            ("an orphan carries our uid", json!({"annotations": {OWNER_UID: "u1"}}), true),
            ("another's orphan", json!({"annotations": {OWNER_UID: "u2"}}), false),
            ("handed over by name", json!({"annotations": {ADOPT: "shop"}}), true),
            ("handed over by uid", json!({"annotations": {ADOPT: "u1"}}), true),
            ("handed over to somebody else", json!({"annotations": {ADOPT: "till"}}), false),
            (
                "what another controller owns cannot be handed over",
                json!({"ownerReferences": [{"uid": "u2", "controller": true}], "annotations": {ADOPT: "shop"}}),
                false,
            ),
            ("nobody's", json!({}), false),
        ];
        for (why, metadata, expected) in cases {
            assert_eq!(is_ours(&json!({"metadata": metadata}), "shop", "u1"), expected, "{why}");
        }
    }
}
