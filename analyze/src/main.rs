//! `wsp`: merges snapshots into profiles and answers questions about them.

use std::io::Write as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    #[cfg(target_os = "linux")]
    without_huge_pages();
    end(wsp_analyze::cli::main())
}

/// Ends the process at once. What libraries do at a process' end runs beside the threads that are still there, and the allocator
/// then takes apart what they use.
fn end(code: u8) -> ! {
    // Whoever printed a line knows whether that failed.
    let _ = std::io::stdout().flush();
    #[cfg(target_os = "linux")]
    // SAFETY: the call takes a number only, and does not return. No file is written but through the system's calls.
    unsafe {
        libc::_exit(i32::from(code))
    }
    #[cfg(not(target_os = "linux"))]
    std::process::exit(i32::from(code))
}

/// The allocator would take huge pages: half as much memory again, and cleared for nothing. Where the kernel does not know
/// the setting, all is as before.
#[cfg(target_os = "linux")]
fn without_huge_pages() {
    // SAFETY: the call takes numbers only, and changes nothing but where later pages come from.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}
