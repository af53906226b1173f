//! The snapshot of one container.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use wsp_schemas::identity::{NodeId, Parent};
use wsp_schemas::paths;
use wsp_schemas::snapshot::{
    self as format, Completeness, Fact, Loss, Node, Phase, Process, STARTUP, SeenBy, Sensor, SnapshotMeta,
};
use wsp_schemas::text::RawText;

use super::lineage::{Known, Lineage, Placed};
use super::recording::{Container, Did, Recording, Seen, Span};
use crate::jobs::import::snapshot::NO_ID;
use crate::jobs::import::{Limits, image};

/// Command lines that are kept of a process, as in a recorder's files.
const ARGS: usize = 8;
/// Different user and group ids.
const IDS: usize = 64;

/// Metadata and nodes of a container: `members` are its processes.
pub(super) fn snapshot(
    recording: &Recording,
    (host, id): (&str, &str),
    container: &Container,
    mut members: Vec<(&str, &Seen)>,
    limits: Limits,
) -> Result<(SnapshotMeta, Vec<Node>), String> {
    let span = container.span.ok_or("it has no events")?;
    let references = [container.references[0].as_deref(), container.references[1].as_deref()];
    let image = image::told(&references)?;
    let entries: usize = members.iter().map(|(_, seen)| 1 + seen.facts.len()).sum();
    if entries > limits.entries {
        return Err(format!("its events make up to {entries} nodes, which is more than {}", limits.entries));
    }
    // The order of the files does not matter.
    members.sort_by_key(|(id, seen)| (seen.executed.or(seen.started), *id));
    let lineage = Lineage::new(recording, host, &members);
    let start =
        members.iter().filter(|(_, seen)| lineage.is_start(seen)).filter_map(|(_, seen)| seen.executed).min();
    let began = start.or(container.started).map(floor);
    let times = Times::new(span, began)?;
    let mut rows = Rows::default();
    for (id, seen) in &members {
        rows.add(&lineage, lineage.placed(id), seen, &times);
    }
    let dropped = recording.dropped.get(host).copied().unwrap_or(0);
    let completeness = rows.completeness(start.is_some(), dropped > 0);
    let sensor = |kind: &String| Sensor { kind: kind.clone(), hook: "tetragon".to_owned() };
    let meta = SnapshotMeta {
        id: NO_ID,
        image,
        container: format::Container {
            id: id.to_owned(),
            name: container.name.clone(),
            started: began,
            labels: container.labels.clone(),
        },
        host: host.to_owned(),
        window_start: times.start,
        window_end: times.end,
        covers_start: start.is_some(),
        writer: concat!("wsp import tetragon ", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel: String::new(),
        path_rules: paths::RULES_VERSION,
        sensors: completeness.keys().map(sensor).collect(),
        completeness,
        lost: (dropped > 0)
            .then(|| Loss { kind: "exec".to_owned(), cause: "rate_limit".to_owned(), events: dropped })
            .into_iter()
            .collect(),
        limits_hit: Vec::new(),
    };
    let nodes = rows.finish(&lineage, &times);
    Ok((meta, nodes))
}

fn floor(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.timestamp_millis()).unwrap_or(time)
}

/// The window, in whole milliseconds around the events.
struct Times {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    began: Option<DateTime<Utc>>,
}

impl Times {
    fn new(span: Span, began: Option<DateTime<Utc>>) -> Result<Self, String> {
        let start = floor(span.first);
        let up = if span.last > floor(span.last) { TimeDelta::milliseconds(1) } else { TimeDelta::zero() };
        // A window is never empty.
        let end = (floor(span.last) + up).max(start + TimeDelta::milliseconds(1));
        if i32::try_from((end - start).num_milliseconds()).is_err() || end.year() > 9999 {
            return Err(format!(
                "its events are from {start} to {end}, which is more than 24 days: import fewer files at a time"
            ));
        }
        Ok(Self { start, end, began })
    }

    fn offset(&self, at: DateTime<Utc>) -> i32 {
        i32::try_from((at.clamp(self.start, self.end) - self.start).num_milliseconds()).unwrap_or(i32::MAX)
    }

    fn phase(&self, first_ms: i32) -> Phase {
        let first = self.start + TimeDelta::milliseconds(i64::from(first_ms));
        let startup =
            |began: DateTime<Utc>| first < began || (first - began).to_std().is_ok_and(|age| age <= STARTUP);
        if self.began.is_some_and(startup) { Phase::Startup } else { Phase::Steady }
    }

    fn node(&self, fact: Fact, owner: Option<(NodeId, &Known)>, (span, events): (Span, i64)) -> Node {
        let first_seen_ms = self.offset(span.first);
        Node {
            fact,
            parent: owner.map(|(id, _)| id),
            exe: owner.map(|(_, known)| known.exe.clone()),
            phase: self.phase(first_seen_ms),
            seen_by: SeenBy::Runtime,
            lineage_complete: owner.is_some_and(|(_, known)| known.complete),
            events,
            first_seen_ms,
            last_seen_ms: self.offset(span.last),
        }
    }
}

