//! `verify`: recomputes what the profile tables say about themselves, and names what differs.
//!
//! A bucket at a time: its profile and ledger rows first, then its node rows file by file. A revision is compared as soon as
//! its last node row was read, so that memory holds one revision where its rows stand together, as a merge writes them.

use std::collections::{BTreeMap, HashMap};

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::error::ArrowError;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Serialize;
use wsp_schemas::image::Workload;
use wsp_schemas::store::Store;
use wsp_schemas::tables::PROFILE_NODES;

use super::Progress;
use super::revision::{
    Admitted, LEDGER_COLUMNS, LedgerRows, PROFILE_COLUMNS, ProfileRow, Revision, RevisionId, id, is_wanted,
    name,
};
use crate::rows::Reader;
use crate::tables::{DataFile, OpenTable, ProfileTables, TableError};

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
    /// Objects of admitted snapshots that are not in the store any more.
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
    let mut verifier =
        Verifier { store, tables: &tables, buckets, options, progress, report: Report::default() };
    verifier.report.store = store.to_string();
    verifier.report.versions = BTreeMap::from([
        ("profiles", tables.profiles.version()),
        ("profile_nodes", tables.nodes.version()),
        ("profile_snapshots", tables.ledger.version()),
    ]);
    if options.workload.is_none() {
        let profiles = tables.profiles.files(|_| true)?;
        progress.total(profiles.iter().filter_map(|file| file.rows).sum(), "profiles");
    }
    progress.stage("verifying");
    for number in numbers {
        verifier.bucket(number).await?;
    }
    match &options.workload {
        Some(workload) if verifier.report.profiles == 0 && verifier.report.is_ok() => {
            Err(VerifyError::NoProfile { store: store.to_string(), workload: workload.clone() })
        }
        _ => Ok(verifier.report),
    }
}

struct Verifier<'a> {
    store: &'a Store,
    tables: &'a ProfileTables,
    buckets: u32,
    options: &'a Options,
    progress: &'a dyn Progress,
    report: Report,
}

/// What the small tables say of one bucket.
#[derive(Debug, Default)]
struct Expected {
    profiles: BTreeMap<RevisionId, ProfileRow>,
    ledger: BTreeMap<RevisionId, LedgerRows>,
}

/// Node rows of a revision that was not read to its end.
#[derive(Debug, Default)]
struct Open {
    rows: usize,
    batches: Vec<RecordBatch>,
}

