//! Which nodes of a snapshot a stable profile does not have, and which of them belong together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wsp_schemas::identity::{Kind, NodeId};
use wsp_schemas::snapshot::{NodeColumn, Scan};

use super::profile::{How, Profile, Sibling};
use crate::behaviour::Said;
use crate::node::{Identity, target};
use crate::rules::Severity;

const NODE_ID: NodeColumn = NodeColumn::named("node_id");
const ROOT_KIND: NodeColumn = NodeColumn::named("root_kind");
const SCRIPT: NodeColumn = NodeColumn::named("script");
const FILE_ORIGIN: NodeColumn = NodeColumn::named("file_origin");
const ACCESS: NodeColumn = NodeColumn::named("access");

/// What is new, from the worst to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Novelty {
    /// A program that does not come with the image.
    ForeignProgram,
    /// A program of the image that no container ran.
    Program,
    /// A program that containers ran, but not there.
    Lineage,
    /// A connection, a listening socket or a name.
    Network,
    /// A capability or a system call.
    Privilege,
    /// A file in a folder that the program did not use, or one that was changed.
    File,
    /// One more file in a folder that the program reads.
    KnownFolder,
}

impl Novelty {
    /// All of them, the worst first.
    pub const ALL: [Self; 7] = [
        Self::ForeignProgram,
        Self::Program,
        Self::Lineage,
        Self::Network,
        Self::Privilege,
        Self::File,
        Self::KnownFolder,
    ];

    /// Its word in the column `novelty`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForeignProgram => "foreign_program",
            Self::Program => "program",
            Self::Lineage => "lineage",
            Self::Network => "network",
            Self::Privilege => "privilege",
            Self::File => "file",
            Self::KnownFolder => "known_folder",
        }
    }

    /// How bad it is by itself.
    pub const fn severity(self) -> Severity {
        match self {
            Self::ForeignProgram | Self::Program => Severity::High,
            Self::Lineage | Self::Network | Self::Privilege => Severity::Medium,
            Self::File | Self::KnownFolder => Severity::Low,
        }
    }

    /// What it is, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::ForeignProgram => "a program that does not come with the image",
            Self::Program => "a program that no container ran",
            Self::Lineage => "a known program in a new place",
            Self::Network => "a new connection, listening socket or name",
            Self::Privilege => "a new capability or system call",
            Self::File => "a file in a new folder, or one that was changed",
            Self::KnownFolder => "one more file in a known folder",
        }
    }

    fn of(profile: &Profile, scan: &Scan, row: usize) -> Self {
        let identity = Identity::of(scan, row);
        match identity.kind {
            Kind::Process => {
                // `pseudo` and `unknown` are what a recorder could not tell: the image is not accused.
                let foreign = matches!(
                    scan.text(FILE_ORIGIN, row),
                    Some("upper" | "copied_up" | "volume" | "tmpfs" | "memfd" | "deleted")
                );
                if foreign {
                    Self::ForeignProgram
                } else if identity.exe.is_some_and(|exe| profile.has_program(exe)) {
                    Self::Lineage
                } else {
                    Self::Program
                }
            }
            Kind::Dns | Kind::Connect | Kind::Listen => Self::Network,
            Kind::Syscall | Kind::Capability => Self::Privilege,
            Kind::File => {
                let only_read = scan.texts(ACCESS, row).all(|word| matches!(word, "read" | "lookup"));
                if only_read && profile.has_folder(&identity) { Self::KnownFolder } else { Self::File }
            }
        }
    }
}

/// What a profile says of a node.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// By its place in the tree.
    exact: Option<(usize, How)>,
    /// Of a process: the id that what hangs from it hangs from in the profile.
    shown: NodeId,
    /// By executable and target alone: with its lineage known for certain, and not.
    loose: [Option<Option<usize>>; 2],
    /// The profile does not keep all its siblings, or expects one of such a name.
    is_unknowable: bool,
}

/// Looks the nodes of one workload's snapshots up, each once, by the numbers that one scanner gives them.
#[derive(Debug)]
pub(crate) struct Lookup<'a> {
    profile: &'a Profile,
    known: Vec<Option<Known>>,
}

