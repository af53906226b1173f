//! Raw snapshot files into `activity`: rows are committed first, files deleted then.
//!
//! A snapshot is known by its workload and id. What stands in the table under them is looked up before anything is written,
//! and two commits for one bucket conflict: so rows of a snapshot are written once, whoever else compacts, and whatever
//! upload comes a second time.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::store::Store;
use wsp_schemas::tables::ACTIVITY;
#[cfg(feature = "distributed")]
use wsp_schemas::tables::PROFILE_SNAPSHOTS;

use super::judge::{Judge, Verdict};
use super::moving::{self, Means, MoveUnit, RawFile, SnapshotName};
use super::{CONFLICTS, CompactError, Left, Options, Patience, Problem, Progress, Report, listing, rows};
use crate::engine::Engine;
use crate::rows::Reader;
use crate::tables::{Change, OpenTable, Selection, TableError, application};

/// A file whose rows belong into `activity`.
#[derive(Debug, Clone)]
struct Candidate {
    file: RawFile,
    bucket: i32,
    /// The ledger has it.
    is_in_ledger: bool,
}

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
                    file: RawFile {
                        object_key: object.location.to_string(),
                        size: object.size,
                        key,
                        content_hash,
                    },
                    bucket: key.workload.bucket(judge.buckets()),
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
        report.raw.moved_bytes += candidates.iter().map(|candidate| candidate.file.size).sum::<u64>();
        return Ok(());
    }
    candidates.sort_by_cached_key(|candidate| {
        let RawFile { key, object_key, .. } = &candidate.file;
        (candidate.bucket, rows::date(key), key.workload, key.id, object_key.clone())
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
    let by_bucket: Vec<&[Candidate]> = candidates.chunk_by(|a, b| a.bucket == b.bucket).collect();
    let means =
        Means { limits: options.limits, file_bytes: options.file_bytes, at_once: options.concurrency.max(1) };
    let mut done = Vec::with_capacity(by_bucket.len());
    match &options.engine {
        Engine::Here => {
            let folder = activity.folder();
            for candidates in &by_bucket {
                let unit = unit(&activity, candidates).await?;
                done.push(moving::move_files(&folder, &store.objects, &means, unit).await?);
            }
        }
        #[cfg(feature = "distributed")]
        Engine::Cluster(cluster) => {
            let mut units = Vec::with_capacity(by_bucket.len());
            for candidates in &by_bucket {
                units.push(unit(&activity, candidates).await?);
            }
            let ledger = activity.of_same_store(&PROFILE_SNAPSHOTS).await?;
            let ledger = ledger.as_ref().map(OpenTable::id).transpose()?;
            done = super::remote::move_on(cluster, &activity, means, units, ledger.as_deref()).await?;
        }
    }
    let mut batch = Batch::default();
    let mut change = Change::default();
    for (candidates, moved) in by_bucket.into_iter().zip(done) {
        let Some(bucket) = candidates.first().map(|candidate| candidate.bucket) else { continue };
        let of = |at: &u32| candidates.get(*at as usize);
        if !moved.moved.is_empty() {
            let id = application_of(bucket);
            let version = activity.application(&id).await?.unwrap_or(0) + 1;
            change.advance(bucket, application(&id, version));
        }
        batch.moved += moved.moved.len() as u64;
        batch.moved_bytes += moved.moved.iter().filter_map(of).map(|moved| moved.file.size).sum::<u64>();
        batch.known += moved.known.len() as u64;
        batch.over.extend(moved.moved.iter().chain(&moved.known).filter_map(of).cloned());
        batch.rows += moved.rows;
        batch.damaged.extend(moved.damaged);
        batch.unavailable.extend(moved.unavailable);
        moved.written.into_iter().for_each(|file| change.add_written(file));
    }
    if !change.is_empty() {
        batch.written_bytes = change.bytes();
        change.commit(&activity).await?;
    }
    Ok(batch)
}

/// The files of a bucket, with what the table has of them.
async fn unit(activity: &OpenTable, candidates: &[Candidate]) -> Result<MoveUnit, TableError> {
    let bucket = candidates.first().map_or(0, |candidate| candidate.bucket);
    let stands = standing(activity, bucket, candidates).await?;
    Ok(MoveUnit {
        bucket,
        files: candidates.iter().map(|candidate| candidate.file.clone()).collect(),
        stands: stands.into_iter().collect(),
    })
}

/// The application transaction by which two compactions of a bucket conflict.
pub(super) fn application_of(bucket: i32) -> String {
    format!("compact/{bucket}")
}

/// Content hashes of the snapshots among the candidates that stand in the table.
async fn standing(
    activity: &OpenTable,
    bucket: i32,
    candidates: &[Candidate],
) -> Result<HashMap<SnapshotName, String>, TableError> {
    const COLUMNS: [&str; 3] = ["workload_key", "snapshot_id", "content_hash"];
    let workloads: BTreeSet<String> =
        candidates.iter().map(|candidate| candidate.file.key.workload.to_string()).collect();
    let ids: BTreeSet<String> =
        candidates.iter().map(|candidate| candidate.file.key.id.to_string()).collect();
    let names: HashSet<SnapshotName> = candidates.iter().map(|candidate| candidate.file.name()).collect();
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
    paths.extend(decided.into_iter().map(|candidate| candidate.file.object_key));
    if !others.is_empty() {
        let judge = Judge::new(store, options).await?;
        for candidate in others {
            if judge.is_stable(candidate.file.key.workload) {
                paths.push(candidate.file.object_key);
            } else {
                *report.raw.left.entry(Left::Learning).or_default() += 1;
            }
        }
    }
    // Keys come from a listing: what is percent-encoded in them stays so.
    let paths = paths.into_iter().map(|key| Ok(Path::parse(key)?));
    let mut deleted = store.objects.delete_stream(futures::stream::iter(paths).boxed());
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
