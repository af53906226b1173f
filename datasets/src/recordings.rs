//! The bundled recordings: snapshot files that `wsp-capture` made of real containers, compiled into the program, so that
//! the demo needs nothing but itself.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions};
use serde::Serialize;
use wsp_schemas::snapshot::{DecodeError, Limits, decode};
use wsp_schemas::store::Store;

/// Written by `build.rs`.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/recordings.rs"));

/// All recordings: object key from the store's root, and the file. Sorted by key; may be none.
pub fn recordings() -> impl ExactSizeIterator<Item = (&'static str, &'static [u8])> {
    FILES.iter().copied()
}

/// What [`copy_to`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Files that are new in the store.
    pub written: usize,
    /// Files that were there already, and were left alone.
    pub present: usize,
}

/// A recording could not be copied.
#[derive(Debug, thiserror::Error)]
#[error("the recording `{key}` cannot be written to {store}")]
pub struct CopyError {
    /// The object.
    pub key: &'static str,
    /// The store.
    pub store: String,
    /// Why.
    #[source]
    pub source: object_store::Error,
}

/// Copies all recordings into a store. What is there stays as it is.
pub async fn copy_to(store: &Store) -> Result<Copied, CopyError> {
    let mut copied = Copied::default();
    for (key, file) in recordings() {
        let options = PutOptions::from(PutMode::Create);
        match store.objects.put_opts(&Path::from(key), Bytes::from_static(file).into(), options).await {
            Ok(_) => copied.written += 1,
            Err(object_store::Error::AlreadyExists { .. }) => copied.present += 1,
            Err(source) => return Err(CopyError { key, store: store.to_string(), source }),
        }
    }
    Ok(copied)
}

/// What is recorded of one image and tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedWorkload {
    /// Image name; `(unkeyed)` where the recording has none.
    pub image_name: String,
    /// Image tag.
    pub image_tag: String,
    /// Different containers.
    pub containers: usize,
    /// Files.
    pub snapshots: usize,
    /// Rows of all files.
    pub nodes: usize,
    /// Bytes of all files.
    pub bytes: usize,
}

/// A bundled file that is no snapshot: a mistake in how it was bundled.
#[derive(Debug, thiserror::Error)]
#[error("the bundled recording `{key}` cannot be read; record it again with datasets/record.sh")]
pub struct RecordingError {
    /// Its key.
    pub key: &'static str,
    /// Why.
    #[source]
    pub source: DecodeError,
}

/// What is recorded, by image and tag. Reads and verifies every file.
pub fn summary() -> Result<Vec<RecordedWorkload>, RecordingError> {
    let mut found: BTreeMap<(String, String), (RecordedWorkload, BTreeSet<String>)> = BTreeMap::new();
    for (key, file) in recordings() {
        let read = decode(Bytes::from_static(file), &Limits::default())
            .map_err(|source| RecordingError { key, source })?;
        let workload = read.meta.image.workload.as_ref();
        let name = workload.map_or("(unkeyed)", |workload| workload.name()).to_owned();
        let tag = workload.map_or("", |workload| workload.tag()).to_owned();
        let empty = || RecordedWorkload {
            image_name: name.clone(),
            image_tag: tag.clone(),
            containers: 0,
            snapshots: 0,
            nodes: 0,
            bytes: 0,
        };
        let (row, containers) =
            found.entry((name.clone(), tag.clone())).or_insert_with(|| (empty(), BTreeSet::new()));
        containers.insert(read.meta.container.id);
        row.containers = containers.len();
        row.snapshots += 1;
        row.nodes += read.rows.num_rows();
        row.bytes += read.size;
    }
    Ok(found.into_values().map(|(row, _)| row).collect())
}

#[cfg(test)]
mod tests {
    use wsp_schemas::keys::SnapshotKey;
    use wsp_schemas::store::{Missing, open};

    use super::*;

    #[test]
    fn every_recording_is_a_snapshot_under_its_own_key() {
        for (key, file) in recordings() {
            let parsed = SnapshotKey::parse(key).unwrap();
            let read = decode(Bytes::from_static(file), &Limits::default())
                .unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_eq!(parsed.id, read.meta.id);
            assert_eq!(parsed.window_end_ms, read.meta.window_end.timestamp_millis());
            assert_eq!(
                Some(parsed.workload),
                read.meta.image.workload.map(|workload| workload.key()),
                "{key}"
            );
        }
        let all: usize = summary().unwrap().iter().map(|workload| workload.snapshots).sum();
        assert_eq!(all, recordings().len());
    }

    #[tokio::test]
    async fn copying_twice_writes_once() {
        let store = open("memory:///", Missing::Create).unwrap();
        let all = recordings().len();
        assert_eq!(copy_to(&store).await.unwrap(), Copied { written: all, present: 0 });
        assert_eq!(copy_to(&store).await.unwrap(), Copied { written: 0, present: all });
    }
}
