//! The images of the demo: built from this repository, without a container engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use plimsoll_bed::build::Part;
use plimsoll_bed::image::Image;
use plimsoll_bed::{executable, host};

use crate::cluster::Cluster;
use crate::install::root;

/// A number, not a name: runAsNonRoot cannot verify a name. The same as in the Dockerfile.
const USER: &str = "65532:65532";

/// An image by its contents: a tag that is pushed again must not be taken from a node's cache.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// Name without tag.
    pub repository: String,
    /// `sha256:…`
    pub digest: String,
}

/// The programs of `examples/apps`.
#[derive(Clone, Debug)]
pub struct Apps {
    /// The shop.
    pub shop: PathBuf,
    /// The load generator.
    pub load: PathBuf,
}

/// The operator's program, built where it is missing or older than its sources.
///
/// # Errors
/// When it does not compile.
pub fn build_operator() -> Result<PathBuf> {
    let root = root()?;
    executable::beside("plimsoll", &["src", "Cargo.toml", "Cargo.lock"].map(|source| root.join(source)))
}

/// Builds the shop and the load generator into `folder`.
///
/// # Errors
/// When Go is missing or they do not compile.
pub fn build_apps(folder: &Path) -> Result<Apps> {
    build_go(&root()?.join("examples/apps"), &["./shop", "./load"], folder)?;
    Ok(Apps { shop: folder.join("shop"), load: folder.join("load") })
}

/// Compiles these packages of `source` into `folder`. Who comes second finds them current, and nothing is written while the first one copies them
/// into an image.
fn build_go(source: &Path, packages: &[&str], folder: &Path) -> Result<()> {
    let go =
        host::find_program("go").context("go is missing: the demo's app is written in it (https://go.dev/dl, or apt install golang)")?;
    let _turn = lock(folder)?;
    let mut command = Command::new(go);
    command.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(folder).args(packages).env("CGO_ENABLED", "0");
    host::run_command(command.current_dir(source)).with_context(|| format!("cannot build {}", source.display())).map(drop)
}

/// Waits until nobody else builds into `folder`, which is made where it is missing; others wait until the file that is returned is closed.
///
/// # Errors
/// When the folder cannot be made or locked.
pub(crate) fn lock(folder: &Path) -> Result<fs::File> {
    let path = folder.join(".lock");
    let file = fs::create_dir_all(folder).and_then(|()| fs::File::create(&path));
    let file = file.with_context(|| format!("cannot create {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// Pushes the operator's image, without debug symbols.
///
/// # Errors
/// When the registry refuses it.
pub fn push_operator(cluster: &Cluster, program: &Path) -> Result<Pinned> {
    let repository = cluster.image("plimsoll");
    let tagged = format!("{repository}:demo");
    Image::new().program(program, "/plimsoll").stripped().entrypoint(&["/plimsoll"]).user(USER).push(&tagged)?;
    let digest = host::run(Part::Node.program("crane")?, &["digest", &tagged])?.trim().to_owned();
    Ok(Pinned { repository, digest })
}

/// Pushes a version of the shop and returns its name. `environment` is how it misbehaves (`examples/apps/README.md`).
///
/// # Errors
/// When the registry refuses it.
pub fn push_shop(cluster: &Cluster, image: Image, version: &str, environment: &[(&str, &str)]) -> Result<String> {
    let name = cluster.image(&format!("shop:{version}"));
    with(image, environment).push(&name)?;
    Ok(name)
}

/// Pushes another version of a shop that was pushed as `base`: the same files.
///
/// # Errors
/// When the registry refuses it.
pub fn push_next_shop(cluster: &Cluster, base: &str, image: Image, version: &str, environment: &[(&str, &str)]) -> Result<String> {
    let name = cluster.image(&format!("shop:{version}"));
    with(image, environment).push_over(base, &name)?;
    Ok(name)
}

fn with(image: Image, environment: &[(&str, &str)]) -> Image {
    environment.iter().fold(image.user(USER), |image, (name, value)| image.environment(name, value))
}

/// The shop's image, without a user.
#[must_use]
pub fn shop(apps: &Apps, version: &str) -> Image {
    Image::new().program(&apps.shop, "/shop").entrypoint(&["/shop"]).environment("VERSION", version)
}

/// Builds the shop that speaks gRPC, pushes its image and returns its name.
///
/// # Errors
/// When Go is missing, it does not compile, or the registry refuses it.
pub fn push_grpc_shop(cluster: &Cluster, apps: &Apps) -> Result<String> {
    let folder = apps.shop.parent().context("the shop has no folder")?;
    build_go(&root()?.join("examples/apps/grpcshop"), &["."], folder)?;
    let name = cluster.image("grpcshop:1");
    Image::new().program(&folder.join("grpcshop"), "/grpcshop").entrypoint(&["/grpcshop"]).user(USER).push(&name)?;
    Ok(name)
}

/// Pushes the load generator and returns its name.
///
/// # Errors
/// When the registry refuses it.
pub fn push_load(cluster: &Cluster, apps: &Apps) -> Result<String> {
    let name = cluster.image("load:1");
    Image::new().program(&apps.load, "/load").entrypoint(&["/load"]).user(USER).push(&name)?;
    Ok(name)
}
