use crate::identity::{self, Kind, NodeId, Parent, RootKind};
use crate::text::RawText;

/// One row of a snapshot file, before it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What was seen, with what identifies it.
    pub fact: Fact,
    /// Parent of a process, owner of everything else; none at a root and where no process is known.
    pub parent: Option<NodeId>,
    /// Executable of the owning process (of a process: its own), normalised.
    pub exe: Option<RawText>,
    /// When in the container's life.
    pub phase: Phase,
    /// How it was seen.
    pub seen_by: SeenBy,
    /// Every ancestor is known for certain.
    pub lineage_complete: bool,
    /// How often.
    pub events: i64,
    /// First time, milliseconds from the window's start.
    pub first_seen_ms: i32,
    /// Last time, milliseconds from the window's start.
    pub last_seen_ms: i32,
}

/// What a node says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A program ran.
    Process(Box<Process>),
    /// A file was used.
    File(File),
    /// A name was asked for.
    Dns {
        /// Lower case, no trailing dot.
        name: RawText,
        /// Record type.
        rtype: String,
    },
    /// A connection was tried.
    Connect(Socket),
    /// A socket listened.
    Listen(Socket),
    /// A system call was used.
    Syscall(String),
    /// A capability was used.
    Capability(String),
}

/// Attributes of a process; meanings as the columns of the same names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "documented where the columns are declared")]
pub struct Process {
    pub root_kind: Option<RootKind>,
    pub exec_from: Option<RawText>,
    pub script: Option<RawText>,
    pub shebang: bool,
    pub argv0: Option<RawText>,
    pub args: Vec<RawText>,
    pub args_overflow: i64,
    pub comm: RawText,
    pub cwd: RawText,
    pub uids: Vec<u32>,
    pub gids: Vec<u32>,
    pub cred_change: bool,
    pub tty: bool,
    pub stdio: Vec<&'static str>,
    pub ns_changed: bool,
    pub written_in_window: bool,
    pub file_origin: Option<&'static str>,
    pub processes: i64,
}

/// Attributes of a file; meanings as the columns of the same names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "documented where the columns are declared")]
pub struct File {
    pub path: RawText,
    pub path_raw: Option<RawText>,
    pub access: Vec<&'static str>,
    pub mode: Option<i32>,
    pub path_source: &'static str,
    pub file_origin: &'static str,
}

/// Attributes of a connection or listening socket; meanings as the columns of the same names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "documented where the columns are declared")]
pub struct Socket {
    pub protocol: String,
    pub address: RawText,
    pub port: u16,
    pub remote_ips: Vec<String>,
    pub name_source: Option<&'static str>,
}

/// When in its container's life a node was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Within [`STARTUP`](super::STARTUP) of the container's start.
    Startup,
    /// Later, or the start is not known.
    Steady,
}

/// How a node was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeenBy {
    /// Happening.
    Runtime,
    /// In /proc, when the window opened.
    Initial,
}

impl Phase {
    /// The value of the `phase` column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Steady => "steady",
        }
    }
}

impl SeenBy {
    /// The value of the `origin` column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Initial => "initial",
        }
    }
}

impl Fact {
    /// The kind of node.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Process(_) => Kind::Process,
            Self::File(_) => Kind::File,
            Self::Dns { .. } => Kind::Dns,
            Self::Connect(_) => Kind::Connect,
            Self::Listen(_) => Kind::Listen,
            Self::Syscall(_) => Kind::Syscall,
            Self::Capability(_) => Kind::Capability,
        }
    }
}

impl Node {
    /// The identity: computed, so that a row cannot carry another one.
    pub fn id(&self) -> NodeId {
        let owner = self.parent;
        match &self.fact {
            Fact::Process(process) => {
                let place = match (owner, process.root_kind) {
                    (Some(parent), _) => Parent::Process(parent),
                    (None, root) => Parent::Root(root.unwrap_or(RootKind::ExecSession)),
                };
                identity::process_id(
                    place,
                    self.exe.as_ref().map_or(&[], RawText::as_bytes),
                    process.argv0.as_ref().map(RawText::as_bytes),
                    process.script.as_ref().filter(|_| process.shebang).map(RawText::as_bytes),
                )
            }
            Fact::File(file) => identity::file_id(owner, file.path.as_bytes()),
            Fact::Dns { name, rtype } => identity::dns_id(owner, name.as_bytes(), rtype),
            Fact::Connect(socket) | Fact::Listen(socket) => identity::socket_id(
                self.fact.kind(),
                owner,
                &socket.protocol,
                socket.address.as_bytes(),
                socket.port,
            ),
            Fact::Syscall(name) | Fact::Capability(name) => identity::name_id(self.fact.kind(), owner, name),
        }
    }
}
