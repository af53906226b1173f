//! Recordings that others made with Kubescape, imported and merged. The measure of the path rules: one image by digest in
//! 31 clusters, raw and after them.
//!
//! The recordings are not ours to ship: they are looked for in `WSP_SHARED_DATA`, else beside the repository. Without them
//! the tests say so and pass; the importer's own tests need none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::AsArray as _;
use bytes::Bytes;
use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use wsp_schemas::snapshot::{Limits, decode};
use wsp_tests::program::{root, wsp};

/// The folder of recordings, or none, loudly.
fn recordings(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("WSP_SHARED_DATA").map(PathBuf::from);
    let folder = shared.unwrap_or_else(|| root().join("../shared/data")).join(name);
    if !folder.is_dir() {
        let mut err = std::io::stderr().lock();
        let _ = std::io::Write::write_fmt(
            &mut err,
            format_args!(
                "SKIPPED: no recordings in {}; WSP_SHARED_DATA names their folder\n",
                folder.display()
            ),
        );
        return None;
    }
    Some(folder)
}

/// Imports a folder; gives the report.
fn import(folder: &Path, store: &str, more: &[&str]) -> Value {
    let folder = folder.display().to_string();
    let arguments = ["import", "kubescape", &folder, "--store", store, "--json"];
    serde_json::from_str(&wsp(arguments.iter().chain(more)).ok()).unwrap()
}

fn query(store: &str, sql: &str) -> Vec<Value> {
    serde_json::from_str(&wsp(["sql", sql, "--store", store, "--format", "json"]).ok()).unwrap()
}

/// Distinct things, those of one container only, and the mean share of the containers that have one.
#[derive(Debug, PartialEq)]
struct Spread {
    distinct: usize,
    singletons: usize,
    mean: f64,
}

impl Spread {
    fn of(sets: &[BTreeSet<String>]) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for thing in sets.iter().flatten() {
            *counts.entry(thing).or_default() += 1;
        }
        let share = |count: &usize| *count as f64 / sets.len() as f64;
        Self {
            distinct: counts.len(),
            singletons: counts.values().filter(|count| **count == 1).count(),
            mean: counts.values().map(share).sum::<f64>() / counts.len() as f64,
        }
    }
}

/// The paths of the opens of a recording as they stand in its text, read without a parser.
fn raw_opens(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .skip_while(|line| line.trim() != "opens:")
        .take_while(|line| line.trim() != "rulePolicies:")
        .filter_map(|line| line.trim().strip_prefix("path: ").map(str::to_owned))
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The file nodes of every snapshot of a store: id and path.
fn file_nodes(store: &Path) -> Vec<BTreeMap<String, String>> {
    let mut folders = vec![store.join("snapshots")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in files(&folder) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let read = decode(Bytes::from(std::fs::read(path).unwrap()), &Limits::default()).unwrap();
            let (ids, paths) =
                (read.rows["node_id"].as_fixed_size_binary(), read.rows["path"].as_string::<i32>());
            let nodes = (0..read.rows.num_rows()).filter(|row| !arrow::array::Array::is_null(paths, *row));
            found.push(
                nodes.map(|row| (format!("{:02x?}", ids.value(row)), paths.value(row).to_owned())).collect(),
            );
        }
    }
    found
}

#[test]
fn path_rules_make_one_image_look_alike_in_31_clusters() {
    let Some(recorded) = recordings("kubescape-redis") else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let report = import(&recorded, store, &[]);
    assert_eq!((&report["written"], &report["failed"]), (&31.into(), &Value::Array(Vec::new())));
    let again = import(&recorded, store, &[]);
    assert_eq!((&again["written"], &again["present"]), (&0.into(), &31.into()));
    let _ = wsp(["merge", "--store", store]).ok();

    let raw: Vec<BTreeSet<String>> = files(&recorded).iter().map(|file| raw_opens(file)).collect();
    let raw = Spread::of(&raw);
    assert_eq!((raw.distinct, raw.singletons), (127, 93), "{raw:?}");
    assert!((raw.mean - 0.26).abs() < 0.005, "{raw:?}");

    let profiles = query(store, "select image_tag, snapshot_count, container_count from profiles");
    assert_eq!(profiles.len(), 1, "{profiles:?}");
    assert_eq!((&profiles[0]["snapshot_count"], &profiles[0]["container_count"]), (&31.into(), &31.into()));
    let kinds = query(
        store,
        "select kind, count(*) as n, avg(commonality) as mean, sum(cast(rare as int)) as singletons from nodes group by kind",
    );
    let kind =
        |name: &str| kinds.iter().find(|row| row["kind"] == name).unwrap_or_else(|| panic!("{kinds:?}"));
    let ruled = kind("file");
    assert!(ruled["n"].as_u64().unwrap() <= 37, "{ruled}");
    assert_eq!(ruled["singletons"], 0, "{ruled}");
    assert!(ruled["mean"].as_f64().unwrap() >= 0.89, "{ruled}");
    for name in ["process", "capability"] {
        assert_eq!(kind(name)["mean"], 1.0, "{}", kind(name));
    }
    // The merge counts what the files say.
    let nodes = file_nodes(folder.path());
    let paths: Vec<BTreeSet<String>> = nodes.iter().map(|nodes| nodes.values().cloned().collect()).collect();
    let counted = Spread::of(&paths);
    assert_eq!(counted.distinct as u64, ruled["n"].as_u64().unwrap());
    assert!((counted.mean - ruled["mean"].as_f64().unwrap()).abs() < 1e-9, "{counted:?} {ruled}");
}

