//! What passes between the kernel side and userspace, declared once.
//!
//! `build.rs` compiles this file too and writes the C header (`wsp_abi.h`) from it, with the sizes and offsets that
//! rustc gave the structs as static assertions. On this side every struct is asserted to be without padding, so that
//! [`Wire::read`] may take its fields one after the other. Integers stay integers here: what they mean is decided in
//! `decode`, by conversions that know an unknown value.

/// Reads a value off the front of `bytes`, in the byte order of this machine.
pub trait Wire: Sized {
    /// `None` where `bytes` is too short; `bytes` is then in no particular state.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

/// How a type is spelt in C.
pub trait CType {
    /// A declaration of `name` as this type.
    fn declare(name: &str) -> String;
}

macro_rules! scalar {
    ($($rust:ident $c:literal),*) => {$(
        impl Wire for $rust {
            fn read(bytes: &mut &[u8]) -> Option<Self> {
                let (head, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some($rust::from_ne_bytes(*head))
            }
        }
        impl CType for $rust {
            fn declare(name: &str) -> String {
                format!("{} {name}", $c)
            }
        }
    )*};
}
scalar!(u8 "__u8", u16 "__u16", u32 "__u32", u64 "__u64", i32 "__s32");

impl<T: Wire + Copy + Default, const N: usize> Wire for [T; N] {
    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut out = [T::default(); N];
        for slot in &mut out {
            *slot = T::read(bytes)?;
        }
        Some(out)
    }
}

impl<T: CType, const N: usize> CType for [T; N] {
    fn declare(name: &str) -> String {
        T::declare(&format!("{name}[{N}]"))
    }
}

/// One constant of the C header.
#[derive(Debug, Clone, Copy)]
pub struct Constant {
    /// Name without the `WSP_` prefix.
    pub name: &'static str,
    /// Value.
    pub value: u32,
}

macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        $($(#[$doc])* pub const $name: u32 = $value;)*
        /// All of the above, for the C header.
        pub const CONSTANTS: &[Constant] = &[$(Constant { name: stringify!($name), value: $name }),*];
    };
}

/// One struct of the C header.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Name in C, without `struct`.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Declaration, name and offset of each field.
    pub fields: Vec<(String, &'static str, usize)>,
}

macro_rules! structs {
    ($($(#[$doc:meta])* struct $name:ident as $c:literal {
        $($(#[$field_doc:meta])* $field:ident: $ty:ty,)*
    })*) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $ty,)*
            }

            // No padding: the fields follow each other on the wire.
            const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$ty>())*);

            impl Wire for $name {
                fn read(bytes: &mut &[u8]) -> Option<Self> {
                    Some(Self { $($field: <$ty>::read(bytes)?,)* })
                }
            }

            impl CType for $name {
                fn declare(name: &str) -> String {
                    format!("struct {} {name}", $c)
                }
            }
        )*

        /// All of the above in order, for the C header.
        pub fn layouts() -> Vec<Layout> {
            vec![$(Layout {
                name: $c,
                size: size_of::<$name>(),
                fields: vec![$((
                    <$ty>::declare(stringify!($field)),
                    stringify!($field),
                    std::mem::offset_of!($name, $field),
                ),)*],
            },)*]
        }
    };
}

