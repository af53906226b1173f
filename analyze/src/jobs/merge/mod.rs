//! `merge`: snapshots become profiles.
//!
//! Plan from LIST → read and verify → admit → commit the ledger → group by profile and node → score → commit nodes, then
//! profiles. Everything after the ledger's commit is a function of the ledger: a run that stops there is finished by the
//! next one, from the ledger alone.

mod admit;
mod aggregate;
mod apply;
mod ledger;
mod plan;
mod profile;
mod read;
mod score;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use object_store::ObjectStore as _;
use object_store::path::Path;
use serde::Serialize;
use wsp_schemas::keys;
use wsp_schemas::snapshot::Limits;
use wsp_schemas::store::Store;

use crate::tables::{Change, ProfileTables, TableError, partition_value, transaction};
use ledger::{Ledger, LedgerRow, Outcome};

/// Buckets of a store that is made by a merge.
pub const DEFAULT_BUCKETS: u32 = 16;

/// What a merge is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The clock: a profile whose learning time has passed by then is frozen.
    pub as_of: DateTime<Utc>,
    /// A profile is stable with this many snapshots.
    pub max_snapshots: u32,
    /// A profile is stable this long after the start of its first window.
    pub learning_time: Duration,
    /// Buckets, where the store's tables are made now.
    pub buckets: u32,
    /// Bounds on a snapshot file.
    pub limits: Limits,
    /// Files that are read at the same time.
    pub concurrency: usize,
    /// Files after which a batch is committed; a bucket is never split.
    pub files_per_batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            as_of: Utc::now(),
            max_snapshots: 200,
            learning_time: Duration::from_secs(48 * 3600),
            buckets: DEFAULT_BUCKETS,
            limits: Limits::default(),
            concurrency: 8,
            files_per_batch: 4096,
        }
    }
}

/// What a merge did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Objects below `snapshots/`.
    pub listed: usize,
    /// Objects that an earlier merge had decided on.
    pub known: usize,
    /// Objects of profiles that are stable: not opened.
    pub after_freeze: usize,
    /// Snapshots admitted.
    pub admitted: usize,
    /// Admitted snapshots that were lossy in some kind.
    pub lossy: usize,
    /// Snapshots that were there twice.
    pub duplicates: usize,
    /// Snapshots of no known workload: kept, not merged.
    pub unkeyed: usize,
    /// Objects moved to quarantine, with the reason.
    pub quarantined: Vec<Problem>,
    /// Objects that the store did not give: the next merge tries again.
    pub unavailable: Vec<Problem>,
    /// Profile revisions changed.
    pub profiles: usize,
    /// Of those, frozen by this merge.
    pub frozen: usize,
    /// Node rows written.
    pub nodes: usize,
}

/// An object that could not be used.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// Its key.
    pub object: String,
    /// What is wrong.
    pub reason: String,
}

impl Report {
    /// Everything that was there went in, whole.
    pub fn is_clean(&self) -> bool {
        self.quarantined.is_empty() && self.unavailable.is_empty() && self.lossy == 0
    }
}

