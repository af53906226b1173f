//! Rows of earlier path rules, brought to the present ones.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, FixedSizeBinaryBuilder, RecordBatch, StringArray,
    StringBuilder,
};
use arrow::datatypes::{DataType, Int32Type};
use arrow::error::ArrowError;

use crate::identity::{self, Kind, MAX_DEPTH, NodeId, Parent, RootKind};
use crate::paths;
use crate::text::{escape, unescape_cow};

/// Columns that went through the path rules; of `address`, the paths of unix sockets.
pub(super) const PATHS: [&str; 6] = ["exe", "path", "exec_from", "script", "cwd", ADDRESS];
const ADDRESS: &str = "address";

/// Brings verified rows to the path rules of [`paths::RULES_VERSION`]: paths, what is hashed of them, and the ids of the
/// nodes, those of parents first. None where nothing changes.
///
/// Takes rows of snapshots and of `profile_nodes`, all those of one tree together; a parent that is not among them keeps
/// its id. Nodes that differed only by what the rules now replace have one id afterwards: they are one node, in several rows.
pub fn renew(rows: &RecordBatch) -> Result<Option<RecordBatch>, ArrowError> {
    let mut columns = rows.columns().to_vec();
    let schema = rows.schema();
    let mut changed = false;
    for name in PATHS {
        let at = schema.index_of(name)?;
        if let Some(array) = renewed_texts(rows, name)? {
            columns[at] = Arc::new(array);
            changed = true;
        }
    }
    if !changed {
        return Ok(None);
    }
    let at = schema.index_of("path_raw")?;
    columns[at] = Arc::new(raw_paths(rows, columns[schema.index_of("path")?].as_string()));
    let renewed = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    let ids = Ids::of(&renewed)?.renewed()?;
    let mut columns = renewed.columns().to_vec();
    for (name, ids) in [("node_id", &ids.own), ("parent_id", &ids.parents)] {
        let at = schema.index_of(name)?;
        columns[at] = id_array(columns[at].data_type(), ids)?;
    }
    RecordBatch::try_new(schema, columns).map(Some)
}

/// The text after the path rules; none where they change nothing.
pub(super) fn renewed(text: &str) -> Option<String> {
    let bytes = unescape_cow(text).ok()?;
    match paths::normalise(&bytes) {
        Cow::Owned(path) if path != *bytes => Some(escape(&path).into_owned()),
        _ => None,
    }
}

fn renewed_texts(rows: &RecordBatch, name: &str) -> Result<Option<StringArray>, ArrowError> {
    let texts = strings(rows, name)?;
    let protocols = strings(rows, "protocol")?;
    let is_path =
        |row: usize| name != ADDRESS || protocols.value(row) == "unix" && !texts.value(row).starts_with('@');
    let renewed: Vec<Option<String>> = (0..rows.num_rows())
        .map(|row| if texts.is_valid(row) && is_path(row) { renewed(texts.value(row)) } else { None })
        .collect();
    if renewed.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut out = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    for (old, new) in texts.iter().zip(renewed) {
        out.append_option(new.as_deref().or(old));
    }
    Ok(Some(out.finish()))
}

/// An example before the rules for each path that has one now.
fn raw_paths(rows: &RecordBatch, new: &StringArray) -> StringArray {
    let (old, raw) = (rows["path"].as_string::<i32>(), rows["path_raw"].as_string::<i32>());
    let texts = raw.iter().zip(old.iter().zip(new));
    texts.map(|(raw, (old, new))| raw.or(if old == new { None } else { old })).collect()
}

type Id = [u8; 16];

/// The ids of all rows, old or new.
struct IdColumns {
    own: Vec<Option<Id>>,
    parents: Vec<Option<Id>>,
}

/// Rows whose ids are being computed.
struct Ids<'a> {
    rows: &'a RecordBatch,
    kinds: Vec<Kind>,
    old: IdColumns,
    /// Rows of processes by their old id.
    processes: HashMap<Id, usize>,
    /// New ids of processes, as far as they are known.
    new: Vec<Option<Id>>,
}

impl<'a> Ids<'a> {
    fn of(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        let kinds = strings(rows, "kind")?
            .iter()
            .map(|kind| kind.and_then(Kind::parse).ok_or_else(|| corrupt("an unknown kind")))
            .collect::<Result<Vec<_>, _>>()?;
        let old = IdColumns { own: ids(&rows["node_id"])?, parents: ids(&rows["parent_id"])? };
        let processes = (0..rows.num_rows()).filter(|row| kinds[*row] == Kind::Process);
        let processes = processes.filter_map(|row| Some((old.own[row]?, row))).collect();
        Ok(Self { rows, kinds, old, processes, new: vec![None; rows.num_rows()] })
    }

