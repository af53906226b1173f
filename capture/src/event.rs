//! What the kernel side tells: the boundary between the probe and everything after it.
//!
//! The probe decodes raw ring-buffer bytes into [`Event`]s; the recorder, the event log and `replay` know only these.
//! An event log is one JSON object a line, first an [`EventLogHeader`]; kernel strings stand in it in the reversible
//! escape of [`wsp_schemas::text`].

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wsp_schemas::text::RawText;

/// Kernel time in nanoseconds since boot, suspended time included (`CLOCK_BOOTTIME`). Never mixed with wall time: only
/// [`EventLogHeader::wall_at_boot_ns`] relates the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootTime(pub u64);

/// Relates kernel time to wall time, as of one moment: steps of the wall clock need a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clock {
    /// Wall-clock time (nanoseconds since the epoch, UTC) at which [`BootTime`] was 0.
    pub wall_at_boot_ns: u64,
}

impl Clock {
    /// Wall-clock time of an event, whole milliseconds.
    pub fn wall(&self, at: BootTime) -> DateTime<Utc> {
        let ms = self.wall_at_boot_ns.saturating_add(at.0) / 1_000_000;
        // 2^64 ns are 584 years: always a time.
        i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default()
    }
}

/// A process (thread group) as the initial pid namespace numbers it. Reused by the kernel after its exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pid(pub u32);

/// The container that an event belongs to: the cgroup v2 id of the container's top cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CgroupId(pub u64);

/// Under which repeats of an event are counted instead of told. Means nothing beyond one window of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub u64);

impl Key {
    /// Every event is told.
    pub const NONE: Self = Self(0);

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// First line of an event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLogHeader {
    /// Version of this form of log; a reader refuses a newer one.
    pub event_log: u32,
    /// `uname -r` of the host.
    pub kernel: String,
    /// Wall-clock time (nanoseconds since the epoch, UTC) at which [`BootTime`] was 0.
    pub wall_at_boot_ns: u64,
    /// Sensors that were live, by the names that stand in the snapshot file.
    pub sensors: Vec<String>,
}

/// One thing that happened, in kernel order: a fork precedes everything that its child does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: BootTime,
    /// In which container.
    pub cgroup: CgroupId,
    /// By which process; 0 where no process is meant (container events, loss, repeats).
    pub pid: Pid,
    /// Under which its repeats are counted.
    #[serde(default, skip_serializing_if = "Key::is_none")]
    pub key: Key,
    /// What.
    #[serde(flatten)]
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Body {
    /// A container's cgroup was made. Everything of the container follows.
    ContainerCreated {
        /// Path below the cgroup v2 mount.
        path: RawText,
    },
    /// A container's cgroup was removed. Nothing of the container follows.
    ContainerGone,
    /// A process of the tree made another process (not a thread).
    Fork {
        /// The new process.
        child: Pid,
    },
    /// A process runs another executable from here on. The first one of a process that no fork of the tree made is a root.
    Exec(Box<Exec>),
    /// The last thread of a process ended.
    Exit,
    /// A file was opened.
    Open {
        /// Which, from the kernel's `struct file`.
        file: FilePath,
        /// `O_*` flags of the open file (x86-64 numbering).
        flags: u32,
    },
    /// Something was done to a file by its name, or its code was mapped.
    Change {
        /// What.
        change: Change,
        /// The name; the old one where there are two.
        file: FilePath,
        /// The new name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<FilePath>,
        /// Permission bits that were given; for [`Change::Open`] its `O_*` flags.
        #[serde(default)]
        mode: u32,
    },
    /// A peer came to a listening socket.
    Accept {
        /// The local end.
        local: Endpoint,
        /// Who came; none for unix sockets.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        peer: Option<IpAddr>,
    },
    /// A system call was made.
    Syscall {
        /// Its number on x86-64.
        number: u32,
    },
    /// A capability was asked for and granted.
    Capability {
        /// Its number.
        number: u32,
    },
    /// What was told under the event's key was seen again, for the last time when the event says.
    Repeats {
        /// How often.
        events: u64,
    },
    /// `connect(2)` named an address.
    Connect {
        /// The remote.
        remote: Endpoint,
        /// What connect returned: 0, or a negative errno.
        result: i32,
    },
    /// `listen(2)` succeeded.
    Listen {
        /// The local end, its port as the kernel chose it.
        local: Endpoint,
    },
    /// A DNS message on a socket whose peer port is 53.
    Dns {
        /// Kernel cookie of the socket, so that answers meet their questions.
        socket: u64,
        /// True for an answer to the container.
        answer: bool,
        /// Over TCP: without the length prefix.
        tcp: bool,
        /// The DNS message.
        #[serde(with = "hex")]
        message: Vec<u8>,
    },
    /// Seen in /proc when a window opened over a running container: a process that exists. Parents come before children.
    InitialProcess {
        /// Parent in the container, as /proc has it now; none for a root.
        parent: Option<Pid>,
        /// True where the parent may have been assigned by reparenting (it is the pid namespace's reaper or a subreaper).
        parent_is_guess: bool,
        /// The process, as if it had just executed.
        exec: Box<Exec>,
    },
    /// Seen in /proc when a window opened: an open file or mapped executable.
    InitialFile {
        /// Which.
        file: FilePath,
        /// `O_*` flags of the open file.
        flags: u32,
    },
    /// Seen in /proc when a window opened: a listening socket.
    InitialListen {
        /// The local end.
        local: Endpoint,
    },
    /// The process changed its title since it executed (`setproctitle`), as read when the window closed.
    Title {
        /// The new command line.
        argv: Vec<RawText>,
    },
    /// Events that are not here because they could not be handed over.
    Lost {
        /// What kind of event.
        kind: LostKind,
        /// Why.
        cause: LostCause,
        /// How many.
        events: u64,
    },
}

