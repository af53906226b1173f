//! A window that is closed, and the rows that it becomes.
//!
//! Who the container is may be known only later than what it did: so identity comes in at the end.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use wsp_schemas::identity::{Kind, NodeId, Parent, RootKind};
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::paths::RULES_VERSION;
use wsp_schemas::snapshot::{
    Completeness, Container, Fact, Image, Loss, Node, Phase, STARTUP, SeenBy, Sensor, SnapshotMeta,
};
use wsp_schemas::text::RawText;

use super::process::Attributes;
use super::tree::{Program, Tree};
use super::window::{ProcessRow, Row, Span, Window};
use crate::event::{BootTime, Clock, LostKind};

/// What a snapshot says beside what was seen in its window.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The snapshot.
    pub id: SnapshotId,
    /// What ran.
    pub image: Image,
    /// Where it ran. Its start is replaced by the first exec, where that was seen.
    pub container: Container,
    /// Name of the host.
    pub host: String,
    /// `uname -r` of the host.
    pub kernel: String,
    /// What was live for the container.
    pub sensors: Vec<Sensor>,
    /// Wall-clock time of the window.
    pub clock: Clock,
}

/// Everything seen in a window that is over.
#[derive(Debug)]
pub struct ClosedWindow {
    opened: BootTime,
    closed: BootTime,
    first_exec: Option<BootTime>,
    container_start: Option<BootTime>,
    /// When its init task was made, where it ran already.
    running_since: Option<BootTime>,
    processes: Vec<Process>,
    rows: Vec<(NodeId, Row)>,
    lost: BTreeMap<(LostKind, &'static str), u64>,
    limits_hit: Vec<String>,
}

type Process = (NodeId, Place, Attributes, Span);

#[derive(Debug, Clone)]
struct Place {
    parent: Parent,
    program: Program,
    lineage_complete: bool,
}

impl ClosedWindow {
    /// `start`: its first exec, where that was seen; `running_since`: when its init task was made, where it ran already.
    pub(super) fn new(
        window: Window,
        tree: &Tree,
        start: Option<BootTime>,
        running_since: Option<BootTime>,
        closed: BootTime,
    ) -> Self {
        let place = |id: NodeId| {
            let known = tree.known(id)?;
            let complete = |id: &NodeId| tree.known(*id).is_none_or(|known| known.lineage_complete);
            let lineage_complete = tree.line(id).iter().all(complete);
            Some(Place { parent: known.parent, program: known.program.clone(), lineage_complete })
        };
        let processes = window
            .processes
            .into_iter()
            .filter_map(|(id, ProcessRow { attributes, span })| Some((id, place(id)?, attributes, span)))
            .collect();
        Self {
            opened: window.opened,
            closed,
            first_exec: window.first_exec,
            container_start: start,
            running_since,
            processes,
            rows: window.rows.into_iter().collect(),
            lost: window.lost,
            limits_hit: window.limits_hit.into_iter().map(str::to_owned).collect(),
        }
    }

    /// When the window was opened.
    pub fn opened(&self) -> BootTime {
        self.opened
    }

    /// Events that are not in it.
    pub fn lost_events(&self) -> u64 {
        self.lost.values().fold(0, |sum, events| sum.saturating_add(*events))
    }

    /// Events that are not in it, by kind and cause as the snapshot names them.
    pub fn lost(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        self.lost.iter().map(|((kind, cause), events)| (lost_name(*kind), *cause, *events))
    }

    /// The snapshot: metadata and rows, processes as a tree, what a process owns behind it and before its children. The
    /// same window and setting give the same rows in the same order.
    pub fn into_snapshot(self, setting: &Setting) -> (SnapshotMeta, Vec<Node>) {
        let times = Times::new(&self, setting);
        let meta = self.meta(setting, &times);
        (meta, nodes(self.processes, self.rows, &times))
    }

