//! `wsp`: merges snapshots into profiles and answers questions about them.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wsp_analyze::cli::main()
}
