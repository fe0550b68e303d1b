//! What only real pods can show: pulls, crashes, memory, drains, numbers of real requests. Needs root; one bed for all scenarios.
//!
//! `cargo test --test node` runs all, `cargo test --test node crash` those with that word in their name. One needs two minutes of processor time for
//! itself and is left to CI: `cargo test --test node -- users_stay --ignored`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends by panicking")]

mod app;
mod envoy_gateway;
mod scenarios;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use plimsoll_bed::host;

/// They wait most of the time. More at once would starve the pods on two cores, and a starved pod is not ready.
const AT_ONCE: usize = 5;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let root = host::is_root();
    if !root {
        eprintln!("not run: the tests on the real node need root (network namespaces, mounts, cgroups); they are counted as ignored");
    }
    let run = |trial: Trial| {
        let for_ci = trial.has_ignored_flag();
        trial.with_ignored_flag(for_ci || !root)
    };
    let trials: Vec<Trial> = scenarios::all().into_iter().map(run).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    world::end();
    conclusion.exit_code()
}
