//! Closed snapshots on their way to the store: on disk before anything else, so that neither a crash nor a store that is
//! away loses them.
//!
//! | folder | what |
//! |---|---|
//! | `waiting/` | files that wait for the store; the name is the object key, with `~` for `/` |
//! | `partial/` | files that are being written; what a crash leaves there is removed at the next start |
//! | `taken/` | files whose key the store has with other content |
//!
//! A key is fixed before the first try and kept, for a try whose answer was lost may have succeeded. Once its hour is long
//! over, merges may no longer look there: then the store is asked whether it has the object, and where not, it gets a key of
//! the present hour.
//!
//! Where the folder may hold no more, the oldest files are dropped: while a profile learns, new ones count as much as old
//! ones, and afterwards the old ones come too late.

mod folder;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use object_store::Error as ObjectError;
use tokio::sync::Notify;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{EncodeError, Node, SnapshotMeta, encode};

use self::folder::Folder;
#[cfg(all(feature = "ebpf", any(test, feature = "fuzz")))]
pub(crate) use self::folder::check::{check_folder, check_name};
use crate::sink::{Put, Sink, hour_of, key};

/// Uploads at once.
const UPLOADS: usize = 8;
/// A key is kept for this long after its hour: merges look back further.
const RECENT: TimeDelta = TimeDelta::hours(12);
/// Waits between tries, while the store is away: from half a second to a minute.
const WAITS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(500))
    .with_max_delay(Duration::from_secs(60))
    .without_max_times()
    .with_jitter();

/// A spool. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: Folder,
    sink: Sink,
    /// Bytes that may wait.
    limit: u64,
    waiting: Mutex<Waiting>,
    /// There is something to upload.
    more: Notify,
    /// Something went out, or was dropped.
    less: Notify,
    /// Do not wait any longer for the store to come back.
    hurry: Notify,
    uploaded: AtomicU64,
    dropped: AtomicU64,
    taken: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
}

/// Files that wait, by name, which is in the order of their hours.
#[derive(Debug, Default)]
struct Waiting {
    files: BTreeMap<SnapshotKey, File>,
    bytes: u64,
    /// Bytes of files that are being written.
    reserved: u64,
}

#[derive(Debug)]
struct File {
    bytes: u64,
    under_way: bool,
}

/// How a spool fared since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Snapshots in the store.
    pub uploaded: u64,
    /// Snapshots that are lost: there was no room for them, or no disk.
    pub dropped: u64,
    /// Snapshots whose key the store has with other content: kept in `taken/`.
    pub taken: u64,
    /// Snapshots that wait.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
}

