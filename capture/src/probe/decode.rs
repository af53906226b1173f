//! From the bytes of one ring-buffer record to an [`Event`]. Total: any bytes give an event or an [`Undecodable`].
//!
//! Nothing after this module sees raw bytes of the kernel side.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wsp_schemas::text::RawText;

use super::abi::{self, Wire};
use crate::event::{
    Address, Body, BootTime, CgroupId, Change, Endpoint, Event, Exec, FilePath, Key, LostKind, Origin, Pid,
    StdioKind, Transport,
};

/// A record that this version does not understand. It is counted as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of kind {kind} of container {cgroup:?} is not understood")]
pub struct Undecodable {
    /// The container, 0 where not even that was readable.
    pub cgroup: CgroupId,
    /// The kind as the kernel side numbers it, 0 where not even that was readable.
    pub kind: u32,
}

/// Decodes one record.
pub fn decode(bytes: &[u8]) -> Result<Event, Undecodable> {
    let mut front = bytes;
    let Some(record) = abi::Record::read(&mut front) else {
        return Err(Undecodable { cgroup: CgroupId(0), kind: 0 });
    };
    let body =
        body(record.kind, bytes).ok_or(Undecodable { cgroup: CgroupId(record.cgroup), kind: record.kind })?;
    Ok(Event {
        at: BootTime(record.at),
        cgroup: CgroupId(record.cgroup),
        pid: Pid(record.pid),
        key: Key(record.key),
        body,
    })
}

/// The kind under which the loss of a record counts. Container records and unknown ones count as the gravest kind.
pub(super) fn lost_kind(kind: u32) -> LostKind {
    match kind {
        abi::KIND_FORK => LostKind::Fork,
        abi::KIND_EXIT => LostKind::Exit,
        abi::KIND_OPEN => LostKind::Open,
        abi::KIND_CONNECT => LostKind::Connect,
        abi::KIND_LISTEN => LostKind::Listen,
        abi::KIND_DNS => LostKind::Dns,
        abi::KIND_ACCEPT => LostKind::Accept,
        abi::KIND_CHANGE => LostKind::Change,
        abi::KIND_SYSCALL => LostKind::Syscall,
        abi::KIND_CAPABILITY => LostKind::Capability,
        _ => LostKind::Exec,
    }
}

/// `bytes` is the whole record: each of the fixed parts starts with its front.
fn body(kind: u32, mut bytes: &[u8]) -> Option<Body> {
    let bytes = &mut bytes;
    Some(match kind {
        abi::KIND_CREATED => {
            let created = abi::Created::read(bytes)?;
            Body::ContainerCreated { path: take(bytes, created.path_len)?.into() }
        }
        abi::KIND_GONE => Body::ContainerGone,
        abi::KIND_FORK => Body::Fork { child: Pid(abi::Forked::read(bytes)?.child) },
        abi::KIND_EXEC => Body::Exec(Box::new(exec(bytes)?)),
        abi::KIND_EXIT => Body::Exit,
        abi::KIND_OPEN => {
            let opened = abi::Opened::read(bytes)?;
            Body::Open { file: file_path(bytes, opened.file)?, flags: opened.flags }
        }
        abi::KIND_CONNECT => {
            let socket = abi::SocketAddress::read(bytes)?;
            Body::Connect { remote: endpoint(bytes, &socket)?, result: visible_errno(socket.result) }
        }
        abi::KIND_LISTEN => {
            let socket = abi::SocketAddress::read(bytes)?;
            Body::Listen { local: endpoint(bytes, &socket)? }
        }
        abi::KIND_DNS => {
            let message = abi::DnsMessage::read(bytes)?;
            Body::Dns {
                socket: message.socket,
                answer: message.answer != 0,
                tcp: message.tcp != 0,
                message: take(bytes, message.len)?.to_vec(),
            }
        }
        abi::KIND_ACCEPT => {
            let socket = abi::SocketAddress::read(bytes)?;
            let local = endpoint(bytes, &socket)?;
            Body::Accept { local, peer: ip_address(socket.peer_family, &socket.peer) }
        }
        abi::KIND_CHANGE => changed(bytes)?,
        abi::KIND_SYSCALL => Body::Syscall { number: abi::Used::read(bytes)?.number },
        abi::KIND_CAPABILITY => Body::Capability { number: abi::Used::read(bytes)?.number },
        _ => return None,
    })
}

