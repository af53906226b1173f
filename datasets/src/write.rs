//! A fleet into a store: encoded in parallel, written in any order, truth in the fleet's order. Memory is bounded by the
//! number of jobs, not by the fleet.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::task::{JoinError, spawn_blocking};
use wsp_schemas::snapshot::EncodeError;
use wsp_schemas::store::Store;

use crate::fleet::{Fleet, FleetContainer, FleetWorkload};
use crate::truth::{
    ContainerTruth, FleetTruth, SnapshotTruth, TRUTH, TRUTH_VERSION, WorkloadEntry, WorkloadTruth,
};

/// Windows that one task makes.
const WINDOWS_PER_TASK: usize = 16;
/// Objects that one task has under way at a time.
const PUTS_PER_TASK: usize = 8;

/// How a fleet is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Snapshots are encoded by this many threads.
    pub jobs: usize,
    /// Whether the truth is written beside the data.
    pub truth: TruthOption,
}

/// Whether the truth is written beside the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TruthOption {
    /// It is.
    Write,
    /// Only the snapshots are.
    Skip,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Images and tags.
    pub workloads: usize,
    /// Snapshot files.
    pub snapshots: usize,
    /// Rows of all of them.
    pub nodes: usize,
    /// Bytes of all of them.
    pub bytes: usize,
}

/// A fleet could not be written. What was written before stays: the same command again completes it.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The store has the truth of another fleet.
    #[error(
        "{store} holds a fleet that was generated with other settings; give another store, or remove {store}/snapshots and {store}/{TRUTH}"
    )]
    OtherFleet {
        /// The store.
        store: String,
    },
    /// The store did not do what it was asked.
    #[error("`{key}` cannot be written to {store}")]
    Store {
        /// The store.
        store: String,
        /// The object.
        key: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// A snapshot could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A truth could not be serialised.
    #[error("the truth cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// A task did not end.
    #[error("a task of the generator ended early")]
    Task(#[from] JoinError),
}

/// Some windows of one container.
struct Unit {
    workload: Arc<FleetWorkload>,
    container: usize,
    windows: std::ops::Range<usize>,
}

/// What became of a [`Unit`].
struct Made {
    workload: Arc<FleetWorkload>,
    container: FleetContainer,
    last: bool,
    files: Vec<(String, Vec<u8>)>,
    truths: Vec<SnapshotTruth>,
    nodes: usize,
}

/// Writes all snapshots of a fleet, and its truth. `progress` is told how many snapshots more are in the store.
///
/// The same fleet makes the same objects, so that writing it again changes nothing. A store that has the truth of another
/// fleet is refused.
pub async fn write_fleet(
    fleet: &Fleet,
    store: &Store,
    options: &WriteOptions,
    progress: impl Fn(usize),
) -> Result<Written, WriteError> {
    let mut sink = match options.truth {
        TruthOption::Write => {
            announce(fleet, store).await?;
            Some(Sink { store, open: None })
        }
        TruthOption::Skip => None,
    };
    let mut written = Written { workloads: fleet.workload_names().len(), ..Written::default() };
    let mut made = stream::iter(units(fleet)).map(|unit| put_unit(store, unit)).buffered(options.jobs.max(1));
    while let Some(part) = made.try_next().await? {
        let snapshots = part.truths.len();
        written.snapshots += snapshots;
        written.nodes += part.nodes;
        written.bytes += part.bytes;
        if let Some(sink) = &mut sink {
            sink.add(part).await?;
        }
        progress(snapshots);
    }
    if let Some(sink) = sink {
        sink.close().await?;
    }
    Ok(written)
}

fn units(fleet: &Fleet) -> impl Iterator<Item = Unit> + '_ {
    let (containers, snapshots) = (fleet.spec().containers, fleet.spec().snapshots);
    fleet.workloads().map(Arc::new).flat_map(move |workload| {
        (0..containers).flat_map(move |container| {
            let workload = Arc::clone(&workload);
            (0..snapshots).step_by(WINDOWS_PER_TASK).map(move |from| Unit {
                workload: Arc::clone(&workload),
                container,
                windows: from..snapshots.min(from + WINDOWS_PER_TASK),
            })
        })
    })
}

fn make(unit: Unit, snapshots: usize) -> Result<Made, EncodeError> {
    let container = unit.workload.container(unit.container);
    let last = unit.windows.end == snapshots;
    let mut made =
        Made { workload: unit.workload, container, last, files: Vec::new(), truths: Vec::new(), nodes: 0 };
    for window in unit.windows {
        let snapshot = made.container.snapshot(window);
        made.files.push((snapshot.key.path(), snapshot.encode()?));
        made.nodes += snapshot.nodes.len();
        made.truths.push(snapshot.truth);
    }
    Ok(made)
}

