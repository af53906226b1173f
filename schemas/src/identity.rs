//! Node identity: 16 bytes of BLAKE3 over what a node *is*, never over where or how often it was seen.
//!
//! Two snapshots, two hosts and two versions of an image give the same node the same id, so that merging and comparing
//! are joins on 16 bytes. 64 bits could be forged by who controls paths and arguments; 128 cannot be in practice.
//!
//! Input of the hash: the domain tag `wsp.node.v1`, one byte for the kind, then each identity field as its length (64-bit
//! little-endian) and its raw bytes. `FORMAT.md` has the layout with an example, `identity/golden.json` vectors for
//! implementations in other languages, and `vectors/check.py` is one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::message::message_is_text;
use crate::text::RawText;

const DOMAIN: &[u8] = b"wsp.node.v1";
const PATTERN_DOMAIN: &[u8] = b"wsp.pattern.v1";

/// Identity of one node of a behaviour tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 16]);

impl NodeId {
    /// Takes the bytes of a `node_id` column.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of a `node_id` column.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 16];
        for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

message_is_text!(NodeId, NodeId::to_string, NodeId::parse, "a node id has 32 hex digits");

/// Depth of a process tree at which a recorder stops: deeper processes hang from their ancestor there. A file may not be deeper
/// than that and one level below a root.
pub const MAX_DEPTH: u32 = 64;

/// What a node is a fact about. The names are the values of the `kind` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A program that ran, at its place in the tree.
    Process,
    /// A file that a process opened or changed.
    File,
    /// A DNS name that a process asked for.
    Dns,
    /// A remote end that a process connected to.
    Connect,
    /// A local end that a process listened on.
    Listen,
    /// A system call that a process used.
    Syscall,
    /// A capability that a process used.
    Capability,
}

impl Kind {
    /// All kinds, in the order in which tables show them.
    pub const ALL: [Self; 7] =
        [Self::Process, Self::File, Self::Dns, Self::Connect, Self::Listen, Self::Syscall, Self::Capability];

