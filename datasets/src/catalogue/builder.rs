//! Puts catalogues together.

use std::collections::HashSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wsp_schemas::identity::{NodeId, RootKind, multi_call_argv0};
use wsp_schemas::paths::normalise;
use wsp_schemas::snapshot::{Fact, File, Node, Phase, Process, SeenBy, Socket};
use wsp_schemas::text::RawText;

use super::crowds::Crowd;
use super::raw::Names;
use super::{Catalogue, Class, Group, Template, count};

/// A process of the catalogue, as owner of what follows.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) id: NodeId,
    pub(crate) exe: String,
}

/// A program to run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Program<'a> {
    pub(crate) exe: &'a str,
    /// The command line, as it is quoted in `args`.
    pub(crate) args: &'a str,
    pub(crate) uid: u32,
    pub(crate) exec_from: Option<&'a str>,
    /// A `#!` script.
    pub(crate) script: Option<&'a str>,
    /// What holds the executable; `image` where empty.
    pub(crate) origin: &'static str,
}

/// Collects groups and crowds; every node once.
#[derive(Debug)]
pub(crate) struct Builder {
    pub(crate) rng: ChaCha8Rng,
    versions: usize,
    groups: Vec<Group>,
    crowds: Vec<Crowd>,
    seen: HashSet<NodeId>,
    names: Names,
}

impl Builder {
    pub(crate) fn new(rng: ChaCha8Rng, versions: usize) -> Self {
        let (groups, crowds, seen) = (Vec::new(), Vec::new(), HashSet::new());
        Self { rng, versions, groups, crowds, seen, names: Names::any() }
    }

    /// Versions of the image.
    pub(crate) fn versions(&self) -> usize {
        self.versions
    }

    fn group(&mut self, name: impl Into<String>, class: Class, p_container: f64, p_window: f64) -> usize {
        let early = matches!(class, Class::Always | Class::Startup);
        let (name, versions, nodes) = (name.into(), (0, usize::MAX), Vec::new());
        self.groups.push(Group {
            name,
            class,
            p_container,
            p_window,
            early,
            guessed: false,
            versions,
            nodes,
        });
        self.groups.len() - 1
    }

    /// In every window, from the start on.
    pub(crate) fn always(&mut self, name: impl Into<String>) -> usize {
        self.group(name, Class::Always, 1.0, 1.0)
    }

    /// In every window, but not while the container starts up.
    pub(crate) fn periodic(&mut self, name: impl Into<String>) -> usize {
        let group = self.always(name);
        self.groups[group].early = false;
        group
    }

    /// While the container starts up, in this share of the containers.
    pub(crate) fn startup(&mut self, name: impl Into<String>, p_container: f64) -> usize {
        self.group(name, Class::Startup, p_container, 1.0)
    }

    /// In this share of the containers, and there in this share of the windows.
    pub(crate) fn sometimes(&mut self, name: impl Into<String>, p_container: f64, p_window: f64) -> usize {
        self.group(name, Class::Sometimes, p_container, p_window)
    }

    /// Injected.
    pub(crate) fn attack(&mut self, name: impl Into<String>) -> usize {
        self.group(name, Class::Attack, 0.0, 0.0)
    }

    pub(crate) fn crowd(&mut self, crowd: Crowd) {
        self.crowds.push(crowd);
    }

    /// /proc of a running container shows its processes below a parent that may not have forked them.
    pub(crate) fn guessed_when_late(&mut self, group: usize) {
        self.groups[group].guessed = true;
    }

    /// Lets versions differ: the group may come with a later version, or go with one.
    pub(crate) fn churn(&mut self, group: usize, share: f64) {
        let (draw, at) = (self.rng.random::<f64>(), self.rng.random::<u32>());
        if self.versions < 2 || draw >= share {
            return;
        }
        let version = 1 + usize::try_from(at).unwrap_or(0) % (self.versions - 1);
        self.groups[group].versions = if draw * 2.0 < share { (version, usize::MAX) } else { (0, version) };
    }

