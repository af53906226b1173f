//! Small table files together, without changing a value.
//!
//! Which files: of `profile_snapshots` and `activity` all, of `profile_nodes` those of stable profiles; a profile that learns
//! keeps a file of its own, because merges replace it. `profiles` needs nothing: each merge leaves one file a bucket.
//!
//! Every commit here follows the version that was read, or is not made: a merge that was faster makes this step begin anew.
//! A merge that is slower conflicts by the bucket, and begins anew itself. Because no batch can lie between the versions, the
//! last commit may name them in `profiles`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::exec_datafusion_err;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use wsp_schemas::store::Store;
use wsp_schemas::tables::ACTIVITY;

use super::{CONFLICTS, CompactError, Options, Packed, Patience, Progress, Report};
use crate::engine::Engine;
use crate::tables::{
    Change, DataFile, FileRef, Folder, OpenTable, PartitionWriter, ProfileTables, Selection, TableError,
    Written, application, pins, transaction,
};

/// Files that are merged at a time where rows have an order: one batch of each is held.
const MERGED_AT_A_TIME: usize = 64;
/// Rows of such a batch.
const BATCH_ROWS: usize = 8192;

/// The tables as they are then.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) of_profiles: Option<ProfileTables>,
    pub(super) activity: Option<OpenTable>,
}

/// Packs all tables.
pub(super) async fn run(
    store: &Store,
    options: &Options,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<Tables, CompactError> {
    progress.stage("putting small files together");
    let mut patience = Patience::new(CONFLICTS);
    let of_profiles = loop {
        match profile_tables(store, options, report).await {
            Ok(tables) => break tables,
            Err(error) => {
                patience.wait(error, CompactError::table).await?;
                report.retries += 1;
            }
        }
    };
    let mut patience = Patience::new(CONFLICTS);
    let activity = loop {
        match activity(store, options, report).await {
            Ok(table) => break table,
            Err(error) => {
                patience.wait(error, CompactError::table).await?;
                report.retries += 1;
            }
        }
    };
    Ok(Tables { of_profiles, activity })
}

async fn profile_tables(
    store: &Store,
    options: &Options,
    report: &mut Report,
) -> Result<Option<ProfileTables>, CompactError> {
    report.unfinished_merge = false;
    let Some(mut tables) = ProfileTables::newest(store).await? else { return Ok(None) };
    let buckets = usize::try_from(tables.ledger.buckets()?).unwrap_or(usize::MAX);
    if tables.level_buckets().await?.len() < buckets {
        report.unfinished_merge = true;
        return Ok(Some(tables));
    }
    let bins = bins(tables.ledger.files()?, Order::ByTime, options);
    if let Some(table) = replace(&tables.ledger, "profile_snapshots", bins, options, report).await? {
        tables.ledger = table;
    }
    let mut stable = tables.nodes.files()?;
    stable.retain(|file| file.status() == Some("stable"));
    let bins = self::bins(stable, Order::ByWorkload, options);
    if let Some(table) = replace(&tables.nodes, "profile_nodes", bins, options, report).await? {
        tables.nodes = table;
    }
    // Also where an earlier run stopped before this.
    let is_named = tables.profiles.pinned().await?.is_none() || tables.is_settled().await?;
    if !is_named && !options.dry_run {
        let mut change = Change::rewrite();
        change.note(pins(tables.ledger.version(), tables.nodes.version()));
        tables.profiles = change.commit_next(&tables.profiles).await?;
    }
    Ok(Some(tables))
}

async fn activity(
    store: &Store,
    options: &Options,
    report: &mut Report,
) -> Result<Option<OpenTable>, CompactError> {
    let Some(activity) = OpenTable::open(store, &ACTIVITY, None).await? else { return Ok(None) };
    let bins = bins(activity.files()?, Order::ByWorkload, options);
    let packed = replace(&activity, "activity", bins, options, report).await?;
    Ok(Some(packed.unwrap_or(activity)))
}

/// What stands side by side in a packed file.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// What was uploaded at the same time: a merge leaves old files out by that.
    ByTime,
    /// What belongs to the same workloads.
    ByWorkload,
}

/// Files of one partition that become one: small ones, as many as the target size has room for.
fn bins(files: Vec<DataFile>, order: Order, options: &Options) -> Vec<Vec<DataFile>> {
    let mut partitions: BTreeMap<Vec<(String, Option<String>)>, Vec<DataFile>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| file.size < options.file_bytes / 2) {
        partitions.entry(file.file.partition_values()).or_default().push(file);
    }
    let mut bins: Vec<Vec<DataFile>> = Vec::new();
    for mut files in partitions.into_values() {
        files.sort_by_cached_key(|file| {
            let place = match order {
                Order::ByTime => file.greatest("object_key"),
                Order::ByWorkload => file.least("workload_key"),
            };
            (place.unwrap_or_default().to_owned(), file.path().clone())
        });
        let mut bin: Vec<DataFile> = Vec::new();
        let mut bytes = 0;
        for file in files {
            if bytes + file.size > options.file_bytes {
                bins.push(std::mem::take(&mut bin));
                bytes = 0;
            }
            bytes += file.size;
            bin.push(file);
        }
        bins.push(bin);
    }
    bins.retain(|bin| bin.len() > 1);
    bins
}

