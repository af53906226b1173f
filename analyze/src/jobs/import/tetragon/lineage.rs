//! Which process of a container is which node: the lineage rules, over processes that are all known at once.
//!
//! | a process | hangs from |
//! |---|---|
//! | number 1 of its container | the root `init`, through all its execs |
//! | whose parent has its pid (an exec in place) | what the parent hangs from |
//! | whose parent is in the container | the parent's node |
//! | whose parent is outside | the root `exec_session`; `init` where Tetragon says that it is in the init task's tree |
//! | whose parent is not told of | the root `exec_session`, and the lineage is not complete |

use std::collections::{HashMap, HashSet};

use wsp_schemas::identity::{MAX_DEPTH, NodeId, Parent, RootKind, process_id};
use wsp_schemas::text::RawText;

use super::recording::{Recording, Seen};

/// The nodes of one container's processes.
#[derive(Debug)]
pub(super) struct Lineage<'a> {
    recording: &'a Recording,
    host: &'a str,
    /// The processes of the container.
    members: HashMap<&'a str, &'a Seen>,
    placed: HashMap<&'a str, Placed>,
    known: HashMap<NodeId, Known>,
}

/// Where a process is.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// None where no program is told.
    pub(super) node: Option<NodeId>,
    /// What it replaced in place.
    pub(super) exec_from: Option<RawText>,
    place: Parent,
    certain: bool,
}

/// A node.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) parent: Parent,
    pub(super) exe: RawText,
    pub(super) argv0: Option<RawText>,
    pub(super) complete: bool,
    depth: u32,
}

enum Above<'a> {
    Inside(&'a str, &'a Seen),
    Outside,
    Unknown,
}

impl<'a> Lineage<'a> {
    pub(super) fn new(recording: &'a Recording, host: &'a str, members: &[(&'a str, &'a Seen)]) -> Self {
        let mut lineage = Self {
            recording,
            host,
            members: members.iter().copied().collect(),
            placed: HashMap::new(),
            known: HashMap::new(),
        };
        for (id, _) in members {
            lineage.ensure(id);
        }
        lineage
    }

    pub(super) fn placed(&self, id: &str) -> Option<&Placed> {
        self.placed.get(id)
    }

    pub(super) fn known(&self, id: NodeId) -> Option<&Known> {
        self.known.get(&id)
    }

    /// Its first program is what the container started with: the init task's, not one that it executed later.
    pub(super) fn is_start(&self, seen: &Seen) -> bool {
        let in_place = matches!(self.above(seen), Above::Inside(_, above) if same_task(seen, above));
        seen.number == Some(1) && !in_place
    }

    fn above(&self, seen: &Seen) -> Above<'a> {
        let Some(parent) = &seen.parent else { return Above::Unknown };
        if let Some((id, above)) = self.members.get_key_value(parent.as_str()) {
            return Above::Inside(id, above);
        }
        let key = (self.host.to_owned(), parent.clone());
        if self.recording.processes.contains_key(&key) { Above::Outside } else { Above::Unknown }
    }

    /// Places a process after those above it. Parents that go round in a circle are not known.
    fn ensure(&mut self, id: &'a str) {
        let mut chain = Vec::new();
        let mut in_chain = HashSet::new();
        let mut at = id;
        while !self.placed.contains_key(at) && in_chain.insert(at) {
            let Some(seen) = self.members.get(at).copied() else { break };
            chain.push((at, seen));
            let Above::Inside(parent, _) = self.above(seen) else { break };
            at = parent;
        }
        for (id, seen) in chain.into_iter().rev() {
            let placed = self.place(seen);
            self.placed.insert(id, placed);
        }
    }

    fn place(&mut self, seen: &Seen) -> Placed {
        let above = self.above(seen);
        let inside = match above {
            Above::Inside(id, above) => self.placed.get(id).map(|placed| (placed, above)),
            Above::Outside | Above::Unknown => None,
        };
        let in_place = inside.filter(|(_, above)| same_task(seen, above));
        let exec_from =
            in_place.and_then(|(_, above)| above.program.as_ref()).map(|program| program.exe.clone());
        let session = Parent::Root(RootKind::ExecSession);
        let (place, certain) = match (inside, above) {
            _ if seen.number == Some(1) => (Parent::Root(RootKind::Init), true),
            (Some((placed, _)), _) if in_place.is_some() => (placed.place, placed.certain),
            (Some((Placed { node: Some(node), .. }, _)), _) => (Parent::Process(*node), true),
            (Some((placed, _)), _) => (placed.place, placed.certain),
            (None, Above::Outside) if seen.in_init_tree == Some(true) => (Parent::Root(RootKind::Init), true),
            (None, Above::Outside) => (session, seen.number.or(seen.in_init_tree.map(u32::from)).is_some()),
            (None, Above::Inside(..) | Above::Unknown) => (session, false),
        };
        let node = match (&seen.program, place) {
            (Some(program), _) => Some(self.enter(place, certain, &program.exe, program.argv0.as_ref())),
            (None, Parent::Process(node)) => Some(node),
            (None, Parent::Root(_)) => None,
        };
        Placed { node, exec_from, place, certain }
    }

    /// The node of a program at a place. What equals its parent is its parent's node; below the greatest depth, nodes hang from their
    /// ancestor there.
    fn enter(&mut self, place: Parent, certain: bool, exe: &RawText, argv0: Option<&RawText>) -> NodeId {
        let above = match place {
            Parent::Root(_) => None,
            Parent::Process(id) => self.known.get(&id),
        };
        let (parent, depth, complete) = match above {
            Some(known) if known.exe == *exe && known.argv0.as_ref() == argv0 => {
                (known.parent, known.depth, known.complete)
            }
            Some(known) if known.depth > MAX_DEPTH => (known.parent, known.depth, false),
            Some(known) => (place, known.depth + 1, known.complete && known.depth < MAX_DEPTH),
            None => (place, 1, true),
        };
        let complete = complete && certain;
        let id = process_id(parent, exe.as_bytes(), argv0.map(RawText::as_bytes), None);
        let known = self.known.entry(id).or_insert_with(|| Known {
            parent,
            exe: exe.clone(),
            argv0: argv0.cloned(),
            complete,
            depth,
        });
        // One certain sighting is enough.
        known.complete |= complete;
        id
    }
}

fn same_task(a: &Seen, b: &Seen) -> bool {
    a.pid.is_some() && a.pid == b.pid
}
