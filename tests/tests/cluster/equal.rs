//! A cluster gives the tables that one machine gives, cell by cell.

use std::path::Path;

use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use wsp_schemas::store::{Missing, open};
use wsp_tests::delta::Tables;
use wsp_tests::program;

use super::{Cluster, copy, files, fleet, merge};
use crate::merge::block_on;

/// The same moment for both: it stands in the ledger.
const AS_OF: &str = "2026-11-09T00:00:00Z";

fn tables(store: &Path) -> Tables {
    let store = open(store.to_str().unwrap(), Missing::Refuse).unwrap();
    block_on(Tables::read(&store)).unwrap()
}

/// Fails where two stores have different tables.
fn assert_equal(one: &Path, other: &Path) -> usize {
    let (one, other) = (tables(one), tables(other));
    if let Some(text) = one.differences(&other, &[]) {
        panic!("a cluster made other tables\n{text}");
    }
    one.nodes.len()
}

#[test]
fn random_splits_and_repeats_give_the_tables_of_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let [uploads, alone, together] = ["uploads", "alone", "together"].map(|name| folder.path().join(name));
    fleet(&uploads, 5, 8, 4, "0.1");
    std::fs::create_dir_all(&alone).unwrap();
    std::fs::create_dir_all(&together).unwrap();
    let cluster = Cluster::start(&together, 3);
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let mut left = files(&uploads.join("snapshots"));
    let all = left.len();
    let mut merges = 0_u64;
    while !left.is_empty() {
        // A share of what is left, and some of it is merged once more with what comes next.
        let share = random.random_range(0.3..0.9);
        let (now, later): (Vec<_>, Vec<_>) = left.iter().cloned().partition(|_| random.random_bool(share));
        left = if now.is_empty() || merges == 4 { Vec::new() } else { later };
        let now = if left.is_empty() { files(&uploads.join("snapshots")) } else { now };
        for file in &now {
            copy(&uploads, file, &alone);
            copy(&uploads, file, &together);
        }
        for _ in 0..*[1, 2].choose(&mut random).unwrap() {
            let one = merge(&alone, &["--as-of", AS_OF]);
            let other = merge(&together, &["--as-of", AS_OF, "--cluster", &cluster.url()]);
            // 3: some snapshots are lossy.
            assert!([0, 3].contains(&one.code), "{one:?}");
            assert_eq!((one.code, one.stdout), (other.code, other.stdout), "{}", other.stderr);
            merges += 1;
        }
        let nodes = assert_equal(&alone, &together);
        println!("after {merges} merges: {nodes} node rows are equal");
    }
    let read = cluster.read();
    assert!((1..=all as u64 * 2 * merges).contains(&read), "executors read {read} of {all} snapshots");
    for executor in &cluster.executors {
        assert!(executor.metric("wsp_executor_snapshots_read_total") > 0, "each executor had a part");
    }
    assert_eq!(cluster.scheduler.metric("wsp_scheduler_failed_jobs_total"), 0);
    assert!(cluster.scheduler.metric("wsp_scheduler_completed_jobs_total") > 0);
}

#[test]
fn the_recordings_give_the_tables_of_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let [alone, together] = ["alone", "together"].map(|name| folder.path().join(name));
    let _ = program::wsp(["demo", "--dir", alone.to_str().unwrap()]).ok();
    for file in files(&alone.join("snapshots")) {
        copy(&alone, &file, &together);
    }
    let _ = std::fs::remove_dir_all(alone.join("tables"));
    // Results come through the scheduler.
    let cluster = Cluster::start_with(
        &together,
        3,
        &["--proxy", "--advertise", "127.0.0.1"],
        &["--memory", "64M", "--keep", "10m"],
    );
    let one = merge(&alone, &["--as-of", AS_OF]).ok();
    let other = merge(&together, &["--as-of", AS_OF, "--cluster", &cluster.url()]).ok();
    assert_eq!(one, other);
    assert!(assert_equal(&alone, &together) > 100);
}

#[test]
fn what_is_damaged_late_or_there_twice_ends_as_on_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let [alone, together] = ["alone", "together"].map(|name| folder.path().join(name));
    fleet(&alone, 9, 8, 4, "0.2");
    let all = files(&alone.join("snapshots"));
    // One is cut off, one is no Parquet at all.
    let bytes = std::fs::read(&all[0]).unwrap();
    std::fs::write(&all[0], &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(&all[1], "no snapshot").unwrap();
    for file in &all {
        copy(&alone, file, &together);
    }
    let cluster = Cluster::start(&together, 2);
    let one = merge(&alone, &["--as-of", AS_OF]);
    let other = merge(&together, &["--as-of", AS_OF, "--cluster", &cluster.url()]);
    assert_eq!((one.code, &one.stdout), (3, &other.stdout), "{}", one.stderr);
    assert_eq!(other.code, 3, "{}", other.stderr);
    assert_equal(&alone, &together);
    assert_eq!(files(&alone.join("quarantine")).len(), files(&together.join("quarantine")).len());
}

