use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow::array::{
    Array, AsArray, BooleanArray, MapArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::TimestampMicrosecondType;

use super::columns::{Column, Columns, Values, place};
use super::meta::SnapshotMeta;
use crate::identity::{self, Input, Kind, NodeId, Parent, RootKind};
use crate::paths;

/// A row that is not what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row}: {reason}")]
pub struct RowError {
    /// From 0.
    pub row: usize,
    /// What is wrong.
    pub reason: String,
}

/// Nodes that were met in earlier files, by number, with what was hashed to give their ids.
#[derive(Debug, Default)]
pub(super) struct Known {
    // Seeded at random: who writes files cannot know which ids would fall together.
    numbers: HashMap<u128, u32, foldhash::fast::RandomState>,
    nodes: Vec<KnownNode>,
    inputs: Vec<u8>,
    input: Input,
    file: u32,
}

#[derive(Debug)]
struct KnownNode {
    id: NodeId,
    /// Where in the inputs; empty where its hash was not checked yet.
    input: std::ops::Range<usize>,
    /// The last file that had it, and the row there.
    file: u32,
    row: usize,
}

/// Inputs are remembered up to this size; nodes beyond it are hashed every time.
const REMEMBERED_BYTES: usize = 32 << 20;

impl Known {
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Memory that it takes, about.
    pub(super) fn memory(&self) -> usize {
        let entry = size_of::<KnownNode>() + size_of::<(u128, u32)>();
        self.nodes.len() * entry + self.inputs.len()
    }

    pub(super) fn node(&self, number: u32) -> Option<NodeId> {
        self.nodes.get(number as usize).map(|node| node.id)
    }

    pub(super) fn number(&mut self, id: NodeId) -> u32 {
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        match self.numbers.entry(u128::from_le_bytes(*id.as_bytes())) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                place.insert(next);
                self.nodes.push(KnownNode { id, input: 0..0, file: 0, row: 0 });
                next
            }
        }
    }

    /// The row of the present file that has an id.
    fn row(&self, id: NodeId) -> Option<usize> {
        let number = *self.numbers.get(&u128::from_le_bytes(*id.as_bytes()))?;
        let node = self.nodes.get(number as usize)?;
        (node.file == self.file).then_some(node.row)
    }

    /// Whether the bytes in [`Known::input`] were checked under this number before.
    fn is_checked(&self, number: u32) -> bool {
        self.nodes.get(number as usize).is_some_and(|node| {
            !node.input.is_empty() && self.inputs[node.input.clone()] == *self.input.bytes()
        })
    }

    /// Checks that a node's id is the hash of [`Known::input`]. `remember`: everything else about those bytes is right, too.
    fn check(&mut self, number: u32, remember: bool) -> Result<(), String> {
        let Some(node) = self.nodes.get_mut(number as usize) else {
            return Err("more nodes than can be numbered".to_owned());
        };
        let computed = self.input.hash();
        if computed != node.id {
            return Err(format!("node id {} is not the hash of the row, which is {computed}", node.id));
        }
        let end = self.inputs.len() + self.input.bytes().len();
        if remember && end <= REMEMBERED_BYTES {
            node.input = self.inputs.len()..end;
            self.inputs.extend_from_slice(self.input.bytes());
        }
        Ok(())
    }

    /// Checks that a node is new in the present file.
    fn place(&mut self, number: u32, row: usize) -> Result<(), String> {
        match self.nodes.get_mut(number as usize) {
            Some(node) if node.file == self.file => {
                Err(format!("node id {} is also in row {}", node.id, node.row))
            }
            Some(node) => {
                (node.file, node.row) = (self.file, row);
                Ok(())
            }
            None => Err("more nodes than can be numbered".to_owned()),
        }
    }
}

/// What the checks found out about rows.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Numbers of the rows' nodes.
    pub(super) numbers: Vec<u32>,
    /// Rows of their parents or owners.
    pub(super) owners: Vec<Option<usize>>,
    /// Kinds of the nodes.
    pub(super) kinds: Vec<Kind>,
}

