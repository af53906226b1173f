//! Old versions out: whoever reads or merges afterwards finds everything.

use std::sync::Arc;

use std::time::Duration;

use wsp_analyze::jobs::compact::{CompactError, Options};
use wsp_analyze::tables::{OpenTable, ProfileTables};
use wsp_analyze::views;
use wsp_schemas::keys;
use wsp_schemas::store::Store;
use wsp_schemas::tables::{PROFILE_NODES, PROFILE_SNAPSHOTS};
use wsp_tests::oracle::Settings;

use super::{compact, everything, fleet, listed, merged};
use crate::merge::fleets::{Shot, at};
use crate::merge::{faulty, merge, options, upload};

/// Nothing is kept for anybody.
fn nobody() -> Options {
    Options { keep_versions: Duration::ZERO, nobody_reads: true, ..everything() }
}

/// All that the views show, as text.
async fn shown(store: &Store) -> String {
    let context = views::open(store).await.unwrap();
    let mut text = String::new();
    for sql in [
        "SELECT * FROM profiles ORDER BY image, revision",
        "SELECT * FROM nodes ORDER BY image, revision, node_id",
        "SELECT * FROM snapshots ORDER BY object_key",
    ] {
        let batches = views::query(&context, sql).await.unwrap().collect().await.unwrap();
        text += &arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_not_taken_from_readers() {
    let store = faulty().store();
    merged(&store, &fleet(), at(700)).await;
    let short = Options { keep_versions: Duration::from_secs(60), ..everything() };
    assert!(matches!(compact(&store, &short).await, Err(CompactError::KeepTooShort { .. })));
    let reader = ProfileTables::open(&store).await.unwrap();
    let before = listed(&store, keys::TABLES).await;
    let report = compact(&store, &everything()).await.unwrap();
    assert!(report.deleted.is_empty(), "{report:?}");
    let after = listed(&store, keys::TABLES).await;
    assert!(before.iter().all(|key| after.contains(key)), "what was there is still there");
    for file in reader.nodes.files().unwrap() {
        reader.nodes.folder().look(&file.file).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_its_old_versions_is_read_and_merged_as_before() {
    let [kept, cleaned] = [faulty().store(), faulty().store()];
    let mut had_log_files = 0;
    let settings = Settings { max_snapshots: 8, ..super::settings() };
    for number in 0..10_u8 {
        let shots = (0..4).map(|app| {
            Shot::plain(app, number, i64::from(number) * 50, &[1, 2, number % 9, 9 + app]).object()
        });
        let shots: Vec<_> = shots.collect();
        for store in [&kept, &cleaned] {
            for object in &shots {
                upload(store, object).await;
            }
            merge(store, &options(&settings, at(i64::from(number) * 50))).await.unwrap();
        }
        let report = compact(&cleaned, &Options { as_of: at(0), ..nobody() }).await.unwrap();
        had_log_files += report.deleted.values().map(|deleted| deleted.log_files).sum::<u64>();
        assert_eq!(shown(&kept).await, shown(&cleaned).await, "round {number}");
        let again = compact(&cleaned, &Options { as_of: at(0), ..nobody() }).await.unwrap();
        assert!(again.packed.is_empty(), "{again:?}");
        let data_files: u64 = again.deleted.values().map(|deleted| deleted.data_files).sum();
        assert_eq!(data_files, 0, "what is gone is not deleted again: {again:?}");
    }
    assert!(had_log_files > 10, "{had_log_files}");
    let data = |keys: Vec<String>| keys.iter().filter(|key| key.contains("part-")).count();
    let tables = ProfileTables::newest(&cleaned).await.unwrap().unwrap();
    let live = [&tables.ledger, &tables.nodes, &tables.profiles].map(|table| table.files().unwrap().len());
    assert_eq!(data(listed(&cleaned, keys::TABLES).await), live.iter().sum::<usize>());
    assert!(data(listed(&kept, keys::TABLES).await) > live.iter().sum::<usize>());
}

/// `profiles` names versions that are not the newest: they are not taken away, whatever their age.
#[tokio::test(flavor = "multi_thread")]
async fn named_versions_stay_until_others_are_named() {
    use object_store::memory::InMemory;
    use wsp_tests::faulty::{Fault, Faulty};

    let whole = InMemory::new();
    let store = Faulty::new(Arc::new(whole.clone())).store();
    merged(&store, &fleet(), at(700)).await;
    let before = shown(&store).await;
    let told = options(&super::settings(), at(800));
    for object in (0..4).map(|app| Shot::plain(app, 9, 650, &[2, 5]).object()) {
        upload(&store, &object).await;
    }
    // Stopped at the last commit: nodes are ahead of what `profiles` names.
    let mut number = 0;
    let store = loop {
        let faulty = Faulty::new(Arc::new(whole.fork()));
        let store = faulty.store();
        faulty.arm(number, Fault::KilledBefore);
        let _ = merge(&store, &told).await;
        faulty.disarm();
        let nodes = OpenTable::open(&store, &PROFILE_NODES, None).await.unwrap().unwrap();
        let ledger = OpenTable::open(&store, &PROFILE_SNAPSHOTS, None).await.unwrap().unwrap();
        let named = ProfileTables::open(&store).await.unwrap();
        if nodes.version() > named.nodes.version() && ledger.version() > named.ledger.version() {
            break store;
        }
        number += 1;
        assert!(number < 500, "no operation leaves nodes ahead");
    };
    for _ in 0..2 {
        let report = compact(&store, &nobody()).await.unwrap();
        assert!(report.unfinished_merge, "{report:?}");
        assert_eq!(shown(&store).await, before);
    }
    merge(&store, &told).await.unwrap();
    let finished = shown(&store).await;
    assert_ne!(finished, before);
    compact(&store, &nobody()).await.unwrap();
    assert_eq!(shown(&store).await, finished);
}
