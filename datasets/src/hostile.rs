//! The gallery of bad input: one object for each way in which a snapshot file can be wrong, and some that look wrong and
//! are right. All belong to one workload, beside good snapshots that must survive their company.

mod content;
mod craft;
mod files;
mod names;

use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};
use wsp_schemas::image::Workload;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::EncodeError;
use wsp_schemas::store::Store;

use crate::fleet::{Fleet, FleetWorkload, Snapshot};
use crate::spec::{FleetSpec, SpecError};
use crate::truth::TRUTH;
use crate::write::{WriteError, pretty, put};

pub use craft::oversized;
pub use names::HOSTILE_PATHS;

/// One object of the gallery.
#[derive(Debug, Clone)]
pub struct Specimen {
    /// What is said of it.
    pub label: Label,
    /// The file.
    pub bytes: Vec<u8>,
}

/// An entry of the manifest, `truth/hostile.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// Name of the specimen.
    pub name: String,
    /// Object key.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
    /// Part of the message with which reading the file alone fails; none where the file alone is valid.
    pub error: Option<String>,
    /// What a merge must do with it.
    pub outcome: Outcome,
}

/// What a merge must do with an object; the names are those of the ledger's column `outcome`, where it has a row there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It goes into the profile.
    Admitted,
    /// It has been seen: same id, same content.
    Duplicate,
    /// Same id, other content.
    Conflict,
    /// It cannot be used; to the quarantine.
    Damaged,
    /// It is whole, and its window cannot be where it says; kept, not merged.
    OutOfRange,
    /// It names no workload; kept, not merged.
    Unkeyed,
}

/// The gallery could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GalleryError {
    /// The fleet behind it.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A valid file could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A file could not be changed.
    #[error("a specimen cannot be crafted")]
    Parquet(#[from] ParquetError),
    /// Columns could not be changed.
    #[error("a specimen cannot be crafted")]
    Arrow(#[from] ArrowError),
    /// The footer could not be changed.
    #[error("a specimen's footer cannot be crafted")]
    Json(#[from] serde_json::Error),
    /// The store.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Makes specimens: each from a snapshot of its own, so that no two have an id in common unless they are meant to.
struct Gallery {
    workload: FleetWorkload,
    next: usize,
    specimens: Vec<Specimen>,
}

impl Gallery {
    fn new() -> Result<Self, GalleryError> {
        let spec = FleetSpec {
            seed: 13,
            images: 1,
            versions: 1,
            containers: 200,
            snapshots: 1,
            hosts: 7,
            nodes: 1,
            ..FleetSpec::undisturbed()
        };
        let missing = || SpecError { what: "images", value: "0".to_owned(), rule: "the gallery needs one" };
        let workload = Fleet::new(spec)?.workloads().next().ok_or_else(missing)?;
        // Not a workload of any fleet: both may stand in one store.
        let name = Workload::parse("registry.example.com/hostile/gallery:1.0").map_err(|_| missing())?;
        Ok(Self { workload: workload.named(name), next: 0, specimens: Vec::new() })
    }

    /// A good snapshot that nobody has had yet.
    fn fresh(&mut self) -> Snapshot {
        self.next += 1;
        self.workload.container(self.next - 1).snapshot(0)
    }

    fn add(
        &mut self,
        name: &str,
        key: String,
        what: &str,
        error: Option<&str>,
        outcome: Outcome,
        bytes: Vec<u8>,
    ) {
        let label = Label {
            name: name.to_owned(),
            key,
            what: what.to_owned(),
            error: error.map(str::to_owned),
            outcome,
        };
        self.specimens.push(Specimen { label, bytes });
    }

    /// A file that cannot be read.
    fn damaged(&mut self, name: &str, key: &SnapshotKey, what: &str, error: &str, bytes: Vec<u8>) {
        self.add(name, key.path(), what, Some(error), Outcome::Damaged, bytes);
    }
}

/// All specimens, always the same.
pub fn gallery() -> Result<Vec<Specimen>, GalleryError> {
    let mut gallery = Gallery::new()?;
    for number in 1..=3 {
        let good = gallery.fresh();
        let what = "nothing: what stands beside it must not harm it";
        gallery.add(
            &format!("good-{number}"),
            good.key.path(),
            what,
            None,
            Outcome::Admitted,
            good.encode()?,
        );
    }
    files::add(&mut gallery)?;
    content::add(&mut gallery)?;
    names::add(&mut gallery)?;
    Ok(gallery.specimens)
}

/// Writes the gallery and its manifest into a store; gives the manifest.
pub async fn write_gallery(store: &Store) -> Result<Vec<Label>, GalleryError> {
    let mut labels = Vec::new();
    for specimen in gallery()? {
        put(store, specimen.label.key.clone(), specimen.bytes).await?;
        labels.push(specimen.label);
    }
    put(store, format!("{TRUTH}/hostile.json"), pretty(&labels)?).await?;
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::error::Error;

    use bytes::Bytes;
    use wsp_schemas::snapshot::{Limits, decode};

    use super::*;

    fn chain(error: &dyn Error) -> String {
        error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
    }

    #[test]
    fn every_specimen_is_as_wrong_as_its_label_says() {
        let mut listing = BTreeMap::new();
        let mut keys = HashSet::new();
        for Specimen { label, bytes } in gallery().unwrap() {
            assert!(keys.insert(label.key.clone()), "{}", label.name);
            let read = decode(Bytes::from(bytes), &Limits::default());
            match (&label.error, read) {
                (None, Ok(read)) => {
                    let key = SnapshotKey::parse(&label.key).unwrap();
                    let workload = read.meta.image.workload.as_ref().map(|workload| workload.key());
                    let agrees = key.id == read.meta.id
                        && key.window_end_ms == read.meta.window_end.timestamp_millis()
                        && key.workload == workload.unwrap_or(wsp_schemas::image::WorkloadKey::UNKEYED);
                    assert_eq!(agrees, label.outcome != Outcome::Damaged, "{}", label.name);
                }
                (Some(part), Err(error)) => {
                    let text = chain(&error);
                    assert!(text.contains(part), "{}: {text}", label.name);
                    assert_eq!(label.outcome, Outcome::Damaged);
                }
                (expected, read) => {
                    panic!("{}: expected {expected:?}, got {:?}", label.name, read.map(|read| read.meta.id))
                }
            }
            listing.insert(label.name, format!("{:?}: {}", label.outcome, label.what));
        }
        insta::assert_debug_snapshot!(listing);
    }

    #[test]
    fn the_gallery_is_always_the_same() {
        let bytes =
            |gallery: Vec<Specimen>| gallery.into_iter().map(|specimen| specimen.bytes).collect::<Vec<_>>();
        assert_eq!(bytes(gallery().unwrap()), bytes(gallery().unwrap()));
    }

    #[test]
    fn what_is_too_large_is_refused_without_being_read_whole() {
        let limits = Limits { rows: 1000, ..Limits::default() };
        let error = decode(Bytes::from(oversized(1001).unwrap().bytes), &limits).unwrap_err();
        assert_eq!(error.to_string(), "the number of rows of 1001 exceeds the limit of 1000");
    }
}