fn changed(bytes: &mut &[u8]) -> Option<Body> {
    let fixed = abi::Changed::read(bytes)?;
    let change = match fixed.op {
        abi::OP_OPEN => Change::Open,
        abi::OP_UNLINK => Change::Unlink,
        abi::OP_RMDIR => Change::Rmdir,
        abi::OP_RENAME => Change::Rename,
        abi::OP_LINK => Change::Link,
        abi::OP_SYMLINK => Change::Symlink,
        abi::OP_MKDIR => Change::Mkdir,
        abi::OP_MKNOD => Change::Mknod,
        abi::OP_CHMOD => Change::Chmod,
        abi::OP_CHOWN => Change::Chown,
        abi::OP_TRUNCATE => Change::Truncate,
        abi::OP_EXEC => Change::Exec,
        _ => return None,
    };
    let [first_len, second_len] = fixed.name_lens;
    let [first_dir, second_dir] = fixed.dirs;
    let file = named_file(bytes, first_len, first_dir)?;
    let to = match change {
        Change::Rename | Change::Link => Some(named_file(bytes, second_len, second_dir)?),
        _ => None,
    };
    Some(Body::Change { change, file, to, mode: fixed.mode })
}

/// A name and the directory that it is relative to; without a name the directory is the file itself.
fn named_file(bytes: &mut &[u8], name_len: u32, dir: abi::PathInfo) -> Option<FilePath> {
    let name = take(bytes, name_len)?;
    let dir = file_path(bytes, dir)?;
    if name.is_empty() {
        return Some(dir);
    }
    let path = below(dir.path.as_bytes(), name);
    Some(FilePath { path: path.into(), origin: Origin::Unknown, truncated: dir.truncated, argument: true })
}

/// A name below a directory, `.` and `..` taken at their word: what links there are in the name is not known.
fn below(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in dir.split(|byte| *byte == b'/').chain(name.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut path = Vec::with_capacity(dir.len() + name.len() + 1);
    for part in &parts {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if parts.is_empty() {
        path.push(b'/');
    }
    path
}

fn take<'a>(bytes: &mut &'a [u8], len: u32) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
    *bytes = rest;
    Some(head)
}

fn exec(bytes: &mut &[u8]) -> Option<Exec> {
    let fixed = abi::Executed::read(bytes)?;
    let argv = take(bytes, fixed.argv_len)?;
    let script = take(bytes, fixed.script_len)?;
    let exe = file_path(bytes, fixed.exe)?;
    let cwd = file_path(bytes, fixed.cwd)?;
    let script_dir = file_path(bytes, fixed.script_dir)?;
    let script = match fixed.flags & abi::EXEC_SCRIPT_AT_FD {
        _ if script.is_empty() => None,
        0 => Some(script.into()),
        _ => Some(script_at_fd(script, &script_dir)),
    };
    let comm = fixed.comm.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Exec {
        exe,
        script,
        argv: arguments(argv),
        argv_truncated: fixed.flags & abi::EXEC_ARGV_TRUNCATED != 0,
        comm: comm.into(),
        // A working directory that is not known in full is not known.
        cwd: if cwd.truncated { RawText::default() } else { cwd.path },
        uids: fixed.uids,
        gids: fixed.gids,
        tty: fixed.flags & abi::EXEC_TTY != 0,
        stdio: fixed.stdio.map(stdio_kind),
        ns_pid: fixed.ns_pid,
        pid_ns_level: fixed.pid_ns_level,
        mnt_ns: fixed.mnt_ns,
        started: Some(BootTime(fixed.started)),
    })
}

