//! The row of one profile revision, from its ledger rows and its node rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use wsp_schemas::identity::Kind;
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::tables::PROFILES;

use super::ledger::{LedgerRow, Outcome};
use super::score::Observers;
use crate::content_hash;
use crate::rows::{Builder, Reader};
use crate::stats::{Incidence, Similarity};

/// One revision: which ledger rows it is made of.
#[derive(Debug)]
pub(super) struct RevisionRows<'a> {
    pub(super) workload: Option<Workload>,
    pub(super) number: i32,
    /// Admitted rows, by ordinal.
    pub(super) admitted: Vec<&'a LedgerRow>,
    /// The row that froze it.
    pub(super) frozen: Option<&'a LedgerRow>,
    /// The row that decided last.
    last: Option<&'a LedgerRow>,
}

impl<'a> RevisionRows<'a> {
    /// A revision in the ledger rows of its workload.
    pub(super) fn of(rows: &'a [LedgerRow], number: i32) -> Self {
        let mine =
            || rows.iter().filter(move |row| row.revision == Some(number) && row.outcome.is_of_a_profile());
        let mut admitted: Vec<_> = mine().filter(|row| row.outcome == Outcome::Admitted).collect();
        admitted.sort_by_key(|row| row.ordinal);
        Self {
            workload: mine().find_map(|row| row.workload.clone()),
            number,
            frozen: mine().find(|row| row.outcome == Outcome::Frozen),
            last: mine().max_by_key(|row| row.batch),
            admitted,
        }
    }

    pub(super) fn status(&self) -> &'static str {
        if self.frozen.is_some() { "stable" } else { "learning" }
    }
}

/// What the row says; built for several at a time.
#[derive(Debug)]
pub(super) struct ProfileRow {
    bucket: i32,
    key: WorkloadKey,
    workload: Workload,
    revision: i32,
    status: &'static str,
    stable_reason: Option<String>,
    stable_at: Option<DateTime<Utc>>,
    digests: Vec<String>,
    snapshots: usize,
    containers: u32,
    hosts: u32,
    first_window_start: Option<DateTime<Utc>>,
    last_window_end: Option<DateTime<Utc>>,
    nodes: usize,
    nodes_by_kind: BTreeMap<String, i64>,
    commonality: Option<f64>,
    commonality_by_kind: BTreeMap<String, f64>,
    coverage: Option<(f64, f64)>,
    completeness: BTreeMap<String, f64>,
    overflow: Option<i64>,
    path_rules: i32,
    content_hash: String,
    batch: i64,
    updated_at: DateTime<Utc>,
}

impl ProfileRow {
    /// What no two rows have in common.
    pub(super) fn key(&self) -> (String, i32) {
        (self.key.to_string(), self.revision)
    }
}

/// The keys of rows that are written.
pub(super) fn keys(batch: &RecordBatch) -> impl Iterator<Item = (String, i32)> + '_ {
    let read = Reader::new(batch);
    (0..batch.num_rows()).map(move |row| {
        let key = read.text("workload_key", row).unwrap_or_default().to_owned();
        (key, read.int32("revision", row).unwrap_or_default())
    })
}

