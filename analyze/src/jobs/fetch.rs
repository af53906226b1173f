//! Fetches snapshot files.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetResultPayload, ObjectStore, ObjectStoreExt as _};
use wsp_schemas::store::Store;

/// Why an object was not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfetched {
    /// It is larger than a snapshot may be, and was not read.
    #[error("{size} bytes are more than the limit of {limit}")]
    TooLarge {
        /// Its bytes.
        size: u64,
        /// The bound.
        limit: usize,
    },
    /// It is another one than the one that was listed.
    #[error("it has {found} bytes now or more, and had {listed}")]
    Changed {
        /// Bytes that it has.
        found: u64,
        /// Bytes that it had.
        listed: u64,
    },
    /// The store did not give it.
    #[error(transparent)]
    Unavailable(#[from] object_store::Error),
}

/// Where snapshot files are.
#[derive(Debug, Clone)]
pub(super) struct Files {
    objects: Arc<dyn ObjectStore>,
    /// The folder that they are below, where it is one: through the store, another thread would open each of them, which takes longer
    /// than to read it.
    folder: Option<PathBuf>,
}

impl Files {
    /// Those of a store.
    pub(super) fn of(store: &Store) -> Self {
        let folder = if store.url.scheme() == "file" { store.url.to_file_path().ok() } else { None };
        Self { objects: Arc::clone(&store.objects), folder }
    }

    /// Those of an object store that may be any.
    pub(super) fn through(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, folder: None }
    }

    /// How many are worth fetching at once, by one who works on them.
    pub(super) fn ahead(&self) -> usize {
        if self.folder.is_some() { 1 } else { 16 }
    }

    /// All of a file that was listed with a size.
    pub(super) async fn whole(&self, key: &str, size: u64, limit: usize) -> Result<Bytes, Unfetched> {
        let expected = usize::try_from(size).ok().filter(|size| *size <= limit);
        let expected = expected.ok_or(Unfetched::TooLarge { size, limit })?;
        // Also refuses what would lead out of the folder.
        let key = Path::parse(key).map_err(object_store::Error::from)?;
        let unreadable = |source| {
            let reason = format!("`{key}` cannot be read: {source}");
            object_store::Error::Generic { store: "LocalFileSystem", source: reason.into() }
        };
        let content = match &self.folder {
            Some(folder) => File::open(folder.join(key.as_ref()))
                .and_then(|file| read(file, expected))
                .map_err(unreadable)?,
            None => {
                let object = self.objects.get(&key).await?;
                match object.payload {
                    GetResultPayload::File(file, _) => read(file, expected).map_err(unreadable)?,
                    GetResultPayload::Stream(_) => object.bytes().await?,
                }
            }
        };
        let found = content.len() as u64;
        if found == size { Ok(content) } else { Err(Unfetched::Changed { found, listed: size }) }
    }
}

/// What a file holds; a byte more than expected, where it has more. A file of ours is small: reading it here is faster than
/// having another thread do it.
fn read(mut file: File, expected: usize) -> std::io::Result<Bytes> {
    let mut content = vec![0; expected + 1];
    let mut filled = 0;
    while filled < content.len() {
        match file.read(&mut content[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content.into())
}
