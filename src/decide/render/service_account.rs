//! The identity that the pods run under, unless the team names one that exists.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::container::prune;
use super::ownership::Owner;
use crate::api::ProductionServiceSpec;
use crate::decide::plan::Plan;
use crate::decide::snapshot::{Kind, ObjectKey};

/// The service's own account, with the registry credentials of the namespace's `default` account: teams that set these up there expect
/// them to work.
#[must_use]
pub fn service_account(plan: &Plan, pull_secrets: &[String]) -> Value {
    let annotations: Option<&BTreeMap<String, String>> = plan.spec.service_account.as_ref().map(|account| &account.annotations);
    let mut body = json!({
        "metadata": {"annotations": annotations},
        "automountServiceAccountToken": false,
        "imagePullSecrets": image_pull_secrets(&plan.spec, pull_secrets),
    });
    prune(&mut body);
    Owner::of(plan).object(&ObjectKey::new(Kind::ServiceAccount, &plan.name), None, body)
}

/// Whether pods of this spec run under the service's own account.
#[must_use]
pub fn uses_own(spec: &ProductionServiceSpec) -> bool {
    spec.service_account.as_ref().is_none_or(|account| account.name.is_none())
}

/// The namespace's pull secrets and the spec's, each once.
#[must_use]
pub fn image_pull_secrets(spec: &ProductionServiceSpec, pull_secrets: &[String]) -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for name in pull_secrets.iter().chain(spec.image_pull_secrets.iter().map(|secret| &secret.name)) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.into_iter().map(|name| json!({"name": name})).collect()
}