/// What is known of the nodes.
#[derive(Default)]
struct Rows {
    processes: BTreeMap<NodeId, Row>,
    facts: HashMap<(Option<NodeId>, NodeId), Did>,
    execs: bool,
}

/// A process node.
struct Row {
    span: Span,
    events: i64,
    initial: bool,
    args: BTreeSet<RawText>,
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    comm: RawText,
    cwd: RawText,
    cred_change: bool,
    exec_from: Option<RawText>,
}

impl Rows {
    fn add(&mut self, lineage: &Lineage<'_>, placed: Option<&Placed>, seen: &Seen, times: &Times) {
        let owner = placed.and_then(|placed| placed.node).filter(|id| lineage.known(*id).is_some());
        self.execs |= seen.executed.is_some();
        if let Some(id) = owner {
            self.process(id, placed, seen, times);
        }
        for (id, did) in &seen.facts {
            let did = Did { fact: did.fact.clone(), ..*did };
            match self.facts.entry((owner, *id)) {
                Entry::Vacant(place) => {
                    place.insert(did);
                }
                Entry::Occupied(place) => place.into_mut().again(did),
            }
        }
    }

    fn process(&mut self, id: NodeId, placed: Option<&Placed>, seen: &Seen, times: &Times) {
        let first = seen.executed.or(seen.started).unwrap_or(times.start).clamp(times.start, times.end);
        let last = seen.span.map_or(first, |span| span.last.max(first));
        let row = self.processes.entry(id).or_insert_with(|| Row {
            span: Span { first, last },
            events: 0,
            initial: true,
            args: BTreeSet::new(),
            uids: BTreeSet::new(),
            gids: BTreeSet::new(),
            comm: RawText::default(),
            cwd: RawText::default(),
            cred_change: false,
            exec_from: None,
        });
        row.span.first = row.span.first.min(first);
        row.span.last = row.span.last.max(last);
        row.events += 1;
        row.initial &= seen.executed.is_none();
        row.cred_change |= seen.cred_change;
        if let Some(program) = &seen.program {
            if row.comm.is_empty() {
                row.comm = program.comm.clone();
                row.cwd = program.cwd.clone();
            }
            row.args.extend(program.args.clone());
            row.uids.extend(program.uid.filter(|_| row.uids.len() < IDS));
            row.gids.extend(seen.gid.filter(|_| row.gids.len() < IDS));
        }
        if row.exec_from.is_none() {
            row.exec_from = placed.and_then(|placed| placed.exec_from.clone());
        }
    }

    /// Tetragon's own events are all there; of what policies tell, it is not known what they leave out. A kind without an event may
    /// not have been watched.
    fn completeness(&self, covers_start: bool, dropped: bool) -> BTreeMap<String, Completeness> {
        let whole = match (dropped, covers_start) {
            (true, _) => Completeness::Lossy,
            (false, true) => Completeness::Complete,
            (false, false) => Completeness::JoinedLate,
        };
        let mut found = BTreeMap::new();
        if self.execs {
            found.insert("process".to_owned(), whole);
        }
        for did in self.facts.values() {
            let state = found.entry(did.fact.kind().as_str().to_owned()).or_insert(whole);
            if did.by_policy {
                *state = Completeness::Lossy;
            }
        }
        found
    }

    /// The nodes, sorted by kind and id.
    fn finish(self, lineage: &Lineage<'_>, times: &Times) -> Vec<Node> {
        let mut nodes = Vec::with_capacity(self.processes.len() + self.facts.len());
        for (id, row) in self.processes {
            let Some(known) = lineage.known(id) else { continue };
            let (owner, root_kind) = match known.parent {
                Parent::Process(parent) => (Some(parent), None),
                Parent::Root(kind) => (None, Some(kind)),
            };
            let span = (row.span, row.events);
            let seen_by = if row.initial { SeenBy::Initial } else { SeenBy::Runtime };
            let fact = Fact::Process(Box::new(row.into_process(root_kind, known)));
            let node = times.node(fact, Some((id, known)), span);
            nodes.push(Node { parent: owner, seen_by, ..node });
        }
        for ((owner, _), Did { fact, span, events, .. }) in self.facts {
            let owner = owner.and_then(|id| Some((id, lineage.known(id)?)));
            nodes.push(times.node(fact, owner, (span, events)));
        }
        nodes.sort_by_cached_key(|node| (node.fact.kind(), node.id()));
        nodes
    }
}

impl Row {
    fn into_process(self, root_kind: Option<wsp_schemas::identity::RootKind>, known: &Known) -> Process {
        Process {
            root_kind,
            exec_from: self.exec_from,
            argv0: known.argv0.clone(),
            args_overflow: i64::try_from(self.args.len().saturating_sub(ARGS)).unwrap_or(i64::MAX),
            args: self.args.into_iter().take(ARGS).collect(),
            comm: self.comm,
            cwd: self.cwd,
            uids: self.uids.into_iter().collect(),
            gids: self.gids.into_iter().collect(),
            cred_change: self.cred_change,
            file_origin: Some("unknown"),
            processes: self.events,
            ..Process::default()
        }
    }
}
