//! Under load nothing is lost; and where it is made to lose, the snapshot says of which kind, and exactly how much.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::{Container, eventually, podman};
use wsp_tests::program::{finish, root};

use super::{Api, Capture, image, lost, of_kind, snapshots, text};

// What `tests/workloads/storm.c` does.
const FILES: usize = 2000;
const NAMES: usize = 200;
const OPENS_OF_A_FILE: i64 = 51;
const OPENS_OF_A_NAME: i64 = 50;
const OPENS: i64 = 2000 * OPENS_OF_A_FILE + 200 * OPENS_OF_A_NAME;
/// Rounds of four programs: some seconds; and, on two idle cores, more than twenty, at more than 2,000 programs a second.
const ROUNDS: i64 = 2000;
const MANY_ROUNDS: i64 = 15_000;

/// The storm is one itself.
fn programs(rounds: i64) -> i64 {
    4 * rounds + 1
}

#[test]
fn a_storm_of_opens_and_execs_loses_nothing() {
    let snapshot = storm_beside("wsp-storm", MANY_ROUNDS, &[], |_, container, _| container.start());
    assert_eq!(lost(&snapshot), 0, "{:?}", snapshot.meta.lost);
    assert_eq!(snapshot.meta.limits_hit, Vec::<String>::new());
    assert_eq!((opened(&snapshot, "file"), opened(&snapshot, "name")), (FILES, NAMES));
    // What was not told again was counted all the same.
    for (file, opens) in [("file7", OPENS_OF_A_FILE), ("name7", OPENS_OF_A_NAME)] {
        assert_eq!(events(&snapshot, "path", &format!("/storm/{file}")), opens);
    }
    assert_eq!(all_is_told_or_counted(&snapshot), (OPENS, programs(MANY_ROUNDS)));
}

#[test]
fn a_buffer_that_is_too_small_says_what_is_missing() {
    // However fast the reader is: it sleeps while the storm makes its files.
    let options = ["--ring-buffer", "4", "--max-events", "1000000"];
    let snapshot = storm_beside("wsp-storm-small", ROUNDS, &options, |capture, container, place| {
        capture.signal("-STOP");
        container.start();
        let last = place.join(format!("file{}", FILES - 1));
        eventually("the storm has made its files", || last.exists());
        capture.signal("-CONT");
    });
    losses_explain(&snapshot, "ring_full");
}

#[test]
fn a_container_that_tells_too_much_is_cut_off_files_before_programs() {
    let snapshot = storm("wsp-storm-shed", &["--max-events", "500"]);
    losses_explain(&snapshot, "shed");
    assert!(lost_events(&snapshot, "open") > 0, "{:?}", snapshot.meta.lost);
}

#[test]
fn a_window_that_is_full_counts_what_it_leaves_out() {
    let snapshot = storm("wsp-storm-limit", &["--max-nodes", "1000"]);
    losses_explain(&snapshot, "limit");
    assert_eq!(snapshot.meta.limits_hit, ["nodes"]);
    assert_eq!(snapshot.rows.num_rows(), 1000);
}

/// Whatever is missing is of a kind that counts losses, and these are all that is missing: what was told and what was
/// lost is what was done.
fn losses_explain(snapshot: &Verified, cause: &str) {
    let lost = &snapshot.meta.lost;
    assert!(!lost.is_empty(), "it was to lose something");
    assert!(lost.iter().all(|loss| loss.cause == cause && loss.events > 0), "{lost:?}");
    let missing = FILES + NAMES - opened(snapshot, "file") - opened(snapshot, "name");
    let told = all_is_told_or_counted(snapshot);
    println!("{missing} files missing; lost {lost:?}");
    assert!(missing == 0 || lost_events(snapshot, "open") >= missing as u64, "{missing} files: {lost:?}");
    assert_eq!(told, (OPENS, programs(ROUNDS)), "{lost:?}");
}

