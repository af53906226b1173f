//! Raw snapshot files into `activity`: rows are committed first, files deleted then.
//!
//! A snapshot is known by its workload and id. What stands in the table under them is looked up before anything is written,
//! and two commits for one bucket conflict: so rows of a snapshot are written once, whoever else compacts, and whatever
//! upload comes a second time.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot;
use wsp_schemas::store::Store;
use wsp_schemas::tables::ACTIVITY;

use super::judge::{Judge, Verdict};
use super::{CONFLICTS, CompactError, Left, Options, Patience, Problem, Progress, Report, listing, rows};
use crate::jobs::fetch::{Files, Unfetched};
use crate::jobs::judgement::disagreement;
use crate::one_line::one_line;
use crate::rows::Reader;
use crate::tables::{
    Change, OpenTable, PartitionWriter, Selection, TableError, application, partition_value,
};

/// A file whose rows belong into `activity`.
#[derive(Debug, Clone)]
struct Candidate {
    path: Path,
    size: u64,
    key: SnapshotKey,
    bucket: i32,
    /// What it hashed to when a merge read it.
    content_hash: Option<String>,
    /// The ledger has it.
    is_in_ledger: bool,
}

/// What names a snapshot: the values of `workload_key` and `snapshot_id`.
type SnapshotName = (String, String);

/// Moves what is old enough and needed by nobody else.
pub(super) async fn run(
    store: &Store,
    options: &Options,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), CompactError> {
    let Some(before) =
        TimeDelta::from_std(options.keep_raw).ok().and_then(|keep| options.as_of.checked_sub_signed(keep))
    else {
        return Ok(());
    };
    progress.stage("listing snapshots");
    let hours = listing::hours(store, before).await?;
    if hours.is_empty() {
        return Ok(());
    }
    let judge = Judge::new(store, options).await?;
    progress.total(hours.len() as u64, "hours");
    let mut pending = Vec::new();
    for hour in hours {
        progress.stage("moving snapshots");
        let decisions = judge.decisions(hour).await?;
        for object in listing::objects(store, hour).await? {
            report.raw.listed += 1;
            let Ok(key) = SnapshotKey::parse(object.location.as_ref()) else {
                *report.raw.left.entry(Left::Foreign).or_default() += 1;
                continue;
            };
            let decision = decisions.get(object.location.as_ref());
            match judge.verdict(&key, decision) {
                Verdict::Stay(reason) => *report.raw.left.entry(reason).or_default() += 1,
                Verdict::Move { content_hash } => pending.push(Candidate {
                    path: object.location,
                    size: object.size,
                    key,
                    bucket: key.workload.bucket(judge.buckets()),
                    content_hash,
                    is_in_ledger: decision.is_some(),
                }),
            }
        }
        while pending.len() >= options.files_per_commit.max(1) {
            let rest = pending.split_off(options.files_per_commit.max(1));
            batch(store, judge.buckets(), pending, options, report).await?;
            pending = rest;
        }
        progress.done(1);
    }
    if !pending.is_empty() {
        batch(store, judge.buckets(), pending, options, report).await?;
    }
    Ok(())
}

/// Moves some files with one commit.
async fn batch(
    store: &Store,
    buckets: u32,
    mut candidates: Vec<Candidate>,
    options: &Options,
    report: &mut Report,
) -> Result<(), CompactError> {
    if options.dry_run {
        report.raw.moved += candidates.len() as u64;
        report.raw.moved_bytes += candidates.iter().map(|candidate| candidate.size).sum::<u64>();
        return Ok(());
    }
    candidates.sort_by_cached_key(|candidate| {
        let key = &candidate.key;
        (candidate.bucket, rows::date(key), key.workload, key.id, candidate.path.to_string())
    });
    let mut patience = Patience::new(CONFLICTS);
    let batch = loop {
        match attempt(store, buckets, &candidates, options).await {
            Ok(batch) => break batch,
            Err(error) => {
                patience.wait(error, CompactError::table).await?;
                report.retries += 1;
            }
        }
    };
    let raw = &mut report.raw;
    raw.moved += batch.moved;
    raw.moved_bytes += batch.moved_bytes;
    raw.rows += batch.rows;
    raw.written_bytes += batch.written_bytes;
    raw.known += batch.known;
    raw.damaged.extend(batch.damaged);
    raw.unavailable.extend(batch.unavailable);
    delete(store, batch.over, options, report).await
}

