//! `wsp diff` and `wsp backtest` over a simulated fleet and the recordings, against a plain count over the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow::array::AsArray as _;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use wsp_datasets::{Fleet, FleetSpec, TruthOption, WriteOptions, write_fleet};
use wsp_schemas::snapshot::{Limits, decode};
use wsp_schemas::store::{Missing, open};
use wsp_tests::program::{Ended, wsp};

fn fails(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, code, "stdout: {}\nstderr: {}", ended.stdout, ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "`{part}` is not in: {}", ended.stderr);
    }
}

fn fleet(folder: &Path, spec: FleetSpec) -> String {
    let dir = folder.join("fleet").display().to_string();
    let store = open(&dir, Missing::Create).unwrap();
    let fleet = Fleet::new(spec).unwrap();
    let options = WriteOptions { jobs: 2, truth: TruthOption::Skip };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(write_fleet(&fleet, &store, &options, |_| {})).unwrap();
    dir
}

fn rows(ended: Ended) -> Vec<Value> {
    match serde_json::from_str(&ended.ok()).unwrap() {
        Value::Array(rows) => rows,
        other => panic!("no array: {other}"),
    }
}

/// Every file below a folder, with its bytes and the time of its last change.
fn files(folder: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            found.insert(path.display().to_string(), (std::fs::read(&path).unwrap(), changed));
        }
    }
    found
}

/// A decoded snapshot, as far as counting needs it.
struct Decoded {
    container: (String, String),
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    nodes: BTreeSet<Vec<u8>>,
}

/// All snapshots by image, in the order of their window ends.
fn decoded(store: &Path) -> BTreeMap<String, Vec<Decoded>> {
    let mut found: BTreeMap<String, Vec<(String, Decoded)>> = BTreeMap::new();
    for (bytes, _) in files(&store.join("snapshots")).into_values() {
        let read = decode(bytes.into(), &Limits::default()).unwrap();
        let ids = read.rows.column_by_name("node_id").unwrap().as_fixed_size_binary();
        let snapshot = Decoded {
            container: (read.meta.host.clone(), read.meta.container.id.clone()),
            start: read.meta.window_start,
            end: read.meta.window_end,
            nodes: ids.iter().flatten().map(<[u8]>::to_vec).collect(),
        };
        let image = read.meta.image.workload.unwrap().to_string();
        found.entry(image).or_default().push((read.meta.id.to_string(), snapshot));
    }
    let in_order = |mut snapshots: Vec<(String, Decoded)>| {
        snapshots.sort_by(|(a_id, a), (b_id, b)| (a.end, a_id).cmp(&(b.end, b_id)));
        snapshots.into_iter().map(|(_, snapshot)| snapshot).collect()
    };
    found.into_iter().map(|(image, snapshots)| (image, in_order(snapshots))).collect()
}

fn close(row: &Value, name: &str, expected: Option<f64>) {
    match (row[name].as_f64(), expected) {
        (Some(found), Some(expected)) => {
            assert!((found - expected).abs() < 1e-9, "{name}: {expected} expected in {row}");
        }
        (found, expected) => assert_eq!(found, expected, "{name} of {row}"),
    }
}

/// Counts one row of a backtest again, with maps over the decoded files.
fn recount(row: &Value, snapshots: &[Decoded]) {
    let at = row["at"].as_u64().unwrap();
    let prefix = if row["threshold"] == "hours" {
        let limit = snapshots[0].start + TimeDelta::hours(i64::try_from(at).unwrap());
        snapshots.iter().filter(|snapshot| snapshot.end <= limit).count()
    } else {
        snapshots.len().min(usize::try_from(at).unwrap())
    };
    let (learned, after) = snapshots.split_at(prefix);
    let known: BTreeSet<&Vec<u8>> = learned.iter().flat_map(|snapshot| &snapshot.nodes).collect();
    let all: BTreeSet<&Vec<u8>> = snapshots.iter().flat_map(|snapshot| &snapshot.nodes).collect();
    let containers: BTreeSet<_> = learned.iter().map(|snapshot| &snapshot.container).collect();
    let hosts: BTreeSet<_> = learned.iter().map(|snapshot| &snapshot.container.0).collect();
    let mut later: BTreeMap<_, BTreeSet<&Vec<u8>>> = BTreeMap::new();
    for snapshot in after.iter().filter(|snapshot| !containers.contains(&snapshot.container)) {
        later.entry(&snapshot.container).or_default().extend(&snapshot.nodes);
    }
    for (name, expected) in [
        ("snapshots", prefix),
        ("containers", containers.len()),
        ("hosts", hosts.len()),
        ("nodes", known.len()),
        ("missed_nodes", all.len() - known.len()),
        ("later_containers", later.len()),
    ] {
        assert_eq!(row[name].as_u64(), Some(expected as u64), "{name} of {row}");
    }
    let novel = |nodes: &BTreeSet<&Vec<u8>>| nodes.difference(&known).count() as f64;
    let mean = |value: &dyn Fn(&BTreeSet<&Vec<u8>>) -> f64| {
        (!later.is_empty()).then(|| later.values().map(value).sum::<f64>() / later.len() as f64)
    };
    close(row, "observed_coverage", mean(&|nodes| 1.0 - novel(nodes) / nodes.len() as f64));
    close(row, "novel_nodes", mean(&novel));
    close(row, "novel_containers", mean(&|nodes| f64::from(u8::from(novel(nodes) > 0.0))));
}

