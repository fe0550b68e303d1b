//! `spec.scaling` and `spec.availability`: how many pods, and how they are spread.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use super::values::{IntOrPercent, Quantity};

/// Horizontal autoscaling: a HorizontalPodAutoscaler whose target is the ProductionService itself, so that it goes on during a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = ("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas", "minReplicas must not be above maxReplicas"))]
#[x_kube(validation = (
    "has(self.cpuUtilization) || has(self.memoryUtilization) || (has(self.metrics) && self.metrics.size() > 0)",
    "say by what to scale: set cpuUtilization, memoryUtilization or metrics"
))]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// Fewest pods, 1 to 1000. Default: 2, or `maxReplicas` if that is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<i32>,
    /// Most pods, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// Mean CPU use to aim at, in percent of the request, 1 to 1000. Every container needs a CPU request. Absent: not
    /// scaled by CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu_utilization: Option<i32>,
    /// Mean memory use to aim at, in percent of the request, 1 to 1000. Every container needs a memory request. Absent:
    /// not scaled by memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub memory_utilization: Option<i32>,
    /// Further metrics, as in autoscaling/v2. The one that asks for most pods wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub metrics: Vec<ScalingMetric>,
    /// How fast to scale, as in autoscaling/v2. Default: Kubernetes' own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
}

/// A metric to scale by, as in autoscaling/v2. Set exactly one. Targets are averages per pod: a plain value would scale with the pods
/// that a rollout adds for a while.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, kube::KubeSchema)]
#[x_kube(validation = (
    "(has(self.pods) ? 1 : 0) + (has(self.external) ? 1 : 0) + (has(self.object) ? 1 : 0) + (has(self.containerResource) ? 1 : 0) == 1",
    "a metric is one of pods, external, object and containerResource: set exactly one"
))]
#[serde(rename_all = "camelCase")]
pub struct ScalingMetric {
    /// A metric of the pods, from the custom metrics API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pods: Option<AverageMetric>,
    /// A metric from outside the cluster, such as the length of a queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<AverageMetric>,
    /// A metric of one other object of this namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectMetric>,
    /// CPU or memory of one container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_resource: Option<ContainerMetric>,
}

/// A metric with a target per pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AverageMetric {
    /// Which metric.
    pub metric: MetricIdentifier,
    /// Its target.
    pub target: AverageTarget,
}

/// A metric of one other object, with a target per pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMetric {
    /// The object that the metric describes.
    pub described_object: DescribedObject,
    /// Which metric.
    pub metric: MetricIdentifier,
    /// Its target.
    pub target: AverageTarget,
}

/// CPU or memory of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerMetric {
    /// Name of the resource: `cpu` or `memory`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^(cpu|memory)$"))]
    pub name: String,
    /// Name of the container; the app's is `app`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub container: String,
    /// Its target.
    pub target: UtilizationTarget,
}

/// A target in percent of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UtilizationTarget {
    /// Always `Utilization`.
    #[serde(rename = "type")]
    pub kind: UtilizationKind,
    /// Mean use, in percent of the request, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub average_utilization: i32,
}

/// The kind of a target in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UtilizationKind {
    /// Percent of the request.
    Utilization,
}

/// Which metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricIdentifier {
    /// Name of the metric.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Labels that narrow the metric down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// A selector by labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, kube::KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 253}))]
    #[x_kube(validation = rules::KEYS)]
    pub match_labels: BTreeMap<String, String>,
}

/// A target per pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AverageTarget {
    /// Always `AverageValue`: `Value` scales with the number of ready pods, which a rollout inflates.
    #[serde(rename = "type")]
    pub kind: AverageKind,
    /// The value per pod, a quantity: 30, `500m`, `1k`.
    pub average_value: Quantity,
}

/// The kind of a target per pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AverageKind {
    /// Divided by the number of pods.
    AverageValue,
}

/// An object of this namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DescribedObject {
    /// Its API version.
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How fast to scale.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// Upwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_up: Option<ScalingRules>,
    /// Downwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down: Option<ScalingRules>,
}

/// Rules for one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingRules {
    /// Seconds over which the safest recommendation is taken, 0 to 3600. Default: 0 up, 300 down.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_window_seconds: Option<i32>,
    /// Which policy counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select_policy: Option<SelectPolicy>,
    /// How much may change in how long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub policies: Vec<ScalingPolicy>,
}

/// Which of several policies counts: `Max`, the one that allows most; `Min`, the one that allows least; `Disabled`, no scaling in this
/// direction. Default: `Max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectPolicy {
    /// The one that allows most.
    Max,
    /// The one that allows least.
    Min,
    /// No scaling in this direction.
    Disabled,
}

/// How much may change in how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalingPolicy {
    /// `Pods` or `Percent`.
    #[serde(rename = "type")]
    pub kind: PolicyKind,
    /// How many, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub value: i32,
    /// In how many seconds, 1 to 1800.
    #[schemars(range(min = 1, max = 1800))]
    pub period_seconds: i32,
}

/// What a policy counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent of the pods.
    Percent,
}

/// How many pods may be missing on purpose, and how pods are spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// Pods that a node drain may take at once: a number, 1 to 1000, or a percentage of the replicas, `"1%"` to `"100%"`. Default: 1 below 10 replicas, else 10%. A pod that is not healthy may
    /// always be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
    /// Over what pods are spread, as a preference. Default: hosts and zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// Over what pods are spread. Part of the revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// Over zones. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zones: Option<bool>,
    /// Over hosts. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosts: Option<bool>,
}
