//! `wsp`: merges snapshots into profiles and answers questions about them.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    wsp_analyze::cli::main().await
}
