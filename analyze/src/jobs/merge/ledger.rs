//! The ledger in memory: what was decided on every snapshot.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::RecordBatch;
use chrono::{DateTime, TimeDelta, Utc};
use wsp_schemas::identity::Kind;
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::SnapshotId;
use wsp_schemas::snapshot::{Completeness, STARTUP, Verified};
use wsp_schemas::tables::PROFILE_SNAPSHOTS;

use super::admit::deadline;
use super::{MergeError, Options};
use crate::rows::{Builder, Reader};
use crate::tables::{OpenTable, read_partition};

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Admitted,
    Duplicate,
    Conflict,
    Damaged,
    Unkeyed,
    Frozen,
}

impl Outcome {
    const ALL: [Self; 6] =
        [Self::Admitted, Self::Duplicate, Self::Conflict, Self::Damaged, Self::Unkeyed, Self::Frozen];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Damaged => "damaged",
            Self::Unkeyed => "unkeyed",
            Self::Frozen => "frozen",
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
    pub(super) seen: Option<Seen>,
}

/// What a snapshot says about itself, as far as profiles need it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
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
    pub(super) fn of(snapshot: &Verified) -> Self {
        let meta = &snapshot.meta;
        Self {
            rows: i32::try_from(snapshot.rows.num_rows()).unwrap_or(i32::MAX),
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

    /// Nothing of the kind was lost, and its sensor was live.
    pub(super) fn lossless(&self, kind: Kind) -> bool {
        self.completeness.get(kind.as_str()).is_some_and(|state| state != Completeness::Lossy.as_str())
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

impl LedgerRow {
    pub(super) fn is_lossy(&self) -> bool {
        let lossy = Completeness::Lossy.as_str();
        self.seen.as_ref().is_some_and(|seen| seen.completeness.values().any(|state| state == lossy))
    }
}

/// All rows, and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    by_bucket: BTreeMap<i32, Vec<LedgerRow>>,
    objects: HashSet<String>,
    /// Content hash of every snapshot that was admitted, by id.
    admitted: HashMap<SnapshotId, String>,
    revisions: HashMap<WorkloadKey, Revision>,
}

/// Where the newest revision of a workload stands.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub(super) workload: Workload,
    pub(super) number: i32,
    pub(super) snapshots: u32,
    pub(super) first_start: DateTime<Utc>,
    pub(super) frozen: bool,
}

impl Ledger {
    pub(super) async fn read(table: &OpenTable) -> Result<Self, MergeError> {
        let mut rows = Vec::new();
        for batch in read_partition(table, |_| true).await? {
            rows.extend(from_batch(&batch)?);
        }
        let mut ledger = Self::default();
        ledger.extend(rows);
        Ok(ledger)
    }

    /// Adds rows of batches later than all that are there.
    pub(super) fn extend(&mut self, mut rows: Vec<LedgerRow>) {
        // Files of a table come in no order; ordinals and freezes must be taken in theirs.
        rows.sort_by_key(|row| (row.batch, row.outcome == Outcome::Frozen, row.ordinal));
        for row in rows {
            if let (Some(key), false) =
                (&row.object_key, matches!(row.outcome, Outcome::Damaged | Outcome::Conflict))
            {
                self.objects.insert(key.clone());
            }
            self.note(&row);
            self.by_bucket.entry(row.bucket).or_default().push(row);
        }
    }

    fn note(&mut self, row: &LedgerRow) {
        let Some(workload) = &row.workload else { return };
        match (row.outcome, &row.seen) {
            (Outcome::Admitted, Some(seen)) => {
                if let (Some(id), Some(hash)) = (row.snapshot_id, &row.content_hash) {
                    self.admitted.insert(id, hash.clone());
                }
                let revision = self.revisions.entry(workload.key()).or_insert_with(|| Revision {
                    workload: workload.clone(),
                    number: row.revision.unwrap_or(1),
                    snapshots: 0,
                    first_start: seen.window_start,
                    frozen: false,
                });
                if row.ordinal == Some(0) {
                    revision.first_start = seen.window_start;
                }
                revision.snapshots += 1;
            }
            (Outcome::Frozen, _) => {
                if let Some(revision) = self.revisions.get_mut(&workload.key()) {
                    revision.frozen = true;
                }
            }
            _ => {}
        }
    }

    pub(super) fn has_object(&self, key: &str) -> bool {
        self.objects.contains(key)
    }

    pub(super) fn admitted(&self, id: &SnapshotId) -> Option<&str> {
        self.admitted.get(id).map(String::as_str)
    }

    pub(super) fn revision(&self, workload: WorkloadKey) -> Option<&Revision> {
        self.revisions.get(&workload)
    }

    pub(super) fn is_stable(&self, workload: WorkloadKey) -> bool {
        self.revision(workload).is_some_and(|revision| revision.frozen)
    }

    /// Learning revisions of a bucket whose time has passed, or that have all the snapshots they may have.
    pub(super) fn overdue(&self, bucket: i32, options: &Options, buckets: u32) -> Vec<&Revision> {
        let mut overdue: Vec<_> = self
            .revisions
            .iter()
            .filter(|(key, revision)| key.bucket(buckets) == bucket && !revision.frozen)
            .map(|(_, revision)| revision)
            .filter(|revision| {
                revision.snapshots >= options.max_snapshots
                    || options.as_of >= deadline(revision.first_start, options)
            })
            .collect();
        overdue.sort_by(|a, b| a.workload.cmp(&b.workload));
        overdue
    }

    /// Buckets with an overdue revision.
    pub(super) fn due(&self, options: &Options, buckets: u32) -> Vec<i32> {
        self.by_bucket
            .keys()
            .copied()
            .filter(|bucket| !self.overdue(*bucket, options, buckets).is_empty())
            .collect()
    }

    pub(super) fn rows(&self, bucket: i32) -> &[LedgerRow] {
        self.by_bucket.get(&bucket).map_or(&[], Vec::as_slice)
    }
}

/// Rows as the table has them.
pub(super) fn to_batch(rows: &[&LedgerRow]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut out = Builder::new(rows.len());
    let seen = |row: &LedgerRow| row.seen.clone();
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
    out.int32("rows", rows.iter().map(|row| seen(row).map(|seen| seen.rows)));
    out.text_map("completeness", rows.iter().map(|row| seen(row).map(|seen| seen.completeness)))?;
    out.text("container_id", rows.iter().map(|row| seen(row).map(|seen| seen.container_id)));
    out.text("container_name", rows.iter().map(|row| seen(row)?.container_name));
    out.time("container_started", rows.iter().map(|row| seen(row)?.container_started));
    out.text("host", rows.iter().map(|row| seen(row).map(|seen| seen.host)));
    out.time("window_start", rows.iter().map(|row| seen(row).map(|seen| seen.window_start)));
    out.time("window_end", rows.iter().map(|row| seen(row).map(|seen| seen.window_end)));
    out.bool("covers_start", rows.iter().map(|row| seen(row).map(|seen| seen.covers_start)));
    out.text("image_digest", rows.iter().map(|row| seen(row)?.image_digest));
    out.text_map("labels", rows.iter().map(|row| seen(row).map(|seen| seen.labels)))?;
    out.int32("path_rules", rows.iter().map(|row| seen(row).map(|seen| seen.path_rules)));
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
