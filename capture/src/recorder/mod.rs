//! From events to one container's behaviour tree.
//!
//! A [`Recorder`] lives as long as its container: it keeps who is whose child across windows. A window starts with only
//! what is seen in it; ancestors and owners that were known before stand in it as `initial`, seen once at its opening.
//!
//! Between windows ([`Recorder::close`], [`Recorder::open`]) it keeps lineage alone: what lives, and what that hangs from.
//!
//! What it cannot place is not lost: a fact of a process that is not known (its fork or exec was lost) stands without an
//! owner, and a program of such a process is a root of its own. Both have `lineage_complete` false. To hang them from a
//! guess would make a statement about a process that nobody saw.

mod access;
mod closed;
mod dns;
mod facts;
mod net;
mod process;
#[cfg(test)]
mod tests;
mod tree;
mod used;
mod window;

use std::collections::HashSet;
use std::sync::Arc;

use wsp_schemas::identity::{NodeId, Parent, RootKind};
use wsp_schemas::text::RawText;

pub(crate) use self::closed::lost_name;
pub use self::closed::{ClosedWindow, Setting};
pub use self::tree::MAX_DEPTH;
pub use wsp_schemas::args::{self, ArgsMode};

#[cfg(all(feature = "ebpf", any(test, feature = "fuzz")))]
pub(crate) use self::dns::check as check_dns;
use self::process::Sample;
use self::tree::{Place, Process, Tree};
pub(crate) use self::window::LIMIT;
use self::window::{Told, Window};
use crate::event::{Body, BootTime, Event, Exec, Key, LostCause, LostKind, Pid};

/// How a container is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What of command lines is kept.
    pub args: ArgsMode,
    /// Most nodes of a window; what would be more is counted as lost.
    pub max_nodes: usize,
    /// Bytes of text from which a window [is full](Recorder::is_full), about.
    pub max_bytes: usize,
    /// How many nodes before the most a window is full: for those that turn it only between events.
    pub spare_nodes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { args: ArgsMode::default(), max_nodes: 100_000, max_bytes: usize::MAX, spare_nodes: 0 }
    }
}

/// Nodes that are always remembered between windows, whether something lives there or not.
const KNOWN_BETWEEN_WINDOWS: usize = 2048;

/// How the container was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// Before its first exec.
    Unstarted,
    /// Running; its processes come as initial events.
    Running,
}

/// Builds the behaviour tree of one container, window by window.
#[derive(Debug)]
pub struct Recorder {
    options: Options,
    met: Met,
    init_hint: Option<Pid>,
    init: Option<Pid>,
    init_mnt_ns: Option<u32>,
    any_root: bool,
    /// The first exec, where the container was met before it.
    start: Option<BootTime>,
    /// When the init task was made of a container that was met running.
    running_since: Option<BootTime>,
    tree: Tree,
    names: dns::Names,
    window: Window,
    /// Nodes from which those that nothing hangs from are forgotten between windows.
    prune_at: usize,
    /// Initial processes, until all of them are there: only then the earliest is known.
    initial: Vec<Initial>,
}

#[derive(Debug)]
struct Initial {
    at: BootTime,
    pid: Pid,
    parent: Option<Pid>,
    parent_is_guess: bool,
    exec: Box<Exec>,
}

impl Recorder {
    /// Starts with the first window. `init` is the container's init task where the runtime tells it.
    pub fn new(options: Options, met: Met, init: Option<Pid>, opened: BootTime) -> Self {
        let window = Window::new(0, opened, options.max_nodes);
        Self { window, ..Self::without_window(options, met, init) }
    }

    /// Starts with lineage alone.
    pub fn without_window(options: Options, met: Met, init: Option<Pid>) -> Self {
        Self {
            options,
            met,
            init_hint: init,
            init: None,
            init_mnt_ns: None,
            any_root: false,
            start: None,
            running_since: None,
            tree: Tree::default(),
            names: dns::Names::default(),
            window: Window::none(0),
            prune_at: KNOWN_BETWEEN_WINDOWS,
            initial: Vec::new(),
        }
    }

    /// Closes the window and opens the next one at the same moment.
    pub fn turn(&mut self, at: BootTime) -> ClosedWindow {
        let at = at.max(self.window.opened);
        let next = Window::new(self.window.number + 1, at, self.options.max_nodes);
        self.replace(next, at)
    }

