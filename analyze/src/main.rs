//! `wsp`: merges snapshots into profiles and answers questions about them.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The allocator would take huge pages: half as much memory again, and cleared for nothing. Where it cannot be told, it
    // is only slower.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    wsp_analyze::cli::main()
}
