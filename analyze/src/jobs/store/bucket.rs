//! Reads one bucket of the profile tables, and has its revisions compared.
//!
//! Profile and ledger rows come first, then node rows file by file. A revision is compared as soon as its last node row was
//! read, so that memory holds one revision where its rows stand together, as a merge writes them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use futures::{StreamExt, TryStreamExt};
use wsp_schemas::image::{Workload, WorkloadKey};
use wsp_schemas::store::Store;
use wsp_schemas::tables::PROFILE_NODES;

use super::Progress;
use super::compacted::Gone;
use super::object::{Look, look};
use super::revision::{
    LEDGER_COLUMNS, LedgerRows, PROFILE_COLUMNS, ProfileRow, Revision, RevisionId, id, is_wanted, name,
};
use super::verify::{Difference, Options, Report, VerifyError};
use crate::rows::Reader;
use crate::tables::{DataFile, OpenTable, ProfileTables, Selection, TableError};

pub(super) struct Verifier<'a> {
    pub(super) store: &'a Store,
    pub(super) tables: &'a ProfileTables,
    pub(super) buckets: u32,
    pub(super) options: &'a Options,
    pub(super) progress: &'a dyn Progress,
    pub(super) report: Report,
    /// Some revision was met.
    pub(super) met: bool,
    /// Keys of data files that cannot be read: each is told once.
    pub(super) unreadable: BTreeSet<String>,
    /// Where compactions move snapshots; none where none ran.
    pub(super) activity: Option<OpenTable>,
    /// Admitted snapshots of the bucket whose files are gone, by object key.
    pub(super) gone: BTreeMap<String, Gone>,
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
    /// Verifies one bucket.
    pub(super) async fn bucket(&mut self, number: i32) -> Result<(), VerifyError> {
        let stands = self.batches(number).await?;
        let expected = self.expected(number, stands).await?;
        let files = files_of(&self.tables.nodes, number)?;
        let (totals, files) = self.count_nodes(files).await;

        let mut open: HashMap<RevisionId, Open> = HashMap::new();
        for (file, size) in &files {
            let mut rows = match self.tables.nodes.stream(file, *size, Selection::default()).await {
                Ok(rows) => rows.boxed(),
                Err(error) => {
                    self.unreadable(&self.tables.nodes, file, &error);
                    continue;
                }
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
        for id in expected.revisions().filter(|id| !totals.contains_key(*id)) {
            self.revision(number, id, &expected, &[]).await?;
        }
        let gone = std::mem::take(&mut self.gone);
        self.compacted(number, gone).await
    }

    fn wanted(&self) -> Option<WorkloadKey> {
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

    /// Reads some columns of one file; gives the size of the object.
    async fn rows_of(
        &mut self,
        table: &OpenTable,
        file: &DataFile,
        columns: &[&str],
        take: &mut impl FnMut(&Reader<'_>, usize),
    ) -> Result<u64, TableError> {
        let size = table.folder().look(&file.file).await?.size;
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
        let select = Selection { columns: Some(columns), workloads: None };
        let mut rows = table.stream(file, size, select).await?.boxed();
        while let Some(batch) = rows.try_next().await? {
            let read = Reader::new(&batch);
            (0..batch.num_rows()).for_each(|row| take(&read, row));
        }
        Ok(size)
    }

    /// Node rows by revision: what tells when the last row of one was read. And the files that can be read, with the sizes
    /// of their objects.
    async fn count_nodes(
        &mut self,
        files: Vec<DataFile>,
    ) -> (HashMap<RevisionId, usize>, Vec<(DataFile, u64)>) {
        let mut totals: HashMap<RevisionId, usize> = HashMap::new();
        let mut readable = Vec::with_capacity(files.len());
        let tables = self.tables;
        for file in files {
            let mut count = |read: &Reader<'_>, row: usize| {
                if let Some(id) = id(read, row) {
                    *totals.entry(id).or_default() += 1;
                }
            };
            match self.rows_of(&tables.nodes, &file, &["workload_key", "revision"], &mut count).await {
                Ok(size) => readable.push((file, size)),
                Err(error) => self.unreadable(&tables.nodes, &file, &error),
            }
        }
        (totals, readable)
    }

    async fn revision(
        &mut self,
        bucket: i32,
        id: &RevisionId,
        expected: &Expected,
        batches: &[RecordBatch],
    ) -> Result<(), VerifyError> {
        self.met = true;
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
        let rows = concat_batches(&Arc::new(PROFILE_NODES.arrow_schema()), batches)?;
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
                Look::Gone => {
                    let gone = Gone {
                        profile: name(profile),
                        revision: id.1,
                        content_hash: row.content_hash.clone(),
                    };
                    self.gone.insert(row.object_key.clone().unwrap_or_default(), gone);
                }
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

    pub(super) fn unreadable(&mut self, table: &OpenTable, file: &DataFile, error: &TableError) {
        let object = table.key(file);
        if !self.unreadable.insert(object.clone()) {
            return;
        }
        let found = match error {
            TableError::File { reason, .. } => reason.clone(),
            error => error.to_string(),
        };
        self.differ(Difference {
            profile: None,
            revision: None,
            object: Some(object),
            what: "data file".to_owned(),
            expected: "readable".to_owned(),
            found,
        });
    }

    pub(super) fn differ(&mut self, difference: Difference) {
        if self.report.differences.len() < self.options.max_differences {
            self.report.differences.push(difference);
        } else {
            self.report.further_differences += 1;
        }
    }
}

impl Expected {
    /// Revisions that have a profile row or an admitted snapshot, each once.
    fn revisions(&self) -> impl Iterator<Item = &RevisionId> {
        let admitted = self.ledger.iter().filter(|(_, rows)| !rows.admitted.is_empty()).map(|(id, _)| id);
        self.profiles.keys().chain(admitted.filter(|id| !self.profiles.contains_key(*id)))
    }
}

/// The data files of one bucket.
fn files_of(table: &OpenTable, number: i32) -> Result<Vec<DataFile>, TableError> {
    let mut files = table.files()?;
    files.retain(|file| file.bucket() == Some(number));
    Ok(files)
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
