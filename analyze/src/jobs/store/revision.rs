//! One profile revision: what its row, its ledger rows and its node rows say about each other.

use std::collections::BTreeSet;

use arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use arrow::error::ArrowError;
use wsp_schemas::image::{self, Workload, WorkloadKey};

use super::verify::Difference;
use crate::content_hash;
use crate::functions::MemberSet;
use crate::rows::Reader;

/// What names a revision: the value of `workload_key`, and its number.
pub(super) type RevisionId = (String, i32);

/// A row of `profiles`, as far as it can be recomputed.
#[derive(Debug, Clone)]
pub(super) struct ProfileRow {
    pub(super) image_name: String,
    pub(super) image_tag: String,
    status: Option<String>,
    snapshot_count: Option<i32>,
    container_count: Option<i32>,
    host_count: Option<i32>,
    nodes: Option<i64>,
    path_rules: Option<i32>,
    content_hash: Option<String>,
}

/// The ledger rows of one revision.
#[derive(Debug, Clone, Default)]
pub(super) struct LedgerRows {
    pub(super) admitted: Vec<Admitted>,
    pub(super) frozen: bool,
}

/// One admitted snapshot.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    pub(super) object_key: Option<String>,
    pub(super) object_size: Option<i64>,
    pub(super) content_hash: Option<String>,
    ordinal: Option<i32>,
    container: Option<String>,
    host: Option<String>,
    path_rules: Option<i32>,
}

/// The columns of `profiles` that are read.
pub(super) const PROFILE_COLUMNS: [&str; 11] = [
    "workload_key",
    "image_name",
    "image_tag",
    "revision",
    "status",
    "snapshot_count",
    "container_count",
    "host_count",
    "nodes",
    "path_rules",
    "content_hash",
];

/// The columns of `profile_snapshots` that are read.
pub(super) const LEDGER_COLUMNS: [&str; 11] = [
    "workload_key",
    "revision",
    "outcome",
    "ordinal",
    "batch",
    "object_key",
    "object_size",
    "content_hash",
    "container_id",
    "host",
    "path_rules",
];

/// The revision that a row of any of the three tables belongs to; none where it belongs to no revision.
pub(super) fn id(read: &Reader<'_>, row: usize) -> Option<RevisionId> {
    Some((read.text("workload_key", row)?.to_owned(), read.int32("revision", row)?))
}

impl ProfileRow {
    pub(super) fn read(read: &Reader<'_>, row: usize) -> Self {
        let text = |name: &str| read.text(name, row).map(str::to_owned);
        Self {
            image_name: text("image_name").unwrap_or_default(),
            image_tag: text("image_tag").unwrap_or_default(),
            status: text("status"),
            snapshot_count: read.int32("snapshot_count", row),
            container_count: read.int32("container_count", row),
            host_count: read.int32("host_count", row),
            nodes: read.int64("nodes", row),
            path_rules: read.int32("path_rules", row),
            content_hash: text("content_hash"),
        }
    }
}

impl LedgerRows {
    /// Takes a row of the ledger: one that says nothing about the revision is left out.
    pub(super) fn take(&mut self, read: &Reader<'_>, row: usize) {
        let text = |name: &str| read.text(name, row).map(str::to_owned);
        match read.text("outcome", row) {
            Some("admitted") => self.admitted.push(Admitted {
                object_key: text("object_key"),
                object_size: read.int64("object_size", row),
                content_hash: text("content_hash"),
                ordinal: read.int32("ordinal", row),
                container: text("container_id"),
                host: text("host"),
                path_rules: read.int32("path_rules", row),
            }),
            Some("frozen") => self.frozen = true,
            _ => {}
        }
    }
}

/// One revision, with everything that is known about it.
#[derive(Debug)]
pub(super) struct Revision<'a> {
    pub(super) id: &'a RevisionId,
    pub(super) bucket: i32,
    pub(super) buckets: u32,
    pub(super) profile: &'a ProfileRow,
    pub(super) ledger: &'a LedgerRows,
}