    /// Opens a window, where there is none.
    pub fn open(&mut self, at: BootTime) {
        self.flush_initial();
        if !self.has_window() {
            let next = Window::new(self.window.number + 1, at, self.options.max_nodes);
            let _lineage = self.replace(next, at);
        }
    }

    /// Closes the window; lineage is kept until the next one. None where there is no window.
    pub fn close(&mut self, at: BootTime) -> Option<ClosedWindow> {
        let next = Window::none(self.window.number + 1);
        self.has_window().then(|| self.replace(next, at.max(self.window.opened)))
    }

    fn replace(&mut self, next: Window, at: BootTime) -> ClosedWindow {
        self.flush_initial();
        if self.window.lost_lineage() {
            for root in &self.window.entered {
                self.tree.doubt(*root);
            }
        }
        if self.is_full() {
            self.window.hit_limit(self.options.max_bytes);
        }
        let window = std::mem::replace(&mut self.window, next);
        let closed = ClosedWindow::new(window, &self.tree, self.start, self.running_since, at);
        self.tree.forget_unused(std::iter::empty());
        closed
    }

    /// True while one is open.
    pub fn has_window(&self) -> bool {
        !self.window.is_none()
    }

    /// True where the window should be turned, lest nodes are left out.
    pub fn is_full(&self) -> bool {
        let Options { max_nodes, max_bytes, spare_nodes, .. } = self.options;
        self.window.nodes() >= max_nodes.saturating_sub(spare_nodes).max(1)
            || self.window.bytes() >= max_bytes
    }

    /// True once a program of the container has run.
    pub fn has_started(&self) -> bool {
        self.met == Met::Running || self.any_root
    }

    /// When the window was opened.
    pub fn opened(&self) -> BootTime {
        self.window.opened
    }

    /// Processes that live, in order.
    pub fn pids(&self) -> Vec<Pid> {
        let mut pids: Vec<Pid> = self.tree.pids().collect();
        pids.sort_unstable();
        pids
    }

    /// Under which repeats are counted of what was told in the open window, or since the last one.
    pub fn keys(&self) -> Vec<Key> {
        self.window.keys.keys().copied().collect()
    }

    /// Takes one event of this container.
    pub fn record(&mut self, event: &Event) {
        let (at, pid) = (event.at, event.pid);
        if let Body::InitialProcess { parent, parent_is_guess, exec } = &event.body {
            let (parent, parent_is_guess, exec) = (*parent, *parent_is_guess, exec.clone());
            self.initial.push(Initial { at, pid, parent, parent_is_guess, exec });
            return;
        }
        self.flush_initial();
        if !self.has_window() {
            self.keep_lineage(event);
            return;
        }
        match &event.body {
            Body::ContainerCreated { .. } | Body::ContainerGone | Body::InitialProcess { .. } => {}
            Body::Fork { child } => self.fork(at, pid, *child),
            Body::Exec(exec) => self.exec(at, pid, exec),
            Body::Exit => {
                if let Some(node) = self.tree.process(pid).and_then(|process| process.node) {
                    self.window.reach(node, at);
                }
                self.tree.exit(pid);
            }
            Body::Open { file, flags } => self.opened_file(at, pid, file, *flags, event.key),
            Body::InitialFile { file, flags } => self.found_file(at, pid, file, *flags),
            Body::Change { change, file, to, mode } => {
                self.change(at, pid, (*change, *mode), (file, to.as_ref()), event.key);
            }
            Body::Connect { remote, .. } => self.connect(at, pid, remote, event.key),
            Body::Listen { local } => self.listen(at, pid, local, None, event.key),
            Body::Accept { local, peer } => self.listen(at, pid, local, *peer, event.key),
            Body::InitialListen { local } => self.found_listening(at, pid, local),
            Body::Syscall { number } => self.used(at, pid, used::syscall(*number), event.key),
            Body::Capability { number } => self.used(at, pid, used::capability(*number), event.key),
            Body::Repeats { events } => self.window.repeat(event.key, *events, at),
            Body::Dns { socket, answer, message, .. } => self.dns(at, pid, *socket, *answer, message),
            Body::Title { argv } => self.title(at, pid, argv),
            Body::Lost { kind, cause, events } => self.window.lose(*kind, cause_name(*cause), *events),
        }
        if self.tree.known_count() > self.options.max_nodes.saturating_mul(2) {
            self.tree.forget_unused(self.window.processes.keys().copied());
        }
    }

