//! The second half of a merge: nodes and profiles are brought to where the ledger stands.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use futures::{StreamExt, TryStreamExt};
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::tables::{PROFILE_NODES, PROFILES};

use super::fold::Folding;
use super::ledger::{Ledger, LedgerRow};
use super::profile::{self, ProfileRow, RevisionRows};
use super::{MergeError, Options, Report, nodes, wave};
use crate::tables::{
    Change, DataFile, Encoded, MERGE_WATERMARK, OpenTable, ProfileTables, Selection, Written, application,
    partition_value, pins, transaction,
};

/// Where a bucket stands in each table, of those whose nodes or profiles stand behind the ledger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Behind {
    pub(super) ledger: i64,
    pub(super) nodes: i64,
    pub(super) profiles: i64,
}

/// Buckets whose nodes or profiles stand behind the ledger.
pub(super) async fn behind(
    tables: &ProfileTables,
    ledger: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, Behind>, MergeError> {
    let mut behind = BTreeMap::new();
    for (bucket, batch) in ledger {
        let stands = Behind {
            ledger: *batch,
            nodes: tables.nodes.batch(*bucket).await?,
            profiles: tables.profiles.batch(*bucket).await?,
        };
        if stands.nodes.min(stands.profiles) < stands.ledger {
            behind.insert(*bucket, stands);
        }
    }
    Ok(behind)
}

/// What this merge made of one workload. `F` is its file: none where there are no nodes.
struct Made<F> {
    workload: WorkloadKey,
    nodes: usize,
    file: Option<F>,
    profile: Option<ProfileRow>,
}

/// Brings buckets to where the ledger stands. `ledger` has all rows of the workloads that changed, `grouped` what their
/// scans gave; `watermark` the hour up to which all uploads are settled with this.
pub(super) async fn run(
    mut tables: ProfileTables,
    ledger: &Ledger,
    buckets: &BTreeMap<i32, Behind>,
    grouped: HashMap<WorkloadKey, Vec<RecordBatch>>,
    watermark: Option<i64>,
    options: &Options,
    report: &mut Report,
) -> Result<ProfileTables, MergeError> {
    let mut made: HashMap<WorkloadKey, Option<ProfileRow>> = HashMap::new();
    let behind: Vec<(i32, Behind)> =
        buckets.iter().filter(|(_, at)| at.nodes < at.ledger).map(|(bucket, at)| (*bucket, *at)).collect();
    if !behind.is_empty() {
        let mut change = Change::default();
        let changed: Vec<(i32, WorkloadKey)> = behind
            .iter()
            .flat_map(|(bucket, at)| {
                ledger.changed_after(*bucket, at.nodes).into_iter().map(|key| (*bucket, key))
            })
            .collect();
        replace_learned(&tables.nodes, &changed, &mut change).await?;
        for finished in make_all(&tables.nodes, &changed, ledger, grouped, options).await? {
            finished.file.into_iter().for_each(|file| change.add_written(file));
            report.nodes += finished.nodes;
            made.insert(finished.workload, finished.profile);
        }
        behind.iter().for_each(|(bucket, at)| change.advance(*bucket, transaction(*bucket, at.ledger)));
        report.bytes_written += change.bytes();
        tables.nodes = change.commit(&tables.nodes).await?;
    }

    let mut change = Change::default();
    for (bucket, at) in buckets.iter().filter(|(_, at)| at.profiles < at.ledger) {
        let changed = ledger.changed_after(*bucket, at.profiles);
        report.profiles += summarise(&tables, *bucket, &changed, ledger, &mut made, &mut change).await?;
        change.advance(*bucket, transaction(*bucket, at.ledger));
    }
    if !change.is_empty() {
        change.note(pins(tables.ledger.version(), tables.nodes.version()));
        if let Some(hour) = watermark {
            change.set(application(MERGE_WATERMARK, hour));
        }
        report.bytes_written += change.bytes();
        tables.profiles = change.commit(&tables.profiles).await?;
    }
    Ok(tables)
}

/// Has readers open the newest ledger and nodes where no profile changed, and notes the hour up to which all uploads were
/// looked at.
pub(super) async fn settle(
    mut tables: ProfileTables,
    watermark: Option<i64>,
) -> Result<ProfileTables, MergeError> {
    let mut change = Change::default();
    watermark.into_iter().for_each(|hour| change.set(application(MERGE_WATERMARK, hour)));
    // The profiles were opened last, and may be newer than the nodes: versions that are named only grow.
    let (ledger, nodes) = (tables.ledger.version(), tables.nodes.version());
    let named = tables.profiles.pinned().await?;
    let (ledger, nodes) =
        named.map_or((ledger, nodes), |pins| (ledger.max(pins.ledger), nodes.max(pins.nodes)));
    change.note(pins(ledger, nodes));
    // Another merge's profiles need versions that this one did not see.
    tables.profiles = change.commit_next(&tables.profiles).await?;
    Ok(tables)
}

/// Takes the learning rows of workloads out; rows of others that stand in the same files are kept.
async fn replace_learned(
    nodes: &OpenTable,
    changed: &[(i32, WorkloadKey)],
    change: &mut Change,
) -> Result<(), MergeError> {
    let mut by_bucket: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
    for (bucket, workload) in changed {
        by_bucket.entry(*bucket).or_default().insert(workload.to_string());
    }
    let schema = Arc::new(PROFILE_NODES.arrow_schema());
    for file in nodes.files()?.iter().filter(|file| file.status() == Some("learning")) {
        let Some((bucket, keys)) = file.bucket().and_then(|bucket| by_bucket.get_key_value(&bucket)) else {
            continue;
        };
        if !file.may_hold("workload_key", keys) {
            continue;
        }
        change.remove(file);
        if file.is_of_one("workload_key") {
            continue;
        }
        let mut kept = Vec::new();
        for rows in nodes.read(file, Selection::default()).await? {
            kept.push(filter_record_batch(&rows, &others(&rows, keys))?);
        }
        let partition = vec![partition_value("bucket", bucket), partition_value("status", &"learning")];
        change.add(nodes, partition, &concat_batches(&schema, &kept)?).await?;
    }
    Ok(())
}

/// Makes and writes the node rows of all workloads, several at a time, the largest first: so all cores have work until the
/// end. Gives them in the order in which they were asked for.
async fn make_all(
    table: &OpenTable,
    changed: &[(i32, WorkloadKey)],
    ledger: &Ledger,
    mut grouped: HashMap<WorkloadKey, Vec<RecordBatch>>,
    options: &Options,
) -> Result<Vec<Made<Written>>, MergeError> {
    let mut jobs: Vec<_> = changed
        .iter()
        .enumerate()
        .map(|(at, (bucket, workload))| {
            let rows = ledger.shared(*workload);
            let (bucket, workload) = (*bucket, *workload);
            let grouped = grouped.remove(&workload).unwrap_or_default();
            let weight: usize = grouped.iter().map(RecordBatch::num_rows).sum();
            let folding = options.folding;
            (at, weight, move || make(bucket, workload, &rows, grouped, &folding))
        })
        .collect();
    jobs.sort_by_key(|(_, weight, _)| std::cmp::Reverse(*weight));
    let mut made: Vec<(usize, Made<Written>)> = futures::stream::iter(jobs)
        .map(|(at, _, job)| async move { (at, blocking(job).await) })
        .buffer_unordered(options.resources.partitions())
        .map(async |(at, made)| {
            let Made { workload, nodes, file, profile } = made?;
            let file = match file {
                Some(file) => Some(file.write(&table.folder()).await?),
                None => None,
            };
            Ok::<_, MergeError>((at, Made { workload, nodes, file, profile }))
        })
        .buffer_unordered(options.concurrency.max(1))
        .try_collect()
        .await?;
    made.sort_by_key(|(at, _)| *at);
    Ok(made.into_iter().map(|(_, made)| made).collect())
}

/// Runs work that takes long on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MergeError> + Send + 'static,
) -> Result<T, MergeError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(MergeError::Rows(arrow::error::ArrowError::ComputeError(error.to_string())))
    })
}

