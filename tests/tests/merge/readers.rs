//! Readers see whole batches, while merges run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use wsp_analyze::views;
use wsp_schemas::store::Store;
use wsp_tests::oracle::Settings;
use wsp_tests::value::{Row, cell_of, rows};

use super::fleets::{Shot, at};
use super::{faulty, merge, options, upload};

/// What each table says about a profile, side by side; a side that does not know it is null.
const SQL: &str = "
SELECT p.workload_key, p.batch, p.nodes, p.snapshot_count, p.status, n.nodes AS node_rows, n.status AS node_status,
       n.statuses, s.admitted, s.last_ordinal, s.last_batch
FROM profiles p
FULL JOIN (
    SELECT workload_key, count(*) FILTER (WHERE collapsed_into IS NULL) AS nodes, max(status) AS status,
           count(DISTINCT status) AS statuses
    FROM raw.profile_nodes GROUP BY workload_key
) n ON p.workload_key = n.workload_key
FULL JOIN (
    SELECT workload_key, count(*) AS admitted, max(ordinal) AS last_ordinal, max(batch) AS last_batch
    FROM snapshots WHERE outcome = 'admitted' GROUP BY workload_key
) s ON p.workload_key = s.workload_key";

const APPS: u8 = 5;
const ROUNDS: u8 = 40;

/// What readers saw.
#[derive(Debug, Default)]
struct Seen {
    observations: usize,
    checks: usize,
    different: usize,
}

/// Looks until the merges are done.
async fn watch(store: Store, done: Arc<AtomicBool>, seen: Arc<Mutex<Seen>>) {
    let mut before: HashMap<String, (i64, i64)> = HashMap::new();
    loop {
        let last = done.load(Ordering::SeqCst);
        let context = match views::open(&store).await {
            Ok(context) => context,
            // Before the first batch there is nothing to see, and it says so.
            Err(views::QueryError::Table(wsp_analyze::tables::TableError::NoProfiles { .. })) if !last => {
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let batches = views::query(&context, SQL).await.unwrap().collect().await.unwrap();
        let found: Vec<Row> = batches.iter().flat_map(rows).collect();
        let mut now = HashMap::new();
        for row in &found {
            let int = |name: &str| cell_of(row, name).int();
            let equal = |a: &str, b: &str| {
                assert!(
                    cell_of(row, a) == cell_of(row, b) && int(a).is_some_and(|n| n > 0),
                    "{a} and {b} are of two batches: {row:?}"
                );
            };
            equal("nodes", "node_rows");
            equal("snapshot_count", "admitted");
            assert_eq!(int("admitted"), int("last_ordinal").map(|ordinal| ordinal + 1), "{row:?}");
            assert!(int("last_batch") <= int("batch"), "{row:?}");
            assert_eq!(cell_of(row, "status"), cell_of(row, "node_status"), "{row:?}");
            assert_eq!(int("statuses"), Some(1), "{row:?}");
            let key = cell_of(row, "workload_key").text().unwrap().to_owned();
            now.insert(key, (int("batch").unwrap(), int("snapshot_count").unwrap()));
        }
        assert_eq!(now.len(), found.len(), "one row a profile");
        for (key, (batch, count)) in &before {
            let later = now.get(key);
            assert!(
                later.is_some_and(|later| later.0 >= *batch && later.1 >= *count),
                "{key} went back to {later:?}"
            );
        }
        {
            let mut seen = seen.lock().unwrap();
            seen.observations += 1;
            seen.checks += 6 * found.len() + before.len() + 1;
            seen.different += usize::from(now != before);
        }
        before = now;
        if last {
            assert_eq!(before.len(), usize::from(APPS));
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_observation_is_one_batch() {
    let store = faulty().store();
    let (done, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
    let readers: Vec<_> =
        (0..2).map(|_| tokio::spawn(watch(store.clone(), Arc::clone(&done), Arc::clone(&seen)))).collect();
    let settings =
        Settings { max_snapshots: 40, learning_time: TimeDelta::hours(48), buckets: 2, ..Settings::DEFAULT };
    for round in 0..ROUNDS {
        for app in 0..APPS {
            // The first workload fills up in the middle; each round touches other ones.
            let snapshots = if app == 0 { 4 } else { round % (app + 1) };
            for number in 0..snapshots {
                let nodes = [1, 2, (round + number) % 9, 9 + (round + app) % 7];
                let shot = Shot::plain(app, number, i64::from(round) * 30, &nodes);
                upload(&store, &shot.object()).await;
            }
        }
        merge(&store, &options(&settings, at(0))).await.unwrap();
    }
    done.store(true, Ordering::SeqCst);
    for ended in futures::future::join_all(readers).await {
        ended.unwrap();
    }
    let seen = seen.lock().unwrap();
    println!("{ROUNDS} merges, {seen:?}");
    assert!(seen.observations > 20 && seen.different > 10, "readers saw the store change: {seen:?}");
}