/// All rows of a table, without what tells when they were made, as lines of CSV.
fn rows(store: &Path, table: &str, without: &str) -> Vec<String> {
    let query = format!("SELECT * EXCEPT ({without}) FROM raw.{table}");
    let csv = program::wsp(["sql", &query, "--store", store.to_str().unwrap(), "--format", "csv"]).ok();
    let mut lines: Vec<String> = csv.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn detections_and_compactions_leave_the_tables_of_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let [uploads, alone, together] = ["uploads", "alone", "together"].map(|name| folder.path().join(name));
    fleet(&uploads, 7, 6, 6, "0.1");
    let all = files(&uploads.join("snapshots"));
    // Damaged once the merge has taken it.
    let victim = all.first().unwrap();
    for store in [&alone, &together] {
        for file in &all {
            copy(&uploads, file, store);
        }
    }
    let cluster = Cluster::start(&together, 3);
    for store in [&alone, &together] {
        // Profiles of some images are stable, what is beyond them is late.
        assert_eq!(merge(store, &["--as-of", AS_OF]).code, 3);
        let path = store.join(victim.strip_prefix(&uploads).unwrap());
        std::fs::write(&path, "no snapshot any more").unwrap();
    }
    let on_cluster = vec!["--cluster".to_owned(), cluster.url()];
    let [one, other] = [(&alone, Vec::new()), (&together, on_cluster)].map(|(store, more)| {
        let path = store.to_str().unwrap();
        let detect = |rescan: &[&str]| {
            let options = ["detect", "--store", path, "--json", "--max-signals", "5"];
            let options = options.iter().chain(rescan).map(|text| (*text).to_owned());
            program::wsp(options.chain(more.iter().cloned()))
        };
        let trial = detect(&["--dry-run"]);
        let (first, again) = (detect(&[]), detect(&["--rescan"]));
        assert_eq!(trial.stdout, first.stdout, "a trial says what would be done");
        let compact =
            ["compact", "--store", path, "--json", "--as-of", "2027-01-01T00:00:00Z", "--keep-raw", "1h"];
        let compact = program::wsp(compact.map(str::to_owned).into_iter().chain(more.iter().cloned()));
        [first, again, compact].map(|ended| (ended.code, ended.stdout))
    });
    assert_eq!(one, other);
    assert_eq!(one.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [3, 0, 3], "one file is damaged");
    for (table, without) in
        [("signals", "detected_at"), ("detections", "detected_at"), ("activity", "bucket")]
    {
        let [one, other] = [&alone, &together].map(|store| rows(store, table, without));
        assert!(one.len() > 10, "{table}: {}", one.len());
        assert_eq!(one, other, "{table}");
    }
    assert_equal(&alone, &together);
    let left = |store: &Path| files(&store.join("snapshots")).len();
    assert_eq!(left(&alone), left(&together));
    assert!(left(&alone) < all.len(), "some were moved");
}

#[test]
fn queries_give_what_they_give_on_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let _ = program::wsp(["demo", "--dir", store]).ok();
    let cluster = Cluster::start(folder.path(), 2);
    let url = cluster.url();
    let ask = |query: &str, more: &[&str]| {
        program::wsp(["sql", query, "--store", store, "--format", "csv"].iter().chain(more)).ok()
    };
    for query in [
        "SELECT * FROM profiles ORDER BY image, revision",
        "SELECT image, revision, kind, target, commonality, stable, rare, args FROM nodes ORDER BY image, revision, node_id",
        "SELECT kind, count(*) AS n, round(avg(commonality), 9) AS mean FROM nodes GROUP BY kind ORDER BY kind",
        "SELECT p.image, count(*) AS n FROM profiles p JOIN nodes n ON n.image = p.image GROUP BY p.image ORDER BY 1",
        "SELECT * FROM raw.profile_snapshots ORDER BY object_key LIMIT 5",
        "SELECT image FROM nodes WHERE image = (SELECT max(image) FROM profiles) ORDER BY node_id LIMIT 3",
        "SELECT count(*) FROM signals",
        "SELECT rule, severity FROM rules ORDER BY rule LIMIT 3",
        // What has no message for executors runs in the job.
        "SELECT position, depth, tree FROM process_tree('localhost/demo/web:1.22') ORDER BY position",
        "DESCRIBE nodes",
        "SELECT table_schema, table_name, table_type FROM information_schema.tables ORDER BY 1, 2",
    ] {
        assert_eq!(ask(query, &[]), ask(query, &["--cluster", &url]), "{query}");
    }
    assert!(cluster.scheduler.metric("wsp_scheduler_completed_jobs_total") >= 8, "executors had a part");
    let wrong = program::wsp(["sql", "SELECT nothing FROM nodes", "--store", store, "--cluster", &url]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("nothing"), "{}", wrong.stderr);
}
