use std::collections::HashMap;

use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, Int32Array, Int64Array, MapArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

use super::meta::SnapshotMeta;
use crate::identity::{self, Kind, NodeId, Parent, RootKind};
use crate::paths;
use crate::text::unescape;

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
    let columns = Columns::new(rows);
    let window_ms = meta.window_end.timestamp_millis() - meta.window_start.timestamp_millis();
    let mut seen: HashMap<NodeId, usize> = HashMap::with_capacity(rows.num_rows());
    for row in 0..rows.num_rows() {
        let check = || -> Result<NodeId, String> {
            let id = columns.id(row);
            let computed = columns.compute_id(row, meta.path_rules)?;
            if id != computed {
                return Err(format!("node id {id} is not the hash of the row, which is {computed}"));
            }
            columns.values(row, window_ms)?;
            Ok(id)
        };
        let id = check().map_err(|reason| RowError { row, reason })?;
        if let Some(first) = seen.insert(id, row) {
            return Err(RowError { row, reason: format!("node id {id} is also in row {first}") });
        }
    }
    for row in 0..rows.num_rows() {
        columns.owner(row, &seen).map_err(|reason| RowError { row, reason })?;
    }
    Ok(())
}

struct Columns<'a> {
    ids: &'a FixedSizeBinaryArray,
    parents: &'a FixedSizeBinaryArray,
    text: HashMap<&'static str, &'a StringArray>,
    shebang: &'a BooleanArray,
    port: &'a Int32Array,
    events: &'a Int64Array,
    first: &'a Int32Array,
    last: &'a Int32Array,
}

const TEXT: [&str; 15] = [
    "kind", "exe", "path", "dns_name", "dns_type", "protocol", "address", "name", "root_kind", "script", "argv0",
    "phase", "origin", "path_source", "file_origin",
];

impl<'a> Columns<'a> {
    /// The batch has the declared schema, so that no lookup or cast can fail.
    fn new(rows: &'a RecordBatch) -> Self {
        let column = |name: &str| &rows[name];
        Self {
            ids: column("node_id").as_fixed_size_binary(),
            parents: column("parent_id").as_fixed_size_binary(),
            text: TEXT.into_iter().map(|name| (name, column(name).as_string::<i32>())).collect(),
            shebang: column("shebang").as_boolean(),
            port: column("port").as_primitive::<Int32Type>(),
            events: column("events").as_primitive::<Int64Type>(),
            first: column("first_seen_ms").as_primitive::<Int32Type>(),
            last: column("last_seen_ms").as_primitive::<Int32Type>(),
        }
    }

    fn id(&self, row: usize) -> NodeId {
        id_of(self.ids.value(row))
    }

    fn parent(&self, row: usize) -> Option<NodeId> {
        self.parents.is_valid(row).then(|| id_of(self.parents.value(row)))
    }

    fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        self.text.get(name).filter(|array| array.is_valid(row)).map(|array| array.value(row))
    }

    fn need(&self, name: &str, row: usize) -> Result<&'a str, String> {
        self.text(name, row).ok_or_else(|| format!("`{name}` is null"))
    }

    fn kind(&self, row: usize) -> Result<Kind, String> {
        let kind = self.need("kind", row)?;
        Kind::parse(kind).ok_or_else(|| format!("`{}` is no kind of node", kind.escape_debug()))
    }

    fn compute_id(&self, row: usize, rules: i32) -> Result<NodeId, String> {
        let bytes = |name: &str| -> Result<Option<Vec<u8>>, String> {
            self.text(name, row).map(unescape).transpose().map_err(|error| format!("`{name}`: {error}"))
        };
        let need = |name: &str| bytes(name)?.ok_or_else(|| format!("`{name}` is null"));
        let path = |name: &str, raw: Vec<u8>| {
            if rules == paths::RULES_VERSION && *paths::normalise(&raw) != raw {
                return Err(format!("`{name}` did not go through the path rules"));
            }
            Ok(raw)
        };
        let owner = self.parent(row);
        Ok(match self.kind(row)? {
            Kind::Process => {
                let root = self.text("root_kind", row);
                let place = match (owner, root) {
                    (Some(parent), None) => Parent::Process(parent),
                    (None, Some(root)) => Parent::Root(RootKind::parse(root).ok_or("`root_kind` has an unknown value")?),
                    (None, None) => return Err("a process with neither parent nor root_kind".to_owned()),
                    (Some(_), Some(_)) => return Err("a process with both parent and root_kind".to_owned()),
                };
                let exe = path("exe", need("exe")?)?;
                let shebang = self.shebang.is_valid(row) && self.shebang.value(row);
                let script = if shebang { Some(path("script", need("script")?)?) } else { None };
                identity::process_id(place, &exe, bytes("argv0")?.as_deref(), script.as_deref())
            }
            Kind::File => identity::file_id(owner, &path("path", need("path")?)?),
            Kind::Dns => identity::dns_id(owner, &need("dns_name")?, self.need("dns_type", row)?),
            kind @ (Kind::Connect | Kind::Listen) => {
                let port = if self.port.is_valid(row) { u16::try_from(self.port.value(row)).ok() } else { None };
                let port = port.ok_or("`port` is null or out of range")?;
                identity::socket_id(kind, owner, self.need("protocol", row)?, &need("address")?, port)
            }
            kind @ (Kind::Syscall | Kind::Capability) => identity::name_id(kind, owner, self.need("name", row)?),
        })
    }

    fn values(&self, row: usize, window_ms: i64) -> Result<(), String> {
        let one_of = |name: &str, values: &[&str]| {
            let value = self.need(name, row)?;
            if values.contains(&value) { Ok(()) } else { Err(format!("`{name}` has an unknown value")) }
        };
        one_of("phase", &["startup", "steady"])?;
        one_of("origin", &["runtime", "initial"])?;
        if self.kind(row)? == Kind::File {
            one_of("path_source", &["kernel", "argument", "truncated"])?;
        }
        let (first, last) = (i64::from(self.first.value(row)), i64::from(self.last.value(row)));
        if !(0 <= first && first <= last && last <= window_ms) {
            return Err(format!("first_seen_ms {first} and last_seen_ms {last} do not lie in the window of {window_ms} ms"));
        }
        if self.events.value(row) < 1 {
            return Err("`events` is below 1".to_owned());
        }
        Ok(())
    }

    fn owner(&self, row: usize, seen: &HashMap<NodeId, usize>) -> Result<(), String> {
        let Some(parent) = self.parent(row) else { return Ok(()) };
        let owner = *seen.get(&parent).ok_or_else(|| format!("parent {parent} is not in the file"))?;
        if self.kind(owner)? != Kind::Process {
            return Err(format!("parent {parent} is not a process"));
        }
        if self.kind(row)? != Kind::Process && self.text("exe", row) != self.text("exe", owner) {
            return Err("`exe` is not that of the owning process".to_owned());
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
    let differs = |name: &str, row: usize| RowError { row, reason: format!("`{name}` differs from the footer") };
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
    let labels: &MapArray = rows["labels"].as_map();
    for row in 0..rows.num_rows() {
        let entries = labels.value(row);
        let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
        let same = entries.len() == meta.container.labels.len()
            && keys.iter().zip(values).all(|(key, value)| {
                key.is_some_and(|key| meta.container.labels.get(key).map(String::as_str) == value && value.is_some())
            });
        if !same {
            return Err(differs("labels", row));
        }
    }
    Ok(())
}
