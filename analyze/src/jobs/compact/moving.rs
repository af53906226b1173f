//! Reads snapshot files of one bucket and writes their rows as files of `activity`: the part of a compaction that executors can do.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt as _;
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{self, Limits};

use super::{Problem, rows};
use crate::jobs::fetch::{Files, Unfetched};
use crate::jobs::judgement::disagreement;
use crate::one_line::one_line;
use crate::tables::{Folder, PartitionWriter, TableError, Written, partition_value};

/// What names a snapshot: the values of `workload_key` and `snapshot_id`.
pub(super) type SnapshotName = (String, String);

/// A snapshot file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RawFile {
    pub(super) object_key: String,
    pub(super) size: u64,
    pub(super) key: SnapshotKey,
    /// What it hashed to when a merge read it.
    pub(super) content_hash: Option<String>,
}

impl RawFile {
    pub(super) fn name(&self) -> SnapshotName {
        (self.key.workload.to_string(), self.key.id.to_string())
    }
}

/// The files of a bucket, in the order in which their rows are to stand: those of a day together.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MoveUnit {
    pub(super) bucket: i32,
    pub(super) files: Vec<RawFile>,
    /// Content hashes of those that the table has.
    pub(super) stands: Vec<(SnapshotName, String)>,
}

/// How they are moved.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Means {
    pub(super) limits: Limits,
    /// Bytes that a table file is to have.
    pub(super) file_bytes: u64,
    /// Files that are fetched and decoded at the same time.
    pub(super) at_once: usize,
}

/// What became of the files of a bucket, by their places in the unit.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Moved {
    /// Their rows are in the files that were written.
    pub(super) moved: Vec<u32>,
    /// The table has them.
    pub(super) known: Vec<u32>,
    pub(super) rows: u64,
    /// No version of the table has them before they are committed.
    pub(super) written: Vec<Written>,
    pub(super) damaged: Vec<Problem>,
    pub(super) unavailable: Vec<Problem>,
}

/// Writes the rows of a bucket's files.
pub(super) async fn move_files(
    folder: &Folder,
    objects: &Arc<dyn ObjectStore>,
    means: &Means,
    unit: MoveUnit,
) -> Result<Moved, TableError> {
    let MoveUnit { bucket, files, stands } = unit;
    let mut stands: HashMap<SnapshotName, String> = stands.into_iter().collect();
    let mut done = Moved::default();
    let mut place = 0_u32;
    let through = Files::through(Arc::clone(objects));
    for of_day in files.chunk_by(|a, b| rows::date(&a.key) == rows::date(&b.key)) {
        let date = of_day.first().map(|file| rows::date(&file.key)).unwrap_or_default();
        let partition = vec![partition_value("bucket", &bucket), partition_value("date", &date)];
        let mut writer = PartitionWriter::new(folder, partition, means.file_bytes);
        let mut read = futures::stream::iter(of_day.to_vec())
            .map(|file| {
                let (through, limits) = (&through, means.limits);
                async move {
                    let read = read(through, &file, bucket, limits).await;
                    (file, read.unwrap_or_else(|given_up| given_up))
                }
            })
            .buffered(means.at_once);
        while let Some((file, read)) = read.next().await {
            let at = place;
            place += 1;
            let problem = |reason: String| Problem { object: file.object_key.clone(), reason };
            let (content_hash, rows) = match read {
                Read::Rows { content_hash, rows } => (content_hash, rows),
                Read::Damaged(reason) => {
                    done.damaged.push(problem(reason));
                    continue;
                }
                Read::Unavailable(reason) => {
                    done.unavailable.push(problem(reason));
                    continue;
                }
            };
            match stands.get(&file.name()) {
                Some(known) if *known == content_hash => done.known.push(at),
                Some(_) => {
                    let reason = "the table `activity` has a snapshot of this id with other content";
                    done.damaged.push(problem(reason.to_owned()));
                }
                None => {
                    writer.write(&rows).await?;
                    stands.insert(file.name(), content_hash);
                    done.moved.push(at);
                }
            }
        }
        drop(read);
        done.rows += writer.rows();
        done.written.extend(writer.finish().await?);
    }
    Ok(done)
}

/// What a file gave.
enum Read {
    Rows { content_hash: String, rows: RecordBatch },
    Damaged(String),
    Unavailable(String),
}

async fn read(files: &Files, file: &RawFile, bucket: i32, limits: Limits) -> Result<Read, Read> {
    let fetched = files.whole(&file.object_key, Some(file.size), limits.file_bytes).await;
    let bytes = fetched.map_err(|error| match error {
        Unfetched::TooLarge { .. } => Read::Damaged(error.to_string()),
        Unfetched::Changed { .. } | Unfetched::Unavailable(_) => Read::Unavailable(error.to_string()),
    })?;
    let (key, known) = (file.key, file.content_hash.clone());
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
