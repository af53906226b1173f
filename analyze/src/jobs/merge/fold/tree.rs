//! Folds a whole tree: processes from the roots down, so that what hangs from a folded process meets its like; then what
//! processes did.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use wsp_schemas::identity::{self, Kind, NodeId, Parent};
use wsp_schemas::text::unescape_cow;

use super::template::Template;
use super::{Folded, Folding, Pattern, Sibling, crowds};
use crate::functions::MemberSet;
use crate::jobs::merge::score::Observers;

/// The columns that folding reads.
struct Rows<'a> {
    ids: Vec<NodeId>,
    /// Rows by their ids.
    position: FastMap<NodeId, usize>,
    parents: Vec<Option<NodeId>>,
    kinds: Vec<Kind>,
    members: Vec<MemberSet>,
    batch: &'a RecordBatch,
    /// The columns that say which rows are siblings.
    names: Names<'a>,
}

struct Names<'a> {
    root_kind: &'a StringArray,
    exe: &'a StringArray,
    argv0: &'a StringArray,
    script: &'a StringArray,
    path: &'a StringArray,
    dns_name: &'a StringArray,
    dns_type: &'a StringArray,
    protocol: &'a StringArray,
    address: &'a StringArray,
    port: &'a Int32Array,
}

impl<'a> Names<'a> {
    fn new(batch: &'a RecordBatch) -> Self {
        let text = |name: &str| -> &'a StringArray { batch[name].as_string() };
        Self {
            root_kind: text("root_kind"),
            exe: text("exe"),
            argv0: text("argv0"),
            script: text("script"),
            path: text("path"),
            dns_name: text("dns_name"),
            dns_type: text("dns_type"),
            protocol: text("protocol"),
            address: text("address"),
            port: batch["port"].as_primitive::<Int32Type>(),
        }
    }
}

fn value(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// Keys are hashes, or come from containers: seeded at random, and fast.
type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

impl<'a> Rows<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let corrupt = |what: &str| ArrowError::InvalidArgumentError(format!("a node row has {what}"));
        let id = |bytes: Option<&[u8]>| -> Result<Option<NodeId>, ArrowError> {
            let id = bytes.map(|bytes| bytes.try_into().map(NodeId::from_bytes)).transpose();
            id.map_err(|_| corrupt("an id that is not 16 bytes"))
        };
        let binary = |name: &str| -> &'a BinaryArray { batch[name].as_binary() };
        let ids = binary("node_id").iter().map(|bytes| id(bytes)?.ok_or_else(|| corrupt("no id")));
        let members = binary("members").iter().map(|set| {
            MemberSet::from_bytes(set.unwrap_or_default()).map_err(|error| corrupt(&error.to_string()))
        });
        let kinds: &StringArray = batch["kind"].as_string();
        let kinds =
            kinds.iter().map(|kind| kind.and_then(Kind::parse).ok_or_else(|| corrupt("an unknown kind")));
        let ids = ids.collect::<Result<Vec<NodeId>, ArrowError>>()?;
        Ok(Self {
            position: ids.iter().copied().zip(0..).collect(),
            ids,
            parents: binary("parent_id").iter().map(id).collect::<Result<_, _>>()?,
            kinds: kinds.collect::<Result<_, _>>()?,
            members: members.collect::<Result<_, _>>()?,
            batch,
            names: Names::new(batch),
        })
    }

    fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        value(self.batch[name].as_string(), row)
    }

    fn bytes(&self, name: &str, row: usize) -> Option<Vec<u8>> {
        let text = self.text(name, row)?;
        Some(unescape_cow(text).map_or_else(|_| text.as_bytes().to_vec(), Cow::into_owned))
    }

    fn port(&self, row: usize) -> u16 {
        let ports = self.names.port;
        if ports.is_valid(row) { u16::try_from(ports.value(row)).unwrap_or_default() } else { 0 }
    }

    /// The id that a row would have below another process.
    fn id_below(&self, row: usize, parent: NodeId) -> NodeId {
        let bytes = |name: &str| self.bytes(name, row).unwrap_or_default();
        match self.kinds[row] {
            Kind::Process => {
                let shebang = self.batch["shebang"].as_boolean();
                let shebang = shebang.is_valid(row) && shebang.value(row);
                let script = self.bytes("script", row).filter(|_| shebang);
                let argv0 = self.bytes("argv0", row);
                identity::process_id(
                    Parent::Process(parent),
                    &bytes("exe"),
                    argv0.as_deref(),
                    script.as_deref(),
                )
            }
            Kind::File => identity::file_id(Some(parent), &bytes("path")),
            Kind::Dns => {
                let rtype = self.text("dns_type", row).unwrap_or_default();
                identity::dns_id(Some(parent), &bytes("dns_name"), rtype)
            }
            kind @ (Kind::Connect | Kind::Listen) => {
                let protocol = self.text("protocol", row).unwrap_or_default();
                identity::socket_id(kind, Some(parent), protocol, &bytes("address"), self.port(row))
            }
            kind @ (Kind::Syscall | Kind::Capability) => {
                identity::name_id(kind, Some(parent), self.text("name", row).unwrap_or_default())
            }
        }
    }

    /// Where a row's siblings are, and its name among them; none for what is never folded.
    fn sibling(&self, row: usize) -> Option<(Cow<'a, str>, &'a str)> {
        let names = &self.names;
        match self.kinds[row] {
            Kind::Process => {
                let (argv0, script) = (value(names.argv0, row), value(names.script, row));
                let place = format!("{}\0{}", argv0.unwrap_or_default(), script.unwrap_or_default());
                Some((place.into(), value(names.exe, row)?))
            }
            Kind::File => {
                let (folder, name) = value(names.path, row)?.rsplit_once('/')?;
                Some((folder.into(), name))
            }
            Kind::Dns => {
                let (name, below) = below_three_labels(value(names.dns_name, row)?)?;
                let rtype = value(names.dns_type, row).unwrap_or_default();
                Some((format!("{below}\0{rtype}").into(), name))
            }
            Kind::Connect => {
                let protocol = value(names.protocol, row).filter(|protocol| *protocol != "unix")?;
                Some((format!("{protocol}\0{}", self.port(row)).into(), value(names.address, row)?))
            }
            Kind::Listen | Kind::Syscall | Kind::Capability => None,
        }
    }
}

