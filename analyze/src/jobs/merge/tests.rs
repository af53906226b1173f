use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use chrono::TimeDelta;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use wsp_schemas::snapshot::encode;
use wsp_schemas::store::Store;

use super::fixture::{Shot, epoch, file_id, put, shot, store};
use super::{Folding, Options, Report, Silent, run};

use crate::views;

mod after_freeze;

fn options() -> Options {
    // Right after the first snapshots: nothing is old enough to be stable by age.
    Options { as_of: epoch() + TimeDelta::hours(1), ..Options::default() }
}

async fn merge(store: &Store, options: &Options) -> Report {
    run(store, options, &Silent).await.unwrap()
}

async fn query(store: &Store, sql: &str) -> Vec<RecordBatch> {
    let context = views::open(store).await.unwrap();
    views::query(&context, sql).await.unwrap().collect().await.unwrap()
}

/// The rows of a query as text, columns separated by a bar.
async fn rows(store: &Store, sql: &str) -> Vec<String> {
    let options = arrow::util::display::FormatOptions::default().with_null("null");
    let mut rows = Vec::new();
    for batch in query(store, sql).await {
        for row in 0..batch.num_rows() {
            let cell = |column| {
                arrow::util::display::ArrayFormatter::try_new(column, &options)
                    .unwrap()
                    .value(row)
                    .to_string()
            };
            rows.push(
                batch.columns().iter().map(|column| cell(column.as_ref())).collect::<Vec<_>>().join("|"),
            );
        }
    }
    rows
}

async fn hashes(store: &Store) -> Vec<String> {
    rows(store, "select image, content_hash from profiles order by image").await
}

#[tokio::test]
async fn counts_are_those_of_a_hand_count() {
    let store = store();
    // Three containers on two hosts; /a in all, /b in two of them, /c in one, twice; one container joined late.
    let mut third = shot("app:1", 3, 0, &["/a"]);
    (third.host, third.covers_start) = (1, false);
    let mut first = shot("app:1", 1, 0, &["/a", "/b"]);
    first.startup_files = vec!["/start"];
    for shot in [first, shot("app:1", 2, 0, &["/a", "/b", "/c"]), shot("app:1", 2, 30, &["/c"]), third] {
        shot.put(&store).await;
    }
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.profiles, report.frozen, report.nodes), (4, 1, 0, 5));
    assert!(report.is_clean());
    let found = rows(
        &store,
        "select target, container_count, eligible_containers, round(commonality, 3), snapshot_count, round(snapshot_commonality, 3), \
         host_count, events, phase, rare from nodes order by target",
    )
    .await;
    assert_eq!(
        found,
        [
            "/a|3|3|1.0|3|0.75|2|6|steady|false",
            "/b|2|3|0.667|2|0.5|2|4|steady|false",
            "/c|1|3|0.333|2|0.5|1|4|steady|true",
            // Only two containers were watched from their start.
            "/start|1|2|0.5|1|0.333|1|2|startup|true",
            "/usr/bin/app|2|2|1.0|3|1.0|2|4|startup|false",
        ]
    );
    let profile = rows(&store, "select image, status, snapshot_count, container_count, host_count, nodes, round(commonality, 4) from profiles").await;
    // Pairs shared: /a 6, /b 2, /start 0, process 2; pairs either: /a 6, /b 6, /c 4, /start 2, process 2.
    assert_eq!(profile, [format!("docker.io/library/app:1|learning|4|3|2|5|{}", 0.5)]);
}

#[tokio::test]
async fn the_200th_snapshot_makes_it_stable_and_the_201st_changes_nothing() {
    let store = store();
    for at in 0..199 {
        shot("app:1", at % 10, i64::from(at / 10), &["/a"]).put(&store).await;
    }
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.frozen), (199, 0));
    let learning = hashes(&store).await;
    shot("app:1", 9, 19, &["/a", "/late"]).put(&store).await;
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.frozen, report.known), (1, 1, 199));
    let stable = hashes(&store).await;
    assert_ne!(stable, learning);
    assert_eq!(
        rows(&store, "select status, stable_reason, snapshot_count from profiles").await,
        ["stable|snapshots|200"]
    );

    shot("app:1", 11, 20, &["/a", "/other"]).put(&store).await;
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.after_freeze, report.profiles), (0, 1, 0));
    assert_eq!(hashes(&store).await, stable);
    assert_eq!(rows(&store, "select count(*) from nodes where target = '/other'").await, ["0"]);
}