    /// The value of the `kind` column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::File => "file",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Listen => "listen",
            Self::Syscall => "syscall",
            Self::Capability => "capability",
        }
    }

    /// Reads the value of a `kind` column.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    const fn tag(self) -> u8 {
        match self {
            Self::Process => 1,
            Self::File => 2,
            Self::Dns => 3,
            Self::Connect => 4,
            Self::Listen => 5,
            Self::Syscall => 6,
            Self::Capability => 7,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a process without a parent in the tree came into the container. The names are the values of `root_kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RootKind {
    /// The container's init task, through all its execs.
    Init,
    /// Anything else that entered from outside: `kubectl exec`, a health probe.
    ExecSession,
}

impl RootKind {
    /// The value of the `root_kind` column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::ExecSession => "exec_session",
        }
    }

    /// Reads the value of a `root_kind` column.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Init, Self::ExecSession].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Where a process hangs in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parent {
    /// Forked by that process.
    Process(NodeId),
    /// Entered from outside.
    Root(RootKind),
}

/// Hashes the identity of a process node.
///
/// `argv0` is given for multi-call binaries only (see [`multi_call_argv0`]), `script` only where a `#!` line chose the
/// exe. Paths are normalised ones ([`crate::paths`]).
pub fn process_id(parent: Parent, exe: &[u8], argv0: Option<&[u8]>, script: Option<&[u8]>) -> NodeId {
    Input::default().process(parent, exe, argv0, script).hash()
}

/// Hashes the identity of a file node: the process that touched it (none where the source knows no process) and its
/// normalised path.
pub fn file_id(process: Option<NodeId>, path: &[u8]) -> NodeId {
    Input::default().file(process, path).hash()
}

/// Hashes the identity of a DNS node. `name` in lower case without the trailing dot, `rtype` as in `A`, `AAAA`, `SRV`.
pub fn dns_id(process: Option<NodeId>, name: &[u8], rtype: &str) -> NodeId {
    Input::default().dns(process, name, rtype).hash()
}

/// Hashes the identity of a connect or listen node. `address` as the `address` column has it.
pub fn socket_id(kind: Kind, process: Option<NodeId>, protocol: &str, address: &[u8], port: u16) -> NodeId {
    Input::default().socket(kind, process, protocol, address, port).hash()
}

/// Hashes the identity of a syscall or capability node.
pub fn name_id(kind: Kind, process: Option<NodeId>, name: &str) -> NodeId {
    Input::default().name(kind, process, name).hash()
}

/// Hashes the identity of a pattern: what siblings are folded into. `place` says which siblings (a directory, a port, …),
/// `signature` what their names look like. It cannot be the id of a node that was seen.
pub fn pattern_id(kind: Kind, process: Option<NodeId>, place: &str, signature: &str) -> NodeId {
    let mut input = Input::default();
    input.0.extend_from_slice(PATTERN_DOMAIN);
    input.0.push(kind.tag());
    input
        .optional(process.as_ref().map(|id| id.as_bytes().as_slice()))
        .field(place.as_bytes())
        .field(signature.as_bytes())
        .hash()
}

/// What is hashed of one node. The buffer can be used for the next one; who has seen the same bytes under an id before
/// need not hash them again.
#[derive(Debug, Default)]
pub(crate) struct Input(Vec<u8>);

impl Input {
    pub(crate) fn process(
        &mut self,
        parent: Parent,
        exe: &[u8],
        argv0: Option<&[u8]>,
        script: Option<&[u8]>,
    ) -> &Self {
        self.start(Kind::Process);
        match parent {
            Parent::Process(id) => self.field(b"process").field(id.as_bytes()),
            Parent::Root(kind) => self.field(b"root").field(kind.as_str().as_bytes()),
        };
        self.field(exe).optional(argv0).optional(script)
    }

    pub(crate) fn file(&mut self, process: Option<NodeId>, path: &[u8]) -> &Self {
        self.owned(Kind::File, process).field(path)
    }

    pub(crate) fn dns(&mut self, process: Option<NodeId>, name: &[u8], rtype: &str) -> &Self {
        self.owned(Kind::Dns, process).field(name).field(rtype.as_bytes())
    }

    pub(crate) fn socket(
        &mut self,
        kind: Kind,
        process: Option<NodeId>,
        protocol: &str,
        address: &[u8],
        port: u16,
    ) -> &Self {
        self.owned(kind, process).field(protocol.as_bytes()).field(address).field(&port.to_le_bytes())
    }

    pub(crate) fn name(&mut self, kind: Kind, process: Option<NodeId>, name: &str) -> &Self {
        self.owned(kind, process).field(name.as_bytes())
    }

    /// The bytes that are hashed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id.
    pub(crate) fn hash(&self) -> NodeId {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&self.0).as_bytes()[..16]);
        NodeId(id)
    }

    fn start(&mut self, kind: Kind) -> &mut Self {
        self.0.clear();
        self.0.extend_from_slice(DOMAIN);
        self.0.push(kind.tag());
        self
    }

    fn owned(&mut self, kind: Kind, process: Option<NodeId>) -> &mut Self {
        self.start(kind).optional(process.as_ref().map(|id| id.as_bytes().as_slice()))
    }

    fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// An absent field has the length `u64::MAX`, which no present one can have.
    fn optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            Some(bytes) => self.field(bytes),
            None => {
                self.0.extend_from_slice(&u64::MAX.to_le_bytes());
                self
            }
        }
    }
}

/// Binaries whose behaviour is chosen by the name they are called by, by the last part of the executable's path.
const MULTI_CALL: [&[u8]; 9] = [
    b"busybox",
    b"toybox",
    b"coreutils",
    b"uutils",
    b"box",
    b"kmod",
    b"systemctl",
    b"xtables-nft-multi",
    b"xtables-legacy-multi",
];