/// `a.b.example.com` is `a.` below `b.example.com`; a name of three labels is below nothing.
fn below_three_labels(name: &str) -> Option<(&str, &str)> {
    let dot = name.rmatch_indices('.').nth(2)?.0;
    Some((&name[..dot], &name[dot + 1..]))
}

/// A row after folding, so far: rows with one id stand for one thing.
struct Seen {
    members: MemberSet,
    is_rare: bool,
    first: u32,
    row: usize,
}

/// What a pattern is.
enum Shape {
    /// Siblings whose names are alike; one of them, and the template.
    Crowd(usize, Template),
    /// The same thing below several folded processes; one of them.
    Same(usize),
}

pub(super) fn fold(
    batch: &RecordBatch,
    observers: &Observers,
    folding: &Folding,
) -> Result<Folded, ArrowError> {
    let rows = Rows::new(batch)?;
    let count = rows.ids.len();
    // The id under which each row is shown: its own where it is not folded.
    let mut shown = rows.ids.clone();
    let mut shapes: BTreeMap<NodeId, Shape> = BTreeMap::new();
    let mut owners: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    if let Some(least) = folding.siblings {
        for level in levels(&rows) {
            fold_level(&rows, &level, observers, least, &mut shown, &mut shapes, &mut owners);
        }
        let facts: Vec<usize> = (0..count).filter(|row| rows.kinds[*row] != Kind::Process).collect();
        fold_level(&rows, &facts, observers, least, &mut shown, &mut shapes, &mut owners);
    }
    finish(&rows, &shown, &shapes, &owners)
}

/// Processes by their depth.
fn levels(rows: &Rows<'_>) -> Vec<Vec<usize>> {
    let mut depths: Vec<Option<usize>> = vec![None; rows.ids.len()];
    let mut levels: Vec<Vec<usize>> = Vec::new();
    for row in (0..rows.ids.len()).filter(|row| rows.kinds[*row] == Kind::Process) {
        let mut chain = vec![row];
        let mut depth = None;
        while depth.is_none() {
            let Some(at) = chain.last().copied() else { break };
            depth = depths[at];
            if depth.is_some() {
                chain.pop();
                break;
            }
            match rows.parents[at].and_then(|parent| rows.position.get(&parent)) {
                // Ids are hashes over their parents': there are no circles; a bound costs nothing.
                Some(parent) if chain.len() <= rows.ids.len() => chain.push(*parent),
                _ => break,
            }
        }
        let start = depth.map_or(0, |depth| depth + 1);
        for (depth, row) in (start..).zip(chain.into_iter().rev()) {
            depths[row] = Some(depth);
            if levels.len() <= depth {
                levels.resize_with(depth + 1, Vec::new);
            }
            levels[depth].push(row);
        }
    }
    levels.iter_mut().for_each(|level| level.sort_unstable());
    levels
}

