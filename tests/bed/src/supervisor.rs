//! The process that holds a bed: starts it, watches it, and takes all of it away at the end.
//!
//! Tests start it with a pipe on its standard input. The pipe closes when the test's process ends, whatever the reason,
//! kill -9 included; that, SIGTERM and SIGINT are the signs to tear down.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::build::Part;
use crate::description::Description;
use crate::options::Options;
use crate::processes::Processes;
use crate::progress::{self, Step};
use crate::site::Site;
use crate::slot::Slot;
use crate::stop::Stop;
use crate::{cleanup, control_plane, fake_nodes, gateway, node};

/// How a bed is held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holding {
    /// End with standard input; otherwise only with a signal.
    pub until_input_ends: bool,
    /// Leave the bed's folder (logs, audit log) behind.
    pub keep_files: bool,
}

/// Holds a bed until it is told to stop. Says `ready <folder>` on standard output when the bed can be used,
/// or `failed <reason>`.
///
/// # Errors
/// When the bed cannot be started.
pub fn hold(options: &Options, holding: Holding) -> Result<()> {
    let stop = Stop::default();
    watch_for_end(&stop, holding.until_input_ends)?;
    let outcome = run(options, holding, &stop);
    if let Err(error) = &outcome {
        // One line: the client reads lines.
        report(&format!("failed {}", format!("{error:#}").replace('\n', "\u{1f}")));
    }
    outcome
}

fn run(options: &Options, holding: Holding, stop: &Stop) -> Result<()> {
    // Before the builds: whoever cannot run the node is told at once.
    let claim = if options.real_node { Some(node::claim(stop)?) } else { None };
    build(options, stop)?;
    let mut slot = Slot::claim()?;
    let site = Site::create(&mut slot, options)?;
    let mut processes = Processes::new(&site.directory)?;
    let outcome = start(&site, &mut slot, &mut processes, stop).and_then(|description| {
        description.save()?;
        report(&format!("ready {}", site.directory.display()));
        watch(&mut processes, stop);
        Ok(())
    });
    processes.stop_all();
    node::remove(&site.directory, site.network);
    cleanup::remove_route(site.network);
    if !holding.keep_files {
        cleanup::remove_directory(&site.directory)?;
    }
    slot.forget()?;
    drop(claim);
    outcome
}

/// Builds what the bed needs.
///
/// # Errors
/// When a build fails.
pub fn build(options: &Options, stop: &Stop) -> Result<()> {
    Part::ControlPlane.build(stop)?;
    Part::Kubectl.build(stop)?;
    if options.real_node {
        Part::Node.build(stop)?;
    }
    if options.metrics_server {
        Part::Metrics.build(stop)?;
    }
    if options.gateway {
        Part::Gateway.build(stop)?;
    }
    Ok(())
}

fn start(site: &Site, slot: &mut Slot, processes: &mut Processes, stop: &Stop) -> Result<Description> {
    if site.options.real_node {
        node::prepare(site)?;
    }
    let progress = Step::begin("starting the control plane …");
    control_plane::start(site, slot, processes, stop)?;
    fake_nodes::start(site, processes, stop)?;
    progress.end();
    let mut registry = None;
    if site.options.real_node {
        let progress = Step::begin("starting the real node …");
        registry = Some(node::start(site, slot, processes, stop)?);
        progress.end();
    }
    let mut served = None;
    if site.options.gateway {
        let progress = Step::begin("starting Contour and Envoy …");
        served = Some(gateway::start(site, slot, processes, stop)?);
        progress.end();
    }
    Ok(Description {
        directory: site.directory.clone(),
        kubeconfig: site.kubeconfig(),
        server: site.server(),
        certificate_authority: site.authority.certificate(),
        audit_log: site.audit_log(),
        registry,
        pod_cidr: site.network.fake_pods(),
        real_node: site.options.real_node,
        gateway: served,
        supervisor: std::process::id(),
    })
}

/// Waits for the sign to stop; says so when a process of the bed ends by itself.
fn watch(processes: &mut Processes, stop: &Stop) {
    while !stop.wait(Duration::from_secs(1)) {
        if let Err(error) = processes.check() {
            progress::say(&format!("{error:#}"));
            // Said once; what still runs is left to the tests, which fail by themselves.
            while !stop.wait(Duration::from_secs(60)) {}
        }
    }
}

fn report(line: &str) {
    let mut output = std::io::stdout().lock();
    // Nobody may be listening any more.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// Raises the flag on SIGTERM and SIGINT; with `until_input_ends` also on SIGHUP and at the end of standard input.
fn watch_for_end(stop: &Stop, until_input_ends: bool) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot watch signals")?;
    let entered = runtime.enter();
    let mut signals = Vec::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        signals.push((kind, signal(kind).context("cannot watch a signal")?));
    }
    drop(entered);
    for (kind, mut signal) in signals {
        // Watched, and therefore harmless: a bed in the background outlives the terminal.
        if kind == SignalKind::hangup() && !until_input_ends {
            continue;
        }
        let stop = stop.clone();
        runtime.spawn(async move {
            signal.recv().await;
            stop.request();
        });
    }
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    if until_input_ends {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while matches!(std::io::stdin().read(&mut buffer), Ok(1..)) {}
            stop.request();
        });
    }
    Ok(())
}
