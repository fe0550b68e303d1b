//! Images without a container engine: files become a layer, crane pushes it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::Part;
use crate::host;

/// Users that programs may look up; 65532 is the one that images here run as.
const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\napp:x:65532:65532:app:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\napp:x:65532:\n";

/// An image in the making.
///
/// ```no_run
/// # fn example(bed: &plimsoll_bed::Bed) -> anyhow::Result<()> {
/// use plimsoll_bed::image::Image;
/// let image = Image::new().program("target/debug/app".as_ref(), "/app").entrypoint(&["/app"]).user("65532:65532");
/// image.push(&format!("{}/app:1", bed.registry().unwrap()))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Source and place in the image.
    files: Vec<(PathBuf, PathBuf)>,
    folders: Vec<(PathBuf, PathBuf)>,
    programs: Vec<(PathBuf, PathBuf)>,
    texts: Vec<(PathBuf, String)>,
    entrypoint: Vec<String>,
    user: Option<String>,
    environment: Vec<String>,
    stripped: bool,
}

impl Image {
    /// An empty image for this machine's processor.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file as it is.
    #[must_use]
    pub fn file(mut self, source: &Path, place: &str) -> Self {
        self.files.push((source.to_owned(), place.into()));
        self
    }

    /// Adds a folder with everything in it.
    #[must_use]
    pub fn folder(mut self, source: &Path, place: &str) -> Self {
        self.folders.push((source.to_owned(), place.into()));
        self
    }

    /// Adds a program together with the shared libraries that it loads.
    #[must_use]
    pub fn program(mut self, source: &Path, place: &str) -> Self {
        self.programs.push((source.to_owned(), place.into()));
        self
    }

    /// Leaves the debug symbols of its programs out.
    #[must_use]
    pub fn stripped(mut self) -> Self {
        self.stripped = true;
        self
    }

    /// Adds a file with this content.
    #[must_use]
    pub fn text(mut self, place: &str, content: &str) -> Self {
        self.texts.push((place.into(), content.to_owned()));
        self
    }

    /// What a container of this image runs.
    #[must_use]
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The user, as `UID`, `UID:GID` or a name; without it root.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// Makes the image and pushes it as `reference` (`host:port/name:tag`); registries on loopback are spoken to without TLS.
    ///
    /// # Errors
    /// When a file is missing, crane is not built (`plimsoll-bed build node`) or the registry refuses.
    pub fn push(&self, reference: &str) -> Result<()> {
        let work = Work::create()?;
        let root = work.0.join("root");
        self.fill(&root)?;
        let layer = work.0.join("layer.tar");
        let mut tar = Command::new("tar");
        // The same files make the same layer, whenever and by whomever it is made.
        tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--file"]);
        host::run_command(tar.arg(&layer).arg("--directory").arg(&root).arg("."))?;
        let crane = Part::Node.program("crane")?;
        host::run_command(Command::new(&crane).args(["append", "--new_tag", reference, "--new_layer"]).arg(&layer))
            .with_context(|| format!("cannot push {reference}"))?;
        self.push_over(reference, reference)
    }

    /// Pushes the files of `base`, which was pushed before, with this image's entrypoint, user and environment. No file is sent again.
    ///
    /// # Errors
    /// When crane is not built or the registry refuses.
    pub fn push_over(&self, base: &str, reference: &str) -> Result<()> {
        let mut mutate = Command::new(Part::Node.program("crane")?);
        mutate.args(["mutate", base, "--tag", reference, "--set-platform", platform()]);
        for word in &self.entrypoint {
            mutate.args(["--entrypoint", word]);
        }
        if let Some(user) = &self.user {
            mutate.args(["--user", user]);
        }
        for variable in &self.environment {
            mutate.args(["--env", variable]);
        }
        host::run_command(&mut mutate).with_context(|| format!("cannot push {reference}")).map(drop)
    }

    /// Copies everything to its place below `root`.
    fn fill(&self, root: &Path) -> Result<()> {
        for (path, content) in [("/etc/passwd", PASSWD), ("/etc/group", GROUP)] {
            write(root, Path::new(path), content)?;
        }
        let temporary = root.join("tmp");
        fs::create_dir_all(&temporary)
            .and_then(|()| fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777)))
            .context("cannot create the image's /tmp")?;
        for (place, content) in &self.texts {
            write(root, place, content)?;
        }
        for (source, place) in &self.files {
            copy(root, source, place)?;
        }
        for (source, place) in &self.folders {
            let target = place_in(root, place)?;
            // `cp` keeps the links of node_modules/.bin.
            host::run_command(Command::new("cp").arg("--recursive").arg("--no-dereference").arg(source).arg(&target))?;
        }
        let mut libraries = BTreeSet::new();
        for (source, place) in &self.programs {
            let program = copy(root, source, place)?;
            if self.stripped {
                let strip = host::find_program("strip").context("strip is missing (apt install binutils)")?;
                host::run_command(Command::new(strip).arg(&program))?;
            }
            libraries.extend(shared_libraries(&program));
        }
        libraries.iter().try_for_each(|library| copy(root, library, library).map(drop))
    }
}

/// The libraries that the loader finds for a program; none for one that is linked statically.
fn shared_libraries(program: &Path) -> Vec<PathBuf> {
    // `ldd` fails on a static program, which is an answer as well.
    let listed = host::run("ldd", &[&program.display().to_string()]).unwrap_or_default();
    listed.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/'))).map(PathBuf::from).collect()
}

fn platform() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" }
}

fn place_in(root: &Path, place: &Path) -> Result<PathBuf> {
    let target = root.join(place.strip_prefix("/").unwrap_or(place));
    let folder = target.parent().context("a place in the image has no folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(target)
}

fn write(root: &Path, place: &Path, content: &str) -> Result<()> {
    let target = place_in(root, place)?;
    fs::write(&target, content).with_context(|| format!("cannot write {}", target.display()))
}

fn copy(root: &Path, source: &Path, place: &Path) -> Result<PathBuf> {
    let target = place_in(root, place)?;
    fs::copy(source, &target).with_context(|| format!("cannot copy {} into the image", source.display()))?;
    Ok(target)
}

/// A folder that is removed when dropped.
struct Work(PathBuf);

impl Work {
    fn create() -> Result<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/plimsoll-bed-image-{}-{number}", std::process::id()));
        host::create_private(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Left for the machine's own cleaning of /tmp where it cannot be removed.
        let _ = fs::remove_dir_all(&self.0);
    }
}
