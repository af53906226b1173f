//! `wsp`: merges snapshots into profiles and answers questions about them.

use std::process::ExitCode;

fn main() -> ExitCode {
    wsp_analyze::cli::main()
}
