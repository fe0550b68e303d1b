//! What was seen, typed: everything that a decision may depend on, and nothing else.
//!
//! The shell (or the simulator) fills a [`Snapshot`]; since `decide` is pure, a saved one *is* the bug report.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::analysis::convention::Reading;
use super::analysis::{Counters, Judge, PodSample, PodState, Scrape};
use super::gates::Neighbour;
use super::gates::webhook::{Call, Outcome};
use super::history::HistoryRequest;
use super::queries::{QueryAnswer, QueryRequest};
use super::traffic::Routing;
use crate::api::ProductionService;

/// The kinds of objects that plimsoll makes, in the order in which they are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `v1/ServiceAccount`.
    ServiceAccount,
    /// `v1/ConfigMap`: a revision's record.
    ConfigMap,
    /// `policy/v1/PodDisruptionBudget`.
    PodDisruptionBudget,
    /// `networking.k8s.io/v1/NetworkPolicy`.
    NetworkPolicy,
    /// `apps/v1/Deployment`.
    Deployment,
    /// `v1/Service`.
    Service,
    /// `autoscaling/v2/HorizontalPodAutoscaler`.
    HorizontalPodAutoscaler,
    /// `gateway.networking.k8s.io/v1/HTTPRoute`.
    HttpRoute,
    /// `gateway.networking.k8s.io/v1/GRPCRoute`.
    GrpcRoute,
    /// `discovery.k8s.io/v1/EndpointSlice`: Kubernetes makes them of our Services; they are only read.
    EndpointSlice,
    /// `batch/v1/Job`: of a gate. Made once, never changed.
    Job,
}

impl Kind {
    /// Those that every cluster has, in the order in which they are applied.
    pub const ALWAYS: [Self; 7] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::PodDisruptionBudget,
        Self::NetworkPolicy,
        Self::Deployment,
        Self::Service,
        Self::HorizontalPodAutoscaler,
    ];
    /// Those that only services with a route need.
    pub const ROUTED: [Self; 3] = [Self::HttpRoute, Self::GrpcRoute, Self::EndpointSlice];

    /// `apiVersion`, `kind` and the plural of the URL.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ServiceAccount => ("v1", "ServiceAccount", "serviceaccounts"),
            Self::ConfigMap => ("v1", "ConfigMap", "configmaps"),
            Self::PodDisruptionBudget => ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::NetworkPolicy => ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            Self::Deployment => ("apps/v1", "Deployment", "deployments"),
            Self::Service => ("v1", "Service", "services"),
            Self::HorizontalPodAutoscaler => ("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
            Self::HttpRoute => ("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
            Self::GrpcRoute => ("gateway.networking.k8s.io/v1", "GRPCRoute", "grpcroutes"),
            Self::EndpointSlice => ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
            Self::Job => ("batch/v1", "Job", "jobs"),
        }
    }
}

/// Which object, within the service's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// The object of this kind and name.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.kind.names().1, self.name)
    }
}

/// An object that exists under a name that is, or may become, ours.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its uid, the precondition of every write to it.
    pub uid: String,
    /// Its resourceVersion as seen, likewise.
    pub resource_version: String,
    /// Ours: its controlling owner is the service (by uid), or it carries the service's uid in `plimsoll.dev/owner-uid`, or it was handed over
    /// by `plimsoll.dev/adopt` naming the service's uid or name. Anything else is foreign and is never touched.
    pub ours: bool,
    /// It has a deletion timestamp.
    pub deleting: bool,
    /// The object without managedFields. Of a `ConfigMap` the metadata only: what is in a record is in [`Snapshot::records`]. Of a Job not the pod
    /// template.
    pub body: Value,
}

/// What a revision is, as it was accepted: read from its immutable `ConfigMap`.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The pod template as rendered when the revision was created (`pod-template.json`).
    pub pod_template: Value,
    /// The spec as it was accepted (`plan.json`): what a rollback needs when the present spec is not accepted.
    pub spec: crate::api::ProductionServiceSpec,
    /// All of the `ConfigMap`, word for word: it is immutable, and whatever is applied to it (another owner) has to repeat it.
    pub contents: Contents,
}

/// Contents of a `ConfigMap` that the spec refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Text by key.
    pub text: BTreeMap<String, String>,
    /// Base64 of binary values by key.
    pub binary: BTreeMap<String, String>,
}

/// A pod of the service, with what is needed to ask it for its metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    /// What the judge sees of it.
    pub state: PodState,
    /// Its address, if it has one.
    pub ip: Option<String>,
    /// When its running container started, if one runs.
    pub started: Option<Timestamp>,
}

