//! `compact`: raw snapshots into the table `activity`, small files together, what nobody needs any more out.
//!
//! Three steps, each complete by itself. [`raw`] writes and commits the rows of old snapshot files before it deletes the
//! files; [`pack`] rewrites small table files without changing a value, and has `profiles` name the new versions; [`retain`]
//! shortens logs and deletes files that no version needs that a reader may still have. A run that stops anywhere is finished
//! by the next.

mod judge;
mod listing;
mod moving;
mod pack;
mod raw;
#[cfg(feature = "distributed")]
pub(crate) mod remote;
mod retain;
mod rows;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wsp_schemas::snapshot::Limits;
use wsp_schemas::store::Store;

use crate::engine::Engine;
use crate::tables::{ProfileTables, TableError};

use super::retry::Patience;
pub use super::{Progress, Silent};

/// The shortest time that versions are kept without being told that nobody reads: a reader may have opened a version that is
/// replaced meanwhile, and a merge writes files before it commits them.
pub const SHORTEST_KEEP: Duration = Duration::from_secs(3600);

/// What a compaction is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The clock that the age of snapshots is measured by.
    pub as_of: DateTime<Utc>,
    /// Snapshots stay in `snapshots/` for this long after the hour of their upload.
    pub keep_raw: Duration,
    /// Move snapshots that no detection has looked at.
    pub without_detect: bool,
    /// Versions of the tables can be read for this long after they were replaced.
    pub keep_versions: Duration,
    /// Keep versions for less than [`SHORTEST_KEEP`]: nobody reads the store, and nobody merges.
    pub nobody_reads: bool,
    /// Bytes that a table file is to have.
    pub file_bytes: u64,
    /// Snapshot files that are fetched and decoded at the same time.
    pub concurrency: usize,
    /// Snapshot files after which rows are committed and the files deleted.
    pub files_per_commit: usize,
    /// Bounds on a snapshot file.
    pub limits: Limits,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
    /// Where files are read and written.
    pub engine: Engine,
}

impl Default for Options {
    fn default() -> Self {
        let week = Duration::from_secs(7 * 24 * 3600);
        Self {
            as_of: Utc::now(),
            keep_raw: week,
            without_detect: false,
            keep_versions: week,
            nobody_reads: false,
            file_bytes: 64 << 20,
            concurrency: 16,
            files_per_commit: 16_384,
            limits: Limits::default(),
            dry_run: false,
            engine: Engine::default(),
        }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Snapshot files.
    pub raw: Raw,
    /// By table: small files that became larger ones.
    pub packed: BTreeMap<&'static str, Packed>,
    /// Tables of profiles were left as they are: a merge was under way, or is not finished.
    pub unfinished_merge: bool,
    /// By table: what was deleted.
    pub deleted: BTreeMap<&'static str, Deleted>,
    /// Times that a step began anew because somebody else was faster.
    pub retries: u32,
}

/// What became of snapshot files.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Raw {
    /// Old enough to be looked at.
    pub listed: u64,
    /// Moved into `activity`.
    pub moved: u64,
    /// Bytes of those files.
    pub moved_bytes: u64,
    /// Rows of those files.
    pub rows: u64,
    /// Bytes of the table files that have them.
    pub written_bytes: u64,
    /// Files whose snapshot stood in `activity` already.
    pub known: u64,
    /// Files deleted.
    pub deleted: u64,
    /// Left where they are, by reason.
    pub left: BTreeMap<Left, u64>,
    /// Files that cannot be moved: damaged, changed since a merge decided on them, or other than the snapshot of the same id.
    pub damaged: Vec<Problem>,
    /// What the store did not give, or did not delete: the next run tries again.
    pub unavailable: Vec<Problem>,
}

/// Why snapshot files stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// Their workload still learns.
    Learning,
    /// No merge has decided on them.
    NotMerged,
    /// They came after the freeze, and no merge has counted them yet: their hour is in its look-back.
    NotCounted,
    /// A merge of their bucket is not finished.
    UnfinishedMerge,
    /// A merge refused them, and moves them to quarantine.
    Refused,
    /// No detection has looked at them.
    NotDetected,
    /// Their keys are none of ours.
    Foreign,
}

/// Small files that became larger ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// Files taken out.
    pub files_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Files that hold the same rows now; not known before it is done.
    pub files_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
}

/// What was deleted of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// Data files that no version needs that is still kept.
    pub data_files: u64,
    /// Files of the log.
    pub log_files: u64,
}

/// An object that could not be moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// Its key.
    pub object: String,
    /// What is wrong.
    pub reason: String,
}

impl Report {
    /// Nothing was in the way.
    pub fn is_clean(&self) -> bool {
        self.raw.damaged.is_empty() && self.raw.unavailable.is_empty()
    }
}

/// A compaction that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
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
    /// Readers would lose files under their hands.
    #[error("versions would be kept for {} s only: readers and merges that run now need at least {} s", .keep.as_secs(), SHORTEST_KEEP.as_secs())]
    KeepTooShort {
        /// How long they were to be kept.
        keep: Duration,
    },
    /// The engine failed.
    #[error("files of `activity` cannot be merged")]
    Engine(#[from] datafusion::error::DataFusionError),
    /// The cluster failed.
    #[cfg(feature = "distributed")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::JobError),
    /// Rows could not be put together.
    #[error("rows of `activity` cannot be built")]
    Rows(#[from] arrow::error::ArrowError),
}

/// How often a step begins anew because another job was faster.
const CONFLICTS: usize = 30;

impl CompactError {
    fn table(&self) -> Option<&TableError> {
        match self {
            Self::Table(error) => Some(error),
            _ => None,
        }
    }
}

/// Runs a compaction.
pub async fn run(store: &Store, options: &Options, progress: &dyn Progress) -> Result<Report, CompactError> {
    if options.keep_versions < SHORTEST_KEEP && !options.nobody_reads {
        return Err(CompactError::KeepTooShort { keep: options.keep_versions });
    }
    if !ProfileTables::are_made(store).await? {
        return Err(TableError::NoProfiles { store: store.to_string() }.into());
    }
    let mut report = Report::default();
    raw::run(store, options, progress, &mut report).await?;
    let tables = pack::run(store, options, progress, &mut report).await?;
    retain::run(tables, options, progress, &mut report).await?;
    Ok(report)
}
