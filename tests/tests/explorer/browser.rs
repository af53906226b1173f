//! The same tests that run on made-up pages, on real ones; and the way from a profile to a suppression that works.
//!
//! `tests/run.sh` installs what they need: Chromium from Debian, Playwright from npm, below `target/explorer-tests`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use wsp_tests::program::{self, finish, wsp};

use super::{Explorer, document_at, fleet, sql};

/// Runs a file of `tests/explorer` with Node's test runner.
fn node(file: &str, variables: &[(&str, &str)]) {
    let folder = program::root().join("tests/explorer");
    let packages = folder.join("node_modules");
    assert!(packages.exists(), "{} is missing: `tests/run.sh` installs it", packages.display());
    let mut node = Command::new("node");
    node.args(["--test", "--test-concurrency=1", file]).current_dir(&folder).envs(variables.iter().copied());
    let ended = finish(&mut node);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    // A runner that finds no test is content.
    let passed =
        ended.stdout.lines().find_map(|line| line.strip_prefix("# pass ").or(line.strip_prefix("ℹ pass ")));
    assert!(passed.is_some_and(|passed| passed != "0"), "{}", ended.stdout);
}

fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

#[test]
fn made_up_pages_of_every_kind_work() {
    node("source.test.mjs", &[]);
    node("explorer.test.mjs", &[]);
    node("live.test.mjs", &[]);
}

#[test]
fn made_up_pages_of_every_kind_are_accessible() {
    node("accessibility.test.mjs", &[]);
}

#[test]
fn reports_of_recordings_and_of_a_fleet_work() {
    let place = tempfile::tempdir().unwrap();
    let (demo, demo_pages) = (place.path().join("demo"), place.path().join("demo-pages"));
    let _ = wsp(["demo", "--dir", demo.to_str().unwrap()]).ok();
    report(&demo, &demo_pages);
    let index = document_at(&demo_pages.join("index.html"));
    let profiles = index["page"]["profiles"].as_array().unwrap();
    let newer = profiles.iter().find(|profile| profile["image"] == "localhost/demo/web:1.24").unwrap();
    let (fleet_store, fleet_pages) = (place.path().join("fleet"), place.path().join("fleet-pages"));
    let store = fleet_store.to_str().unwrap();
    fleet(store);
    let _ = wsp(["detect", "--store", store]).ok();
    let _ = wsp(["suppress", "suggest", "--min-coverage", "0.5", "--store", store]).ok();
    report(&fleet_store, &fleet_pages);
    let pages = json!({
        "index": file_url(&demo_pages.join("index.html")),
        "newer": file_url(&demo_pages.join(newer["href"].as_str().unwrap())),
        "noSignals": file_url(&demo_pages.join("signals.html")),
        "signals": file_url(&fleet_pages.join("signals.html")),
    });
    let pages = [("EXPLORER_PAGES", pages.to_string())];
    let pages = pages.each_ref().map(|(name, value)| (*name, value.as_str()));
    node("explorer.test.mjs", &pages);
    node("accessibility.test.mjs", &pages);
}

fn report(store: &Path, to: &Path) {
    let _ = wsp(["report", "--store", store.to_str().unwrap(), "--output", to.to_str().unwrap()]).ok();
}

#[test]
fn what_is_accepted_in_the_browser_the_next_detection_applies() {
    let place = tempfile::tempdir().unwrap();
    let (store_path, kept) = (place.path().join("store"), place.path().join("kept"));
    let store = store_path.to_str().unwrap();
    fleet(store);
    // Some of the snapshots come after the decision.
    let held_back = hold_back(&store_path, &kept);
    let _ = wsp(["detect", "--store", store]).ok();
    let _ = wsp(["suppress", "suggest", "--min-coverage", "0.5", "--store", store]).ok();
    {
        let live = Explorer::start(store, &["--allow-write"]);
        node("walk.test.mjs", &[("EXPLORER_LIVE", &live.address)]);
    }
    let accepted =
        sql(store, "select suppression_id, author, reason from suppressions where state = 'accepted'");
    assert_eq!(accepted.len(), 1, "{accepted:?}");
    assert_eq!(accepted[0]["author"], "ann");
    for (from, to) in held_back {
        std::fs::rename(from, to).unwrap();
    }
    let _ = wsp(["detect", "--rescan", "--store", store]).ok();
    let hidden = sql(
        store,
        "select count(*) as signals from signals where suppressed_by is not null \
         and detected_at > (select max(changed_at) from suppressions where state = 'accepted')",
    );
    assert!(hidden[0]["signals"].as_i64().unwrap() > 0, "{hidden:?}");
}

/// Takes the last sixth of its snapshots out of a store; where each is now, and where it was.
fn hold_back(store: &Path, kept: &Path) -> Vec<(PathBuf, PathBuf)> {
    std::fs::create_dir(kept).unwrap();
    let mut files = Vec::new();
    let mut folders = vec![store.join("snapshots")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let last = files.split_off(files.len() * 5 / 6);
    last.into_iter()
        .map(|path| {
            let now = kept.join(path.file_name().unwrap());
            std::fs::rename(&path, &now).unwrap();
            (now, path)
        })
        .collect()
}
