//! What the schema cannot say: contradictions between a spec's parts, and between the spec and the `ConfigMaps` it refers to.
//!
//! Whatever the API server would refuse in a rendered object has to be found here: a refusal names the field that the user wrote, the API
//! server's answer names one that they never saw.

mod config;
mod container;
mod placement;
mod probes;
mod text;

use std::collections::BTreeMap;

use crate::api::ProductionServiceSpec;
use crate::api::pod::Protocol;
use crate::decide::plan::Refusal;
use crate::decide::snapshot::Contents;

/// Everything that keeps a spec from being honoured, each with the field's path and the remedy.
#[must_use]
pub fn refusals(spec: &ProductionServiceSpec, config_maps: &BTreeMap<String, Contents>) -> Vec<Refusal> {
    let mut findings = Findings(Vec::new());
    ports(spec, &mut findings);
    probes::check(spec, &mut findings);
    container::check(spec, &mut findings);
    placement::check(spec, &mut findings);
    config::check(spec, config_maps, &mut findings);
    findings.0
}

/// What was found so far.
struct Findings(Vec<Refusal>);

impl Findings {
    /// `path`: what is wrong with it, and what to write instead.
    fn add(&mut self, reason: &'static str, path: impl std::fmt::Display, problem: impl std::fmt::Display) {
        self.0.push(Refusal::new(reason, format!("{path}: {problem}")));
    }
}

fn ports(spec: &ProductionServiceSpec, findings: &mut Findings) {
    for (index, port) in spec.ports.iter().enumerate() {
        if !port.name.contains(|character: char| character.is_ascii_lowercase()) || port.name.contains("--") {
            let path = format!("spec.ports[{index}].name");
            findings.add(
                "InvalidPort",
                path,
                format!("{:?} needs a letter and no two dashes in a row; write for example \"http\"", port.name),
            );
        }
        let same = |other: &&crate::api::pod::Port| other.port == port.port && protocol(other.protocol) == protocol(port.protocol);
        if let Some(earlier) = spec.ports[..index].iter().find(same) {
            let problem = format!("port {} is {:?} already; keep one of the two", port.port, earlier.name);
            findings.add("InvalidPort", format!("spec.ports[{index}].port"), problem);
        }
    }
}

fn protocol(given: Option<Protocol>) -> Protocol {
    given.unwrap_or_default()
}