    fn meta(&self, setting: &Setting, times: &Times) -> SnapshotMeta {
        let covers_start = self.first_exec.is_some();
        let lossy = |kind: &str| {
            self.lost.iter().any(|((lost, _), events)| {
                *events > 0 && kind_of(*lost).is_some_and(|of| of.as_str() == kind)
            })
        };
        let completeness = setting
            .sensors
            .iter()
            .filter(|sensor| Kind::parse(&sensor.kind).is_some())
            .map(|sensor| {
                let completeness = match (lossy(&sensor.kind), covers_start) {
                    (true, _) => Completeness::Lossy,
                    (false, true) => Completeness::Complete,
                    (false, false) => Completeness::JoinedLate,
                };
                (sensor.kind.clone(), completeness)
            })
            .collect();
        let lost = self.lost.iter().map(|((kind, cause), events)| Loss {
            kind: lost_name(*kind).to_owned(),
            cause: (*cause).to_owned(),
            events: *events,
        });
        SnapshotMeta {
            id: setting.id,
            image: setting.image.clone(),
            container: Container { started: times.started, ..setting.container.clone() },
            host: setting.host.clone(),
            window_start: times.start,
            window_end: times.end,
            covers_start,
            writer: concat!("wsp-capture ", env!("CARGO_PKG_VERSION")).to_owned(),
            kernel: setting.kernel.clone(),
            path_rules: RULES_VERSION,
            sensors: setting.sensors.clone(),
            completeness,
            lost: lost.collect(),
            limits_hit: self.limits_hit.clone(),
        }
    }
}

/// `/proc` counts in hundredths of a second.
const TICK: chrono::Duration = chrono::Duration::milliseconds(10);

/// From kernel time to the window's.
struct Times {
    clock: Clock,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    /// As the snapshot says it.
    started: Option<DateTime<Utc>>,
    /// The same by this window's clock.
    began: Option<DateTime<Utc>>,
}

impl Times {
    fn new(window: &ClosedWindow, setting: &Setting) -> Self {
        let clock = setting.clock;
        let start = clock.wall(window.opened);
        // A window is never empty, and never longer than its offsets can count.
        let length = (clock.wall(window.closed) - start).num_milliseconds().clamp(1, i64::from(i32::MAX));
        let started = window.container_start.map(|at| clock.wall(at)).or(setting.container.started);
        // The runtime's time is of a clock that may have been set since: it ran from when its init task was made at the
        // earliest, and before the window at the latest.
        let since = window.running_since.map(|at| clock.wall(at));
        let possible =
            |told: &DateTime<Utc>| *told <= start && since.is_none_or(|since| since <= *told + TICK);
        let began = match window.container_start {
            Some(at) => Some(clock.wall(at)),
            None => setting.container.started.filter(possible).or(since),
        };
        Self { clock, start, end: start + chrono::Duration::milliseconds(length), started, began }
    }

    fn offset(&self, at: BootTime) -> i32 {
        let length = (self.end - self.start).num_milliseconds();
        let offset = (self.clock.wall(at) - self.start).num_milliseconds().clamp(0, length);
        i32::try_from(offset).unwrap_or(i32::MAX)
    }

