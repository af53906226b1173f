//! What rules look at: the nodes of snapshots, each with the process that owns it, what is above that, and what the process
//! did in all. The columns are declared as `BEHAVIOUR` in `schemas`.

pub(crate) mod activity;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array, new_null_array};
use arrow::compute::take;
use arrow::error::ArrowError;
use wsp_schemas::snapshot::{NodeColumn, Scan};
use wsp_schemas::tables::BEHAVIOUR;

use crate::node::{Identity, target};
use crate::rows::Builder;
use activity::Activities;

/// Columns of what a process did in all.
const ACTIVITY: [&str; 9] = [
    "children",
    "files_read",
    "files_written",
    "files_deleted",
    "dns_names",
    "dns_longest_label",
    "dns_most_below",
    "peers",
    "peer_ports",
];
/// Others that differ between snapshots of the same behaviour.
const OF_SNAPSHOT: [&str; 9] = [
    "events",
    "processes",
    "image_digest",
    "digest_is_new",
    "container_name",
    "host",
    "labels",
    "covers_start",
    "container_started",
];

/// Columns of the snapshot file that a row takes from the process.
const OF_PROCESS: [&str; 13] = [
    "exec_from",
    "script",
    "argv0",
    "args",
    "comm",
    "cwd",
    "uids",
    "gids",
    "cred_change",
    "tty",
    "stdio",
    "ns_changed",
    "written_in_window",
];

/// The kind of the row that stands for a snapshot as a whole.
pub const CONTAINER: &str = "container";

/// What is known of a snapshot beside its file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context {
    /// The profile is stable and does not have its digest.
    pub digest_is_new: Option<bool>,
}

/// What a stable profile says of a node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// It has it.
    pub in_profile: bool,
    /// Share of the containers that have it.
    pub commonality: Option<f64>,
}

/// Whether a column is what a profile says.
pub(crate) fn is_said(column: &str) -> bool {
    matches!(column, "in_profile" | "commonality")
}

/// On what a column depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DependsOn {
    /// The node, and what is said of it and its process: it is the same wherever that is.
    Node,
    /// What the process did in all, too.
    Activity,
    /// The snapshot.
    Snapshot,
}

impl DependsOn {
    /// Of a column.
    pub(crate) fn of(column: &str) -> Self {
        if OF_SNAPSHOT.contains(&column) {
            Self::Snapshot
        } else if ACTIVITY.contains(&column) {
            Self::Activity
        } else {
            Self::Node
        }
    }
}

/// A snapshot, and what is known of it.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) scan: &'a Scan,
    pub(crate) context: Context,
    /// Empty where nobody asks.
    pub(crate) activity: &'a Activities,
}

/// A row of a snapshot; none for the snapshot as a whole.
pub(crate) type Place = (usize, Option<usize>);

/// Where what a row has in a column comes from: rows repeat what is said of their process and snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The row itself.
    Own(NodeColumn),
    /// Its name among its siblings, whatever its kind calls that.
    Target,
    /// Its process.
    Process(NodeColumn),
    /// What is above that.
    Ancestors,
    /// The snapshot.
    Snapshot,
}

impl Source {
    /// Of a column; none where it is a number or a word.
    pub(crate) fn of(column: &str) -> Option<Self> {
        match column {
            "target" => Some(Self::Target),
            "exe_name" => Some(Self::Process(EXE)),
            "parent_exe" | "ancestors" => Some(Self::Ancestors),
            "image_name" | "image_tag" | "image_digest" | "container_name" | "host" | "labels" => {
                Some(Self::Snapshot)
            }
            // Counts, flags and times.
            _ if OF_SNAPSHOT.contains(&column) => None,
            _ if OF_PROCESS.contains(&column) => NodeColumn::find(column).map(Self::Process),
            _ => NodeColumn::find(column).map(Self::Own),
        }
    }

    /// Whether all rows of a process have the same of it.
    pub(crate) fn is_shared(self) -> bool {
        !matches!(self, Self::Own(_) | Self::Target)
    }

    /// Bytes that it adds to a row, or to that of the snapshot as a whole, about.
    pub(crate) fn size(self, scan: &Scan, row: Option<usize>) -> usize {
        const NAMES: [NodeColumn; 5] = [
            EXE,
            NodeColumn::named("path"),
            NodeColumn::named("dns_name"),
            NodeColumn::named("address"),
            NodeColumn::named("name"),
        ];
        let size = |column, row: Option<usize>| row.map_or(0, |row| scan.size(column, row));
        let process = row.and_then(|row| process_of(scan, row));
        match self {
            Self::Own(column) => size(column, row),
            Self::Target => NAMES.iter().map(|column| size(*column, row)).sum(),
            Self::Process(column) => size(column, process),
            Self::Ancestors => {
                process.map_or(0, |process| above(scan, process).map(|row| scan.size(EXE, row)).sum())
            }
            Self::Snapshot => {
                let meta = &scan.meta;
                let labels = meta.container.labels.iter().map(|(key, value)| key.len() + value.len());
                labels.sum::<usize>() + meta.host.len() + meta.container.name.as_ref().map_or(0, String::len)
            }
        }
    }
}

