//! The three tables of a merge as another program reads them: from the log's JSON and the Parquet files that it names,
//! without the code under test and without the library that it is built on.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value as Json;
use wsp_schemas::keys;
use wsp_schemas::store::Store;
use wsp_schemas::table::{Table, Type};
use wsp_schemas::tables::{PROFILE_NODES, PROFILE_SNAPSHOTS, PROFILES};

use crate::value::{Row, Value, cell_of, differences, rows};

/// Why a table could not be read.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What merges made of a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    /// `profile_snapshots`.
    pub ledger: Vec<Row>,
    /// `profile_nodes`.
    pub nodes: Vec<Row>,
    /// `profiles`.
    pub profiles: Vec<Row>,
    /// Of the ledger, what came after the freeze: how many, by workload and hour since the epoch. Those rows are not in
    /// `ledger`: in which batch an hour is counted says nothing about it.
    pub late: BTreeMap<(String, i64), i64>,
}

impl Tables {
    /// The newest version of each.
    pub async fn read(store: &Store) -> Result<Self, Failure> {
        let all = table(store, &PROFILE_SNAPSHOTS).await?;
        let is_late = |row: &Row| cell_of(row, "outcome").text() == Some("after_freeze");
        let (late, ledger): (Vec<Row>, Vec<Row>) = all.into_iter().partition(is_late);
        let mut counts = BTreeMap::new();
        for row in late {
            let int = |name| cell_of(&row, name).int().ok_or("a count after the freeze lacks a number");
            let workload = cell_of(&row, "workload_key").text().unwrap_or_default().to_owned();
            *counts.entry((workload, int("hour")? / 3_600_000_000)).or_default() += int("snapshots")?;
        }
        Ok(Self {
            ledger,
            nodes: table(store, &PROFILE_NODES).await?,
            profiles: table(store, &PROFILES).await?,
            late: counts,
        })
    }

    /// Where they differ, for people; none where they do not. Ignored columns are `table.column`.
    pub fn differences(&self, found: &Self, ignored: &[&str]) -> Option<String> {
        let of = |table: &str| -> Vec<&str> {
            ignored.iter().filter_map(|name| name.strip_prefix(table)?.strip_prefix('.')).collect()
        };
        let all = [
            differences(
                "profile_snapshots",
                &self.ledger,
                &found.ledger,
                ledger_key,
                &of("profile_snapshots"),
            ),
            differences("profile_nodes", &self.nodes, &found.nodes, node_key, &of("profile_nodes")),
            differences("profiles", &self.profiles, &found.profiles, profile_key, &of("profiles")),
        ];
        let late = (self.late != found.late)
            .then(|| format!("after the freeze: {:?}, not {:?}\n", found.late, self.late));
        let all: Vec<String> = all.into_iter().flatten().chain(late).collect();
        (!all.is_empty()).then(|| all.concat())
    }
}

/// The workload and revision of a row.
pub fn profile_key(row: &Row) -> String {
    let text = |name| cell_of(row, name).text().unwrap_or_default();
    format!("{}:{} {}", text("image_name"), text("image_tag"), cell_of(row, "revision"))
}

pub(crate) fn node_key(row: &Row) -> String {
    let what = ["path", "dns_name", "address", "name", "exe"];
    let what = what.iter().find_map(|name| cell_of(row, name).text()).unwrap_or_default();
    format!("{} {} {what}", profile_key(row), cell_of(row, "node_id"))
}

fn ledger_key(row: &Row) -> String {
    let [outcome, object] = ["outcome", "object_key"].map(|name| cell_of(row, name));
    let whose = if *object == Value::Null { profile_key(row) } else { object.to_string() };
    format!("{outcome} {whose}")
}

/// Commits of each of the three tables: a merge that changes nothing makes none.
pub async fn commits(store: &Store) -> Result<[usize; 3], Failure> {
    let mut counts = [0; 3];
    for (count, table) in counts.iter_mut().zip([&PROFILE_SNAPSHOTS, &PROFILE_NODES, &PROFILES]) {
        *count = log(store, table).await?.len();
    }
    Ok(counts)
}

