//! `merge`: snapshots become profiles.
//!
//! Plan from LIST → scan: read, verify, admit, group ([`scan`]) → commit the ledger → score and fold → commit nodes, then
//! profiles. Everything after the ledger's commit is a function of the ledger: a run that stops there is finished by the
//! next one, from the ledger alone. Where another merge was faster, a run begins anew from what stands.

mod admit;
mod aggregate;
mod apply;
mod bound;
mod earlier;
pub(in crate::jobs) mod fold;
mod late;
mod ledger;
pub(in crate::jobs) mod listing;
mod nodes;
mod plan;
mod profile;
mod relearn;
mod scan;
mod score;
mod wave;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wsp_schemas::snapshot::Limits;
use wsp_schemas::store::Store;

use crate::engine::{Engine, EngineError};
use crate::overlay;
use crate::session::Resources;
use crate::tables::{Change, OpenTable, ProfileTables, TableError, partition_value, transaction};
use admit::Rules;
use apply::Behind;
use ledger::{Ledger, LedgerRow, Outcome};

pub(crate) use earlier::{Course, Earlier};
pub(crate) use ledger::makes_eligible;
#[cfg(all(test, feature = "distributed"))]
pub(crate) use scan::register_empty;
#[cfg(feature = "distributed")]
pub(crate) use scan::{ScanWork, sighting_schema};
pub(crate) use score::{Score, Scorer};

use super::fetch;
use super::retry::Patience;
pub use super::{Progress, Silent};
pub use fold::Folding;
pub use relearn::{Relearned, relearn};

/// Buckets of a store that is made by a merge.
pub const DEFAULT_BUCKETS: u32 = 16;

/// How often a merge begins anew because another one was faster.
const CONFLICTS: usize = 60;

/// What a merge is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// The clock: a profile whose learning time has passed by then is frozen.
    pub as_of: DateTime<Utc>,
    /// A profile is stable with this many snapshots …
    pub max_snapshots: u32,
    /// … or this long after the start of its first window, whichever comes first,
    pub learning_time: Duration,
    /// but not before it has this many snapshots,
    pub min_snapshots: u32,
    /// this many containers,
    pub min_containers: u32,
    /// and its last window ends this long after its first one's start. Until then it goes on learning.
    pub min_age: Duration,
    /// Windows that end before are refused: the clock of their host was not set.
    pub earliest: DateTime<Utc>,
    /// Windows that end later than this after both the merge's clock and their upload are refused.
    pub clock_slack: Duration,
    /// Folding of crowds.
    pub folding: Folding,
    /// Buckets, where the store's tables are made now.
    pub buckets: u32,
    /// Bounds on a snapshot file.
    pub limits: Limits,
    /// Files that each partition fetches at the same time; 0 for what suits the store.
    pub concurrency: usize,
    /// Files after which a batch is committed; a workload is never split.
    pub files_per_batch: usize,
    /// Uploads are looked for from this long before the hour up to which an earlier merge had seen them all.
    pub look_back: Duration,
    /// Look at all uploads, whenever they came.
    pub rescan: bool,
    /// Decide, and change nothing.
    pub dry_run: bool,
    /// Cores and memory.
    pub resources: Resources,
    /// Where snapshots are read and grouped.
    pub engine: Engine,
}

impl Default for Options {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            as_of: rules.as_of,
            max_snapshots: rules.max_snapshots,
            learning_time: rules.learning_time,
            min_snapshots: rules.min_snapshots,
            min_containers: rules.min_containers,
            min_age: rules.min_age,
            earliest: rules.earliest,
            clock_slack: rules.clock_slack,
            folding: Folding::default(),
            buckets: DEFAULT_BUCKETS,
            limits: Limits::default(),
            concurrency: 0,
            files_per_batch: 16_384,
            look_back: Duration::from_secs(48 * 3600),
            rescan: false,
            dry_run: false,
            resources: Resources::default(),
            engine: Engine::default(),
        }
    }
}

impl Options {
    /// Files fetched at the same time: a folder answers at once, and more tasks only get in each other's way.
    fn concurrency_at(&self, store: &Store) -> usize {
        fetch::at_once(store, self.concurrency, 2)
    }

    /// The rules of admission among them.
    fn rules(&self) -> Rules {
        Rules {
            as_of: self.as_of,
            max_snapshots: self.max_snapshots,
            learning_time: self.learning_time,
            min_snapshots: self.min_snapshots,
            min_containers: self.min_containers,
            min_age: self.min_age,
            earliest: self.earliest,
            clock_slack: self.clock_slack,
        }
    }
}