/// Checks all rows.
pub(super) fn rows(meta: &SnapshotMeta, columns: &Columns, known: &mut Known) -> Result<Checked, RowError> {
    let mut rows = Rows::new(columns, meta.path_rules);
    let window_ms = meta.window_end.timestamp_millis() - meta.window_start.timestamp_millis();
    let mut kinds = Vec::with_capacity(columns.rows);
    let mut numbers = Vec::with_capacity(columns.rows);
    known.file += 1;
    for row in 0..columns.rows {
        let mut check = || -> Result<(u32, Kind), String> {
            let kind = rows.kind(row)?;
            rows.identity(row, kind, &mut known.input)?;
            let id = rows.columns.columns[NODE_ID].id(row).ok_or("`node_id` is null")?;
            let number = known.number(NodeId::from_bytes(id));
            if !known.is_checked(number) {
                rows.paths(row, kind)?;
                known.check(number, rows.path_rules == paths::RULES_VERSION)?;
            }
            known.place(number, row)?;
            rows.values(row, kind, window_ms)?;
            Ok((number, kind))
        };
        let (number, kind) = check().map_err(|reason| RowError { row, reason })?;
        numbers.push(number);
        kinds.push(kind);
    }
    let owners = rows.owners(known)?;
    let mut depths = vec![0; columns.rows];
    for row in 0..columns.rows {
        rows.owner(row, &kinds, &owners).map_err(|reason| RowError { row, reason })?;
        depth(row, &owners, &mut depths).map_err(|reason| RowError { row, reason })?;
    }
    Ok(Checked { numbers, owners, kinds })
}

const NODE_ID: usize = place("node_id");
const PARENT_ID: usize = place("parent_id");
const SHEBANG: usize = place("shebang");
const PORT: usize = place("port");
const EVENTS: usize = place("events");
const FIRST: usize = place("first_seen_ms");
const LAST: usize = place("last_seen_ms");
const KIND: Text = Text { name: "kind", at: place("kind") };
const EXE: Text = Text { name: "exe", at: place("exe") };
const PATH: Text = Text { name: "path", at: place("path") };
const PATH_SOURCE: Text = Text { name: "path_source", at: place("path_source") };
const DNS_NAME: Text = Text { name: "dns_name", at: place("dns_name") };
const DNS_TYPE: Text = Text { name: "dns_type", at: place("dns_type") };
const PROTOCOL: Text = Text { name: "protocol", at: place("protocol") };
const ADDRESS: Text = Text { name: "address", at: place("address") };
const NAME: Text = Text { name: "name", at: place("name") };
const ROOT_KIND: Text = Text { name: "root_kind", at: place("root_kind") };
const SCRIPT: Text = Text { name: "script", at: place("script") };
const ARGV0: Text = Text { name: "argv0", at: place("argv0") };
const PHASE: Text = Text { name: "phase", at: place("phase") };
const ORIGIN: Text = Text { name: "origin", at: place("origin") };

/// A text column that checks read; it keeps its name for messages.
#[derive(Clone, Copy)]
struct Text {
    name: &'static str,
    at: usize,
}

impl Text {
    fn get(self, columns: &Columns, row: usize) -> Option<&str> {
        columns.columns[self.at].text(row)
    }

    fn need(self, columns: &Columns, row: usize) -> Result<&str, String> {
        self.get(columns, row).ok_or_else(|| format!("`{}` is null", self.name))
    }

    fn bytes(self, columns: &Columns, row: usize) -> Result<Option<Cow<'_, [u8]>>, String> {
        let text = columns.columns[self.at].bytes(row).transpose();
        text.map_err(|error| format!("`{}`: {error}", self.name))
    }

    fn need_bytes(self, columns: &Columns, row: usize) -> Result<Cow<'_, [u8]>, String> {
        self.bytes(columns, row)?.ok_or_else(|| format!("`{}` is null", self.name))
    }
}

