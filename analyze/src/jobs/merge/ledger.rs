//! The ledger in memory: what was decided on every snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use wsp_schemas::identity::Kind;
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::snapshot::{Completeness, STARTUP, SnapshotMeta};
use wsp_schemas::tables::PROFILE_SNAPSHOTS;

use super::MergeError;
use crate::rows::{Builder, Reader};
use crate::tables::{DataFile, OpenTable, Selection};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Admitted,
    Duplicate,
    Conflict,
    Damaged,
    Unkeyed,
    OutOfRange,
    Opened,
    Frozen,
    AfterFreeze,
}

impl Outcome {
    const ALL: [Self; 9] = [
        Self::Admitted,
        Self::Duplicate,
        Self::Conflict,
        Self::Damaged,
        Self::Unkeyed,
        Self::OutOfRange,
        Self::Opened,
        Self::Frozen,
        Self::AfterFreeze,
    ];

    /// It makes a profile what it is; the others say what is not in one.
    pub(super) const fn is_of_a_profile(self) -> bool {
        matches!(self, Self::Admitted | Self::Opened | Self::Frozen)
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Damaged => "damaged",
            Self::Unkeyed => "unkeyed",
            Self::OutOfRange => "out_of_range",
            Self::Opened => "opened",
            Self::Frozen => "frozen",
            Self::AfterFreeze => "after_freeze",
        }
    }
}

/// One row of `profile_snapshots`.
#[derive(Debug, Clone)]
pub(super) struct LedgerRow {
    pub(super) bucket: i32,
    pub(super) workload_key: Option<WorkloadKey>,
    pub(super) workload: Option<Workload>,
    pub(super) revision: Option<i32>,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<String>,
    pub(super) ordinal: Option<i32>,
    pub(super) batch: i64,
    pub(super) decided_at: DateTime<Utc>,
    pub(super) object_key: Option<String>,
    pub(super) object_size: Option<i64>,
    pub(super) content_hash: Option<String>,
    pub(super) snapshot_id: Option<SnapshotId>,
    /// Of `opened`: windows that start before are not of this revision. Of `frozen`: when it became stable, in event time.
    /// Of `after_freeze`: the hour of the uploads.
    pub(super) at: Option<DateTime<Utc>>,
    /// Of `after_freeze`: how many came.
    pub(super) snapshots: Option<i64>,
    pub(super) seen: Option<Seen>,
}

/// What a snapshot says about itself, as far as profiles need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(super) rows: i32,
    pub(super) completeness: BTreeMap<String, String>,
    pub(super) container_id: String,
    pub(super) container_name: Option<String>,
    pub(super) container_started: Option<DateTime<Utc>>,
    pub(super) host: String,
    pub(super) window_start: DateTime<Utc>,
    pub(super) window_end: DateTime<Utc>,
    pub(super) covers_start: bool,
    pub(super) image_digest: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) path_rules: i32,
}

impl Seen {
    pub(super) fn of(meta: &SnapshotMeta, rows: usize) -> Self {
        Self {
            rows: i32::try_from(rows).unwrap_or(i32::MAX),
            completeness: meta
                .completeness
                .iter()
                .map(|(kind, state)| (kind.clone(), state.as_str().to_owned()))
                .collect(),
            container_id: meta.container.id.clone(),
            container_name: meta.container.name.clone(),
            container_started: meta.container.started,
            host: meta.host.clone(),
            window_start: meta.window_start,
            window_end: meta.window_end,
            covers_start: meta.covers_start,
            image_digest: meta.image.digest.clone(),
            labels: meta.container.labels.clone(),
            path_rules: meta.path_rules,
        }
    }

    /// Its container; ids are unique on a host only where a runtime makes them short.
    pub(super) fn container(&self) -> String {
        format!("{}\0{}", self.host, self.container_id)
    }

    /// Nothing of the kind was lost, and its sensor was live.
    pub(super) fn lossless(&self, kind: Kind) -> bool {
        self.completeness.get(kind.as_str()).is_some_and(|state| is_lossless(state))
    }
}

