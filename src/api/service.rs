//! `ProductionService`: one app in production.
#![allow(clippy::duplicated_attributes, reason = "each printer column names the same fields")]

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::control::Control;
use super::expose::Expose;
use super::gates::Dependency;
use super::health::Health;
use super::network::Network;
use super::objective::{Objective, Observability};
use super::pod::{
    Affinity, Container, EnvFrom, EnvVar, LocalReference, PodMetadata, Port, Resources, SecurityContext, ServiceAccount, Toleration,
};
use super::resilience::Resilience;
use super::rollout::Rollout;
use super::rules;
use super::scaling::{Availability, Scaling};
use super::status::ProductionServiceStatus;
use super::volume::{Volume, VolumeMount};

/// One app in production. Two lines are enough: `image` and, for anything that listens, `ports`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "plimsoll.dev",
    version = "v1alpha1",
    kind = "ProductionService",
    plural = "productionservices",
    shortname = "psvc",
    category = "all",
    namespaced,
    status = "ProductionServiceStatus",
    derive = "PartialEq",
    doc = "One app in production: the workload, its health, its scaling, its network, and how a new version of it is rolled out. plimsoll makes the Deployments, Services, HPA, PDB and NetworkPolicy out of it, compares each new version with the running one, and promotes it or takes it back.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", description = "The image the spec asks for."),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the service stands, in one word."),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.step", description = "The rollout's step, of how many."),
    printcolumn(name = "Weight", type_ = "string", json_path = ".status.weight", description = "The candidate's share of the traffic."),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready", description = "Ready pods, of the pods asked for."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Stable",
        type_ = "string",
        json_path = ".status.stable.revision",
        priority = 1,
        description = "The revision that was promoted last."
    ),
    printcolumn(
        name = "Candidate",
        type_ = "string",
        json_path = ".status.candidate.revision",
        priority = 1,
        description = "The revision that is being rolled out."
    ),
    printcolumn(
        name = "Verdict",
        type_ = "string",
        json_path = ".status.message",
        priority = 1,
        description = "What plimsoll decided last, or waits for, in one sentence."
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ProductionServiceSpec {
    /// Container image of the app. A new value is a new revision. Prefer a digest: a tag that is moved to another image is not noticed.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rules::IMAGE)]
    pub image: String,
    /// Entrypoint of the container, in place of the image's. Default: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Arguments of the entrypoint, in place of the image's. Default: the image's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Working directory of the container. Default: the image's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub working_dir: Option<String>,
    /// Environment variables, each name once. See also `config.env`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Whole ConfigMaps or Secrets as environment variables. Their contents are read by Kubernetes when a pod starts and are not part of the
    /// revision; use `config.configMapRefs` for a ConfigMap whose changes shall be rolled out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub env_from: Vec<EnvFrom>,
    /// CPU, memory and ephemeral storage of the app's container. None is invented: without requests the scheduler packs blindly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Volumes of the pod that `volumeMounts` name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<Volume>,
    /// Where volumes appear in the app's container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub volume_mounts: Vec<VolumeMount>,
    /// Containers that run beside the app from before it starts until after it ends (init containers with restart policy Always).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub sidecars: Vec<Container>,
    /// Containers that run to their end, one after another, before the app starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub init_containers: Vec<Container>,
    /// Secrets of this namespace with credentials for the image registry, beside those of the namespace's `default` service account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<LocalReference>,
    /// Labels that a node must have to run the pods.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 63, "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"}))]
    #[x_kube(validation = rules::KEYS)]
    pub node_selector: std::collections::BTreeMap<String, String>,
    /// Taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Which nodes, and which pods for neighbours, the pods require or prefer. Spreading over hosts and zones is done without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// PriorityClass of the pods. Default: the cluster's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub priority_class_name: Option<String>,
    /// Ports that the app listens on. The first TCP port gets the default probes. Without ports there are no probes and no Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = rules::PORTS)]
    pub ports: Vec<Port>,
    /// Labels and annotations for the pods beside plimsoll's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_metadata: Option<PodMetadata>,
    /// User, group and root file system. Everything else is fixed to the `restricted` Pod Security standard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// The identity that the pods run under. Default: a service account of the service's own name, without a mounted token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccount>,
    /// Any new text makes a new revision of the same image, rolled out with every check. This is how a service is restarted. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub restart: Option<String>,
    /// Configuration that is part of the revision: rolled out with its checks, rolled back together with the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Config>,
    /// Probes, drain and grace period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Number of pods, 0 to 1000. Default: 2. With `scaling` this field belongs to the autoscaler: leave it out of Git then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// Horizontal autoscaling, by a HorizontalPodAutoscaler whose target is this resource. Absent: the number of pods is `replicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// How many pods may be missing on purpose, and how pods are spread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability: Option<Availability>,
    /// Which traffic may reach the pods and leave them. Absent: no NetworkPolicy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// How users outside of the cluster reach the service, by the Gateway API. Absent: no route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// What the route of `expose` does about requests that fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resilience: Option<Resilience>,
    /// Where the app's own metrics are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observability: Option<Observability>,
    /// What "healthy" means, in numbers. Without any, only crashes, pull errors and lost readiness judge a new version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub objectives: Vec<Objective>,
    /// Other `ProductionServices` of this namespace whose version has to be stable before a revision of this one begins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"]))]
    pub depends_on: Vec<Dependency>,
    /// How a new revision takes the place of the old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Commands to a rollout that can be committed to Git: each names the revision that it is for, a stale one does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// What happens to the app when this resource is deleted: `delete` (default) removes it, `orphan` leaves everything running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// What happens to the app when this resource is deleted. `delete`: Kubernetes removes everything that was made, and needs no operator for
/// it. `orphan`: everything stays as it stands and goes on serving. Default: `delete`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeletionPolicy {
    /// Kubernetes' garbage collector removes everything that was made; no operator needs to be alive for it.
    #[default]
    Delete,
    /// Everything stays as it stands and goes on serving.
    Orphan,
}
