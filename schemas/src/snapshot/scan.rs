use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::ArrayRef;
use bytes::Bytes;

use super::columns::{Columns, gather, place};
use super::direct;
use super::meta::SnapshotMeta;
use super::read::{DecodeError, Limits, bound, corrupt, decode_with, said_by};
use super::renew::{self, renew};
use super::verify::{self, Known};
use crate::identity::NodeId;
use crate::paths::RULES_VERSION;
use crate::tables::{CONSTANT_COLUMNS, SNAPSHOT};

/// A verified snapshot, in the form that grouping many of them needs: see [`Scanner`].
#[derive(Debug)]
pub struct Scan {
    /// The footer.
    pub meta: SnapshotMeta,
    /// BLAKE3 of the file.
    pub content_hash: blake3::Hash,
    columns: Columns,
    numbers: Vec<u32>,
}

/// Reads snapshots one after the other, as [`decode`](super::decode) does and with the same checks, but faster: files of the present
/// layout are read without the general Parquet reader, and an id whose hash was checked in an earlier file is compared
/// with what was hashed then.
///
/// Nodes that it has met have numbers, from 0 in the order of their first appearance, so that its caller can keep what it
/// knows of a node in arrays.
///
/// Files of earlier path rules are brought to the present ones after they were verified. Several rows can then be one
/// node: they have one number.
#[derive(Debug, Default)]
pub struct Scanner {
    known: Known,
}

impl Scanner {
    /// Reads and verifies one file.
    pub fn scan(&mut self, file: &Bytes, limits: &Limits) -> Result<Scan, DecodeError> {
        bound("the file's size in bytes", file.len(), limits.file_bytes)?;
        match self.direct(file, limits) {
            Some(Ok(scan)) if scan.is_dated() => {}
            Some(scan) => return scan,
            None => {}
        }
        let (verified, columns, numbers) = decode_with(file.clone(), limits, &mut self.known)?;
        let mut scan = Scan { meta: verified.meta, content_hash: verified.content_hash, columns, numbers };
        if scan.is_dated()
            && let Some(rows) = renew(&verified.rows).map_err(DecodeError::Arrow)?
        {
            let columns = Columns::from_batch(&rows).ok_or_else(too_much)?;
            scan.numbers = (0..columns.rows)
                .map(|row| self.number_at(&columns, row))
                .collect::<Option<_>>()
                .ok_or_else(too_much)?;
            scan.columns = columns;
        }
        Ok(scan)
    }

    fn number_at(&mut self, columns: &Columns, row: usize) -> Option<u32> {
        const NODE_ID: usize = place("node_id");
        let id = columns.columns[NODE_ID].id(row)?;
        Some(self.known.number(NodeId::from_bytes(id)))
    }

    /// None where the file is not of the layout that can be read so, or anything about its pages is unusual: the general
    /// reader then says what is wrong, if anything is.
    fn direct(&mut self, file: &Bytes, limits: &Limits) -> Option<Result<Scan, DecodeError>> {
        // The reader has no assertions on what stands in files; a bug in it must still cost one file only.
        let read = catch_unwind(AssertUnwindSafe(|| {
            let footer = direct::footer(file)?;
            let (said, content_hash) = said_by(file, &footer.entries).ok()?;
            let (meta, columns) = direct::columns(file, &footer, said, limits)?;
            (!columns.lacks_values()).then_some((meta, content_hash, columns))
        }));
        let (meta, content_hash, columns) = read.ok()??;
        Some(match verify::rows(&meta, &columns, &mut self.known) {
            Ok(numbers) => Ok(Scan { meta, content_hash, columns, numbers }),
            Err(error) => Err(error.into()),
        })
    }

    /// Nodes met since the last [`Scanner::forget`].
    pub fn nodes(&self) -> usize {
        self.known.len()
    }

    /// Id of a node, by its number.
    pub fn node(&self, number: u32) -> Option<NodeId> {
        self.known.node(number)
    }

    /// The number of a node that may not be in any file read so far.
    pub fn number(&mut self, node: NodeId) -> u32 {
        self.known.number(node)
    }

    /// Memory that it takes, about.
    pub fn memory(&self) -> usize {
        self.known.memory()
    }

    /// Forgets all nodes; the next one has number 0.
    pub fn forget(&mut self) {
        self.known = Known::default();
    }
}

impl Scan {
    const EVENTS: usize = place("events");
    const FIRST: usize = place("first_seen_ms");
    const LAST: usize = place("last_seen_ms");
    const PHASE: usize = place("phase");
    const LINEAGE: usize = place("lineage_complete");
    const PATHS: [usize; renew::PATHS.len()] = [
        place(renew::PATHS[0]),
        place(renew::PATHS[1]),
        place(renew::PATHS[2]),
        place(renew::PATHS[3]),
        place(renew::PATHS[4]),
        place(renew::PATHS[5]),
    ];