constants! {
    /// Bytes of one path section: the sum of its components and their NULs. A path of 4095 bytes fits.
    PATH_BYTES = 4096;
    /// Bytes of an argument vector that are copied.
    ARGV_BYTES = 4096;
    /// Bytes of a DNS message that are copied.
    DNS_BYTES = 1500;
    /// Bytes of a `sun_path`.
    UNIX_PATH_BYTES = 108;

    /// [`Record::kind`]: a container's cgroup was made; [`Created`].
    KIND_CREATED = 1;
    /// A container's cgroup was removed; [`Record`] alone.
    KIND_GONE = 2;
    /// [`Forked`].
    KIND_FORK = 3;
    /// [`Executed`].
    KIND_EXEC = 4;
    /// [`Record`] alone.
    KIND_EXIT = 5;
    /// [`Opened`].
    KIND_OPEN = 6;
    /// [`SocketAddress`].
    KIND_CONNECT = 7;
    /// [`SocketAddress`].
    KIND_LISTEN = 8;
    /// [`DnsMessage`].
    KIND_DNS = 9;
    /// [`SocketAddress`] with a peer.
    KIND_ACCEPT = 10;
    /// [`Changed`].
    KIND_CHANGE = 11;
    /// [`Used`], a system call.
    KIND_SYSCALL = 12;
    /// [`Used`], a capability.
    KIND_CAPABILITY = 13;

    /// [`PathInfo::flags`]: deeper or longer than what was walked, or unreadable on the way.
    PATH_TRUNCATED = 1;
    /// Unlinked.
    PATH_DELETED = 2;
    /// Hangs from no mount of a namespace: memfd, detached mounts.
    PATH_DETACHED = 4;
    /// On the mount that is the namespace's `/`.
    PATH_ON_ROOT_MOUNT = 8;
    /// Overlayfs: has a file in the writable layer.
    PATH_OVERLAY_UPPER = 16;
    /// Overlayfs: has (or was copied up from) a file in a lower layer.
    PATH_OVERLAY_LOWER = 32;
    /// A directory.
    PATH_DIRECTORY = 64;

    /// [`Executed::flags`]: the argument vector was longer than [`ARGV_BYTES`], or not readable.
    EXEC_ARGV_TRUNCATED = 1;
    /// There is a controlling terminal.
    EXEC_TTY = 2;
    /// The script section starts with `/dev/fd/N` and the script directory section is the path of that descriptor.
    EXEC_SCRIPT_AT_FD = 4;

    /// [`LostKey::cause`]: the ring buffer was full.
    LOST_RING_FULL = 1;
    /// A table was full.
    LOST_MAP_FULL = 2;
    /// The container's token bucket was empty, or kept for graver kinds.
    LOST_SHED = 3;
    /// What it named could not be read.
    LOST_UNREADABLE = 4;
    /// The work space of the CPU was in use by a task that was preempted.
    LOST_BUSY = 5;

    /// [`Changed::op`]: a name was opened; the mode is its `O_*` flags.
    OP_OPEN = 1;
    /// A name went.
    OP_UNLINK = 2;
    /// A directory went.
    OP_RMDIR = 3;
    /// The first name became the second.
    OP_RENAME = 4;
    /// The second name became another one of the first's file.
    OP_LINK = 5;
    /// A symbolic link was made; what it says is not told.
    OP_SYMLINK = 6;
    /// A directory was made.
    OP_MKDIR = 7;
    /// A device, FIFO or socket was made.
    OP_MKNOD = 8;
    /// The permission bits were set.
    OP_CHMOD = 9;
    /// The owner or group was set.
    OP_CHOWN = 10;
    /// The length was set by name.
    OP_TRUNCATE = 11;
    /// Its code was mapped, or the kernel mapped it for a new program.
    OP_EXEC = 12;
}