impl Revision<'_> {
    /// Compares all three. `nodes` are in the order of their ids.
    pub(super) fn check(&self, nodes: &RecordBatch) -> Result<Vec<Difference>, ArrowError> {
        let mut differ = Differ { revision: self, found: Vec::new() };
        self.check_name(&mut differ);
        self.check_ledger(&mut differ);
        // What is folded into a pattern counts once, as the pattern.
        let counted = nodes["collapsed_into"].null_count();
        differ.compare("nodes", self.profile.nodes, i64::try_from(counted).ok());
        differ.compare(
            "content_hash",
            self.profile.content_hash.as_deref(),
            Some(content_hash::of(nodes)?.as_str()),
        );
        self.check_nodes(nodes, &mut differ);
        Ok(differ.found)
    }

    /// The key and the bucket follow from name and tag.
    fn check_name(&self, differ: &mut Differ<'_>) {
        match Workload::from_columns(&self.profile.image_name, &self.profile.image_tag) {
            Ok(workload) => {
                let key = workload.key();
                differ.compare("workload_key", Some(key.to_string().as_str()), Some(self.id.0.as_str()));
                differ.compare("bucket", Some(key.bucket(self.buckets)), Some(self.bucket));
            }
            Err(error) => differ.push("image name and tag", "a workload", &error.to_string()),
        }
    }

    fn check_ledger(&self, differ: &mut Differ<'_>) {
        let admitted = &self.ledger.admitted;
        let count = |n: usize| i32::try_from(n).ok();
        let different = |of: fn(&Admitted) -> &Option<String>| {
            count(admitted.iter().filter_map(|row| of(row).as_ref()).collect::<BTreeSet<_>>().len())
        };
        let status = if self.ledger.frozen { "stable" } else { "learning" };
        differ.compare("status", Some(status), self.profile.status.as_deref());
        differ.compare("snapshot_count", self.profile.snapshot_count, count(admitted.len()));
        differ.compare("container_count", self.profile.container_count, different(|row| &row.container));
        differ.compare("host_count", self.profile.host_count, different(|row| &row.host));

        let mut ordinals: Vec<Option<i32>> = admitted.iter().map(|row| row.ordinal).collect();
        ordinals.sort_unstable();
        let gap = ordinals.iter().zip(0..).find(|(ordinal, expected)| **ordinal != Some(*expected));
        if let Some((found, expected)) = gap {
            let found = found.map_or_else(|| "none".to_owned(), |ordinal| ordinal.to_string());
            differ.push("ordinals in the ledger, without gap", &expected.to_string(), &found);
        }
        let rules = admitted.iter().filter_map(|row| row.path_rules).max();
        if rules > self.profile.path_rules {
            let at_least = rules.unwrap_or_default();
            differ.compare("path_rules, of its snapshots", Some(at_least), self.profile.path_rules);
        }
    }

    fn check_nodes(&self, nodes: &RecordBatch, differ: &mut Differ<'_>) {
        let read = Reader::new(nodes);
        let snapshots = self.ledger.admitted.len();
        let mut beyond = Vec::new();
        let mut doubled = Vec::new();
        let mut other_status = Vec::new();
        let ids: Option<&BinaryArray> = nodes.column_by_name("node_id").and_then(AsArray::as_binary_opt);
        let members: Option<&BinaryArray> = nodes.column_by_name("members").and_then(AsArray::as_binary_opt);
        let (Some(ids), Some(members)) = (ids, members) else { return };
        for row in 0..nodes.num_rows() {
            let set = MemberSet::from_bytes(members.value(row));
            if !set.is_ok_and(|set| {
                set.iter().last().is_some_and(|last| usize::try_from(last).is_ok_and(|last| last < snapshots))
            }) {
                beyond.push(row);
            }
            if row > 0 && ids.value(row) == ids.value(row - 1) {
                doubled.push(row);
            }
            if read.text("status", row) != self.profile.status.as_deref() {
                other_status.push(row);
            }
        }
        let mut tell = |what: &'static str, expected: &str, rows: &[usize]| {
            if let Some(first) = rows.first() {
                let first = hex(ids.value(*first));
                differ.push(what, expected, &format!("{} nodes otherwise, the first {first}", rows.len()));
            }
        };
        tell("members of nodes", &format!("some of {snapshots} ordinals"), &beyond);
        tell("node ids", "each once", &doubled);
        tell("status of nodes", self.profile.status.as_deref().unwrap_or("none"), &other_status);
    }
}

/// Collects what differs in one revision.
struct Differ<'a> {
    revision: &'a Revision<'a>,
    found: Vec<Difference>,
}

impl Differ<'_> {
    fn compare<T: ToString + PartialEq>(
        &mut self,
        what: &'static str,
        expected: Option<T>,
        found: Option<T>,
    ) {
        if expected != found {
            let text = |value: Option<T>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
            self.push(what, &text(expected), &text(found));
        }
    }

    fn push(&mut self, what: &'static str, expected: &str, found: &str) {
        let Revision { id, profile, .. } = self.revision;
        self.found.push(Difference {
            profile: Some(name(profile)),
            revision: Some(id.1),
            object: None,
            what: what.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        });
    }
}

/// The image as people write it.
pub(super) fn name(profile: &ProfileRow) -> String {
    image::reference(&profile.image_name, &profile.image_tag)
}

/// Whether a row belongs to a workload that is looked at.
pub(super) fn is_wanted(id: &RevisionId, wanted: Option<WorkloadKey>) -> bool {
    wanted.is_none_or(|wanted| WorkloadKey::parse(&id.0) == Some(wanted))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
