//! What sessions need to know of the host.

use std::fs;

use crate::event::{BootTime, Clock};

/// `uname -r`.
pub fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// The host's name.
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

/// Present kernel time.
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "only live sessions have a present"))]
pub(super) fn now() -> BootTime {
    BootTime(clock(libc::CLOCK_BOOTTIME))
}

/// Present relation of kernel time to wall time.
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "only live sessions have a present"))]
pub(super) fn wall_clock() -> Clock {
    Clock { wall_at_boot_ns: clock(libc::CLOCK_REALTIME).saturating_sub(clock(libc::CLOCK_BOOTTIME)) }
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec that lives through the call; both clocks exist on every supported kernel.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    let part = |n: i64| u64::try_from(n).unwrap_or_default();
    part(time.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(time.tv_nsec))
}
