//! The row of one profile revision, from its ledger rows and its node rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use chrono::{DateTime, TimeDelta, Utc};
use wsp_schemas::identity::Kind;
use wsp_schemas::image::Workload;
use wsp_schemas::tables::PROFILES;

use super::Options;
use super::ledger::{LedgerRow, Outcome};
use super::score::Observers;
use crate::content_hash;
use crate::rows::{Builder, Reader};
use crate::stats::{Incidence, Similarity};

/// One revision: which ledger rows it is made of.
#[derive(Debug)]
pub(super) struct RevisionRows<'a> {
    pub(super) workload: Workload,
    pub(super) number: i32,
    /// Admitted rows, by ordinal.
    pub(super) admitted: Vec<&'a LedgerRow>,
    /// The row that froze it.
    pub(super) frozen: Option<&'a LedgerRow>,
}

impl<'a> RevisionRows<'a> {
    /// The revision of a workload in a bucket's ledger rows.
    pub(super) fn of(workload: &Workload, rows: &'a [LedgerRow]) -> Self {
        let mine = || rows.iter().filter(|row| row.workload.as_ref() == Some(workload));
        let mut admitted: Vec<_> = mine().filter(|row| row.outcome == Outcome::Admitted).collect();
        admitted.sort_by_key(|row| row.ordinal);
        Self {
            workload: workload.clone(),
            number: admitted.first().and_then(|row| row.revision).unwrap_or(1),
            frozen: mine().find(|row| row.outcome == Outcome::Frozen),
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
    path_rules: i32,
    content_hash: String,
    batch: i64,
    updated_at: DateTime<Utc>,
}

/// Sums up one revision. `nodes` are its rows in the order of their ids.
pub(super) fn summarise(
    bucket: i32,
    revision: &RevisionRows<'_>,
    nodes: &RecordBatch,
    batch: i64,
    options: &Options,
) -> Result<ProfileRow, ArrowError> {
    let observers = Observers::new(&revision.admitted);
    let seen = || revision.admitted.iter().filter_map(|row| row.seen.as_ref());
    let digests: BTreeSet<String> = seen().filter_map(|seen| seen.image_digest.clone()).collect();
    let first_start =
        revision.admitted.first().and_then(|row| row.seen.as_ref()).map(|seen| seen.window_start);
    let last_window_end = seen().map(|seen| seen.window_end).max();
    let stable_reason = revision.frozen.and_then(|row| row.reason.clone());
    let learning = TimeDelta::from_std(options.learning_time).unwrap_or(TimeDelta::MAX);
    let stable_at = match stable_reason.as_deref() {
        Some("age") => first_start.and_then(|start| start.checked_add_signed(learning)),
        Some(_) => last_window_end,
        None => None,
    };

    let read = Reader::new(nodes);
    let mut all = (Similarity::default(), Incidence::default());
    let mut by_kind: BTreeMap<Kind, (i64, Similarity)> = BTreeMap::new();
    for row in 0..nodes.num_rows() {
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
    Ok(ProfileRow {
        bucket,
        workload: revision.workload.clone(),
        revision: revision.number,
        status: revision.status(),
        stable_reason,
        stable_at,
        digests: digests.into_iter().collect(),
        snapshots: revision.admitted.len(),
        containers: observers.containers(),
        hosts: observers.hosts(),
        first_window_start: seen().map(|seen| seen.window_start).min(),
        last_window_end,
        nodes: nodes.num_rows(),
        nodes_by_kind: by_kind.iter().map(|(kind, (nodes, _))| (kind.as_str().to_owned(), *nodes)).collect(),
        commonality: all.0.value(),
        commonality_by_kind: by_kind
            .iter()
            .filter_map(|(kind, (_, similarity))| Some((kind.as_str().to_owned(), similarity.value()?)))
            .collect(),
        coverage: all.1.coverage(observers.containers()),
        completeness: Kind::ALL.into_iter().filter_map(share).collect(),
        path_rules: wsp_schemas::paths::RULES_VERSION,
        content_hash: content_hash::of(nodes)?,
        batch,
        updated_at: options.as_of,
    })
}

/// Rows as the table has them.
pub(super) fn to_batch(rows: &[ProfileRow]) -> Result<RecordBatch, ArrowError> {
    let mut out = Builder::new(rows.len());
    let int = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    out.int32("bucket", rows.iter().map(|row| Some(row.bucket)));
    out.text("workload_key", rows.iter().map(|row| Some(row.workload.key().to_string())));
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
    out.int32("path_rules", rows.iter().map(|row| Some(row.path_rules)));
    out.text("content_hash", rows.iter().map(|row| Some(row.content_hash.clone())));
    out.int64("batch", rows.iter().map(|row| Some(row.batch)));
    out.time("updated_at", rows.iter().map(|row| Some(row.updated_at)));
    out.finish(&PROFILES)
}
