//! Puts catalogues together.

mod known;

use std::collections::HashSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use wsp_schemas::identity::{NodeId, RootKind};
use wsp_schemas::snapshot::{Fact, Node, Socket};

use super::crowds::Crowd;
use super::raw::Names;
use super::rows::{file_node, node, origin_of, process_node, text_of};
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
    /// It runs with another user's rights: setuid.
    pub(crate) cred_change: bool,
    /// It runs in another mount namespace than the main process.
    pub(crate) ns_changed: bool,
}

/// Collects groups and crowds; every node once.
#[derive(Debug)]
pub(crate) struct Builder {
    pub(crate) rng: ChaCha8Rng,
    versions: usize,
    apart: bool,
    groups: Vec<Group>,
    crowds: Vec<Crowd>,
    seen: HashSet<NodeId>,
    names: Names,
}

impl Builder {
    pub(crate) fn new(rng: ChaCha8Rng, versions: usize) -> Self {
        let (groups, crowds, seen) = (Vec::new(), Vec::new(), HashSet::new());
        Self { rng, versions, apart: false, groups, crowds, seen, names: Names::any() }
    }

    /// What is added from here on is apart from the draws of containers, and drawn from another generator itself: it moves
    /// nothing that was there without it.
    pub(crate) fn apart(&mut self, rng: ChaCha8Rng) {
        (self.rng, self.apart) = (rng, true);
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
            apart: self.apart,
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

    /// Injected and harmless; a window of a container that has drifted shows it with that probability.
    pub(crate) fn drift(&mut self, name: impl Into<String>, p_window: f64) -> usize {
        self.group(name, Class::Drift, 0.0, p_window)
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

    /// A file whose permission bits are set.
    pub(crate) fn chmod(&mut self, group: usize, owner: &Owner, path: &str, mode: i32, origin: &'static str) {
        let (mut node, _) = file_node(owner, path, &["chmod"], origin, &self.names);
        if let Fact::File(file) = &mut node.fact {
            file.mode = Some(mode);
        }
        self.push(group, node, format!("{} {path}", owner.exe), None);
    }

    /// A name, asked for as IPv4 and IPv6.
    pub(crate) fn dns(&mut self, group: usize, owner: &Owner, name: &str) {
        for rtype in ["A", "AAAA"] {
            self.query(group, owner, name, rtype);
        }
    }

    /// A name, asked for once.
    pub(crate) fn query(&mut self, group: usize, owner: &Owner, name: &str, rtype: &str) {
        let fact = Fact::Dns { name: name.into(), rtype: rtype.to_owned() };
        self.push(
            group,
            node(fact, Some(owner.id), &owner.exe),
            format!("{} {name} {rtype}", owner.exe),
            None,
        );
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
