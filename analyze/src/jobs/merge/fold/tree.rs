//! Folds a whole tree: processes from the roots down, so that what hangs from a folded process meets its like; then what
//! processes did.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use wsp_schemas::identity::{self, Kind, NodeId};

use super::rows::{FastMap, Rows, value};
use super::template::Template;
use super::{Folded, Folding, Pattern, Sibling, crowds};
use crate::functions::MemberSet;
use crate::jobs::merge::score::Observers;
use crate::node::below_three_labels;

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
        for level in rows.levels() {
            fold_level(&rows, &level, observers, least, &mut shown, &mut shapes, &mut owners);
        }
        let facts: Vec<usize> = (0..count).filter(|row| rows.kinds[*row] != Kind::Process).collect();
        fold_level(&rows, &facts, observers, least, &mut shown, &mut shapes, &mut owners);
    }
    finish(&rows, &shown, &shapes, &owners)
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
fn seen(rows: &Rows<'_>, siblings: &[usize], shown: &[NodeId], observers: &Observers) -> Vec<(NodeId, Seen)> {
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