    fn node(
        &self,
        fact: Fact,
        parent: Option<NodeId>,
        exe: Option<RawText>,
        lineage_complete: bool,
        span: Span,
    ) -> Node {
        let (first_seen_ms, last_seen_ms) = (self.offset(span.first), self.offset(span.last));
        let startup = |began: DateTime<Utc>| {
            let first = self.start + chrono::Duration::milliseconds(i64::from(first_seen_ms));
            (first - began).to_std().is_ok_and(|age| age <= STARTUP) || first < began
        };
        Node {
            fact,
            parent,
            exe,
            phase: if self.began.is_some_and(startup) { Phase::Startup } else { Phase::Steady },
            seen_by: if span.initial { SeenBy::Initial } else { SeenBy::Runtime },
            lineage_complete,
            events: span.events,
            first_seen_ms,
            last_seen_ms,
        }
    }
}

fn nodes(processes: Vec<Process>, mut rows: Vec<(NodeId, Row)>, times: &Times) -> Vec<Node> {
    let mut out = Vec::with_capacity(processes.len() + rows.len());
    rows.sort_by_cached_key(|(id, row)| (kind_order(&row.fact), fact_key(&row.fact), *id));
    let mut owned: HashMap<Option<NodeId>, Vec<Row>> = HashMap::new();
    for (_, row) in rows {
        owned.entry(row.owner).or_default().push(row);
    }
    let mut children: HashMap<Option<NodeId>, Vec<Process>> = HashMap::new();
    for process in processes {
        let parent = match process.1.parent {
            Parent::Process(id) => Some(id),
            Parent::Root(_) => None,
        };
        children.entry(parent).or_default().push(process);
    }
    for siblings in children.values_mut() {
        // Last first: they are taken off a stack.
        siblings.sort_by_cached_key(|(id, place, _, span)| {
            let session = place.parent == Parent::Root(RootKind::ExecSession);
            std::cmp::Reverse((session, span.first, place.program.exe.clone(), *id))
        });
    }
    let mut open = children.remove(&None).unwrap_or_default();
    while let Some((id, place, attributes, span)) = open.pop() {
        let (parent, root) = match place.parent {
            Parent::Process(parent) => (Some(parent), None),
            Parent::Root(kind) => (None, Some(kind)),
        };
        let exe = Some(place.program.exe.clone());
        let process = attributes.into_process(&place.program, root);
        let complete = place.lineage_complete;
        out.push(times.node(Fact::Process(Box::new(process)), parent, exe.clone(), complete, span));
        for Row { fact, span, .. } in owned.remove(&Some(id)).unwrap_or_default() {
            out.push(times.node(fact, Some(id), exe.clone(), complete, span));
        }
        open.extend(children.remove(&Some(id)).unwrap_or_default());
    }
    for Row { fact, span, .. } in owned.remove(&None).unwrap_or_default() {
        out.push(times.node(fact, None, None, false, span));
    }
    out
}

fn kind_order(fact: &Fact) -> usize {
    Kind::ALL.iter().position(|kind| *kind == fact.kind()).unwrap_or(usize::MAX)
}

fn fact_key(fact: &Fact) -> (RawText, u16) {
    match fact {
        Fact::File(file) => (file.path.clone(), 0),
        Fact::Dns { name, .. } => (name.clone(), 0),
        Fact::Connect(socket) | Fact::Listen(socket) => (socket.address.clone(), socket.port),
        Fact::Syscall(name) | Fact::Capability(name) => (name.as_str().into(), 0),
        Fact::Process(_) => (RawText::default(), 0),
    }
}

/// The kind of node that is incomplete where events of a kind were lost. A lost exit loses nothing that was done.
fn kind_of(lost: LostKind) -> Option<Kind> {
    match lost {
        LostKind::Exec | LostKind::Fork => Some(Kind::Process),
        LostKind::Exit => None,
        LostKind::Open | LostKind::Change => Some(Kind::File),
        LostKind::Connect => Some(Kind::Connect),
        LostKind::Listen | LostKind::Accept => Some(Kind::Listen),
        LostKind::Dns => Some(Kind::Dns),
        LostKind::Syscall => Some(Kind::Syscall),
        LostKind::Capability => Some(Kind::Capability),
    }
}

/// Name of a kind of lost event in snapshot files.
pub(crate) fn lost_name(kind: LostKind) -> &'static str {
    match kind {
        LostKind::Exec => "exec",
        LostKind::Fork => "fork",
        LostKind::Exit => "exit",
        LostKind::Open => "open",
        LostKind::Change => "change",
        LostKind::Accept => "accept",
        LostKind::Syscall => "syscall",
        LostKind::Capability => "capability",
        LostKind::Connect => "connect",
        LostKind::Listen => "listen",
        LostKind::Dns => "dns",
    }
}
