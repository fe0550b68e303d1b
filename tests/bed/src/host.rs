//! What the machine offers, and running a program on it to its end.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The user id of this process.
#[must_use]
pub fn user_id() -> u32 {
    // Asking the kernel through /proc spares a dependency on libc bindings.
    fs::metadata("/proc/self").map_or(u32::MAX, |metadata| metadata.uid())
}

/// Whether this process runs as root.
#[must_use]
pub fn is_root() -> bool {
    user_id() == 0
}

/// The folder of locks and notes that beds of this user share: in the cache, because locks stay when beds go.
///
/// # Errors
/// When the folder cannot be created or belongs to somebody else.
pub fn runtime_directory() -> Result<PathBuf> {
    let cache = crate::build::cache()?;
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let path = cache.join("run");
    create_private(&path)?;
    Ok(path)
}

/// Creates `path` with access for this user only; an existing folder must be this user's own.
///
/// # Errors
/// When it cannot be created, is not a folder or belongs to another user.
pub fn create_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Err(error) = fs::DirBuilder::new().mode(0o700).create(path)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("cannot create {}", path.display()));
    }
    let found = fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    if !found.is_dir() || found.uid() != user_id() {
        bail!("{} exists and is not a folder of this user: move it away", path.display());
    }
    Ok(())
}

/// Where `program` lies on the search path, or in the folders for system programs that a user's path may lack.
#[must_use]
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/go/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or fails; the error holds its last words.
pub fn run(program: impl AsRef<Path>, arguments: &[&str]) -> Result<String> {
    run_command(Command::new(program.as_ref()).args(arguments))
}

/// Runs a prepared command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be started or fails; the error holds its last words.
pub fn run_command(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    answer(&name, &output)
}

/// What a finished program printed, or an error with its last words when it failed.
///
/// # Errors
/// When the program's exit status is not success.
pub fn answer(name: &str, output: &std::process::Output) -> Result<String> {
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, words.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last `count` lines of a file, for an error that must say what went wrong; empty when it cannot be read.
#[must_use]
pub fn last_lines(path: &Path, count: usize) -> String {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