/// What a merge did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The store has neither snapshots nor tables: nothing was looked at, and nothing made.
    #[serde(skip)]
    pub is_no_store: bool,
    /// Objects below `snapshots/` that were listed.
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
    /// Snapshots whose windows cannot be where they say: kept, not merged.
    pub out_of_range: Vec<Problem>,
    /// Objects moved to quarantine, with the reason.
    pub quarantined: Vec<Problem>,
    /// Objects that the store did not give: the next merge tries again.
    pub unavailable: Vec<Problem>,
    /// Admitted objects that cannot be read again: their buckets stand still until they can.
    pub lost: Vec<Problem>,
    /// Profile revisions changed.
    pub profiles: usize,
    /// Of those, frozen by this merge.
    pub frozen: usize,
    /// Node rows written.
    pub nodes: usize,
    /// Bytes of table files written.
    pub bytes_written: u64,
    /// Times that the run began anew because another merge was faster.
    pub retries: u32,
}

/// An object that could not be used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// Its key.
    pub object: String,
    /// What is wrong.
    pub reason: String,
}

impl Report {
    /// Everything that was there went in, whole.
    pub fn is_clean(&self) -> bool {
        self.quarantined.is_empty()
            && self.unavailable.is_empty()
            && self.out_of_range.is_empty()
            && self.lost.is_empty()
            && self.lossy == 0
    }