/// Replaces the files of every bin by one, in one commit. None where there is nothing to do, or nothing is to be done.
async fn replace(
    table: &OpenTable,
    name: &'static str,
    bins: Vec<Vec<DataFile>>,
    options: &Options,
    report: &mut Report,
) -> Result<Option<OpenTable>, CompactError> {
    if bins.is_empty() {
        return Ok(None);
    }
    let mut packed = Packed::default();
    let mut change = Change::rewrite();
    let mut touched = BTreeMap::new();
    for bin in &bins {
        packed.files_in += bin.len() as u64;
        packed.bytes_in += bin.iter().map(|file| file.size).sum::<u64>();
        if let Some(bucket) = bin.first().and_then(DataFile::bucket) {
            touched.insert(bucket, ());
        }
    }
    let rewritten = if options.dry_run { Vec::new() } else { rewrite_all(table, &bins, options).await? };
    for (bin, rewritten) in bins.iter().zip(rewritten) {
        let expected: u64 = bin.iter().map(|file| file.rows.unwrap_or_default()).sum();
        if bin.iter().all(|file| file.rows.is_some()) && rewritten.rows != expected {
            return Err(CompactError::Table(TableError::File {
                table: name,
                path: bin.first().map(|file| file.path().to_string()).unwrap_or_default(),
                reason: format!("it and others have {} rows, and the log says {expected}", rewritten.rows),
            }));
        }
        bin.iter().for_each(|file| change.remove(file));
        packed.files_out += rewritten.written.len() as u64;
        rewritten.written.into_iter().for_each(|file| change.add_written(file));
    }
    if !options.dry_run {
        packed.bytes_out = change.bytes();
        for bucket in touched.into_keys() {
            // Said once more, so that a change of the bucket that did not see this one conflicts with it.
            let said = if name == ACTIVITY.name {
                let id = super::raw::application_of(bucket);
                application(&id, table.application(&id).await?.unwrap_or(0))
            } else {
                transaction(bucket, table.batch(bucket).await?)
            };
            change.advance(bucket, said);
        }
    }
    let next = if options.dry_run { None } else { Some(change.commit_next(table).await?) };
    let total = report.packed.entry(name).or_default();
    total.files_in += packed.files_in;
    total.bytes_in += packed.bytes_in;
    total.files_out += packed.files_out;
    total.bytes_out += packed.bytes_out;
    Ok(next)
}

/// Small files, each with its bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bin(pub(super) Vec<(FileRef, u64)>);

/// What stands in their place.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rewritten {
    pub(super) written: Vec<Written>,
    pub(super) rows: u64,
}

/// Writes the rows of every bin anew.
async fn rewrite_all(
    table: &OpenTable,
    bins: &[Vec<DataFile>],
    options: &Options,
) -> Result<Vec<Rewritten>, CompactError> {
    let bins = bins.iter().map(|bin| Bin(bin.iter().map(|file| (file.file.clone(), file.size)).collect()));
    match &options.engine {
        Engine::Here => {
            let folder = table.folder();
            let mut all = Vec::with_capacity(bins.len());
            for bin in bins {
                all.push(rewrite(&folder, &bin, options.file_bytes).await?);
            }
            Ok(all)
        }
        #[cfg(feature = "distributed")]
        Engine::Cluster(cluster) => {
            super::remote::pack_on(cluster, table, options.file_bytes, bins.collect()).await
        }
    }
}

/// Writes the rows of some files anew.
pub(super) async fn rewrite(folder: &Folder, bin: &Bin, file_bytes: u64) -> Result<Rewritten, CompactError> {
    let partition = bin.0.first().map(|(file, _)| file.partition_values()).unwrap_or_default();
    let mut writer = PartitionWriter::new(folder, partition, file_bytes.saturating_mul(2));
    if folder.table().name == ACTIVITY.name {
        for files in bin.0.chunks(MERGED_AT_A_TIME) {
            let mut rows = merged(folder, files).await?;
            while let Some(batch) = rows.try_next().await? {
                writer.write(&batch).await?;
            }
        }
    } else {
        for (file, size) in &bin.0 {
            let mut rows = folder.stream(file, *size, Selection::default()).await?.boxed();
            while let Some(batch) = rows.try_next().await? {
                writer.write(&batch).await?;
            }
        }
    }
    let rows = writer.rows();
    Ok(Rewritten { written: writer.finish().await?, rows })
}

/// Rows of several files in the order that each of them has: by workload and snapshot.
async fn merged(
    folder: &Folder,
    files: &[(FileRef, u64)],
) -> Result<SendableRecordBatchStream, CompactError> {
    let schema: SchemaRef = Arc::new(ACTIVITY.arrow_schema());
    let mut streams: Vec<SendableRecordBatchStream> = Vec::with_capacity(files.len());
    for (file, size) in files {
        let rows = folder.stream(file, *size, Selection::default()).await?;
        let rows = rows.map_err(|error| exec_datafusion_err!("{error}"));
        streams.push(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows)));
    }
    let by = |name: &str| Ok(PhysicalSortExpr::new_default(col(name, &schema)?));
    let order: Result<Vec<_>, CompactError> = ["workload_key", "snapshot_id"].into_iter().map(by).collect();
    let order = LexOrdering::new(order?).ok_or_else(|| exec_datafusion_err!("an order needs a column"))?;
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    // A snapshot stands in one file only: its rows are equal in this order, and keep theirs.
    Ok(StreamingMergeBuilder::new()
        .with_streams(streams)
        .with_schema(schema)
        .with_expressions(&order)
        .with_batch_size(BATCH_ROWS)
        .with_metrics(BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0))
        .with_reservation(MemoryConsumer::new("compact").register(&pool))
        .with_round_robin_tie_breaker(false)
        .build()?)
}
