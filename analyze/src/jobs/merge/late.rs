//! Snapshots that came after their profile was stable: never opened, counted by hour of upload.
//!
//! An hour is counted once, when it leaves the look-back: a later merge lists from there on, whatever its look-back; a sweep
//! or a longer look-back adds what it finds beyond the count.

use std::collections::{BTreeMap, HashMap};

use chrono::DateTime;
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::SnapshotKey;

use super::ledger::{LedgerRow, Outcome};
use super::{MergeError, Options, plan, wave};
use crate::rows::Reader;
use crate::tables::{Change, MERGE_COUNTED, OpenTable, Selection, application};

/// An hour of uploads of one workload, hours since the epoch.
type Place = (WorkloadKey, i64);

/// How many came, by workload and hour.
#[derive(Debug, Default)]
pub(super) struct Late(BTreeMap<Place, Count>);

#[derive(Debug)]
struct Count {
    workload: Workload,
    revision: i32,
    snapshots: i64,
}

/// Hours that the count lags behind where there is nothing else to commit: compaction waits for it.
const LAG: i64 = 24;

/// What the ledger gets to know of them.
#[derive(Debug, Default)]
pub(super) struct Counted {
    rows: Vec<LedgerRow>,
    /// All hours before are then counted.
    before: Option<i64>,
    /// So far, all hours before this one were.
    stood: Option<i64>,
}

impl Counted {
    /// Whether it is worth a commit of its own.
    pub(super) fn is_due(&self) -> bool {
        !self.rows.is_empty() || self.before > self.stood.map(|stood| stood + LAG)
    }

    /// Puts the count into a change of the ledger, and gives its rows. They are part of no batch, as no profile changes by
    /// them: they have the number at which their bucket stands. Two merges that count conflict.
    pub(super) fn put(self, change: &mut Change, batches: &BTreeMap<i32, i64>) -> Vec<LedgerRow> {
        self.before
            .filter(|before| Some(*before) > self.stood)
            .into_iter()
            .for_each(|before| change.set(application(MERGE_COUNTED, before)));
        let mut rows = self.rows;
        rows.iter_mut().for_each(|row| row.batch = batches.get(&row.bucket).copied().unwrap_or(0));
        rows
    }
}

impl Late {
    pub(super) fn add(&mut self, key: &SnapshotKey, workload: &Workload, revision: i32) {
        let hour = key.uploaded.timestamp().div_euclid(3600);
        let count = self.0.entry((key.workload, hour)).or_insert_with(|| Count {
            workload: workload.clone(),
            revision,
            snapshots: 0,
        });
        count.snapshots += 1;
    }

    /// How many came.
    pub(super) fn total(&self) -> usize {
        self.0.values().map(|count| usize::try_from(count.snapshots).unwrap_or_default()).sum()
    }

    pub(super) fn extend(&mut self, other: Self) {
        for (place, more) in other.0 {
            self.0.entry(place).and_modify(|count| count.snapshots += more.snapshots).or_insert(more);
        }
    }

    /// The rows that the ledger lacks, where the watermark stands there after this merge.
    pub(super) async fn count(
        &self,
        ledger: &OpenTable,
        watermark: Option<i64>,
        options: &Options,
    ) -> Result<Counted, MergeError> {
        // Where the next merge's listing begins.
        let from = watermark.and_then(|hour| plan::hour_before(hour, options));
        let from = from.map(|from| from.timestamp().div_euclid(3600));
        let buckets = ledger.buckets()?;
        let counted = ledger.application(MERGE_COUNTED).await?;
        let before = counted.max(from);
        let is_counted = |hour: i64| counted.is_some_and(|counted| hour < counted);
        let recorded = if self.0.keys().any(|(_, hour)| is_counted(*hour)) {
            recorded(ledger).await?
        } else {
            HashMap::new()
        };
        let mut rows = Vec::new();
        for (place, count) in &self.0 {
            let (key, hour) = *place;
            if before.is_none_or(|before| hour >= before) {
                continue;
            }
            let known = recorded.get(place).copied().unwrap_or(0);
            if count.snapshots > known {
                rows.push(LedgerRow {
                    workload_key: Some(key),
                    workload: Some(count.workload.clone()),
                    revision: Some(count.revision),
                    outcome: Outcome::AfterFreeze,
                    at: hour.checked_mul(3600).and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
                    snapshots: Some(count.snapshots - known),
                    ..wave::empty(key.bucket(buckets), options)
                });
            }
        }
        Ok(Counted { rows, before, stood: counted })
    }
}

/// The counts that the ledger has.
async fn recorded(ledger: &OpenTable) -> Result<HashMap<Place, i64>, MergeError> {
    let columns = ["workload_key", "outcome", "hour", "snapshots"];
    let select = Selection { columns: Some(&columns), workloads: None };
    let mut recorded = HashMap::new();
    for file in ledger.files()? {
        for batch in ledger.read(&file, select).await? {
            let read = Reader::new(&batch);
            for row in 0..batch.num_rows() {
                if read.text("outcome", row) != Some(Outcome::AfterFreeze.as_str()) {
                    continue;
                }
                let workload = read.text("workload_key", row).and_then(WorkloadKey::parse);
                let hour = read.time("hour", row).map(|time| time.timestamp().div_euclid(3600));
                if let (Some(workload), Some(hour)) = (workload, hour) {
                    *recorded.entry((workload, hour)).or_default() +=
                        read.int64("snapshots", row).unwrap_or_default();
                }
            }
        }
    }
    Ok(recorded)
}
