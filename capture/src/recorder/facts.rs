//! Facts about processes: files, sockets, names.

use std::net::IpAddr;

use wsp_schemas::address::is_nameable;
use wsp_schemas::identity::{self, Kind, NodeId};
use wsp_schemas::snapshot::{Fact, File, Socket};
use wsp_schemas::text::RawText;

use super::process::{normal, origin_name};
use super::window::{LIMIT, Told};
use super::{Recorder, access, cause_name, dns, net};
use crate::event::{
    Address, BootTime, Change, Endpoint, FilePath, Key, LostCause, LostKind, Origin, Pid, Transport,
};

/// Addresses that are kept behind a name.
const REMOTE_IPS: usize = 16;

impl Recorder {
    pub(super) fn opened_file(&mut self, at: BootTime, pid: Pid, file: &FilePath, flags: u32, key: Key) {
        let row = self.file(at, pid, file, access::words(flags), access::writes(flags), None);
        self.kept(key, [row, None], row.is_some(), LostKind::Open);
    }

    pub(super) fn found_file(&mut self, at: BootTime, pid: Pid, file: &FilePath, flags: u32) {
        let path = normal(&file.path);
        let owner = self.owner(pid);
        if owner.and_then(|id| self.tree.known(id)).is_some_and(|node| node.says(&path)) {
            return;
        }
        let row = self.file_row((at, true), owner, (path, file), access::words(flags), None);
        self.kept(Key::NONE, [row, None], row.is_some(), LostKind::Open);
    }

    pub(super) fn change(
        &mut self,
        at: BootTime,
        pid: Pid,
        (change, mode): (Change, u32),
        (file, to): (&FilePath, Option<&FilePath>),
        key: Key,
    ) {
        let mode_bits = i32::try_from(mode).ok();
        let done = access::of_change(change, mode);
        let mode_bits = mode_bits.filter(|_| matches!(change, Change::Mkdir | Change::Mknod | Change::Chmod));
        let writes = match change {
            Change::Open => access::writes(mode),
            Change::Truncate => true,
            _ => false,
        };
        let was_written = self.window.written.contains(&normal(&file.path));
        let row = self.file(at, pid, file, done, writes, mode_bits);
        let second = to.and_then(|to| {
            // What was written under the old name is there under the new one.
            self.file(at, pid, to, access::of_new_name(change), was_written, None)
        });
        // Both of its names, or the window does not have it all.
        self.kept(key, [row, second], row.is_some() && (to.is_none() || second.is_some()), LostKind::Change);
    }

    /// Something was done to a file.
    fn file(
        &mut self,
        at: BootTime,
        pid: Pid,
        file: &FilePath,
        done: Vec<&'static str>,
        writes: bool,
        mode: Option<i32>,
    ) -> Option<NodeId> {
        let path = normal(&file.path);
        if writes && self.window.written.len() < self.options.max_nodes {
            self.window.written.insert(path.clone());
        }
        let owner = self.owner(pid);
        self.file_row((at, false), owner, (path, file), done, mode)
    }

    fn file_row(
        &mut self,
        (at, initial): (BootTime, bool),
        owner: Option<NodeId>,
        (path, file): (RawText, &FilePath),
        access: Vec<&'static str>,
        mode: Option<i32>,
    ) -> Option<NodeId> {
        let id = identity::file_id(owner, path.as_bytes());
        let fact = Fact::File(File {
            path_raw: (path != file.path).then(|| file.path.clone()),
            path,
            access,
            mode,
            path_source: source_name(file),
            file_origin: origin_name(file.origin),
        });
        let origin = file.origin;
        let unite = |old: &mut Fact, new: Fact| {
            if let (Fact::File(old), Fact::File(new)) = (old, new) {
                access::unite(&mut old.access, &new.access);
                if new.path_source == "kernel" {
                    old.path_source = new.path_source;
                }
                // The latest: a file of the image that was written to is a copy from then on.
                if origin != Origin::Unknown {
                    old.file_origin = new.file_origin;
                }
                old.mode = new.mode.or(old.mode);
                if old.path_raw.is_none() {
                    old.path_raw = new.path_raw;
                }
            }
        };
        self.saw(id, owner, (at, initial), fact, unite)
    }

    pub(super) fn connect(&mut self, at: BootTime, pid: Pid, remote: &Endpoint, key: Key) {
        let owner = self.owner(pid);
        let mut remote_ips = Vec::new();
        let mut name_source = None;
        let address = match &remote.address {
            Address::Ip(ip) => match self.names.name_of(*ip).filter(|_| is_nameable(*ip)) {
                Some(name) => {
                    remote_ips.push(ip.to_string());
                    name_source = Some("dns");
                    name.clone()
                }
                None => net::ip_text(*ip),
            },
            other => net::unix_address(other).unwrap_or_default(),
        };
        let socket = Socket {
            protocol: net::protocol(remote.protocol),
            address,
            port: port(remote),
            remote_ips,
            name_source,
        };
        let row = self.socket((at, false), Kind::Connect, owner, socket);
        self.kept(key, [row, None], row.is_some(), LostKind::Connect);
    }

