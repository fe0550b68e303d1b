//! The command line.

mod image;

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use plimsoll_bed::build::Part;
use plimsoll_bed::stop::Stop;
use plimsoll_bed::supervisor::{self, Holding};
use plimsoll_bed::{Description, Options, host};

const HELP: &str = "\
A real Kubernetes on this machine, from package registries alone.

Usage: plimsoll-bed COMMAND

  up [--node] [--gateway] [--fake-nodes N] [--keep]
              start a bed in the background and print how to use it; without options: four fake nodes, no root needed
              --node           a real node with containerd, a registry and metrics-server (root; one per machine)
              --gateway        the Gateway API, served by Contour and Envoy (the first time it is built: 3 minutes of processor time)
              --fake-nodes N   nodes that only kwok plays (default 4, with --node 0)
              --keep           leave logs and audit log behind when the bed goes down
  down        take the bed away
  status      say whether a bed is up, and how to use it
  build [controlplane|kubectl|node|metrics|gateway|prometheus|mesh|envoygateway]
              build these parts (default: all) into the cache, so that nothing waits for it later
  kubectl …   run kubectl on the bed that is up
  helm …      run helm on the bed that is up
  image REFERENCE [--program FILE=PLACE] [--file FILE=PLACE] [--entrypoint WORD]… [--user USER] [--env NAME=VALUE]
              make an image of files and push it; a program brings its shared libraries along;
              REFERENCE without a host (app:1) goes to the registry of the bed that is up
  hold [--node] [--metrics-server] [--gateway] [--fake-nodes N] [--detached] [--keep]
              hold a bed in the foreground until standard input ends (what tests do), or a signal comes

The parts are kept in $XDG_CACHE_HOME/plimsoll/bed (default ~/.cache/plimsoll/bed). KUBEBUILDER_ASSETS may name a folder
with etcd and kube-apiserver to use instead of building these two.
";

/// Runs the command that the arguments name.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let (command, rest) = arguments.split_first().map_or(("help", arguments), |(first, rest)| (first.as_str(), rest));
    match command {
        "up" => up(rest)?,
        "down" => down()?,
        "status" => return status(),
        "build" => build(rest)?,
        "hold" => hold(rest)?,
        "image" => image::push(rest, running()?.as_ref())?,
        "kubectl" | "helm" => return client(command, rest),
        "help" | "--help" | "-h" => print!("{HELP}"),
        unknown => bail!("there is no command {unknown:?}; see plimsoll-bed --help"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Options of a bed, and whether `--detached` and `--keep` are among the arguments.
struct Parsed {
    options: Options,
    detached: bool,
    keep: bool,
}

fn parse(arguments: &[String]) -> Result<Parsed> {
    let mut parsed = Parsed { options: Options::default(), detached: false, keep: false };
    let mut fake_nodes = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--node" => parsed.options.real_node = true,
            "--metrics-server" => parsed.options.metrics_server = true,
            "--gateway" => parsed.options.gateway = true,
            "--detached" => parsed.detached = true,
            "--keep" => parsed.keep = true,
            "--fake-nodes" => {
                let number = rest.next().context("--fake-nodes needs a number")?;
                fake_nodes = Some(number.parse().with_context(|| format!("--fake-nodes: {number:?} is not a number"))?);
            }
            other => bail!("unknown option {other:?}; see plimsoll-bed --help"),
        }
    }
    parsed.options.fake_nodes = fake_nodes.unwrap_or(if parsed.options.real_node { 0 } else { 4 });
    Ok(parsed)
}

fn hold(arguments: &[String]) -> Result<()> {
    let parsed = parse(arguments)?;
    supervisor::hold(&parsed.options, Holding { until_input_ends: !parsed.detached, keep_files: parsed.keep })
}

/// The note of the one bed that `up` keeps: the folder of the bed.
fn note() -> Result<PathBuf> {
    Ok(host::runtime_directory()?.join("up"))
}

/// The bed that is up, if its supervisor lives.
fn running() -> Result<Option<Description>> {
    let Ok(directory) = fs::read_to_string(note()?) else { return Ok(None) };
    let Ok(description) = Description::load(directory.trim().as_ref()) else { return Ok(None) };
    Ok(description.is_held().then_some(description))
}

