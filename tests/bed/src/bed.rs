//! A running bed, as tests see it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::audit::Audit;
use crate::build::Part;
use crate::description::{Description, Gateway};
use crate::kubeconfig::{self, Credential};
use crate::options::Options;
use crate::{executable, host, processes};

/// Names the kubeconfig of a bed that is already running; tests use it instead of starting their own.
pub const ATTACH_VARIABLE: &str = "PLIMSOLL_BED_KUBECONFIG";

/// A running bed. Dropping it takes the cluster away, unless it was attached to.
pub struct Bed {
    description: Description,
    /// The process that holds the bed; none where we only attached.
    supervisor: Option<Child>,
}

impl Bed {
    /// Starts a bed of its own. The first time on a machine it is built, which takes minutes and says so.
    ///
    /// The cluster ends with the returned value, or with this process, however that ends.
    ///
    /// # Errors
    /// When a part cannot be built or started; the message says what is missing.
    pub async fn start(options: Options) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(&options)).await.context("starting the bed panicked")?
    }

    /// As `start`, or attaches to the bed that the environment names (`PLIMSOLL_BED_KUBECONFIG`), for a fast loop
    /// while writing tests.
    ///
    /// # Errors
    /// As `start`, or when the named bed lacks what `options` ask for.
    pub async fn start_or_attach(options: Options) -> Result<Self> {
        let Some(kubeconfig) = std::env::var_os(ATTACH_VARIABLE) else { return Self::start(options).await };
        let bed = Self::attach(Path::new(&kubeconfig))?;
        if options.real_node && !bed.description.real_node {
            bail!("the bed that {ATTACH_VARIABLE} names has no real node");
        }
        if options.gateway && bed.description.gateway.is_none() {
            bail!("the bed that {ATTACH_VARIABLE} names has no gateway");
        }
        Ok(bed)
    }

    /// Uses a bed that something else holds, by the kubeconfig in its folder.
    ///
    /// # Errors
    /// When the file is not in the folder of a bed.
    pub fn attach(kubeconfig: &Path) -> Result<Self> {
        let directory = kubeconfig.parent().context("the kubeconfig has no folder")?;
        Ok(Self { description: Description::load(directory)?, supervisor: None })
    }

    fn start_blocking(options: &Options) -> Result<Self> {
        let mut supervisor = Command::new(executable::locate()?)
            .arg("hold")
            .args(options.to_arguments())
            // The pipe's other end is held by this process alone: its end is the sign to tear down.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C goes to the group in the foreground; the supervisor must outlive it to tidy up.
            .process_group(0)
            .spawn()
            .context("cannot start plimsoll-bed")?;
        let output = supervisor.stdout.take().context("plimsoll-bed has no output")?;
        let answer = first_line(output);
        match answer.split_once(' ') {
            Some(("ready", directory)) => Ok(Self { description: Description::load(Path::new(directory))?, supervisor: Some(supervisor) }),
            Some(("failed", reason)) => {
                supervisor.wait().context("cannot wait for plimsoll-bed")?;
                bail!("the bed did not start: {}", reason.replace('\u{1f}', "\n"))
            }
            _ => bail!("plimsoll-bed ended before the bed was ready: {answer:?}"),
        }
    }

    /// Takes the cluster away and waits until nothing is left of it.
    ///
    /// # Errors
    /// When the supervisor reports that it could not tidy up.
    pub async fn stop(mut self) -> Result<()> {
        let Some(supervisor) = self.supervisor.take() else { return Ok(()) };
        tokio::task::spawn_blocking(move || end(supervisor)).await.context("stopping the bed panicked")?
    }

    /// The kubeconfig of the cluster's administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.description.kubeconfig
    }

    /// The API server's address on this machine.
    #[must_use]
    pub fn server_url(&self) -> &str {
        &self.description.server
    }

    /// The certificate authority of the API server, PEM.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn ca_pem(&self) -> Result<String> {
        let path = &self.description.certificate_authority;
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The bed's folder: certificates, logs, the audit log. Files of a test may lie here too.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.description.directory
    }

    /// The API server's audit log.
    #[must_use]
    pub fn audit_log(&self) -> &Path {
        &self.description.audit_log
    }

    /// `host:port` of the bed's registry, where it has a real node.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        self.description.registry.as_deref()
    }

    /// The Gateway, where the bed was started with one.
    #[must_use]
    pub fn gateway(&self) -> Option<&Gateway> {
        self.description.gateway.as_ref()
    }

    /// The addresses of fake pods. As root, a server on `0.0.0.0:PORT` of this machine answers for every one of them, and
    /// its connection's local address tells which is meant.
    #[must_use]
    pub fn pod_cidr(&self) -> &str {
        &self.description.pod_cidr
    }

    /// The supervisor's process id.
    #[must_use]
    pub fn supervisor_id(&self) -> u32 {
        self.description.supervisor
    }

    /// Where the bed's kubectl lies.
    ///
    /// # Errors
    /// When there is no cache folder.
    pub fn kubectl_path(&self) -> Result<PathBuf> {
        Part::Kubectl.program("kubectl")
    }

    /// Where the bed's helm lies.
    ///
    /// # Errors
    /// When there is no cache folder.
    pub fn helm_path(&self) -> Result<PathBuf> {
        Part::Kubectl.program("helm")
    }

    /// Requests to the API server from now on.
    ///
    /// # Errors
    /// When the audit log cannot be looked at.
    pub fn audit(&self) -> Result<Audit> {
        Audit::from_now(self.audit_log())
    }

    /// A command whose process ends with the bed, also when the test that started it is killed.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env(processes::MARK, self.directory());
        command
    }

    /// Runs kubectl as administrator and returns what it printed.
    ///
    /// # Errors
    /// When it fails; the error holds its message.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.client("kubectl", arguments, None).await
    }

    /// Runs kubectl as administrator with a text on its standard input, as for `apply --filename=-`.
    ///
    /// # Errors
    /// When it fails; the error holds its message.
    pub async fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        self.client("kubectl", arguments, Some(input)).await
    }

    /// Runs helm as administrator and returns what it printed.
    ///
    /// # Errors
    /// When it fails; the error holds its message.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        self.client("helm", arguments, None).await
    }

    async fn client(&self, name: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let mut command = tokio::process::Command::new(Part::Kubectl.program(name)?);
        // A folder of its own: discovery caches of other beds at the same address must not be read.
        // They end before there is garbage worth a search.
        command.args(arguments).env("KUBECONFIG", self.kubeconfig()).env("HOME", self.directory()).env("GOGC", "off");
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
        if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
            use tokio::io::AsyncWriteExt;
            pipe.write_all(text.as_bytes()).await.with_context(|| format!("cannot write to {name}"))?;
        }
        let output = child.wait_with_output().await.with_context(|| format!("cannot wait for {name}"))?;
        host::answer(&format!("{name} {}", arguments.join(" ")), &output)
    }

    /// A kubeconfig that signs in as a service account and so may do what its roles allow, and nothing else.
    /// The token is valid for a day.
    ///
    /// # Errors
    /// When the service account does not exist or the file cannot be written.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", name, "--namespace", namespace, "--duration=24h"]).await?;
        let path = self.directory().join(format!("{namespace}-{name}.kubeconfig"));
        let authority = &self.description.certificate_authority;
        kubeconfig::write(&path, self.server_url(), authority, &Credential::Token(token.trim()))?;
        Ok(path)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            // Nothing can be returned here; the next bed on this machine cleans up what is left.
            let _ = end(supervisor);
        }
    }
}

/// Closes the supervisor's input and waits for its end.
fn end(mut supervisor: Child) -> Result<()> {
    drop(supervisor.stdin.take());
    let status = supervisor.wait().context("cannot wait for plimsoll-bed")?;
    if !status.success() {
        bail!("plimsoll-bed could not tidy up ({status})");
    }
    Ok(())
}

fn first_line(output: impl std::io::Read) -> String {
    let mut line = String::new();
    // An output that cannot be read is as good as an empty one.
    let _ = BufReader::new(output).read_line(&mut line);
    line.trim_end().to_owned()
}
