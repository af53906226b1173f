//! Crowds: siblings that are named at random, in ways that the path rules do not know. Folding has to find them.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use wsp_schemas::identity::{Kind, NodeId};
use wsp_schemas::snapshot::{Fact, Node, Socket};
use wsp_schemas::text::RawText;

use super::builder::{Owner, Program};
use super::raw::{Names, fill};
use super::rows::{file_node, node, process_node};
use crate::seed::letters;

/// How long a random name lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Drawn once in a container: the same in all of its windows.
    Container,
    /// Drawn anew in each window.
    Window,
}

/// What a random name is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "length")]
pub enum Alphabet {
    /// Lower-case hex digits.
    Hex(usize),
    /// Digits.
    Digits(usize),
    /// Letters and digits, as `mktemp` draws them.
    Mixed(usize),
    /// A private IPv4 address.
    Address,
}

impl Alphabet {
    pub(crate) fn draw(self, rng: &mut ChaCha8Rng) -> String {
        match self {
            Self::Hex(length) => letters(rng, b"0123456789abcdef", length),
            Self::Digits(length) => letters(rng, b"0123456789", length),
            Self::Mixed(length) => {
                letters(rng, b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", length)
            }
            Self::Address => {
                format!(
                    "10.{}.{}.{}",
                    rng.random_range(16..200_u8),
                    rng.random::<u8>(),
                    rng.random_range(1..255_u8)
                )
            }
        }
    }
}

/// A crowd.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    pub(crate) name: String,
    pub(crate) p_container: f64,
    pub(crate) p_window: f64,
    /// Names in a window that shows it: from, to (inclusive).
    pub(crate) names: (usize, usize),
    pub(crate) scope: Scope,
    pub(crate) alphabet: Alphabet,
    /// What a name becomes, parents before children.
    members: Vec<Member>,
}

/// One node of a crowd; `{name}` stands where the name goes.
#[derive(Debug, Clone)]
struct Member {
    node: Node,
    /// Hangs from the member at that position; from [`Node::parent`] where none.
    below: Option<usize>,
}

impl Crowd {
    pub(crate) fn new(
        name: &str,
        (p_container, p_window): (f64, f64),
        names: (usize, usize),
        scope: Scope,
        alphabet: Alphabet,
    ) -> Self {
        Self { name: name.to_owned(), p_container, p_window, names, scope, alphabet, members: Vec::new() }
    }

    /// A name becomes a file.
    pub(crate) fn file(mut self, owner: &Owner, path: &str, origin: &'static str) -> Self {
        let (node, _) = file_node(owner, path, &["read", "write", "create"], origin, &Names::any());
        self.members.push(Member { node, below: None });
        self
    }

    /// A name becomes a DNS name.
    pub(crate) fn dns(mut self, owner: &Owner, name: &str) -> Self {
        let node = node(Fact::Dns { name: name.into(), rtype: "A".to_owned() }, Some(owner.id), &owner.exe);
        self.members.push(Member { node, below: None });
        self
    }

    /// A name becomes a remote address.
    pub(crate) fn connect(mut self, owner: &Owner, port: u16) -> Self {
        let (protocol, address) = ("tcp".to_owned(), "{name}".into());
        let fact = Fact::Connect(Socket { protocol, address, port, ..Socket::default() });
        self.members.push(Member { node: node(fact, Some(owner.id), &owner.exe), below: None });
        self
    }

    /// A name becomes a process with a file that it reads.
    pub(crate) fn process(mut self, owner: &Owner, exe: &str, reads: &str) -> Self {
        let program = Program { exe, origin: "upper", ..Program::default() };
        let (own, _) =
            file_node(&Owner { id: owner.id, exe: exe.to_owned() }, reads, &["read"], "image", &Names::any());
        let below = Some(self.members.len());
        self.members.push(Member { node: process_node(Some(owner.id), None, program), below: None });
        self.members.push(Member { node: own, below });
        self
    }

    /// Nodes that one name makes.
    pub(crate) fn width(&self) -> usize {
        self.members.len()
    }

    /// Kinds of the nodes that one name makes.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.members.iter().map(|member| member.node.fact.kind())
    }

    /// What its nodes look like, for humans.
    pub(crate) fn pattern(&self) -> String {
        let Some(Member { node, .. }) = self.members.first() else { return String::new() };
        match &node.fact {
            Fact::File(file) => file.path.to_escaped(),
            Fact::Dns { name, .. } => name.to_escaped(),
            Fact::Connect(socket) | Fact::Listen(socket) => {
                format!("{}:{}", socket.address.to_escaped(), socket.port)
            }
            Fact::Process(_) => node.exe.as_ref().map(RawText::to_escaped).unwrap_or_default(),
            Fact::Syscall(name) | Fact::Capability(name) => name.clone(),
        }
    }

    /// Who connects to its addresses, and to which port; none where its names are none.
    pub(crate) fn remote(&self) -> Option<(Owner, u16)> {
        let Node { fact: Fact::Connect(socket), parent, exe, .. } = &self.members.first()?.node else {
            return None;
        };
        Some((Owner { id: (*parent)?, exe: exe.as_ref()?.to_escaped() }, socket.port))
    }

    /// What its first nodes hang from.
    pub(crate) fn parent(&self) -> Option<NodeId> {
        self.members.first().and_then(|member| member.node.parent)
    }

    /// Mean number of names in a window that shows it.
    pub(crate) fn mean_names(&self) -> f64 {
        super::count(self.names.0 + self.names.1) / 2.0
    }

    /// Expected number of its nodes in a window.
    pub(crate) fn weight(&self) -> f64 {
        self.p_container * self.p_window * self.mean_names() * super::count(self.width())
    }

    /// The names of one window, each once.
    pub(crate) fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<String> {
        let count = rng.random_range(self.names.0..=self.names.1);
        let mut names: Vec<String> = Vec::with_capacity(count);
        for _ in 0..count {
            let name = self.alphabet.draw(rng);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The nodes of one name.
    pub(crate) fn nodes(&self, name: &str) -> Vec<Node> {
        let mut made: Vec<Node> = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let mut node = member.node.clone();
            if let Some(parent) = member.below.and_then(|at| made.get(at)) {
                node.parent = Some(parent.id());
            }
            node.exe = node.exe.map(|exe| named(&exe, name));
            match &mut node.fact {
                Fact::File(file) => file.path = named(&file.path, name),
                Fact::Dns { name: text, .. } => *text = named(text, name),
                Fact::Connect(socket) => socket.address = named(&socket.address, name),
                Fact::Process(process) => {
                    process.args = process.args.iter().map(|text| named(text, name)).collect();
                }
                Fact::Listen(_) | Fact::Syscall(_) | Fact::Capability(_) => {}
            }
            made.push(node);
        }
        made
    }
}

fn named(text: &RawText, name: &str) -> RawText {
    // Templates are written by us: UTF-8, without anything to escape.
    let text = text.to_escaped();
    RawText::from(fill(&text, name).as_ref())
}