#[tokio::test]
async fn the_200th_is_exact_within_one_batch() {
    let store = store();
    for at in 0..250 {
        shot("app:1", at % 10, i64::from(at / 10), &["/a"]).put(&store).await;
    }
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.frozen, report.after_freeze), (200, 1, 50));
    let ordinals =
        rows(&store, "select count(distinct ordinal), min(ordinal), max(ordinal) from snapshots").await;
    assert_eq!(ordinals, ["200|0|199"]);
    // In order of window end: the ones left out are the latest.
    let last = rows(&store, "select max(window_end) from snapshots").await;
    assert_eq!(last[0], (epoch() + TimeDelta::minutes(19 + 30)).format("%Y-%m-%dT%H:%M:%SZ").to_string());
}

#[tokio::test]
async fn the_48th_hour_makes_it_stable() {
    let store = store();
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    shot("app:1", 2, 48 * 60 - 31, &["/a"]).put(&store).await;
    merge(&store, &options()).await;
    let before = Options { as_of: epoch() + TimeDelta::hours(48) - TimeDelta::seconds(1), ..options() };
    assert_eq!(merge(&store, &before).await.frozen, 0);
    // The clock alone is enough: nothing new is in the store.
    let after = Options { as_of: epoch() + TimeDelta::hours(48), ..options() };
    let report = merge(&store, &after).await;
    assert_eq!((report.admitted, report.frozen, report.profiles), (0, 1, 1));
    assert_eq!(
        rows(&store, "select status, stable_reason, stable_at from profiles").await,
        [format!("stable|age|{}", (epoch() + TimeDelta::hours(48)).format("%Y-%m-%dT%H:%M:%SZ"))]
    );
    let stable = hashes(&store).await;
    shot("app:1", 3, 48 * 60 - 60, &["/a", "/b"]).put(&store).await;
    assert_eq!(merge(&store, &after).await.after_freeze, 1);
    assert_eq!(hashes(&store).await, stable);
    assert_eq!(rows(&store, "select count(*) from raw.profile_nodes where status = 'learning'").await, ["0"]);
}

#[tokio::test]
async fn a_newer_snapshot_proves_the_time() {
    let store = store();
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    shot("app:1", 2, 48 * 60, &["/a", "/b"]).put(&store).await;
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.frozen, report.after_freeze), (1, 1, 1));
}

#[tokio::test]
async fn a_snapshot_from_the_future_freezes_nothing() {
    let store = store();
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    // A hundred years on: its host's clock is wrong, or it is not what it says.
    shot("app:1", 2, 100 * 365 * 24 * 60, &["/a", "/b"]).put(&store).await;
    // Nothing is old enough by the clock, and nothing stored now proves more than now.
    let long = Options { learning_time: Duration::from_secs(50 * 365 * 24 * 3600), ..options() };
    let report = merge(&store, &long).await;
    assert_eq!((report.admitted, report.frozen, report.out_of_range.len()), (1, 0, 1));
}

#[tokio::test]
async fn two_tags_are_two_profiles_and_ids_compare() {
    let store = store();
    shot("app:1", 1, 0, &["/a", "/old"]).put(&store).await;
    shot("app:2", 2, 0, &["/a", "/new"]).put(&store).await;
    assert_eq!(merge(&store, &options()).await.profiles, 2);
    let shared = rows(
        &store,
        "select a.target from nodes a join nodes b on a.node_id = b.node_id where a.image_tag = '1' and b.image_tag = '2' order by 1",
    )
    .await;
    assert_eq!(shared, ["/a", "/usr/bin/app"]);
}