impl Seen {
    /// The window has a part of the time in which the container's startup nodes are first seen.
    pub(super) fn reaches_startup(&self) -> bool {
        let startup = TimeDelta::from_std(STARTUP).unwrap_or_default();
        self.covers_start
            || self.container_started.is_some_and(|started| self.window_start < started + startup)
    }
}

/// Whether a state in the column `completeness` says that nothing of the kind was lost.
fn is_lossless(state: &str) -> bool {
    state != Completeness::Lossy.as_str()
}

/// Whether a snapshot makes its container eligible for nodes of a kind and phase. `state` is the snapshot's completeness of
/// the kind; a kind whose sensor was not live has none, and makes nobody eligible.
pub(crate) fn makes_eligible(state: &str, covers_start: bool, startup: bool) -> bool {
    is_lossless(state) && (covers_start || !startup)
}

impl LedgerRow {
    pub(super) fn is_lossy(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| seen.completeness.values().any(|state| !is_lossless(state)))
    }
}

/// The rows of some workloads, in the order in which they were decided.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    by_workload: BTreeMap<WorkloadKey, Arc<Vec<LedgerRow>>>,
}

impl Ledger {
    /// Reads the rows of these workloads, from the files that may have any.
    pub(super) async fn read(
        table: &OpenTable,
        workloads: &BTreeSet<WorkloadKey>,
    ) -> Result<Self, MergeError> {
        let keys: BTreeSet<String> = workloads.iter().map(ToString::to_string).collect();
        let buckets = table.buckets()?;
        let buckets: BTreeSet<i32> = workloads.iter().map(|key| key.bucket(buckets)).collect();
        let select = Selection { columns: None, workloads: Some(&keys) };
        let of_them = |file: &&DataFile| {
            file.bucket().is_none_or(|bucket| buckets.contains(&bucket))
                && file.may_hold("workload_key", &keys)
        };
        let mut rows = Vec::new();
        for file in table.files()?.iter().filter(of_them) {
            for batch in table.read(file, select).await? {
                rows.extend(from_batch(&batch)?);
            }
        }
        let mut ledger = Self::default();
        ledger.extend(rows);
        Ok(ledger)
    }

    /// Reads all rows of some buckets.
    pub(super) async fn of_buckets(table: &OpenTable, buckets: &BTreeSet<i32>) -> Result<Self, MergeError> {
        let mut rows = Vec::new();
        for file in table.files()?.iter().filter(|file| file.bucket().is_some_and(|at| buckets.contains(&at)))
        {
            for batch in table.read(file, Selection::default()).await? {
                rows.extend(from_batch(&batch)?);
            }
        }
        let mut ledger = Self::default();
        ledger.extend(rows);
        Ok(ledger)
    }

    /// Lets go of the rows of some buckets.
    pub(super) fn forget(&mut self, buckets: &BTreeSet<i32>) {
        self.by_workload.retain(|_, rows| rows.iter().all(|row| !buckets.contains(&row.bucket)));
    }

    /// Adds rows of batches later than all that are there.
    pub(super) fn extend(&mut self, mut rows: Vec<LedgerRow>) {
        // Files of a table come in no order; ordinals and freezes must be taken in theirs.
        rows.sort_by(|a, b| a.place().cmp(&b.place()));
        for row in rows {
            if let Some(key) = row.workload_key {
                Arc::make_mut(self.by_workload.entry(key).or_default()).push(row);
            }
        }
    }

    pub(super) fn rows(&self, workload: WorkloadKey) -> &[LedgerRow] {
        self.by_workload.get(&workload).map_or(&[], |rows| rows.as_slice())
    }

    /// The same rows, to be taken elsewhere.
    pub(super) fn shared(&self, workload: WorkloadKey) -> Arc<Vec<LedgerRow>> {
        self.by_workload.get(&workload).cloned().unwrap_or_default()
    }

    /// Workloads of a bucket that a batch after this one changed.
    pub(super) fn changed_after(&self, bucket: i32, batch: i64) -> Vec<WorkloadKey> {
        let changes =
            |row: &LedgerRow| row.bucket == bucket && row.batch > batch && row.outcome.is_of_a_profile();
        let changed = self.by_workload.iter().filter(|(_, rows)| rows.iter().any(changes));
        changed.map(|(key, _)| *key).collect()
    }
}