/// Opens and execs of the storm that are told or counted as repeats, with those that are counted as lost.
fn all_is_told_or_counted(snapshot: &Verified) -> (i64, i64) {
    let of = |kind: &str| i64::try_from(lost_events(snapshot, kind)).unwrap();
    let opens: i64 =
        ["file", "name"].map(|kind| events(snapshot, "path", &format!("/storm/{kind}"))).iter().sum();
    let programs: i64 =
        ["storm", "nothing"].map(|name| events(snapshot, "exe", &format!("/storm/{name}"))).iter().sum();
    (opens + of("open"), programs + of("exec"))
}

fn lost_events(snapshot: &Verified, kind: &str) -> u64 {
    snapshot.meta.lost.iter().filter(|loss| loss.kind == kind).map(|loss| loss.events).sum()
}

/// How many files of a kind of name were opened.
fn opened(snapshot: &Verified, kind: &str) -> usize {
    let paths: BTreeSet<Vec<String>> = of_kind(snapshot, "file", &["path"]);
    let number = |path: &str| path.strip_prefix(&format!("/storm/{kind}"))?.parse::<usize>().ok();
    paths.iter().filter(|path| number(&path[0]).is_some()).count()
}

/// Events of files whose path, or processes whose exe, is this one, or begins so and goes on with a number.
fn events(snapshot: &Verified, column: &str, what: &str) -> i64 {
    let rows = &snapshot.rows;
    let events = rows["events"].as_primitive::<Int64Type>();
    let kind = if column == "exe" { "process" } else { "file" };
    let is_it = |value: String| {
        value.strip_prefix(what).is_some_and(|rest| {
            let exact = what.ends_with(|last: char| last.is_ascii_digit()) || column == "exe";
            rest.is_empty() || (!exact && rest.parse::<u32>().is_ok())
        })
    };
    (0..rows.num_rows())
        .filter(|row| {
            text(rows, "kind", *row).as_deref() == Some(kind) && text(rows, column, *row).is_some_and(is_it)
        })
        .map(|row| events.value(row))
        .sum()
}

/// The folder that the storm runs in.
fn prepare(folder: &Path) {
    let compile = |source: &Path, program: &str| {
        let arguments = ["-O1", "-static", "-o"];
        let _ = finish(Command::new("cc").args(arguments).arg(folder.join(program)).arg(source)).ok();
    };
    compile(&root().join("tests/workloads/storm.c"), "storm");
    let nothing = folder.join("nothing.c");
    std::fs::write(&nothing, "int main(void) { return 0; }\n").unwrap();
    compile(&nothing, "nothing");
    std::fs::write(folder.join("name0"), "").unwrap();
    for number in 1..NAMES {
        std::fs::hard_link(folder.join("name0"), folder.join(format!("name{number}"))).unwrap();
    }
}

fn storm(name: &str, options: &[&str]) -> Verified {
    storm_beside(name, ROUNDS, options, |_, container, _| container.start())
}

/// What the recorder, with these options, says of the storm that is let loose in a container.
fn storm_beside(
    name: &str,
    rounds: i64,
    options: &[&str],
    loose: impl FnOnce(&Capture, &Container, &Path),
) -> Verified {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let (store, place) = (folder.path().join("store"), folder.path().join("storm"));
    std::fs::create_dir(&place).unwrap();
    prepare(&place);
    let mounted = format!("--volume={}:/storm", place.display());
    let fixed = [
        "--network=none",
        "--workdir=/storm",
        &mounted,
        &image("busy-1"),
        "/storm/storm",
        &rounds.to_string(),
    ];
    let container = Container::create(name, &fixed);
    container.init();
    let url = store.display().to_string();
    let once = ["once", "--container", name, "--for", "120s", "--store", &url, "--runtime-socket", &api.url];
    let capture = Capture::start(&[&once[..], options].concat(), "capturing");
    loose(&capture, &container, &place);
    let (status, said) = capture.end();
    assert!(matches!(status.code(), Some(0 | 3)), "{status}: {said}");
    let code = podman(&["inspect", "-f", "{{.State.ExitCode}}", name]).ok();
    assert_eq!(code.trim(), "0", "the storm did not do all of it");
    println!("{name}: {}", podman(&["logs", name]).ok().replace('\n', ", "));
    let mut all = snapshots(&store);
    assert_eq!(all.len(), 1, "{said}");
    all.remove(0)
}
