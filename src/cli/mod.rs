//! The command line: one file per subcommand.

mod crd;
mod run;

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
    Crd(crd::Arguments),
}

/// Runs the subcommand that was asked for. Errors go to standard error, one line with its causes.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(arguments) => run::run(arguments),
        Command::Crd(arguments) => crd::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plimsoll: {error:#}");
            ExitCode::FAILURE
        }
    }
}
