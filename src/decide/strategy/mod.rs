//! How a rollout goes from one revision to the next.
//!
//! `canary` says what comes next ([`canary::next`], one total match); [`target`] says how many pods each revision shall have at this moment
//! and who gets the traffic, [`shares`] how a router divides it. Rolling is not a strategy of its own: the plan expands it into steps.

pub mod canary;
pub mod chosen;
pub mod shares;
pub mod target;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::status::Quarantined;

/// What shall exist beyond what the spec says: which revisions, with how many pods, and who gets the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The stable revision, if there is one.
    pub stable: Option<String>,
    /// Deployments that shall exist, with their replicas, by revision.
    pub replicas: BTreeMap<String, i32>,
    /// Revisions whose record shall exist: those above, and quarantined ones.
    pub records: BTreeSet<String>,
    /// Those of them that are quarantined: their records say so.
    pub quarantined: Vec<Quarantined>,
    /// What the front Service selects.
    pub front: Front,
    /// Percent of the requests that a router shall give each revision, those that get none included. Empty where nothing divides them: a route, if
    /// there is one, leads to the front Service then.
    pub weights: BTreeMap<String, i32>,
    /// The revision that a router shall give the requests of testers, whatever its weight.
    pub matched: Option<String>,
    /// The revision that gets copies of requests, and of how many percent.
    pub mirrored: Option<(String, i32)>,
    /// Revisions that have a Service of their own, which a router names.
    pub services: BTreeSet<String>,
    /// The revision that the preview Service selects, if there is one.
    pub preview: Option<String>,
    /// Jobs of gates that shall be made if they do not exist.
    pub jobs: Vec<OrderedJob>,
    /// Rollouts whose Jobs are kept.
    pub rollouts: BTreeSet<String>,
    /// Revisions that take traffic, for `status.selector`: the autoscaler counts their pods.
    pub routed: Vec<String>,
}

/// A Job that status orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderedJob {
    /// Its name.
    pub name: String,
    /// The gate that waits for it.
    pub gate: String,
    /// The revision that it is like.
    pub revision: String,
    /// The rollout that it belongs to.
    pub rollout: String,
    /// Requests per second that it shall send, of a load test.
    pub target: Option<String>,
}

/// What the front Service selects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Front {
    /// The pods of every revision.
    #[default]
    All,
    /// The pods of one revision.
    One(String),
}
