//! Where a program of this workspace lies: cargo does not build another package's programs for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::host;

const NAME: &str = "plimsoll-bed";
const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

/// The bed's own program.
///
/// # Errors
/// When it has to be built and cannot be.
pub fn locate() -> Result<PathBuf> {
    let running = std::env::current_exe().context("cannot find the running program")?;
    if running.file_stem().is_some_and(|name| name == NAME) {
        return Ok(running);
    }
    beside(NAME, &[PathBuf::from(SOURCE)])
}

/// The program `name` of this workspace beside the running one, built now where it is missing or older than one of its sources (files, or folders
/// with all that is in them).
///
/// # Errors
/// When it has to be built and cannot be.
pub fn beside(name: &str, sources: &[PathBuf]) -> Result<PathBuf> {
    let running = std::env::current_exe().context("cannot find the running program")?;
    let mut profile = running.parent().context("the running program has no folder")?;
    if profile.ends_with("deps") {
        profile = profile.parent().context("the tests' folder has no parent")?;
    }
    let program = profile.join(name);
    let built = fs::metadata(&program).and_then(|metadata| metadata.modified());
    let changed = sources.iter().filter_map(|source| newest(source)).max();
    if built.is_ok_and(|built| changed.is_none_or(|changed| changed <= built)) {
        return Ok(program);
    }
    let target = profile.parent().context("the build's folder has no parent")?;
    let profile_name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Of the whole workspace: features of dependencies that are chosen for one package alone would build all of these once more.
    command.args(["build", "--quiet", "--workspace", "--bin", name, "--profile", profile_name, "--target-dir"]);
    command.arg(target).current_dir(SOURCE);
    host::run_command(&mut command).with_context(|| format!("cannot build {name}"))?;
    Ok(program)
}

/// When this file, or the newest one below this folder, was written.
fn newest(source: &Path) -> Option<SystemTime> {
    let metadata = fs::metadata(source).ok()?;
    if !metadata.is_dir() {
        return metadata.modified().ok();
    }
    // Tests are not part of the program.
    let entries = fs::read_dir(source).ok()?.flatten().filter(|entry| entry.file_name() != "target" && entry.file_name() != "tests");
    entries.filter_map(|entry| newest(&entry.path())).max()
}