fn make(
    bucket: i32,
    workload: WorkloadKey,
    ledger: &[LedgerRow],
    grouped: Vec<RecordBatch>,
    folding: &Folding,
) -> Result<Made<Encoded>, MergeError> {
    let revision = RevisionRows::of(ledger, wave::revision(ledger));
    let rows = nodes::rows(bucket, workload, &revision, grouped, folding)?;
    let profile = profile::summarise(bucket, workload, &revision, &rows)?;
    let partition = vec![partition_value("bucket", &bucket), partition_value("status", &revision.status())];
    let file = match rows.num_rows() {
        0 => None,
        _ => Some(Encoded::of(&PROFILE_NODES, partition, &rows)?),
    };
    Ok(Made { workload, nodes: rows.num_rows(), file, profile })
}

/// Puts the bucket's profile rows into the change: those that changed anew, the others as they are.
async fn summarise(
    tables: &ProfileTables,
    bucket: i32,
    changed: &[WorkloadKey],
    ledger: &Ledger,
    made: &mut HashMap<WorkloadKey, Option<ProfileRow>>,
    change: &mut Change,
) -> Result<usize, MergeError> {
    if changed.is_empty() {
        return Ok(0);
    }
    let mut rows = Vec::with_capacity(changed.len());
    for workload in changed {
        let row = match made.remove(workload) {
            Some(row) => row,
            // The run that wrote the nodes stopped before their profile.
            None => {
                let ledger = ledger.rows(*workload);
                let revision = RevisionRows::of(ledger, wave::revision(ledger));
                let nodes = written_nodes(&tables.nodes, bucket, *workload, revision.number).await?;
                profile::summarise(bucket, *workload, &revision, &nodes)?
            }
        };
        rows.extend(row);
    }
    let summarised = rows.len();
    let replaced: BTreeSet<(String, i32)> = rows.iter().map(ProfileRow::key).collect();
    let mut batches = vec![profile::to_batch(&rows)?];
    for file in of_bucket(&tables.profiles.files()?, bucket) {
        change.remove(file);
        for batch in tables.profiles.read(file, Selection::default()).await? {
            let keep = profile::keys(&batch).map(|key| Some(!replaced.contains(&key))).collect();
            batches.push(filter_record_batch(&batch, &keep)?);
        }
    }
    let all = concat_batches(&Arc::new(PROFILES.arrow_schema()), &batches)?;
    change.add(&tables.profiles, vec![partition_value("bucket", &bucket)], &all).await?;
    Ok(summarised)
}

