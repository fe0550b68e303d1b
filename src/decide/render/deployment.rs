//! A revision's Deployment, made from the pod template of its record.

use serde_json::{Value, json};

use super::ownership::{Owner, revision_key, selector};
use crate::decide::plan::Plan;
use crate::decide::snapshot::Kind;

/// The Deployment of a revision with this pod template and so many replicas.
///
/// Its own strategy matters only when somebody edits the template and plimsoll puts it back: no pod goes before another one is ready.
#[must_use]
pub fn deployment(plan: &Plan, revision: &str, pod_template: &Value, replicas: i32) -> Value {
    let key = revision_key(Kind::Deployment, &plan.name, revision);
    Owner::of(plan).object(
        &key,
        Some(revision),
        json!({"spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector(&plan.name, Some(revision))},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "progressDeadlineSeconds": plan.progress_deadline_seconds,
            // A template never changes: there is nothing to go back to inside a Deployment.
            "revisionHistoryLimit": 0,
            "template": pod_template,
        }}),
    )
}
