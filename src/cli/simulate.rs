//! `plimsoll simulate`: a rollout on the virtual clock, offline.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use crate::decide::analysis::planning;
use crate::decide::plan::Plan;
use crate::sim::{self, Scenario, fate};

/// Plays a scenario on a virtual clock and prints what happens, line by line, each with its reason. No cluster is needed.
///
/// A scenario names a service, how its images behave (failures, latency, crashes …), the traffic, and what happens when: a new image, a lost
/// node, an operator that dies. The decisions are those that the operator would make; half an hour takes about a second. The scenarios under
/// examples/scenarios/ are a place to begin.
///
/// With `-f` it is your own service's strategy that is played, against a version of the kind that `--candidate` names: what would a version that fails
/// 5% of its requests do to your users?
///
/// Exits with 1 if the scenario cannot be read, or if something happened that must never happen (such lines begin with VIOLATED).
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The scenario, a YAML file.
    #[arg(value_name = "SCENARIO.yaml", required_unless_present = "filename", conflicts_with = "filename")]
    scenario: Option<PathBuf>,
    /// File with a `ProductionService`; `-` reads standard input.
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// The new version: good, bad-at-5% (fails that share of its requests), slow-by-3x, crash-loop, out-of-memory, never-ready.
    #[arg(long, value_name = "KIND", default_value = "bad-at-5%", requires = "filename")]
    candidate: String,
    /// What users send to the service of `-f`.
    #[arg(long, value_name = "N", default_value_t = 100.0, requires = "filename")]
    requests_per_second: f64,
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
    let scenarios = match (&arguments.scenario, &arguments.filename) {
        (Some(scenario), _) => vec![(read(scenario)?, String::new())],
        (None, Some(filename)) => of_services(arguments, filename)?,
        (None, None) => Vec::new(),
    };
    for (index, (scenario, needs)) in scenarios.iter().enumerate() {
        if index > 0 {
            println!();
        }
        play(arguments, scenario, needs)?;
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Scenario> {
    let file = path.display();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
    Scenario::read(&text).map_err(|error| anyhow!("{file}: {error}"))
}

/// Each service of a file, against the version that is asked for, and what its steps need.
fn of_services(arguments: &Arguments, filename: &Path) -> anyhow::Result<Vec<(Scenario, String)>> {
    let rate = arguments.requests_per_second;
    anyhow::ensure!((0.0..=1_000_000.0).contains(&rate), "--requests-per-second: {rate} is not a number from 0 to 1000000");
    let plans = super::render::plans(filename)?;
    let scenario =
        |plan: &Plan| Ok((fate::scenario(&plan.name, &plan.spec, fate::behaviour(&arguments.candidate)?, rate), needs(plan, rate)));
    plans.iter().map(scenario).collect::<Result<_, String>>().map_err(|error| anyhow!("--candidate: {error}"))
}

/// What each step needs to exclude one point more failures, and to find them, in requests to the new version and in seconds at this traffic.
fn needs(plan: &Plan, requests_per_second: f64) -> String {
    let of_step = |step: i32| {
        let weight = plan.expected_weight(step);
        let needs = planning::forecast(&plan.settings, weight)?;
        let time = |requests: f64| match requests_per_second * weight / 100.0 {
            rate if rate > 0.0 => format!("{:.0} s", (requests / rate).ceil()),
            _ => "never".to_owned(),
        };
        Some(format!(
            "step {} at {weight:.0}%: 1 point more failures is excluded by {:.0} requests ({}), found by {:.0} ({}, in the median)\n",
            step + 1,
            needs.to_exclude,
            time(needs.to_exclude),
            needs.to_find,
            time(needs.to_find),
        ))
    };
    (0..plan.steps()).filter_map(of_step).collect()
}

fn play(arguments: &Arguments, scenario: &Scenario, needs: &str) -> anyhow::Result<()> {
    if arguments.filename.is_some() {
        println!("{}: a new version, {}, under {} requests a second", scenario.name, arguments.candidate, arguments.requests_per_second);
        println!("{needs}");
    }
    let report = sim::run(scenario, arguments.seed);
    if arguments.quiet {
        print!("{}", report.summary);
    } else {
        print!("{}\n{}", report.timeline, report.summary);
    }
    if arguments.filename.is_some() {
        let failed: u64 = report.served.values().map(|served| served.failed).sum();
        let requests: u64 = report.served.values().map(|served| served.requests).sum();
        println!("users: {failed} of {requests} requests failed; {}", report.message);
    }
    match report.violations.len() {
        0 => Ok(()),
        count => Err(anyhow!("{count} invariants violated; this is a bug in plimsoll")),
    }
}