/// A spool that cannot be used, or a snapshot that is not in it.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder.
    #[error("the spool {} cannot be used", folder.display())]
    Folder {
        /// It.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another daemon has it.
    #[error("the spool {} is in use by another wsp-capture", folder.display())]
    InUse {
        /// It.
        folder: PathBuf,
    },
    /// It cannot be written as a file: a bug.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It is larger than all that may wait.
    #[error("{key} has {bytes} bytes, and {limit} may wait in the spool: it is lost")]
    TooLarge {
        /// Object key.
        key: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// It could be written neither here nor to the store.
    #[error("{key} could be written neither to the spool ({spool}) nor to {store}: it is lost")]
    Lost {
        /// Object key.
        key: String,
        /// Why not to the spool.
        spool: io::Error,
        /// The store's URL.
        store: String,
        /// Why not to the store.
        #[source]
        source: Box<ObjectError>,
    },
}

impl Spool {
    /// Opens a folder for this process alone, making it where it is missing, and finds what waits in it.
    pub fn open(folder: &Path, limit: u64, sink: Sink) -> Result<Self, SpoolError> {
        let (folder, found) = Folder::open(folder)?;
        let bytes = found.values().sum();
        let files = found.into_iter().map(|(key, bytes)| (key, File { bytes, under_way: false })).collect();
        let spool = Inner {
            folder,
            sink,
            limit,
            waiting: Mutex::new(Waiting { files, bytes, reserved: 0 }),
            more: Notify::new(),
            less: Notify::new(),
            hurry: Notify::new(),
            uploaded: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        Ok(Self(Arc::new(spool)))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.0.folder.path()
    }

    /// How it fared.
    pub fn counts(&self) -> Counts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let waiting = self.0.waiting();
        Counts {
            uploaded: count(&self.0.uploaded),
            dropped: count(&self.0.dropped),
            taken: count(&self.0.taken),
            waiting: waiting.files.len() as u64,
            waiting_bytes: waiting.bytes,
        }
    }

    /// Bytes that may wait.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Uploads that failed and are tried again.
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Snapshots that the disk did not take: they went to the store at once, or are lost.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// When the window of the oldest snapshot closed that waits, milliseconds since the epoch.
    pub fn oldest_waiting_ms(&self) -> Option<i64> {
        self.0.waiting().files.keys().map(|key| key.window_end_ms).min()
    }

    /// Files in `taken/` and their bytes, from this and earlier runs.
    pub fn taken(&self) -> io::Result<(u64, u64)> {
        self.0.folder.taken()
    }

    /// Writes a small file and removes it.
    pub fn try_writing(&self) -> io::Result<()> {
        self.0.folder.try_writing()
    }

    /// Writes a snapshot to disk; what [`Spool::upload`] then does may take as long as it takes. Where the disk does not
    /// take it, the store is tried at once.
    pub async fn put(
        &self,
        meta: &SnapshotMeta,
        nodes: &[Node],
        now: DateTime<Utc>,
    ) -> Result<(), SpoolError> {
        let counted = |error: SpoolError| {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            error
        };
        let key = key(meta, now);
        let file = Bytes::from(encode(meta, nodes).map_err(|error| counted(error.into()))?);
        let (bytes, limit) = (file.len() as u64, self.0.limit);
        if bytes > limit {
            return Err(counted(SpoolError::TooLarge { key: key.path(), bytes, limit }));
        }
        self.0.make_room(bytes);
        let (inner, written) = (Arc::clone(&self.0), file.clone());
        let written = tokio::task::spawn_blocking(move || inner.folder.write(&key, &written)).await;
        self.0.waiting().reserved -= bytes;
        if let Err(spool) = written.unwrap_or_else(|error| Err(io::Error::other(error))) {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            tracing::error!(key = key.path(), error = %spool, "the spool does not take a snapshot: uploading it at once");
            let source = match self.0.sink.put_file(&key.path(), &file).await {
                Ok(Put::Done) => {
                    self.0.uploaded.fetch_add(1, Ordering::Relaxed);
                    tracing::info!(key = key.path(), bytes, "snapshot stored");
                    return Ok(());
                }
                Ok(Put::Taken) => {
                    ObjectError::AlreadyExists { path: key.path(), source: "with other content".into() }
                }
                Err(source) => source,
            };
            let (store, source) = (self.0.sink.url(), Box::new(source));
            return Err(counted(SpoolError::Lost { key: key.path(), spool, store, source }));
        }
        self.0.waiting().add(key, bytes);
        self.0.more.notify_one();
        Ok(())
    }

    /// Uploads what waits and what comes, the oldest first, for ever. What fails holds up nothing else.
    pub async fn upload(&self) {
        let mut failed = Vec::new();
        let mut waits: Option<ExponentialBackoff> = None;
        loop {
            let keys = self.0.waiting().begin(UPLOADS);
            if keys.is_empty() {
                if failed.is_empty() {
                    waits = None;
                    self.0.more.notified().await;
                }
                // All others had their turn.
                self.0.waiting().put_back(failed.drain(..));
                continue;
            }
            let tried = keys.len();
            let sent = join_all(keys.into_iter().map(|key| self.0.send(key, Utc::now()))).await;
            let before = failed.len();
            failed.extend(sent.into_iter().flatten());
            self.0.less.notify_waiters();
            if failed.len() - before < tried {
                continue;
            }
            let wait = waits.get_or_insert_with(|| WAITS.build()).next().unwrap_or(Duration::from_secs(60));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.0.hurry.notified() => {}
            }
        }
    }

    /// Waits until nothing waits; beside it, [`Spool::upload`] must run.
    pub async fn emptied(&self) {
        self.0.hurry.notify_one();
        loop {
            let less = self.0.less.notified();
            if self.0.waiting().files.is_empty() {
                return;
            }
            less.await;
        }
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the oldest files until so many bytes more may wait, and reserves them. Files that are under way stay.
    fn make_room(&self, bytes: u64) {
        loop {
            let dropped = {
                let mut waiting = self.waiting();
                let idle = waiting.files.iter().find(|(_, file)| !file.under_way).map(|(key, _)| *key);
                let Some(oldest) = idle.filter(|_| waiting.bytes + waiting.reserved + bytes > self.limit)
                else {
                    waiting.reserved += bytes;
                    return;
                };
                waiting.remove(&oldest);
                oldest
            };
            self.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                key = dropped.path(),
                limit = self.limit,
                "the spool is full: its oldest snapshot is lost"
            );
            self.remove(&dropped);
            self.less.notify_waiters();
        }
    }

    /// Tries to upload one; gives its key where it has to be tried again.
    async fn send(&self, mut key: SnapshotKey, now: DateTime<Utc>) -> Option<SnapshotKey> {
        let sent = self.try_send(&mut key, now).await;
        let error = sent.err()?;
        self.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(key = key.path(), store = self.sink.url(), %error, "upload failed, trying again");
        Some(key)
    }

    /// `key` is its key afterwards.
    async fn try_send(
        &self,
        key: &mut SnapshotKey,
        now: DateTime<Utc>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let file = match self.folder.read(key) {
            Ok(file) => Bytes::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!(key = key.path(), "a snapshot is gone from the spool: it is lost");
                self.dropped.fetch_add(1, Ordering::Relaxed);
                self.waiting().remove(key);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if now - key.uploaded > RECENT && !self.sink.has(&key.path()).await? {
            let renewed = SnapshotKey { uploaded: hour_of(now), ..*key };
            self.folder.rename(key, &renewed)?;
            let mut waiting = self.waiting();
            let bytes = waiting.remove(key);
            *key = renewed;
            waiting.add(renewed, bytes);
            waiting.begin_one(&renewed);
        }
        match self.sink.try_put(&key.path(), &file).await? {
            Put::Done => {
                self.uploaded.fetch_add(1, Ordering::Relaxed);
                tracing::info!(key = key.path(), bytes = file.len(), "snapshot stored");
                self.waiting().remove(key);
                self.remove(key);
            }
            Put::Taken => {
                self.taken.fetch_add(1, Ordering::Relaxed);
                let kept = self.folder.set_aside(key)?;
                tracing::error!(key = key.path(), kept = %kept.display(), "the store has the key with other content");
                self.waiting().remove(key);
            }
        }
        Ok(())
    }

    fn remove(&self, key: &SnapshotKey) {
        if let Err(error) = self.folder.remove(key) {
            // It will be uploaded once more, which changes nothing.
            tracing::warn!(key = key.path(), %error, "a file of the spool cannot be removed");
        }
    }
}

impl Waiting {
    fn add(&mut self, key: SnapshotKey, bytes: u64) {
        self.bytes += bytes;
        self.files.insert(key, File { bytes, under_way: false });
    }

    fn remove(&mut self, key: &SnapshotKey) -> u64 {
        let bytes = self.files.remove(key).map_or(0, |file| file.bytes);
        self.bytes -= bytes;
        bytes
    }

    /// Takes the oldest that nobody uploads.
    fn begin(&mut self, most: usize) -> Vec<SnapshotKey> {
        let idle = self.files.iter_mut().filter(|(_, file)| !file.under_way).take(most);
        idle.map(|(key, file)| {
            file.under_way = true;
            *key
        })
        .collect()
    }

    fn begin_one(&mut self, key: &SnapshotKey) {
        self.files.get_mut(key).into_iter().for_each(|file| file.under_way = true);
    }

    fn put_back(&mut self, keys: impl Iterator<Item = SnapshotKey>) {
        for key in keys {
            self.files.get_mut(&key).into_iter().for_each(|file| file.under_way = false);
        }
    }
}
