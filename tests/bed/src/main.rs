//! The program `plimsoll-bed`: holds test beds and starts one for development.

mod commands;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A shell pipe such as `… | head` closes early; the messages of what fails are for people, one line per cause.
    match commands::run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("plimsoll-bed: {error:#}");
            ExitCode::FAILURE
        }
    }
}