    /// Whether a path may not be what the present path rules make of it.
    fn is_dated(&self) -> bool {
        self.meta.path_rules < RULES_VERSION
            && Self::PATHS
                .iter()
                .any(|at| self.columns.columns[*at].texts().any(|text| renew::renewed(text).is_some()))
    }

    /// Rows: nodes that the container showed.
    #[inline]
    pub fn len(&self) -> usize {
        self.columns.rows
    }

    /// Memory that it takes, about.
    pub fn memory(&self) -> usize {
        self.numbers.len() * size_of::<u32>() + self.columns.memory()
    }

    /// No nodes.
    pub fn is_empty(&self) -> bool {
        self.columns.rows == 0
    }

    /// Numbers of the rows' nodes.
    #[inline]
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// The column `events`.
    #[inline]
    pub fn events(&self, row: usize) -> i64 {
        self.columns.columns[Self::EVENTS].int64(row).unwrap_or_default()
    }

    /// The column `first_seen_ms`.
    #[inline]
    pub fn first_seen_ms(&self, row: usize) -> i32 {
        self.columns.columns[Self::FIRST].int32(row).unwrap_or_default()
    }

    /// The column `last_seen_ms`.
    #[inline]
    pub fn last_seen_ms(&self, row: usize) -> i32 {
        self.columns.columns[Self::LAST].int32(row).unwrap_or_default()
    }

    /// Whether the column `phase` says `startup`.
    #[inline]
    pub fn is_startup(&self, row: usize) -> bool {
        self.columns.columns[Self::PHASE].text(row) == Some("startup")
    }

    /// The column `lineage_complete`.
    #[inline]
    pub fn lineage_complete(&self, row: usize) -> bool {
        self.columns.columns[Self::LINEAGE].bool(row).unwrap_or_default()
    }

    /// A node column at (snapshot, row) places, as the profile tables have it: ids are plain bytes. None where no node
    /// column has that name.
    pub fn gather(name: &str, scans: &[&Self], places: &[(usize, usize)]) -> Option<ArrayRef> {
        let at = SNAPSHOT
            .columns
            .iter()
            .position(|column| column.name == name)?
            .checked_sub(CONSTANT_COLUMNS.len())?;
        let columns: Vec<&Columns> = scans.iter().map(|scan| &scan.columns).collect();
        Some(gather(at, &columns, places))
    }
}

fn too_much() -> DecodeError {
    corrupt("a column holds more than 4 GiB")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::identity::{Kind, RootKind};
    use crate::keys::SnapshotId;
    use crate::snapshot::{Container, Fact, Image, Node, Phase, Process, SeenBy, encode};

    #[test]
    fn files_of_this_version_take_the_short_way() {
        let start = DateTime::from_timestamp(1_795_489_200, 0).unwrap();
        let meta = SnapshotMeta {
            id: SnapshotId::new(Uuid::from_u128(7)),
            image: Image::default(),
            container: Container {
                labels: BTreeMap::from([("a".into(), "b".into())]),
                ..Container::default()
            },
            host: "h".into(),
            window_start: start,
            window_end: start + chrono::TimeDelta::minutes(30),
            covers_start: true,
            writer: "test".into(),
            kernel: "6.1".into(),
            path_rules: RULES_VERSION,
            sensors: Vec::new(),
            completeness: BTreeMap::new(),
            lost: Vec::new(),
            limits_hit: Vec::new(),
        };
        let process =
            Process { root_kind: Some(RootKind::Init), args: vec!["sh".into()], ..Process::default() };
        let root = Node {
            fact: Fact::Process(Box::new(process)),
            parent: None,
            exe: Some("/bin/sh".into()),
            phase: Phase::Startup,
            seen_by: SeenBy::Runtime,
            lineage_complete: true,
            events: 1,
            first_seen_ms: 0,
            last_seen_ms: 5,
        };
        let syscall = Node { parent: Some(root.id()), fact: Fact::Syscall("read".into()), ..root.clone() };
        assert_eq!(syscall.fact.kind(), Kind::Syscall);
        for nodes in [vec![], vec![root.clone()], vec![syscall, root]] {
            let file = Bytes::from(encode(&meta, &nodes).unwrap());
            let scan = Scanner::default().direct(&file, &Limits::default()).unwrap().unwrap();
            assert_eq!((scan.len(), &scan.meta), (nodes.len(), &meta));
        }
    }
}
