//! A cluster, as kubectl and helm reach it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use plimsoll_bed::build::Part;
use plimsoll_bed::{Bed, host};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Longer than any single command here takes by itself; what waits names its own, shorter limit.
const LIMIT: Duration = Duration::from_secs(600);

/// A cluster, as kubectl and helm reach it, and the registry that its nodes pull from.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// None: whatever the user's environment says.
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    /// Where caches may lie; none: the user's own home.
    home: Option<PathBuf>,
    registry: String,
}

impl Cluster {
    /// The cluster of a bed with a real node.
    ///
    /// # Errors
    /// When the bed has no registry, which is to say no real node.
    pub fn of_bed(bed: &Bed) -> Result<Self> {
        let registry = bed.registry().context("the bed has no registry: it was started without the real node")?;
        Ok(Self {
            kubeconfig: Some(bed.kubeconfig().to_owned()),
            context: None,
            home: Some(bed.directory().to_owned()),
            registry: registry.to_owned(),
        })
    }

    /// A context of the user's own kubeconfig, and a registry (`host/path`) that its nodes can pull from.
    #[must_use]
    pub fn of_user(context: &str, registry: &str) -> Self {
        let registry = registry.trim_end_matches('/').to_owned();
        Self { kubeconfig: None, context: Some(context.to_owned()), home: None, registry }
    }

    /// The name under which an image is pushed and pulled.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.registry)
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// When it fails or takes too long; the error holds its message.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run("kubectl", arguments, None).await
    }

    /// Applies a manifest in a namespace, as `kubectl apply --filename` does.
    ///
    /// # Errors
    /// When the API server refuses it; the error holds its message.
    pub async fn apply(&self, namespace: &str, manifest: &str) -> Result<String> {
        self.run("kubectl", &["apply", "--namespace", namespace, "--filename=-"], Some(manifest)).await
    }

    /// A field of an object as `kubectl get --output=jsonpath` prints it; empty where there is no such object or field.
    pub async fn field(&self, namespace: &str, object: &[&str], path: &str) -> String {
        let output = format!("--output=jsonpath={path}");
        let mut arguments = vec!["get", "--namespace", namespace, "--ignore-not-found", &output];
        arguments.extend(object);
        self.kubectl(&arguments).await.unwrap_or_default()
    }

    /// Runs helm and returns what it printed.
    ///
    /// # Errors
    /// When it fails or takes too long; the error holds its message.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        self.run("helm", arguments, None).await
    }

    /// Starts kubectl and leaves its output to the caller. It ends when the returned value is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_kubectl(&self, arguments: &[&str]) -> Result<std::process::Child> {
        let mut command = self.command("kubectl")?;
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.into_std().spawn().context("cannot run kubectl")
    }

    async fn run(&self, program: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let mut command = self.command(program)?;
        command.args(arguments).kill_on_drop(true);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {program}"))?;
        if let (Some(text), Some(mut pipe)) = (input, child.stdin.take()) {
            pipe.write_all(text.as_bytes()).await.with_context(|| format!("cannot write to {program}"))?;
        }
        let name = format!("{program} {}", arguments.join(" "));
        let Ok(output) = tokio::time::timeout(LIMIT, child.wait_with_output()).await else {
            bail!("{name} did not end within {} s", LIMIT.as_secs());
        };
        host::answer(&name, &output.with_context(|| format!("cannot wait for {program}"))?)
    }

    fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(Part::Kubectl.program(program)?);
        // It ends before there is garbage worth a search.
        command.env("GOGC", "off");
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        if let Some(home) = &self.home {
            // Discovery caches of other beds at the same address must not be read.
            command.env("HOME", home);
        }
        if let Some(context) = &self.context {
            command.arg(if program == "helm" { "--kube-context" } else { "--context" }).arg(context);
        }
        // Ctrl-C goes to the group in the foreground; tidying up needs these commands after it.
        command.process_group(0);
        Ok(command)
    }
}
