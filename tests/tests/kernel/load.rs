//! Under load nothing is lost; and where it is made to lose, the snapshot says of which kind.

use std::collections::BTreeSet;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::Container;
use wsp_tests::program::root;

use super::{Api, Capture, image, lost, of_kind, snapshots, text};

const FILES: usize = 2000;
const NAMES: usize = 200;
const PROGRAMS: i64 = 8000;

#[test]
fn a_storm_of_opens_and_execs_loses_nothing() {
    let snapshot = storm("wsp-storm", &[]);
    assert_eq!(lost(&snapshot), 0, "{:?}", snapshot.meta.lost);
    assert_eq!(opened(&snapshot, "file"), FILES);
    assert_eq!(opened(&snapshot, "name"), NAMES);
    // What was not told again was counted all the same: each file was made once and read fifty times.
    assert_eq!(events(&snapshot, "file", "/tmp/storm/file7"), 51);
    assert_eq!(events(&snapshot, "process", "/tmp/storm/nothing"), PROGRAMS);
}

#[test]
fn a_buffer_that_is_too_small_says_what_is_missing() {
    let snapshot = storm("wsp-storm-small", &["--ring-buffer", "4"]);
    losses_explain(&snapshot, "ring_full");
}

#[test]
fn a_container_that_tells_too_much_is_cut_off_files_before_programs() {
    let snapshot = storm("wsp-storm-shed", &["--max-events", "500"]);
    losses_explain(&snapshot, "shed");
    let shed = |kind: &str| lost_events(&snapshot, kind);
    assert!(shed("open") > 0, "{:?}", snapshot.meta.lost);
}

/// Whatever is missing is of a kind that counts losses.
fn losses_explain(snapshot: &Verified, cause: &str) {
    let lost = &snapshot.meta.lost;
    assert!(!lost.is_empty(), "it was to lose something");
    assert!(lost.iter().all(|loss| loss.cause == cause), "{lost:?}");
    let missing = FILES + NAMES - opened(snapshot, "file") - opened(snapshot, "name");
    assert!(missing == 0 || lost_events(snapshot, "open") >= missing as u64, "{missing} files: {lost:?}");
    let missing = PROGRAMS - events(snapshot, "process", "/tmp/storm/nothing");
    let lost_programs = lost_events(snapshot, "exec") + lost_events(snapshot, "fork");
    assert!(missing <= 0 || lost_programs > 0, "{missing} programs: {lost:?}");
}

fn lost_events(snapshot: &Verified, kind: &str) -> u64 {
    snapshot.meta.lost.iter().filter(|loss| loss.kind == kind).map(|loss| loss.events).sum()
}

/// How many files of a kind of name were opened.
fn opened(snapshot: &Verified, kind: &str) -> usize {
    let paths: BTreeSet<Vec<String>> = of_kind(snapshot, "file", &["path"]);
    let number = |path: &str| path.strip_prefix(&format!("/tmp/storm/{kind}"))?.parse::<usize>().ok();
    paths.iter().filter(|path| number(&path[0]).is_some()).count()
}

/// Events of a node of the storm.
fn events(snapshot: &Verified, kind: &str, what: &str) -> i64 {
    let rows = &snapshot.rows;
    let events = rows["events"].as_primitive::<Int64Type>();
    let column = if kind == "process" { "exe" } else { "path" };
    let is_it = |row: &usize| {
        text(rows, "kind", *row).as_deref() == Some(kind)
            && text(rows, column, *row).as_deref() == Some(what)
            && text(rows, "exe", *row).is_some_and(|exe| exe.starts_with("/tmp/storm/"))
    };
    (0..rows.num_rows()).filter(is_it).map(|row| events.value(row)).sum()
}

fn storm(name: &str, options: &[&str]) -> Verified {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let store = folder.path().join("store");
    let script = root().join("tests/workloads/storm.sh");
    let mounted = format!("{}:/storm.sh:ro", script.display());
    let tools = image("tools-1");
    let container = Container::create(name, &["--network=none", "--volume", &mounted, &tools, "/storm.sh"]);
    container.init();
    let url = store.display().to_string();
    let once = ["once", "--container", name, "--for", "120s", "--store", &url, "--runtime-socket", &api.url];
    let capture = Capture::start(&[&once[..], options].concat(), "capturing");
    container.start();
    let (status, said) = capture.end();
    assert!(matches!(status.code(), Some(0 | 3)), "{status}: {said}");
    let mut all = snapshots(&store);
    assert_eq!(all.len(), 1, "{said}");
    all.remove(0)
}