/// What was found out about the values of a column; most stand in many rows.
struct Judged<T> {
    text: Text,
    values: Vec<Option<T>>,
}

impl<T: Copy> Judged<T> {
    fn new(text: Text, columns: &Columns) -> Self {
        let values = match &columns.columns[text.at].values {
            Values::Text(texts) => texts.len(),
            _ => 0,
        };
        Self { text, values: vec![None; values] }
    }

    fn get(
        &mut self,
        columns: &Columns,
        row: usize,
        judge: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, String> {
        let text = self.text.need(columns, row)?;
        let place = columns.columns[self.text.at].key(row).and_then(|key| self.values.get_mut(key));
        match place {
            Some(Some(known)) => Ok(*known),
            Some(place) => Ok(*place.insert(judge(text)?)),
            None => judge(text),
        }
    }

    fn one_of(&mut self, columns: &Columns, row: usize, values: &[&str]) -> Result<(), String>
    where
        T: Default,
    {
        let name = self.text.name;
        let judge = |text: &str| {
            if values.contains(&text) {
                Ok(T::default())
            } else {
                Err(format!("`{name}` has an unknown value"))
            }
        };
        self.get(columns, row, judge).map(drop)
    }
}

struct Rows<'a> {
    columns: &'a Columns,
    kinds: Judged<Kind>,
    phases: Judged<()>,
    origins: Judged<()>,
    path_sources: Judged<()>,
    exes: Judged<()>,
    /// Paths went through the rules of this version, so that going through them again must change nothing.
    path_rules: i32,
}

impl<'a> Rows<'a> {
    fn new(columns: &'a Columns, path_rules: i32) -> Self {
        Self {
            columns,
            kinds: Judged::new(KIND, columns),
            phases: Judged::new(PHASE, columns),
            origins: Judged::new(ORIGIN, columns),
            path_sources: Judged::new(PATH_SOURCE, columns),
            exes: Judged::new(EXE, columns),
            path_rules,
        }
    }

