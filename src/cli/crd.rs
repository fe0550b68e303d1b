//! `plimsoll crd`: the `CustomResourceDefinition`, ready for `kubectl apply -f -`.

use std::io::Write as _;

use clap::Args;

use crate::api;

/// Print the CustomResourceDefinition of ProductionService as YAML.
#[derive(Debug, Args)]
pub struct Arguments {}

/// Prints it.
///
/// # Errors
/// When standard output is closed.
pub fn run(_: &Arguments) -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(&api::crd::definition()?)?;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
