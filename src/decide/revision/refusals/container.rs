//! Containers: their names, volumes, variables and resources.

use std::collections::BTreeMap;

use super::Findings;
use super::text::wrong_path;
use crate::api::ProductionServiceSpec;
use crate::api::pod::{EnvVar, Resources};
use crate::api::values::Quantity;
use crate::api::volume::VolumeMount;
use crate::decide::render::pod_template::APP;
use crate::decide::render::quantity::{nanos, text};

/// Begin of the names that plimsoll gives itself.
const OURS: &str = "plimsoll-";
/// Fields of a pod that a variable may show, beside labels and annotations.
const POD_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Resources that have names without a domain.
const PLAIN_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub fn check(spec: &ProductionServiceSpec, findings: &mut Findings) {
    for (index, volume) in spec.volumes.iter().enumerate().filter(|(_, volume)| volume.name.starts_with(OURS)) {
        findings.add(
            "NameTaken",
            format!("spec.volumes[{index}].name"),
            format!("{:?}: names that begin with {OURS} are taken; rename it", volume.name),
        );
    }
    parts("spec", &spec.env, spec.resources.as_ref(), &spec.volume_mounts, spec, findings);
    let mut names = vec![APP];
    for (list, containers) in [("sidecars", &spec.sidecars), ("initContainers", &spec.init_containers)] {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("spec.{list}[{index}]");
            if names.contains(&container.name.as_str()) || container.name.starts_with(OURS) {
                let taken = format!(
                    "{:?} is taken; containers of a pod need names of their own, and {APP} and {OURS}… are plimsoll's",
                    container.name
                );
                findings.add("NameTaken", format!("{path}.name"), taken);
            }
            names.push(&container.name);
            parts(&path, &container.env, container.resources.as_ref(), &container.volume_mounts, spec, findings);
        }
    }
}

fn parts(
    path: &str,
    env: &[EnvVar],
    resources: Option<&Resources>,
    mounts: &[VolumeMount],
    spec: &ProductionServiceSpec,
    findings: &mut Findings,
) {
    for (index, variable) in env.iter().enumerate() {
        self::variable(&format!("{path}.env[{index}]"), variable, findings);
    }
    if let Some(resources) = resources {
        self::resources(&format!("{path}.resources"), resources, findings);
    }
    for (index, mount) in mounts.iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        if !spec.volumes.iter().any(|volume| volume.name == mount.name) {
            findings.add("UnknownVolume", format!("{path}.name"), format!("{:?} is not one of spec.volumes; add it there", mount.name));
        }
        if let Some(problem) = wrong_path(mount.mount_path.trim_end_matches('/')).filter(|_| mount.mount_path != "/") {
            findings.add("InvalidPath", format!("{path}.mountPath"), format!("{:?} {problem}", mount.mount_path));
        }
    }
}

fn variable(path: &str, variable: &EnvVar, findings: &mut Findings) {
    if !variable.name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=') {
        let problem = format!("{:?} is no name of a variable; use printable ASCII without spaces and '='", variable.name);
        findings.add("InvalidVariable", format!("{path}.name"), problem);
    }
    let Some(source) = &variable.value_from else { return };
    if let Some(field) = &source.field_ref {
        let keyed = |map: &str| {
            field.field_path.strip_prefix(map).is_some_and(|rest| rest.starts_with("['") && rest.ends_with("']") && rest.len() > 4)
        };
        if !POD_FIELDS.contains(&field.field_path.as_str()) && !keyed("metadata.labels") && !keyed("metadata.annotations") {
            let rule = format!("use one of {}, metadata.labels['KEY'], metadata.annotations['KEY']", POD_FIELDS.join(", "));
            findings.add(
                "InvalidVariable",
                format!("{path}.valueFrom.fieldRef.fieldPath"),
                format!("{:?} is no field that a pod can see; {rule}", field.field_path),
            );
        }
    }
    if let Some(field) = &source.resource_field_ref {
        let name = field.resource.split_once('.').map_or("", |(_, name)| name);
        if !PLAIN_RESOURCES.contains(&name) && !name.starts_with("hugepages-") {
            let problem = format!("{name:?} cannot be shown; use cpu, memory or ephemeral-storage");
            findings.add("InvalidVariable", format!("{path}.valueFrom.resourceFieldRef.resource"), problem);
        }
    }
}

fn resources(path: &str, resources: &Resources, findings: &mut Findings) {
    let amount = |path: String, quantity: &Quantity, findings: &mut Findings| {
        let amount = nanos(&text(quantity));
        if amount.is_none() {
            findings.add("InvalidResources", path, format!("{:?} is no quantity; write for example 500m, 256Mi or 2", text(quantity)));
        }
        amount
    };
    let check = |section: &str, amounts: &BTreeMap<String, Quantity>, findings: &mut Findings| {
        for (name, quantity) in amounts {
            let path = format!("{path}.{section}.{name}");
            if !PLAIN_RESOURCES.contains(&name.as_str()) && !name.starts_with("hugepages-") && !name.contains('/') {
                findings.add(
                    "InvalidResources",
                    &path,
                    "no such resource; use cpu, memory, ephemeral-storage, or an extended one such as example.com/gpu",
                );
            }
            amount(path, quantity, findings);
        }
    };
    check("requests", &resources.requests, findings);
    check("limits", &resources.limits, findings);
    for (name, request) in &resources.requests {
        let limit = resources.limits.get(name);
        let above = limit.filter(|limit| nanos(&text(request)).zip(nanos(&text(limit))).is_some_and(|(request, limit)| request > limit));
        if let Some(limit) = above {
            let problem = format!("{} is above the limit of {}; lower it or raise the limit", text(request), text(limit));
            findings.add("InvalidResources", format!("{path}.requests.{name}"), problem);
        }
    }
}
