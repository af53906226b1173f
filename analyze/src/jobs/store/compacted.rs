//! Snapshots whose files are gone: a compaction moved their rows into `activity`, or somebody deleted them.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt};

use super::bucket::Verifier;
use super::verify::{Difference, VerifyError};
use crate::rows::Reader;
use crate::tables::{OpenTable, Selection, TableError};

/// An admitted snapshot whose file is gone.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) profile: String,
    pub(super) revision: i32,
    pub(super) content_hash: Option<String>,
}

/// What the table has of a snapshot.
#[derive(Debug, Default)]
struct Moved {
    content_hash: Option<String>,
    file_rows: i32,
    rows: i32,
}

impl Verifier<'_> {
    /// Compares what the table says of snapshots, by object key, with the ledger.
    pub(super) async fn compacted(
        &mut self,
        number: i32,
        gone: BTreeMap<String, Gone>,
    ) -> Result<(), VerifyError> {
        let Some(activity) = self.activity.clone().filter(|_| !gone.is_empty()) else {
            self.report.objects_gone += gone.len() as u64;
            return Ok(());
        };
        let keys: BTreeSet<String> = gone.keys().cloned().collect();
        let mut moved: BTreeMap<String, Moved> = BTreeMap::new();
        for file in activity.files()? {
            if file.bucket() != Some(number) || !file.may_hold("object_key", &keys) {
                continue;
            }
            if let Err(error) = read(&activity, &file, &keys, &mut moved).await {
                self.unreadable(&activity, &file, &error);
            }
        }
        for (object, Gone { profile, revision, content_hash }) in gone {
            let Some(found) = moved.remove(&object) else {
                self.report.objects_gone += 1;
                continue;
            };
            self.report.objects_compacted += 1;
            let shown = |hash: Option<String>| hash.unwrap_or_else(|| "none".to_owned());
            let rows = found.file_rows.max(1);
            let compared = [
                ("content_hash in `activity`", shown(content_hash), shown(found.content_hash)),
                ("rows in `activity`", rows.to_string(), found.rows.to_string()),
            ];
            for (what, expected, found) in compared.into_iter().filter(|(_, a, b)| a != b) {
                self.differ(Difference {
                    profile: Some(profile.clone()),
                    revision: Some(revision),
                    object: Some(object.clone()),
                    what: what.to_owned(),
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}

async fn read(
    activity: &OpenTable,
    file: &crate::tables::DataFile,
    keys: &BTreeSet<String>,
    moved: &mut BTreeMap<String, Moved>,
) -> Result<(), TableError> {
    const COLUMNS: [&str; 3] = ["object_key", "content_hash", "file_rows"];
    let size = activity.folder().look(&file.file).await?.size;
    let select = Selection { columns: Some(&COLUMNS), workloads: None };
    let mut rows = activity.stream(file, size, select).await?.boxed();
    while let Some(batch) = rows.try_next().await? {
        let read = Reader::new(&batch);
        for row in 0..batch.num_rows() {
            let Some(key) = read.text("object_key", row).filter(|key| keys.contains(*key)) else { continue };
            let moved = moved.entry(key.to_owned()).or_default();
            if moved.rows == 0 {
                moved.content_hash = read.text("content_hash", row).map(str::to_owned);
                moved.file_rows = read.int32("file_rows", row).unwrap_or_default();
            }
            moved.rows += 1;
        }
    }
    Ok(())
}
