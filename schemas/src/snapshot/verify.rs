use std::borrow::Cow;
use std::collections::HashMap;

use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, Int32Array, Int64Array, MapArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

use super::meta::SnapshotMeta;
use crate::identity::{self, Kind, NodeId, Parent, RootKind};
use crate::paths;
use crate::text::unescape_cow;

/// A row that is not what it claims to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("row {row}: {reason}")]
pub struct RowError {
    /// From 0.
    pub row: usize,
    /// What is wrong.
    pub reason: String,
}

/// Checks all rows; `rows` has the declared schema.
pub(super) fn rows(meta: &SnapshotMeta, rows: &RecordBatch) -> Result<(), RowError> {
    constants(meta, rows)?;
    let columns = Columns::new(rows, meta.path_rules);
    let window_ms = meta.window_end.timestamp_millis() - meta.window_start.timestamp_millis();
    let mut seen: HashMap<NodeId, usize> = HashMap::with_capacity(rows.num_rows());
    let mut kinds = Vec::with_capacity(rows.num_rows());
    for row in 0..rows.num_rows() {
        let check = || -> Result<(NodeId, Kind), String> {
            let (id, kind) = (columns.id(row), columns.kind(row)?);
            let computed = columns.compute_id(row, kind)?;
            if id != computed {
                return Err(format!("node id {id} is not the hash of the row, which is {computed}"));
            }
            columns.values(row, kind, window_ms)?;
            Ok((id, kind))
        };
        let (id, kind) = check().map_err(|reason| RowError { row, reason })?;
        if let Some(first) = seen.insert(id, row) {
            return Err(RowError { row, reason: format!("node id {id} is also in row {first}") });
        }
        kinds.push(kind);
    }
    let mut depths = vec![0; rows.num_rows()];
    for row in 0..rows.num_rows() {
        columns.owner(row, &kinds, &seen).map_err(|reason| RowError { row, reason })?;
        columns.depth(row, &seen, &mut depths).map_err(|reason| RowError { row, reason })?;
    }
    Ok(())
}

/// The columns that checks read. A text column keeps its name for messages.
struct Columns<'a> {
    ids: &'a FixedSizeBinaryArray,
    parents: &'a FixedSizeBinaryArray,
    kind: Text<'a>,
    exe: Text<'a>,
    path: Text<'a>,
    path_source: Text<'a>,
    dns_name: Text<'a>,
    dns_type: Text<'a>,
    protocol: Text<'a>,
    address: Text<'a>,
    name: Text<'a>,
    root_kind: Text<'a>,
    script: Text<'a>,
    argv0: Text<'a>,
    phase: Text<'a>,
    origin: Text<'a>,
    shebang: &'a BooleanArray,
    port: &'a Int32Array,
    events: &'a Int64Array,
    first: &'a Int32Array,
    last: &'a Int32Array,
    /// Paths went through the rules of this version, so that going through them again must change nothing.
    current_rules: bool,
}

#[derive(Clone, Copy)]
struct Text<'a> {
    name: &'static str,
    values: &'a StringArray,
}

impl<'a> Text<'a> {
    fn get(self, row: usize) -> Option<&'a str> {
        self.values.is_valid(row).then(|| self.values.value(row))
    }

    fn need(self, row: usize) -> Result<&'a str, String> {
        self.get(row).ok_or_else(|| format!("`{}` is null", self.name))
    }

    fn bytes(self, row: usize) -> Result<Option<Cow<'a, [u8]>>, String> {
        self.get(row).map(unescape_cow).transpose().map_err(|error| format!("`{}`: {error}", self.name))
    }

    fn need_bytes(self, row: usize) -> Result<Cow<'a, [u8]>, String> {
        self.bytes(row)?.ok_or_else(|| format!("`{}` is null", self.name))
    }

    fn one_of(self, row: usize, values: &[&str]) -> Result<(), String> {
        let value = self.need(row)?;
        if values.contains(&value) { Ok(()) } else { Err(format!("`{}` has an unknown value", self.name)) }
    }
}

impl<'a> Columns<'a> {
    /// The batch has the declared schema, so that no lookup or cast can fail.
    fn new(rows: &'a RecordBatch, path_rules: i32) -> Self {
        let column = |name: &str| &rows[name];
        let text = |name| Text { name, values: column(name).as_string::<i32>() };
        Self {
            ids: column("node_id").as_fixed_size_binary(),
            parents: column("parent_id").as_fixed_size_binary(),
            kind: text("kind"),
            exe: text("exe"),
            path: text("path"),
            path_source: text("path_source"),
            dns_name: text("dns_name"),
            dns_type: text("dns_type"),
            protocol: text("protocol"),
            address: text("address"),
            name: text("name"),
            root_kind: text("root_kind"),
            script: text("script"),
            argv0: text("argv0"),
            phase: text("phase"),
            origin: text("origin"),
            shebang: column("shebang").as_boolean(),
            port: column("port").as_primitive::<Int32Type>(),
            events: column("events").as_primitive::<Int64Type>(),
            first: column("first_seen_ms").as_primitive::<Int32Type>(),
            last: column("last_seen_ms").as_primitive::<Int32Type>(),
            current_rules: path_rules == paths::RULES_VERSION,
        }
    }

    fn id(&self, row: usize) -> NodeId {
        id_of(self.ids.value(row))
    }

