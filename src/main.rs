//! argv → subcommand → exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // One TLS provider for everything; a second installation can only fail because one is there.
    rustls::crypto::ring::default_provider().install_default().ok();
    plimsoll::cli::main()
}