structs! {
    /// Front of every record.
    struct Record as "wsp_record" {
        /// `CLOCK_BOOTTIME`, nanoseconds.
        at: u64,
        /// Top cgroup of the container.
        cgroup: u64,
        /// Under which repeats of it are counted ([`Seen`]), 0 where every one is told.
        key: u64,
        /// Thread group id in the initial pid namespace, 0 for containers.
        pid: u32,
        /// `KIND_*`.
        kind: u32,
    }

    /// A path section: leaf first, each component ended by a NUL.
    struct PathInfo as "wsp_path_info" {
        /// `s_magic` of the file system.
        magic: u32,
        /// Bytes of the section.
        len: u16,
        /// `PATH_*`.
        flags: u16,
    }

    /// Followed by the path below the cgroup mount.
    struct Created as "wsp_created" {
        /// Front.
        record: Record,
        /// Bytes of the path.
        path_len: u32,
        /// Zero.
        reserved: u32,
    }

    /// A new process.
    struct Forked as "wsp_forked" {
        /// Front; the pid is the parent's.
        record: Record,
        /// Thread group id of the new process.
        child: u32,
        /// Zero.
        reserved: u32,
    }

    /// What one of the standard descriptors is.
    struct Descriptor as "wsp_descriptor" {
        /// `i_mode`, 0 where not open.
        mode: u32,
        /// `i_rdev`: major << 20 | minor.
        rdev: u32,
    }

    /// A new program. Followed by: argument vector, script string, exe path, cwd path, script directory path.
    struct Executed as "wsp_executed" {
        /// Front.
        record: Record,
        /// When the process started, `CLOCK_BOOTTIME` nanoseconds.
        started: u64,
        /// The file that runs.
        exe: PathInfo,
        /// Working directory.
        cwd: PathInfo,
        /// What the script's `/dev/fd/N` is, where `EXEC_SCRIPT_AT_FD`.
        script_dir: PathInfo,
        /// Bytes of the script string, without NUL.
        script_len: u32,
        /// Bytes of the argument vector.
        argv_len: u32,
        /// `EXEC_*`.
        flags: u32,
        /// Real, effective, saved.
        uids: [u32; 3],
        /// Real, effective, saved.
        gids: [u32; 3],
        /// Process id in its own pid namespace.
        ns_pid: u32,
        /// Depth of that namespace.
        pid_ns_level: u32,
        /// Mount namespace.
        mnt_ns: u32,
        /// Descriptors 0, 1, 2.
        stdio: [Descriptor; 3],
        /// Task name.
        comm: [u8; 16],
    }

    /// Followed by the path.
    struct Opened as "wsp_opened" {
        /// Front.
        record: Record,
        /// The file.
        file: PathInfo,
        /// `f_flags`, and `O_CREAT` where the call made the file.
        flags: u32,
        /// Zero.
        reserved: u32,
    }

    /// A change to a name, or a file that was named. Followed by, for each of the two: the name, and the path of the directory that it
    /// is relative to (the file itself where the name is empty).
    struct Changed as "wsp_changed" {
        /// Front.
        record: Record,
        /// `OP_*`.
        op: u32,
        /// Permission bits, or flags of an open.
        mode: u32,
        /// The directories.
        dirs: [PathInfo; 2],
        /// Bytes of the names, without NUL.
        name_lens: [u32; 2],
    }

    /// A system call that a process used, or a capability.
    struct Used as "wsp_used" {
        /// Front.
        record: Record,
        /// Which, by its number.
        number: u32,
        /// Zero.
        reserved: u32,
    }

    /// A connect, a listen or an accept. Followed by the `sun_path` of a unix socket.
    struct SocketAddress as "wsp_socket_address" {
        /// Front.
        record: Record,
        /// 0 or a negative errno.
        result: i32,
        /// `AF_*`.
        family: u16,
        /// `IPPROTO_*` (0 for unix sockets).
        protocol: u16,
        /// Host byte order.
        port: u16,
        /// Bytes of the `sun_path`.
        name_len: u16,
        /// Of the peer of an accepted connection; 0 for none.
        peer_family: u16,
        /// Zero.
        reserved: u16,
        /// IPv4 in the first four.
        address: [u8; 16],
        /// The peer of an accepted connection.
        peer: [u8; 16],
    }

    /// Followed by the message (and by nothing of worth up to the record's end).
    struct DnsMessage as "wsp_dns_message" {
        /// Front; the pid is that of the process that addressed the socket.
        record: Record,
        /// Socket cookie.
        socket: u64,
        /// 1 for an answer.
        answer: u16,
        /// 1 over TCP.
        tcp: u16,
        /// Bytes of the message.
        len: u32,
    }

    /// Key of the map of lost events.
    struct LostKey as "wsp_lost_key" {
        /// Top cgroup.
        cgroup: u64,
        /// `KIND_*`.
        kind: u32,
        /// `LOST_*`.
        cause: u32,
    }

    /// Value of the map of processes.
    struct ProcessState as "wsp_process" {
        /// Top cgroup of the container whose tree the process is in.
        cgroup: u64,
        /// Where its nodes hang: the lineage of the process that forked it, as of the fork. Any number that nothing else has for what
        /// entered from outside.
        place: u64,
        /// What its node is: differs wherever the nodes do.
        lineage: u64,
    }

    /// Value of the map of what was told.
    struct Seen as "wsp_seen" {
        /// How often since.
        events: u64,
        /// When last, `CLOCK_BOOTTIME` nanoseconds; 0 for never.
        last: u64,
    }

    /// Value of the map of DNS sockets.
    struct DnsSocket as "wsp_dns_socket" {
        /// Top cgroup.
        cgroup: u64,
        /// The process that addressed it last.
        pid: u32,
        /// Zero.
        reserved: u32,
    }
}