    fn parent(&self, row: usize) -> Option<NodeId> {
        self.parents.is_valid(row).then(|| id_of(self.parents.value(row)))
    }

    fn kind(&self, row: usize) -> Result<Kind, String> {
        let kind = self.kind.need(row)?;
        Kind::parse(kind).ok_or_else(|| format!("`{}` is no kind of node", kind.escape_debug()))
    }

    /// The bytes of a path, which went through the path rules.
    fn normal_path(&self, text: Text<'a>, row: usize) -> Result<Cow<'a, [u8]>, String> {
        let raw = text.need_bytes(row)?;
        if self.current_rules && *paths::normalise(&raw) != *raw {
            return Err(format!("`{}` did not go through the path rules", text.name));
        }
        Ok(raw)
    }

    fn compute_id(&self, row: usize, kind: Kind) -> Result<NodeId, String> {
        let owner = self.parent(row);
        Ok(match kind {
            Kind::Process => {
                let place = match (owner, self.root_kind.get(row)) {
                    (Some(parent), None) => Parent::Process(parent),
                    (None, Some(root)) => {
                        Parent::Root(RootKind::parse(root).ok_or("`root_kind` has an unknown value")?)
                    }
                    (None, None) => return Err("a process with neither parent nor root_kind".to_owned()),
                    (Some(_), Some(_)) => return Err("a process with both parent and root_kind".to_owned()),
                };
                let exe = self.normal_path(self.exe, row)?;
                let shebang = self.shebang.is_valid(row) && self.shebang.value(row);
                let script = if shebang { Some(self.normal_path(self.script, row)?) } else { None };
                identity::process_id(place, &exe, self.argv0.bytes(row)?.as_deref(), script.as_deref())
            }
            Kind::File => identity::file_id(owner, &self.normal_path(self.path, row)?),
            Kind::Dns => identity::dns_id(owner, &self.dns_name.need_bytes(row)?, self.dns_type.need(row)?),
            Kind::Connect | Kind::Listen => {
                let port =
                    if self.port.is_valid(row) { u16::try_from(self.port.value(row)).ok() } else { None };
                let port = port.ok_or("`port` is null or out of range")?;
                identity::socket_id(
                    kind,
                    owner,
                    self.protocol.need(row)?,
                    &self.address.need_bytes(row)?,
                    port,
                )
            }
            Kind::Syscall | Kind::Capability => identity::name_id(kind, owner, self.name.need(row)?),
        })
    }

    fn values(&self, row: usize, kind: Kind, window_ms: i64) -> Result<(), String> {
        self.phase.one_of(row, &["startup", "steady"])?;
        self.origin.one_of(row, &["runtime", "initial"])?;
        if kind == Kind::File {
            self.path_source.one_of(row, &["kernel", "argument", "truncated"])?;
        }
        let (first, last) = (i64::from(self.first.value(row)), i64::from(self.last.value(row)));
        if !(0 <= first && first <= last && last <= window_ms) {
            return Err(format!(
                "first_seen_ms {first} and last_seen_ms {last} do not lie in the window of {window_ms} ms"
            ));
        }
        if self.events.value(row) < 1 {
            return Err("`events` is below 1".to_owned());
        }
        Ok(())
    }

    fn owner(&self, row: usize, kinds: &[Kind], seen: &HashMap<NodeId, usize>) -> Result<(), String> {
        let Some(parent) = self.parent(row) else { return Ok(()) };
        let owner = *seen.get(&parent).ok_or_else(|| format!("parent {parent} is not in the file"))?;
        if kinds[owner] != Kind::Process {
            return Err(format!("parent {parent} is not a process"));
        }
        if kinds[row] != Kind::Process && self.exe.get(row) != self.exe.get(owner) {
            return Err("`exe` is not that of the owning process".to_owned());
        }
        Ok(())
    }

    /// Refuses a tree deeper than a recorder makes: readers walk it. `depths` remembers what is known, 0 what is not.
    fn depth(&self, row: usize, seen: &HashMap<NodeId, usize>, depths: &mut [u32]) -> Result<(), String> {
        // The node itself, a root, and what hangs at the limit.
        const LEVELS: usize = identity::MAX_DEPTH as usize + 3;
        let mut chain = vec![row];
        let mut known = 0;
        while let Some(parent) = chain.last().and_then(|row| self.parent(*row)).and_then(|id| seen.get(&id)) {
            if depths[*parent] > 0 {
                known = depths[*parent];
                break;
            }
            chain.push(*parent);
            if chain.len() > LEVELS {
                break;
            }
        }
        if chain.len() + known as usize > LEVELS {
            return Err(format!("the process tree is deeper than {} levels", identity::MAX_DEPTH));
        }
        for (row, depth) in chain.into_iter().rev().zip(known + 1..) {
            depths[row] = depth;
        }
        Ok(())
    }
}

fn id_of(bytes: &[u8]) -> NodeId {
    let mut id = [0; 16];
    id.copy_from_slice(bytes);
    NodeId::from_bytes(id)
}

/// The columns that repeat the footer must repeat it in every row.
fn constants(meta: &SnapshotMeta, rows: &RecordBatch) -> Result<(), RowError> {
    let differs =
        |name: &str, row: usize| RowError { row, reason: format!("`{name}` differs from the footer") };
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
    // Keys are sorted, as the footer's are: a row then has the same entries in the same order.
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
