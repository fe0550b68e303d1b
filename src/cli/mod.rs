//! The command line: one file per subcommand.

#![allow(clippy::doc_markdown, reason = "the doc comments of arguments are the help, word for word")]

mod cluster;
mod crd;
mod document;
mod output;
mod render;
mod replay;
mod run;
mod schema;
mod simulate;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// plimsoll: an app in production, and every new version of it judged by evidence.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, about, propagate_version = true, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Arguments),
    Status(status::Arguments),
    Render(render::Arguments),
    Simulate(simulate::Arguments),
    Replay(replay::Arguments),
    Crd(crd::Arguments),
}

/// Runs the subcommand that was asked for. Errors go to standard error, one line with its causes.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run::run(arguments).map(done),
        Command::Status(arguments) => status::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Crd(arguments) => crd::run(&arguments).map(done),
        Command::Simulate(arguments) => simulate::run(&arguments).map(done),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("plimsoll: {error:#}");
        ExitCode::FAILURE
    })
}

/// Subcommands that either fail or have done what they were asked.
fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}
