//! Memory that the allocator keeps for itself.

/// Gives back to the host what was freed. For after rare work that needs much: glibc keeps what threads once had, tens of megabytes of it.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes nothing and has no conditions; glibc may call it from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
