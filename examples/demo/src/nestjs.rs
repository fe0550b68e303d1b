//! The image of the `NestJS` app, where npm is there: compiled once, kept beside cargo's own output.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use plimsoll_bed::host;
use plimsoll_bed::image::Image;

use crate::images::lock;
use crate::install::root;

/// What the app is compiled from.
const SOURCES: [&str; 5] = ["package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json", "src"];
/// What of it runs in the image.
const RUNS: [&str; 3] = ["package.json", "dist", "node_modules"];

/// The compiled app.
#[derive(Clone, Debug)]
pub struct App {
    node: PathBuf,
    folder: PathBuf,
}

/// Compiles `examples/apps/nestjs` into a folder below `folder`; none where node or npm is not there.
///
/// # Errors
/// When the packages cannot be had or it does not compile.
pub fn build(folder: &Path) -> Result<Option<App>> {
    let (Some(node), Some(npm)) = (host::find_program("node"), host::find_program("npm")) else { return Ok(None) };
    let source = root()?.join("examples/apps/nestjs");
    let built = folder.join("nestjs");
    let stamp = built.join("built-from");
    let version = fingerprint(&source)?;
    let _turn = lock(folder)?;
    if fs::read_to_string(&stamp).is_ok_and(|known| known == version) {
        return Ok(Some(App { node, folder: built }));
    }
    // From nothing: an interrupted build must not be taken for a finished one.
    match fs::remove_dir_all(&built) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", built.display()));
        }
        _ => fs::create_dir_all(&built).with_context(|| format!("cannot create {}", built.display()))?,
    }
    for name in SOURCES {
        host::run_command(Command::new("cp").arg("--recursive").arg(source.join(name)).arg(&built))?;
    }
    for words in [&["ci", "--no-audit", "--no-fund"][..], &["run", "build"], &["prune", "--omit=dev", "--no-audit", "--no-fund"]] {
        let mut command = Command::new(&npm);
        host::run_command(command.args(words).current_dir(&built)).context("cannot build examples/apps/nestjs")?;
    }
    fs::write(&stamp, version).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(Some(App { node, folder: built }))
}

/// The app's image, without a user.
#[must_use]
pub fn image(app: &App, version: &str) -> Image {
    let image = Image::new().program(&app.node, "/node").environment("VERSION", version).environment("NODE_ENV", "production");
    let image = RUNS.iter().fold(image, |image, name| image.folder(&app.folder.join(name), &format!("/app/{name}")));
    image.entrypoint(&["/node", "--require", "/app/dist/tracing.js", "/app/dist/main.js"])
}

/// A word for the contents of the sources.
fn fingerprint(source: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    let mut folders = SOURCES.map(|name| source.join(name)).to_vec();
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?;
            let mut below = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
            below.sort();
            folders.extend(below);
        } else {
            path.strip_prefix(source).unwrap_or(&path).hash(&mut hasher);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?.hash(&mut hasher);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}
