//! Reading and writing on executors. What they write belongs to no version before the job commits it: a task that is run twice leaves
//! files that a later compaction deletes as it does whatever no version needs.

use std::sync::Arc;

use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use wsp_schemas::tables::{ACTIVITY, ALL, PROFILE_SNAPSHOTS};

use super::CompactError;
use super::moving::{self, Means, MoveUnit, Moved};
use super::pack::{self, Bin, Rewritten};
use crate::cluster::{Cluster, Work};
use crate::engine::EngineError;
use crate::one_line::one_line;
use crate::session::Resources;
use crate::tables::{Folder, OpenTable, TableError, Written};

/// Files that are looked at at the same time.
const CHECKED_AT_ONCE: usize = 16;

/// Moves the files of buckets; gives what became of each.
pub(super) async fn move_on(
    cluster: &Cluster,
    activity: &OpenTable,
    means: Means,
    units: Vec<MoveUnit>,
    ledger: Option<&str>,
) -> std::result::Result<Vec<Moved>, CompactError> {
    let weighed = |unit: MoveUnit| (unit.files.iter().map(|file| file.size).sum(), unit);
    let units = units.into_iter().map(weighed).collect();
    let work = Work::Move(MoveWork(means));
    let moved: Vec<Moved> = one_each(cluster.ask(work, units, ledger, &Resources::default()).await?)?;
    check(&activity.folder(), moved.iter().flat_map(|moved| &moved.written)).await?;
    Ok(moved)
}

/// Writes the rows of bins of a table anew.
pub(super) async fn pack_on(
    cluster: &Cluster,
    table: &OpenTable,
    file_bytes: u64,
    bins: Vec<Bin>,
) -> std::result::Result<Vec<Rewritten>, CompactError> {
    let ledger = table.of_same_store(&PROFILE_SNAPSHOTS).await?;
    let ledger = ledger.as_ref().map(OpenTable::id).transpose()?;
    let work = Work::Pack(PackWork { table: table.folder().table().name.to_owned(), file_bytes });
    let units = bins.into_iter().map(|bin| (bin.0.iter().map(|(_, bytes)| bytes).sum(), bin)).collect();
    let answers = cluster.ask(work, units, ledger.as_deref(), &Resources::default()).await?;
    let rewritten: Vec<Rewritten> = one_each(answers)?;
    check(&table.folder(), rewritten.iter().flat_map(|rewritten| &rewritten.written)).await?;
    Ok(rewritten)
}

/// Files that an executor says to have written are in the store of the job: once they are committed, what they stand for is deleted.
async fn check<'a>(
    folder: &Folder,
    written: impl Iterator<Item = &'a Written>,
) -> std::result::Result<(), TableError> {
    let checks: Vec<_> = written.map(|file| file.check(folder)).collect();
    stream::iter(checks).buffer_unordered(CHECKED_AT_ONCE).try_collect().await
}

fn one_each<A>(answers: Vec<Vec<A>>) -> std::result::Result<Vec<A>, CompactError> {
    let one = |mut answers: Vec<A>| answers.pop().filter(|_| answers.is_empty());
    let answers: Option<Vec<A>> = answers.into_iter().map(one).collect();
    answers.ok_or_else(|| exec_datafusion_err!("a unit has not one answer").into())
}

/// How snapshot files are moved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MoveWork(Means);

/// Moves files, for a job elsewhere.
#[derive(Debug)]
pub(crate) struct Moving {
    means: Means,
    objects: Arc<dyn ObjectStore>,
    activity: Folder,
}

impl Moving {
    /// In this node's store.
    pub(crate) fn new(work: &MoveWork, objects: Arc<dyn ObjectStore>) -> Self {
        Self { means: work.0, activity: Folder::of(Arc::clone(&objects), &ACTIVITY), objects }
    }

    /// What became of the files of a unit, as a message; and how many there are.
    pub(crate) async fn answer(&self, unit: &[u8]) -> Result<(Vec<Vec<u8>>, usize)> {
        let unit: MoveUnit = read(unit)?;
        let files = unit.files.len();
        let moved = moving::move_files(&self.activity, &self.objects, &self.means, unit).await;
        let moved = moved.map_err(|error| exec_datafusion_err!("{}", one_line(&error)))?;
        Ok((vec![written(&moved)?], files))
    }
}

/// How small files are put together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PackWork {
    table: String,
    file_bytes: u64,
}

/// Puts files together, for a job elsewhere.
#[derive(Debug)]
pub(crate) struct Packing {
    folder: Folder,
    file_bytes: u64,
}

impl Packing {
    /// In this node's store.
    pub(crate) fn new(work: &PackWork, objects: Arc<dyn ObjectStore>) -> Result<Self> {
        let table = ALL.into_iter().find(|table| table.name == work.table);
        let table = table.ok_or_else(|| exec_datafusion_err!("there is no table `{}`", work.table))?;
        Ok(Self { folder: Folder::of(objects, table), file_bytes: work.file_bytes })
    }

    /// What stands in the place of a bin, as a message.
    pub(crate) async fn answer(&self, bin: &[u8]) -> Result<Vec<u8>> {
        let rewritten = pack::rewrite(&self.folder, &read(bin)?, self.file_bytes).await;
        written(&rewritten.map_err(|error| exec_datafusion_err!("{}", one_line(&error)))?)
    }
}

fn read<'a, M: Deserialize<'a>>(message: &'a [u8]) -> Result<M> {
    serde_json::from_slice(message).map_err(|error| exec_datafusion_err!("a unit cannot be read: {error}"))
}

fn written(message: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(message).map_err(|error| exec_datafusion_err!("{error}"))
}

impl From<EngineError> for CompactError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Here(error) => Self::Engine(error),
            EngineError::Cluster(error) => Self::Cluster(error),
        }
    }
}