    /// A socket listens, or a peer came to it: then it listens too.
    pub(super) fn listen(
        &mut self,
        at: BootTime,
        pid: Pid,
        local: &Endpoint,
        peer: Option<IpAddr>,
        key: Key,
    ) {
        let row = self.listening((at, false), pid, local, peer);
        let lost = if peer.is_some() { LostKind::Accept } else { LostKind::Listen };
        self.kept(key, [row, None], row.is_some(), lost);
    }

    pub(super) fn found_listening(&mut self, at: BootTime, pid: Pid, local: &Endpoint) {
        let row = self.listening((at, true), pid, local, None);
        self.kept(Key::NONE, [row, None], row.is_some(), LostKind::Listen);
    }

    fn listening(
        &mut self,
        seen: (BootTime, bool),
        pid: Pid,
        local: &Endpoint,
        peer: Option<IpAddr>,
    ) -> Option<NodeId> {
        let owner = self.owner(pid);
        let socket = Socket {
            protocol: net::protocol(local.protocol),
            address: net::own_address(local),
            port: port(local),
            remote_ips: peer.map(|peer| peer.to_string()).into_iter().collect(),
            ..Socket::default()
        };
        self.socket(seen, Kind::Listen, owner, socket)
    }

    fn socket(
        &mut self,
        seen: (BootTime, bool),
        kind: Kind,
        owner: Option<NodeId>,
        socket: Socket,
    ) -> Option<NodeId> {
        let id = identity::socket_id(kind, owner, &socket.protocol, socket.address.as_bytes(), socket.port);
        let fact = if kind == Kind::Listen { Fact::Listen(socket) } else { Fact::Connect(socket) };
        let unite = |old: &mut Fact, new: Fact| {
            if let (Fact::Connect(old), Fact::Connect(new)) | (Fact::Listen(old), Fact::Listen(new)) =
                (old, new)
            {
                for ip in new.remote_ips {
                    if old.remote_ips.len() < REMOTE_IPS && !old.remote_ips.contains(&ip) {
                        old.remote_ips.push(ip);
                    }
                }
            }
        };
        self.saw(id, owner, seen, fact, unite)
    }

    /// A system call or a capability was used.
    pub(super) fn used(&mut self, at: BootTime, pid: Pid, fact: Fact, key: Key) {
        let owner = self.owner(pid);
        let (kind, lost) = match &fact {
            Fact::Capability(_) => (Kind::Capability, LostKind::Capability),
            _ => (Kind::Syscall, LostKind::Syscall),
        };
        let id = match &fact {
            Fact::Syscall(name) | Fact::Capability(name) => identity::name_id(kind, owner, name),
            _ => return,
        };
        let row = self.saw(id, owner, (at, false), fact, |_, _| {});
        self.kept(key, [row, None], row.is_some(), lost);
    }

    /// Notes which rows an event told of. Where one is missing there was no room: it counts as lost, and so will its repeats.
    fn kept(&mut self, key: Key, rows: [Option<NodeId>; 2], whole: bool, kind: LostKind) {
        if !whole {
            self.window.lose(kind, LIMIT, 1);
        }
        self.window.note_key(key, Told { rows, lost: (!whole).then_some(kind) });
    }

    /// Adds a sighting; none where there is no room for it.
    fn saw(
        &mut self,
        id: NodeId,
        owner: Option<NodeId>,
        seen: (BootTime, bool),
        fact: Fact,
        unite: impl FnOnce(&mut Fact, Fact),
    ) -> Option<NodeId> {
        self.window.saw(&self.tree, id, owner, seen, fact, unite).then_some(id)
    }

    /// A search suffix that led nowhere is a node of its own: which name resolved is not joined in this version.
    pub(super) fn dns(&mut self, at: BootTime, pid: Pid, socket: u64, answer: bool, bytes: &[u8]) {
        let Ok(message) = dns::Message::parse(bytes) else {
            // What a container sends to port 53 without its being DNS is not a lost name; an answer is not a node at all.
            tracing::debug!(bytes = bytes.len(), answer, "not a DNS message");
            if !answer {
                self.window.lose(LostKind::Dns, cause_name(LostCause::Undecodable), 1);
            }
            return;
        };
        if answer {
            self.names.answered(socket, &message);
            return;
        }
        self.names.asked(socket, &message);
        let owner = self.owner(pid);
        for dns::Question { name, rtype } in message.questions {
            let rtype = dns::type_name(rtype);
            let id = identity::dns_id(owner, name.as_bytes(), &rtype);
            let fact = Fact::Dns { name, rtype };
            if self.saw(id, owner, (at, false), fact, |_, _| {}).is_none() {
                self.window.lose(LostKind::Dns, LIMIT, 1);
            }
        }
    }
}

/// How well a path is known.
fn source_name(file: &FilePath) -> &'static str {
    match (file.truncated, file.argument) {
        (true, _) => "truncated",
        (false, true) => "argument",
        (false, false) => "kernel",
    }
}

fn port(end: &Endpoint) -> u16 {
    if end.protocol == Transport::Unix { 0 } else { end.port }
}