/// Folds rows whose parents are settled.
fn fold_level(
    rows: &Rows<'_>,
    level: &[usize],
    observers: &Observers,
    least: usize,
    shown: &mut [NodeId],
    shapes: &mut BTreeMap<NodeId, Shape>,
    owners: &mut BTreeMap<NodeId, NodeId>,
) {
    let mut places: FastMap<_, Vec<usize>> = FastMap::default();
    for row in level {
        // First, rows move below the pattern that their parent is folded into.
        let parent = rows.parents[*row];
        let now = parent.and_then(|parent| rows.position.get(&parent)).map(|at| shown[*at]).or(parent);
        if let (Some(now), true) = (now, now != parent) {
            shown[*row] = rows.id_below(*row, now);
            shapes.entry(shown[*row]).or_insert(Shape::Same(*row));
            owners.insert(shown[*row], now);
        }
        if let Some((place, _)) = rows.sibling(*row) {
            // Roots of different kinds are no siblings.
            let root = value(rows.names.root_kind, *row).unwrap_or_default();
            places.entry((rows.kinds[*row], now, root, place)).or_default().push(*row);
        }
    }
    let mut moved: FastMap<NodeId, NodeId> = FastMap::default();
    // Most places have too few for a crowd.
    for ((kind, parent, root, place), siblings) in places.into_iter().filter(|(_, rows)| rows.len() > least) {
        let seen = seen(rows, &siblings, shown, observers);
        let named: Vec<Sibling<'_>> = seen
            .iter()
            .map(|(_, Seen { row, is_rare, first, .. })| {
                let name = rows.sibling(*row).map_or("", |(_, name)| name);
                Sibling { name, is_rare: *is_rare, first: *first }
            })
            .collect();
        for (template, members) in crowds(&named, observers.half_of_snapshots(), least) {
            let id = identity::pattern_id(kind, parent, &format!("{root}\0{place}"), &template.signature());
            moved.extend(members.iter().map(|member| (seen[*member].0, id)));
            if let Some(first) = members.first() {
                shapes.insert(id, Shape::Crowd(seen[*first].1.row, template));
            }
            if let Some(parent) = parent {
                owners.insert(id, parent);
            }
        }
    }
    for row in level {
        if let Some(id) = moved.get(&shown[*row]) {
            shown[*row] = *id;
        }
    }
}

/// Siblings as they are shown, by their ids.
fn seen(
    rows: &Rows<'_>,
    siblings: &[usize],
    shown: &[NodeId],
    observers: &Observers,
) -> Vec<(NodeId, Seen)> {
    let mut seen: BTreeMap<NodeId, Seen> = BTreeMap::new();
    for row in siblings {
        let entry = seen.entry(shown[*row]).or_insert_with(|| Seen {
            members: MemberSet::default(),
            is_rare: false,
            first: u32::MAX,
            row: *row,
        });
        // Sets of the ledger's ordinals are well formed.
        let _ = entry.members.union(rows.members[*row].as_bytes());
    }
    for entry in seen.values_mut() {
        entry.is_rare = observers.is_rare(&entry.members);
        entry.first = entry.members.iter().next().unwrap_or(u32::MAX);
    }
    seen.into_iter().collect()
}