    fn count(&mut self, rows: &[LedgerRow]) {
        for row in rows {
            let problem = || Problem {
                object: row.object_key.clone().unwrap_or_default(),
                reason: row.reason.clone().unwrap_or_default(),
            };
            match row.outcome {
                Outcome::Admitted => {
                    self.admitted += 1;
                    self.lossy += usize::from(row.is_lossy());
                }
                Outcome::Duplicate => self.duplicates += 1,
                Outcome::Unkeyed => self.unkeyed += 1,
                Outcome::Frozen => self.frozen += 1,
                Outcome::OutOfRange => self.out_of_range.push(problem()),
                Outcome::Damaged | Outcome::Conflict => self.quarantined.push(problem()),
                Outcome::Opened | Outcome::AfterFreeze => {}
            }
        }
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
    /// An object cannot be moved to quarantine.
    #[error("`{object}` cannot be moved to quarantine")]
    Quarantine {
        /// The object.
        object: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// There is no such profile to begin anew.
    #[error("the store has no profile of {image} that could be learned anew: {reason}")]
    NotStable {
        /// The workload.
        image: String,
        /// What is in the way.
        reason: String,
    },
    /// The engine failed.
    #[error("the aggregation failed")]
    Engine(#[from] datafusion::error::DataFusionError),
    /// The cluster failed.
    #[cfg(feature = "distributed")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::JobError),
    /// Rows could not be put together.
    #[error("rows of the profile tables cannot be built")]
    Rows(#[from] arrow::error::ArrowError),
}

impl From<EngineError> for MergeError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Here(error) => Self::Engine(error),
            #[cfg(feature = "distributed")]
            EngineError::Cluster(error) => Self::Cluster(error),
        }
    }
}

impl MergeError {
    fn table(&self) -> Option<&TableError> {
        match self {
            Self::Table(error) => Some(error),
            _ => None,
        }
    }
}

/// Runs a merge.
pub async fn run(store: &Store, options: &Options, progress: &dyn Progress) -> Result<Report, MergeError> {
    if is_empty(store).await? {
        return Ok(Report { is_no_store: true, ..Report::default() });
    }
    let options = &Options { concurrency: options.concurrency_at(store), ..options.clone() };
    // What a trial makes, tables or columns, it makes in memory.
    let unreadable = |source| MergeError::List { store: store.to_string(), source };
    let store = &overlay::upon(store, options.dry_run).map_err(unreadable)?;
    let mut report = Report::default();
    let mut patience = Patience::new(CONFLICTS);
    while let Err(error) = attempt(store, options, progress, &mut report).await {
        patience.wait(error, MergeError::table).await?;
        progress.stage("another merge was faster: beginning anew");
        // What was decided stays counted; what was only looked at is looked at again.
        report.retries += 1;
        (report.listed, report.known, report.after_freeze) = (0, 0, 0);
        report.unavailable.clear();
        report.lost.clear();
    }
    Ok(report)
}

async fn attempt(
    store: &Store,
    options: &Options,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), MergeError> {
    let mut tables = ProfileTables::open_or_create(store, options.buckets).await?;
    progress.stage("reading the ledger");
    let mut batches = ledger::batches(&tables.ledger).await?;
    // What an earlier run admitted and did not finish comes first: its batch must stand before the next one starts.
    let behind = apply::behind(&tables, &batches).await?;
    let mut stopped = BTreeSet::new();
    if !behind.is_empty() && !options.dry_run {
        progress.stage("finishing an earlier merge");
        (tables, stopped) = recover(store, tables, behind, options, progress, report).await?;
    }

    progress.stage("listing snapshots");
    let mut plan = plan::make(store, &tables, options, report).await?;
    progress.total(plan.files() as u64, "files");
    let mut watermark = plan.watermark.filter(|_| stopped.is_empty());
    let (mut late, stood) = (std::mem::take(&mut plan.late), plan.stood);
    let mut is_counted = false;
    let mut waves = plan.waves(options.files_per_batch, &stopped).into_iter().peekable();
    while let Some(wave) = waves.next() {
        progress.stage("reading snapshots");
        let decided = wave::decide(store, &tables, wave, options, progress).await?;
        late.extend(decided.late);
        // What could not be read is to be found again.
        watermark = watermark.filter(|_| decided.unavailable.is_empty());
        report.unavailable.extend(decided.unavailable);
        if options.dry_run {
            report.count(&decided.rows);
            continue;
        }
        if decided.rows.is_empty() {
            wave::quarantine(store, &decided.refused).await?;
            continue;
        }
        progress.stage("committing");
        let touched: BTreeSet<i32> = decided.rows.iter().map(|row| row.bucket).collect();
        let mut stands = BTreeMap::new();
        let mut change = Change::default();
        // Hours are counted before the watermark leaves them behind.
        let mut last = None;
        let mut counts = Vec::new();
        if waves.peek().is_none() {
            counts =
                late.count(&tables.ledger, watermark.or(stood), options).await?.put(&mut change, &batches);
            last = watermark.take();
            is_counted = true;
        }
        for bucket in touched {
            let before = batches.get(&bucket).copied().unwrap_or(0);
            batches.insert(bucket, before + 1);
            stands.insert(bucket, Behind { ledger: before + 1, nodes: before, profiles: before });
            change.advance(bucket, transaction(bucket, before + 1));
        }
        let mut rows = decided.rows;
        rows.iter_mut().for_each(|row| row.batch = batches.get(&row.bucket).copied().unwrap_or(1));
        rows.extend(counts);
        tables.ledger = commit_ledger(&tables.ledger, &rows, change, options.concurrency, report).await?;
        report.count(&rows);
        wave::quarantine(store, &decided.refused).await?;
        let mut ledger = decided.ledger;
        ledger.extend(rows);
        tables = apply::run(tables, &ledger, &stands, decided.nodes, last, options, report).await?;
    }
    report.after_freeze += late.total();
    if options.dry_run {
        return Ok(());
    }
    let counted = late.count(&tables.ledger, watermark.or(stood), options).await?;
    let is_due = !is_counted && counted.is_due();
    if is_due {
        let mut change = Change::default();
        let rows = counted.put(&mut change, &batches);
        tables.ledger = commit_ledger(&tables.ledger, &rows, change, options.concurrency, report).await?;
    }
    // Where columns were added, the versions that have them are to be named.
    let is_named = !stopped.is_empty() || tables.is_settled().await?;
    if is_due || watermark.is_some() || !is_named {
        apply::settle(tables, watermark).await?;
    }
    Ok(())
}

/// Brings buckets to where the ledger stands, but for those with a snapshot that cannot be read again.
async fn recover(
    store: &Store,
    tables: ProfileTables,
    mut behind: BTreeMap<i32, Behind>,
    options: &Options,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(ProfileTables, BTreeSet<i32>), MergeError> {
    let mut ledger = Ledger::of_buckets(&tables.ledger, &behind.keys().copied().collect()).await?;
    let nodes: BTreeMap<i32, i64> = behind
        .iter()
        .filter(|(_, at)| at.nodes < at.ledger)
        .map(|(bucket, at)| (*bucket, at.nodes))
        .collect();
    let (grouped, lost) = wave::replay(store, &tables, &ledger, &nodes, options, progress).await?;
    let stopped: BTreeSet<i32> = lost.keys().copied().collect();
    report.lost.extend(lost.into_values().flatten());
    behind.retain(|bucket, _| !stopped.contains(bucket));
    ledger.forget(&stopped);
    let tables = apply::run(tables, &ledger, &behind, grouped, None, options, report).await?;
    Ok((tables, stopped))
}

/// Neither snapshots nor tables: a mistyped URL should not become a store.
async fn is_empty(store: &Store) -> Result<bool, MergeError> {
    if ProfileTables::are_made(store).await? {
        return Ok(false);
    }
    let any = listing::any(store).await;
    Ok(!any.map_err(|source| MergeError::List { store: store.to_string(), source })?)
}

/// Commits rows, with what else the change has.
async fn commit_ledger(
    ledger: &OpenTable,
    rows: &[LedgerRow],
    mut change: Change,
    at_once: usize,
    report: &mut Report,
) -> Result<OpenTable, MergeError> {
    let mut by_bucket: BTreeMap<i32, Vec<&LedgerRow>> = BTreeMap::new();
    rows.iter().for_each(|row| by_bucket.entry(row.bucket).or_default().push(row));
    let mut files = Vec::with_capacity(by_bucket.len());
    for (bucket, rows) in by_bucket {
        files.push((vec![partition_value("bucket", &bucket)], ledger::to_batch(&rows)?));
    }
    let files = ledger.write_all(files, at_once).await?;
    files.into_iter().for_each(|file| change.add_written(file));
    report.bytes_written += change.bytes();
    Ok(change.commit(ledger).await?)
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
