//! What the schema cannot say: contradictions between a spec's parts, and between the spec and the `ConfigMaps` it refers to.

use std::collections::BTreeMap;

use crate::api::ProductionServiceSpec;
use crate::decide::plan::Refusal;
use crate::decide::snapshot::Contents;

/// Everything that keeps a spec from being honoured, each with the field's path and the remedy.
#[must_use]
pub fn refusals(spec: &ProductionServiceSpec, config_maps: &BTreeMap<String, Contents>) -> Vec<Refusal> {
    let references = spec.config.iter().flat_map(|config| &config.config_map_refs).enumerate();
    references
        .filter(|(_, reference)| !config_maps.contains_key(&reference.name))
        .map(|(index, reference)| {
            Refusal::new(
                "ConfigMapMissing",
                format!(
                    "spec.config.configMapRefs[{index}].name: ConfigMap {} does not exist in this namespace; create it",
                    reference.name
                ),
            )
        })
        .collect()
}
