//! Facts about processes: files, sockets, names.

use wsp_schemas::address::is_nameable;
use wsp_schemas::identity::{self, Kind, NodeId};
use wsp_schemas::snapshot::{Fact, File, Socket};

use super::process::{normal, origin_name};
use super::window::LIMIT;
use super::{Recorder, access, cause_name, dns, net};
use crate::event::{Address, BootTime, Endpoint, FilePath, LostCause, LostKind, Origin, Pid, Transport};

/// Addresses that are kept behind a name.
const REMOTE_IPS: usize = 16;

impl Recorder {
    pub(super) fn file(&mut self, at: BootTime, pid: Pid, file: &FilePath, flags: u32, initial: bool) {
        let path = normal(&file.path);
        let owner = self.owner(pid);
        if initial && owner.and_then(|id| self.tree.known(id)).is_some_and(|node| node.says(&path)) {
            return;
        }
        if access::writes(flags) && !initial && self.window.written.len() < self.options.max_nodes {
            self.window.written.insert(path.clone());
        }
        let id = identity::file_id(owner, path.as_bytes());
        let fact = Fact::File(File {
            path_raw: (path != file.path).then(|| file.path.clone()),
            path,
            access: access::words(flags),
            mode: None,
            path_source: if file.truncated { "truncated" } else { "kernel" },
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
                if old.path_raw.is_none() {
                    old.path_raw = new.path_raw;
                }
            }
        };
        if !self.window.saw(&self.tree, id, owner, (at, initial), fact, unite) {
            self.window.lose(LostKind::Open, LIMIT, 1);
        }
    }

    pub(super) fn connect(&mut self, at: BootTime, pid: Pid, remote: &Endpoint) {
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
        self.socket(at, Kind::Connect, owner, socket, false, LostKind::Connect);
    }

    pub(super) fn listen(&mut self, at: BootTime, pid: Pid, local: &Endpoint, initial: bool) {
        let owner = self.owner(pid);
        let socket = Socket {
            protocol: net::protocol(local.protocol),
            address: net::own_address(local),
            port: port(local),
            ..Socket::default()
        };
        self.socket(at, Kind::Listen, owner, socket, initial, LostKind::Listen);
    }

    fn socket(
        &mut self,
        at: BootTime,
        kind: Kind,
        owner: Option<NodeId>,
        socket: Socket,
        initial: bool,
        lost: LostKind,
    ) {
        let id = identity::socket_id(kind, owner, &socket.protocol, socket.address.as_bytes(), socket.port);
        let fact = if kind == Kind::Listen { Fact::Listen(socket) } else { Fact::Connect(socket) };
        let unite = |old: &mut Fact, new: Fact| {
            if let (Fact::Connect(old), Fact::Connect(new)) = (old, new) {
                for ip in new.remote_ips {
                    if old.remote_ips.len() < REMOTE_IPS && !old.remote_ips.contains(&ip) {
                        old.remote_ips.push(ip);
                    }
                }
            }
        };
        if !self.window.saw(&self.tree, id, owner, (at, initial), fact, unite) {
            self.window.lose(lost, LIMIT, 1);
        }
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
            if !self.window.saw(&self.tree, id, owner, (at, false), fact, |_, _| {}) {
                self.window.lose(LostKind::Dns, LIMIT, 1);
            }
        }
    }
}

fn port(end: &Endpoint) -> u16 {
    if end.protocol == Transport::Unix { 0 } else { end.port }
}
