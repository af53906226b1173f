//! Where snapshots go: encoded, keyed, put into the store once.
//!
//! What `once` and `replay` cannot upload after the retries is kept as a file below a folder, under the key that it was to
//! have, and the error says where. `run` has a [spool](crate::spool).

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use object_store::path::Path as Key;
use object_store::{Error as ObjectError, ObjectStoreExt as _, PutMode, PutOptions};
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{EncodeError, Node, SnapshotMeta, encode};
use wsp_schemas::store::{self, Missing, Store, StoreError};

/// Waits between tries, on top of those of the provider's client.
const RETRIES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// A store that takes files.
#[derive(Debug, Clone)]
pub struct Sink {
    store: Store,
    waits: &'static [Duration],
}

/// Takes snapshots one by one; what the store does not take is kept as a file.
#[derive(Debug, Clone)]
pub struct Direct {
    sink: Sink,
    unsent: PathBuf,
}

/// A snapshot in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its object key.
    pub key: String,
    /// Bytes.
    pub bytes: usize,
    /// Rows.
    pub nodes: usize,
}

/// Why a snapshot did not get into the store.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The URL.
    #[error(transparent)]
    Open(#[from] StoreError),
    /// Nothing answers there, or it refuses.
    #[error("the store {store} cannot be reached")]
    Unreachable {
        /// Its URL.
        store: String,
        /// Why.
        #[source]
        source: Box<ObjectError>,
    },
    /// It cannot be written as a file: a bug.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The upload failed; the file is kept.
    #[error("{key} could not be uploaded to {store}; it is kept as {}", kept.display())]
    Upload {
        /// Object key.
        key: String,
        /// The store's URL.
        store: String,
        /// Where it is.
        kept: PathBuf,
        /// Why.
        #[source]
        source: Box<ObjectError>,
    },
    /// The upload failed, and so did keeping the file.
    #[error("{key} could not be uploaded to {store} ({upload}) nor kept as {}: it is lost", kept.display())]
    Lost {
        /// Object key.
        key: String,
        /// The store's URL.
        store: String,
        /// Why not uploaded.
        upload: Box<ObjectError>,
        /// Where it was to be.
        kept: PathBuf,
        /// Why not kept.
        #[source]
        source: io::Error,
    },
    /// Something else is there.
    #[error("{key} is already in {store} with other content; the new one is kept as {}", kept.display())]
    Taken {
        /// Object key.
        key: String,
        /// The store's URL.
        store: String,
        /// Where the new one is.
        kept: PathBuf,
    },
}

impl Sink {
    /// Opens the store at a URL.
    pub fn open(location: &str) -> Result<Self, SinkError> {
        Ok(store::open(location, Missing::Create)?.into())
    }

    /// The store's URL.
    pub fn url(&self) -> String {
        self.store.to_string()
    }

    /// Asks the store for an object that is not there. An answer proves that it can be reached; whether it may be written
    /// shows at the first upload, for a capture's credentials need to allow nothing else.
    ///
    /// A folder is asked for both: trying costs nothing there.
    pub async fn check(&self) -> Result<(), SinkError> {
        if let Ok(folder) = self.store.url.to_file_path() {
            let trial = folder.join(".wsp-writable");
            let tried = fs::write(&trial, b"").and_then(|()| fs::remove_file(&trial));
            return tried.map_err(|error| SinkError::Unreachable {
                store: self.store.to_string(),
                source: Box::new(ObjectError::Generic { store: "folder", source: Box::new(error) }),
            });
        }
        // A HEAD would have no body that tells an object that is not there from a bucket that is not.
        match self.store.objects.get(&Key::from(wsp_schemas::keys::PROBE)).await {
            Ok(_) => Ok(()),
            Err(error @ ObjectError::NotFound { .. }) if !store::is_bucket_missing(&error) => Ok(()),
            Err(error @ (ObjectError::PermissionDenied { .. } | ObjectError::Unauthenticated { .. }))
                if !store::are_credentials_wrong(&error) =>
            {
                tracing::warn!(store = %self.store, %error, "the store does not let its objects be looked up");
                Ok(())
            }
            Err(source) => {
                Err(SinkError::Unreachable { store: self.store.to_string(), source: Box::new(source) })
            }
        }
    }

    /// Puts a file in, and tries some times more where that may help.
    pub(crate) async fn put_file(&self, key: &str, file: &Bytes) -> Result<Put, ObjectError> {
        let mut waits = self.waits.iter();
        loop {
            let error = match self.try_put(key, file).await {
                Err(error) => error,
                put => return put,
            };
            let Some(wait) = waits.next().filter(|_| may_pass(&error)) else { return Err(error) };
            tracing::warn!(key, store = %self.store, %error, "upload failed, trying again");
            tokio::time::sleep(*wait).await;
        }
    }