/// A merge that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Objects cannot be listed.
    #[error("the snapshots of {store} cannot be listed")]
    List {
        /// The store.
        store: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// A snapshot that the ledger has cannot be read again.
    #[error(
        "the ledger has the snapshot `{object}`, which cannot be read again: {reason}; put the object back and merge again"
    )]
    Lost {
        /// The object.
        object: String,
        /// Why.
        reason: String,
    },
    /// An object cannot be moved to quarantine.
    #[error("`{object}` cannot be moved to quarantine")]
    Quarantine {
        /// The object.
        object: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The engine failed.
    #[error("the aggregation failed")]
    Engine(#[from] datafusion::error::DataFusionError),
    /// Rows could not be put together.
    #[error("rows of the profile tables cannot be built")]
    Rows(#[from] arrow::error::ArrowError),
}

/// Told how far a merge is.
pub trait Progress: Send + Sync {
    /// So many files will be read.
    fn files(&self, total: usize);
    /// One more file was read.
    fn file(&self);
    /// What is done now.
    fn stage(&self, text: &str);
}

/// Nobody is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn files(&self, _: usize) {}
    fn file(&self) {}
    fn stage(&self, _: &str) {}
}

/// Runs a merge.
pub async fn run(store: &Store, options: &Options, progress: &dyn Progress) -> Result<Report, MergeError> {
    if is_empty(store).await? {
        return Ok(Report::default());
    }
    let mut tables = ProfileTables::open_or_create(store, options.buckets).await?;
    let buckets = tables.ledger.buckets()?;
    progress.stage("reading the ledger");
    let mut ledger = Ledger::read(&tables.ledger).await?;
    let mut report = Report::default();

    // What an earlier run admitted and did not finish comes first: its batch must stand before the next one starts.
    let behind = apply::behind(&tables, buckets).await?;
    if !behind.is_empty() {
        progress.stage("finishing an earlier merge");
        tables = apply::run(store, tables, &ledger, &behind, BTreeMap::new(), options, &mut report).await?;
    }

    progress.stage("listing snapshots");
    let plan = plan::make(store, &ledger, buckets, &mut report).await?;
    progress.files(plan.files());
    for wave in plan.waves(options.files_per_batch, ledger.due(options, buckets)) {
        let findings = read::all(store, &wave.objects, options, progress).await;
        progress.stage("merging");
        let decided = admit::decide(&ledger, findings, &wave.buckets, options, buckets);
        report.count(&decided.rows, &decided.problems, decided.after_freeze);
        let touched: Vec<i32> = decided.touched();
        if touched.is_empty() {
            continue;
        }
        let rows = number_batches(&tables, decided.rows, &touched).await?;
        tables.ledger = commit_ledger(&tables, &rows, &touched).await?;
        read::quarantine(store, &rows).await?;
        ledger.extend(rows);
        tables =
            apply::run(store, tables, &ledger, &touched, decided.snapshots, options, &mut report).await?;
    }
    Ok(report)
}

/// Neither snapshots nor tables: a mistyped URL should not become a store.
async fn is_empty(store: &Store) -> Result<bool, MergeError> {
    let first = store.objects.list(Some(&Path::from(keys::SNAPSHOTS))).next().await.transpose();
    let first = first.map_err(|source| MergeError::List { store: store.to_string(), source })?;
    Ok(first.is_none() && !ProfileTables::are_made(store).await?)
}

/// Gives every row the next batch number of its bucket.
async fn number_batches(
    tables: &ProfileTables,
    mut rows: Vec<LedgerRow>,
    buckets: &[i32],
) -> Result<Vec<LedgerRow>, MergeError> {
    let mut next = BTreeMap::new();
    for bucket in buckets {
        next.insert(*bucket, tables.ledger.batch(*bucket).await? + 1);
    }
    for row in &mut rows {
        row.batch = next.get(&row.bucket).copied().unwrap_or(1);
    }
    Ok(rows)
}

async fn commit_ledger(
    tables: &ProfileTables,
    rows: &[LedgerRow],
    buckets: &[i32],
) -> Result<crate::tables::OpenTable, MergeError> {
    let mut change = Change::default();
    for bucket in buckets {
        let of_bucket: Vec<&LedgerRow> = rows.iter().filter(|row| row.bucket == *bucket).collect();
        let batch = of_bucket.first().map_or(1, |row| row.batch);
        change
            .add(&tables.ledger, vec![partition_value("bucket", bucket)], &ledger::to_batch(&of_bucket)?)
            .await?;
        change.advance(*bucket, transaction(*bucket, batch));
    }
    Ok(change.commit(&tables.ledger).await?)
}

impl Report {
    fn count(&mut self, rows: &[LedgerRow], problems: &[Problem], after_freeze: usize) {
        self.after_freeze += after_freeze;
        self.unavailable.extend_from_slice(problems);
        for row in rows {
            match row.outcome {
                Outcome::Admitted => {
                    self.admitted += 1;
                    self.lossy += usize::from(row.is_lossy());
                }
                Outcome::Duplicate => self.duplicates += 1,
                Outcome::Unkeyed => self.unkeyed += 1,
                Outcome::Frozen => self.frozen += 1,
                Outcome::Damaged | Outcome::Conflict => self.quarantined.push(Problem {
                    object: row.object_key.clone().unwrap_or_default(),
                    reason: row.reason.clone().unwrap_or_default(),
                }),
            }
        }
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
