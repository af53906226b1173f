//! One clear error with its fix, and the right exit code.

use std::path::Path;

use wsp_tests::program::{Ended, run, wsp};

fn fails(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, code, "stdout: {}\nstderr: {}", ended.stdout, ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "`{part}` is not in: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

fn demo(folder: &Path) -> String {
    let dir = folder.join("store").display().to_string();
    let _ = wsp(["demo", "--dir", &dir]).ok();
    dir
}

#[test]
fn stores_that_are_none() {
    for url in ["ftp://x/y", "s3:bucket", "s3://"] {
        fails(&wsp(["profiles", "--store", url]), 1, &[url, "s3://BUCKET/PREFIX"]);
    }
    fails(&wsp(["profiles", "--store", "/no/such/folder"]), 1, &["/no/such/folder", "caused by"]);
    fails(&wsp(["profiles"]), 2, &["--store"]);
}

#[test]
fn a_store_without_profiles_says_how_they_are_made() {
    let folder = tempfile::tempdir().unwrap();
    fails(
        &wsp(["profiles", "--store", folder.path().to_str().unwrap()]),
        1,
        &["has no profiles", "wsp merge"],
    );
}

#[test]
fn a_merge_of_nothing_makes_nothing_and_asks() {
    let folder = tempfile::tempdir().unwrap();
    let said = wsp(["merge", "--store", folder.path().to_str().unwrap()]).ok();
    assert!(said.contains("no snapshots"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let dir = demo(folder.path());
    for format in ["table", "csv", "json"] {
        let mut child = wsp_tests::program::command("wsp")
            .args(["sql", "select * from nodes", "--store", &dir, "--format", format])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{format}: {}", String::from_utf8_lossy(&ended.stderr));
    }
}

#[test]
fn an_unreachable_store_is_an_error_and_changes_nothing() {
    let mut command = wsp_tests::program::command("wsp");
    command.args(["merge", "--store", "s3://bucket/x"]).envs([
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_REGION", "us-east-1"),
    ]);
    fails(&wsp_tests::program::finish(&mut command), 1, &["s3://bucket/x", "hint:"]);
}

#[test]
fn images_and_queries_that_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let dir = demo(folder.path());
    fails(
        &wsp(["show", "localhost/demo/wep:1.22", "--store", &dir]),
        1,
        &["no profile of", "localhost/demo/web:1.22"],
    );
    fails(&wsp(["show", "not an image", "--store", &dir]), 1, &["not an image", "is not an image reference"]);
    fails(
        &wsp(["show", "localhost/demo/web:1.22", "--revision", "7", "--store", &dir]),
        1,
        &["no revision 7"],
    );
    fails(&wsp(["sql", "select nope from nodes", "--store", &dir]), 1, &["nope"]);
    fails(&wsp(["sql", "drop view nodes", "--store", &dir]), 1, &["DROP VIEW is not allowed"]);
    fails(&wsp(["sql", "copy nodes to '/tmp/x.csv'", "--store", &dir]), 1, &["COPY is not allowed"]);
    fails(&wsp(["sql", "-f", "/no/such.sql", "--store", &dir]), 1, &["/no/such.sql"]);
    fails(&wsp(["merge", "--learning-time", "two days", "--store", &dir]), 2, &["as in 48h"]);
    fails(&wsp(["show", "a:1", "--min-commonality", "nan", "--store", &dir]), 2, &["from 0 to 1"]);
    let few = wsp([
        "show",
        "localhost/demo/web:1.22",
        "--store",
        &dir,
        "--format",
        "csv",
        "--min-commonality",
        "0.9",
    ])
    .ok();
    let all = wsp(["show", "localhost/demo/web:1.22", "--store", &dir, "--format", "csv"]).ok();
    assert!(few.lines().count() < all.lines().count());
    fails(&wsp(["nonsense"]), 2, &["nonsense"]);
}

#[test]
fn the_gallery_is_quarantined_and_the_rest_merges() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store").display().to_string();
    let _ = run(
        "wsp-datasets",
        [
            "generate",
            "--images",
            "1",
            "--containers",
            "2",
            "--snapshots",
            "1",
            "--seed",
            "3",
            "--store",
            &dir,
        ],
    )
    .ok();
    let _ = run("wsp-datasets", ["hostile", "--store", &dir]).ok();
    let merged = wsp(["merge", "--json", "--store", &dir]);
    assert_eq!(merged.code, 3, "{}", merged.stderr);
    let report: serde_json::Value = serde_json::from_str(&merged.stdout).unwrap();
    let quarantined = report["quarantined"].as_array().unwrap();
    assert!(quarantined.len() >= 8, "{report}");
    assert!(report["admitted"].as_u64().unwrap() >= 2, "{report}");
    for problem in quarantined {
        let object = problem["object"].as_str().unwrap();
        let reason =
            std::fs::read_to_string(Path::new(&dir).join(format!("quarantine/{object}.reason.txt"))).unwrap();
        assert_eq!(reason.trim_end(), problem["reason"].as_str().unwrap());
        assert!(Path::new(&dir).join("quarantine").join(object).exists(), "{object}");
        assert!(!Path::new(&dir).join(object).exists(), "{object}");
    }
    every_specimen_came_out_as_its_label_says(&dir);
    // Hostile names are in the tables, and a terminal never sees their control characters.
    let shown = wsp(["sql", "select target from nodes", "--store", &dir]).ok();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    let again = wsp(["merge", "--json", "--store", &dir]);
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(
        (again["admitted"].as_u64(), again["quarantined"].as_array().unwrap().len()),
        (Some(0), 0),
        "{again}"
    );
}

fn every_specimen_came_out_as_its_label_says(dir: &str) {
    let labels = std::fs::read_to_string(Path::new(dir).join("truth/hostile.json")).unwrap();
    let labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
    let rows =
        wsp(["sql", "select object_key, outcome from snapshots", "--store", dir, "--format", "json"]).ok();
    let rows: serde_json::Value = serde_json::from_str(&rows).unwrap();
    let found = rows.as_array().unwrap().iter();
    let found: std::collections::BTreeMap<&str, &str> =
        found.map(|row| (row["object_key"].as_str().unwrap(), row["outcome"].as_str().unwrap())).collect();
    for label in labels.as_array().unwrap() {
        let (name, key) = (&label["name"], label["key"].as_str().unwrap());
        assert_eq!(found.get(key).copied(), label["outcome"].as_str(), "{name}");
    }
}
