//! All that some files say of processes in containers. Events come in any order: which process is which node is found out at the end.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use wsp_schemas::identity::NodeId;
use wsp_schemas::snapshot::{Fact, Node, Phase, SeenBy};

use super::event::{Event, Kind, Process, Record};
use super::facts::facts;
use super::program::Program;
use crate::jobs::import::snapshot::unite;
use crate::jobs::import::values;

/// Processes and facts that are held at once.
const MAX_HELD: usize = 4_000_000;
/// Digits from which on the start of a container's id tells it from others.
const SHORT_ID: usize = 12;

/// Host, and the id of a container or process on it.
pub(super) type Key = (String, String);

#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) containers: BTreeMap<Key, Container>,
    pub(super) processes: HashMap<Key, Seen>,
    /// Events that a host did not export.
    pub(super) dropped: BTreeMap<String, u64>,
    held: usize,
}

/// What is told of a container beside what its processes do.
#[derive(Debug, Default)]
pub(super) struct Container {
    /// The first file that has it.
    pub(super) file: String,
    pub(super) references: [Option<String>; 2],
    pub(super) name: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) started: Option<DateTime<Utc>>,
    /// Of its events; none where it is only mentioned.
    pub(super) span: Option<Span>,
}

/// First and last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: DateTime<Utc>,
    pub(super) last: DateTime<Utc>,
}

/// A process.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// None on the host.
    pub(super) container: Option<String>,
    pub(super) program: Option<Program>,
    pub(super) parent: Option<String>,
    pub(super) pid: Option<u32>,
    /// In the container.
    pub(super) number: Option<u32>,
    pub(super) in_init_tree: Option<bool>,
    pub(super) gid: Option<u32>,
    pub(super) cred_change: bool,
    pub(super) started: Option<DateTime<Utc>>,
    pub(super) executed: Option<DateTime<Utc>>,
    pub(super) span: Option<Span>,
    /// By the id that each would have without an owner.
    pub(super) facts: HashMap<NodeId, Did>,
}

/// Something that a process did.
#[derive(Debug)]
pub(super) struct Did {
    pub(super) fact: Fact,
    pub(super) span: Span,
    pub(super) events: i64,
    /// A policy told: what it leaves out is not known.
    pub(super) by_policy: bool,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    Event,
    /// Its process is in no container.
    Host,
    /// It is no event of a process.
    Other,
}

impl Span {
    pub(super) fn reach(place: &mut Option<Self>, at: DateTime<Utc>) {
        let span = place.get_or_insert(Self { first: at, last: at });
        span.first = span.first.min(at);
        span.last = span.last.max(at);
    }
}

impl Recording {
    /// Takes a record of a file.
    pub(super) fn add(&mut self, file: &str, host: &str, mut record: Record) -> Result<Added, String> {
        if let Some(dropped) = &record.rate_limit_info {
            let count = self.dropped.entry(host.to_owned()).or_default();
            *count = count.saturating_add(dropped.number_of_dropped_process_events.max(1));
        }
        let Some((kind, event)) = record.take_event() else { return Ok(Added::Other) };
        let process = event.process.as_ref().ok_or("it has no process")?;
        // All that can be wrong is found before anything is taken.
        let met = Met::of(process)?.ok_or("its process has no exec_id")?;
        let others: Vec<Met> = others(&event)?;
        let time = record.time.as_deref().or(process.start_time.as_deref()).ok_or("it has no time")?;
        let at = values::time("time", time)?;
        let Some(id) = met.seen.container.clone() else {
            // Children of the host's processes may be in containers.
            for met in others.into_iter().chain([met]) {
                self.meet(host, met)?;
            }
            return Ok(Added::Host);
        };
        let cwd = met.seen.program.as_ref().map(|program| program.cwd.clone()).unwrap_or_default();
        let facts = facts(kind, &event, cwd.as_bytes())?;
        let about = About::of(process)?;
        let by_policy = matches!(kind, Kind::Kprobe | Kind::Lsm | Kind::Tracepoint);
        let events = i64::try_from(record.times()).unwrap_or(i64::MAX);
        let exec_id = met.exec_id.clone();
        for met in others {
            self.meet(host, met)?;
        }
        self.meet(host, met)?;
        let container = self.containers.entry((host.to_owned(), id)).or_default();
        about.into(container, file);
        Span::reach(&mut container.span, at);
        let held = &mut self.held;
        let Some(seen) = self.processes.get_mut(&(host.to_owned(), exec_id)) else { return Ok(Added::Event) };
        Span::reach(&mut seen.span, at);
        if kind == Kind::Exec {
            seen.executed = Some(seen.executed.map_or(at, |known| known.min(at)));
        }
        for fact in facts {
            *held += usize::from(seen.did(fact, at, events, by_policy));
        }
        Ok(Added::Event)
    }

    /// Notes that there is a process.
    fn meet(&mut self, host: &str, met: Met) -> Result<(), String> {
        if self.held >= MAX_HELD {
            return Err(format!(
                "more than {MAX_HELD} processes and what they did: import fewer files at a time"
            ));
        }
        if let Some(id) = &met.seen.container {
            self.containers.entry((host.to_owned(), id.clone())).or_default();
        }
        match self.processes.entry((host.to_owned(), met.exec_id)) {
            Entry::Vacant(place) => {
                self.held += 1;
                place.insert(met.seen);
            }
            Entry::Occupied(place) => place.into_mut().also(met.seen),
        }
        Ok(())
    }