    /// What is kept of an event between windows.
    fn keep_lineage(&mut self, event: &Event) {
        match &event.body {
            Body::Fork { child } => self.fork(event.at, event.pid, *child),
            Body::Exec(exec) => self.exec(event.at, event.pid, exec),
            Body::Exit => self.tree.exit(event.pid),
            Body::Lost { kind: kind @ (LostKind::Fork | LostKind::Exec), cause, events } => {
                self.window.lose(*kind, cause_name(*cause), *events);
            }
            // To be told again in the next window.
            _ => self.window.note_key(event.key, Told::AGAIN),
        }
        if self.tree.known_count() > self.prune_at {
            self.tree.forget_unused(std::iter::empty());
            self.window.entered.retain(|id| self.tree.known(*id).is_some());
            self.prune_at = KNOWN_BETWEEN_WINDOWS.max(self.tree.known_count() * 2);
        }
    }

    fn fork(&mut self, at: BootTime, pid: Pid, child: Pid) {
        let parent = self.tree.process(pid);
        let node = parent.and_then(|parent| parent.node);
        let process = Process {
            node,
            place: node.map_or(Place::LOST, |id| Place { parent: Parent::Process(id), certain: true }),
            executed: false,
            started: Some(at),
            counted_in: Some(self.window.number),
        };
        if let Some(id) = node {
            if self.window.ensure(&self.tree, id) {
                self.window.reach(id, at);
                // Until it executes, the child is one more process of its parent's node.
                self.count_process(id, 1);
            } else {
                self.window.lose(LostKind::Fork, LIMIT, 1);
            }
        }
        self.put(child, process);
    }

    fn count_process(&mut self, id: NodeId, by: i64) {
        if let Some(row) = self.window.processes.get_mut(&id) {
            row.attributes.processes += by;
        }
    }

    fn put(&mut self, pid: Pid, process: Process) {
        if !self.tree.insert(pid, process) {
            self.window.limits_hit.insert("processes");
            self.window.lose(LostKind::Fork, LIMIT, 1);
        }
    }

    fn exec(&mut self, at: BootTime, pid: Pid, exec: &Exec) {
        let program = process::program(exec);
        let known = self.tree.same(pid, exec.started).cloned();
        let entered = known.is_none();
        let (place, replaced) = match &known {
            Some(process) => {
                // Only a program of its own is replaced in place, and only by another one.
                let replaced = process.node.filter(|_| process.executed).and_then(|id| self.tree.known(id));
                let replaced = replaced.filter(|node| node.program != program);
                (process.place, replaced.map(|node| node.program.exe.clone()))
            }
            None => (Place { parent: Parent::Root(self.root_kind(pid, exec)), certain: true }, None),
        };
        if let Some(Process { node: Some(before), counted_in: Some(window), .. }) = known
            && window == self.window.number
        {
            self.count_process(before, -1);
        }
        if self.met == Met::Unstarted && !self.any_root {
            self.window.first_exec = Some(at);
            self.start = Some(at);
        }
        self.any_root = true;
        let written = self.window.written.contains(&program.exe);
        let sample = self.sample(exec).replacing(replaced).written(written);
        let id = self.tree.enter(place, program, Arc::new(sample));
        if entered && self.init != Some(pid) {
            self.window.entered.insert(id);
        }
        if !self.window.ran(&self.tree, id, at, false) {
            self.window.lose(LostKind::Exec, LIMIT, 1);
        }
        self.put(pid, executed(id, place, exec, known.and_then(|process| process.started)));
    }

    fn sample(&self, exec: &Exec) -> Sample {
        let changed = self.init_mnt_ns.is_some_and(|init| exec.mnt_ns != 0 && init != exec.mnt_ns);
        Sample::new(exec, self.options.args).with_namespace(changed)
    }

    /// What kind of root a process is that entered from outside, by executing.
    fn root_kind(&mut self, pid: Pid, exec: &Exec) -> RootKind {
        let private_init = exec.pid_ns_level > 0 && exec.ns_pid == 1;
        let told = self.init_hint == Some(pid);
        // Where the pid namespace is shared, with a pod or the host, the first that enters is the init.
        let first = self.init.is_none() && self.init_hint.is_none() && !self.any_root;
        if self.init == Some(pid) || private_init || (self.init.is_none() && (told || first)) {
            self.become_init(pid, exec);
            RootKind::Init
        } else {
            RootKind::ExecSession
        }
    }