async fn written_nodes(
    nodes: &OpenTable,
    bucket: i32,
    workload: WorkloadKey,
    revision: i32,
) -> Result<RecordBatch, MergeError> {
    use arrow::datatypes::Int32Type;

    let keys: BTreeSet<String> = [workload.to_string()].into();
    let select = Selection { columns: None, workloads: Some(&keys) };
    let mut batches = Vec::new();
    for file in of_bucket(&nodes.files()?, bucket).filter(|file| file.may_hold("workload_key", &keys)) {
        for batch in nodes.read(file, select).await? {
            let revisions = batch["revision"].as_primitive::<Int32Type>();
            let mine: BooleanArray = revisions.iter().map(|found| Some(found == Some(revision))).collect();
            batches.push(filter_record_batch(&batch, &mine)?);
        }
    }
    let rows = concat_batches(&Arc::new(PROFILE_NODES.arrow_schema()), &batches)?;
    let ids: ArrayRef = Arc::new(rows["node_id"].as_binary::<i32>().clone() as BinaryArray);
    let order = arrow::compute::sort_to_indices(&ids, None, None)?;
    Ok(arrow::compute::take_record_batch(&rows, &order)?)
}

fn of_bucket(files: &[DataFile], bucket: i32) -> impl Iterator<Item = &DataFile> {
    files.iter().filter(move |file| file.bucket() == Some(bucket))
}

fn others(batch: &RecordBatch, keys: &BTreeSet<String>) -> BooleanArray {
    let found: &StringArray = batch["workload_key"].as_string();
    found.iter().map(|key| Some(key.is_some_and(|key| !keys.contains(key)))).collect()
}
