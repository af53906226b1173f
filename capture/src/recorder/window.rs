//! What was seen in one window, as it is being seen.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use wsp_schemas::identity::NodeId;
use wsp_schemas::snapshot::Fact;
use wsp_schemas::text::RawText;

use super::process::Attributes;
use super::tree::{Known, Tree};
use crate::event::{BootTime, Key, LostKind};

/// When and how often something was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: BootTime,
    pub(super) last: BootTime,
    pub(super) events: i64,
    /// Read from `/proc`, or known from before the window: stays true whatever is seen happening later.
    pub(super) initial: bool,
}

impl Span {
    pub(super) fn at(at: BootTime, initial: bool) -> Self {
        Self { first: at, last: at, events: 1, initial }
    }

    fn again(&mut self, at: BootTime, initial: bool) {
        self.events = self.events.saturating_add(1);
        self.initial |= initial;
        self.reach(at);
    }

    fn reach(&mut self, at: BootTime) {
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }
}

/// A fact about a process.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// None where the process is not known.
    pub(super) owner: Option<NodeId>,
    pub(super) fact: Fact,
    pub(super) span: Span,
}

/// A process node in this window.
#[derive(Debug, Clone)]
pub(super) struct ProcessRow {
    pub(super) attributes: Attributes,
    pub(super) span: Span,
}

/// What became of an event that was told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// Its rows: two where something has two names.
    pub(super) rows: [Option<NodeId>; 2],
    /// As what its repeats are lost, where there was no room for it.
    pub(super) lost: Option<LostKind>,
}

impl Told {
    /// Between windows: it is told again in the next one.
    pub(super) const AGAIN: Self = Self { rows: [None, None], lost: None };
}

/// Why something that was seen is not kept.
pub(crate) const LIMIT: &str = "limit";

/// Everything seen since the window opened.
#[derive(Debug)]
pub(super) struct Window {
    /// Counts the windows of this container.
    pub(super) number: u64,
    pub(super) opened: BootTime,
    pub(super) processes: HashMap<NodeId, ProcessRow>,
    pub(super) rows: HashMap<NodeId, Row>,
    /// What was told under a key.
    pub(super) keys: HashMap<Key, Told>,
    /// Normalised paths that were opened for writing.
    pub(super) written: HashSet<RawText>,
    /// Events that are not here, by kind and cause.
    pub(super) lost: BTreeMap<(LostKind, &'static str), u64>,
    pub(super) limits_hit: BTreeSet<&'static str>,
    /// Sessions that came in without a fork being seen: where forks were lost, they may be none.
    pub(super) entered: BTreeSet<NodeId>,
    /// The first exec of a container that was watched from before it.
    pub(super) first_exec: Option<BootTime>,
    max_nodes: usize,
    /// Of the texts in the rows, about.
    bytes: usize,
    /// Nothing is kept but what concerns lineage.
    none: bool,
}

impl Window {
    pub(super) fn new(number: u64, opened: BootTime, max_nodes: usize) -> Self {
        Self {
            number,
            opened,
            processes: HashMap::new(),
            rows: HashMap::new(),
            keys: HashMap::new(),
            written: HashSet::new(),
            lost: BTreeMap::new(),
            limits_hit: BTreeSet::new(),
            entered: BTreeSet::new(),
            first_exec: None,
            max_nodes,
            bytes: 0,
            none: false,
        }
    }

    /// Stands for the time between two windows.
    pub(super) fn none(number: u64) -> Self {
        Self { none: true, ..Self::new(number, BootTime(0), 0) }
    }

    pub(super) fn is_none(&self) -> bool {
        self.none
    }

