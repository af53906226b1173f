//! Names of system calls and capabilities.

use caps::Capability;
use syscalls::x86_64::Sysno;
use wsp_schemas::snapshot::Fact;

/// A system call by its number on x86-64.
pub(super) fn syscall(number: u32) -> Fact {
    let known = usize::try_from(number).ok().and_then(Sysno::new);
    Fact::Syscall(known.map_or_else(|| format!("syscall_{number}"), |call| call.name().to_owned()))
}

/// A capability by its number (include/uapi/linux/capability.h), without the prefix `CAP_`.
pub(super) fn capability(number: u32) -> Fact {
    let known = caps::all().into_iter().find(|known: &Capability| u32::from(known.index()) == number);
    Fact::Capability(known.map_or_else(
        || format!("capability_{number}"),
        |known| known.to_string().trim_start_matches("CAP_").to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names() {
        assert_eq!(syscall(257), Fact::Syscall("openat".to_owned()));
        assert_eq!(syscall(99_999), Fact::Syscall("syscall_99999".to_owned()));
        assert_eq!(capability(21), Fact::Capability("SYS_ADMIN".to_owned()));
        assert_eq!(capability(63), Fact::Capability("capability_63".to_owned()));
    }
}