/// Everything that a decision may depend on.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The service itself: spec, metadata, and status with the memory in it.
    pub service: ProductionService,
    /// Objects under our label or one of our names.
    pub children: BTreeMap<ObjectKey, Child>,
    /// Records of the revisions that exist, by revision.
    pub records: BTreeMap<String, Record>,
    /// The service's pods, of every revision.
    pub pods: Vec<Pod>,
    /// The `ConfigMaps` that the spec refers to, by name; one that is missing in the cluster is missing here.
    pub config_maps: BTreeMap<String, Contents>,
    /// Names of the imagePullSecrets of the namespace's `default` service account.
    pub pull_secrets: Vec<String>,
    /// Namespace that the operator runs in, for network policies that have to let it in.
    pub operator_namespace: String,
    /// Fields of `spec` set by others beside the autoscaler: the manager's name where it sets `spec.replicas` while `scaling` is on.
    pub replicas_manager: Option<String>,
    /// What the API server said to the last write, if it refused it and will again.
    pub refused: Option<String>,
    /// Prometheus servers that the operator knows, by name, with the seconds between two of their scrapes. `None`: not known here, any may be meant.
    pub providers: Option<BTreeMap<String, i64>>,
    /// The judge of the rollout that is on, kept from the last decision. Absent after a restart: it is resumed from status.
    pub judge: Option<Judge>,
    /// When the pods were last asked for their metrics in this rollout.
    pub measured: Option<Timestamp>,
    /// When the objectives that are queries were last asked in this rollout, by name.
    pub queried: BTreeMap<String, Timestamp>,
    /// What gates look at.
    pub around: Around,
}

impl Snapshot {
    /// A service of which nothing is there but itself.
    #[must_use]
    pub fn of(service: ProductionService) -> Self {
        Self {
            service,
            children: BTreeMap::new(),
            records: BTreeMap::new(),
            pods: Vec::new(),
            config_maps: BTreeMap::new(),
            pull_secrets: Vec::new(),
            operator_namespace: "plimsoll-system".to_owned(),
            replicas_manager: None,
            refused: None,
            providers: None,
            judge: None,
            measured: None,
            queried: BTreeMap::new(),
            around: Around::default(),
        }
    }
}

/// What gates look at beside the service itself.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// The other services that the spec depends on, by name; one that does not exist is missing here.
    pub neighbours: BTreeMap<String, Neighbour>,
    /// The Gateway API, and the Gateways that the operator was told of.
    pub routing: Routing,
    /// The admission policy that compares `control.approve[].by` with the writer is installed.
    pub approvals_verified: bool,
    /// The operator may make Jobs, and sees them.
    pub jobs: bool,
    /// What this process of the operator is called where it sends webhooks; `None`: it has no key to sign them with.
    pub webhooks: Option<String>,
    /// Webhooks that this process has sent in this rollout, and what became of them; `None`: under way.
    pub calls: BTreeMap<String, Option<Outcome>>,
    /// What the pods of failed Jobs said last, by the Job's name; of those whose gates do not say so yet.
    pub last_words: BTreeMap<String, String>,
}

/// A request for one pod's metrics that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The pod's uid.
    pub pod: String,
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// The Prometheus to ask, by its name; `None`: the pod itself.
    pub provider: Option<String>,
    /// Whether its histogram is of interest.
    pub latency: bool,
    /// Address to connect to.
    pub ip: String,
    /// Port to connect to.
    pub port: u16,
    /// Path to ask for.
    pub path: String,
    /// How the answer is read.
    pub reading: Reading,
    /// When the pod's container started.
    pub started: Option<Timestamp>,
    /// Since when the pod is ready.
    pub ready_since: Option<Timestamp>,
}

impl Request {
    /// The answer to it: these counters, as of this moment.
    #[must_use]
    pub fn answered(&self, counters: Counters, at: Timestamp) -> PodSample {
        PodSample {
            pod: self.pod.clone(),
            revision: self.revision.clone(),
            at,
            started: self.started,
            ready_since: self.ready_since,
            counters,
        }
    }
}

/// Everything that is to be asked at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Metrics of pods.
    pub requests: Vec<Request>,
    /// Questions of the user's own.
    pub questions: Vec<QueryRequest>,
    /// Stable's past.
    pub history: Option<HistoryRequest>,
    /// Webhooks to send.
    pub calls: Vec<Call>,
}

impl Due {
    /// Whether nothing is.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.requests.is_empty() && self.questions.is_empty() && self.history.is_none() && self.calls.is_empty()
    }
}

/// What came back: at most one round since the last decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measurements {
    /// What pods, or Prometheus about them, have answered; `None`: they were not asked.
    pub scrape: Option<Scrape>,
    /// Answers to the objectives that are queries.
    pub answers: Vec<QueryAnswer>,
    /// Stable's past, oldest first, as far as it is known; `None`: it was not asked for.
    pub history: Option<Vec<Scrape>>,
}

impl From<Scrape> for Measurements {
    fn from(scrape: Scrape) -> Self {
        Self { scrape: Some(scrape), ..Self::default() }
    }
}
