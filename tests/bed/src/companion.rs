//! A program that a test starts beside its bed.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context, Result};

use crate::host;

/// A process that ends with the value, or with the process that started it, however that ends.
pub struct Companion {
    child: Child,
    /// Its parent is a thread of its own: the kernel ends it with the thread that started it, and a test's thread ends before others' do.
    _parent: Sender<()>,
}

impl Companion {
    /// Starts `program` in `directory`, with these variables added to the environment; what it says goes to the file `log` there.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, directory: &Path, environment: &[(&str, &str)], arguments: &[String]) -> Result<Self> {
        let name = program.display();
        let setpriv = host::find_program("setpriv").context("the program `setpriv` is missing: install util-linux")?;
        let log = File::create(directory.join("log")).with_context(|| format!("cannot write the log of {name}"))?;
        let mut command = Command::new(setpriv);
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().with_context(|| format!("cannot share the log of {name}"))?)
            .stderr(log);
        let (end, ended) = channel::<()>();
        let (started, child) = channel();
        std::thread::spawn(move || {
            let _ = started.send(command.spawn());
            // Until the other side is dropped.
            let _ = ended.recv();
        });
        let child = child.recv().with_context(|| format!("the parent of {name} ended"))?.with_context(|| format!("cannot run {name}"))?;
        Ok(Self { child, _parent: end })
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        self.child.try_wait().context("cannot ask for a process")
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
