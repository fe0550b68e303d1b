//! State → objects: everything that shall exist. No clock: the same state gives the same objects.
//!
//! What belongs to a revision (pod template, configuration, accepted spec) is rendered once, into its record, and served from there ever
//! after. What belongs to the service (front Service, autoscaler, network policy, account) is rendered from the plan each time.

pub mod autoscaler;
pub mod config;
mod container;
pub mod deployment;
pub mod disruption_budget;
pub mod job;
pub mod matching;
pub mod network_policy;
pub mod ownership;
pub mod pod_template;
pub mod probe;
pub mod quantity;
mod record;
mod scheduling;
pub mod service;
pub mod service_account;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use super::plan::Plan;
use super::snapshot::{Kind, ObjectKey, Record, Snapshot};
use super::strategy::Target;
use super::traffic::gateway_api;
use crate::api::network::Policy;
use crate::api::pod::{Port, Protocol};
use ownership::revision_key;
pub use record::{Unreadable, record};

/// Every object that shall exist.
///
/// The plan's revision is rendered if it has no record yet. A revision without a record that is not the plan's cannot be rendered: its
/// Deployment keeps the pod template that it has, and only its number of pods moves.
#[must_use]
pub fn all(plan: &Plan, snapshot: &Snapshot, target: &Target) -> BTreeMap<ObjectKey, Value> {
    let template = |revision: &str| {
        let live = snapshot.children.get(&revision_key(Kind::Deployment, &plan.name, revision)).filter(|child| child.ours)?;
        Some(&live.body["spec"]["template"])
    };
    let fresh = (!snapshot.records.contains_key(&plan.revision))
        .then(|| record(plan, &snapshot.config_maps, &snapshot.pull_secrets, template(&plan.revision)));
    let record_of = |revision: &str| match &fresh {
        Some(record) if revision == plan.revision => Some(record),
        _ => snapshot.records.get(revision),
    };
    let serving = serving_ports(plan, target, &record_of);
    let mut wanted = BTreeMap::new();

    let own_account = |revision: &String| record_of(revision).is_some_and(|record| service_account::uses_own(&record.spec));
    if service_account::uses_own(&plan.spec) || target.replicas.keys().any(own_account) {
        wanted.insert(ObjectKey::new(Kind::ServiceAccount, &plan.name), service_account::service_account(plan, &snapshot.pull_secrets));
    }
    for revision in target.records.iter().chain(target.replicas.keys()) {
        let key = revision_key(Kind::ConfigMap, &plan.name, revision);
        match record_of(revision) {
            Some(known) => {
                let quarantined = target.quarantined.iter().find(|entry| entry.revision == *revision);
                wanted.insert(key, record::config_map(plan, revision, known, quarantined))
            }
            None => as_it_is(snapshot, key, &mut wanted),
        };
    }
    for (revision, replicas) in &target.replicas {
        let key = revision_key(Kind::Deployment, &plan.name, revision);
        match record_of(revision) {
            Some(record) => wanted.insert(key, deployment::deployment(plan, revision, &record.pod_template, *replicas)),
            None => template(revision).and_then(|template| {
                let live = deployment::deployment(plan, revision, template, *replicas);
                wanted.insert(key, live)
            }),
        };
        if *replicas > 0 {
            let key = revision_key(Kind::PodDisruptionBudget, &plan.name, revision);
            wanted.insert(key, disruption_budget::disruption_budget(plan, revision));
        }
    }
    if let Some(network) = plan.spec.network.as_ref().filter(|network| network.policy == Some(Policy::Isolated)) {
        let policy = network_policy::network_policy(plan, network, &serving, &snapshot.operator_namespace);
        wanted.insert(ObjectKey::new(Kind::NetworkPolicy, &plan.name), policy);
        if plan.gates.have_jobs() {
            let policy = network_policy::of_jobs(plan, network);
            wanted.insert(ObjectKey::new(Kind::NetworkPolicy, network_policy::jobs_name(&plan.name)), policy);
        }
    }
    if let Some(service) = service::service(plan, &serving, &target.front) {
        wanted.insert(ObjectKey::new(Kind::Service, &plan.name), service);
    }
    let preview = target.preview.as_deref().and_then(|revision| service::preview(plan, revision, &record_of(revision)?.spec.ports));
    let preview_key = ObjectKey::new(Kind::Service, service::preview_name(&plan.name));
    if let Some(preview) = preview {
        wanted.insert(preview_key.clone(), preview);
    }
    for revision in &target.services {
        let own = record_of(revision).and_then(|record| service::of_revision(plan, revision, &record.spec.ports));
        let key = revision_key(Kind::Service, &plan.name, revision);
        match own {
            Some(own) => wanted.insert(key, own),
            None => as_it_is(snapshot, key, &mut wanted),
        };
    }
    if let Some(route) = plan.route.as_ref().filter(|route| route.known && route.users.is_none()) {
        let (key, body) = gateway_api::route(plan, route, target);
        wanted.insert(key, body);
        wanted.extend(gateway_api::preview(plan, route).filter(|_| wanted.contains_key(&preview_key)));
    }
    if let Some(scaling) = &plan.spec.scaling {
        wanted.insert(ObjectKey::new(Kind::HorizontalPodAutoscaler, &plan.name), autoscaler::autoscaler(plan, scaling));
    }
    // A Job that exists is never changed.
    for (key, child) in snapshot.children.iter().filter(|(key, child)| key.kind == Kind::Job && job::is_kept(child, target)) {
        wanted.insert(key.clone(), child.body.clone());
    }
    for ordered in &target.jobs {
        let key = ObjectKey::new(Kind::Job, &ordered.name);
        if let Some(record) = record_of(&ordered.revision).filter(|_| !wanted.contains_key(&key))
            && let Some(made) = job::job(plan, ordered, &record.pod_template)
        {
            wanted.insert(key, made);
        }
    }
    wanted
}

fn as_it_is(snapshot: &Snapshot, key: ObjectKey, wanted: &mut BTreeMap<ObjectKey, Value>) -> Option<Value> {
    let body = snapshot.children.get(&key)?.body.clone();
    wanted.insert(key, body)
}

/// Ports of the revisions that have pods: stable's first, since callers know them, the plan's own last, the newest. Without any pods: of the
/// plan.
fn serving_ports<'a>(plan: &'a Plan, target: &Target, record_of: &impl Fn(&str) -> Option<&'a Record>) -> Vec<&'a [Port]> {
    let with_pods = target.replicas.iter().filter(|(_, replicas)| **replicas > 0).map(|(revision, _)| revision.as_str());
    let mut oldest_first: Vec<&str> = with_pods.collect();
    oldest_first.sort_by_key(|revision| (target.stable.as_deref() != Some(*revision), *revision == plan.revision));
    let ports: Vec<&[Port]> = oldest_first.into_iter().filter_map(record_of).map(|record| record.spec.ports.as_slice()).collect();
    if ports.is_empty() { vec![plan.spec.ports.as_slice()] } else { ports }
}

/// The protocol's name in Kubernetes.
fn protocol(port: &Port) -> &'static str {
    match port.protocol.unwrap_or_default() {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Sctp => "SCTP",
    }
}
