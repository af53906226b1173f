//! Raw files into the table.

use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use wsp_analyze::jobs::compact::{Left, Options};
use wsp_analyze::tables::{Change, DETECT_WATERMARK, OpenTable, application};
use wsp_schemas::keys;
use wsp_schemas::snapshot::{Limits, decode, encode};
use wsp_schemas::tables::{ACTIVITY, SIGNALS};
use wsp_tests::delta;
use wsp_tests::delta::Tables;
use wsp_tests::oracle::Object;
use wsp_tests::value::{Value, cell_of};

use super::{
    assert_activity, compact, everything, fleet, is_of, listed, merged, merged_looking_back, raw_keys,
};
use crate::merge::fleets::{Shot, at};
use crate::merge::{faulty, merge, options, upload};

fn keys_of(objects: &[Object]) -> Vec<String> {
    let mut keys: Vec<String> = objects.iter().map(|object| object.key.clone()).collect();
    keys.sort();
    keys
}

fn split(objects: &[Object], apps: &[Option<u8>]) -> (Vec<Object>, Vec<Object>) {
    objects.iter().cloned().partition(|object| is_of(object, apps))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_what_the_files_had_row_by_row() {
    let store = faulty().store();
    let objects = fleet();
    merged(&store, &objects, at(700)).await;
    let (moved, left) = split(&objects, &[Some(0), Some(1), None]);
    let planned = compact(&store, &Options { dry_run: true, ..everything() }).await.unwrap();
    assert_eq!(planned.raw.moved, moved.len() as u64);
    assert_eq!(raw_keys(&store).await, keys_of(&objects), "a dry run changes nothing");

    let report = compact(&store, &everything()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.raw.moved, report.raw.deleted), (11, 11), "{report:?}");
    assert_eq!(report.raw.left.get(&Left::Learning), Some(&3), "{report:?}");
    assert_eq!(raw_keys(&store).await, keys_of(&left));
    assert_activity(&store, &moved).await;

    let before = listed(&store, keys::TABLES).await;
    let again = compact(&store, &everything()).await.unwrap();
    assert_eq!(again.raw.moved + again.raw.known + again.raw.deleted, 0, "{again:?}");
    assert_eq!(listed(&store, keys::TABLES).await, before, "a second run changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn young_files_and_files_that_nobody_decided_on_stay() {
    let store = faulty().store();
    let objects = fleet();
    merged(&store, &objects, at(700)).await;
    let late = Shot::plain(4, 1, 20, &[1]).object();
    upload(&store, &late).await;
    // By the end of the hour of the key.
    let young = Options { as_of: at(60 + 24 * 60), ..everything() };
    let report = compact(&store, &young).await.unwrap();
    let first_hour: Vec<Object> =
        objects.iter().filter(|object| object.key.contains("hour=00")).cloned().collect();
    let (moved, _) = split(&first_hour, &[Some(0), Some(1), None]);
    assert_eq!(report.raw.moved, moved.len() as u64, "{report:?}");
    assert_eq!(report.raw.left.get(&Left::NotMerged), Some(&1), "{report:?}");
    assert_activity(&store, &moved).await;
    assert!(raw_keys(&store).await.contains(&late.key));
}

/// What came after the freeze stays until a merge has counted it: nothing can count a file that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_the_freeze_is_counted_before_it_is_moved() {
    let store = faulty().store();
    let objects = fleet();
    merged_looking_back(&store, &objects, at(700), 48).await;
    let report = compact(&store, &everything()).await.unwrap();
    assert_eq!(report.raw.left.get(&Left::NotCounted), Some(&4), "{report:?}");
    // Days later the hours leave the look-back.
    merged_looking_back(&store, &[Shot::plain(3, 1, 5000, &[1]).object()], at(5100), 48).await;
    let tables = Tables::read(&store).await.unwrap();
    assert_eq!(tables.late.values().sum::<i64>(), 4, "{:?}", tables.late);
    let report = compact(&store, &everything()).await.unwrap();
    assert_eq!((report.raw.left.get(&Left::NotCounted), report.raw.moved >= 4), (None, true), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_wait_for_a_detection_that_was_there_up_to_their_hour() {
    let store = faulty().store();
    let objects = fleet();
    merged(&store, &objects, at(700)).await;
    let told = Options { without_detect: false, ..everything() };
    let report = compact(&store, &told).await.unwrap();
    assert_eq!((report.raw.moved, report.raw.left.get(&Left::NotDetected)), (0, Some(&11)), "{report:?}");
    assert_eq!(raw_keys(&store).await, keys_of(&objects));

    let signals = OpenTable::open_or_create(&store, &SIGNALS, 2).await.unwrap();
    let mut change = Change::default();
    change.set(application(DETECT_WATERMARK, at(60).timestamp() / 3600));
    change.commit(&signals).await.unwrap();
    let report = compact(&store, &told).await.unwrap();
    let seen: Vec<Object> = objects.iter().filter(|object| object.key.contains("hour=00")).cloned().collect();
    let (moved, _) = split(&seen, &[Some(0), Some(1), None]);
    assert!(!moved.is_empty() && moved.len() < 11);
    assert_eq!(report.raw.moved, moved.len() as u64, "{report:?}");
    assert_activity(&store, &moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_and_changed_files_are_told_and_stay() {
    let store = faulty().store();
    let mut objects = fleet();
    merged(&store, &objects, at(700)).await;
    // One that a merge admitted, one that came after the freeze.
    let broken = [objects[1].key.clone(), objects[4].key.clone()];
    for key in &broken {
        let object = objects.iter_mut().find(|object| object.key == *key).unwrap();
        let mut bytes = object.bytes.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        object.bytes = bytes.into();
        upload(&store, object).await;
    }
    // One whose content is another snapshot.
    let other = Object { key: objects[3].key.clone(), ..objects[8].clone() };
    upload(&store, &other).await;
    let report = compact(&store, &everything()).await.unwrap();
    let told: Vec<&str> = report.raw.damaged.iter().map(|problem| problem.object.as_str()).collect();
    assert_eq!(told.len(), 3, "{report:?}");
    let kept: Vec<&str> = broken.iter().chain([&other.key]).map(String::as_str).collect();
    assert!(kept.iter().all(|key| told.contains(key)), "{report:?}");
    let there = raw_keys(&store).await;
    assert!(kept.iter().all(|key| there.iter().any(|found| found == key)));
    let (mut moved, _) = split(&objects, &[Some(0), Some(1), None]);
    moved.retain(|object| !kept.contains(&object.key.as_str()));
    assert_activity(&store, &moved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_upload_of_a_moved_snapshot_adds_no_row() {
    let store = faulty().store();
    let objects = fleet();
    merged(&store, &objects, at(700)).await;
    let (moved, _) = split(&objects, &[Some(0), Some(1), None]);
    compact(&store, &everything()).await.unwrap();
    // After the freeze: under its own key, under a later one, and one that only claims to be it.
    let shot = Shot::plain(0, 4, 160, &[1, 2, 6, 13, 16]);
    let [own, twin, forged] = [shot.object(), shot.repeated(2), shot.forged(3)];
    assert!(moved.iter().any(|object| object.key == own.key && object.bytes == own.bytes));
    // Admitted: the ledger calls it a duplicate.
    let admitted = Shot::plain(1, 0, 0, &[1, 2, 6, 9, 16]).repeated(1);
    for object in [&own, &twin, &forged, &admitted] {
        upload(&store, object).await;
    }
    merge(&store, &options(&super::settings(), at(700))).await.unwrap();
    let report = compact(&store, &everything()).await.unwrap();
    assert_eq!((report.raw.moved, report.raw.known, report.raw.deleted), (0, 3, 3), "{report:?}");
    assert_eq!(report.raw.damaged.len(), 1, "{report:?}");
    assert_eq!(report.raw.damaged[0].object, forged.key);
    assert_activity(&store, &moved).await;
    assert!(raw_keys(&store).await.contains(&forged.key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_without_nodes_has_a_row_without_a_node() {
    let store = faulty().store();
    merged(&store, &fleet(), at(700)).await;
    let object = Shot::plain(0, 9, 100, &[]).object();
    let meta = decode(object.bytes.clone(), &Limits::default()).unwrap().meta;
    let empty = Object { bytes: encode(&meta, &[]).unwrap().into(), ..object };
    upload(&store, &empty).await;
    compact(&store, &everything()).await.unwrap();
    let rows = delta::table(&store, &ACTIVITY).await.unwrap();
    let mine: Vec<_> =
        rows.iter().filter(|row| cell_of(row, "object_key").text() == Some(&empty.key)).collect();
    assert_eq!(mine.len(), 1);
    assert_eq!(*cell_of(mine[0], "node_id"), Value::Null);
    assert_eq!(cell_of(mine[0], "file_rows").int(), Some(0));
    assert_eq!(cell_of(mine[0], "host").text(), Some("host-9"));
    assert!(store.objects.head(&Path::from(empty.key.as_str())).await.is_err());
}

/// Small commits, many files, several at a time: the same table.
#[tokio::test(flavor = "multi_thread")]
async fn how_much_is_done_at_a_time_makes_no_difference() {
    for (files_per_commit, file_bytes) in [(1, 1 << 20), (4, 1), (100, 20_000)] {
        let store = faulty().store();
        let objects = fleet();
        merged(&store, &objects, at(700)).await;
        let (moved, _) = split(&objects, &[Some(0), Some(1), None]);
        let told = Options { files_per_commit, file_bytes, ..everything() };
        let report = compact(&store, &told).await.unwrap();
        assert_eq!(report.raw.deleted, 11, "{report:?}");
        assert_activity(&store, &moved).await;
    }
}

/// Two at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn several_compactions_at_once_write_every_row_once() {
    let store = faulty().store();
    let objects = fleet();
    merged(&store, &objects, at(700)).await;
    let (moved, left) = split(&objects, &[Some(0), Some(1), None]);
    let runs = (0..3).map(|_| {
        let store = store.clone();
        let told = Options { files_per_commit: 3, ..everything() };
        tokio::spawn(async move { compact(&store, &told).await })
    });
    for ended in futures::future::join_all(runs).await {
        ended.unwrap().unwrap();
    }
    compact(&store, &everything()).await.unwrap();
    assert_eq!(raw_keys(&store).await, keys_of(&left));
    assert_activity(&store, &moved).await;
}

/// Files that a compaction moved are not missing.
#[tokio::test(flavor = "multi_thread")]
async fn verification_finds_moved_snapshots_in_the_table() {
    use wsp_analyze::jobs::store::{Silent, verify};

    let store = faulty().store();
    merged(&store, &fleet(), at(700)).await;
    compact(&store, &everything()).await.unwrap();
    // One that still learns is deleted by somebody.
    let lost = Shot::plain(2, 1, 30, &[3, 12, 14]).object();
    store.objects.delete(&Path::from(lost.key.as_str())).await.unwrap();
    let report = verify::run(&store, &verify::Options::default(), &Silent).await.unwrap();
    assert!(report.is_ok(), "{report:?}");
    assert_eq!((report.objects, report.objects_compacted, report.objects_gone), (2, 6, 1), "{report:?}");
}
