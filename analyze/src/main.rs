//! `wsp`: merges snapshots into profiles and answers questions about them.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    without_huge_pages();
    wsp_analyze::cli::main()
}

/// The allocator would take huge pages: half as much memory again, and cleared for nothing. Where the kernel does not know
/// the setting, all is as before.
#[cfg(target_os = "linux")]
fn without_huge_pages() {
    // SAFETY: the call takes numbers only, and changes nothing but where later pages come from.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