    fn column(&self, at: usize) -> &'a Column {
        &self.columns.columns[at]
    }

    fn parent(&self, row: usize) -> Option<NodeId> {
        self.column(PARENT_ID).id(row).map(NodeId::from_bytes)
    }

    fn kind(&mut self, row: usize) -> Result<Kind, String> {
        self.kinds.get(self.columns, row, |kind| {
            Kind::parse(kind).ok_or_else(|| format!("`{}` is no kind of node", kind.escape_debug()))
        })
    }

    /// The paths of a row's identity went through the path rules.
    fn paths(&mut self, row: usize, kind: Kind) -> Result<(), String> {
        let (columns, version) = (self.columns, self.path_rules);
        let check = |text: Text| normal(version, text.name, &text.need_bytes(columns, row)?);
        match kind {
            Kind::Process => {
                self.exes.get(columns, row, |_| check(EXE))?;
                if self.column(SHEBANG).bool(row) == Some(true) { check(SCRIPT) } else { Ok(()) }
            }
            Kind::File => check(PATH),
            Kind::Connect | Kind::Listen if is_unix_path(columns, row) => check(ADDRESS),
            _ => Ok(()),
        }
    }

    /// Puts what is hashed of a row into the buffer.
    fn identity(&self, row: usize, kind: Kind, input: &mut Input) -> Result<(), String> {
        let (owner, columns) = (self.parent(row), self.columns);
        match kind {
            Kind::Process => {
                let place = match (owner, ROOT_KIND.get(columns, row)) {
                    (Some(parent), None) => Parent::Process(parent),
                    (None, Some(root)) => {
                        Parent::Root(RootKind::parse(root).ok_or("`root_kind` has an unknown value")?)
                    }
                    (None, None) => return Err("a process with neither parent nor root_kind".to_owned()),
                    (Some(_), Some(_)) => return Err("a process with both parent and root_kind".to_owned()),
                };
                let exe = EXE.need_bytes(columns, row)?;
                let shebang = self.column(SHEBANG).bool(row) == Some(true);
                let script = if shebang { Some(SCRIPT.need_bytes(columns, row)?) } else { None };
                input.process(place, &exe, ARGV0.bytes(columns, row)?.as_deref(), script.as_deref());
            }
            Kind::File => {
                input.file(owner, &PATH.need_bytes(columns, row)?);
            }
            Kind::Dns => {
                input.dns(owner, &DNS_NAME.need_bytes(columns, row)?, DNS_TYPE.need(columns, row)?);
            }
            Kind::Connect | Kind::Listen => {
                let port = self.column(PORT).int32(row).and_then(|port| u16::try_from(port).ok());
                let port = port.ok_or("`port` is null or out of range")?;
                let protocol = PROTOCOL.need(columns, row)?;
                input.socket(kind, owner, protocol, &ADDRESS.need_bytes(columns, row)?, port);
            }
            Kind::Syscall | Kind::Capability => {
                input.name(kind, owner, NAME.need(columns, row)?);
            }
        }
        Ok(())
    }

    fn values(&mut self, row: usize, kind: Kind, window_ms: i64) -> Result<(), String> {
        self.phases.one_of(self.columns, row, &["startup", "steady"])?;
        self.origins.one_of(self.columns, row, &["runtime", "initial"])?;
        if kind == Kind::File {
            self.path_sources.one_of(self.columns, row, &["kernel", "argument", "truncated"])?;
        }
        let time = |at| self.column(at).int32(row).map(i64::from);
        let (Some(first), Some(last)) = (time(FIRST), time(LAST)) else {
            return Err("`first_seen_ms` or `last_seen_ms` is null".to_owned());
        };
        if !(0 <= first && first <= last && last <= window_ms) {
            return Err(format!(
                "first_seen_ms {first} and last_seen_ms {last} do not lie in the window of {window_ms} ms"
            ));
        }
        if self.column(EVENTS).int64(row).is_none_or(|events| events < 1) {
            return Err("`events` is below 1".to_owned());
        }
        Ok(())
    }

    /// Rows of the parents of all rows.
    fn owners(&self, known: &Known) -> Result<Vec<Option<usize>>, RowError> {
        let missing = |parent: NodeId| format!("parent {parent} is not in the file");
        let column = self.column(PARENT_ID);
        let values = match &column.values {
            Values::Id(values) => values.len(),
            _ => 0,
        };
        let mut found: Vec<Option<usize>> = vec![None; values];
        let owner = |row| {
            let (Some(key), Some(parent)) = (column.key(row), self.parent(row)) else { return Ok(None) };
            if let Some(Some(owner)) = found.get(key) {
                return Ok(Some(*owner));
            }
            let owner = known.row(parent).ok_or_else(|| RowError { row, reason: missing(parent) })?;
            if let Some(place) = found.get_mut(key) {
                *place = Some(owner);
            }
            Ok(Some(owner))
        };
        (0..self.columns.rows).map(owner).collect()
    }

    fn owner(&self, row: usize, kinds: &[Kind], owners: &[Option<usize>]) -> Result<(), String> {
        let Some(owner) = owners[row] else { return Ok(()) };
        if kinds[owner] != Kind::Process {
            let parent = self.parent(row).map(|parent| parent.to_string()).unwrap_or_default();
            return Err(format!("parent {parent} is not a process"));
        }
        if kinds[row] != Kind::Process {
            let exes = self.column(EXE.at);
            if exes.key(row) != exes.key(owner) && exes.text(row) != exes.text(owner) {
                return Err("`exe` is not that of the owning process".to_owned());
            }
        }
        Ok(())
    }
}

/// Whether an address is the path of a unix socket: abstract names have an `@` in front.
fn is_unix_path(columns: &Columns, row: usize) -> bool {
    PROTOCOL.get(columns, row) == Some("unix")
        && ADDRESS.get(columns, row).is_some_and(|address| !address.starts_with('@'))
}