    /// Whether there is an object of that key.
    pub(crate) async fn has(&self, key: &str) -> Result<bool, ObjectError> {
        match self.store.objects.head(&Key::from(key)).await {
            Ok(_) => Ok(true),
            Err(ObjectError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts a file in, once. Where the same is there already, it is in.
    pub(crate) async fn try_put(&self, key: &str, file: &Bytes) -> Result<Put, ObjectError> {
        use object_store::ObjectStore as _;
        let at = Key::from(key);
        let options = PutOptions::from(PutMode::Create);
        match self.store.objects.put_opts(&at, file.clone().into(), options).await {
            Ok(_) => Ok(Put::Done),
            // A try whose answer was lost may have succeeded.
            Err(ObjectError::AlreadyExists { .. }) => {
                let there = self.store.objects.get(&at).await?.bytes().await?;
                Ok(if there == *file { Put::Done } else { Put::Taken })
            }
            Err(error) => Err(error),
        }
    }
}

impl From<Store> for Sink {
    fn from(store: Store) -> Self {
        Self { store, waits: &RETRIES }
    }
}

impl Direct {
    /// `unsent` is the folder for what cannot be uploaded; it is made when needed.
    pub const fn new(sink: Sink, unsent: PathBuf) -> Self {
        Self { sink, unsent }
    }

    /// Puts a snapshot in; `uploaded` is the time of the first try. Twice the same is the same as once.
    pub async fn put(
        &self,
        meta: &SnapshotMeta,
        nodes: &[Node],
        uploaded: DateTime<Utc>,
    ) -> Result<Stored, SinkError> {
        let key = key(meta, uploaded).path();
        let file = Bytes::from(encode(meta, nodes)?);
        let stored = Stored { key: key.clone(), bytes: file.len(), nodes: nodes.len() };
        let store = self.sink.url();
        let taken = || ObjectError::AlreadyExists { path: key.clone(), source: "other content".into() };
        let put = self.sink.put_file(&key, &file).await;
        match put {
            Ok(Put::Done) => Ok(stored),
            Ok(Put::Taken) => Err(match self.keep(&key, &file) {
                Ok(kept) => SinkError::Taken { key, store, kept },
                Err((kept, source)) => {
                    let upload = Box::new(taken());
                    SinkError::Lost { key, store, upload, kept, source }
                }
            }),
            Err(upload) => Err(match self.keep(&key, &file) {
                Ok(kept) => SinkError::Upload { key, store, kept, source: Box::new(upload) },
                Err((kept, source)) => SinkError::Lost { key, store, upload: Box::new(upload), kept, source },
            }),
        }
    }

    fn keep(&self, key: &str, file: &[u8]) -> Result<PathBuf, (PathBuf, io::Error)> {
        let path = self.unsent.join(key);
        match keep(&self.unsent, &path, file) {
            Ok(()) => Ok(path),
            Err(error) => Err((path, error)),
        }
    }
}

#[cfg(test)]
impl Sink {
    /// For tests of what happens after the last try.
    pub(crate) fn without_retries(mut self) -> Self {
        self.waits = &[];
        self
    }
}

/// How a put went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is in the store.
    Done,
    /// Another object has the key.
    Taken,
}

/// The key of a snapshot whose upload is first tried then.
pub(crate) fn key(meta: &SnapshotMeta, uploaded: DateTime<Utc>) -> SnapshotKey {
    SnapshotKey {
        uploaded: hour_of(uploaded),
        workload: meta.image.workload.as_ref().map_or(WorkloadKey::UNKEYED, Workload::key),
        window_end_ms: meta.window_end.timestamp_millis(),
        id: meta.id,
    }
}

/// The hour that a key has for a time.
pub(crate) fn hour_of(time: DateTime<Utc>) -> DateTime<Utc> {
    time.duration_trunc(TimeDelta::hours(1)).unwrap_or(time)
}

/// Makes a folder that only this user can write, and refuses one of another user: it may stand in a shared temporary folder.
pub(crate) fn own_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let meta = fs::symlink_metadata(folder)?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    let own = unsafe { libc::geteuid() };
    if !meta.is_dir() || meta.uid() != own {
        let reason = format!("{} is not a folder of this user", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
}

fn keep(folder: &Path, path: &Path, file: &[u8]) -> io::Result<()> {
    own_folder(folder)?;
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    out.write_all(file)?;
    out.sync_all()
}

/// False where trying again cannot help.
fn may_pass(error: &ObjectError) -> bool {
    !matches!(
        error,
        ObjectError::NotSupported { .. }
            | ObjectError::NotImplemented { .. }
            | ObjectError::InvalidPath { .. }
            | ObjectError::PermissionDenied { .. }
            | ObjectError::Unauthenticated { .. }
            | ObjectError::UnknownConfigurationKey { .. }
    )
}
