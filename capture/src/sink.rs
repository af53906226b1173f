//! Where snapshots go: encoded, keyed, put into the store once.
//!
//! There is no spool yet: a snapshot that cannot be uploaded after the retries is kept as a file below a folder, under the
//! key that it was to have, and the error says where. Its place is [`Sink::put`].

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::path::Path as Key;
use object_store::{Error as ObjectError, ObjectStoreExt as _, PutMode, PutOptions};
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::{EncodeError, Node, SnapshotMeta, encode};
use wsp_schemas::store::{self, Missing, Store, StoreError};

/// Waits between tries, on top of those of the provider's client.
const RETRIES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// A store that takes snapshots.
#[derive(Debug, Clone)]
pub struct Sink {
    store: Store,
    unsent: PathBuf,
    waits: &'static [Duration],
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
    /// Opens the store at a URL. `unsent` is the folder for what cannot be uploaded; it is made when needed.
    pub fn open(location: &str, unsent: PathBuf) -> Result<Self, SinkError> {
        Ok(Self { store: store::open(location, Missing::Create)?, unsent, waits: &RETRIES })
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
        match self.store.objects.head(&Key::from(wsp_schemas::keys::PROBE)).await {
            Ok(_) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(error @ (ObjectError::PermissionDenied { .. } | ObjectError::Unauthenticated { .. })) => {
                tracing::warn!(store = %self.store, %error, "the store does not let its objects be looked up");
                Ok(())
            }
            Err(source) => {
                Err(SinkError::Unreachable { store: self.store.to_string(), source: Box::new(source) })
            }
        }
    }

    /// Puts a snapshot in; `uploaded` is the time of the first try. Twice the same is the same as once.
    pub async fn put(
        &self,
        meta: &SnapshotMeta,
        nodes: &[Node],
        uploaded: DateTime<Utc>,
    ) -> Result<Stored, SinkError> {
        let key = SnapshotKey {
            uploaded,
            workload: meta.image.workload.as_ref().map_or(WorkloadKey::UNKEYED, Workload::key),
            window_end_ms: meta.window_end.timestamp_millis(),
            id: meta.id,
        }
        .path();
        let file = Bytes::from(encode(meta, nodes)?);
        let stored = Stored { key: key.clone(), bytes: file.len(), nodes: nodes.len() };
        let mut waits = self.waits.iter();
        let source = loop {
            let error = match self.try_put(&key, &file).await {
                Ok(Put::Done) => return Ok(stored),
                Ok(Put::Taken) => {
                    let store = self.store.to_string();
                    return Err(match self.keep(&key, &file) {
                        Ok(kept) => SinkError::Taken { key, store, kept },
                        Err((kept, source)) => {
                            let upload = ObjectError::AlreadyExists {
                                path: key.clone(),
                                source: "other content".into(),
                            };
                            SinkError::Lost { key, store, upload: Box::new(upload), kept, source }
                        }
                    });
                }
                Err(error) => error,
            };
            let Some(wait) = waits.next().filter(|_| may_pass(&error)) else { break error };
            tracing::warn!(key, store = %self.store, %error, "upload failed, trying again");
            tokio::time::sleep(*wait).await;
        };
        let store = self.store.to_string();
        Err(match self.keep(&key, &file) {
            Ok(kept) => SinkError::Upload { key, store, kept, source: Box::new(source) },
            Err((kept, error)) => {
                SinkError::Lost { key, store, upload: Box::new(source), kept, source: error }
            }
        })
    }

    async fn try_put(&self, key: &str, file: &Bytes) -> Result<Put, ObjectError> {
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

enum Put {
    Done,
    /// Another object has the key.
    Taken,
}

/// Writes a file below a folder that only this user can write: it may stand in a shared temporary folder.
fn keep(folder: &Path, path: &Path, file: &[u8]) -> io::Result<()> {
    let make = |at: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(at);
    make(folder)?;
    let meta = fs::symlink_metadata(folder)?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    let own = unsafe { libc::geteuid() };
    if !meta.is_dir() || meta.uid() != own {
        let reason = format!("{} is not a folder of this user", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    if let Some(parent) = path.parent() {
        make(parent)?;
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
