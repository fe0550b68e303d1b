//! Counts of pods per revision, out of a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use super::analysis::signals::Refused;
use super::plan::Plan;
use super::snapshot::{Kind, ObjectKey, Snapshot};
use super::strategy::Front;
use super::traffic::{self, Routed, gateway_api, users_route};

/// A revision's pods, as seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deployed {
    /// `spec.replicas` of its Deployment; `None` where there is no Deployment.
    pub asked: Option<i32>,
    /// Pods that are there and are not ending.
    pub present: i32,
    /// Those of them that are ready.
    pub up: i32,
    /// Those of them that are ready, as far as they are still asked for: what is too many ends at any moment.
    pub ready: i32,
}

/// What the cluster shows of the revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// By revision.
    pub revisions: BTreeMap<String, Deployed>,
    /// What the front Service selects; `None` where there is no such Service.
    pub front: Option<Front>,
    /// What the route shows; `None` where there is none.
    pub route: Option<Routed>,
    /// Revisions whose Services routes of users' own name that do not count, or no longer.
    pub lent: BTreeSet<String>,
    /// Revisions that have a Service of their own.
    pub services: BTreeSet<String>,
    /// Endpoints of each revision's own Service that are ready.
    pub endpoints: BTreeMap<String, i32>,
    /// Pods that could not be created, with the API server's words.
    pub refused: Vec<Refused>,
}

impl Facts {
    /// The facts of a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let name = snapshot.service.metadata.name.as_deref().unwrap_or_default();
        let mut facts = Self::default();
        for (_, child) in snapshot.children.iter().filter(|(key, child)| key.kind == Kind::Deployment && child.ours && !child.deleting) {
            let Some(revision) = child.body["metadata"]["labels"]["plimsoll.dev/revision"].as_str() else { continue };
            let asked = child.body["spec"]["replicas"].as_i64().and_then(|asked| i32::try_from(asked).ok()).unwrap_or(1);
            facts.revisions.entry(revision.to_owned()).or_default().asked = Some(asked);
            let conditions = child.body["status"]["conditions"].as_array().into_iter().flatten();
            facts.refused.extend(
                conditions.filter(|condition| condition["type"] == "ReplicaFailure" && condition["status"] == "True").map(|condition| {
                    Refused {
                        revision: revision.to_owned(),
                        message: condition["message"].as_str().unwrap_or("pods are refused").to_owned(),
                    }
                }),
            );
        }
        for pod in snapshot.pods.iter().filter(|pod| !pod.state.terminating) {
            let deployed = facts.revisions.entry(pod.state.revision.clone()).or_default();
            deployed.present += 1;
            deployed.up += i32::from(pod.state.ready);
        }
        for deployed in facts.revisions.values_mut() {
            deployed.ready = deployed.up.min(deployed.asked.unwrap_or(deployed.up));
        }
        facts.front = snapshot.children.get(&ObjectKey::new(Kind::Service, name)).filter(|child| child.ours).map(|child| {
            let revision = child.body["spec"]["selector"]["plimsoll.dev/revision"].as_str();
            revision.map_or(Front::All, |revision| Front::One(revision.to_owned()))
        });
        let services = snapshot.children.iter().filter(|(key, child)| key.kind == Kind::Service && child.ours);
        let own = services.filter_map(|(_, child)| child.body["metadata"]["labels"]["plimsoll.dev/revision"].as_str());
        facts.services = own.map(str::to_owned).collect();
        facts.routes(snapshot, name);
        for (_, slice) in snapshot.children.iter().filter(|(key, _)| key.kind == Kind::EndpointSlice) {
            let Some(revision) = slice.body["metadata"]["labels"]["plimsoll.dev/revision"].as_str() else { continue };
            let ready = slice.body["endpoints"].as_array().into_iter().flatten().filter(|endpoint| endpoint["conditions"]["ready"] == true);
            *facts.endpoints.entry(revision.to_owned()).or_default() += i32::try_from(ready.count()).unwrap_or(i32::MAX);
        }
        facts
    }

    /// The route that counts, and those of users' own that name revisions although they do not count, or no longer.
    fn routes(&mut self, snapshot: &Snapshot, name: &str) {
        let users = traffic::users(&snapshot.service.spec);
        let selected = self.front.as_ref().and_then(|front| if let Front::One(revision) = front { Some(revision.clone()) } else { None });
        let routes =
            snapshot.children.iter().filter(|(key, child)| matches!(key.kind, Kind::HttpRoute | Kind::GrpcRoute) && !child.deleting);
        for (key, child) in routes {
            if users.as_ref() == Some(key) {
                self.route = Some(users_route::observed(name, key, &child.body, selected.as_deref()));
            } else if child.ours && key.name == name && users.is_none() {
                self.route.get_or_insert_with(|| gateway_api::observed(name, &child.body));
            } else if !child.ours {
                self.lent.extend(users_route::named(name, &child.body).map(str::to_owned));
            }
        }
    }

    /// The user's own route that the spec names is not there: in words.
    #[must_use]
    pub fn missing_route(&self, plan: &Plan) -> Option<String> {
        let users = plan.route.as_ref().filter(|route| route.known)?.users.as_ref()?;
        let kind = users.kind.names().1;
        self.route.is_none().then(|| {
            format!(
                "there is no {kind} {} with the label plimsoll.dev/service={} in this namespace: create it, or let its owner add the label",
                users.name, plan.name
            )
        })
    }

    /// A revision's pods; zero where nothing is known of it.
    #[must_use]
    pub fn deployed(&self, revision: &str) -> Deployed {
        self.revisions.get(revision).copied().unwrap_or_default()
    }

    /// Pods that a revision's Deployment asks for.
    #[must_use]
    pub fn asked(&self, revision: &str) -> i32 {
        self.deployed(revision).asked.unwrap_or(0)
    }

    /// Ready pods of a revision that its own Service is seen to lead to.
    #[must_use]
    pub fn reachable(&self, revision: &str) -> i32 {
        self.ready(revision).min(self.endpoints.get(revision).copied().unwrap_or(0))
    }

    /// Percent of the requests that the route asks for; `None` where nothing divides them.
    #[must_use]
    pub fn weight(&self, revision: &str) -> Option<i32> {
        self.route.as_ref().filter(|route| !route.weights.is_empty()).map(|route| route.weights.get(revision).copied().unwrap_or(0))
    }

    /// Ready pods of a revision.
    #[must_use]
    pub fn ready(&self, revision: &str) -> i32 {
        self.deployed(revision).ready
    }
}