#[tokio::test]
async fn any_split_in_window_order_gives_the_same_rows() {
    let shots: Vec<Shot> = (0..12)
        .map(|at| {
            let mut shot =
                shot(if at % 3 == 0 { "app:1" } else { "app:2" }, at % 5, i64::from(at) * 30, &["/a", "/b"]);
            shot.files.truncate(1 + at as usize % 2);
            shot.lossy = at == 7;
            shot
        })
        .collect();
    let mut results = BTreeMap::new();
    for size in [1, 2, 5, 12] {
        let store = store();
        for part in shots.chunks(size) {
            for shot in part {
                shot.put(&store).await;
            }
            merge(&store, &options()).await;
        }
        // Merging again changes nothing.
        let again = merge(&store, &options()).await;
        assert_eq!((again.admitted, again.profiles), (0, 0));
        results.insert(size, hashes(&store).await);
    }
    assert!(results.values().all(|hashes| *hashes == results[&12]), "{results:?}");
}

#[tokio::test]
async fn lossy_sightings_add_the_node_and_count_apart() {
    let store = store();
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    let mut lossy = shot("app:1", 2, 0, &["/a", "/only-lossy"]);
    lossy.lossy = true;
    lossy.put(&store).await;
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.lossy), (2, 1));
    assert!(!report.is_clean());
    let found = rows(
        &store,
        "select target, container_count, eligible_containers, commonality, lossy_count from nodes where kind = 'file' order by target",
    )
    .await;
    assert_eq!(found, ["/a|1|1|1.0|1", "/only-lossy|0|1|0.0|1"]);
    assert_eq!(rows(&store, "select completeness['file'] from profiles").await, ["0.5"]);
}

#[tokio::test]
async fn a_kind_that_was_always_lossy_is_not_complete_at_all() {
    let store = store();
    for container in [1, 2] {
        let mut lossy = shot("app:1", container, 0, &["/a"]);
        lossy.lossy = true;
        lossy.put(&store).await;
    }
    merge(&store, &options()).await;
    // A kind that no sensor could see is not there.
    let found = rows(&store, "select completeness['file'], completeness['dns'] from profiles").await;
    assert_eq!(found, ["0.0|null"]);
    assert_eq!(rows(&store, "select commonality from nodes where target = '/a'").await, ["null"]);
}

#[tokio::test]
async fn what_is_refused_rewrites_no_rows() {
    let store = store();
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    merge(&store, &options()).await;
    let files = data_files(&store).await;
    let broken = shot("app:1", 2, 0, &[]).key().path();
    put(&store, &broken, b"not parquet".to_vec()).await;
    assert_eq!(merge(&store, &options()).await.quarantined.len(), 1);
    assert_eq!(data_files(&store).await, files);
}

/// Files of the node and profile tables, without their logs.
async fn data_files(store: &Store) -> Vec<String> {
    let mut files = objects(store, "tables/profile_nodes").await;
    files.extend(objects(store, "tables/profiles").await);
    files.retain(|key| !key.contains("_delta_log"));
    assert!(!files.is_empty());
    files
}

#[tokio::test]
async fn a_startup_node_of_a_second_early_window_counts_for_its_container() {
    let store = store();
    let mut first = shot("app:1", 1, 0, &["/a"]);
    first.minutes = 1;
    let mut second = shot("app:1", 1, 1, &["/a"]);
    second.startup_files = vec!["/second"];
    (second.covers_start, second.started) = (false, Some(0));
    let mut later = shot("app:1", 1, 31, &["/a"]);
    (later.covers_start, later.started) = (false, Some(0));
    for shot in [first, second, later] {
        shot.put(&store).await;
    }
    merge(&store, &options()).await;
    let found = rows(&store, "select container_count, eligible_containers, snapshot_count, snapshot_commonality from nodes where target = '/second'").await;
    assert_eq!(found, ["1|1|1|0.5"]);
}

async fn objects(store: &Store, prefix: &str) -> Vec<String> {
    let listing = store.objects.list(Some(&Path::from(prefix)));
    let mut keys: Vec<String> =
        listing.map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
    keys.sort();
    keys
}