impl LedgerRow {
    fn place(&self) -> (i64, Option<i32>, u8, Option<i32>, Option<&str>) {
        let last = match self.outcome {
            Outcome::Opened => 0,
            Outcome::Frozen => 2,
            _ => 1,
        };
        (self.batch, self.revision, last, self.ordinal, self.object_key.as_deref())
    }
}

/// What the ledger says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decided {
    /// It is settled.
    Settled,
    /// It was refused, and moves away.
    Refused(Refusal),
}

/// What was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) content_hash: Option<String>,
    pub(super) reason: String,
}

/// Reads what was decided on the objects whose keys are not below `from`.
pub(super) async fn decided(table: &OpenTable, from: &str) -> Result<HashMap<String, Decided>, MergeError> {
    let select =
        Selection { columns: Some(&["object_key", "outcome", "content_hash", "reason"]), workloads: None };
    let mut decided = HashMap::new();
    let files = table.files()?;
    for file in files.iter().filter(|file| file.greatest("object_key").is_none_or(|key| key >= from)) {
        for batch in table.read(file, select).await? {
            let read = Reader::new(&batch);
            for row in 0..batch.num_rows() {
                let Some(key) = read.text("object_key", row).filter(|key| *key >= from) else { continue };
                let refused = matches!(read.text("outcome", row), Some("damaged" | "conflict"));
                let what = if refused {
                    Decided::Refused(Refusal {
                        content_hash: read.text("content_hash", row).map(str::to_owned),
                        reason: read.text("reason", row).unwrap_or_default().to_owned(),
                    })
                } else {
                    Decided::Settled
                };
                // What was refused and put back may have been settled since.
                if decided.get(key) != Some(&Decided::Settled) {
                    decided.insert(key.to_owned(), what);
                }
            }
        }
    }
    Ok(decided)
}

/// The last batch of every bucket in the ledger; a bucket that has none is not there.
pub(super) async fn batches(table: &OpenTable) -> Result<BTreeMap<i32, i64>, MergeError> {
    let mut batches: BTreeMap<i32, i64> = BTreeMap::new();
    for file in table.files()? {
        let Some(bucket) = file.bucket() else { continue };
        let last = match file.greatest_number("batch") {
            Some(batch) => batch,
            None => table.batch(bucket).await?,
        };
        let entry = batches.entry(bucket).or_default();
        *entry = (*entry).max(last);
    }
    Ok(batches)
}

