//! What options of commands do that no other test gives, as typed.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use wsp_tests::program::{run, wsp};

/// Eight snapshots of four containers, over a day.
fn fleet() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store").display().to_string();
    #[rustfmt::skip]
    let _ = run("wsp-datasets", [
        "generate", "--store", &store, "--images", "1", "--versions", "1", "--containers", "4", "--snapshots", "2",
        "--nodes", "1", "--seed", "3", "--spread", "24h", "--late-share", "0", "--lossy-share", "0", "--no-truth",
    ]).ok();
    (folder, store)
}

/// The report of a merge.
fn merge(store: &str, more: &[&str]) -> Value {
    let arguments = ["merge", "--store", store, "--json", "--as-of", "2026-11-02"];
    serde_json::from_str(&wsp(arguments.iter().chain(more)).ok()).unwrap()
}

fn sql(store: &str, query: &str) -> String {
    wsp(["sql", query, "--store", store, "--format", "csv"]).ok()
}

fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(snapshots(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn minimums_keep_a_profile_learning() {
    for (option, enough, too_much) in
        [("--min-snapshots", "8", "9"), ("--min-containers", "4", "5"), ("--min-age", "1h", "7d")]
    {
        let (_folder, store) = fleet();
        let report = merge(&store, &["--max-snapshots", "8", option, too_much]);
        assert_eq!([&report["admitted"], &report["frozen"]], [8, 0], "{option} {too_much}");
        let report = merge(&store, &["--max-snapshots", "8", option, enough]);
        assert_eq!(report["frozen"], 1, "{option} {enough}");
    }
}

#[test]
fn a_dry_run_says_what_a_merge_then_does() {
    let (_folder, store) = fleet();
    let objects = || snapshots(&Path::new(&store).join("snapshots"));
    let before = objects();
    let said = merge(&store, &["--dry-run", "--max-snapshots", "5"]);
    assert_eq!([&said["admitted"], &said["frozen"], &said["profiles"], &said["nodes"]], [5, 1, 0, 0]);
    assert_eq!(objects(), before);
    let done = merge(&store, &["--max-snapshots", "5"]);
    assert_eq!([&done["admitted"], &done["frozen"], &done["known"], &done["profiles"]], [5, 1, 0, 1]);
}

#[test]
fn what_is_older_than_the_look_back_is_found_by_a_rescan() {
    let (folder, store) = fleet();
    let late = snapshots(&folder.path().join("store/snapshots"))[0].clone();
    let aside = folder.path().join("aside");
    std::fs::rename(&late, &aside).unwrap();
    assert_eq!(merge(&store, &["--look-back", "1h"])["admitted"], 7);
    std::fs::rename(&aside, &late).unwrap();
    for (look_back, admitted) in [(["--look-back", "1h"].as_slice(), 0), (["--rescan"].as_slice(), 1)] {
        assert_eq!(merge(&store, look_back)["admitted"], admitted, "{look_back:?}");
    }
    let both = wsp(["merge", "--store", &store, "--rescan", "--look-back", "1h"]);
    assert!(both.code == 2 && both.stderr.contains("--look-back"), "{}", both.stderr);
}

#[test]
fn how_much_works_at_a_time_changes_nothing() {
    let hash = |more: &[&str]| {
        let (_folder, store) = fleet();
        assert_eq!(merge(&store, more)["admitted"], 8);
        sql(&store, "select content_hash, snapshot_count, nodes from profiles")
    };
    let few = hash(&["--jobs", "1", "--concurrency", "1", "--memory", "32M"]);
    assert_eq!(hash(&["--jobs", "3", "--concurrency", "64", "--memory", "4G"]), few);
    for (option, value) in [("--jobs", "0"), ("--concurrency", "0"), ("--memory", "0M"), ("--memory", "much")]
    {
        let refused = wsp(["merge", "--store", "nowhere", option, value]);
        assert!(refused.code == 2 && refused.stderr.contains(option), "{option} {value}: {}", refused.stderr);
    }
}

#[test]
fn a_query_comes_from_a_file() {
    let (folder, store) = fleet();
    merge(&store, &[]);
    let file = folder.path().join("query.sql");
    std::fs::write(&file, "select snapshot_count\nfrom profiles").unwrap();
    let file = file.to_str().unwrap();
    let found = wsp(["sql", "--file", file, "--store", &store, "--format", "csv"]).ok();
    assert_eq!(found, sql(&store, "select snapshot_count from profiles"));
}

#[test]
fn a_store_is_raced_for_as_often_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let said = wsp(["store", "check", store, "--rounds", "3", "--writers", "2", "--json"]).ok();
    let said: Value = serde_json::from_str(&said).unwrap();
    let race = said["checks"].as_array().unwrap().iter().find(|check| check["property"] == "race").unwrap();
    assert_eq!(race["detail"], "3 races of 2 writers, one winner each");
}

#[test]
fn a_changed_byte_is_found_by_looking_deep() {
    let (folder, store) = fleet();
    merge(&store, &[]);
    let changed = snapshots(&folder.path().join("store/snapshots"))[0].clone();
    let mut bytes = std::fs::read(&changed).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&changed, bytes).unwrap();
    let verify = |more: &[&str]| wsp(["store", "verify", &store, "--concurrency", "1"].iter().chain(more));
    assert_eq!(verify(&[]).code, 0);
    let deep = verify(&["--deep"]);
    assert_eq!(deep.code, 1, "{}", deep.stdout);
    let name = changed.file_name().unwrap().to_str().unwrap();
    assert!(deep.stdout.contains(name), "{}", deep.stdout);
}

#[test]
fn siblings_beyond_a_bound_are_counted() {
    let (_folder, store) = fleet();
    merge(&store, &["--max-siblings", "3"]);
    let crowd = "select count(*) as n from raw.profile_nodes where kind = 'file' \
                 group by parent_id, regexp_replace(path, '/[^/]*$', '') order by n desc limit 1";
    assert_eq!(sql(&store, crowd), "n\n3\n");
    assert_eq!(sql(&store, "select overflow > 0 as some from profiles"), "some\ntrue\n");
    let shown = wsp(["profiles", "--store", &store, "--format", "json"]).ok();
    let profiles: Value = serde_json::from_str(&shown).unwrap();
    let image = profiles[0]["image"].as_str().unwrap();
    let shown = wsp(["show", image, "--store", &store]).ok();
    assert!(shown.contains("beyond --max-siblings"), "{shown}");
}

#[test]
fn a_compaction_makes_files_of_the_size_that_is_asked_for() {
    let files = |size: &str| {
        let (folder, store) = fleet();
        merge(&store, &["--max-snapshots", "8"]);
        #[rustfmt::skip]
        let _ = wsp([
            "compact", "--store", &store, "--keep-raw", "0s", "--without-detect", "--keep-versions", "0s",
            "--nobody-reads", "--file-size", size, "--concurrency", "1",
        ]).ok();
        let count = "select count(distinct snapshot_id) as n from raw.activity";
        assert_eq!(sql(&store, count), "n\n8\n");
        snapshots(&folder.path().join("store/tables/activity"))
            .iter()
            .filter(|file| file.extension().is_some_and(|extension| extension == "parquet"))
            .count()
    };
    let (small, large) = (files("1K"), files("64M"));
    assert!(small > large, "{small} files of 1K, {large} of 64M");
}