/// A unit whose files are in the store.
struct Stored {
    workload: Arc<FleetWorkload>,
    container: FleetContainer,
    last: bool,
    truths: Vec<SnapshotTruth>,
    nodes: usize,
    bytes: usize,
}

async fn put_unit(store: &Store, unit: Unit) -> Result<Stored, WriteError> {
    let snapshots = unit.workload.snapshots_per_container();
    let made = spawn_blocking(move || make(unit, snapshots)).await??;
    let bytes = made.files.iter().map(|(_, bytes)| bytes.len()).sum();
    stream::iter(made.files)
        .map(|(key, bytes)| put(store, key, bytes))
        .buffer_unordered(PUTS_PER_TASK)
        .try_collect::<()>()
        .await?;
    Ok(Stored {
        workload: made.workload,
        container: made.container,
        last: made.last,
        truths: made.truths,
        nodes: made.nodes,
        bytes,
    })
}

/// Writes one object.
pub(crate) async fn put(store: &Store, key: String, bytes: Vec<u8>) -> Result<(), WriteError> {
    let result = store.objects.put(&Path::from(key.as_str()), bytes.into()).await;
    result.map(drop).map_err(|source| failed(store, key, source))
}

fn failed(store: &Store, key: String, source: object_store::Error) -> WriteError {
    WriteError::Store { store: store.to_string(), key, source }
}

/// Says first which fleet this is, so that an interrupted one is not mixed with another.
async fn announce(fleet: &Fleet, store: &Store) -> Result<(), WriteError> {
    let key = format!("{TRUTH}/fleet.json");
    let workloads = fleet.workload_names().map(|workload| WorkloadEntry {
        image_name: workload.name().to_owned(),
        image_tag: workload.tag().to_owned(),
        workload_key: workload.key().to_string(),
    });
    let truth =
        FleetTruth { version: TRUTH_VERSION, spec: fleet.spec().clone(), workloads: workloads.collect() };
    let text = pretty(&truth)?;
    match store.objects.get(&Path::from(key.as_str())).await {
        Err(object_store::Error::NotFound { .. }) => put(store, key, text).await,
        Err(source) => Err(failed(store, key, source)),
        Ok(found) => {
            let found = found.bytes().await.map_err(|source| failed(store, key, source))?;
            if *found == *text { Ok(()) } else { Err(WriteError::OtherFleet { store: store.to_string() }) }
        }
    }
}

pub(crate) fn pretty(value: &impl serde::Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// The truth files, one workload after the other.
struct Sink<'a> {
    store: &'a Store,
    open: Option<Open>,
}

struct Open {
    truth: WorkloadTruth,
    lines: BufWriter,
    /// Windows of the container that is not whole yet.
    snapshots: Vec<SnapshotTruth>,
}

impl Sink<'_> {
    async fn add(&mut self, part: Stored) -> Result<(), WriteError> {
        let key = part.workload.key().to_string();
        let mut open = match self.open.take() {
            Some(open) if open.truth.workload_key == key => open,
            other => {
                self.open = other;
                self.finish().await?;
                let path = Path::from(WorkloadTruth::keys(&key)[1].as_str());
                let lines = BufWriter::new(Arc::clone(&self.store.objects) as Arc<dyn ObjectStore>, path);
                Open { truth: part.workload.truth(), lines, snapshots: Vec::new() }
            }
        };
        open.snapshots.extend(part.truths);
        if part.last {
            let snapshots = std::mem::take(&mut open.snapshots);
            let line = ContainerTruth { snapshots, ..part.container.truth_without_snapshots() };
            let mut text = serde_json::to_vec(&line)?;
            text.push(b'\n');
            let put = open.lines.put(Bytes::from(text)).await;
            put.map_err(|source| failed(self.store, WorkloadTruth::keys(&key)[1].clone(), source))?;
        }
        self.open = Some(open);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), WriteError> {
        let Some(Open { truth, mut lines, .. }) = self.open.take() else { return Ok(()) };
        let [catalogue, containers] = WorkloadTruth::keys(&truth.workload_key);
        let closed = tokio::io::AsyncWriteExt::shutdown(&mut lines).await;
        closed.map_err(|error| {
            failed(
                self.store,
                containers,
                object_store::Error::Generic { store: "truth", source: error.into() },
            )
        })?;
        put(self.store, catalogue, pretty(&truth)?).await
    }

    async fn close(mut self) -> Result<(), WriteError> {
        self.finish().await
    }
}

#[cfg(test)]
mod tests;