    /// Expected nodes of a mid-life window so far.
    pub(crate) fn weight(&self) -> f64 {
        self.groups.iter().map(Group::weight).sum::<f64>()
            + self.crowds.iter().map(Crowd::weight).sum::<f64>()
    }

    /// Expected further nodes of a window that covers the start.
    pub(crate) fn startup_weight(&self) -> f64 {
        self.groups
            .iter()
            .filter(|group| group.start_only())
            .map(|group| group.p_container * count(group.nodes.len()))
            .sum()
    }

    /// A process that entered from outside.
    pub(crate) fn root(&mut self, group: usize, kind: RootKind, program: Program<'_>) -> Owner {
        self.process(group, None, Some(kind), program)
    }

    /// A process that another one forked.
    pub(crate) fn child(&mut self, group: usize, parent: &Owner, program: Program<'_>) -> Owner {
        self.process(group, Some(parent.id), None, program)
    }

    fn process(
        &mut self,
        group: usize,
        parent: Option<NodeId>,
        root: Option<RootKind>,
        program: Program<'_>,
    ) -> Owner {
        let node = process_node(parent, root, program);
        let label = program
            .script
            .map_or_else(|| program.exe.to_owned(), |script| format!("{} ({script})", program.exe));
        let id = node.id();
        self.push(group, node, label, None);
        Owner { id, exe: program.exe.to_owned() }
    }

    /// Files that are only read, all from the image.
    pub(crate) fn reads(&mut self, group: usize, owner: &Owner, paths: &[&str]) {
        for path in paths {
            self.file(group, owner, path, &["read"], origin_of(path));
        }
    }

    /// Files that are written; a volume's or new ones.
    pub(crate) fn writes(&mut self, group: usize, owner: &Owner, origin: &'static str, paths: &[&str]) {
        for path in paths {
            self.file(group, owner, path, &["write", "create"], origin);
        }
    }