/// What became of some files.
#[derive(Debug, Default)]
struct Batch {
    moved: u64,
    moved_bytes: u64,
    rows: u64,
    written_bytes: u64,
    known: u64,
    damaged: Vec<Problem>,
    unavailable: Vec<Problem>,
    /// Files whose rows stand in a committed version.
    over: Vec<Candidate>,
}

async fn attempt(
    store: &Store,
    buckets: u32,
    candidates: &[Candidate],
    options: &Options,
) -> Result<Batch, CompactError> {
    let activity = OpenTable::open_or_create(store, &ACTIVITY, buckets).await?;
    let mut batch = Batch::default();
    let mut change = Change::default();
    for of_bucket in candidates.chunk_by(|a, b| a.bucket == b.bucket) {
        let bucket = of_bucket[0].bucket;
        let mut stands = standing(&activity, bucket, of_bucket).await?;
        let before = batch.moved;
        for of_day in of_bucket.chunk_by(|a, b| rows::date(&a.key) == rows::date(&b.key)) {
            let date = rows::date(&of_day[0].key);
            let partition = vec![partition_value("bucket", &bucket), partition_value("date", &date)];
            let mut writer = PartitionWriter::new(&activity, partition, options.file_bytes);
            let mut read = futures::stream::iter(of_day.iter().cloned())
                .map(|candidate| read(store, candidate, options))
                .buffered(options.concurrency.max(1));
            while let Some((candidate, read)) = read.next().await {
                let problem = |reason: String| Problem { object: candidate.path.to_string(), reason };
                let (content_hash, rows) = match read {
                    Read::Rows { content_hash, rows } => (content_hash, rows),
                    Read::Damaged(reason) => {
                        batch.damaged.push(problem(reason));
                        continue;
                    }
                    Read::Unavailable(reason) => {
                        batch.unavailable.push(problem(reason));
                        continue;
                    }
                };
                match stands.get(&name(&candidate)) {
                    Some(known) if *known == content_hash => {
                        batch.known += 1;
                        batch.over.push(candidate);
                    }
                    Some(_) => {
                        let reason = "the table `activity` has a snapshot of this id with other content";
                        batch.damaged.push(problem(reason.to_owned()));
                    }
                    None => {
                        writer.write(&rows).await?;
                        stands.insert(name(&candidate), content_hash);
                        batch.moved += 1;
                        batch.moved_bytes += candidate.size;
                        batch.over.push(candidate);
                    }
                }
            }
            drop(read);
            batch.rows += writer.rows();
            change.add_partition(writer).await?;
        }
        if batch.moved > before {
            let id = application_of(bucket);
            let version = activity.application(&id).await?.unwrap_or(0) + 1;
            change.advance(bucket, application(&id, version));
        }
    }
    if !change.is_empty() {
        batch.written_bytes = change.bytes();
        change.commit(&activity).await?;
    }
    Ok(batch)
}

/// The application transaction by which two compactions of a bucket conflict.
pub(super) fn application_of(bucket: i32) -> String {
    format!("compact/{bucket}")
}

fn name(candidate: &Candidate) -> SnapshotName {
    (candidate.key.workload.to_string(), candidate.key.id.to_string())
}

