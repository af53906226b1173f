//! Invariants of ARCHITECTURE.md that a test can hold.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use wsp_tests::program::{finish, root};

fn dependencies(package: &str, extra: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root())
        .args([
            "tree",
            "--offline",
            "--locked",
            "-e",
            "normal",
            "--prefix",
            "none",
            "-f",
            "{p}",
            "-p",
            package,
        ])
        .args(extra);
    let names = finish(&mut command).ok();
    names.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn schemas_do_no_io() {
    let found = dependencies("wsp-schemas", &[]);
    for unwanted in ["tokio", "object_store", "datafusion", "reqwest"] {
        assert!(!found.contains(unwanted), "wsp-schemas depends on {unwanted}");
    }
}

#[test]
fn capture_and_analyze_meet_in_stored_bytes_only() {
    assert!(!dependencies("wsp-capture", &["--all-features"]).contains("wsp-analyze"));
    let analyze = dependencies("wsp-analyze", &["--all-features"]);
    assert!(!analyze.contains("wsp-capture") && !analyze.contains("aya"));
    assert!(!dependencies("wsp-capture", &["--all-features"]).contains("datafusion"));
}

#[test]
fn the_second_engine_is_of_the_tests_only() {
    for package in ["wsp-schemas", "wsp-capture", "wsp-analyze", "wsp-datasets"] {
        let found = dependencies(package, &["--all-features"]);
        assert!(!found.iter().any(|name| name.starts_with("polars")), "{package} links polars");
    }
    assert!(dependencies("wsp-tests", &[]).contains("polars"));
    // An oracle that shares code with what it judges says nothing.
    assert!(!dependencies("wsp-tests", &[]).contains("wsp-analyze"));
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// Source files of the product, without their tests.
fn product(packages: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in packages {
        sources(&root().join(package).join("src"), &mut found);
    }
    found.retain(|(path, _)| {
        !path.ends_with("tests.rs") && !path.contains("/tests/") && !path.ends_with("fixture.rs")
    });
    assert!(found.len() > 20);
    found
}

#[test]
fn no_object_key_is_built_outside_schemas() {
    for (path, text) in product(&["capture", "analyze"]) {
        for part in ["\"snapshots/", "\"quarantine/", "\"tables/", "date={", "hour={"] {
            assert!(!text.contains(part), "{path} builds an object key: {part}");
        }
    }
}

#[test]
fn the_layout_is_the_one_of_the_design() {
    let allowed: BTreeSet<&str> = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "LICENSE",
        "deny.toml",
        "clippy.toml",
        "rustfmt.toml",
        "schemas",
        "capture",
        "analyze",
        "notebooks",
        "tests",
        "datasets",
    ]
    .into();
    let tracked = finish(Command::new("git").current_dir(root()).args(["ls-files"])).ok();
    for top in tracked.lines().filter_map(|path| path.split('/').next()) {
        assert!(top.starts_with('.') || allowed.contains(top), "{top} is not part of the layout");
    }
}
