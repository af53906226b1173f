//! One process as /proc shows it, in the terms of events. Everything is optional: a process can go at any time.

use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use wsp_schemas::text::RawText;

use super::{abi, decode, host};
use crate::event::{Address, BootTime, Endpoint, Exec, FilePath, Pid, StdioKind, Transport};

/// What is known of a process besides its open files.
#[derive(Debug, Clone)]
pub(super) struct Process {
    /// As of now: after reparenting.
    pub(super) parent: Pid,
    /// As if it had just executed.
    pub(super) exec: Exec,
    /// Mount id of its namespace's `/`.
    pub(super) root_mount: Option<u64>,
    /// Network namespace.
    pub(super) net_ns: u64,
}

/// Files and sockets that a process holds open.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    /// Files.
    pub(super) files: Vec<Held>,
    /// Socket inodes.
    pub(super) sockets: Vec<u64>,
}

/// A file under a descriptor.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) fd: i32,
    pub(super) file: FilePath,
    /// `O_*`.
    pub(super) flags: u32,
}

fn of(pid: Pid, file: &str) -> PathBuf {
    Path::new("/proc").join(pid.0.to_string()).join(file)
}

/// Inode of the mount namespace.
pub(super) fn mount_namespace(pid: Pid) -> Option<u64> {
    Some(fs::metadata(of(pid, "ns/mnt")).ok()?.ino())
}

/// False for zombies: their exit was told.
pub(crate) fn is_alive(pid: Pid) -> bool {
    read_stat(pid).is_some_and(|stat| !matches!(stat.state, b'Z' | b'X'))
}

/// True for the container runtime's own process inside a container, before it executes the container's program: a container that
/// was created and not started has one for as long as it waits (`runc init`). It entered the namespaces without executing
/// anything there, so its executable is on a mount that its namespace does not have. A process that made a mount namespace of
/// its own looks the same, so that the name must be a runtime's too.
pub(super) fn is_runtime(pid: Pid) -> bool {
    let is_name = |name: &[u8]| RUNTIMES.iter().any(|runtime| name.starts_with(runtime));
    let named = argument_bytes(pid).is_some_and(|(argv, _)| {
        let program = argv.split(|byte| *byte == 0).next().unwrap_or_default();
        is_name(program.rsplit(|byte| *byte == b'/').next().unwrap_or_default())
    }) || fs::read(of(pid, "comm")).is_ok_and(|comm| is_name(&comm));
    named && exe_is_outside(pid)
}

/// OCI runtimes.
const RUNTIMES: &[&[u8]] = &[b"runc", b"crun", b"youki"];

fn exe_is_outside(pid: Pid) -> bool {
    let Ok(exe) = open_path(&of(pid, "exe")) else { return false };
    let Some((mount, _)) = fdinfo(Path::new("/proc/self/fdinfo"), exe.as_raw_fd()) else { return false };
    let Ok(mountinfo) = fs::read(of(pid, "mountinfo")) else { return false };
    !mounts(&mountinfo).any(|(id, _)| id == mount)
}

/// The argument vector as it lies in the process's memory now.
pub(super) fn command_line(pid: Pid) -> Option<Vec<RawText>> {
    let (bytes, _) = argument_bytes(pid)?;
    (!bytes.is_empty()).then(|| decode::arguments(&bytes))
}

/// At most as much as the kernel side copies, and whether there was more.
fn argument_bytes(pid: Pid) -> Option<(Vec<u8>, bool)> {
    let limit = u64::from(abi::ARGV_BYTES);
    let mut bytes = Vec::new();
    fs::File::open(of(pid, "cmdline")).ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
    let more = bytes.len() as u64 > limit;
    bytes.truncate(abi::ARGV_BYTES as usize);
    Some((bytes, more))
}

