//! What a merge found stable leaves its slots to others, and is looked at where they leave some.

use std::path::Path;
use std::time::Duration;

use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::{Container, eventually};
use wsp_tests::program::wsp;

use super::{Api, Capture, image, snapshots};

/// How long the daemon takes to see what changed: a window, and some.
const SEEN: Duration = Duration::from_secs(5);
const FOREVER: &str = "while true; do cat /etc/passwd >/dev/null; sleep 0.2; done";

#[test]
fn stable_workloads_leave_their_slots_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let path = folder.path().join("store");
    let store = path.display().to_string();
    let spool = folder.path().join("spool").display().to_string();
    let (learned, learner) = (image("busy-1"), image("tools-1"));
    let daemon = |interval: &str| {
        let mut arguments = vec!["run", "--store", &store, "--profiles", &store, "--spool", &spool];
        arguments.extend(["--runtime-socket", &api.url, "--interval", interval]);
        arguments.extend(["--max-containers", "2", "--start-slots", "1"]);
        Capture::start(&arguments, "capturing")
    };
    let create = |name: &str, image: &str, script: &str| {
        Container::create(name, &["--network=none", image, "/bin/sh", "-c", script])
    };

    // Nobody has merged yet: all learn.
    let capture = daemon("10m");
    let first = create("wsp-stable-first", &learned, "cat /etc/passwd");
    first.start();
    first.wait();
    eventually("the first snapshot is there", || !of(&path, "wsp-stable-first").is_empty());
    let _ = end(capture);
    let _ = wsp(["merge", "--store", &store, "--max-snapshots", "1"]).ok();
    let statuses = ["sql", "select image, status from profiles", "--store", &store, "--format", "csv"];
    assert_eq!(wsp(statuses).ok(), "image,status\nlocalhost/demo/busy:1,stable\n");

    // One slot for what runs already, one for what starts.
    let running = [create("wsp-stable-runs", &learned, FOREVER), create("wsp-learns", &learner, FOREVER)];
    running.iter().for_each(Container::start);
    let capture = daemon("3s");
    let starts = create("wsp-stable-starts", &learned, FOREVER);
    starts.start();
    eventually("the one that learns has had several windows", || of(&path, "wsp-learns").len() >= 3);
    for name in ["wsp-stable-runs", "wsp-stable-starts"] {
        assert_eq!(of(&path, name).len(), 0, "{name}");
    }
    // Nobody wants the slot any more.
    let [runs, learns] = running;
    learns.remove();
    eventually("the stable one is looked at", || !of(&path, "wsp-stable-runs").is_empty());

    let _ = wsp(["profiles", "relearn", "localhost/demo/busy:1", "--store", &store]).ok();
    std::thread::sleep(SEEN);
    let again = create("wsp-stable-again", &learned, FOREVER);
    again.start();
    let from_start = |snapshot: &Verified| snapshot.meta.covers_start;
    eventually("it learns anew, from its start on", || of(&path, "wsp-stable-again").iter().any(from_start));
    drop((runs, starts, again));
    let said = end(capture);
    assert!(said.contains("its workload is stable"), "{said}");
    assert!(said.contains("1 starts of stable workloads skipped"), "{said}");
}

fn of(store: &Path, name: &str) -> Vec<Verified> {
    let mut all = snapshots(store);
    all.retain(|snapshot| snapshot.meta.container.name.as_deref() == Some(name));
    all
}

fn end(capture: Capture) -> String {
    capture.terminate();
    let (status, said) = capture.end();
    assert!(status.success(), "{said}");
    said
}