    fn become_init(&mut self, pid: Pid, exec: &Exec) {
        self.init = Some(pid);
        if exec.mnt_ns != 0 {
            self.init_mnt_ns.get_or_insert(exec.mnt_ns);
        }
    }

    /// Takes the processes that were read from `/proc`.
    fn flush_initial(&mut self) {
        let processes = std::mem::take(&mut self.initial);
        if processes.is_empty() {
            return;
        }
        if self.init.is_none() {
            let roots = || processes.iter().filter(|process| process.parent.is_none());
            let init = processes
                .iter()
                .find(|process| self.init_hint == Some(process.pid))
                .or_else(|| roots().find(|process| process.exec.pid_ns_level > 0 && process.exec.ns_pid == 1))
                .or_else(|| roots().min_by_key(|process| process.exec.started.unwrap_or(BootTime(u64::MAX))));
            if let Some(init) = init {
                self.running_since = init.exec.started;
                self.become_init(init.pid, &init.exec);
            }
        }
        let seen: HashSet<NodeId> = self.window.processes.keys().copied().collect();
        for process in processes {
            self.initial_process(process, &seen);
        }
    }

    /// `seen`: process nodes that were in the window before any of these.
    fn initial_process(
        &mut self,
        Initial { at, pid, parent, parent_is_guess, exec }: Initial,
        seen: &HashSet<NodeId>,
    ) {
        self.any_root = true;
        let program = process::program(&exec);
        let known = self.tree.same(pid, exec.started).cloned();
        if let Some(Process { node: Some(mut id), place, started, .. }) = known {
            // How it came about was seen; that is the better account.
            if seen.contains(&id) {
                return;
            }
            if self.tree.known(id).is_some_and(|node| node.program != program) {
                // Its exec was lost, or is still to be told.
                id = self.tree.enter(place, program, Arc::new(self.sample(&exec)));
                self.put(pid, executed(id, place, &exec, started));
            }
            if !self.window.ran(&self.tree, id, at, true) {
                self.window.lose(LostKind::Exec, LIMIT, 1);
            }
            return;
        }
        let parent = parent.filter(|_| self.init != Some(pid));
        let place = match parent.and_then(|parent| self.tree.process(parent)).map(|parent| parent.node) {
            Some(Some(id)) => Place { parent: Parent::Process(id), certain: !parent_is_guess },
            Some(None) => Place::LOST,
            None if self.init == Some(pid) => Place { parent: Parent::Root(RootKind::Init), certain: true },
            None => Place {
                parent: Parent::Root(RootKind::ExecSession),
                certain: parent.is_none() && !parent_is_guess,
            },
        };
        let sample = Arc::new(self.sample(&exec));
        let id = self.tree.enter(place, program, sample);
        if !self.window.ran(&self.tree, id, at, true) {
            self.window.lose(LostKind::Exec, LIMIT, 1);
        }
        let mut process = executed(id, place, &exec, None);
        // What equals its parent's program is a fork of it that has not executed.
        process.executed = place.parent != Parent::Process(id);
        self.put(pid, process);
    }

    fn title(&mut self, at: BootTime, pid: Pid, argv: &[RawText]) {
        let Some(id) = self.owner(pid) else { return };
        let Some(line) = args::render(argv, false, self.options.args) else { return };
        // A title alone is no reason for a row.
        if let Some(row) = self.window.processes.get_mut(&id) {
            row.attributes.add_args(line);
            self.window.reach(id, at);
        }
    }

    /// The node of a process; none where it is not known.
    fn owner(&self, pid: Pid) -> Option<NodeId> {
        self.tree.process(pid).and_then(|process| process.node)
    }
}

fn executed(id: NodeId, place: Place, exec: &Exec, started: Option<BootTime>) -> Process {
    Process { node: Some(id), place, executed: true, started: exec.started.or(started), counted_in: None }
}

/// Name of a cause of loss in snapshot files.
pub(crate) fn cause_name(cause: LostCause) -> &'static str {
    match cause {
        LostCause::RingFull => "ring_full",
        LostCause::MapFull => "map_full",
        LostCause::Shed => "shed",
        LostCause::Unreadable => "unreadable",
        LostCause::Busy => "busy",
        LostCause::Undecodable => "undecodable",
        LostCause::Late => "late",
    }
}
