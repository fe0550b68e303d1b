//! The processes of a bed: started in groups of their own, logged, watched, and found again by a mark.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::host;

/// Kubernetes' programs collect their garbage when the heap has grown by so many percent (Go's own: 100). Beds live for minutes, several beside each
/// other on few processors; memory is what they have.
const GARBAGE_PERCENT: &str = "300";

/// The variable that every process of a bed carries in its environment; its value is the bed's folder.
pub const MARK: &str = "PLIMSOLL_BED_DIRECTORY";

/// The running processes of one bed.
pub struct Processes {
    directory: PathBuf,
    setpriv: Option<PathBuf>,
    children: Vec<(String, Child)>,
}

impl Processes {
    /// No processes yet; their logs go to `directory/logs`.
    ///
    /// # Errors
    /// When the folder of the logs cannot be created.
    pub fn new(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory.join("logs")).context("cannot create the folder of the logs")?;
        Ok(Self { directory: directory.to_owned(), setpriv: host::find_program("setpriv"), children: Vec::new() })
    }

    /// The log of the process called `name`.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{name}.log"))
    }

    /// Starts a process. It dies with this thread's process where `setpriv` is installed.
    ///
    /// # Errors
    /// When the program cannot be started or its log not written.
    pub fn start(&mut self, name: &str, program: &Path, arguments: &[String], path: Option<&Path>) -> Result<()> {
        let log = File::create(self.log(name)).with_context(|| format!("cannot write the log of {name}"))?;
        let mut command = match &self.setpriv {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        let mut search = std::env::var_os("PATH").unwrap_or_default();
        if let Some(path) = path {
            let folders = std::iter::once(path.to_owned()).chain(std::env::split_paths(&search));
            search = std::env::join_paths(folders).context("a folder's name cannot stand in PATH")?;
        }
        // A clean environment: proxy settings and the user's own KUBECONFIG must not reach the cluster.
        command
            .args(arguments)
            .env_clear()
            .env("PATH", search)
            .env("HOME", &self.directory)
            .env(MARK, &self.directory)
            .env("GOGC", GARBAGE_PERCENT)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot share the log")?)
            .stderr(log)
            .process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        self.children.push((name.to_owned(), child));
        Ok(())
    }

    /// The process id of the process called `name`.
    ///
    /// # Errors
    /// When no process of that name was started.
    pub fn id(&self, name: &str) -> Result<u32> {
        let found = self.children.iter().find(|(started, _)| started == name);
        found.map(|(_, child)| child.id()).with_context(|| format!("{name} was not started"))
    }

    /// Looks whether all processes still run.
    ///
    /// # Errors
    /// When one has ended; the error holds the last lines of its log.
    pub fn check(&mut self) -> Result<()> {
        for (name, child) in &mut self.children {
            if let Some(status) = child.try_wait().with_context(|| format!("cannot ask for the state of {name}"))? {
                let log = self.directory.join("logs").join(format!("{name}.log"));
                bail!("{name} ended ({status}); the end of its log:\n{}", host::last_lines(&log, 12));
            }
        }
        Ok(())
    }

    /// Ends all processes at once: their state is thrown away with them.
    pub fn stop_all(&mut self) {
        let groups: Vec<String> = self.children.iter().map(|(_, child)| format!("-{}", child.id())).collect();
        kill(&groups);
        for (_, child) in &mut self.children {
            let _ = child.wait();
        }
        self.children.clear();
        kill_marked(&self.directory);
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.stop_all();
    }
}

/// Kills processes (or groups, with a leading minus) that may already be gone.
pub fn kill(targets: &[String]) {
    if targets.is_empty() {
        return;
    }
    // The shell's own `kill` is there where the program is not.
    let _ = Command::new("sh")
        .args(["-c", "for p in \"$@\"; do kill -s KILL -- \"$p\" 2>/dev/null; done", "sh"])
        .args(targets)
        .stdin(Stdio::null())
        .status();
}

/// Kills every process that carries the bed's mark, and waits until they are gone.
pub fn kill_marked(directory: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let marked = marked(directory);
        if marked.is_empty() || Instant::now() > deadline {
            return;
        }
        kill(&marked);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The ids of the living processes that carry the bed's mark.
#[must_use]
pub fn marked(directory: &Path) -> Vec<String> {
    let mark = format!("{MARK}={}", directory.display()).into_bytes();
    let own = std::process::id().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| {
            // The environment of a dead process that nobody has waited for is empty.
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark)
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|id| *id != own && id.bytes().all(|byte| byte.is_ascii_digit()))
        .collect()
}
