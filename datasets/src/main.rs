//! `wsp-datasets`: fleets with a known truth, the bundled recordings, and bad input, into a store.

mod cli;
#[cfg(feature = "fleet")]
mod scale;

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