/// Sums up one revision. `nodes` are its rows in the order of their ids. Rows that are folded into another do not count
/// beside it. None where the ledger does not say what workload it is.
pub(super) fn summarise(
    bucket: i32,
    key: WorkloadKey,
    revision: &RevisionRows<'_>,
    nodes: &RecordBatch,
) -> Result<Option<ProfileRow>, ArrowError> {
    let (Some(workload), Some(last)) = (revision.workload.clone(), revision.last) else { return Ok(None) };
    let observers = Observers::new(&revision.admitted);
    let seen = || revision.admitted.iter().filter_map(|row| row.seen.as_ref());
    let digests: BTreeSet<String> = seen().filter_map(|seen| seen.image_digest.clone()).collect();
    let first_start =
        revision.admitted.first().and_then(|row| row.seen.as_ref()).map(|seen| seen.window_start);
    let last_window_end = seen().map(|seen| seen.window_end).max();
    let stable_reason = revision.frozen.and_then(|row| row.reason.clone());
    let stable_at = revision.frozen.and_then(|row| row.at);

    let read = Reader::new(nodes);
    let mut all = (Similarity::default(), Incidence::default());
    let mut by_kind: BTreeMap<Kind, (i64, Similarity)> = BTreeMap::new();
    let shown = |row: &usize| nodes["collapsed_into"].is_null(*row);
    let mut total_nodes = 0;
    for row in (0..nodes.num_rows()).filter(shown) {
        total_nodes += 1;
        let count =
            |name: &str| read.int32(name, row).and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
        let (n, total) = (count("container_count"), count("eligible_containers"));
        all.0.add(n, total);
        all.1.add(n);
        if let Some(kind) = read.text("kind", row).and_then(Kind::parse) {
            let entry = by_kind.entry(kind).or_default();
            entry.0 += 1;
            entry.1.add(n, total);
        }
    }
    let share = |kind: Kind| observers.completeness(kind).map(|share| (kind.as_str().to_owned(), share));
    Ok(Some(ProfileRow {
        bucket,
        key,
        workload,
        revision: revision.number,
        status: revision.status(),
        stable_reason,
        stable_at,
        digests: digests.into_iter().collect(),
        snapshots: revision.admitted.len(),
        containers: observers.containers(),
        hosts: observers.hosts(),
        first_window_start: first_start,
        last_window_end,
        nodes: total_nodes,
        nodes_by_kind: by_kind.iter().map(|(kind, (nodes, _))| (kind.as_str().to_owned(), *nodes)).collect(),
        commonality: all.0.value(),
        commonality_by_kind: by_kind
            .iter()
            .filter_map(|(kind, (_, similarity))| Some((kind.as_str().to_owned(), similarity.value()?)))
            .collect(),
        coverage: all.1.coverage(observers.containers()),
        completeness: Kind::ALL.into_iter().filter_map(share).collect(),
        overflow: arrow::compute::sum(nodes["overflow"].as_primitive::<Int64Type>()),
        path_rules: wsp_schemas::paths::RULES_VERSION,
        content_hash: content_hash::of(nodes)?,
        batch: last.batch,
        updated_at: last.decided_at,
    }))
}

/// Rows as the table has them.
pub(super) fn to_batch(rows: &[ProfileRow]) -> Result<RecordBatch, ArrowError> {
    let mut out = Builder::new(rows.len());
    let int = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    out.int32("bucket", rows.iter().map(|row| Some(row.bucket)));
    out.text("workload_key", rows.iter().map(|row| Some(row.key.to_string())));
    out.text("image_name", rows.iter().map(|row| Some(row.workload.name().to_owned())));
    out.text("image_tag", rows.iter().map(|row| Some(row.workload.tag().to_owned())));
    out.int32("revision", rows.iter().map(|row| Some(row.revision)));
    out.text("status", rows.iter().map(|row| Some(row.status.to_owned())));
    out.text("stable_reason", rows.iter().map(|row| row.stable_reason.clone()));
    out.time("stable_at", rows.iter().map(|row| row.stable_at));
    out.text_list("digests", rows.iter().map(|row| row.digests.clone()));
    out.bool("tag_reused", rows.iter().map(|row| Some(row.digests.len() > 1)));
    out.int32("snapshot_count", rows.iter().map(|row| Some(int(row.snapshots))));
    out.int32("container_count", rows.iter().map(|row| Some(count(row.containers))));
    out.int32("host_count", rows.iter().map(|row| Some(count(row.hosts))));
    out.time("first_window_start", rows.iter().map(|row| row.first_window_start));
    out.time("last_window_end", rows.iter().map(|row| row.last_window_end));
    out.int64("nodes", rows.iter().map(|row| i64::try_from(row.nodes).ok()));
    out.int_map("nodes_by_kind", rows.iter().map(|row| row.nodes_by_kind.clone()))?;
    out.float("commonality", rows.iter().map(|row| row.commonality));
    out.float_map("commonality_by_kind", rows.iter().map(|row| row.commonality_by_kind.clone()))?;
    out.float("coverage", rows.iter().map(|row| row.coverage.map(|(coverage, _)| coverage)));
    out.float("expected_novel_nodes", rows.iter().map(|row| row.coverage.map(|(_, novel)| novel)));
    out.float_map("completeness", rows.iter().map(|row| row.completeness.clone()))?;
    out.int64("overflow", rows.iter().map(|row| row.overflow));
    out.int32("path_rules", rows.iter().map(|row| Some(row.path_rules)));
    out.text("content_hash", rows.iter().map(|row| Some(row.content_hash.clone())));
    out.int64("batch", rows.iter().map(|row| Some(row.batch)));
    out.time("updated_at", rows.iter().map(|row| Some(row.updated_at)));
    out.finish(&PROFILES)
}
