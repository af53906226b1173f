//! What a merge takes of a machine: memory, and open files.

use std::process::Stdio;
use std::time::Duration;

use chrono::TimeDelta;
use datafusion::error::DataFusionError;
use wsp_analyze::jobs::merge::{MergeError, Options};
use wsp_analyze::session::Resources;
use wsp_datasets::{Fleet, FleetSpec};
use wsp_schemas::store::Store;
use wsp_tests::delta::Tables;
use wsp_tests::oracle::{Object, Settings};
use wsp_tests::program::{Ended, path, run};

use super::{block_on, faulty, merge, options, upload};

const MIB: usize = 1 << 20;

fn objects(fleet: &Fleet) -> Vec<Object> {
    let object = |snapshot: wsp_datasets::Snapshot| Object {
        key: snapshot.key.path(),
        bytes: snapshot.encode().unwrap().into(),
        stored: snapshot.meta.window_end + TimeDelta::minutes(1),
    };
    fleet.snapshots().map(object).collect()
}

async fn filled(objects: &[Object]) -> Store {
    let store = faulty().store();
    for object in objects {
        upload(&store, object).await;
    }
    store
}

/// A merge that has too little memory ends with an error and leaves the store to one that has more; one that has enough makes
/// the same tables as one without a limit.
#[test]
fn a_limit_of_memory_changes_no_table() {
    let spec = FleetSpec {
        images: 2,
        versions: 2,
        containers: 10,
        snapshots: 4,
        nodes: 500,
        ..FleetSpec::default()
    };
    let fleet = Fleet::new(spec).unwrap();
    let objects = objects(&fleet);
    let plain = options(&Settings { max_snapshots: 30, ..Settings::DEFAULT }, fleet.spec().start);
    let told = |memory: Option<usize>, partitions: usize| Options {
        resources: Resources { partitions, memory, spill: None },
        ..plain.clone()
    };
    block_on(async {
        let store = filled(&objects).await;
        merge(&store, &told(None, 2)).await.unwrap();
        let expected = Tables::read(&store).await.unwrap();
        assert!(expected.nodes.len() > 1000, "{} rows fit anywhere", expected.nodes.len());
        let mut refused = 0;
        for (mib, partitions) in [(1, 1), (1, 3), (8, 2), (24, 1), (64, 2), (96, 3)] {
            let store = filled(&objects).await;
            match merge(&store, &told(Some(mib * MIB), partitions)).await {
                Ok(_) => {}
                Err(MergeError::Engine(error))
                    if mib < 64 && matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) =>
                {
                    refused += 1;
                    assert_eq!(Tables::read(&store).await.unwrap(), Tables::default(), "{mib} MiB");
                    merge(&store, &plain).await.unwrap();
                }
                Err(error) => panic!("{mib} MiB, {partitions} partitions: {error:?}"),
            }
            if let Some(text) = expected.differences(&Tables::read(&store).await.unwrap(), &[]) {
                panic!("{mib} MiB, {partitions} partitions\n{text}");
            }
        }
        println!("{refused} of 6 limits were too low");
    });
}

/// What a program held at most while it ran.
#[derive(Debug, Default)]
struct Peak {
    files: usize,
    /// Resident memory, in KiB.
    resident: usize,
}

/// Merges a fleet of small files as a program that may open no more than `most` files.
fn merge_small_files(workloads: usize, most: u32) -> (usize, Peak) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let images = workloads.to_string();
    #[rustfmt::skip]
    let _ = run("wsp-datasets", [
        "generate", "--store", store, "--images", &images, "--versions", "1", "--containers", "20", "--snapshots", "10",
        "--nodes", "1", "--late-share", "0", "--lossy-share", "0", "--attack-share", "0", "--no-truth",
    ]).ok();
    // The shell becomes the program, so that it has the process id that is looked at.
    let limited = format!("ulimit -n {most}; exec \"$0\" \"$@\"");

    let child = std::process::Command::new("sh")
        .args(["-c", &limited])
        .arg(path("wsp"))
        .args(["merge", "--store", store, "--as-of", "2026-11-02", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let own = format!("/proc/{}", child.id());
    let watched = std::thread::spawn(move || {
        let mut peak = Peak::default();
        while let (Ok(files), Ok(status)) =
            (std::fs::read_dir(format!("{own}/fd")), std::fs::read_to_string(format!("{own}/status")))
        {
            peak.files = peak.files.max(files.count());
            let resident =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
            // A program that has ended has none.
            let Some(resident) = resident else { break };
            peak.resident = peak.resident.max(resident.parse().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    let ended: Ended = child.wait_with_output().unwrap().into();
    let report: serde_json::Value = serde_json::from_str(&ended.ok()).unwrap();
    (usize::try_from(report["admitted"].as_u64().unwrap()).unwrap(), watched.join().unwrap())
}

#[test]
fn open_files_are_bounded() {
    let (admitted, peak) = merge_small_files(10, 64);
    println!("{admitted} files: {peak:?}");
    assert_eq!(admitted, 2000);
    assert!((5..64).contains(&peak.files), "{peak:?}");
}

#[test]
#[ignore = "100,000 files: minutes, and 1.2 GB below the temporary folder"]
fn open_files_and_memory_are_bounded_for_many_files() {
    let (admitted, peak) = merge_small_files(500, 256);
    println!("{admitted} files: {peak:?}");
    assert_eq!(admitted, 100_000);
    assert!(peak.files < 256 && peak.resident < 2 << 20, "{peak:?}");
}