    pub(super) fn nodes(&self) -> usize {
        self.processes.len() + self.rows.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Says which limit ends the window.
    pub(super) fn hit_limit(&mut self, max_bytes: usize) {
        self.limits_hit.insert(if self.bytes >= max_bytes { "bytes" } else { "nodes" });
    }

    fn room(&self) -> usize {
        self.max_nodes.saturating_sub(self.nodes())
    }

    fn add_process(&mut self, id: NodeId, known: &Known, span: Span) {
        let mut attributes = Attributes::first(&known.sample);
        attributes.processes = 1;
        self.bytes = self.bytes.saturating_add(known.program.exe.as_bytes().len() + attributes.bytes());
        self.processes.insert(id, ProcessRow { attributes, span });
    }

    /// Has rows for a process node and its ancestors: those that were not seen in this window stand in it as known from
    /// before, seen at its opening. False where there is no room for all.
    pub(super) fn ensure(&mut self, tree: &Tree, id: NodeId) -> bool {
        if self.none || self.processes.contains_key(&id) {
            return true;
        }
        let missing: Vec<NodeId> =
            tree.line(id).into_iter().take_while(|id| !self.processes.contains_key(id)).collect();
        if missing.len() > self.room() {
            self.limits_hit.insert("nodes");
            return false;
        }
        for id in missing {
            let Some(known) = tree.known(id) else { return false };
            self.add_process(id, known, Span::at(self.opened, true));
        }
        true
    }

    /// A process node started to run, or was found running. False where there is no room.
    pub(super) fn ran(&mut self, tree: &Tree, id: NodeId, at: BootTime, initial: bool) -> bool {
        if self.none {
            return true;
        }
        let Some(known) = tree.known(id) else { return false };
        if let Some(row) = self.processes.get_mut(&id) {
            row.span.again(at, initial);
            let before = row.attributes.bytes();
            row.attributes.add(&known.sample);
            row.attributes.processes += 1;
            self.bytes = self.bytes.saturating_add(row.attributes.bytes().saturating_sub(before));
            return true;
        }
        if let Some(parent) = tree.line(id).get(1)
            && !self.ensure(tree, *parent)
        {
            return false;
        }
        if self.room() == 0 {
            self.limits_hit.insert("nodes");
            return false;
        }
        self.add_process(id, known, Span::at(at, initial));
        true
    }

    /// A process node still lives.
    pub(super) fn reach(&mut self, id: NodeId, at: BootTime) {
        if let Some(row) = self.processes.get_mut(&id) {
            row.span.reach(at);
        }
    }

    /// Adds a sighting of a fact: `unite` merges it into the row that is there. False where there is no room.
    pub(super) fn saw(
        &mut self,
        tree: &Tree,
        id: NodeId,
        owner: Option<NodeId>,
        (at, initial): (BootTime, bool),
        fact: Fact,
        unite: impl FnOnce(&mut Fact, Fact),
    ) -> bool {
        if let Some(row) = self.rows.get_mut(&id) {
            row.span.again(at, initial);
            unite(&mut row.fact, fact);
        } else {
            if let Some(owner) = owner
                && !self.ensure(tree, owner)
            {
                return false;
            }
            if self.room() == 0 {
                self.limits_hit.insert("nodes");
                return false;
            }
            self.bytes = self.bytes.saturating_add(fact_bytes(&fact));
            self.rows.insert(id, Row { owner, fact, span: Span::at(at, initial) });
        }
        if let Some(owner) = owner {
            self.reach(owner, at);
        }
        true
    }

    /// Notes what became of an event.
    pub(super) fn note_key(&mut self, key: Key, told: Told) {
        if key != Key::NONE {
            self.keys.insert(key, told);
        }
    }

    /// What was told under a key was seen again.
    pub(super) fn repeat(&mut self, key: Key, events: u64, at: BootTime) {
        let Some(Told { rows, lost }) = self.keys.get(&key).copied() else { return };
        if let Some(kind) = lost {
            self.lose(kind, LIMIT, events);
        }
        for id in rows.into_iter().flatten() {
            let Some(row) = self.rows.get_mut(&id) else { continue };
            row.span.events = row.span.events.saturating_add(i64::try_from(events).unwrap_or(i64::MAX));
            // Its time is a tick's: the first sighting stays the first.
            let at = at.max(row.span.first);
            row.span.reach(at);
            if let Some(owner) = row.owner {
                self.reach(owner, at);
            }
        }
    }

    pub(super) fn lose(&mut self, kind: LostKind, cause: &'static str, events: u64) {
        let count = self.lost.entry((kind, cause)).or_default();
        *count = count.saturating_add(events);
    }

    /// True where processes may hang from the wrong place.
    pub(super) fn lost_lineage(&self) -> bool {
        self.lost.iter().any(|((kind, cause), events)| {
            matches!(kind, LostKind::Fork | LostKind::Exec) && *cause != LIMIT && *events > 0
        })
    }
}

/// Bytes of a fact's texts, about: lists that grow later are bounded.
fn fact_bytes(fact: &Fact) -> usize {
    match fact {
        Fact::Process(_) => 0,
        Fact::File(file) => {
            file.path.as_bytes().len() + file.path_raw.as_ref().map_or(0, |raw| raw.as_bytes().len())
        }
        Fact::Dns { name, .. } => name.as_bytes().len(),
        Fact::Connect(socket) | Fact::Listen(socket) => socket.address.as_bytes().len(),
        Fact::Syscall(name) | Fact::Capability(name) => name.len(),
    }
}