/// Reads a process; none where it is gone, a kernel thread or a zombie.
pub(super) fn read(pid: Pid) -> Option<Process> {
    let stat = read_stat(pid)?;
    let status = fs::read(of(pid, "status")).ok()?;
    let ns_pids = numbers(&status, "NSpid:");
    let root_mount = root_mount(pid);
    let exe = describe(&of(pid, "exe"), root_mount)?;
    let (argv, argv_truncated) = argument_bytes(pid)?;
    let argv = decode::arguments(&argv);
    let comm = fs::read(of(pid, "comm")).ok()?;
    let comm = RawText::from(comm.strip_suffix(b"\n").unwrap_or(&comm));
    let script = script_of(pid, &argv, &comm);
    let exec = Exec {
        exe,
        script,
        argv,
        argv_truncated,
        comm,
        cwd: fs::read_link(of(pid, "cwd")).map(|path| path.as_os_str().as_bytes().into()).unwrap_or_default(),
        uids: first_three(&numbers(&status, "Uid:")),
        gids: first_three(&numbers(&status, "Gid:")),
        tty: stat.tty != 0,
        stdio: [0, 1, 2].map(|fd| stdio_kind(pid, fd)),
        ns_pid: ns_pids.last().copied().unwrap_or(pid.0),
        pid_ns_level: u32::try_from(ns_pids.len().saturating_sub(1)).unwrap_or_default(),
        mnt_ns: mount_namespace(pid).and_then(|ns| u32::try_from(ns).ok()).unwrap_or_default(),
        started: stat.started,
    };
    let net_ns = fs::metadata(of(pid, "ns/net")).map(|meta| meta.ino()).unwrap_or_default();
    Some(Process { parent: stat.parent, exec, root_mount, net_ns })
}

struct Stat {
    state: u8,
    parent: Pid,
    tty: i64,
    started: Option<BootTime>,
}

/// The task name may hold anything, so fields count from the last parenthesis.
fn read_stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read(of(pid, "stat")).ok()?, ticks_per_second())
}

fn parse_stat(bytes: &[u8], ticks_per_second: u64) -> Option<Stat> {
    let end = bytes.iter().rposition(|byte| *byte == b')')?;
    let text = std::str::from_utf8(bytes.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let ticks: Option<u64> = fields.get(19).and_then(|field| field.parse().ok());
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: Pid(fields.get(1)?.parse().ok()?),
        tty: fields.get(4)?.parse().ok()?,
        started: ticks.map(|ticks| BootTime(ticks.saturating_mul(1_000_000_000 / ticks_per_second))),
    })
}

fn ticks_per_second() -> u64 {
    // SAFETY: no pointers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}

/// The numbers behind a name in `/proc/<pid>/status`.
fn numbers(status: &[u8], name: &str) -> Vec<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()));
    let text = line.and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn first_three(numbers: &[u32]) -> [u32; 3] {
    numbers.first_chunk::<3>().copied().unwrap_or_default()
}

/// Where a `#!` line chose the program, the kernel named the task after the script and put the script's path behind the
/// interpreter and its one optional argument.
fn script_of(pid: Pid, argv: &[RawText], comm: &RawText) -> Option<RawText> {
    let short = |path: &RawText| {
        let name = path.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        name[..name.len().min(15)].to_vec()
    };
    if short(argv.first()?) == comm.as_bytes() {
        return None;
    }
    let script = argv.iter().skip(1).take(2).find(|argument| short(argument) == comm.as_bytes())?;
    let base = if script.as_bytes().starts_with(b"/") { "root" } else { "cwd" };
    let relative = script.as_bytes().strip_prefix(b"/").unwrap_or(script.as_bytes());
    let mut start = [0; 2];
    let file = of(pid, base).join(std::ffi::OsStr::from_bytes(relative));
    // Not a FIFO or a device, which could keep us: also where it takes a file's place just now.
    let mut file =
        fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(file).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    file.read_exact(&mut start).ok()?;
    (start == *b"#!").then(|| script.clone())
}

fn stdio_kind(pid: Pid, fd: u32) -> StdioKind {
    let Ok(meta) = fs::metadata(of(pid, &format!("fd/{fd}"))) else { return StdioKind::None };
    let device = meta.rdev();
    decode::stdio_kind_of(meta.mode(), libc::major(device), libc::minor(device))
}

/// Mount id of `/` in a process's namespace: the last mount on it is on top.
fn root_mount(pid: Pid) -> Option<u64> {
    let mountinfo = fs::read(of(pid, "mountinfo")).ok()?;
    mounts(&mountinfo).filter(|(_, at)| *at == b"/").map(|(id, _)| id).last()
}

/// Ids and mount points of a mountinfo.
fn mounts(mountinfo: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        Some((id, fields.nth(3)?))
    })
}

/// Opens what a magic link leads to as a place only (O_PATH), which for a device or a FIFO matters.
fn open_path(link: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(link)
}