#[test]
fn clusters_can_be_named_by_their_files() {
    let Some(recorded) = recordings("kubescape-redis") else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let _ = import(&recorded, store, &["--cluster-from", "file-name"]);
    let _ = wsp(["merge", "--store", store]).ok();
    let profiles = query(store, "select host_count, container_count from profiles");
    assert_eq!((&profiles[0]["host_count"], &profiles[0]["container_count"]), (&31.into(), &31.into()));
}

/// Trained on one half of the clusters, tested on the other, 200 times. Where something is new, it is what Kubescape has
/// two names for: it replaces a part of a path by `⋯` where it saw many of its siblings, which it did in most of the
/// clusters, so that one file is `/proc/sys/vm/overcommit_memory` here and `/proc/⋯/vm/overcommit_memory` there.
#[test]
fn half_of_the_clusters_foretell_the_other_half() {
    let Some(recorded) = recordings("kubescape-redis") else { return };
    let folder = tempfile::tempdir().unwrap();
    let _ = import(&recorded, folder.path().to_str().unwrap(), &[]);
    let mut snapshots = file_nodes(folder.path());
    let plain =
        |snapshot: &BTreeMap<String, String>| snapshot.values().any(|path| path == "/proc/filesystems");
    let (mut surprised, mut tested) = (0, 0);
    for seed in 0..200 {
        snapshots.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let (train, test) = snapshots.split_at(snapshots.len() / 2);
        let known: BTreeSet<&String> = train.iter().flat_map(BTreeMap::keys).collect();
        let patterns: BTreeSet<&String> = train.iter().flat_map(BTreeMap::values).collect();
        // Only then nothing of the first half has the names without `⋯`.
        let all_plain_are_tested = !train.iter().any(plain);
        for snapshot in test {
            let novel: Vec<&String> =
                snapshot.iter().filter(|(id, _)| !known.contains(id)).map(|(_, path)| path).collect();
            assert_eq!(!novel.is_empty(), all_plain_are_tested && plain(snapshot), "seed {seed}: {novel:?}");
            for path in &novel {
                assert!(patterns.iter().any(|pattern| stands_for(pattern, path)), "seed {seed}: {path}");
            }
            surprised += usize::from(!novel.is_empty());
            tested += 1;
        }
    }
    println!(
        "{surprised} of {tested} tested containers had file nodes that are new by name; none is new by pattern"
    );
    assert!(surprised * 100 < tested, "{surprised} of {tested}");
}

/// True where a path of Kubescape, with `⋯` for any one part, stands for another.
fn stands_for(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "⋯" => {}
            _ => return false,
        }
    }
}

#[test]
fn internal_objects_are_imported_or_say_why_not() {
    let Some(recorded) = recordings("kubescape-profiles") else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let report = import(&recorded, store, &[]);
    assert_eq!(report["failed"], Value::Array(Vec::new()), "{report}");
    assert_eq!((&report["objects"], &report["written"]), (&12.into(), &9.into()), "{report}");
    let skipped = report["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 3, "{report}");
    assert!(skipped.iter().all(|skipped| skipped["reason"] == "nothing is recorded in it"), "{report}");
    let _ = wsp(["merge", "--store", store]).ok();
    let profiles =
        query(store, "select image_name, snapshot_count, container_count from profiles order by image_name");
    let found: Vec<(&str, u64, u64)> = profiles
        .iter()
        .map(|row| {
            let count = |name: &str| row[name].as_u64().unwrap();
            (row["image_name"].as_str().unwrap(), count("snapshot_count"), count("container_count"))
        })
        .collect();
    assert_eq!(
        found,
        [
            ("docker.io/library/nginx", 1, 1),
            // Two series of three reports.
            ("gcr.io/google-samples/microservices-demo/adservice", 6, 2),
            ("registry.k8s.io/coredns/coredns", 2, 2),
        ]
    );
}

#[test]
fn what_fails_is_told_with_the_right_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (bad, good, store) = (path("bad.yaml"), path("good.json"), path("store"));
    std::fs::write(&bad, "kind: ApplicationProfile\nmetadata: {name: \"evil\\u001b[31m\"}\nspec: {}\n")
        .unwrap();
    std::fs::write(
        &good,
        r#"{"kind": "ContainerProfile", "metadata": {"name": "x", "creationTimestamp": "2025-08-11T19:43:33Z"},
            "spec": {"imageTag": "nginx:1.25", "opens": [{"path": "/etc/hosts", "flags": ["O_RDONLY"]}]}}"#,
    )
    .unwrap();
    let both = wsp(["import", "kubescape", &bad, &good, "--store", &store]);
    assert_eq!(both.code, 3, "{both:?}");
    assert!(both.stdout.contains("1 snapshots written"), "{both:?}");
    assert!(both.stdout.contains("bad.yaml: ApplicationProfile evil\\u{1b}[31m"), "{both:?}");
    assert!(both.stdout.contains("creationTimestamp"), "{both:?}");
    let none = wsp(["import", "kubescape", &bad, "--store", &store]);
    assert_eq!(none.code, 1, "{none:?}");
    assert!(none.stderr.contains("nothing was imported"), "{none:?}");
    // Its status is not told: lossy, so that it adds nodes and counts for nothing.
    let merged = wsp(["merge", "--store", &store]);
    assert_eq!(merged.code, 3, "{merged:?}");
    assert_eq!(query(&store, "select path from nodes")[0]["path"], "/etc/hosts");
}