/// The part of `argv[0]` that belongs to a process's identity: its last path part, without a login shell's dash, where
/// `exe` is a multi-call binary.
pub fn multi_call_argv0(exe: &[u8], argv0: &[u8]) -> Option<RawText> {
    if !MULTI_CALL.contains(&last_part(exe)) {
        return None;
    }
    let name = last_part(argv0);
    Some(RawText::from(name.strip_prefix(b"-").unwrap_or(name)))
}

fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector as `golden.json` has it; other implementations read the same file.
    #[derive(serde::Deserialize)]
    struct Vector {
        kind: String,
        parent: Option<String>,
        root_kind: Option<String>,
        exe: Option<RawText>,
        argv0: Option<RawText>,
        script: Option<RawText>,
        path: Option<RawText>,
        dns_name: Option<RawText>,
        dns_type: Option<String>,
        protocol: Option<String>,
        address: Option<RawText>,
        port: Option<u16>,
        name: Option<String>,
        id: String,
    }

    fn compute(v: &Vector) -> NodeId {
        let parent = v.parent.as_deref().map(|text| NodeId::parse(text).unwrap());
        let bytes = |text: &Option<RawText>| text.as_ref().map(|text| text.as_bytes().to_vec());
        match Kind::parse(&v.kind).unwrap() {
            Kind::Process => {
                let place = parent.map_or_else(
                    || Parent::Root(RootKind::parse(v.root_kind.as_deref().unwrap()).unwrap()),
                    Parent::Process,
                );
                process_id(
                    place,
                    &bytes(&v.exe).unwrap(),
                    bytes(&v.argv0).as_deref(),
                    bytes(&v.script).as_deref(),
                )
            }
            Kind::File => file_id(parent, &bytes(&v.path).unwrap()),
            Kind::Dns => dns_id(parent, &bytes(&v.dns_name).unwrap(), v.dns_type.as_deref().unwrap()),
            kind @ (Kind::Connect | Kind::Listen) => socket_id(
                kind,
                parent,
                v.protocol.as_deref().unwrap(),
                &bytes(&v.address).unwrap(),
                v.port.unwrap(),
            ),
            kind @ (Kind::Syscall | Kind::Capability) => name_id(kind, parent, v.name.as_deref().unwrap()),
        }
    }

    #[test]
    fn golden_vectors() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("identity/golden.json")).unwrap();
        assert!(vectors.len() >= 14);
        for v in &vectors {
            assert_eq!(compute(v).to_string(), v.id, "{} {:?}{:?}{:?}", v.kind, v.exe, v.path, v.name);
        }
    }

    #[test]
    fn fields_cannot_be_shifted_into_each_other() {
        let root = Parent::Root(RootKind::Init);
        assert_ne!(
            process_id(root, b"/bin/ab", Some(b"c"), None),
            process_id(root, b"/bin/a", Some(b"bc"), None)
        );
        assert_ne!(
            process_id(root, b"/bin/a", Some(b"b"), None),
            process_id(root, b"/bin/a", None, Some(b"b"))
        );
        assert_ne!(process_id(root, b"/bin/a", None, None), process_id(root, b"/bin/a", Some(b""), None));
        assert_ne!(file_id(None, b"/x"), name_id(Kind::Syscall, None, "/x"));
    }

    #[test]
    fn only_multi_call_binaries_keep_their_name() {
        assert_eq!(multi_call_argv0(b"/bin/busybox", b"/bin/sh"), Some("sh".into()));
        assert_eq!(multi_call_argv0(b"/bin/busybox", b"-ash"), Some("ash".into()));
        assert_eq!(multi_call_argv0(b"/usr/bin/bash", b"sh"), None);
    }

    #[test]
    fn ids_read_back_from_hex() {
        let id = file_id(None, b"/etc/passwd");
        assert_eq!(NodeId::parse(&id.to_string()), Some(id));
        assert_eq!(NodeId::parse("zz"), None);
        assert_eq!(NodeId::parse(&"é".repeat(16)), None);
    }
}