/// Rows of behaviour.
#[derive(Debug)]
pub struct Behaviour {
    rows: RecordBatch,
}

impl Behaviour {
    /// All rows of a snapshot, with all columns; the snapshot as a whole last. `said` is what the profile says of every node.
    pub fn whole(scan: &Scan, context: &Context, said: Option<Said>) -> Result<Self, ArrowError> {
        let places: Vec<Place> = (0..scan.len()).map(|row| (0, Some(row))).chain([(0, None)]).collect();
        let all = BEHAVIOUR.columns.iter().map(|column| column.name.to_owned()).collect();
        let said = vec![said; scan.len()];
        let activity = activity::of(scan);
        Self::of(&[Shown { scan, context: *context, activity: &activity }], &places, &said, &all)
    }

    /// Some rows of some snapshots, and what a profile says of them as far as that is given. Columns that are not wanted are null,
    /// but for `kind`.
    pub(crate) fn of(
        snapshots: &[Shown<'_>],
        places: &[Place],
        said: &[Option<Said>],
        wanted: &BTreeSet<String>,
    ) -> Result<Self, ArrowError> {
        let view = View::new(snapshots, places, said);
        let mut columns = Builder::new(places.len());
        for column in BEHAVIOUR.columns {
            if column.name == "kind" || wanted.contains(column.name) {
                view.add(column.name, &mut columns)?;
            }
        }
        Ok(Self { rows: columns.finish(&BEHAVIOUR)? })
    }

    /// As a batch with all declared columns.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// The column `target`.
    pub fn target(&self, row: usize) -> Option<&str> {
        let targets = self.rows["target"].as_any().downcast_ref::<StringArray>()?;
        targets.is_valid(row).then(|| targets.value(row))
    }
}

/// The row of the process that owns a row: of a process, itself.
pub(crate) fn process_of(scan: &Scan, row: usize) -> Option<usize> {
    match scan.kind(row) {
        wsp_schemas::identity::Kind::Process => Some(row),
        _ => scan.owner(row),
    }
}

/// The processes above a process, the nearest first.
pub(crate) fn above(scan: &Scan, process: usize) -> impl Iterator<Item = usize> {
    // A tree is not deeper than the scanner lets through.
    std::iter::successors(scan.owner(process), |row| scan.owner(*row))
}

const EXE: NodeColumn = NodeColumn::named("exe");
const ROOT_KIND: NodeColumn = NodeColumn::named("root_kind");
const EVENTS: NodeColumn = NodeColumn::named("events");
const PROCESSES: NodeColumn = NodeColumn::named("processes");

struct View<'a> {
    snapshots: &'a [Shown<'a>],
    places: &'a [Place],
    said: &'a [Option<Said>],
    /// Rows of the processes that own the rows.
    processes: Vec<Option<(usize, usize)>>,
}

