//! `verify`: recomputes what the profile tables say about themselves, and names what differs.
//!
//! `bucket` reads, `revision` compares.

use std::collections::{BTreeMap, BTreeSet};

use arrow::error::ArrowError;
use serde::Serialize;
use wsp_schemas::image::Workload;
use wsp_schemas::store::Store;
use wsp_schemas::tables::ACTIVITY;

use super::Progress;
use super::bucket::Verifier;
use crate::tables::{OpenTable, ProfileTables, TableError};

/// What is verified.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only the profile of this workload.
    pub workload: Option<Workload>,
    /// Snapshot objects are read and hashed; otherwise only their sizes are compared.
    pub deep: bool,
    /// Snapshot objects that are looked at at the same time.
    pub concurrency: usize,
    /// Differences that are told one by one; further ones are counted.
    pub max_differences: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { workload: None, deep: false, concurrency: 16, max_differences: 1000 }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The store.
    pub store: String,
    /// Table versions that were verified: those that the newest commit of `profiles` ties together.
    pub versions: BTreeMap<&'static str, u64>,
    /// Profile revisions compared.
    pub profiles: u64,
    /// Node rows hashed.
    pub nodes: u64,
    /// Objects of admitted snapshots that are still in the store.
    pub objects: u64,
    /// Of those, read and hashed.
    pub objects_hashed: u64,
    /// Admitted snapshots whose rows stand in `activity`, and whose objects are gone for that.
    pub objects_compacted: u64,
    /// Admitted snapshots that are in the store in no form any more.
    pub objects_gone: u64,
    /// What differs.
    pub differences: Vec<Difference>,
    /// Differences beyond those that are told.
    pub further_differences: u64,
}

impl Report {
    /// Nothing differs.
    pub fn is_ok(&self) -> bool {
        self.differences.is_empty() && self.further_differences == 0
    }
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The image, where it is about one profile.
    pub profile: Option<String>,
    /// The revision of the profile.
    pub revision: Option<i32>,
    /// The object, where it is about one: a snapshot, or a data file of a table.
    pub object: Option<String>,
    /// What was compared.
    pub what: String,
    /// As the tables say.
    pub expected: String,
    /// As it is.
    pub found: String,
}

/// A verification that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Nothing is known of the workload.
    #[error("the store {store} has no profile of {workload}")]
    NoProfile {
        /// The store.
        store: String,
        /// The workload.
        workload: Workload,
    },
    /// Rows could not be compared.
    #[error("rows of the profile tables cannot be compared")]
    Rows(#[from] ArrowError),
}

/// Verifies the newest consistent batch of a store's profile tables.
pub async fn run(store: &Store, options: &Options, progress: &dyn Progress) -> Result<Report, VerifyError> {
    progress.stage("opening the tables");
    let tables = ProfileTables::open(store).await?;
    let buckets = tables.ledger.buckets()?;
    let all = 0..i32::try_from(buckets).unwrap_or(i32::MAX);
    let numbers = match &options.workload {
        Some(workload) => vec![workload.key().bucket(buckets)],
        None => all.collect(),
    };
    let mut verifier = Verifier {
        store,
        tables: &tables,
        buckets,
        options,
        progress,
        report: Report::default(),
        met: false,
        unreadable: BTreeSet::new(),
        activity: OpenTable::open(store, &ACTIVITY, None).await?,
        gone: BTreeMap::new(),
    };
    verifier.report.store = store.to_string();
    verifier.report.versions = BTreeMap::from([
        ("profiles", tables.profiles.version()),
        ("profile_nodes", tables.nodes.version()),
        ("profile_snapshots", tables.ledger.version()),
    ]);
    if options.workload.is_none() {
        let profiles = tables.profiles.files()?;
        progress.total(profiles.iter().filter_map(|file| file.rows).sum(), "profiles");
    }
    progress.stage("verifying");
    for number in numbers {
        verifier.bucket(number).await?;
    }
    match &options.workload {
        // Where a file cannot be read, nobody knows whether it was there.
        Some(workload) if !verifier.met && verifier.unreadable.is_empty() => {
            Err(VerifyError::NoProfile { store: store.to_string(), workload: workload.clone() })
        }
        _ => Ok(verifier.report),
    }
}
