//! The nodes of one container's recording.
//!
//! Kubescape knows no lineage: programs are roots of their own, everything else belongs to no process, and nothing has a
//! time or a count of its own. Its wildcards (`⋯` for one part of a path, `*` for the rest) stay as they are: what they
//! stood for is gone.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use wsp_schemas::address::is_nameable;
use wsp_schemas::args::{self, ArgsMode};
use wsp_schemas::identity::{Kind, NodeId, RootKind, multi_call_argv0};
use wsp_schemas::paths;
use wsp_schemas::snapshot::{Fact, File, Node, Phase, Process, SeenBy, Socket};
use wsp_schemas::text::RawText;

use super::object::{Container, Exec, Neighbor, Open, Selector};
use crate::jobs::import::access;
use crate::jobs::import::snapshot::unite;

/// Command lines that are kept of a process, as in a recorder's files.
const ARGS: usize = 8;
/// The kinds of node that a container's recording can hold.
pub(super) fn kinds(container: &Container) -> Vec<Kind> {
    let network = container.ingress.is_some() || container.egress.is_some();
    [
        (Kind::Process, container.execs.is_some()),
        (Kind::File, container.opens.is_some()),
        (Kind::Dns, network),
        (Kind::Connect, network),
        (Kind::Syscall, container.syscalls.is_some()),
        (Kind::Capability, container.capabilities.is_some()),
    ]
    .into_iter()
    .filter_map(|(kind, held)| held.then_some(kind))
    .collect()
}

/// All nodes of a container, sorted by kind and id. `window_ms` is the length of its window.
pub(super) fn nodes(container: &Container, window_ms: i32) -> Vec<Node> {
    let mut found = Found { nodes: BTreeMap::new(), args: BTreeMap::new(), window_ms };
    container.execs.iter().flatten().for_each(|exec| found.exec(exec));
    container.opens.iter().flatten().for_each(|open| found.open(open));
    container.egress.iter().flatten().for_each(|peer| found.egress(peer));
    for name in container.syscalls.iter().flatten() {
        found.add(None, Fact::Syscall(name.clone()));
    }
    for name in container.capabilities.iter().flatten() {
        found.add(None, Fact::Capability(name.clone()));
    }
    found.finish()
}

struct Found {
    nodes: BTreeMap<NodeId, Node>,
    /// Command lines of a process: sorted, so that the order of the source does not matter.
    args: BTreeMap<NodeId, BTreeSet<RawText>>,
    window_ms: i32,
}

impl Found {
    /// Adds a fact, or what is new of it to the one that is there.
    fn add(&mut self, exe: Option<RawText>, fact: Fact) -> NodeId {
        let node = Node {
            fact,
            parent: None,
            exe,
            // The start of the container is not known, but as a part of the whole recording.
            phase: Phase::Steady,
            seen_by: SeenBy::Runtime,
            lineage_complete: false,
            events: 1,
            first_seen_ms: 0,
            last_seen_ms: self.window_ms,
        };
        let id = node.id();
        match self.nodes.entry(id) {
            Entry::Vacant(place) => {
                place.insert(node);
            }
            Entry::Occupied(place) => {
                let known = place.into_mut();
                known.events += 1;
                unite(&mut known.fact, node.fact);
            }
        }
        id
    }

    fn exec(&mut self, exec: &Exec) {
        let exe = normal(&exec.path);
        let argv: Vec<RawText> = exec.args.iter().flatten().map(|arg| arg.as_str().into()).collect();
        let argv0 = argv.first().and_then(|argv0| multi_call_argv0(exe.as_bytes(), argv0.as_bytes()));
        // Which of them is the container's first program is not told. As `init`, the one that is has the id that it
        // has where it was recorded with its lineage.
        let process = Process { root_kind: Some(RootKind::Init), argv0, ..Process::default() };
        let id = self.add(Some(exe), Fact::Process(Box::new(process)));
        self.args.entry(id).or_default().extend(args::render(&argv, false, ArgsMode::Scrubbed));
    }