fn finish(
    rows: &Rows<'_>,
    shown: &[NodeId],
    shapes: &BTreeMap<NodeId, Shape>,
    owners: &BTreeMap<NodeId, NodeId>,
) -> Result<Folded, ArrowError> {
    let is_folded = |row: usize| shown[row] != rows.ids[row];
    let into = |row: usize| is_folded(row).then(|| shown[row].as_bytes().to_vec());
    let collapsed_into: BinaryArray = (0..shown.len()).map(into).collect();

    let startup: &StringArray = rows.batch["phase"].as_string();
    let lineage: &BooleanArray = rows.batch["lineage_complete"].as_boolean();
    let events = rows.batch["events"].as_primitive::<Int64Type>();
    let first_seen = rows.batch["first_seen"].as_primitive::<TimestampMicrosecondType>();
    let last_seen = rows.batch["last_seen"].as_primitive::<TimestampMicrosecondType>();
    let snapshots: &StringArray = rows.batch["first_snapshot_id"].as_string();
    let mut patterns: BTreeMap<NodeId, Pattern> = BTreeMap::new();
    for row in (0..shown.len()).filter(|row| is_folded(*row)) {
        let pattern = patterns.entry(shown[row]).or_insert_with(|| Pattern {
            id: shown[row],
            kind: rows.kinds[row],
            signature: String::new(),
            nodes: 0,
            members: MemberSet::default(),
            startup: true,
            lineage_complete: false,
            events: 0,
            first_seen: i64::MAX,
            last_seen: i64::MIN,
            first_snapshot_id: String::new(),
        });
        pattern.nodes += 1;
        pattern
            .members
            .union(rows.members[row].as_bytes())
            .map_err(|error| ArrowError::InvalidArgumentError(error.to_string()))?;
        pattern.startup &= startup.value(row) == "startup";
        pattern.lineage_complete |= lineage.value(row);
        pattern.events = pattern.events.saturating_add(events.value(row));
        pattern.last_seen = pattern.last_seen.max(last_seen.value(row));
        let first = (first_seen.value(row), snapshots.value(row));
        if first < (pattern.first_seen, pattern.first_snapshot_id.as_str()) {
            (pattern.first_seen, pattern.first_snapshot_id) = (first.0, first.1.to_owned());
        }
    }
    let mut columns = Columns::default();
    for (id, pattern) in &mut patterns {
        let Some(shape) = shapes.get(id) else { continue };
        pattern.signature = columns.push(rows, shape, owners.get(id).copied());
    }
    Ok(Folded { collapsed_into, patterns: patterns.into_values().collect(), attributes: columns.finish() })
}

/// The attributes that a crowd has by what it is.
#[derive(Default)]
struct Columns {
    texts: BTreeMap<&'static str, Vec<Option<String>>>,
    parents: Vec<Option<Vec<u8>>>,
    ports: Vec<Option<i32>>,
    shebangs: Vec<Option<bool>>,
}

impl Columns {
    const TEXTS: [&str; 11] = [
        "kind",
        "exe",
        "path",
        "dns_name",
        "dns_type",
        "protocol",
        "address",
        "name",
        "root_kind",
        "argv0",
        "script",
    ];

    /// Adds the attributes of a pattern, and gives its signature.
    fn push(&mut self, rows: &Rows<'_>, shape: &Shape, owner: Option<NodeId>) -> String {
        let (row, template) = match shape {
            Shape::Crowd(row, template) => (*row, Some(template)),
            Shape::Same(row) => (*row, None),
        };
        let kind = rows.kinds[row];
        let varying = match kind {
            Kind::Process => "exe",
            Kind::File => "path",
            Kind::Dns => "dns_name",
            Kind::Connect | Kind::Listen => "address",
            Kind::Syscall | Kind::Capability => "name",
        };
        let value = rows.text(varying, row).unwrap_or_default();
        let shown = template.map(|template| match kind {
            Kind::File => {
                let folder = value.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{}", template.shown())
            }
            Kind::Dns => {
                let below = below_three_labels(value).map_or("", |(_, below)| below);
                format!("{}.{below}", template.shown())
            }
            _ => template.shown(),
        });
        for name in Self::TEXTS {
            let text = match &shown {
                Some(shown) if name == varying => Some(shown.clone()),
                _ => rows.text(name, row).map(str::to_owned),
            };
            self.texts.entry(name).or_default().push(text);
        }
        self.parents.push(owner.map(|owner| owner.as_bytes().to_vec()));
        let is_socket = matches!(kind, Kind::Connect | Kind::Listen);
        self.ports.push(is_socket.then(|| i32::from(rows.port(row))));
        let shebang = rows.batch["shebang"].as_boolean();
        self.shebangs.push(shebang.is_valid(row).then(|| shebang.value(row)));
        template.map_or_else(|| regex_escaped(value), Template::signature)
    }

    fn finish(self) -> Vec<(&'static str, ArrayRef)> {
        let mut columns: Vec<(&'static str, ArrayRef)> = self
            .texts
            .into_iter()
            .map(|(name, texts)| (name, Arc::new(texts.into_iter().collect::<StringArray>()) as ArrayRef))
            .collect();
        columns.push(("parent_id", Arc::new(self.parents.into_iter().collect::<BinaryArray>())));
        columns.push(("port", Arc::new(self.ports.into_iter().collect::<Int32Array>())));
        columns.push(("shebang", Arc::new(self.shebangs.into_iter().collect::<BooleanArray>())));
        if columns.iter().all(|(_, column)| column.is_empty()) {
            columns.clear();
        }
        columns
    }
}

fn regex_escaped(text: &str) -> String {
    text.chars().flat_map(|c| c.is_ascii_punctuation().then_some('\\').into_iter().chain([c])).collect()
}