/// Rows as the table has them.
pub(super) fn to_batch(rows: &[&LedgerRow]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut out = Builder::new(rows.len());
    let seen = |get: fn(&Seen) -> Option<String>| rows.iter().map(move |row| row.seen.as_ref().and_then(get));
    let map = |get: fn(&Seen) -> &BTreeMap<String, String>| {
        rows.iter().map(move |row| row.seen.as_ref().map(|seen| get(seen).clone()))
    };
    let at = |row: &LedgerRow, outcome: Outcome| row.at.filter(|_| row.outcome == outcome);
    out.int32("bucket", rows.iter().map(|row| Some(row.bucket)));
    out.text("workload_key", rows.iter().map(|row| row.workload_key.map(|key| key.to_string())));
    out.text(
        "image_name",
        rows.iter().map(|row| row.workload.as_ref().map(|workload| workload.name().to_owned())),
    );
    out.text(
        "image_tag",
        rows.iter().map(|row| row.workload.as_ref().map(|workload| workload.tag().to_owned())),
    );
    out.int32("revision", rows.iter().map(|row| row.revision));
    out.text("outcome", rows.iter().map(|row| Some(row.outcome.as_str().to_owned())));
    out.text("reason", rows.iter().map(|row| row.reason.clone()));
    out.int32("ordinal", rows.iter().map(|row| row.ordinal));
    out.int64("batch", rows.iter().map(|row| Some(row.batch)));
    out.time("decided_at", rows.iter().map(|row| Some(row.decided_at)));
    out.text("object_key", rows.iter().map(|row| row.object_key.clone()));
    out.int64("object_size", rows.iter().map(|row| row.object_size));
    out.text("content_hash", rows.iter().map(|row| row.content_hash.clone()));
    out.text("snapshot_id", rows.iter().map(|row| row.snapshot_id.map(|id| id.to_string())));
    out.int32("rows", rows.iter().map(|row| Some(row.seen.as_ref()?.rows)));
    out.text_map("completeness", map(|seen| &seen.completeness))?;
    out.text("container_id", seen(|seen| Some(seen.container_id.clone())));
    out.text("container_name", seen(|seen| seen.container_name.clone()));
    out.time("container_started", rows.iter().map(|row| row.seen.as_ref()?.container_started));
    out.text("host", seen(|seen| Some(seen.host.clone())));
    out.time(
        "window_start",
        rows.iter().map(|row| at(row, Outcome::Opened).or_else(|| Some(row.seen.as_ref()?.window_start))),
    );
    out.time(
        "window_end",
        rows.iter().map(|row| at(row, Outcome::Frozen).or_else(|| Some(row.seen.as_ref()?.window_end))),
    );
    out.bool("covers_start", rows.iter().map(|row| Some(row.seen.as_ref()?.covers_start)));
    out.text("image_digest", seen(|seen| seen.image_digest.clone()));
    out.text_map("labels", map(|seen| &seen.labels))?;
    out.int32("path_rules", rows.iter().map(|row| Some(row.seen.as_ref()?.path_rules)));
    out.time("hour", rows.iter().map(|row| at(row, Outcome::AfterFreeze)));
    out.int64("snapshots", rows.iter().map(|row| row.snapshots));
    out.finish(&PROFILE_SNAPSHOTS)
}

fn from_batch(batch: &RecordBatch) -> Result<Vec<LedgerRow>, MergeError> {
    let read = Reader::new(batch);
    (0..batch.num_rows())
        .map(|row| {
            let outcome = read.text("outcome", row).unwrap_or_default();
            let outcome = Outcome::ALL
                .into_iter()
                .find(|known| known.as_str() == outcome)
                .ok_or_else(|| read.unknown("profile_snapshots", "outcome", outcome))?;
            let workload = match (read.text("image_name", row), read.text("image_tag", row)) {
                (Some(name), Some(tag)) => Workload::from_columns(name, tag).ok(),
                _ => None,
            };
            Ok(LedgerRow {
                bucket: read.int32("bucket", row).unwrap_or_default(),
                workload_key: read.text("workload_key", row).and_then(WorkloadKey::parse),
                workload,
                revision: read.int32("revision", row),
                outcome,
                reason: read.text("reason", row).map(str::to_owned),
                ordinal: read.int32("ordinal", row),
                batch: read.int64("batch", row).unwrap_or_default(),
                decided_at: read.time("decided_at", row).unwrap_or_default(),
                object_key: read.text("object_key", row).map(str::to_owned),
                object_size: read.int64("object_size", row),
                content_hash: read.text("content_hash", row).map(str::to_owned),
                snapshot_id: read.text("snapshot_id", row).and_then(SnapshotId::parse),
                at: match outcome {
                    Outcome::Opened => read.time("window_start", row),
                    Outcome::Frozen => read.time("window_end", row),
                    Outcome::AfterFreeze => read.time("hour", row),
                    _ => None,
                },
                snapshots: read.int64("snapshots", row),
                seen: seen_of(&read, row),
            })
        })
        .collect()
}

fn seen_of(read: &Reader<'_>, row: usize) -> Option<Seen> {
    Some(Seen {
        rows: read.int32("rows", row)?,
        completeness: read.text_map("completeness", row),
        container_id: read.text("container_id", row)?.to_owned(),
        container_name: read.text("container_name", row).map(str::to_owned),
        container_started: read.time("container_started", row),
        host: read.text("host", row)?.to_owned(),
        window_start: read.time("window_start", row)?,
        window_end: read.time("window_end", row)?,
        covers_start: read.bool("covers_start", row)?,
        image_digest: read.text("image_digest", row).map(str::to_owned),
        labels: read.text_map("labels", row),
        path_rules: read.int32("path_rules", row)?,
    })
}