    /// The whole id of a container of which only the start may be told.
    pub(super) fn whole_id<'a>(&'a self, host: &str, id: &'a str) -> &'a str {
        let longer = |id: &str| {
            let from = self.containers.range((host.to_owned(), id.to_owned())..);
            let mut known = from.map(|((of, known), _)| (of, known));
            let (of, known) = known.find(|(of, known)| *of != host || known.as_str() != id)?;
            (*of == host && known.starts_with(id)).then_some(known.as_str())
        };
        let mut whole = id;
        while whole.len() >= SHORT_ID
            && let Some(known) = longer(whole)
        {
            whole = known;
        }
        whole
    }
}

/// The parent and its ancestors.
fn others(event: &Event) -> Result<Vec<Met>, String> {
    let all = event.parent.iter().chain(event.ancestors.iter().flatten().take(64));
    all.filter_map(|process| Met::of(process).transpose()).collect()
}

/// A process, checked.
struct Met {
    exec_id: String,
    seen: Seen,
}

impl Met {
    fn of(process: &Process) -> Result<Option<Self>, String> {
        let name =
            |what: &str, text: Option<&str>| values::name(what, text.unwrap_or_default(), values::NAME_BYTES);
        let Some(exec_id) = name("exec_id", process.exec_id.as_deref())? else { return Ok(None) };
        let credentials = process.process_credentials.as_ref();
        let ids = credentials.and_then(|credentials| credentials.uid.zip(credentials.euid));
        let seen = Seen {
            container: name("the container's id", process.container_id())?,
            program: Program::of(process)?,
            parent: name("parent_exec_id", process.parent_exec_id.as_deref())?,
            pid: process.pid,
            number: process.number(),
            in_init_tree: process.in_init_tree,
            gid: credentials.and_then(|credentials| credentials.egid),
            cred_change: ids.is_some_and(|(real, effective)| real != effective),
            started: process.start_time.as_deref().and_then(|time| values::time("start_time", time).ok()),
            ..Seen::default()
        };
        Ok(Some(Self { exec_id, seen }))
    }
}

impl Seen {
    /// Takes what another mention of it tells more. Kubernetes' part may come later than the process.
    fn also(&mut self, more: Self) {
        let longer = |known: &Option<String>, more: &Option<String>| {
            more.as_ref().map(String::len) > known.as_ref().map(String::len)
        };
        if longer(&self.container, &more.container) {
            self.container = more.container;
        }
        self.program = self.program.take().or(more.program);
        self.parent = self.parent.take().or(more.parent);
        self.pid = self.pid.or(more.pid);
        self.number = self.number.or(more.number);
        self.in_init_tree = self.in_init_tree.or(more.in_init_tree);
        self.gid = self.gid.or(more.gid);
        self.cred_change |= more.cred_change;
        self.started = self.started.or(more.started);
    }

    /// Notes what it did; true where that is new.
    fn did(&mut self, fact: Fact, at: DateTime<Utc>, events: i64, by_policy: bool) -> bool {
        let node = Node {
            fact,
            parent: None,
            exe: None,
            phase: Phase::Steady,
            seen_by: SeenBy::Runtime,
            lineage_complete: false,
            events,
            first_seen_ms: 0,
            last_seen_ms: 0,
        };
        match self.facts.entry(node.id()) {
            Entry::Vacant(place) => {
                place.insert(Did { fact: node.fact, span: Span { first: at, last: at }, events, by_policy });
                true
            }
            Entry::Occupied(place) => {
                place.into_mut().again(Did {
                    fact: node.fact,
                    span: Span { first: at, last: at },
                    events,
                    by_policy,
                });
                false
            }
        }
    }
}

impl Did {
    /// The same fact once more.
    pub(super) fn again(&mut self, more: Self) {
        self.events = self.events.saturating_add(more.events);
        self.span.first = self.span.first.min(more.span.first);
        self.span.last = self.span.last.max(more.span.last);
        self.by_policy |= more.by_policy;
        unite(&mut self.fact, more.fact);
    }
}

/// What a process tells of its container.
struct About {
    references: [Option<String>; 2],
    name: Option<String>,
    labels: BTreeMap<String, String>,
    started: Option<DateTime<Utc>>,
}

impl About {
    fn of(process: &Process) -> Result<Self, String> {
        let told = process.container();
        let name = told.and_then(|container| container.name.as_deref()).unwrap_or_default();
        let mut labels = BTreeMap::new();
        for (key, value) in process.labels() {
            labels.extend(values::name(key, value, values::NAME_BYTES)?.map(|value| (key.to_owned(), value)));
        }
        let reference =
            |text: Option<&str>| values::name("the image", text.unwrap_or_default(), values::NAME_BYTES);
        let [tag, id] = process.references();
        let started = told.and_then(|container| container.start_time.as_deref());
        Ok(Self {
            references: [reference(tag)?, reference(id)?],
            name: values::name("the container's name", name, values::NAME_BYTES)?,
            labels,
            started: started.and_then(|time| values::time("start_time", time).ok()),
        })
    }

    fn into(self, container: &mut Container, file: &str) {
        if container.span.is_none() {
            file.clone_into(&mut container.file);
        }
        for (known, more) in container.references.iter_mut().zip(self.references) {
            *known = known.take().or(more);
        }
        container.name = container.name.take().or(self.name);
        container.started = container.started.or(self.started);
        for (key, value) in self.labels {
            container.labels.entry(key).or_insert(value);
        }
    }
}