#[test]
fn a_backtest_counts_what_the_files_hold_and_changes_none() {
    let folder = tempfile::tempdir().unwrap();
    let spec =
        FleetSpec { seed: 21, images: 2, versions: 1, containers: 14, snapshots: 3, ..FleetSpec::default() };
    let dir = fleet(folder.path(), spec);
    // Frozen after 10 snapshots: history goes on behind that.
    let _ = wsp(["merge", "--max-snapshots", "10", "--store", &dir]);
    let before = files(Path::new(&dir));
    let svg = folder.path().join("curves.svg");
    let svg = svg.to_str().unwrap();
    let found = rows(wsp([
        "backtest",
        "--fold-after",
        "0",
        "--store",
        &dir,
        "--snapshots",
        "30,5,1,100",
        "--hours",
        "2,12,500",
        "--svg",
        svg,
        "--format",
        "json",
    ]));
    assert!(files(Path::new(&dir)) == before, "a file of the store was changed, made or removed");

    let snapshots = decoded(Path::new(&dir));
    assert_eq!((found.len(), snapshots.len()), (14, 2));
    for row in &found {
        recount(row, &snapshots[row["image"].as_str().unwrap()]);
    }
    let reached = |threshold: &str, at: u64| {
        let row = found.iter().find(|row| row["threshold"] == threshold && row["at"] == at).unwrap();
        row["reached"].as_bool().unwrap()
    };
    assert!(
        reached("snapshots", 30)
            && !reached("snapshots", 100)
            && reached("hours", 12)
            && !reached("hours", 500)
    );
    assert!(found.iter().any(|row| row["observed_coverage"].as_f64().is_some_and(|share| share < 1.0)));

    let drawn = std::fs::read_to_string(svg).unwrap();
    for expected in
        ["<svg", "prefers-color-scheme: dark", "snapshots learned from", "mean, predicted", "<polyline"]
    {
        assert!(drawn.contains(expected), "{expected} is not in {drawn}");
    }
    assert!(!drawn.contains("<script"));

    // One image, named: the same rows.
    let image = found[0]["image"].as_str().unwrap();
    let one = rows(wsp([
        "backtest",
        image,
        "--fold-after",
        "0",
        "--store",
        &dir,
        "--snapshots",
        "1,5,30,100",
        "--hours",
        "2,12,500",
        "--format",
        "json",
    ]));
    assert_eq!(one, found[..7]);
    let table = wsp(["backtest", image, "--store", &dir]).ok();
    assert!(table.contains(image) && table.contains("a new container shows"), "{table}");
}

#[test]
fn a_backtest_needs_no_merge_and_says_where_nothing_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    let store = open(&dir, Missing::Create).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(wsp_datasets::recordings::copy_to(&store)).unwrap();
    let found = rows(wsp(["backtest", "--fold-after", "0", "--store", &dir, "--format", "json"]));
    let snapshots = decoded(folder.path());
    for row in &found {
        recount(row, &snapshots[row["image"].as_str().unwrap()]);
    }
    assert!(!folder.path().join("tables").exists());
    let said = wsp(["backtest", "localhost/demo/jobs:1", "--store", &dir]).ok();
    assert!(said.contains("no new one to judge by") && !said.contains("demo/web"), "{said}");
    fails(
        &wsp(["backtest", "nope:1", "--store", &dir]),
        1,
        &["no snapshots of docker.io/library/nope:1", "hint:"],
    );
}