    fn open(&mut self, open: &Open) {
        let path = normal(&open.path);
        let raw = RawText::from(open.path.as_str());
        let file = File {
            path_raw: (raw != path).then_some(raw),
            path,
            // The flags are those of all opens of the file together.
            access: access::of_flags(open.flags.iter().flatten().map(String::as_str)),
            mode: None,
            path_source: "argument",
            file_origin: "unknown",
        };
        self.add(None, Fact::File(file));
    }

    /// An entry without ports tells of no connection, but of names that were asked for.
    fn egress(&mut self, peer: &Neighbor) {
        let ip_text = peer.ip_address.as_deref().filter(|text| !text.is_empty());
        let ip = ip_text.and_then(|text| text.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical());
        let names: BTreeSet<String> = peer
            .dns_names
            .iter()
            .flatten()
            .chain(&peer.dns)
            .map(|name| name.strip_suffix('.').unwrap_or(name).to_lowercase())
            .filter(|name| !name.is_empty())
            .collect();
        let rtype = if ip.is_some_and(|ip| ip.is_ipv6()) { "AAAA" } else { "A" };
        for name in &names {
            self.add(None, Fact::Dns { name: name.as_str().into(), rtype: rtype.to_owned() });
        }
        let ip_text = ip.map(|ip| ip.to_string()).or_else(|| ip_text.map(str::to_owned));
        let mut ends: Vec<Socket> = Vec::new();
        if ip.is_none_or(is_nameable) {
            ends.extend(names.iter().filter(|name| is_name(name)).map(|name| Socket {
                address: name.as_str().into(),
                remote_ips: ip_text.clone().into_iter().collect(),
                name_source: Some("dns"),
                ..Socket::default()
            }));
        }
        if ends.is_empty() {
            let address = ip_text.unwrap_or_else(|| pods(peer));
            ends.push(Socket { address: address.as_str().into(), ..Socket::default() });
        }
        for port in peer.ports.iter().flatten() {
            for end in &ends {
                let protocol = protocol(&port.protocol);
                let socket = Socket { protocol, port: port.port.unwrap_or(0), ..end.clone() };
                self.add(None, Fact::Connect(socket));
            }
        }
    }

    fn finish(mut self) -> Vec<Node> {
        for (id, lines) in self.args {
            if let Some(Node { fact: Fact::Process(process), .. }) = self.nodes.get_mut(&id) {
                process.args_overflow = i64::try_from(lines.len().saturating_sub(ARGS)).unwrap_or(i64::MAX);
                process.args = lines.into_iter().take(ARGS).collect();
            }
        }
        let mut nodes: Vec<Node> = self.nodes.into_values().collect();
        nodes.sort_by_key(|node| node.fact.kind());
        nodes
    }
}

fn normal(path: &str) -> RawText {
    paths::normalise(path.as_bytes()).into_owned().into()
}

fn protocol(name: &str) -> String {
    match name.to_lowercase() {
        sctp if sctp == "sctp" => "ip132".to_owned(),
        other => other,
    }
}

/// A name may stand in place of an address where it cannot be taken for one.
fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && name.parse::<IpAddr>().is_err()
}

/// A peer inside the cluster, which Kubescape knows by its labels: `pods:kube-system/k8s-app=kube-dns`.
fn pods(peer: &Neighbor) -> String {
    let labels = |selector: &Option<Selector>| {
        let labels = selector.as_ref().and_then(|selector| selector.match_labels.as_ref());
        let labels: Vec<String> =
            labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
        if labels.is_empty() { "*".to_owned() } else { labels.join(",") }
    };
    if peer.pod_selector.is_none() && peer.namespace_selector.is_none() {
        return "unknown".to_owned();
    }
    let namespace = labels(&peer.namespace_selector);
    let namespace = namespace.strip_prefix("kubernetes.io/metadata.name=").unwrap_or(&namespace);
    format!("pods:{namespace}/{}", labels(&peer.pod_selector))
}