fn normal(version: i32, name: &str, path: &[u8]) -> Result<(), String> {
    if *paths::normalise_as(version, path) != *path {
        return Err(format!("`{name}` did not go through the path rules"));
    }
    Ok(())
}

/// Refuses a tree deeper than a recorder makes: readers walk it. `depths` remembers what is known, 0 what is not.
fn depth(row: usize, owners: &[Option<usize>], depths: &mut [u32]) -> Result<(), String> {
    // The node itself, a root, and what hangs at the limit.
    const LEVELS: usize = identity::MAX_DEPTH as usize + 3;
    if let Some(known) = owners[row].map(|owner| depths[owner]).filter(|known| *known > 0) {
        depths[row] = known + 1;
        return if known as usize >= LEVELS { Err(too_deep()) } else { Ok(()) };
    }
    let mut chain = vec![row];
    let mut known = 0;
    while let Some(parent) = chain.last().and_then(|row| owners[*row]) {
        if depths[parent] > 0 {
            known = depths[parent];
            break;
        }
        chain.push(parent);
        if chain.len() > LEVELS {
            break;
        }
    }
    if chain.len() + known as usize > LEVELS {
        return Err(too_deep());
    }
    for (row, depth) in chain.into_iter().rev().zip(known + 1..) {
        depths[row] = depth;
    }
    Ok(())
}

fn too_deep() -> String {
    format!("the process tree is deeper than {} levels", identity::MAX_DEPTH)
}

/// The constant columns must have one value in all rows.
pub(super) fn constants(meta: &SnapshotMeta, rows: &RecordBatch) -> Result<(), RowError> {
    let differs =
        |name: &str, row: usize| RowError { row, reason: format!("`{name}` is not that of the snapshot") };
    let id = meta.id.to_string();
    let workload = meta.image.workload.as_ref();
    let texts: [(&str, Option<&str>); 7] = [
        ("snapshot_id", Some(&id)),
        ("image_name", workload.map(|workload| workload.name())),
        ("image_tag", workload.map(|workload| workload.tag())),
        ("image_digest", meta.image.digest.as_deref()),
        ("container_id", Some(&meta.container.id)),
        ("container_name", meta.container.name.as_deref()),
        ("host", Some(&meta.host)),
    ];
    for (name, expected) in texts {
        let column: &StringArray = rows[name].as_string();
        if let Some(row) = column.iter().position(|value| value != expected) {
            return Err(differs(name, row));
        }
    }
    let times = [
        ("container_started", meta.container.started),
        ("window_start", Some(meta.window_start)),
        ("window_end", Some(meta.window_end)),
    ];
    for (name, expected) in times {
        let expected = expected.map(|time| time.timestamp_micros());
        let column: &TimestampMicrosecondArray = rows[name].as_primitive::<TimestampMicrosecondType>();
        if let Some(row) = column.iter().position(|value| value != expected) {
            return Err(differs(name, row));
        }
    }
    let covers: &BooleanArray = rows["covers_start"].as_boolean();
    if let Some(row) = covers.iter().position(|value| value != Some(meta.covers_start)) {
        return Err(differs("covers_start", row));
    }
    // Keys are sorted, as those of the metadata are: a row then has the same entries in the same order.
    let labels: &MapArray = rows["labels"].as_map();
    let (keys, values) = (labels.keys().as_string::<i32>(), labels.values().as_string::<i32>());
    for (row, ends) in labels.offsets().windows(2).enumerate() {
        let entries = (ends[0]..ends[1])
            .filter_map(|at| usize::try_from(at).ok())
            .map(|at| (keys.value(at), values.is_valid(at).then(|| values.value(at))));
        let expected = meta.container.labels.iter().map(|(key, value)| (key.as_str(), Some(value.as_str())));
        if !entries.eq(expected) {
            return Err(differs("labels", row));
        }
    }
    Ok(())
}
