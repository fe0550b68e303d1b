//! What is to be written: the difference between what shall be and what was seen, in order.

use std::collections::BTreeMap;

use serde_json::Value;

use super::render::matching::{additions, matches};
use super::render::ownership::QUARANTINED;
use super::snapshot::{Child, Kind, ObjectKey};

/// One write. The shell carries them out in order and stops at the first that fails.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Nothing is there: after a fresh read has said so, apply it without force.
    Create {
        /// Which object.
        key: ObjectKey,
        /// All of it.
        body: Value,
    },
    /// It is there and differs: apply all of it, with uid and resourceVersion as seen.
    Apply {
        /// Which object.
        key: ObjectKey,
        /// All of it, uid and resourceVersion included.
        body: Value,
        /// JSON pointers of what somebody else has added and no apply takes away, in an order in which it can be removed: before the apply, under
        /// the same resourceVersion.
        remove: Vec<String>,
        /// This write takes something away from users if what it rests on is stale (fewer pods, a narrower selector): the shell decides again on a
        /// fresh read before it carries it out.
        guarded: bool,
    },
    /// It shall not be there: delete it, with uid and resourceVersion as seen.
    Delete {
        /// Which object.
        key: ObjectKey,
        /// Its uid.
        uid: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// It is the user's own, and names our backends: exchange lists in it, with uid and resourceVersion as seen.
    Reroute {
        /// Which object.
        key: ObjectKey,
        /// Its uid.
        uid: String,
        /// Its resourceVersion.
        resource_version: String,
        /// What takes the place of what.
        exchanges: Vec<Exchange>,
    },
    /// Change the service's own finalizers, if they still are those that were seen.
    Finalizers {
        /// What was seen.
        seen: Vec<String>,
        /// What shall be there.
        wanted: Vec<String>,
    },
    /// Give the scale subresource a value to begin with: an autoscaler reads nothing while `spec.replicas` is absent.
    Scale {
        /// The value.
        replicas: i32,
    },
}

/// A part of an object that is exchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// JSON pointer of it.
    pub pointer: String,
    /// What was seen there.
    pub seen: Value,
    /// What shall be there.
    pub wanted: Value,
}

impl Write {
    /// The object that is written; `None` for the service itself.
    #[must_use]
    pub const fn key(&self) -> Option<&ObjectKey> {
        match self {
            Self::Create { key, .. } | Self::Apply { key, .. } | Self::Delete { key, .. } | Self::Reroute { key, .. } => Some(key),
            Self::Finalizers { .. } | Self::Scale { .. } => None,
        }
    }

    /// Whether the shell has to decide again on a fresh read before carrying it out.
    #[must_use]
    pub const fn guarded(&self) -> bool {
        matches!(self, Self::Apply { guarded: true, .. } | Self::Delete { .. } | Self::Reroute { .. })
    }
}

/// Writes that turn `children` into `wanted`: creations and changes in apply order, then deletions in reverse order.
///
/// Foreign objects are neither written nor deleted. `shrinks` says which changes take something away.
#[must_use]
pub fn difference(wanted: &BTreeMap<ObjectKey, Value>, children: &BTreeMap<ObjectKey, Child>) -> Vec<Write> {
    let mut writes = Vec::new();
    for (key, body) in wanted {
        match children.get(key) {
            None => writes.push(Write::Create { key: key.clone(), body: body.clone() }),
            Some(child) if !child.ours || child.deleting => {}
            // A record is immutable; its contents are not watched. Whose it is, how it is found and what became of its revision are all there is.
            Some(child) if key.kind == Kind::ConfigMap && is_same_record(body, &child.body) => {}
            Some(child) if matches(body, &child.body) => {}
            Some(child) => {
                let guarded = takes_away(key.kind, body, &child.body);
                // A route's lists are atomic: an apply replaces them, and without its parent for a moment it would serve nobody.
                let atomic = matches!(key.kind, Kind::HttpRoute | Kind::GrpcRoute);
                let remove = if atomic { Vec::new() } else { additions(body, &child.body) };
                let mut body = body.clone();
                body["metadata"]["uid"] = child.uid.clone().into();
                body["metadata"]["resourceVersion"] = child.resource_version.clone().into();
                writes.push(Write::Apply { key: key.clone(), body, remove, guarded });
            }
        }
    }
    let superfluous = children.iter().rev().filter(|(key, child)| child.ours && !child.deleting && !wanted.contains_key(*key));
    writes.extend(superfluous.map(|(key, child)| Write::Delete {
        key: key.clone(),
        uid: child.uid.clone(),
        resource_version: child.resource_version.clone(),
    }));
    writes
}

fn is_same_record(wanted: &Value, live: &Value) -> bool {
    let quarantined = |body: &Value| body["metadata"]["annotations"][QUARANTINED].clone();
    owner(live) == owner(wanted) && has_labels(wanted, live) && quarantined(live) == quarantined(wanted)
}

fn has_labels(wanted: &Value, live: &Value) -> bool {
    let labels = wanted["metadata"]["labels"].as_object();
    labels.is_none_or(|labels| labels.iter().all(|(name, value)| live["metadata"]["labels"][name] == *value))
}

fn owner(body: &Value) -> (&Value, &Value) {
    (&body["metadata"]["ownerReferences"], &body["metadata"]["annotations"]["plimsoll.dev/owner-uid"])
}

fn takes_away(kind: Kind, wanted: &Value, live: &Value) -> bool {
    match kind {
        Kind::Deployment => wanted["spec"]["replicas"].as_i64() < live["spec"]["replicas"].as_i64(),
        Kind::Service => wanted["spec"]["selector"] != live["spec"]["selector"],
        Kind::HttpRoute | Kind::GrpcRoute => true,
        _ => false,
    }
}