#[test]
fn what_cannot_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    fails(&wsp(["backtest", "--store", dir]), 1, &["has no snapshots", "wsp-capture"]);
    fails(&wsp(["backtest", "a:1", "--store", dir]), 1, &["has no snapshots"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    for (option, value) in
        [("--snapshots", "0"), ("--snapshots", "5,many"), ("--hours", "0"), ("--hours", "-1")]
    {
        let argument = format!("{option}={value}");
        fails(&wsp(["backtest", &argument, "--store", dir]), 2, &[option]);
    }
    fails(&wsp(["backtest", "not an image", "--store", dir]), 1, &["is not an image reference"]);
}

#[test]
fn damaged_snapshots_are_left_out_and_stay_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let spec = FleetSpec {
        seed: 3,
        images: 1,
        versions: 1,
        containers: 3,
        snapshots: 1,
        ..FleetSpec::undisturbed()
    };
    let dir = fleet(folder.path(), spec);
    let first = files(&Path::new(&dir).join("snapshots")).into_keys().next().unwrap();
    std::fs::write(&first, b"no Parquet").unwrap();
    let before = files(Path::new(&dir));
    let said = wsp(["backtest", "--store", &dir]);
    assert_eq!(said.code, 3, "{}", said.stderr);
    assert!(said.stdout.contains("unreadable snapshots, left out: 1"), "{}", said.stdout);
    assert!(files(Path::new(&dir)) == before);
}

#[test]
fn a_diff_of_the_recordings_finds_what_the_new_tag_does() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let _ = wsp(["demo", "--dir", dir]).ok();
    let (old, new) = ("localhost/demo/web:1.22", "localhost/demo/web:1.24");
    let forth = rows(wsp(["diff", old, new, "--store", dir, "--format", "json"]));
    let back = rows(wsp(["diff", new, old, "--store", dir, "--format", "json"]));
    let of = |rows: &[Value], change: &str| -> BTreeSet<String> {
        let rows = rows.iter().filter(|row| row["change"] == change);
        rows.map(|row| row["node_id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(!of(&forth, "gained").is_empty() && !of(&forth, "lost").is_empty());
    assert_eq!((of(&forth, "gained"), of(&forth, "lost")), (of(&back, "lost"), of(&back, "gained")));

    // By the node ids of the files alone.
    let snapshots = decoded(folder.path());
    let ids = |image: &str| -> BTreeSet<String> {
        let hex = |id: &Vec<u8>| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        snapshots[image].iter().flat_map(|snapshot| &snapshot.nodes).map(hex).collect()
    };
    assert_eq!(of(&forth, "gained"), ids(new).difference(&ids(old)).cloned().collect());
    assert_eq!(of(&forth, "lost"), ids(old).difference(&ids(new)).cloned().collect());
    for row in &forth {
        let (chance, certain) = (row["chance"].as_f64().unwrap(), row["certain"].as_bool().unwrap());
        assert!((0.0..=1.0).contains(&chance) && certain == (chance < 0.05), "{row}");
    }
    let watcher = forth.iter().find(|row| row["target"].as_str().unwrap().contains("config-watcher"));
    assert_eq!(watcher.map(|row| (&row["change"], &row["certain"])), Some((&"gained".into(), &true.into())));

    let said = wsp(["diff", old, new, "--store", dir]).ok();
    for expected in [
        "still learning",
        "B has 4 containers",
        "gained",
        "certain: chance",
        "perhaps: chance",
        "/docker-entrypoint.sh ›",
    ] {
        assert!(said.contains(expected), "{expected} is not in\n{said}");
    }
    let parquet = wsp_tests::program::command("wsp")
        .args(["diff", old, new, "--store", dir, "--format", "parquet"])
        .output()
        .unwrap();
    assert!(parquet.stdout.starts_with(b"PAR1") && parquet.stdout.ends_with(b"PAR1"));

    fails(&wsp(["diff", old, "localhost/demo/wep:1.24", "--store", dir]), 1, &["no profile of", new]);
    fails(&wsp(["diff", old, "--store", dir]), 2, &["IMAGE:TAG-B"]);
    fails(&wsp(["diff", old, old, "--store", dir]), 1, &["nothing to compare", "--revisions"]);
    fails(&wsp(["diff", old, "--revisions", "1,2", "--store", dir]), 1, &["no revision 2"]);
    fails(&wsp(["diff", old, "--revisions", "1", "--store", dir]), 2, &["as in 1,2"]);
    fails(&wsp(["diff", old, new, "--min-change", "2", "--store", dir]), 2, &["from 0 to 1"]);
}
