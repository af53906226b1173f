//! The proof of the compaction: every row once, whatever fails and whoever else works on the store; and no value changed.

mod crash;
mod pack;
mod raw;
mod retain;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::ObjectStore as _;
use object_store::path::Path;
use wsp_analyze::jobs::compact::{CompactError, Options, Report, Silent, run};
use wsp_schemas::keys::{self, SnapshotKey};
use wsp_schemas::snapshot::{Limits, decode};
use wsp_schemas::store::Store;
use wsp_schemas::tables::ACTIVITY;
use wsp_tests::delta;
use wsp_tests::oracle::{Object, Settings};
use wsp_tests::value::{Row, Value, cell_of, differences, rows};

use crate::merge::fleets::{Shot, at};
use crate::merge::{merge, options, upload};

fn settings() -> Settings {
    Settings { max_snapshots: 3, learning_time: TimeDelta::hours(100), buckets: 2, ..Settings::DEFAULT }
}

/// A compaction that finds everything old enough, on a store where nobody detects.
fn everything() -> Options {
    Options {
        as_of: at(60 * 24 * 30),
        keep_raw: TimeDelta::days(1).to_std().unwrap(),
        without_detect: true,
        ..Options::default()
    }
}

async fn compact(store: &Store, options: &Options) -> Result<Report, CompactError> {
    run(store, options, &Silent).await
}

/// Two workloads that are stable with three snapshots, and go on; one that learns; one that has no name.
fn fleet() -> Vec<Object> {
    let mut objects = Vec::new();
    for app in 0..2 {
        for number in 0..5_u8 {
            let shot = Shot::plain(app, number, i64::from(number) * 40, &[1, 2, 6, 9 + number, 16]);
            objects.push(shot.object());
        }
    }
    objects.extend([0, 30].map(|start| Shot::plain(2, 1, start, &[3, 12, 14]).object()));
    objects.push(Shot { app: None, ..Shot::plain(0, 7, 10, &[1, 11]) }.object());
    // The watermark is at the newest hour: what came before is settled.
    objects.push(Shot::plain(3, 1, 600, &[1]).object());
    objects
}

/// A store that a merge has seen all of, which looks back so little that it has counted what came after the freeze.
async fn merged(store: &Store, objects: &[Object], as_of: DateTime<Utc>) {
    merged_looking_back(store, objects, as_of, 1).await;
}

async fn merged_looking_back(store: &Store, objects: &[Object], as_of: DateTime<Utc>, hours: u64) {
    for object in objects {
        upload(store, object).await;
    }
    let look_back = std::time::Duration::from_secs(hours * 3600);
    let told = wsp_analyze::jobs::merge::Options { look_back, ..options(&settings(), as_of) };
    merge(store, &told).await.unwrap();
}

fn is_of(object: &Object, apps: &[Option<u8>]) -> bool {
    let key = SnapshotKey::parse(&object.key).unwrap();
    apps.iter().any(|app| {
        let shot = Shot { app: *app, ..Shot::plain(0, 0, 0, &[]) };
        SnapshotKey::parse(&shot.object().key).unwrap().workload == key.workload
    })
}

/// What the table must have of a file: its columns by name, read from the file's own rows.
fn expected(object: &Object, buckets: u32) -> Vec<Row> {
    let key = SnapshotKey::parse(&object.key).unwrap();
    let verified = decode(object.bytes.clone(), &Limits::default()).unwrap();
    let texts = |texts: Vec<String>| Value::List(texts.into_iter().map(Value::Text).collect());
    let own: BTreeMap<&str, Value> = BTreeMap::from([
        ("bucket", key.workload.bucket(buckets).into()),
        ("date", key.uploaded.format("%Y-%m-%d").to_string().into()),
        ("object_key", object.key.clone().into()),
        ("workload_key", key.workload.to_string().into()),
        ("content_hash", wsp_schemas::content_hash(&object.bytes).into()),
        ("path_rules", verified.meta.path_rules.into()),
        ("writer", verified.meta.writer.clone().into()),
        ("kernel", verified.meta.kernel.clone().into()),
        ("sensors", texts(Vec::new())),
        ("limits_hit", texts(Vec::new())),
        ("lost", Value::Map(BTreeMap::new())),
        ("file_rows", verified.rows.num_rows().into()),
        (
            "completeness",
            Value::Map(
                verified
                    .meta
                    .completeness
                    .iter()
                    .map(|(kind, state)| (kind.clone(), state.as_str().to_owned().into()))
                    .collect(),
            ),
        ),
    ]);
    let start = verified.meta.window_start.timestamp_micros();
    let mut found = rows(&verified.rows);
    for row in &mut found {
        for (name, offset) in [("first_seen", "first_seen_ms"), ("last_seen", "last_seen_ms")] {
            let offset = row.remove(offset).unwrap().int().unwrap();
            row.insert(name.to_owned(), Value::Int(start + offset * 1000));
        }
        row.extend(own.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }
    found
}

fn place(row: &Row) -> String {
    format!("{} {}", cell_of(row, "object_key"), cell_of(row, "node_id"))
}

/// The table has the rows of these files, and no others.
async fn assert_activity(store: &Store, objects: &[Object]) {
    let wanted: Vec<Row> = objects.iter().flat_map(|object| expected(object, settings().buckets)).collect();
    let found = delta::table(store, &ACTIVITY).await.unwrap();
    if let Some(text) = differences("activity", &wanted, &found, place, &[]) {
        panic!("{text}");
    }
}

async fn raw_keys(store: &Store) -> Vec<String> {
    listed(store, keys::SNAPSHOTS).await
}

/// Keys of all objects below a folder.
async fn listed(store: &Store, folder: &str) -> Vec<String> {
    let found: Vec<_> = store.objects.list(Some(&Path::from(folder))).try_collect().await.unwrap();
    let mut keys: Vec<String> = found.into_iter().map(|meta| meta.location.to_string()).collect();
    keys.sort();
    keys
}