/// The hour up to which merges have seen all uploads, as the log says; none before the first.
pub async fn watermark(store: &Store) -> Result<Option<i64>, Failure> {
    application(store, &PROFILES, "merge/watermark").await
}

/// The hour before which everything that came after a freeze is counted, as the log says; none before the first.
pub async fn counted(store: &Store) -> Result<Option<i64>, Failure> {
    application(store, &PROFILE_SNAPSHOTS, "merge/counted").await
}

/// The newest version of an application transaction.
async fn application(store: &Store, table: &Table, id: &str) -> Result<Option<i64>, Failure> {
    let mut last = None;
    for commit in log(store, table).await? {
        let text = store.objects.get(&commit).await?.bytes().await?;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: Json = serde_json::from_slice(line)?;
            if action["txn"]["appId"] == id {
                last = action["txn"]["version"].as_i64();
            }
        }
    }
    Ok(last)
}

/// All objects but those of the tables, with their sizes: what a merge may move, and what it may not.
pub async fn objects(store: &Store) -> Result<Vec<(String, u64)>, Failure> {
    let mut found = Vec::new();
    for folder in [keys::SNAPSHOTS, keys::QUARANTINE] {
        let listed: Vec<_> = store.objects.list(Some(&Path::from(folder))).try_collect().await?;
        found.extend(listed.into_iter().map(|meta| (meta.location.to_string(), meta.size)));
    }
    found.sort();
    Ok(found)
}

/// The commits of a table, in order.
async fn log(store: &Store, table: &Table) -> Result<Vec<Path>, Failure> {
    let folder = Path::from(format!("{}/_delta_log", keys::table(table.name)));
    let listed: Vec<_> = store.objects.list(Some(&folder)).try_collect().await?;
    let mut commits: Vec<Path> = listed.into_iter().map(|meta| meta.location).collect();
    commits.retain(|path| {
        path.filename().and_then(|name| name.strip_suffix(".json")).is_some_and(|version| version.len() == 20)
    });
    commits.sort();
    Ok(commits)
}

/// The rows of a table's newest version.
pub async fn table(store: &Store, table: &'static Table) -> Result<Vec<Row>, Failure> {
    let mut files: BTreeMap<String, HashMap<String, Json>> = BTreeMap::new();
    for commit in log(store, table).await? {
        let text = store.objects.get(&commit).await?.bytes().await?;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let action: Json = serde_json::from_slice(line)?;
            let path = |action: &Json| action["path"].as_str().unwrap_or_default().to_owned();
            if let Some(add) = action.get("add") {
                files.insert(path(add), serde_json::from_value(add["partitionValues"].clone())?);
            }
            if let Some(remove) = action.get("remove") {
                files.remove(&path(remove)).ok_or_else(|| format!("{commit} removes what is not there"))?;
            }
        }
    }
    let mut all = Vec::new();
    for (path, partition) in files {
        let path = Path::parse(format!("{}/{path}", keys::table(table.name)))?;
        all.extend(file(table, store.objects.get(&path).await?.bytes().await?, &partition)?);
    }
    Ok(all)
}

fn file(table: &Table, bytes: Bytes, partition: &HashMap<String, Json>) -> Result<Vec<Row>, Failure> {
    let mut all = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        all.extend(rows(&batch?));
    }
    for (name, value) in partition {
        let column = table.column(name).ok_or_else(|| format!("partitioned by an unknown `{name}`"))?;
        let value = match (value.as_str(), column.kind) {
            (Some(value), Type::Int32) => Value::Int(value.parse()?),
            (Some(value), _) => value.into(),
            (None, _) => Value::Null,
        };
        all.iter_mut().for_each(|row| drop(row.insert(name.clone(), value.clone())));
    }
    Ok(all)
}