fn up(arguments: &[String]) -> Result<()> {
    let mut parsed = parse(arguments)?;
    if let Some(description) = running()? {
        if parsed.options.real_node && !description.real_node {
            bail!("the bed that is up has no real node; take it away first: plimsoll-bed down");
        }
        if parsed.options.gateway && description.gateway.is_none() {
            bail!("the bed that is up has no gateway; take it away first: plimsoll-bed down");
        }
        println!("# a bed is already up");
        return explain(&description);
    }
    parsed.options.metrics_server |= parsed.options.real_node;
    // Built here, where the progress is seen.
    supervisor::build(&parsed.options, &Stop::default())?;
    let log = host::runtime_directory()?.join("up.log");
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(["hold", "--detached"]).args(parsed.options.to_arguments());
    if parsed.keep {
        command.arg("--keep");
    }
    // A group of its own, and no terminal: the bed stays when the shell goes.
    command.stdin(Stdio::null()).stdout(output.try_clone().context("cannot share the log")?).stderr(output);
    let mut child = command.process_group(0).spawn().context("cannot start plimsoll-bed")?;
    loop {
        let said = fs::read_to_string(&log).unwrap_or_default();
        if let Some(directory) = said.lines().find_map(|line| line.strip_prefix("ready ")) {
            fs::write(note()?, directory).context("cannot note the running bed")?;
            return explain(&Description::load(directory.as_ref())?);
        }
        if child.try_wait().context("cannot ask for the bed's state")?.is_some() {
            let said = fs::read_to_string(&log).unwrap_or_default().replace('\u{1f}', "\n");
            bail!("the bed did not start:\n{said}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn explain(description: &Description) -> Result<()> {
    println!("export KUBECONFIG={}", description.kubeconfig.display());
    println!("export KUBECTL={} HELM={}", Part::Kubectl.program("kubectl")?.display(), Part::Kubectl.program("helm")?.display());
    if let Some(registry) = &description.registry {
        println!("# registry for images: {registry}");
    }
    if let Some(gateway) = &description.gateway {
        println!("# parentRefs of routes: [{{namespace: gateway, name: bed}}]; requests to {}", gateway.address);
    }
    println!("# logs: {}", description.directory.join("logs").display());
    println!("# to take it away: make bed-down");
    Ok(())
}

fn down() -> Result<()> {
    let Some(description) = running()? else {
        println!("no bed is up");
        return Ok(());
    };
    host::run("sh", &["-c", "kill -TERM \"$1\"", "sh", &description.supervisor.to_string()])?;
    for _ in 0..600 {
        if !description.is_held() {
            // The note names a bed that is gone; the next `up` would find that out as well.
            let _ = fs::remove_file(note()?);
            println!("the bed is gone");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("the bed is still there after a minute; its supervisor is process {}", description.supervisor)
}

fn status() -> Result<ExitCode> {
    let Some(description) = running()? else {
        println!("no bed is up; start one: make bed");
        return Ok(ExitCode::FAILURE);
    };
    println!("# a bed is up, held by process {}", description.supervisor);
    explain(&description)?;
    Ok(ExitCode::SUCCESS)
}

fn build(arguments: &[String]) -> Result<()> {
    let mut parts = Vec::new();
    for name in arguments {
        let part = Part::ALL.into_iter().find(|part| part.name() == name);
        parts.push(part.with_context(|| {
            format!("there is no part {name:?}: controlplane, kubectl, node, metrics, gateway, prometheus, mesh or envoygateway")
        })?);
    }
    if parts.is_empty() {
        parts = Part::ALL.to_vec();
    }
    for part in parts {
        part.build(&Stop::default())?;
        println!("{}: {}", part.name(), part.directory()?.display());
    }
    Ok(())
}

fn client(name: &str, arguments: &[String]) -> Result<ExitCode> {
    let description = running()?.context("no bed is up; start one: make bed")?;
    let mut command = Command::new(Part::Kubectl.program(name)?);
    command.args(arguments).env("KUBECONFIG", &description.kubeconfig);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {name}"))
}