    fn renewed(mut self) -> Result<IdColumns, ArrowError> {
        let rows = self.rows.num_rows();
        let mut out = IdColumns { own: Vec::with_capacity(rows), parents: Vec::with_capacity(rows) };
        for row in 0..rows {
            let parent = self.parent(row)?;
            let own = match self.new[row] {
                Some(id) => id,
                None => self.hash(row, parent)?,
            };
            if self.kinds[row] == Kind::Process {
                self.new[row] = Some(own);
            }
            out.own.push(Some(own));
            out.parents.push(parent);
        }
        Ok(out)
    }

    /// The new id of a row's parent. Ancestors are walked from the top, so that each is hashed after its own parent.
    fn parent(&mut self, row: usize) -> Result<Option<Id>, ArrowError> {
        let Some(old) = self.old.parents[row] else { return Ok(None) };
        let mut chain = Vec::new();
        let mut next = Some(old);
        while let Some(row) = next.and_then(|id| self.processes.get(&id).copied()) {
            if self.new[row].is_some() {
                break;
            }
            // What a recorder makes is not deeper, and a cycle has no end.
            if chain.len() > MAX_DEPTH as usize + 3 {
                return Err(corrupt("a process tree that is too deep"));
            }
            chain.push(row);
            next = self.old.parents[row];
        }
        for row in chain.into_iter().rev() {
            let parent = self.old.parents[row].map(|old| self.known(old));
            self.new[row] = Some(self.hash(row, parent)?);
        }
        Ok(Some(self.known(old)))
    }

    /// The new id of a process; a process that is not among the rows keeps its id.
    fn known(&self, old: Id) -> Id {
        self.processes.get(&old).and_then(|row| self.new[*row]).unwrap_or(old)
    }

    fn hash(&self, row: usize, parent: Option<Id>) -> Result<Id, ArrowError> {
        let owner = parent.map(NodeId::from_bytes);
        let bytes = |name: &str| -> Result<Option<Cow<'a, [u8]>>, ArrowError> {
            let texts = strings(self.rows, name)?;
            let text = texts.is_valid(row).then(|| unescape_cow(texts.value(row)));
            text.transpose().map_err(|error| corrupt(&error.to_string()))
        };
        let need = |name: &str| bytes(name)?.ok_or_else(|| corrupt(&format!("no `{name}`")));
        let text = |name: &str| {
            let texts = strings(self.rows, name)?;
            if texts.is_valid(row) { Ok(texts.value(row)) } else { Err(corrupt(&format!("no `{name}`"))) }
        };
        let id = match self.kinds[row] {
            Kind::Process => {
                let place = match owner {
                    Some(parent) => Parent::Process(parent),
                    None => Parent::Root(
                        RootKind::parse(text("root_kind")?)
                            .ok_or_else(|| corrupt("an unknown `root_kind`"))?,
                    ),
                };
                let shebangs: &BooleanArray = self.rows["shebang"].as_boolean();
                let shebang = shebangs.is_valid(row) && shebangs.value(row);
                let script = if shebang { Some(need("script")?) } else { None };
                identity::process_id(place, &need("exe")?, bytes("argv0")?.as_deref(), script.as_deref())
            }
            Kind::File => identity::file_id(owner, &need("path")?),
            Kind::Dns => identity::dns_id(owner, &need("dns_name")?, text("dns_type")?),
            kind @ (Kind::Connect | Kind::Listen) => {
                let ports = self.rows["port"].as_primitive::<Int32Type>();
                let port = u16::try_from(ports.value(row)).map_err(|_| corrupt("a `port` out of range"))?;
                identity::socket_id(kind, owner, text("protocol")?, &need("address")?, port)
            }
            kind @ (Kind::Syscall | Kind::Capability) => identity::name_id(kind, owner, text("name")?),
        };
        Ok(*id.as_bytes())
    }
}

fn strings<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a StringArray, ArrowError> {
    let column = rows.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| ArrowError::SchemaError(format!("there is no text column `{name}`")))
}

fn ids(column: &ArrayRef) -> Result<Vec<Option<Id>>, ArrowError> {
    let id = |bytes: Option<&[u8]>| {
        bytes.map(|bytes| bytes.try_into().map_err(|_| corrupt("an id that is not 16 bytes"))).transpose()
    };
    match column.data_type() {
        DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().iter().map(id).collect(),
        DataType::Binary => column.as_binary::<i32>().iter().map(id).collect(),
        other => Err(ArrowError::SchemaError(format!("ids of the type {other}"))),
    }
}

fn id_array(kind: &DataType, ids: &[Option<Id>]) -> Result<ArrayRef, ArrowError> {
    if let DataType::FixedSizeBinary(size) = kind {
        let mut out = FixedSizeBinaryBuilder::with_capacity(ids.len(), *size);
        for id in ids {
            match id {
                Some(id) => out.append_value(id)?,
                None => out.append_null(),
            }
        }
        return Ok(Arc::new(out.finish()));
    }
    let mut out = BinaryBuilder::with_capacity(ids.len(), ids.len() * 16);
    ids.iter().for_each(|id| out.append_option(id.as_ref()));
    Ok(Arc::new(out.finish()))
}

fn corrupt(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("a node has {what}"))
}
