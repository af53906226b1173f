//! `wsp-datasets`: fleets with a known truth, the bundled recordings, and bad input, into a store.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is a failed test"))]

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