impl Body {
    /// What kind of event it is, as the log names it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ContainerCreated { .. } => "container_created",
            Self::ContainerGone => "container_gone",
            Self::Fork { .. } => "fork",
            Self::Exec(_) => "exec",
            Self::Exit => "exit",
            Self::Open { .. } => "open",
            Self::Change { .. } => "change",
            Self::Accept { .. } => "accept",
            Self::Syscall { .. } => "syscall",
            Self::Capability { .. } => "capability",
            Self::Repeats { .. } => "repeats",
            Self::Connect { .. } => "connect",
            Self::Listen { .. } => "listen",
            Self::Dns { .. } => "dns",
            Self::InitialProcess { .. } => "initial_process",
            Self::InitialFile { .. } => "initial_file",
            Self::InitialListen { .. } => "initial_listen",
            Self::Title { .. } => "title",
            Self::Lost { .. } => "lost",
        }
    }
}

/// A new program image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The file that runs: for a `#!` script the interpreter.
    pub exe: FilePath,
    /// The script file as the kernel was given it (may be relative to [`Exec::cwd`]), where a `#!` line chose the exe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<RawText>,
    /// The argument vector, as far as it was copied.
    pub argv: Vec<RawText>,
    /// True where the argument vector was longer than what was copied.
    #[serde(default)]
    pub argv_truncated: bool,
    /// Task name (at most 15 bytes).
    pub comm: RawText,
    /// Working directory.
    pub cwd: RawText,
    /// Real, effective, saved user ids, in the initial user namespace.
    pub uids: [u32; 3],
    /// Real, effective, saved group ids.
    #[serde(default)]
    pub gids: [u32; 3],
    /// Has a controlling terminal.
    pub tty: bool,
    /// What stdin, stdout and stderr are.
    pub stdio: [StdioKind; 3],
    /// Process id in its own pid namespace.
    pub ns_pid: u32,
    /// Depth of its pid namespace: 0 is the host's.
    pub pid_ns_level: u32,
    /// Inode number of its mount namespace.
    pub mnt_ns: u32,
    /// When the process (not its program) started.
    pub started: Option<BootTime>,
}