/// Content hashes of the snapshots among the candidates that stand in the table.
async fn standing(
    activity: &OpenTable,
    bucket: i32,
    candidates: &[Candidate],
) -> Result<HashMap<SnapshotName, String>, TableError> {
    const COLUMNS: [&str; 3] = ["workload_key", "snapshot_id", "content_hash"];
    let workloads: BTreeSet<String> =
        candidates.iter().map(|candidate| candidate.key.workload.to_string()).collect();
    let ids: BTreeSet<String> = candidates.iter().map(|candidate| candidate.key.id.to_string()).collect();
    let names: HashSet<SnapshotName> = candidates.iter().map(name).collect();
    let select = Selection { columns: Some(&COLUMNS), workloads: Some(&workloads) };
    let mut standing = HashMap::new();
    for file in activity.files()? {
        let may_hold = file.may_hold("workload_key", &workloads) && file.may_hold("snapshot_id", &ids);
        if file.bucket() != Some(bucket) || !may_hold {
            continue;
        }
        let mut rows = activity.stream(&file, file.size, select).await?.boxed();
        while let Some(batch) = rows.try_next().await? {
            let read = Reader::new(&batch);
            let text = |column: &str, row| read.text(column, row).unwrap_or_default();
            for row in 0..batch.num_rows() {
                // Rows of a snapshot follow each other.
                let before = row.checked_sub(1);
                let is_first =
                    before.is_none_or(|before| text("snapshot_id", before) != text("snapshot_id", row));
                if !is_first {
                    continue;
                }
                let name = (text("workload_key", row).to_owned(), text("snapshot_id", row).to_owned());
                if names.contains(&name) {
                    standing.insert(name, text("content_hash", row).to_owned());
                }
            }
        }
    }
    Ok(standing)
}

/// What a file gave.
enum Read {
    Rows { content_hash: String, rows: RecordBatch },
    Damaged(String),
    Unavailable(String),
}

async fn read(store: &Store, candidate: Candidate, options: &Options) -> (Candidate, Read) {
    let read = try_read(store, &candidate, options).await.unwrap_or_else(|given_up| given_up);
    (candidate, read)
}

async fn try_read(store: &Store, candidate: &Candidate, options: &Options) -> Result<Read, Read> {
    let limits = options.limits;
    let files = Files::through(Arc::clone(&store.objects));
    let fetched = files.whole(candidate.path.as_ref(), Some(candidate.size), limits.file_bytes).await;
    let bytes = fetched.map_err(|error| match error {
        Unfetched::TooLarge { .. } => Read::Damaged(error.to_string()),
        Unfetched::Changed { .. } | Unfetched::Unavailable(_) => Read::Unavailable(error.to_string()),
    })?;
    let (key, bucket, known) = (candidate.key, candidate.bucket, candidate.content_hash.clone());
    let decoded = tokio::task::spawn_blocking(move || {
        let verified = snapshot::decode(bytes, &limits).map_err(|error| one_line(&error))?;
        if let Some(reason) = disagreement(&key, &verified.meta) {
            return Err(reason);
        }
        let content_hash = verified.content_hash.to_hex().to_string();
        if known.is_some_and(|known| known != content_hash) {
            return Err("its content has changed since a merge decided on it".to_owned());
        }
        let rows = rows::of(&verified, &key, bucket).map_err(|error| error.to_string())?;
        Ok(Read::Rows { content_hash, rows })
    });
    match decoded.await {
        Ok(decoded) => decoded.map_err(Read::Damaged),
        Err(error) => Err(Read::Damaged(error.to_string())),
    }
}

/// Deletes files whose rows stand in a committed version. One that no merge has opened is needed again where its profile was
/// opened for learning meanwhile.
async fn delete(
    store: &Store,
    over: Vec<Candidate>,
    options: &Options,
    report: &mut Report,
) -> Result<(), CompactError> {
    if over.is_empty() {
        return Ok(());
    }
    let mut paths = Vec::with_capacity(over.len());
    let (decided, others): (Vec<_>, Vec<_>) = over.into_iter().partition(|candidate| candidate.is_in_ledger);
    paths.extend(decided.into_iter().map(|candidate| candidate.path));
    if !others.is_empty() {
        let judge = Judge::new(store, options).await?;
        for candidate in others {
            if judge.is_stable(candidate.key.workload) {
                paths.push(candidate.path);
            } else {
                *report.raw.left.entry(Left::Learning).or_default() += 1;
            }
        }
    }
    let mut deleted = store.objects.delete_stream(futures::stream::iter(paths).map(Ok).boxed());
    while let Some(gone) = deleted.next().await {
        match gone {
            Ok(_) => report.raw.deleted += 1,
            // Another compaction was faster.
            Err(object_store::Error::NotFound { .. }) => {}
            // Which one it was stands in the error.
            Err(error) => report.raw.unavailable.push(Problem {
                object: "a file whose rows stand in `activity`".to_owned(),
                reason: error.to_string(),
            }),
        }
    }
    Ok(())
}
