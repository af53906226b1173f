//! `backtest`: replays history with other thresholds: what would a profile that stopped learning earlier have missed?
//!
//! The snapshots of the store are merged once more, without a limit and into memory ([`overlay`]), so that history does
//! not stop where profiles were frozen. From the members of every node and the ledger, what any earlier state knew and what the
//! containers after it showed follows exactly; only `snapshots/` of the store is read, and nothing is written.
//!
//! Node rows are read through the view `nodes`. Patterns that folding makes of a whole history are known to its
//! beginning as well.

mod history;
mod plot;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use wsp_schemas::image::Workload;
use wsp_schemas::store::Store;

use super::merge::{self, MergeError, Progress, Report};
use crate::functions::{MemberSet, MemberSetError};
use crate::overlay;
use crate::rows::Reader;
use crate::views::{self, QueryError};

use history::Shot;
pub use history::{History, Later, Point, Threshold};
pub use plot::svg;

const SNAPSHOTS: &str = include_str!("snapshots.sql");
const NODES: &str = include_str!("nodes.sql");

/// More snapshots than a profile can have.
const NO_LIMIT: u32 = 1 << 20;
/// Longer than any history.
const CENTURY: Duration = Duration::from_hours(100 * 366 * 24);

/// A replay that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// There is nothing to replay.
    #[error("the store {store} has no snapshots that a profile could be made of")]
    NoSnapshots {
        /// The store.
        store: String,
    },
    /// Workloads that no snapshot is of.
    #[error("the store has no snapshots of {}", names(.missing))]
    Unknown {
        /// What was asked for and is not there.
        missing: Vec<Workload>,
    },
    /// Memory cannot be laid over the store.
    #[error("the store {store} cannot be read")]
    Store {
        /// The store.
        store: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The merge in memory.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// What it made cannot be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A set of members is damaged.
    #[error("a node of {workload} has damaged members")]
    Members {
        /// Whose node.
        workload: String,
        /// What is wrong.
        #[source]
        source: MemberSetError,
    },
}

fn names(workloads: &[Workload]) -> String {
    workloads.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The histories of a store.
#[derive(Debug)]
pub struct Backtest {
    /// By workload; each has a snapshot.
    pub histories: BTreeMap<Workload, History>,
    /// What the merge in memory said.
    pub report: Report,
}

/// Reads the histories of some workloads, of all where none is named. `concurrency` files are read at the same time.
pub async fn run(
    store: &Store,
    workloads: &BTreeSet<Workload>,
    concurrency: usize,
    folding: merge::Folding,
    progress: &dyn Progress,
) -> Result<Backtest, BacktestError> {
    let unreadable = |source| BacktestError::Store { store: store.to_string(), source };
    let wanted = (!workloads.is_empty()).then(|| workloads.iter().map(Workload::key).collect());
    let memory = overlay::over(store, wanted).map_err(unreadable)?;
    let options = merge::Options {
        max_snapshots: NO_LIMIT,
        learning_time: CENTURY,
        concurrency,
        folding,
        ..merge::Options::default()
    };
    let report = merge::run(&memory, &options, progress).await?;
    let histories = if report.admitted == 0 {
        BTreeMap::new()
    } else {
        progress.stage("replaying");
        read(&views::open(&memory).await?).await?
    };
    let missing: Vec<Workload> =
        workloads.iter().filter(|workload| !histories.contains_key(workload)).cloned().collect();
    if !missing.is_empty() && merge::listing::any(store).await.map_err(unreadable)? {
        return Err(BacktestError::Unknown { missing });
    }
    if histories.is_empty() {
        return Err(BacktestError::NoSnapshots { store: store.to_string() });
    }
    Ok(Backtest { histories, report })
}

async fn read(context: &SessionContext) -> Result<BTreeMap<Workload, History>, BacktestError> {
    let mut shots: BTreeMap<Workload, Vec<Shot>> = BTreeMap::new();
    let mut members: BTreeMap<Workload, Vec<MemberSet>> = BTreeMap::new();
    for batch in query(context, SNAPSHOTS).await? {
        let read = Reader::new(&batch);
        for row in 0..batch.num_rows() {
            if let (Some(workload), Some(shot)) = (workload(&read, row), shot(&read, row)) {
                shots.entry(workload).or_default().push(shot);
            }
        }
    }
    for batch in query(context, NODES).await? {
        let read = Reader::new(&batch);
        for row in 0..batch.num_rows() {
            let Some(workload) = workload(&read, row) else { continue };
            let set = MemberSet::from_bytes(read.bytes("members", row).unwrap_or_default())
                .map_err(|source| BacktestError::Members { workload: workload.to_string(), source })?;
            members.entry(workload).or_default().push(set);
        }
    }
    let histories = shots.into_iter().filter_map(|(workload, shots)| {
        let members = members.remove(&workload).unwrap_or_default();
        Some((workload, History::new(&shots, &members)?))
    });
    Ok(histories.collect())
}

async fn query(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
    Ok(views::query(context, sql).await?.collect().await?)
}

fn workload(read: &Reader<'_>, row: usize) -> Option<Workload> {
    Workload::from_columns(read.text("image_name", row)?, read.text("image_tag", row)?).ok()
}

fn shot(read: &Reader<'_>, row: usize) -> Option<Shot> {
    Some(Shot {
        host: read.text("host", row)?.to_owned(),
        container: read.text("container_id", row)?.to_owned(),
        start: read.time("window_start", row)?,
        end: read.time("window_end", row)?,
    })
}