/// A path and where it is from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePath {
    /// Absolute, from the top of the mount namespace; not normalised.
    pub path: RawText,
    /// What holds it.
    pub origin: Origin,
    /// True where the path was deeper or longer than the kernel side walks: [`FilePath::path`] is then only its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// True where this is how the process named the file, below the directory that it was relative to: links are not resolved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub argument: bool,
}

/// What was done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Opened, and only its name is known.
    Open,
    /// A name of it was removed.
    Unlink,
    /// A directory was removed.
    Rmdir,
    /// It has the new name instead of the old one.
    Rename,
    /// It has the new name beside the old one.
    Link,
    /// A symbolic link was made.
    Symlink,
    /// A directory was made.
    Mkdir,
    /// A device, FIFO or socket was made.
    Mknod,
    /// Its permission bits were set.
    Chmod,
    /// Its owner or group was set.
    Chown,
    /// Its length was set.
    Truncate,
    /// Its code was mapped.
    Exec,
}

/// What holds a file, as far as the kernel side can tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Overlay file that is still the image's.
    Image,
    /// Overlay file of the image that was copied up before a write.
    CopiedUp,
    /// Overlay file that exists only in the writable layer.
    Upper,
    /// On another mount: a volume, a bind mount.
    Volume,
    /// On a tmpfs.
    Tmpfs,
    /// An anonymous memory file.
    Memfd,
    /// procfs, sysfs, cgroupfs, devpts, …
    Pseudo,
    /// Unlinked while open.
    Deleted,
    /// Not determined.
    #[default]
    Unknown,
}

/// What one of the standard file descriptors is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StdioKind {
    /// Not open, or not determined.
    #[default]
    None,
    /// A terminal.
    Tty,
    /// A pipe or FIFO.
    Pipe,
    /// A socket.
    Socket,
    /// /dev/null.
    Null,
    /// Any other file.
    File,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Transport.
    pub protocol: Transport,
    /// Address.
    pub address: Address,
    /// Port; 0 for unix sockets.
    #[serde(default)]
    pub port: u16,
}

/// Transport protocol of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP, MPTCP.
    Tcp,
    /// UDP.
    Udp,
    /// Unix domain, any type.
    Unix,
    /// Another IP protocol, by number.
    Other(u16),
}

/// Where a socket ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// An IP address; IPv4-mapped IPv6 stands as IPv4.
    Ip(IpAddr),
    /// A unix socket in the file system, as the argument named it (may be relative to the working directory).
    Path(RawText),
    /// A unix socket in the abstract namespace, without the leading NUL.
    Abstract(RawText),
}

/// Kinds of events that can be lost, the gravest first: in the other order they are shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LostKind {
    Exec,
    Fork,
    Exit,
    Open,
    Change,
    Syscall,
    Capability,
    Dns,
    Connect,
    Listen,
    Accept,
}

impl LostKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Exec,
        Self::Fork,
        Self::Exit,
        Self::Open,
        Self::Change,
        Self::Syscall,
        Self::Capability,
        Self::Dns,
        Self::Connect,
        Self::Listen,
        Self::Accept,
    ];
}

/// Why events were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostCause {
    /// The ring buffer was full: userspace was too slow.
    RingFull,
    /// A kernel table (processes, pending calls) was full.
    MapFull,
    /// The container told more events than it may.
    Shed,
    /// What it named could not be read from its memory.
    Unreadable,
    /// The kernel side was at work for a task of the same CPU that was preempted.
    Busy,
    /// The bytes were not what this version understands.
    Undecodable,
    /// It happened before the container's activity was told: how much is not known, it counts as one.
    Late,
}

impl LostCause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RingFull,
        Self::MapFull,
        Self::Shed,
        Self::Unreadable,
        Self::Busy,
        Self::Undecodable,
        Self::Late,
    ];
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() % 2 != 0 || !text.is_ascii() {
            return Err(serde::de::Error::custom("not an even number of hex digits"));
        }
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(serde::de::Error::custom))
            .collect()
    }
}
