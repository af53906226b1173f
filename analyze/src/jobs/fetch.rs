//! Fetches snapshot files, each at once and whole: none is larger than the limit.

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
    #[error("it has {found} bytes now, and had {listed}")]
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

/// Files that are fetched at the same time by one who works on them: as many as were asked for; if none were, what suits the store.
pub(super) fn at_once(store: &Store, asked: usize, of_folder: usize) -> usize {
    match (asked, store.url.scheme()) {
        (0, "file") => of_folder,
        (0, _) => 16,
        (asked, _) => asked,
    }
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
    /// Those of a store. What is to be fetched at the same time as others goes through the store.
    pub(super) fn of(store: &Store, at_once: usize) -> Self {
        let folder = store.folder().filter(|_| at_once <= 1);
        Self { objects: Arc::clone(&store.objects), folder }
    }

    /// Those of an object store that may be any.
    pub(super) fn through(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, folder: None }
    }

    /// All of a file, which has the size that it was listed with, where it was listed with one.
    pub(super) async fn whole(
        &self,
        key: &str,
        listed: Option<u64>,
        limit: usize,
    ) -> Result<Bytes, Unfetched> {
        let expected = |size: u64| {
            usize::try_from(size)
                .ok()
                .filter(|size| *size <= limit)
                .ok_or(Unfetched::TooLarge { size, limit })
        };
        let size = listed.map(expected).transpose()?;
        // Also refuses what would lead out of the folder.
        let key = Path::parse(key).map_err(object_store::Error::from)?;
        // Known without a look: in a folder, what has no size may be a pipe, which waits for a writer.
        if size == Some(0) {
            return Ok(Bytes::new());
        }
        let unreadable = |source| {
            let reason = format!("`{key}` cannot be read: {source}");
            object_store::Error::Generic { store: "LocalFileSystem", source: reason.into() }
        };
        let changed = |found| match listed {
            Some(listed) if found != listed => Err(Unfetched::Changed { found, listed }),
            _ => Ok(()),
        };
        if let Some(folder) = &self.folder {
            let path = folder.join(key.as_ref());
            let file = File::open(&path).map_err(unreadable)?;
            let size = match size {
                Some(size) => size,
                None => expected(file.metadata().map_err(unreadable)?.len())?,
            };
            let content = read(file, size).map_err(unreadable)?;
            if content.len() != size {
                changed(std::fs::metadata(&path).map_err(unreadable)?.len())?;
            }
            return Ok(content);
        }
        let object = self.objects.get(&key).await?;
        changed(object.meta.size)?;
        let size = expected(object.meta.size)?;
        let content = match object.payload {
            GetResultPayload::File(file, _) => read(file, size).map_err(unreadable)?,
            GetResultPayload::Stream(_) => object.bytes().await?,
        };
        changed(content.len() as u64)?;
        Ok(content)
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

#[cfg(test)]
mod tests {
    use wsp_schemas::store::{Missing, open};

    use super::*;

    /// By the disk, and through the store.
    async fn fetched(folder: &std::path::Path, key: &str, size: Option<u64>) -> [Result<Bytes, String>; 2] {
        let store = open(&folder.display().to_string(), Missing::Refuse).unwrap();
        let mut found = Vec::new();
        for at_once in [1, 2] {
            let files = Files::of(&store, at_once);
            assert_eq!(files.folder.is_some(), at_once == 1);
            found.push(files.whole(key, size, 10).await.map_err(|error| error.to_string()));
        }
        found.try_into().unwrap()
    }

    #[tokio::test]
    async fn a_file_is_what_was_listed_or_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("store")).unwrap();
        std::fs::write(folder.path().join("secret"), "12345").unwrap();
        let store = folder.path().join("store");
        std::fs::write(store.join("a"), "12345").unwrap();
        std::fs::write(store.join("empty"), "").unwrap();
        std::fs::write(store.join("large"), "12345678901").unwrap();
        for (key, size, expected) in [
            ("a", Some(5), Ok("12345")),
            ("a", None, Ok("12345")),
            ("empty", Some(0), Ok("")),
            ("empty", None, Ok("")),
            ("large", None, Err("11 bytes are more than the limit of 10")),
            ("a", Some(4), Err("and had 4")),
            ("a", Some(6), Err("it has 5 bytes now")),
            ("a", Some(11), Err("11 bytes are more than the limit of 10")),
            ("b", Some(5), Err("b")),
            ("b", None, Err("b")),
            ("../secret", Some(5), Err("..")),
        ] {
            for found in fetched(&store, key, size).await {
                match (&found, expected) {
                    (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                    (Err(error), Err(reason)) => assert!(error.contains(reason), "{key} {size:?}: {error}"),
                    _ => panic!("{key} {size:?}: {found:?}"),
                }
            }
        }
    }
}
