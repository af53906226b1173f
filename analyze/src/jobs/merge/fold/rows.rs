//! Node rows as folding looks at them: what hangs from what, and what stands beside it.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::array::{Array, AsArray, BinaryArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use wsp_schemas::identity::{Kind, NodeId};

use crate::functions::MemberSet;
use crate::node::Identity;

/// The columns that folding reads.
pub(in crate::jobs::merge) struct Rows<'a> {
    pub(in crate::jobs::merge) ids: Vec<NodeId>,
    /// Rows by their ids.
    pub(in crate::jobs::merge) position: FastMap<NodeId, usize>,
    pub(in crate::jobs::merge) parents: Vec<Option<NodeId>>,
    pub(in crate::jobs::merge) kinds: Vec<Kind>,
    pub(in crate::jobs::merge) members: Vec<MemberSet>,
    pub(in crate::jobs::merge) batch: &'a RecordBatch,
    /// The columns that say which rows are siblings.
    pub(in crate::jobs::merge) names: Names<'a>,
}

pub(in crate::jobs::merge) struct Names<'a> {
    pub(in crate::jobs::merge) root_kind: &'a StringArray,
    pub(in crate::jobs::merge) exe: &'a StringArray,
    pub(in crate::jobs::merge) argv0: &'a StringArray,
    pub(in crate::jobs::merge) script: &'a StringArray,
    pub(in crate::jobs::merge) path: &'a StringArray,
    pub(in crate::jobs::merge) dns_name: &'a StringArray,
    pub(in crate::jobs::merge) dns_type: &'a StringArray,
    pub(in crate::jobs::merge) protocol: &'a StringArray,
    pub(in crate::jobs::merge) address: &'a StringArray,
    pub(in crate::jobs::merge) shebang: &'a BooleanArray,
    port: &'a Int32Array,
}

impl<'a> Names<'a> {
    pub(in crate::jobs::merge) fn new(batch: &'a RecordBatch) -> Self {
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
            shebang: batch["shebang"].as_boolean(),
            port: batch["port"].as_primitive::<Int32Type>(),
        }
    }
}

pub(in crate::jobs::merge) fn value(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

/// Keys are hashes, or come from containers: seeded at random, and fast.
pub(in crate::jobs::merge) type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

impl<'a> Rows<'a> {
    pub(in crate::jobs::merge) fn new(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
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

    pub(in crate::jobs::merge) fn text(&self, name: &str, row: usize) -> Option<&'a str> {
        value(self.batch[name].as_string(), row)
    }

    pub(in crate::jobs::merge) fn port(&self, row: usize) -> u16 {
        let ports = self.names.port;
        if ports.is_valid(row) { u16::try_from(ports.value(row)).unwrap_or_default() } else { 0 }
    }

    fn identity(&self, row: usize) -> Identity<'a> {
        let names = &self.names;
        let text = |name| match name {
            "exe" => value(names.exe, row),
            "argv0" => value(names.argv0, row),
            "script" => value(names.script, row),
            "path" => value(names.path, row),
            "dns_name" => value(names.dns_name, row),
            "dns_type" => value(names.dns_type, row),
            "protocol" => value(names.protocol, row),
            "address" => value(names.address, row),
            name => self.text(name, row),
        };
        let shebang = names.shebang;
        let is_shebang = shebang.is_valid(row) && shebang.value(row);
        Identity::read(self.kinds[row], text, is_shebang, Some(i32::from(self.port(row))))
    }

    /// The id that a row would have below another process.
    pub(in crate::jobs::merge) fn id_below(&self, row: usize, parent: NodeId) -> NodeId {
        self.identity(row).id_below(parent)
    }

    /// Where a row's siblings are, and its name among them; none for what is never folded.
    pub(in crate::jobs::merge) fn sibling(&self, row: usize) -> Option<(Cow<'a, str>, &'a str)> {
        self.identity(row).sibling(value(self.names.script, row))
    }

    /// Processes by their depth.
    pub(in crate::jobs::merge) fn levels(&self) -> Vec<Vec<usize>> {
        let mut depths: Vec<Option<usize>> = vec![None; self.ids.len()];
        let mut levels: Vec<Vec<usize>> = Vec::new();
        for row in (0..self.ids.len()).filter(|row| self.kinds[*row] == Kind::Process) {
            let mut chain = vec![row];
            let mut depth = None;
            while depth.is_none() {
                let Some(at) = chain.last().copied() else { break };
                depth = depths[at];
                if depth.is_some() {
                    chain.pop();
                    break;
                }
                match self.parents[at].and_then(|parent| self.position.get(&parent)) {
                    // Ids are hashes over their parents': there are no circles; a bound costs nothing.
                    Some(parent) if chain.len() <= self.ids.len() => chain.push(*parent),
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
}