#[tokio::test]
async fn what_cannot_be_read_goes_to_quarantine_and_the_rest_merges() {
    let store = store();
    let good = shot("app:1", 1, 0, &["/a"]).put(&store).await;
    let whole = encode(&shot("app:1", 2, 0, &["/b"]).meta(), &shot("app:1", 2, 0, &["/b"]).nodes()).unwrap();
    let cut = shot("app:1", 3, 0, &[]).key().path();
    put(&store, &cut, whole[..whole.len() / 2].to_vec()).await;
    // The content of container 2 under the key of container 4, and a name that is not ours.
    let wrong = shot("app:1", 4, 0, &[]).key().path();
    put(&store, &wrong, whole.clone()).await;
    put(&store, "snapshots/stray.parquet", whole).await;
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.quarantined.len()), (1, 3));
    assert!(!report.is_clean());
    assert_eq!(objects(&store, "snapshots").await, [good]);
    let mut expected: Vec<String> = [&cut, &wrong, "snapshots/stray.parquet"]
        .iter()
        .flat_map(|key| [format!("quarantine/{key}"), format!("quarantine/{key}.reason.txt")])
        .collect();
    expected.sort();
    assert_eq!(objects(&store, "quarantine").await, expected);
    let reason = store.objects.get(&Path::from(format!("quarantine/{wrong}.reason.txt"))).await.unwrap();
    let reason = String::from_utf8(reason.bytes().await.unwrap().to_vec()).unwrap();
    assert!(reason.contains("its key names the snapshot"), "{reason}");
    assert_eq!(merge(&store, &options()).await.quarantined.len(), 0);
    // A file that is put back is looked at again.
    shot("app:1", 3, 0, &["/b"]).put(&store).await;
    assert_eq!(merge(&store, &options()).await.admitted, 1);
}

#[tokio::test]
async fn twins_count_once_and_conflicts_are_kept_apart() {
    let store = store();
    let first = shot("app:1", 1, 0, &["/a"]);
    first.put(&store).await;
    let twin = first
        .key()
        .path()
        .replace("hour=", "hour=0")
        .replace("hour=00", "hour=0")
        .replace("hour=01", "hour=0");
    let mut key = first.key();
    key.uploaded += TimeDelta::hours(1);
    put(&store, &key.path(), encode(&first.meta(), &first.nodes()).unwrap()).await;
    let mut other = first.clone();
    other.files = vec!["/forged"];
    key.uploaded += TimeDelta::hours(1);
    put(&store, &key.path(), encode(&other.meta(), &other.nodes()).unwrap()).await;
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.duplicates, report.quarantined.len()), (1, 1, 1), "{twin}");
    assert_eq!(rows(&store, "select count(*) from nodes where target = '/forged'").await, ["0"]);
    let outcomes = rows(&store, "select outcome from snapshots order by 1").await;
    assert_eq!(outcomes, ["admitted", "conflict", "duplicate"]);
}

#[tokio::test]
async fn an_unkeyed_snapshot_is_kept_and_not_merged() {
    let store = store();
    let mut unkeyed = shot("", 1, 0, &["/a"]);
    unkeyed.digest = None;
    let key = unkeyed.put(&store).await;
    let report = merge(&store, &options()).await;
    assert_eq!((report.unkeyed, report.admitted), (1, 0));
    assert_eq!(objects(&store, "snapshots").await, [key]);
    assert_eq!(merge(&store, &options()).await.known, 1);
}

/// A run that ended right after its first commit to the ledger.
async fn stop_after_the_ledger(store: &Store, buckets: u32) {
    let mut tables = crate::tables::ProfileTables::open_or_create(store, buckets).await.unwrap();
    let plan = super::plan::make(store, &tables, &options(), &mut Report::default()).await.unwrap();
    for wave in plan.waves(1000, &Default::default()) {
        let mut decided = super::wave::decide(store, &tables, wave, &options(), &Silent).await.unwrap();
        decided.rows.iter_mut().for_each(|row| row.batch = 1);
        let mut change = crate::tables::Change::default();
        let buckets: std::collections::BTreeSet<i32> = decided.rows.iter().map(|row| row.bucket).collect();
        buckets.into_iter().for_each(|bucket| change.advance(bucket, crate::tables::transaction(bucket, 1)));
        tables.ledger =
            super::commit_ledger(&tables.ledger, &decided.rows, change, 1, &mut Report::default())
                .await
                .unwrap();
    }
}