impl<'a> View<'a> {
    fn new(snapshots: &'a [Shown<'a>], places: &'a [Place], said: &'a [Option<Said>]) -> Self {
        let process = |(at, row): &Place| Some((*at, process_of(snapshots[*at].scan, (*row)?)?));
        Self { snapshots, places, said, processes: places.iter().map(process).collect() }
    }

    fn scan(&self, at: usize) -> &'a Scan {
        self.snapshots[at].scan
    }

    /// A column of the snapshot file, at some of its rows.
    fn gather(&self, name: &str, rows: &[Option<(usize, usize)>]) -> Result<ArrayRef, ArrowError> {
        let scans: Vec<&Scan> = self.snapshots.iter().map(|shown| shown.scan).collect();
        let known: Vec<(usize, usize)> = rows.iter().flatten().copied().collect();
        let found = Scan::gather(name, &scans, &known)
            .ok_or_else(|| ArrowError::SchemaError(format!("`{name}` is no column of snapshots")))?;
        if known.len() == rows.len() {
            return Ok(found);
        }
        if known.is_empty() {
            return Ok(new_null_array(found.data_type(), rows.len()));
        }
        let mut next = 0;
        let at: UInt64Array = rows
            .iter()
            .map(|row| {
                row.is_some().then(|| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        take(&found, &at, None)
    }

    fn add(&self, name: &'static str, out: &mut Builder) -> Result<(), ArrowError> {
        let own = || -> Vec<_> { self.places.iter().map(|(at, row)| Some((*at, (*row)?))).collect() };
        let process = |get: &dyn Fn(&'a Scan, usize) -> Option<String>| -> Vec<Option<String>> {
            self.processes.iter().map(|place| place.and_then(|(at, row)| get(self.scan(at), row))).collect()
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let root = |scan: &Scan, row: usize| above(scan, row).last().unwrap_or(row);
        match name {
            "kind" => out.text(
                name,
                self.places.iter().map(|(at, row)| {
                    Some(row.map_or(CONTAINER, |row| self.scan(*at).kind(row).as_str()).to_owned())
                }),
            ),
            "target" => out.text(
                name,
                self.places.iter().map(|(at, row)| Some(target(&Identity::of(self.scan(*at), (*row)?)))),
            ),
            "exe_name" => {
                let last = |text: &str| text.rsplit('/').next().unwrap_or(text).to_owned();
                out.text(name, process(&|scan, row| scan.text(EXE, row).map(last)).into_iter());
            }
            "exe_origin" => out.array(name, self.gather("file_origin", &self.processes)?),
            "session" => {
                out.text(
                    name,
                    process(&|scan, row| owned(scan.text(ROOT_KIND, root(scan, row)))).into_iter(),
                );
            }
            "is_root" => out.bool(
                name,
                self.processes.iter().map(|place| place.map(|(at, row)| self.scan(at).owner(row).is_none())),
            ),
            "parent_exe" => {
                out.text(name, process(&|scan, row| owned(scan.text(EXE, scan.owner(row)?))).into_iter());
            }
            "ancestors" => out.array(name, self.ancestors()),
            "events" => {
                out.int64(name, self.places.iter().map(|(at, row)| self.scan(*at).int64(EVENTS, (*row)?)));
            }
            "processes" => out.int64(
                name,
                self.processes
                    .iter()
                    .map(|place| place.and_then(|(at, row)| self.scan(at).int64(PROCESSES, row))),
            ),
            _ if OF_PROCESS.contains(&name) => out.array(name, self.gather(name, &self.processes)?),
            _ if ACTIVITY.contains(&name) => out.int64(
                name,
                self.processes.iter().map(|place| {
                    place.and_then(|(at, row)| self.snapshots[at].activity.get(row)?.count(name))
                }),
            ),
            "in_profile" => {
                out.bool(name, self.said().map(|said| said.map(|said| said.in_profile)));
            }
            "commonality" => out.float(name, self.said().map(|said| said?.commonality)),
            "image_name" | "image_tag" | "image_digest" | "digest_is_new" | "container_name" | "host"
            | "labels" | "covers_start" | "container_started" => self.add_meta(name, out)?,
            _ => out.array(name, self.gather(name, &own())?),
        }
        Ok(())
    }

    fn said(&self) -> impl Iterator<Item = Option<Said>> {
        (0..self.places.len()).map(|row| self.said.get(row).copied().flatten())
    }

    fn add_meta(&self, name: &'static str, out: &mut Builder) -> Result<(), ArrowError> {
        let metas = || self.places.iter().map(|(at, _)| &self.scan(*at).meta);
        match name {
            "image_name" => out.text(
                name,
                metas().map(|meta| meta.image.workload.as_ref().map(|workload| workload.name().to_owned())),
            ),
            "image_tag" => out.text(
                name,
                metas().map(|meta| meta.image.workload.as_ref().map(|workload| workload.tag().to_owned())),
            ),
            "image_digest" => out.text(name, metas().map(|meta| meta.image.digest.clone())),
            "container_name" => out.text(name, metas().map(|meta| meta.container.name.clone())),
            "host" => out.text(name, metas().map(|meta| Some(meta.host.clone()))),
            "labels" => out.text_map(name, metas().map(|meta| Some(meta.container.labels.clone())))?,
            "covers_start" => out.bool(name, metas().map(|meta| Some(meta.covers_start))),
            "container_started" => out.time(name, metas().map(|meta| meta.container.started)),
            _ => out.bool(name, self.places.iter().map(|(at, _)| self.snapshots[*at].context.digest_is_new)),
        }
        Ok(())
    }

    fn ancestors(&self) -> ArrayRef {
        use arrow::array::{ListBuilder, StringBuilder};
        use arrow::datatypes::{DataType, Field};

        let field = Field::new("element", DataType::Utf8, true);
        let mut list = ListBuilder::new(StringBuilder::new()).with_field(field);
        for place in &self.processes {
            let Some((at, row)) = *place else {
                list.append(false);
                continue;
            };
            let scan = self.scan(at);
            let mut rows: Vec<usize> = above(scan, row).collect();
            rows.reverse();
            rows.into_iter().for_each(|row| list.values().append_option(scan.text(EXE, row)));
            list.append(true);
        }
        Arc::new(list.finish())
    }
}

#[cfg(test)]
mod tests;
