//! Which process is which node: the lineage rules.
//!
//! - A process enters by its fork (it is its parent's node until it executes) or, from outside, as a root.
//! - A node hangs from the node that its process's *fork parent* was as of the fork. No exec in place and no reparenting
//!   changes that: what `/proc` shows of a running container and what was seen happening agree on ids.
//! - A program that equals its parent's (same exe, multi-call name, `#!` script) is its parent's node. Only direct repeats
//!   fold.
//! - Below [`MAX_DEPTH`] nodes hang from their ancestor at that depth.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use wsp_schemas::identity::{NodeId, Parent, RootKind, process_id};
use wsp_schemas::text::RawText;

use super::process::Sample;
use crate::event::{BootTime, Pid};

/// Depth of the deepest node that still has children of its own; a root has depth 1.
pub use wsp_schemas::identity::MAX_DEPTH;

/// Processes that are remembered after their exit: an event of theirs may come late.
const REMEMBERED_EXITS: usize = 1024;
/// Processes that are tracked at once. Only lost exits can make more than the kernel side tracks.
const MAX_PROCESSES: usize = 262_144;
/// How much later than known a process may have started and still be the same one: `/proc` counts in hundredths.
const START_SLACK_NS: u64 = 50_000_000;

/// What a program is, whatever process runs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Program {
    /// Normalised.
    pub(super) exe: RawText,
    /// Name of a multi-call binary.
    pub(super) argv0: Option<RawText>,
    /// Normalised path of the script whose `#!` line chose the exe.
    pub(super) script: Option<RawText>,
}

/// A process node.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) parent: Parent,
    pub(super) program: Program,
    pub(super) depth: u32,
    pub(super) lineage_complete: bool,
    /// Its last sighting: what a window says of it that did not see it start.
    pub(super) sample: Arc<Sample>,
}

impl Known {
    /// True for files that the process node itself tells of: its executable, and `/dev/null` as a standard descriptor,
    /// which whoever started it opened.
    pub(super) fn says(&self, path: &RawText) -> bool {
        self.program.exe == *path || (path.as_bytes() == b"/dev/null" && self.sample.has_null())
    }
}

/// Where a process hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) parent: Parent,
    /// False where the parent is a guess.
    pub(super) certain: bool,
}

impl Place {
    /// Where nothing is known: an event of the process's origin was lost.
    pub(super) const LOST: Self = Self { parent: Parent::Root(RootKind::ExecSession), certain: false };
}

/// A live process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    /// What it is now; none where it came in by a lost event and has not executed since.
    pub(super) node: Option<NodeId>,
    /// Where its node hangs, whatever it executes.
    pub(super) place: Place,
    /// It runs a program of its own: what it executes next replaces that in place.
    pub(super) executed: bool,
    /// When it started, or was forked.
    pub(super) started: Option<BootTime>,
    /// The window in which it was counted as a process of its node by its fork alone.
    pub(super) counted_in: Option<u64>,
}

/// All nodes and processes of one container.
#[derive(Debug, Default)]
pub(super) struct Tree {
    known: HashMap<NodeId, Known>,
    processes: HashMap<Pid, Process>,
    exited: HashMap<Pid, Process>,
    exited_order: VecDeque<Pid>,
}

impl Tree {
    /// A process that lives, or exited a moment ago.
    pub(super) fn process(&self, pid: Pid) -> Option<&Process> {
        self.processes.get(&pid).or_else(|| self.exited.get(&pid))
    }

    /// All processes that live.
    pub(super) fn pids(&self) -> impl Iterator<Item = Pid> + '_ {
        self.processes.keys().copied()
    }

    /// A process that lives, unless it started noticeably before `started`: then its exit was lost and the pid is
    /// another's.
    pub(super) fn same(&mut self, pid: Pid, started: Option<BootTime>) -> Option<&mut Process> {
        let stale = |process: &Process| match (process.started, started) {
            (Some(known), Some(now)) => now.0 > known.0.saturating_add(START_SLACK_NS),
            _ => false,
        };
        if self.processes.get(&pid).is_some_and(stale) {
            self.exit(pid);
        }
        self.processes.get_mut(&pid)
    }

    /// Puts in a process; false where there are too many.
    pub(super) fn insert(&mut self, pid: Pid, process: Process) -> bool {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&pid) {
            return false;
        }
        self.exited.remove(&pid);
        self.processes.insert(pid, process);
        true
    }

    pub(super) fn exit(&mut self, pid: Pid) {
        let Some(process) = self.processes.remove(&pid) else { return };
        if self.exited.insert(pid, process).is_none() {
            self.exited_order.push_back(pid);
        }
        while self.exited_order.len() > REMEMBERED_EXITS {
            if let Some(oldest) = self.exited_order.pop_front() {
                self.exited.remove(&oldest);
            }
        }
    }

    pub(super) fn known(&self, id: NodeId) -> Option<&Known> {
        self.known.get(&id)
    }

    /// The node of a program that runs at a place, made known if it is not.
    pub(super) fn enter(&mut self, place: Place, program: Program, sample: Arc<Sample>) -> NodeId {
        let (parent, depth, mut complete) = match place.parent {
            Parent::Root(_) => (place.parent, 1, true),
            Parent::Process(id) => match self.known.get(&id) {
                Some(known) if known.program == program => {
                    (known.parent, known.depth, known.lineage_complete)
                }
                Some(known) if known.depth > MAX_DEPTH => (known.parent, known.depth, false),
                Some(known) => {
                    (place.parent, known.depth + 1, known.lineage_complete && known.depth < MAX_DEPTH)
                }
                // Forgotten: cannot be while a process hangs from it.
                None => (Place::LOST.parent, 1, false),
            },
        };
        complete &= place.certain;
        let id = process_id(
            parent,
            program.exe.as_bytes(),
            program.argv0.as_ref().map(RawText::as_bytes),
            program.script.as_ref().map(RawText::as_bytes),
        );
        let known = self.known.entry(id).or_insert_with(|| Known {
            parent,
            program,
            depth,
            lineage_complete: complete,
            sample: Arc::clone(&sample),
        });
        // One certain sighting is enough.
        known.lineage_complete |= complete;
        known.sample = sample;
        id
    }

    /// A node and its ancestors, itself first.
    pub(super) fn line(&self, id: NodeId) -> Vec<NodeId> {
        let mut line = vec![id];
        let mut at = id;
        while let Some(Known { parent: Parent::Process(parent), .. }) = self.known.get(&at) {
            line.push(*parent);
            at = *parent;
        }
        line
    }

    pub(super) fn known_count(&self) -> usize {
        self.known.len()
    }

    /// Takes a node's lineage for incomplete from now on.
    pub(super) fn doubt(&mut self, id: NodeId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.lineage_complete = false;
        }
    }

    /// Forgets the nodes that neither a process nor one of `kept` needs.
    pub(super) fn forget_unused(&mut self, kept: impl Iterator<Item = NodeId>) {
        let mut used: HashSet<NodeId> = HashSet::new();
        let of_processes = self.processes.values().chain(self.exited.values()).flat_map(|process| {
            let parent = match process.place.parent {
                Parent::Process(id) => Some(id),
                Parent::Root(_) => None,
            };
            process.node.into_iter().chain(parent)
        });
        for id in of_processes.chain(kept) {
            let mut at = id;
            while used.insert(at) {
                match self.known.get(&at) {
                    Some(Known { parent: Parent::Process(parent), .. }) => at = *parent,
                    _ => break,
                }
            }
        }
        self.known.retain(|id, _| used.contains(id));
    }
}