#[tokio::test]
async fn a_run_that_stopped_after_the_ledger_is_finished_from_it() {
    let undisturbed = store();
    let disturbed = store();
    for store in [&undisturbed, &disturbed] {
        shot("app:1", 1, 0, &["/a"]).put(store).await;
    }
    merge(&undisturbed, &options()).await;
    stop_after_the_ledger(&disturbed, 16).await;
    let report = merge(&disturbed, &options()).await;
    assert_eq!((report.known, report.profiles, report.admitted), (1, 1, 0));
    assert_eq!(hashes(&disturbed).await, hashes(&undisturbed).await);
}

#[tokio::test]
async fn an_admitted_snapshot_that_is_gone_stops_its_bucket_with_its_name() {
    let store = store();
    // Workloads of different buckets of two.
    let images = ["app:2", "app:3", "app:4", "db:1", "web:1", "api:1", "cron:1", "job:1"];
    let bucket = |image: &str| wsp_schemas::image::Workload::parse(image).unwrap().key().bucket(2);
    let other = images.into_iter().find(|image| bucket(image) != bucket("app:1")).unwrap();
    let key = shot("app:1", 1, 0, &["/a"]).put(&store).await;
    let whole = store.objects.get(&Path::from(key.as_str())).await.unwrap().bytes().await.unwrap().to_vec();
    stop_after_the_ledger(&store, 2).await;
    store.objects.delete(&Path::from(key.as_str())).await.unwrap();
    shot("app:1", 2, 0, &["/a"]).put(&store).await;
    shot(other, 3, 0, &["/a"]).put(&store).await;
    let report = merge(&store, &options()).await;
    assert_eq!(report.lost.iter().map(|problem| &problem.object).collect::<Vec<_>>(), [&key]);
    assert_eq!((report.admitted, report.profiles), (1, 1), "the other bucket goes on");
    put(&store, &key, whole).await;
    let report = merge(&store, &options()).await;
    assert_eq!((report.lost.len(), report.admitted), (0, 1));
    assert_eq!(rows(&store, "select sum(snapshot_count) from profiles").await, ["3"]);
}

#[tokio::test]
async fn windows_that_cannot_be_are_refused_and_stay() {
    let store = store();
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    let unset = shot("app:1", 2, -epoch().timestamp() / 60 + 60, &["/a"]).put(&store).await;
    let future = shot("app:2", 3, 100 * 365 * 24 * 60, &["/a"]).put(&store).await;
    let report = merge(&store, &options()).await;
    assert_eq!((report.admitted, report.frozen, report.out_of_range.len()), (1, 0, 2));
    assert!(!report.is_clean());
    for key in [unset, future] {
        assert!(store.objects.head(&Path::from(key)).await.is_ok());
    }
    let again = merge(&store, &Options { rescan: true, ..options() }).await;
    assert_eq!((again.known, again.admitted, again.out_of_range.len()), (3, 0, 0));
}

#[tokio::test]
async fn what_is_looked_for_begins_before_the_watermark_and_a_rescan_finds_the_rest() {
    let store = store();
    let short = Options { look_back: Duration::from_secs(3600), as_of: epoch(), ..options() };
    shot("app:1", 1, 60 * 20, &["/a"]).put(&store).await;
    assert_eq!(merge(&store, &short).await.admitted, 1);
    // Keys of the fixture are uploaded in the hour in which their window ends.
    shot("app:1", 2, 60 * 19, &["/a"]).put(&store).await;
    shot("app:1", 3, 60 * 2, &["/a"]).put(&store).await;
    let report = merge(&store, &short).await;
    assert_eq!((report.listed, report.admitted), (2, 1));
    let report = merge(&store, &Options { rescan: true, ..short }).await;
    assert_eq!((report.listed, report.admitted), (3, 1));
}

