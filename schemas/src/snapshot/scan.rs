use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::ArrayRef;
use bytes::Bytes;

use super::columns::{Columns, gather, place};
use super::direct;
use super::meta::SnapshotMeta;
use super::read::{DecodeError, Limits, bound, corrupt, decode_with, said_by};
use super::renew::{self, renew};
use super::verify::{self, Checked, Known};
use crate::identity::{Kind, NodeId};
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
    checked: Checked,
}

/// A node column of a snapshot, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeColumn(usize);

impl NodeColumn {
    /// The column of this name. A name that no node column has fails to compile where this is a constant.
    pub const fn named(name: &str) -> Self {
        Self(place(name))
    }

    /// The column of this name, if there is one.
    pub fn find(name: &str) -> Option<Self> {
        let at = SNAPSHOT.columns.iter().position(|column| column.name == name)?;
        at.checked_sub(CONSTANT_COLUMNS.len()).map(Self)
    }
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
        let (verified, columns, checked) = decode_with(file.clone(), limits, &mut self.known)?;
        let mut scan = Scan { meta: verified.meta, content_hash: verified.content_hash, columns, checked };
        if scan.is_dated()
            && let Some(rows) = renew(&verified.rows).map_err(DecodeError::Arrow)?
        {
            let columns = Columns::from_batch(&rows).ok_or_else(too_much)?;
            scan.checked = self.renumbered(&columns).ok_or_else(too_much)?;
            scan.columns = columns;
        }
        Ok(scan)
    }

    /// Numbers and owners of rows whose ids are new.
    fn renumbered(&mut self, columns: &Columns) -> Option<Checked> {
        const NODE_ID: usize = place("node_id");
        const PARENT_ID: usize = place("parent_id");
        const KIND: usize = place("kind");
        let mut checked = Checked::default();
        let mut first = HashMap::new();
        for row in 0..columns.rows {
            let id = columns.columns[NODE_ID].id(row)?;
            first.entry(id).or_insert(row);
            checked.numbers.push(self.known.number(NodeId::from_bytes(id)));
            checked.kinds.push(columns.columns[KIND].text(row).and_then(Kind::parse)?);
        }
        let parent = |row: usize| columns.columns[PARENT_ID].id(row);
        checked.owners = (0..columns.rows).map(|row| first.get(&parent(row)?).copied()).collect();
        Some(checked)
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
            Ok(checked) => Ok(Scan { meta, content_hash, columns, checked }),
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
        self.len() * size_of::<(u32, Option<usize>, Kind)>() + self.columns.memory()
    }

    /// No nodes.
    pub fn is_empty(&self) -> bool {
        self.columns.rows == 0
    }

    /// Numbers of the rows' nodes.
    #[inline]
    pub fn numbers(&self) -> &[u32] {
        &self.checked.numbers
    }

    /// The kind of a row.
    #[inline]
    pub fn kind(&self, row: usize) -> Kind {
        self.checked.kinds[row]
    }

    /// The row of the process that owns a row; of a process, of the one that forked it.
    #[inline]
    pub fn owner(&self, row: usize) -> Option<usize> {
        self.checked.owners[row]
    }

    /// A text column.
    pub fn text(&self, column: NodeColumn, row: usize) -> Option<&str> {
        self.columns.columns[column.0].text(row)
    }

    /// A text column, with its escape undone: what node ids are made of. [`Scanner`] has checked that it can be.
    pub fn bytes(&self, column: NodeColumn, row: usize) -> Option<Cow<'_, [u8]>> {
        self.columns.columns[column.0].bytes(row)?.ok()
    }

    /// A column of node ids.
    pub fn id(&self, column: NodeColumn, row: usize) -> Option<[u8; 16]> {
        self.columns.columns[column.0].id(row)
    }

    /// A column of flags.
    pub fn bool(&self, column: NodeColumn, row: usize) -> Option<bool> {
        self.columns.columns[column.0].bool(row)
    }

    /// A column of 32-bit numbers.
    pub fn int32(&self, column: NodeColumn, row: usize) -> Option<i32> {
        self.columns.columns[column.0].int32(row)
    }

    /// A column of 64-bit numbers.
    pub fn int64(&self, column: NodeColumn, row: usize) -> Option<i64> {
        self.columns.columns[column.0].int64(row)
    }

    /// The elements of a column of lists of texts.
    pub fn texts(&self, column: NodeColumn, row: usize) -> impl Iterator<Item = &str> {
        let column = &self.columns.columns[column.0];
        column.elements(row).into_iter().flatten().filter_map(|at| column.text(at))
    }

    /// Bytes of a value, of a list those of its elements, about.
    pub fn size(&self, column: NodeColumn, row: usize) -> usize {
        let column = &self.columns.columns[column.0];
        let one = |at: usize| column.text(at).map_or(size_of::<i64>(), str::len);
        if column.ends.is_some() {
            column.elements(row).into_iter().flatten().map(one).sum()
        } else {
            one(row)
        }
    }

    /// By row: a hash of what is said beside its identity, its times and its counts. Rows of one node and one hash say the
    /// same, but for these. Comparable within one `state`.
    pub fn fingerprints(&self, state: &impl BuildHasher) -> Vec<u64> {
        const ALL: [usize; 3] = [place("phase"), place("origin"), place("lineage_complete")];
        const PROCESS: [usize; 14] = [
            place("file_origin"),
            place("exec_from"),
            place("script"),
            place("args"),
            place("args_overflow"),
            place("comm"),
            place("cwd"),
            place("uids"),
            place("gids"),
            place("cred_change"),
            place("tty"),
            place("stdio"),
            place("ns_changed"),
            place("written_in_window"),
        ];
        const FILE: [usize; 5] =
            [place("access"), place("mode"), place("path_raw"), place("path_source"), place("file_origin")];
        const SOCKET: [usize; 2] = [place("remote_ips"), place("name_source")];
        let mut hashes = vec![0; self.len()];
        let mut add = |columns: &[usize], kinds: &[Kind]| {
            let mut are_wanted = [false; Kind::ALL.len()];
            kinds.iter().for_each(|kind| are_wanted[*kind as usize] = true);
            for at in columns {
                let is_wanted = |row| are_wanted[self.kind(row) as usize];
                self.columns.columns[*at].add_hashes(*at, state, &mut hashes, is_wanted);
            }
        };
        add(&ALL, &Kind::ALL);
        add(&PROCESS, &[Kind::Process]);
        add(&FILE, &[Kind::File]);
        add(&SOCKET, &[Kind::Connect, Kind::Listen]);
        hashes
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
        let NodeColumn(at) = NodeColumn::find(name)?;
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

    fn meta() -> SnapshotMeta {
        let start = DateTime::from_timestamp(1_795_489_200, 0).unwrap();
        SnapshotMeta {
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
        }
    }

    fn node(exe: &str, args: &[&str]) -> Node {
        let args = args.iter().map(|text| (*text).into()).collect();
        let process = Process { root_kind: Some(RootKind::Init), args, ..Process::default() };
        Node {
            fact: Fact::Process(Box::new(process)),
            parent: None,
            exe: Some(exe.into()),
            phase: Phase::Startup,
            seen_by: SeenBy::Runtime,
            lineage_complete: true,
            events: 1,
            first_seen_ms: 0,
            last_seen_ms: 5,
        }
    }

    #[test]
    fn rows_have_one_fingerprint_where_the_same_is_said_of_them() {
        let state = foldhash::fast::RandomState::default();
        let long = |first: &'static str, last: &'static str| [&[first][..], &["x"; 63], &[last]].concat();
        let all = [
            long("a", "a"),
            long("b", "b"),
            long("a", "b"),
            long("b", "a"),
            vec!["a", "x"],
            vec!["x", "a"],
            vec![],
        ];
        let mut fingerprints = Vec::new();
        for args in &all {
            // Another node, in another file, with other texts before it: what counts is what is said.
            let other = node("/bin/other", args);
            let nodes = [node("/bin/sh", args), other, node("/bin/third", &["b", "a", "y"])];
            for nodes in [&nodes[..1], &nodes[1..]] {
                let file = Bytes::from(encode(&meta(), nodes).unwrap());
                let scan = Scanner::default().scan(&file, &Limits::default()).unwrap();
                let row = (0..scan.len())
                    .find(|row| scan.text(NodeColumn::named("exe"), *row) != Some("/bin/third"));
                fingerprints.push(scan.fingerprints(&state)[row.unwrap()]);
            }
        }
        assert!(fingerprints.chunks(2).all(|of_one| of_one[0] == of_one[1]));
        let different: std::collections::BTreeSet<u64> = fingerprints.iter().copied().collect();
        assert_eq!(different.len(), all.len());
        // Times and counts do not count, the phase does.
        let of = |node: Node| {
            let file = Bytes::from(encode(&meta(), &[node]).unwrap());
            Scanner::default().scan(&file, &Limits::default()).unwrap().fingerprints(&state)[0]
        };
        let base = node("/bin/sh", &[]);
        assert_eq!(of(base.clone()), of(Node { events: 9, last_seen_ms: 7, ..base.clone() }));
        assert_ne!(of(base.clone()), of(Node { phase: Phase::Steady, ..base }));
    }

    #[test]
    fn files_of_this_version_take_the_short_way() {
        let meta = meta();
        let root = node("/bin/sh", &["sh"]);
        let syscall = Node { parent: Some(root.id()), fact: Fact::Syscall("read".into()), ..root.clone() };
        assert_eq!(syscall.fact.kind(), Kind::Syscall);
        for nodes in [vec![], vec![root.clone()], vec![syscall, root]] {
            let file = Bytes::from(encode(&meta, &nodes).unwrap());
            let scan = Scanner::default().direct(&file, &Limits::default()).unwrap().unwrap();
            assert_eq!((scan.len(), &scan.meta), (nodes.len(), &meta));
        }
    }
}