/// Splits an argument vector as it lies in memory (and in `/proc/<pid>/cmdline`): each argument ended by a NUL.
pub(super) fn arguments(bytes: &[u8]) -> Vec<RawText> {
    if bytes.is_empty() {
        return Vec::new();
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    bytes.split(|byte| *byte == 0).map(RawText::from).collect()
}

/// `/dev/fd/N` and `/dev/fd/N/rest`, where descriptor N is `at`.
fn script_at_fd(script: &[u8], at: &FilePath) -> RawText {
    let below = script.strip_prefix(b"/dev/fd/").unwrap_or_default();
    let mut path = at.path.as_bytes().to_vec();
    if let Some(slash) = below.iter().position(|byte| *byte == b'/') {
        path.extend_from_slice(&below[slash..]);
    }
    path.into()
}

/// A path section: components leaf first, each ended by a NUL.
fn file_path(bytes: &mut &[u8], info: abi::PathInfo) -> Option<FilePath> {
    let section = take(bytes, u32::from(info.len))?;
    let truncated = u32::from(info.flags) & abi::PATH_TRUNCATED != 0;
    let mut path = Vec::with_capacity(section.len() + 1);
    for component in section.strip_suffix(b"\0").unwrap_or(section).rsplit(|byte| *byte == 0) {
        if !(truncated && path.is_empty()) {
            path.push(b'/');
        }
        path.extend_from_slice(component);
    }
    let origin = origin(info.magic, u32::from(info.flags), &path);
    Some(FilePath { path: path.into(), origin, truncated, argument: false })
}

/// File systems by `statfs(2)` magic, in groups.
mod magic {
    pub(super) const OVERLAY: u32 = 0x794c_7630;
    pub(super) const TMPFS: u32 = 0x0102_1994;
    /// Kernel interfaces: nothing is stored there.
    pub(super) const PSEUDO: &[u32] = &[
        0x0000_9fa0, // proc
        0x6265_6572, // sysfs
        0x0000_1cd1, // devpts
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x1980_0202, // mqueue
        0xcafe_4a11, // bpf
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0xf97c_ff8c, // selinuxfs
        0x6265_6570, // configfs
        0x6e73_6673, // nsfs
        0x5049_4446, // pidfs
        0x5345_434d, // secretmem
        0x4249_4e4d, // binfmt_misc
        0x6573_5543, // fusectl
        0xde5e_81e4, // efivarfs
        0x0765_5821, // resctrl
    ];
}

/// What holds a file, by its file system and the `PATH_*` flags.
pub(super) fn origin(magic: u32, flags: u32, path: &[u8]) -> Origin {
    let has = |flag: u32| flags & flag != 0;
    if has(abi::PATH_DETACHED) && path.starts_with(b"/memfd:") {
        return Origin::Memfd;
    }
    if magic::PSEUDO.contains(&magic) {
        return Origin::Pseudo;
    }
    if has(abi::PATH_DELETED) {
        return Origin::Deleted;
    }
    match magic {
        0 => Origin::Unknown,
        magic::TMPFS => Origin::Tmpfs,
        // Of a path that was not walked to its top it is not known what it is on.
        _ if !has(abi::PATH_ON_ROOT_MOUNT) && !has(abi::PATH_TRUNCATED) => Origin::Volume,
        magic::OVERLAY => match (has(abi::PATH_OVERLAY_UPPER), has(abi::PATH_OVERLAY_LOWER)) {
            (false, true) => Origin::Image,
            // A directory of several layers is not copied, its entries are.
            (true, true) if has(abi::PATH_DIRECTORY) => Origin::Image,
            (true, true) => Origin::CopiedUp,
            (true, false) => Origin::Upper,
            (false, false) => Origin::Unknown,
        },
        // The image without overlayfs (vfs and btrfs drivers): image and changes look alike.
        _ => Origin::Unknown,
    }
}

/// Device numbers as the kernel keeps them in `i_rdev`: 12 bits of major above 20 bits of minor.
fn stdio_kind(descriptor: abi::Descriptor) -> StdioKind {
    let (major, minor) = (descriptor.rdev >> 20, descriptor.rdev & 0xf_ffff);
    stdio_kind_of(descriptor.mode, major, minor)
}

/// Kind of an open file by its `st_mode` (0: not open) and device number.
pub(super) fn stdio_kind_of(mode: u32, major: u32, minor: u32) -> StdioKind {
    match mode & libc::S_IFMT {
        0 => match mode {
            0 => StdioKind::None,
            _ => StdioKind::File, // anonymous inodes have no type
        },
        libc::S_IFIFO => StdioKind::Pipe,
        libc::S_IFSOCK => StdioKind::Socket,
        libc::S_IFCHR => match (major, minor) {
            (1, 3) => StdioKind::Null,
            // Virtual consoles and serial lines, /dev/tty and /dev/console, pseudo terminals, ARM serial, hypervisor console.
            (4 | 5 | 136..=143 | 204 | 229, _) => StdioKind::Tty,
            _ => StdioKind::File,
        },
        _ => StdioKind::File,
    }
}

/// The kernel restarts an interrupted call on its own; codes from 512 on are between it and itself.
fn visible_errno(result: i32) -> i32 {
    if (-516..=-512).contains(&result) { -libc::EINTR } else { result }
}

fn endpoint(bytes: &mut &[u8], socket: &abi::SocketAddress) -> Option<Endpoint> {
    let name = take(bytes, u32::from(socket.name_len))?;
    if i32::from(socket.family) == libc::AF_UNIX {
        return Some(unix_endpoint(name));
    }
    let address = Address::Ip(ip_address(socket.family, &socket.address)?);
    Some(Endpoint { protocol: transport(socket.protocol), address, port: socket.port })
}

fn ip_address(family: u16, bytes: &[u8; 16]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => {
            let (v4, _) = bytes.split_first_chunk::<4>()?;
            Some(IpAddr::V4(Ipv4Addr::from(*v4)))
        }
        libc::AF_INET6 => Some(Ipv6Addr::from(*bytes).to_canonical()),
        _ => None,
    }
}