    /// A file. Its path may have the placeholders of [`Names`].
    pub(crate) fn file(
        &mut self,
        group: usize,
        owner: &Owner,
        raw: &str,
        access: &[&'static str],
        origin: &'static str,
    ) {
        let (node, templated) = file_node(owner, raw, access, origin, &self.names);
        let label = format!("{} {}", owner.exe, text_of(&node));
        self.push(group, node, label, templated.then(|| raw.to_owned()));
    }

    /// A name, asked for as IPv4 and IPv6.
    pub(crate) fn dns(&mut self, group: usize, owner: &Owner, name: &str) {
        for rtype in ["A", "AAAA"] {
            let node =
                node(Fact::Dns { name: name.into(), rtype: rtype.to_owned() }, Some(owner.id), &owner.exe);
            self.push(group, node, format!("{} {name} {rtype}", owner.exe), None);
        }
    }

    /// A connection to a name that the resolver gave (with its addresses), or to an address (without).
    pub(crate) fn connect(
        &mut self,
        group: usize,
        owner: &Owner,
        protocol: &str,
        address: &str,
        port: u16,
        ips: &[&str],
    ) {
        let fact = Fact::Connect(Socket {
            protocol: protocol.to_owned(),
            address: address.into(),
            port,
            remote_ips: ips.iter().map(|ip| (*ip).to_owned()).collect(),
            name_source: (!ips.is_empty()).then_some("dns"),
        });
        self.push(
            group,
            node(fact, Some(owner.id), &owner.exe),
            format!("{} -> {protocol} {address}:{port}", owner.exe),
            None,
        );
    }

    /// A listening socket.
    pub(crate) fn listen(&mut self, group: usize, owner: &Owner, protocol: &str, address: &str, port: u16) {
        let fact = Fact::Listen(Socket {
            protocol: protocol.to_owned(),
            address: address.into(),
            port,
            ..Socket::default()
        });
        self.push(
            group,
            node(fact, Some(owner.id), &owner.exe),
            format!("{} <- {protocol} {address}:{port}", owner.exe),
            None,
        );
    }

    /// Capabilities.
    pub(crate) fn capabilities(&mut self, group: usize, owner: &Owner, names: &[&str]) {
        for name in names {
            let node = node(Fact::Capability((*name).to_owned()), Some(owner.id), &owner.exe);
            self.push(group, node, format!("{} {name}", owner.exe), None);
        }
    }

    /// Asks for a name and connects to it.
    pub(crate) fn calls(&mut self, group: usize, owner: &Owner, name: &str, port: u16) {
        let ip = format!(
            "10.{}.{}.{}",
            self.rng.random::<u8>(),
            self.rng.random::<u8>(),
            self.rng.random_range(1..255_u8)
        );
        self.dns(group, owner, name);
        self.connect(group, owner, "tcp", name, port, &[&ip]);
    }

    fn push(&mut self, group: usize, node: Node, label: String, raw: Option<String>) {
        let id = node.id();
        // What two groups would have stays with the first one: a node has one probability.
        if self.seen.insert(id) {
            self.groups[group].nodes.push(Template { id, node, label, raw });
        }
    }

    /// What one version has.
    pub(crate) fn finish(self, version: usize) -> Catalogue {
        let alive = |group: &Group| {
            (group.versions.0..group.versions.1).contains(&version) && !group.nodes.is_empty()
        };
        let mut groups: Vec<Group> = self.groups.into_iter().filter(alive).collect();
        // Parents outside their group are `always`: they come first. The sort is stable.
        groups.sort_by_key(|group| group.class != Class::Always);
        Catalogue { groups, crowds: self.crowds }
    }
}

/// A process node; `exe`, `args` and `script` as they are.
pub(super) fn process_node(parent: Option<NodeId>, root: Option<RootKind>, program: Program<'_>) -> Node {
    let args = if program.args.is_empty() { program.exe } else { program.args };
    let argv0 = args.split(' ').next().unwrap_or(args);
    let name = program.script.unwrap_or(program.exe).rsplit('/').next().unwrap_or_default();
    let comm: String = name.chars().take(15).collect();
    let process = Process {
        root_kind: root,
        exec_from: program.exec_from.map(RawText::from),
        script: program.script.map(RawText::from),
        shebang: program.script.is_some(),
        argv0: multi_call_argv0(program.exe.as_bytes(), argv0.as_bytes()),
        args: vec![args.into()],
        comm: comm.as_str().into(),
        cwd: "/".into(),
        uids: vec![program.uid],
        gids: vec![program.uid],
        stdio: vec!["null", "pipe", "pipe"],
        written_in_window: program.origin == "upper",
        file_origin: Some(if program.origin.is_empty() { "image" } else { program.origin }),
        processes: 1,
        ..Process::default()
    };
    node(Fact::Process(Box::new(process)), parent, program.exe)
}

/// A file node, and whether `raw` has placeholders.
pub(super) fn file_node(
    owner: &Owner,
    raw: &str,
    access: &[&'static str],
    origin: &'static str,
    names: &Names,
) -> (Node, bool) {
    let path = names.apply(raw);
    let templated = path != raw;
    let path = normalise(path.as_bytes()).into_owned();
    let mode = access.contains(&"create").then_some(0o644);
    let fact = Fact::File(File {
        path: path.into(),
        path_raw: None,
        access: access.to_vec(),
        mode,
        path_source: "kernel",
        file_origin: origin,
    });
    (node(fact, Some(owner.id), &owner.exe), templated)
}

pub(super) fn node(fact: Fact, parent: Option<NodeId>, exe: &str) -> Node {
    Node {
        fact,
        parent,
        exe: Some(exe.into()),
        phase: Phase::Steady,
        seen_by: SeenBy::Runtime,
        lineage_complete: true,
        events: 1,
        first_seen_ms: 0,
        last_seen_ms: 0,
    }
}

fn text_of(node: &Node) -> String {
    match &node.fact {
        Fact::File(file) => file.path.to_escaped(),
        _ => String::new(),
    }
}

fn origin_of(path: &str) -> &'static str {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    if starts(&["/proc/", "/sys/", "/dev/"]) {
        "pseudo"
    } else if starts(&[
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/etc/config/",
        "/var/run/secrets/",
        "/data/",
        "/var/lib/",
    ]) {
        "volume"
    } else if starts(&["/run/", "/tmp/"]) {
        "tmpfs"
    } else {
        "image"
    }
}
