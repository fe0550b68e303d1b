//! The `HorizontalPodAutoscaler`. It scales the `ProductionService` itself, so that it goes on while revisions come and go.

use serde_json::{Value, json};

use super::container::prune;
use super::ownership::Owner;
use super::quantity;
use crate::api::scaling::{AverageTarget, Scaling, ScalingMetric};
use crate::decide::plan::{Plan, least};
use crate::decide::snapshot::{Kind, ObjectKey};

/// The autoscaler.
#[must_use]
pub fn autoscaler(plan: &Plan, scaling: &Scaling) -> Value {
    let utilization = |resource: &str, percent: i32| {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        json!({"type": "Resource", "resource": {"name": resource, "target": target}})
    };
    let cpu = scaling.cpu_utilization.map(|percent| utilization("cpu", percent));
    let memory = scaling.memory_utilization.map(|percent| utilization("memory", percent));
    let metrics: Vec<Value> = cpu.into_iter().chain(memory).chain(scaling.metrics.iter().filter_map(metric)).collect();
    let mut body = json!({"spec": {
        "scaleTargetRef": {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ProductionService", "name": plan.name},
        "minReplicas": least(scaling),
        "maxReplicas": scaling.max_replicas,
        "metrics": metrics,
        "behavior": scaling.behavior,
    }});
    prune(&mut body);
    Owner::of(plan).object(&ObjectKey::new(Kind::HorizontalPodAutoscaler, &plan.name), None, body)
}

fn metric(metric: &ScalingMetric) -> Option<Value> {
    let target = |target: &AverageTarget| json!({"type": target.kind, "averageValue": quantity::text(&target.average_value)});
    if let Some(pods) = &metric.pods {
        return Some(json!({"type": "Pods", "pods": {"metric": pods.metric, "target": target(&pods.target)}}));
    }
    if let Some(external) = &metric.external {
        return Some(json!({"type": "External", "external": {"metric": external.metric, "target": target(&external.target)}}));
    }
    if let Some(object) = &metric.object {
        let body = json!({"describedObject": object.described_object, "metric": object.metric, "target": target(&object.target)});
        return Some(json!({"type": "Object", "object": body}));
    }
    let container = metric.container_resource.as_ref()?;
    Some(json!({"type": "ContainerResource", "containerResource": container}))
}