/// `sun_path`: a path up to its NUL, or a NUL and an abstract name.
pub(super) fn unix_endpoint(name: &[u8]) -> Endpoint {
    let address = match name.split_first() {
        Some((0, rest)) => Address::Abstract(rest.into()),
        _ => Address::Path(name.split(|byte| *byte == 0).next().unwrap_or_default().into()),
    };
    Endpoint { protocol: Transport::Unix, address, port: 0 }
}

fn transport(protocol: u16) -> Transport {
    match i32::from(protocol) {
        libc::IPPROTO_TCP | libc::IPPROTO_MPTCP => Transport::Tcp,
        libc::IPPROTO_UDP => Transport::Udp,
        _ => Transport::Other(protocol),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_turned_round() {
        let info =
            |len, flags: u32| abi::PathInfo { magic: magic::OVERLAY, len, flags: flags.try_into().unwrap() };
        let mut bytes: &[u8] = b"passwd\0etc\0";
        let path =
            file_path(&mut bytes, info(11, abi::PATH_ON_ROOT_MOUNT | abi::PATH_OVERLAY_LOWER)).unwrap();
        assert_eq!(
            path,
            FilePath { path: "/etc/passwd".into(), origin: Origin::Image, ..FilePath::default() }
        );
        let mut bytes: &[u8] = b"passwd\0etc\0";
        let path = file_path(&mut bytes, info(11, abi::PATH_TRUNCATED)).unwrap();
        assert_eq!((path.path, path.truncated), ("etc/passwd".into(), true));
        assert_eq!(path.origin, Origin::Unknown);
        let mut bytes: &[u8] = b"";
        assert_eq!(file_path(&mut bytes, info(0, 0)).unwrap().path, "/".into());
    }

    #[test]
    fn names_are_below_their_directories() {
        let at = |dir: &str, name: &str| String::from_utf8(below(dir.as_bytes(), name.as_bytes())).unwrap();
        assert_eq!(at("/srv", "a/./b"), "/srv/a/b");
        assert_eq!(at("/srv/x", "../../../etc//passwd"), "/etc/passwd");
        assert_eq!(at("/", "/tmp/x"), "/tmp/x");
        assert_eq!(at("/chroot", "/tmp/x"), "/chroot/tmp/x");
        assert_eq!(at("/", ".."), "/");
    }

    #[test]
    fn empty_arguments_stay() {
        assert_eq!(arguments(b"sh\0\0x\0"), ["sh".into(), "".into(), "x".into()]);
        assert_eq!(arguments(b""), []);
        assert_eq!(arguments(b"\0"), ["".into()]);
        assert_eq!(arguments(b"cut of"), ["cut of".into()]);
    }

    #[test]
    fn scripts_at_descriptors_are_named() {
        let at = FilePath { path: "/srv".into(), ..FilePath::default() };
        assert_eq!(script_at_fd(b"/dev/fd/3", &at), "/srv".into());
        assert_eq!(script_at_fd(b"/dev/fd/3/run.sh", &at), "/srv/run.sh".into());
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mut socket = abi::SocketAddress { family: 10, protocol: 6, port: 53, ..Default::default() };
        socket.address = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
        let end = endpoint(&mut &[][..], &socket).unwrap();
        assert_eq!(end.address, Address::Ip("10.0.0.1".parse().unwrap()));
        assert_eq!(end.protocol, Transport::Tcp);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(
            kind in 0_u32..15,
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
            small_lengths in any::<bool>(),
        ) {
            if let Some(at) = bytes.get_mut(28..32) {
                at.copy_from_slice(&kind.to_ne_bytes());
            }
            if small_lengths {
                for byte in bytes.iter_mut().skip(32) {
                    *byte &= 3;
                }
            }
            let _ = decode(&bytes);
        }
    }
}
