//! `import`: recordings of other tools become snapshot files, which a merge cannot tell from a recorder's; their alerts become ours.
//!
//! An import is idempotent: a snapshot's id follows from its content, its key from its window, and what is there already
//! stays as it is.

pub mod alerts;
pub mod kubescape;
pub mod tetragon;

mod access;
mod files;
mod image;
mod records;
mod snapshot;
mod values;

use std::path::PathBuf;

use serde::Serialize;
use wsp_schemas::snapshot::EncodeError;

/// What an import is asked to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the name of the cluster comes from; it becomes the host.
    pub cluster: Cluster,
    /// Bounds on what is read.
    pub limits: Limits,
    /// Snapshots that are written at the same time.
    pub concurrency: usize,
}

/// Bounds on what is read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a file.
    pub file_bytes: u64,
    /// Bytes of a record in a log.
    pub record_bytes: usize,
    /// Nodes that the lists of a container can make.
    pub entries: usize,
    /// Bytes of a name that can stand in every node of a container: of its own, or of a peer's.
    pub name_bytes: usize,
}

/// Where the name of a cluster comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cluster {
    /// From the recording; where it has none, from the file's name.
    #[default]
    Annotation,
    /// From the file's name: for recordings of several clusters that have one name.
    FileName,
}

impl Default for Options {
    fn default() -> Self {
        Self { cluster: Cluster::default(), limits: Limits::default(), concurrency: 8 }
    }
}

impl Default for Limits {
    /// Above what Kubescape's own limits let through (40,000 entries).
    fn default() -> Self {
        Self { file_bytes: 64 << 20, record_bytes: 1 << 20, entries: 100_000, name_bytes: 1024 }
    }
}

/// What an import did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Files read, whole or in part.
    pub files: usize,
    /// Objects in them.
    pub objects: usize,
    /// Snapshots written.
    pub written: usize,
    /// Snapshots that were there already.
    pub present: usize,
    /// What is not meant for an import, or holds nothing.
    pub skipped: Vec<Problem>,
    /// What could not be used.
    pub failed: Vec<Problem>,
}

/// Something that was not imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The object, and the container where it is about one; none where it is about the file.
    pub object: Option<String>,
    /// Why.
    pub reason: String,
}

/// An import that could not go on. What was written before stays: the same command again completes it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store did not do what it was asked.
    #[error("the snapshot `{key}` cannot be written to {store}")]
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
}

/// A file or folder that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Input {
    path: PathBuf,
    /// As it is shown.
    name: String,
    /// The file's name without its extension.
    stem: String,
}

/// A folder of what others recorded, or none, loudly. It is not ours to ship: it is looked for in `WSP_SHARED_DATA`, else beside the
/// repository.
#[cfg(test)]
fn recordings(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("WSP_SHARED_DATA").map(PathBuf::from);
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let folder = shared.unwrap_or_else(beside).join(name);
    if !folder.is_dir() {
        println!("SKIPPED: no recordings in {}; WSP_SHARED_DATA names their folder", folder.display());
        return None;
    }
    Some(folder)
}
