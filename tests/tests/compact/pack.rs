//! Small files together: fewer files, the same rows; for merges and readers as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wsp_analyze::jobs::compact::Options;
use wsp_analyze::tables::{OpenTable, ProfileTables};
use wsp_analyze::views;
use wsp_schemas::store::Store;
use wsp_schemas::tables::{ACTIVITY, PROFILE_NODES, PROFILE_SNAPSHOTS, PROFILES};
use wsp_tests::delta::Tables;
use wsp_tests::oracle::{Object, Settings};

use super::{compact, everything};
use crate::merge::fleets::{Shot, at};
use crate::merge::{faulty, merge, options, upload};

/// Data files of all tables.
pub(super) async fn live_files(store: &Store) -> usize {
    let mut files = 0;
    for table in [&PROFILES, &PROFILE_NODES, &PROFILE_SNAPSHOTS, &ACTIVITY] {
        if let Some(table) = OpenTable::open(store, table, None).await.unwrap() {
            files += table.files().unwrap().len();
        }
    }
    files
}

fn settings() -> Settings {
    Settings {
        max_snapshots: 6,
        learning_time: chrono::TimeDelta::hours(240),
        buckets: 2,
        ..Settings::DEFAULT
    }
}

/// What arrives before a merge: profiles become stable one after the other.
fn arrivals(round: u8) -> Vec<Object> {
    (0..6)
        .flat_map(|app| {
            (0..=app % 3).map(move |container| {
                let start = i64::from(round) * 60 + i64::from(container);
                Shot::plain(app, round * 3 + container, start, &[1, 2, round % 8 + 3, 16]).object()
            })
        })
        .collect()
}

async fn round(store: &Store, round: u8) {
    for object in arrivals(round) {
        upload(store, &object).await;
    }
    merge(store, &options(&settings(), at(i64::from(round) * 60))).await.unwrap();
}

fn packing() -> Options {
    // Raw files are too young.
    Options { as_of: at(0), ..everything() }
}

async fn assert_equal(expected: &Store, found: &Store, context: &str) {
    let [expected, found] = [Tables::read(expected).await.unwrap(), Tables::read(found).await.unwrap()];
    if let Some(text) = expected.differences(&found, &[]) {
        panic!("{context}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_with_compactions_between_them_equal_merges() {
    let [plain, packed] = [faulty().store(), faulty().store()];
    for number in 0..5 {
        round(&plain, number).await;
        round(&packed, number).await;
        let before = live_files(&packed).await;
        let report = compact(&packed, &packing()).await.unwrap();
        assert!(!report.unfinished_merge, "{report:?}");
        if number > 0 {
            assert!(report.packed.contains_key("profile_snapshots"), "{report:?}");
            assert!(live_files(&packed).await < before);
        }
        assert_equal(&plain, &packed, &format!("round {number}")).await;
        let tables = ProfileTables::newest(&packed).await.unwrap().unwrap();
        assert!(tables.is_settled().await.unwrap(), "readers are given the new versions");
        let again = compact(&packed, &packing()).await.unwrap();
        assert!(again.packed.is_empty(), "{again:?}");
    }
    assert!(live_files(&packed).await * 2 < live_files(&plain).await);
    let idle = merge(&packed, &options(&settings(), at(300))).await.unwrap();
    assert_eq!((idle.admitted, idle.profiles, idle.nodes), (0, 0, 0), "{idle:?}");
    // Ranges of files still tell what is in them.
    for table in [&PROFILE_NODES, &PROFILE_SNAPSHOTS] {
        let table = OpenTable::open(&packed, table, None).await.unwrap().unwrap();
        for file in table.files().unwrap() {
            let rows = table.read(&file, wsp_analyze::tables::Selection::default()).await.unwrap();
            assert_eq!(file.rows, Some(rows.iter().map(|batch| batch.num_rows() as u64).sum()));
            assert!(file.least("workload_key").is_some() && file.greatest("workload_key").is_some());
        }
    }
}

/// A merge that stopped after its ledger commit is not packed over.
#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_merge_is_left_to_the_merge() {
    use wsp_tests::faulty::Fault;

    let plain = faulty().store();
    let faulty = faulty();
    let store = faulty.store();
    for number in 0..3 {
        round(&store, number).await;
    }
    for object in arrivals(3) {
        upload(&store, &object).await;
    }
    let told = options(&settings(), at(180));
    let mut number = 0;
    let report = loop {
        faulty.arm(number, Fault::KilledBefore);
        let ended = merge(&store, &told).await;
        faulty.disarm();
        let report = compact(&store, &packing()).await.unwrap();
        // A merge that cannot read a snapshot ends well, and without it.
        let is_over = ended.is_ok_and(|report| report.unavailable.is_empty());
        if report.unfinished_merge || is_over {
            break report;
        }
        number += 1;
    };
    assert!(report.unfinished_merge, "some operation leaves a merge unfinished");
    merge(&store, &told).await.unwrap();
    let report = compact(&store, &packing()).await.unwrap();
    assert!(!report.unfinished_merge);
    for number in 0..4 {
        round(&plain, number).await;
    }
    let [mut expected, mut found] =
        [Tables::read(&plain).await.unwrap(), Tables::read(&store).await.unwrap()];
    // Which batch decided depends on where the merge was stopped.
    for tables in [&mut expected, &mut found] {
        for row in tables.ledger.iter_mut().chain(&mut tables.profiles) {
            row.remove("batch");
        }
    }
    if let Some(text) = expected.differences(&found, &[]) {
        panic!("{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn merges_and_compactions_at_once_lose_nothing_and_readers_see_whole_batches() {
    const SQL: &str = "SELECT count(*) FROM profiles p
        FULL JOIN (SELECT workload_key, count(*) FILTER (WHERE collapsed_into IS NULL) AS nodes
                   FROM raw.profile_nodes GROUP BY workload_key) n ON p.workload_key = n.workload_key
        FULL JOIN (SELECT workload_key, count(*) AS admitted FROM snapshots WHERE outcome = 'admitted'
                   GROUP BY workload_key) s ON p.workload_key = s.workload_key
        WHERE (p.nodes IS DISTINCT FROM n.nodes) OR (p.snapshot_count IS DISTINCT FROM s.admitted)";
    let store = faulty().store();
    let alone = faulty().store();
    round(&store, 0).await;
    round(&alone, 0).await;
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut looks = 0_u32;
            while !done.load(Ordering::SeqCst) {
                let context = views::open(&store).await.unwrap();
                let batches = views::query(&context, SQL).await.unwrap().collect().await.unwrap();
                let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
                assert!(text.contains("| 0 "), "what belongs to two batches:\n{text}");
                looks += 1;
            }
            looks
        })
    };
    let compactor = {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let mut packed = 0;
            while !done.load(Ordering::SeqCst) {
                packed += compact(&store, &packing()).await.unwrap().packed.len();
            }
            packed
        })
    };
    for number in 1..16 {
        round(&alone, number).await;
        for object in arrivals(number) {
            upload(&store, &object).await;
        }
        let told = options(&settings(), at(i64::from(number) * 60));
        let runs = (0..2).map(|_| {
            let (store, told) = (store.clone(), told.clone());
            tokio::spawn(async move { merge(&store, &told).await })
        });
        for ended in futures::future::join_all(runs).await {
            ended.unwrap().unwrap();
        }
    }
    done.store(true, Ordering::SeqCst);
    let (looks, packed) = (reader.await.unwrap(), compactor.await.unwrap());
    println!("{looks} looks, {packed} tables packed meanwhile");
    assert!(looks > 3 && packed > 3);
    assert_equal(&alone, &store, "at the end").await;
}
