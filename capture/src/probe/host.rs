//! What the probe needs to know of the host before it loads anything.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::hierarchy::Hierarchy;

/// A kernel release, as far as it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct KernelVersion {
    /// 6 of 6.1.
    pub major: u32,
    /// 1 of 6.1.
    pub minor: u32,
}

impl KernelVersion {
    /// The oldest kernel that the probe runs on.
    pub const FLOOR: Self = Self { major: 6, minor: 1 };
    /// Overlay inodes hold a counted entry since.
    pub(super) const OVERLAY_ENTRY: Self = Self { major: 6, minor: 5 };
    /// `FMODE_BACKING` is another bit since.
    pub(super) const BACKING_BIT_24: Self = Self { major: 6, minor: 14 };

    /// Reads `6.1.0-28-cloud-amd64` and the like.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// `uname -r`.
pub fn kernel_release() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim_end().to_owned())
}

/// Where the kernel shows its own types.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// A capability by its number in `linux/capability.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// Name.
    pub name: &'static str,
    /// Bit.
    #[serde(skip)]
    pub bit: u32,
    /// What for.
    pub purpose: &'static str,
    /// What happens without it.
    pub without: &'static str,
    /// Another one that holds it too.
    #[serde(skip)]
    instead: Option<u32>,
    essential: bool,
}

impl Capability {
    /// Without it nothing runs; without the others something is missing.
    pub fn is_essential(&self) -> bool {
        self.essential
    }
}

/// What the probe needs, and all that it needs.
pub const CAPABILITIES: &[Capability] = &[
    Capability {
        name: "CAP_BPF",
        bit: 39,
        purpose: "to load programs and maps",
        without: "nothing runs",
        instead: Some(CAP_SYS_ADMIN),
        essential: true,
    },
    Capability {
        name: "CAP_PERFMON",
        bit: 38,
        purpose: "to read kernel memory and attach tracepoints",
        without: "nothing runs",
        instead: Some(CAP_SYS_ADMIN),
        essential: true,
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        purpose: "to read /proc of running containers, and which mount namespace is the host's",
        without: "snapshots of containers that ran before would look empty: nothing runs",
        instead: None,
        essential: true,
    },
    Capability {
        name: "CAP_NET_ADMIN",
        bit: 12,
        purpose: "to attach programs to the network of cgroups",
        without: "there are no dns nodes, and connections have no names",
        instead: Some(CAP_SYS_ADMIN),
        essential: false,
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        purpose: "to read tracefs, and /proc of containers that run as another user",
        without: "files and listening sockets that such containers had open before are missing; without root, so are all system calls",
        instead: Some(CAP_DAC_OVERRIDE),
        essential: false,
    },
];

const CAP_SYS_ADMIN: u32 = 21;
const CAP_DAC_OVERRIDE: u32 = 1;

/// Those that this process does not have.
pub fn missing_capabilities() -> io::Result<Vec<&'static Capability>> {
    let effective = effective_capabilities()?;
    Ok(CAPABILITIES.iter().filter(|capability| !holds(effective, capability)).collect())
}

/// Effective capabilities of this process, one bit each.
pub fn effective_capabilities() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no CapEff in /proc/self/status"))
}

/// True where `capability` is held, or another that holds it too.
pub fn holds(effective: u64, capability: &Capability) -> bool {
    let bit = |bit: u32| effective >> bit & 1 == 1;
    bit(capability.bit) || capability.instead.is_some_and(bit)
}

/// Inode number that the initial pid namespace has (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// True where this process sees all processes of the host, by the numbers that the kernel side tells.
pub fn sees_all_processes() -> io::Result<bool> {
    Ok(fs::metadata("/proc/self/ns/pid")?.ino() == INITIAL_PID_NAMESPACE)
}

/// The directory of this process's own cgroup.
pub fn own_cgroup(hierarchy: &Hierarchy) -> Option<PathBuf> {
    let cgroups = fs::read("/proc/self/cgroup").ok()?;
    let own = Path::new(OsStr::from_bytes(hierarchy.path_in(&cgroups)?));
    Some(super::cgroup::below(hierarchy.mount(), own))
}

/// Inode number of the host's mount namespace: pid 1's; where that may not be read, that of the parent of all kernel threads, who never
/// left it; or else this process's own, which in a container is not the host's.
pub fn host_mount_namespace() -> io::Result<u64> {
    let kernel_threads = || {
        let is_it = fs::read("/proc/2/comm")?.trim_ascii_end() == b"kthreadd";
        if is_it { fs::metadata("/proc/2/ns/mnt") } else { Err(io::ErrorKind::NotFound.into()) }
    };
    let init = fs::metadata("/proc/1/ns/mnt");
    init.or_else(|_| kernel_threads()).or_else(|_| fs::metadata("/proc/self/ns/mnt")).map(|meta| meta.ino())
}

const TRACEFS: &str = "/sys/kernel/tracing";
const TRACEFS_IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";

/// True where tracefs can be used as it is.
pub fn tracefs_is_mounted() -> bool {
    [TRACEFS, TRACEFS_IN_DEBUGFS].iter().any(|at| Path::new(at).join("events/syscalls").is_dir())
}

/// Mounts tracefs where it belongs, unless it is there.
pub fn ensure_tracefs() -> io::Result<()> {
    if tracefs_is_mounted() {
        return Ok(());
    }
    let at = CString::new(TRACEFS)?;
    // SAFETY: all pointers are to NUL-ended strings that live through the call; tracefs takes no data.
    let result = unsafe {
        libc::mount(
            c"tracefs".as_ptr(),
            at.as_ptr(),
            c"tracefs".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC,
            std::ptr::null(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// File system magic of an open file's file system, 0 where it cannot be had.
pub(super) fn filesystem_magic(path: &Path) -> u32 {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return 0 };
    let mut buffer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path is NUL-ended and the buffer is of the size that statfs fills.
    if unsafe { libc::statfs(path.as_ptr(), buffer.as_mut_ptr()) } != 0 {
        return 0;
    }
    // SAFETY: zeroed at first and filled by the call; every bit pattern is a valid statfs.
    let magic = unsafe { buffer.assume_init() }.f_type;
    u32::try_from(magic & 0xffff_ffff).unwrap_or_default()
}

/// What must hold of any text: see [`crate::fuzz`].
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn check(bytes: &[u8]) {
    let _ = KernelVersion::parse(&String::from_utf8_lossy(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare() {
        assert_eq!(KernelVersion::parse("6.1.0-28-cloud-amd64"), Some(KernelVersion { major: 6, minor: 1 }));
        assert_eq!(KernelVersion::parse("6.18-rc1"), Some(KernelVersion { major: 6, minor: 18 }));
        assert!(KernelVersion::parse("5.15.0").unwrap() < KernelVersion::FLOOR);
        assert_eq!(KernelVersion::parse("linux"), None);
    }
}