/// Path and origin of what a magic link of /proc leads to; none where it is no file of a file system.
fn describe(link: &Path, root_mount: Option<u64>) -> Option<FilePath> {
    let shown = fs::read_link(link).ok()?;
    let mut path = shown.as_os_str().as_bytes();
    if !path.starts_with(b"/") {
        return None;
    }
    let file = open_path(link).ok()?;
    let meta = file.metadata().ok()?;
    let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mount = fdinfo(Path::new("/proc/self/fdinfo"), file.as_raw_fd()).map(|(mount, _)| mount);
    let mut flags = 0;
    // A directory has links of its own and from its parent; unlinked it has none.
    if meta.nlink() == 0 {
        path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        flags |= abi::PATH_DELETED;
    }
    if path.starts_with(b"/memfd:") {
        flags |= abi::PATH_DETACHED;
    }
    if mount.is_some() && mount == root_mount {
        flags |= abi::PATH_ON_ROOT_MOUNT;
    }
    let magic = host::filesystem_magic(&own);
    let origin = decode::origin(magic, flags, path);
    Some(FilePath { path: path.into(), origin, truncated: false, argument: false })
}

/// Mount id and open flags of a descriptor.
fn fdinfo(directory: &Path, fd: i32) -> Option<(u64, u32)> {
    parse_fdinfo(&fs::read_to_string(directory.join(fd.to_string())).ok()?)
}

fn parse_fdinfo(text: &str) -> Option<(u64, u32)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some((field("mnt_id:")?.parse().ok()?, u32::from_str_radix(field("flags:")?, 8).ok()?))
}

/// Files and sockets that a process holds open.
pub(super) fn open_files(pid: Pid, root_mount: Option<u64>) -> OpenFiles {
    let mut open = OpenFiles::default();
    let Ok(entries) = fs::read_dir(of(pid, "fd")) else { return open };
    for entry in entries.flatten() {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let link = entry.path();
        if fs::metadata(&link).is_ok_and(|meta| meta.file_type().is_socket()) {
            open.sockets.extend(fs::metadata(&link).map(|meta| meta.ino()));
            continue;
        }
        let Some((_, flags)) = fdinfo(&of(pid, "fdinfo"), fd) else { continue };
        if let Some(file) = describe(&link, root_mount) {
            // Close-on-exec is the descriptor's, not the open file's.
            let flags = flags & !(libc::O_CLOEXEC.cast_unsigned());
            open.files.push(Held { fd, file, flags });
        }
    }
    open
}

/// True where a descriptor is the same open file in both processes: one has it from the other. False too where the kernel
/// does not compare them.
pub(super) fn is_shared(one: Pid, other: Pid, fd: i32) -> bool {
    const KCMP_FILE: libc::c_int = 0;
    // SAFETY: kcmp takes five numbers and touches no memory of this process.
    unsafe { libc::syscall(libc::SYS_kcmp, one.0, other.0, KCMP_FILE, fd, fd) == 0 }
}

/// Listening sockets of a process's network namespace, by inode. None where the process died before all were read.
pub(super) fn listening(pid: Pid) -> Option<Vec<(u64, Endpoint)>> {
    let mut found = Vec::new();
    if let Ok(process) = procfs::process::Process::new(pid.0.cast_signed()) {
        let tables = [process.tcp(), process.tcp6()];
        for entry in tables.into_iter().flatten().flatten() {
            if entry.state == procfs::net::TcpState::Listen {
                found.push((entry.inode, tcp_endpoint(entry.local_address)));
            }
        }
    }
    if let Ok(table) = fs::read(of(pid, "net/unix")) {
        found.extend(table.split(|byte| *byte == b'\n').filter_map(listening_unix));
    }
    is_alive(pid).then_some(found)
}

fn tcp_endpoint(local: SocketAddr) -> Endpoint {
    Endpoint { protocol: Transport::Tcp, address: Address::Ip(local.ip().to_canonical()), port: local.port() }
}

/// `Num RefCount Protocol Flags Type St Inode Path`; the flag says that it accepts connections. NULs of abstract names are shown
/// as `@`.
fn listening_unix(line: &[u8]) -> Option<(u64, Endpoint)> {
    const ACCEPTS_CONNECTIONS: u32 = 0x10000;
    let mut rest = line;
    let mut next = || {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        let (field, tail) = rest.split_at(end);
        rest = tail;
        std::str::from_utf8(field).ok()
    };
    let (_, _, _) = (next()?, next()?, next()?);
    let flags = u32::from_str_radix(next()?, 16).ok()?;
    let (_, _) = (next()?, next()?);
    let inode = next()?.parse().ok()?;
    let name = rest.strip_prefix(b" ")?;
    if flags & ACCEPTS_CONNECTIONS == 0 || name.is_empty() {
        return None;
    }
    let address = match name.strip_prefix(b"@") {
        Some(name) => Address::Abstract(name.into()),
        None => Address::Path(name.into()),
    };
    Some((inode, Endpoint { protocol: Transport::Unix, address, port: 0 }))
}