impl Verifier<'_> {
    async fn bucket(&mut self, number: i32) -> Result<(), VerifyError> {
        let stands = self.batches(number).await?;
        let expected = self.expected(number, stands).await?;
        let files = files_of(&self.tables.nodes, number)?;
        let totals = self.count_nodes(&files).await;

        let mut open: HashMap<RevisionId, Open> = HashMap::new();
        for file in &files {
            let mut rows = match self.tables.nodes.stream(file, None).await {
                Ok(rows) => rows.boxed(),
                // Told when its rows were counted.
                Err(_) => continue,
            };
            while let Some(batch) = rows.next().await {
                let batch = match batch {
                    Ok(batch) => batch,
                    Err(error) => {
                        self.unreadable(&self.tables.nodes, file, &error);
                        break;
                    }
                };
                for (id, rows) in runs(&batch) {
                    if !is_wanted(&id, self.wanted()) {
                        continue;
                    }
                    let revision = open.entry(id.clone()).or_default();
                    revision.rows += rows.num_rows();
                    revision.batches.push(rows);
                    if totals.get(&id).is_none_or(|total| revision.rows >= *total) {
                        let batches = open.remove(&id).unwrap_or_default().batches;
                        self.revision(number, &id, &expected, &batches).await?;
                    }
                }
            }
        }
        // Rows of files that could not be read to their end.
        for (id, rows) in open {
            self.revision(number, &id, &expected, &rows.batches).await?;
        }
        for id in expected.profiles.keys().chain(expected.ledger.keys()) {
            if !totals.contains_key(id) && (expected.profiles.contains_key(id) || expected.has_admitted(id)) {
                self.revision(number, id, &expected, &[]).await?;
            }
        }
        Ok(())
    }

    fn wanted(&self) -> Option<wsp_schemas::image::WorkloadKey> {
        self.options.workload.as_ref().map(Workload::key)
    }

    /// The batch of the bucket that profiles stand at; the nodes must stand there too, and the ledger not before.
    async fn batches(&mut self, number: i32) -> Result<i64, VerifyError> {
        let profiles = self.tables.profiles.batch(number).await?;
        let nodes = self.tables.nodes.batch(number).await?;
        let ledger = self.tables.ledger.batch(number).await?;
        for (table, stands, right) in
            [("profile_nodes", nodes, nodes == profiles), ("profile_snapshots", ledger, ledger >= profiles)]
        {
            if !right {
                self.differ(Difference {
                    profile: None,
                    revision: None,
                    object: None,
                    what: format!("batch of bucket {number} in `{table}`"),
                    expected: profiles.to_string(),
                    found: stands.to_string(),
                });
            }
        }
        Ok(profiles)
    }

    async fn expected(&mut self, number: i32, stands: i64) -> Result<Expected, VerifyError> {
        let mut expected = Expected::default();
        let (tables, wanted) = (self.tables, self.wanted());
        self.rows(&tables.profiles, number, &PROFILE_COLUMNS, |read, row| {
            if let Some(id) = id(read, row).filter(|id| is_wanted(id, wanted)) {
                expected.profiles.insert(id, ProfileRow::read(read, row));
            }
        })
        .await?;
        self.rows(&tables.ledger, number, &LEDGER_COLUMNS, |read, row| {
            // What a later batch decided is not in the profiles yet: the next merge brings it there.
            let in_profiles = read.int64("batch", row).is_some_and(|batch| batch <= stands);
            if let Some(id) = id(read, row).filter(|id| in_profiles && is_wanted(id, wanted)) {
                expected.ledger.entry(id).or_default().take(read, row);
            }
        })
        .await?;
        Ok(expected)
    }

    /// Reads some columns of a bucket in one table.
    async fn rows(
        &mut self,
        table: &OpenTable,
        number: i32,
        columns: &[&str],
        mut take: impl FnMut(&Reader<'_>, usize),
    ) -> Result<(), VerifyError> {
        for file in files_of(table, number)? {
            if let Err(error) = self.rows_of(table, &file, columns, &mut take).await {
                self.unreadable(table, &file, &error);
            }
        }
        Ok(())
    }

    async fn rows_of(
        &mut self,
        table: &OpenTable,
        file: &DataFile,
        columns: &[&str],
        take: &mut impl FnMut(&Reader<'_>, usize),
    ) -> Result<(), TableError> {
        let size = table.look(file).await?.size;
        if size != file.size {
            self.differ(Difference {
                profile: None,
                revision: None,
                object: Some(table.key(file)),
                what: "size of the data file".to_owned(),
                expected: file.size.to_string(),
                found: size.to_string(),
            });
        }
        let mut rows = table.stream(file, Some(columns)).await?.boxed();
        while let Some(batch) = rows.try_next().await? {
            let read = Reader::new(&batch);
            (0..batch.num_rows()).for_each(|row| take(&read, row));
        }
        Ok(())
    }

    /// Node rows by revision: what tells when the last row of one was read.
    async fn count_nodes(&mut self, files: &[DataFile]) -> HashMap<RevisionId, usize> {
        let mut totals: HashMap<RevisionId, usize> = HashMap::new();
        let tables = self.tables;
        for file in files {
            let mut count = |read: &Reader<'_>, row: usize| {
                if let Some(id) = id(read, row) {
                    *totals.entry(id).or_default() += 1;
                }
            };
            let counted = self.rows_of(&tables.nodes, file, &["workload_key", "revision"], &mut count).await;
            if let Err(error) = counted {
                self.unreadable(&tables.nodes, file, &error);
            }
        }
        totals
    }

    async fn revision(
        &mut self,
        bucket: i32,
        id: &RevisionId,
        expected: &Expected,
        batches: &[RecordBatch],
    ) -> Result<(), VerifyError> {
        let none = LedgerRows::default();
        let ledger = expected.ledger.get(id).unwrap_or(&none);
        let Some(profile) = expected.profiles.get(id) else {
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            self.differ(Difference {
                profile: Some(format!("workload {}", id.0)),
                revision: Some(id.1),
                object: None,
                what: "row in `profiles`".to_owned(),
                expected: "one".to_owned(),
                found: format!("none, for {} snapshots and {rows} nodes", ledger.admitted.len()),
            });
            return Ok(());
        };
        let rows = concat_batches(&std::sync::Arc::new(PROFILE_NODES.arrow_schema()), batches)?;
        let order = sort_to_indices(&rows["node_id"], None, None)?;
        let rows = take_record_batch(&rows, &order)?;
        let revision = Revision { id, bucket, buckets: self.buckets, profile, ledger };
        for difference in revision.check(&rows)? {
            self.differ(difference);
        }
        self.report.profiles += 1;
        self.report.nodes += rows.num_rows() as u64;
        self.objects(id, profile, ledger).await;
        self.progress.done(1);
        Ok(())
    }

    /// The objects of a revision's snapshots, where they are still there.
    async fn objects(&mut self, id: &RevisionId, profile: &ProfileRow, ledger: &LedgerRows) {
        let (store, deep) = (self.store, self.options.deep);
        let looks = futures::stream::iter(&ledger.admitted)
            .map(|row| async move { (row, look(store, row, deep).await) })
            .buffer_unordered(self.options.concurrency.max(1));
        let mut looks = std::pin::pin!(looks);
        while let Some((row, look)) = looks.next().await {
            let mut differ = |what: &str, expected: Option<String>, found: String| {
                self.differ(Difference {
                    profile: Some(name(profile)),
                    revision: Some(id.1),
                    object: Some(row.object_key.clone().unwrap_or_default()),
                    what: what.to_owned(),
                    expected: expected.unwrap_or_else(|| "none".to_owned()),
                    found,
                });
            };
            match look {
                Look::Gone => self.report.objects_gone += 1,
                Look::Unreadable(reason) => differ("snapshot", Some("readable".to_owned()), reason),
                Look::There { size, content_hash } => {
                    let known = row.object_size;
                    if known.and_then(|known| u64::try_from(known).ok()) != Some(size) {
                        differ("object_size", known.map(|known| known.to_string()), size.to_string());
                    }
                    if content_hash.is_some() && content_hash != row.content_hash {
                        differ(
                            "content_hash",
                            row.content_hash.clone(),
                            content_hash.clone().unwrap_or_default(),
                        );
                    }
                    self.report.objects += 1;
                    self.report.objects_hashed += u64::from(content_hash.is_some());
                }
            }
        }
    }

    fn unreadable(&mut self, table: &OpenTable, file: &DataFile, error: &TableError) {
        let found = match error {
            TableError::File { reason, .. } => reason.clone(),
            error => error.to_string(),
        };
        self.differ(Difference {
            profile: None,
            revision: None,
            object: Some(table.key(file)),
            what: "data file".to_owned(),
            expected: "readable".to_owned(),
            found,
        });
    }

    fn differ(&mut self, difference: Difference) {
        if self.report.differences.len() < self.options.max_differences {
            self.report.differences.push(difference);
        } else {
            self.report.further_differences += 1;
        }
    }
}