/// What was found of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A row of the profile.
    Row(usize, How),
    /// Nothing.
    Nothing,
    /// The profile cannot say: it never saw such nodes, does not keep all of them, or every container has others.
    Unknowable,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(profile: &'a Profile) -> Self {
        Self { profile, known: Vec::new() }
    }

    pub(crate) fn profile(&self) -> &'a Profile {
        self.profile
    }

    /// Looks a row up.
    pub(crate) fn find(&mut self, scan: &Scan, row: usize) -> Found {
        let known = self.known(scan, row);
        if let Some((at, how)) = known.exact {
            return Found::Row(at, how);
        }
        let complete = scan.lineage_complete(row);
        let loose = match known.loose[usize::from(complete)] {
            Some(loose) => loose,
            None => {
                let loose = self.profile.by_target(&sibling(scan, row), complete);
                if let Some(Some(known)) = self.known.get_mut(scan.numbers()[row] as usize) {
                    known.loose[usize::from(complete)] = Some(loose);
                }
                loose
            }
        };
        match loose {
            Some(at) => Found::Row(at, How::Target),
            None if known.is_unknowable || !self.profile.sees(scan.kind(row)) => Found::Unknowable,
            None => Found::Nothing,
        }
    }

    /// What the profile says of a row; none where it cannot say.
    pub(crate) fn said(&mut self, scan: &Scan, row: usize) -> Option<Said> {
        match self.find(scan, row) {
            Found::Row(at, _) => {
                Some(Said { in_profile: true, commonality: self.profile.node(at).commonality })
            }
            Found::Nothing => Some(Said { in_profile: false, commonality: None }),
            Found::Unknowable => None,
        }
    }

    fn known(&mut self, scan: &Scan, row: usize) -> Known {
        let number = scan.numbers()[row] as usize;
        if self.known.len() <= number {
            self.known.resize(number + 1, None);
        }
        if let Some(known) = self.known[number] {
            return known;
        }
        // Trees are not deeper than the scanner lets through.
        let parent = scan.owner(row).map(|owner| (id_of(scan, owner), self.known(scan, owner).shown));
        let own = id_of(scan, row);
        let here = sibling(scan, row);
        let (id, below) = match parent {
            Some((parent, shown)) if parent != shown => (here.identity.id_below(shown), Some(shown)),
            Some((_, shown)) => (own, Some(shown)),
            None => (own, None),
        };
        let exact = self.profile.by_id(id).map(|(at, how)| (at, if id == own { how } else { How::Pattern }));
        let exact = exact.or_else(|| self.profile.by_pattern(&here, below).map(|at| (at, How::Pattern)));
        let known = Known {
            exact,
            shown: exact.map_or(id, |(at, _)| self.profile.node(at).id),
            loose: [None; 2],
            is_unknowable: exact.is_none()
                && (self.profile.is_overflowed(&here, below) || self.profile.is_expected(&here, below)),
        };
        self.known[number] = Some(known);
        known
    }

    /// What is new in a snapshot, grouped: a new process with all that is new below it; or what a known process did.
    pub(crate) fn groups(&mut self, scan: &Scan) -> Vec<Group> {
        let is_new: Vec<bool> = (0..scan.len()).map(|row| self.find(scan, row) == Found::Nothing).collect();
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        for row in (0..scan.len()).filter(|row| is_new[*row]) {
            // Up to the topmost process that is new, or the known one that did it.
            let mut top = row;
            while let Some(owner) = scan.owner(top).filter(|owner| is_new[*owner]) {
                top = owner;
            }
            let anchor = if scan.kind(top) == Kind::Process { top } else { scan.owner(top).unwrap_or(top) };
            let novelty = Novelty::of(self.profile, scan, row);
            groups
                .entry(anchor)
                .or_insert_with(|| Group { anchor, rows: Vec::new() })
                .rows
                .push((novelty, row));
        }
        groups.into_values().collect()
    }
}

/// New nodes that belong together.
#[derive(Debug)]
pub(crate) struct Group {
    /// The process that they hang from: new itself, or known.
    pub(crate) anchor: usize,
    /// All of them, with what they are.
    pub(crate) rows: Vec<(Novelty, usize)>,
}

impl Group {
    /// The worst of what they are.
    pub(crate) fn worst(&self) -> Novelty {
        self.rows.iter().map(|(novelty, _)| *novelty).min().unwrap_or(Novelty::KnownFolder)
    }
}

/// What is told of a new node once for a container, in 16 hex digits: what it is, and below which programs. Of a file, that its
/// process used its folder so. Numbers in paths do not count: some programs are built under a new one each time.
pub(crate) fn told(scan: &Scan, novelty: Novelty, row: usize) -> String {
    let identity = Identity::of(scan, row);
    let what = match identity.kind {
        Kind::File => without_numbers(
            identity.name.and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder),
        ),
        Kind::Process => without_numbers(&target(&identity)),
        _ => target(&identity),
    };
    let mut hash = blake3::Hasher::new();
    let mut field = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    field(novelty.as_str());
    field(identity.kind.as_str());
    field(&what);
    for owner in std::iter::successors(scan.owner(row), |row| scan.owner(*row)) {
        field(&without_numbers(&target(&Identity::of(scan, owner))));
        field(scan.text(ROOT_KIND, owner).unwrap_or_default());
    }
    hash.finalize().to_hex()[..16].to_owned()
}

fn without_numbers(text: &str) -> String {
    let parts = text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("0")
}

fn sibling(scan: &Scan, row: usize) -> Sibling<'_> {
    let is_process = scan.kind(row) == Kind::Process;
    Sibling {
        identity: Identity::of(scan, row),
        root_kind: scan.text(ROOT_KIND, row),
        script: if is_process { scan.text(SCRIPT, row) } else { None },
    }
}

/// The id of a row.
pub(crate) fn id_of(scan: &Scan, row: usize) -> NodeId {
    // A required column.
    NodeId::from_bytes(scan.id(NODE_ID, row).unwrap_or_default())
}