#[tokio::test]
async fn a_dry_run_tells_and_changes_nothing() {
    let store = store();
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    let stray = "snapshots/stray.parquet";
    put(&store, stray, vec![1]).await;
    let report = merge(&store, &Options { dry_run: true, ..options() }).await;
    assert_eq!((report.admitted, report.quarantined.len(), report.profiles), (1, 1, 0));
    assert!(store.objects.head(&Path::from(stray)).await.is_ok());
    assert!(objects(&store, "tables").await.is_empty());
    assert_eq!(merge(&store, &options()).await.admitted, 1);
}

#[tokio::test]
async fn a_member_bit_is_its_ordinal() {
    let store = store();
    for at in 0..10 {
        let files: &[&'static str] = if at == 9 { &["/a", "/nine"] } else { &["/a"] };
        shot("app:1", at, i64::from(at), files).put(&store).await;
    }
    merge(&store, &options()).await;
    let id = file_id("/nine");
    let members =
        rows(&store, &format!("select encode(members, 'hex'), late from nodes where node_id = '{id}'")).await;
    assert_eq!(members, ["0002|true"]);
}

#[tokio::test]
async fn other_limits_hold_too() {
    let store = store();
    for at in 0..5 {
        shot("app:1", at, i64::from(at), &["/a"]).put(&store).await;
    }
    let three = Options { max_snapshots: 3, ..options() };
    let report = merge(&store, &three).await;
    assert_eq!((report.admitted, report.frozen, report.after_freeze), (3, 1, 2));
    let store = super::fixture::store();
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    shot("app:1", 2, 40, &["/a"]).put(&store).await;
    let hour = Options { learning_time: Duration::from_secs(3600), as_of: epoch(), ..options() };
    let report = merge(&store, &hour).await;
    assert_eq!((report.admitted, report.frozen, report.after_freeze), (1, 1, 1));
}

#[tokio::test]
async fn siblings_beyond_the_bound_are_counted_however_merges_are_split() {
    let options = Options { folding: Folding { kept: 3, ..Folding::default() }, ..options() };
    let mut found = Vec::new();
    for batches in [vec![5], vec![2, 3], vec![1; 5]] {
        let store = store();
        let mut at = 0;
        for shots in batches {
            for _ in 0..shots {
                // `/d/4` comes with the third snapshot, and stays for three.
                let files =
                    [at, at + 1, at + 2].map(|n| ["/d/0", "/d/1", "/d/2", "/d/3", "/d/4", "/d/5", "/d/6"][n]);
                let at_minute = i64::try_from(at).unwrap();
                let mut shot = shot("app:1", u32::try_from(at).unwrap(), at_minute, &files);
                shot.files.push("/e/x");
                shot.put(&store).await;
                at += 1;
            }
            merge(&store, &options).await;
        }
        let mut paths = rows(&store, "select path from nodes where kind = 'file'").await;
        paths.sort();
        assert_eq!(paths, ["/d/0", "/d/1", "/d/2", "/e/x"]);
        // Three sightings each of `/d/3` and `/d/4`, two of `/d/5`, one of `/d/6`.
        assert_eq!(rows(&store, "select sum(overflow), count(overflow) from nodes").await, ["9|1"]);
        assert_eq!(rows(&store, "select overflow from profiles").await, ["9"]);
        found.push(hashes(&store).await);
    }
    assert!(found.iter().all(|hashes| *hashes == found[0]), "{found:?}");
}

#[tokio::test]
async fn queries_only_read() {
    let store = store();
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    merge(&store, &options()).await;
    let context = views::open(&store).await.unwrap();
    for sql in [
        "create table t as select 1",
        "drop view nodes",
        "copy nodes to '/tmp/leak.parquet'",
        "insert into raw.profiles select * from raw.profiles",
        "set datafusion.execution.batch_size = 1",
        "create external table x stored as csv location '/etc/passwd'",
        "select * from '/etc/passwd'",
    ] {
        assert!(views::query(&context, sql).await.is_err(), "{sql}");
    }
}
