//! `plimsoll simulate`: a rollout on the virtual clock, offline.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use crate::sim::{self, Scenario};

/// Plays a scenario on a virtual clock and prints what happens, line by line, each with its reason. No cluster is needed.
///
/// A scenario names a service, how its images behave (failures, latency, crashes …), the traffic, and what happens when: a new image, a lost
/// node, an operator that dies. The decisions are those that the operator would make; half an hour takes about a second. The scenarios under
/// examples/scenarios/ are a place to begin.
///
/// Exits with 1 if the scenario cannot be read, or if something happened that must never happen (such lines begin with VIOLATED).
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The scenario, a YAML file.
    #[arg(value_name = "SCENARIO.yaml")]
    scenario: PathBuf,
    /// Seed of everything that is left to chance. The same seed gives the same timeline.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the summary only.
    #[arg(long, short)]
    quiet: bool,
}

/// Plays the scenario.
///
/// # Errors
/// The file cannot be read, or an invariant was violated.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let file = arguments.scenario.display();
    let text = fs::read_to_string(&arguments.scenario).with_context(|| format!("cannot read {file}"))?;
    let scenario = Scenario::read(&text).map_err(|error| anyhow!("{file}: {error}"))?;
    let report = sim::run(&scenario, arguments.seed);
    if arguments.quiet {
        print!("{}", report.summary);
    } else {
        print!("{}\n{}", report.timeline, report.summary);
    }
    match report.violations.len() {
        0 => Ok(()),
        count => Err(anyhow!("{count} invariants violated; this is a bug in plimsoll")),
    }
}