/// What must hold of any text: see [`crate::fuzz`].
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn check(bytes: &[u8]) {
    let _ = parse_stat(bytes, 100);
    for name in ["NSpid:", "Uid:", "Gid:"] {
        let _ = first_three(&numbers(bytes, name));
    }
    let _ = mounts(bytes).count();
    let _ = std::str::from_utf8(bytes).map(parse_fdinfo);
    let listening = bytes.split(|byte| *byte == b'\n').filter_map(listening_unix);
    assert!(listening.into_iter().all(|(_, end)| end.protocol == Transport::Unix));
    let argv = decode::arguments(bytes);
    assert_eq!(
        argv.len(),
        bytes.strip_suffix(b"\0").unwrap_or(bytes).split(|byte| *byte == 0).count()
            - usize::from(bytes.is_empty())
    );
    let comm = argv.last().cloned().unwrap_or_default();
    let comm = RawText::from(&comm.as_bytes()[..comm.as_bytes().len().min(15)]);
    // Of this process: its argument vector and name decide which file is looked at.
    let _ = script_of(Pid(std::process::id()), &argv, &comm);
    host::check(bytes);
    crate::hierarchy::check(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_names_may_hold_parentheses() {
        let line = b"7 (a) b (c) S 3 7 7 34816 7 4194304 1 2 3 4 5 6 7 8 20 0 1 0 250 10 20";
        let stat = parse_stat(line, 100).unwrap();
        assert_eq!((stat.state, stat.parent, stat.tty), (b'S', Pid(3), 34816));
        assert_eq!(stat.started, Some(BootTime(2_500_000_000)));
        assert!(parse_stat(b"", 100).is_none());
    }

    #[test]
    fn unix_listeners_are_read() {
        let line = b"0000000000000000: 00000002 00000000 00010000 0001 01 4321 /run/a b.sock";
        let (inode, end) = listening_unix(line).unwrap();
        assert_eq!((inode, end.address), (4321, Address::Path("/run/a b.sock".into())));
        let line = b"0000000000000000: 00000002 00000000 00010000 0001 01 4322 @name";
        assert_eq!(listening_unix(line).unwrap().1.address, Address::Abstract("name".into()));
        assert!(listening_unix(b"0000: 00000002 00000000 00000000 0001 03 4323 /run/c").is_none());
        assert!(listening_unix(b"Num       RefCount Protocol Flags    Type St Inode Path").is_none());
        assert!(listening_unix(b"").is_none());
    }

    #[test]
    fn what_listens_cannot_be_told_by_who_died() {
        let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!listening(Pid(std::process::id())).unwrap().is_empty());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        // A zombie until it is waited for.
        while is_alive(Pid(child.id())) {
            std::thread::yield_now();
        }
        assert_eq!(listening(Pid(child.id())), None);
        child.wait().unwrap();
        assert_eq!(listening(Pid(child.id())), None);
    }

    #[test]
    fn the_environment_is_not_read() {
        let mut child =
            std::process::Command::new("sleep").arg("60").env("APP_TOKEN", "hunter2").spawn().unwrap();
        // Until it executes, it is this process.
        let process = loop {
            match read(Pid(child.id())) {
                Some(process) if process.exec.argv == ["sleep".into(), "60".into()] => break process,
                _ => std::thread::yield_now(),
            }
        };
        let environment = fs::read(of(Pid(child.id()), "environ")).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(String::from_utf8_lossy(&environment).contains("hunter2"));
        let told = serde_json::to_string(&process.exec).unwrap();
        assert!(!told.contains("hunter2") && !told.contains("APP_TOKEN"), "{told}");
    }

    #[test]
    fn this_process_can_be_read() {
        let process = read(Pid(std::process::id())).unwrap();
        assert!(!process.exec.exe.path.is_empty());
        assert!(is_alive(Pid(std::process::id())));
        assert!(read(Pid(u32::MAX / 2)).is_none());
    }
}
