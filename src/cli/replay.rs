//! `plimsoll replay`: decides again what was saved.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde::Serialize;

use super::output::{Color, print};
use super::status::report::Report;
use super::status::tree::tree;
use crate::controller::saved::Saved;
use crate::decide::{Decision, Event, Write, decide};

/// Decides once more about a service that `plimsoll status NAME --save FILE` saved, and says why: what would be decided, what would be written, and
/// for each objective its counts, how its evidence moved towards the limit, and what would change the verdict. No cluster is needed.
///
/// The same file gives the same decision, word for word; a file with a wrong one is a bug report. What only the operator knows is not in it: its
/// settings, and what its judge has learned since it last wrote it down, half a minute at most.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The file; `-` reads standard input.
    #[arg(value_name = "FILE")]
    filename: PathBuf,
    /// Decide as of this moment (such as 2026-11-29T20:57:00Z). Default: when the file was saved.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Format.
    #[arg(short, long, value_enum, default_value = "tree")]
    output: Format,
    /// When colours are used.
    #[arg(long, value_enum, default_value = "auto")]
    color: Color,
}

/// Format of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Tree,
    /// One JSON object.
    Json,
    /// One YAML document.
    Yaml,
}

/// What was decided.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    at: Timestamp,
    events: Vec<String>,
    writes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    looks_again: Option<Timestamp>,
    /// The service with its new status.
    service: Report,
}

/// Runs the subcommand.
///
/// # Errors
/// When the file cannot be read, or is not one of these.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let file = arguments.filename.display();
    let text = super::render::text(&arguments.filename)?;
    let saved: Saved = serde_saphyr::from_str(&text)
        .map_err(|error| anyhow!("{file}: {}", error.render_with_formatter(&serde_saphyr::UserMessageFormatter)))
        .context("not a file that `plimsoll status NAME --save FILE` has written")?;
    let snapshot = saved.snapshot().map_err(|error| anyhow!("{file}: {error}"))?;
    let at = arguments.at.unwrap_or(saved.at);
    let decision = decide(&snapshot, &saved.measurements(&snapshot), at);
    let pods: BTreeMap<String, Pod> =
        saved.pods.iter().filter_map(|pod| serde_json::from_value::<Pod>(pod.clone()).ok()).map(|pod| (pod.name_any(), pod)).collect();
    let mut service = snapshot.service.clone();
    service.status = Some(decision.status.clone());
    let replayed = Replayed::of(&decision, Report::of(&service, &Ok(pods), at), at);
    print(&match arguments.output {
        Format::Tree => replayed.words(arguments.color.wanted()),
        Format::Json => serde_json::to_string_pretty(&replayed)? + "\n",
        Format::Yaml => serde_saphyr::to_string(&replayed)?,
    })?;
    Ok(ExitCode::SUCCESS)
}

impl Replayed {
    fn of(decision: &Decision, service: Report, at: Timestamp) -> Self {
        let event = |event: &Event| format!("{}{}: {}", if event.warning { "warning " } else { "" }, event.reason, event.message);
        let write = |write: &Write| match write {
            Write::Create { key, .. } => format!("create {key}"),
            Write::Apply { key, .. } => format!("apply {key}"),
            Write::Delete { key, .. } => format!("delete {key}"),
            Write::Reroute { key, .. } => format!("move weights in {key}"),
            Write::Finalizers { .. } => "change the service's finalizers".to_owned(),
            Write::Scale { replicas } => format!("scale the service to {replicas}"),
        };
        Self {
            at,
            events: decision.events.iter().map(event).collect(),
            writes: decision.writes.iter().map(write).collect(),
            looks_again: decision.wake,
            service,
        }
    }

    fn words(&self, color: bool) -> String {
        let mut text = format!("as of {}\n", self.at.strftime("%Y-%m-%d %H:%M:%S UTC"));
        for (what, lines, none) in [("tells", &self.events, "nothing new"), ("writes", &self.writes, "no object")] {
            let nothing = [none.to_owned()];
            let lines = if lines.is_empty() { nothing.as_slice() } else { lines.as_slice() };
            for (index, line) in lines.iter().enumerate() {
                let _ = writeln!(text, "{:12}{line}", if index == 0 { what } else { "" });
            }
        }
        if let Some(at) = self.looks_again {
            let seconds = at.duration_since(self.at).as_secs_f64().max(0.0);
            let _ = writeln!(text, "looks again in {seconds:.0} s");
        }
        text + "\n" + &tree(&self.service, self.at, color, true)
    }
}
