//! Labels, nodes, networks and the autoscaler's references.

use std::net::IpAddr;

use super::{Findings, text};
use crate::api::ProductionServiceSpec;
use crate::api::pod::{NodeExpression, NodeOperator, TaintEffect, Toleration, TolerationOperator};
use crate::decide::render::pod_template::APP;

pub fn check(spec: &ProductionServiceSpec, findings: &mut Findings) {
    if let Some(metadata) = &spec.pod_metadata {
        for (name, value) in &metadata.labels {
            text::label("spec.podMetadata.labels", name, value, findings);
            text::free("spec.podMetadata.labels", name, findings);
        }
        for name in metadata.annotations.keys() {
            text::key("spec.podMetadata.annotations", name, findings);
            text::free("spec.podMetadata.annotations", name, findings);
        }
    }
    for name in spec.service_account.iter().flat_map(|account| account.annotations.keys()) {
        text::key("spec.serviceAccount.annotations", name, findings);
    }
    for (name, value) in &spec.node_selector {
        text::label("spec.nodeSelector", name, value, findings);
    }
    for (index, toleration) in spec.tolerations.iter().enumerate() {
        self::toleration(&format!("spec.tolerations[{index}]"), toleration, findings);
    }
    if let Some(affinity) = &spec.affinity {
        let required =
            affinity.required_nodes.iter().enumerate().map(|(index, node)| (format!("spec.affinity.requiredNodes[{index}]"), node));
        let preferred = affinity.preferred_nodes.iter().enumerate().flat_map(|(nodes, preference)| {
            let path = move |index| format!("spec.affinity.preferredNodes[{nodes}].expressions[{index}]");
            preference.expressions.iter().enumerate().map(move |(index, node)| (path(index), node))
        });
        for (path, node) in required.chain(preferred) {
            expression(&path, node, findings);
        }
    }
    network(spec, findings);
    scaling(spec, findings);
}

fn toleration(path: &str, toleration: &Toleration, findings: &mut Findings) {
    let exists = toleration.operator == Some(TolerationOperator::Exists);
    let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if !given(&toleration.key) && !exists {
        findings.add(
            "InvalidToleration",
            format!("{path}.key"),
            "no key is given; give one, or set operator: Exists to tolerate every taint",
        );
    }
    if let Some(key) = toleration.key.as_ref().filter(|key| !key.is_empty()) {
        text::key(&format!("{path}.key"), key, findings);
    }
    if exists && given(&toleration.value) {
        findings.add("InvalidToleration", format!("{path}.value"), "operator Exists compares no value; remove one of the two");
    }
    if toleration.toleration_seconds.is_some() && toleration.effect != Some(TaintEffect::NoExecute) {
        findings.add("InvalidToleration", format!("{path}.tolerationSeconds"), "counts only with effect: NoExecute; set that or remove it");
    }
}

fn expression(path: &str, expression: &NodeExpression, findings: &mut Findings) {
    text::key(&format!("{path}.key"), &expression.key, findings);
    let values = &expression.values;
    let problem = match expression.operator {
        NodeOperator::In | NodeOperator::NotIn if values.is_empty() => "needs at least one value",
        NodeOperator::Exists | NodeOperator::DoesNotExist if !values.is_empty() => "compares no values; remove them",
        NodeOperator::Gt | NodeOperator::Lt if !matches!(values.as_slice(), [one] if one.parse::<i64>().is_ok()) => {
            "needs exactly one whole number"
        }
        _ => return,
    };
    findings.add("InvalidAffinity", format!("{path}.values"), format!("operator {:?} {problem}", expression.operator));
}

fn network(spec: &ProductionServiceSpec, findings: &mut Findings) {
    let Some(network) = &spec.network else { return };
    let from = network.allow_from.iter().map(|source| (&source.cidr, &source.namespace_labels)).enumerate();
    let to = network.allow_to.iter().map(|target| (&target.cidr, &target.namespace_labels)).enumerate();
    let paths = from.map(|(index, peer)| (format!("spec.network.allowFrom[{index}]"), peer));
    for (path, (cidr, labels)) in paths.chain(to.map(|(index, peer)| (format!("spec.network.allowTo[{index}]"), peer))) {
        for (name, value) in labels.iter().flatten() {
            text::label(&format!("{path}.namespaceLabels"), name, value, findings);
        }
        if let Some(cidr) = cidr.as_ref().filter(|cidr| !is_range(cidr)) {
            findings.add(
                "InvalidNetwork",
                format!("{path}.cidr"),
                format!("{cidr:?} is no range of addresses; write for example 10.0.0.0/8"),
            );
        }
    }
}

fn is_range(cidr: &str) -> bool {
    let Some((address, length)) = cidr.split_once('/') else { return false };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    // Kubernetes refuses a length with a leading zero.
    length.parse::<u8>().is_ok_and(|number| number <= most && number.to_string() == length)
}

fn scaling(spec: &ProductionServiceSpec, findings: &mut Findings) {
    let metrics = spec.scaling.iter().flat_map(|scaling| &scaling.metrics).enumerate();
    for (index, container) in metrics.filter_map(|(index, metric)| Some((index, metric.container_resource.as_ref()?))) {
        let path = format!("spec.scaling.metrics[{index}].containerResource");
        let known = container.container == APP || spec.sidecars.iter().any(|sidecar| sidecar.name == container.container);
        if !known {
            findings.add(
                "InvalidScaling",
                format!("{path}.container"),
                format!("{:?} is neither {APP} nor one of spec.sidecars", container.container),
            );
        }
        if !["cpu", "memory"].contains(&container.name.as_str()) {
            findings.add("InvalidScaling", format!("{path}.name"), format!("{:?} cannot be scaled by; use cpu or memory", container.name));
        }
    }
}
