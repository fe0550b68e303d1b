//! Where the program `plimsoll-bed` lies: cargo does not build a dependency's programs for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::host;

const NAME: &str = "plimsoll-bed";
const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

/// The program beside the running test, built now where it is missing or older than its sources.
///
/// # Errors
/// When it has to be built and cannot be.
pub fn locate() -> Result<PathBuf> {
    let running = std::env::current_exe().context("cannot find the running program")?;
    if running.file_stem().is_some_and(|name| name == NAME) {
        return Ok(running);
    }
    let mut profile = running.parent().context("the running program has no folder")?;
    if profile.ends_with("deps") {
        profile = profile.parent().context("the tests' folder has no parent")?;
    }
    let program = profile.join(NAME);
    let built = fs::metadata(&program).and_then(|metadata| metadata.modified());
    if built.is_ok_and(|built| newest(Path::new(SOURCE)).is_none_or(|source| source <= built)) {
        return Ok(program);
    }
    let target = profile.parent().context("the build's folder has no parent")?;
    let profile_name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", NAME, "--bin", NAME, "--profile", profile_name, "--target-dir"]);
    command.arg(target).current_dir(SOURCE);
    host::run_command(&mut command).context("cannot build plimsoll-bed")?;
    Ok(program)
}

/// When the newest source below `folder` was written.
fn newest(folder: &Path) -> Option<SystemTime> {
    let entries = fs::read_dir(folder).ok()?;
    entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            // Tests are not part of the program.
            if entry.file_name() == "target" || entry.file_name() == "tests" {
                None
            } else if metadata.is_dir() {
                newest(&entry.path())
            } else {
                metadata.modified().ok()
            }
        })
        .max()
}