impl Expected {
    fn has_admitted(&self, id: &RevisionId) -> bool {
        self.ledger.get(id).is_some_and(|rows| !rows.admitted.is_empty())
    }
}

/// What the store has of a snapshot.
enum Look {
    There { size: u64, content_hash: Option<String> },
    Gone,
    Unreadable(String),
}

async fn look(store: &Store, row: &Admitted, deep: bool) -> Look {
    let Some(key) = &row.object_key else { return Look::Unreadable("the ledger has no key".to_owned()) };
    let looked = async {
        let key = Path::parse(key)?;
        if !deep {
            return Ok((store.objects.head(&key).await?.size, None));
        }
        let object = store.objects.get(&key).await?;
        let size = object.meta.size;
        let mut hash = blake3::Hasher::new();
        let mut content = object.into_stream();
        while let Some(part) = content.try_next().await? {
            hash.update(&part);
        }
        Ok((size, Some(hash.finalize().to_hex().to_string())))
    };
    match looked.await {
        Ok((size, content_hash)) => Look::There { size, content_hash },
        Err(object_store::Error::NotFound { .. }) => Look::Gone,
        Err(error) => Look::Unreadable(error.to_string()),
    }
}

/// The data files of one bucket.
fn files_of(table: &OpenTable, number: i32) -> Result<Vec<DataFile>, TableError> {
    let number = number.to_string();
    table.files(|values| values.get("bucket").is_some_and(|value| value.as_deref() == Some(number.as_str())))
}

/// Rows of a batch that stand together and belong to one revision.
fn runs(batch: &RecordBatch) -> Vec<(RevisionId, RecordBatch)> {
    let read = Reader::new(batch);
    let mut runs: Vec<(RevisionId, usize, usize)> = Vec::new();
    for row in 0..batch.num_rows() {
        let Some(id) = id(&read, row) else { continue };
        match runs.last_mut() {
            Some((last, _, end)) if *last == id && *end == row => *end += 1,
            _ => runs.push((id, row, row + 1)),
        }
    }
    runs.into_iter().map(|(id, start, end)| (id, batch.slice(start, end - start))).collect()
}
