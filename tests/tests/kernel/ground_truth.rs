//! What strace saw is what the snapshot has, and nothing else is in it.
//!
//! `WSP_GT='IMAGE=FILE …'` runs other workloads, on images that exist.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;

use wsp_schemas::snapshot::Verified;
use wsp_tests::program::{finish, path, root};
use wsp_tests::strace::{Truth, parse};

use super::facts::{of_snapshot, of_truth};
use super::{Api, image, lost, snapshots};

#[test]
fn shell() {
    compare(&image("tools-1"), &workload("shell.sh"));
}

#[test]
fn interpreter() {
    compare(&image("tools-1"), &workload("python.py"));
}

#[test]
fn compiler() {
    compare(&image("tools-1"), &workload("compile.sh"));
}

#[test]
fn package_tool() {
    compare(&image("tools-1"), &workload("package.sh"));
}

#[test]
fn dns() {
    compare(&image("tools-1"), &workload("dns.py"));
}

#[test]
fn network() {
    compare(&image("tools-1"), &workload("network.pl"));
}

#[test]
fn busybox_applets() {
    compare(&image("busy-1"), &workload("busybox.sh"));
}

#[test]
fn workloads_of_others() {
    for pair in std::env::var("WSP_GT").unwrap_or_default().split_whitespace() {
        let (image, file) = pair.split_once('=').expect("WSP_GT is `IMAGE=FILE …`");
        compare(image, Path::new(file));
    }
}

fn workload(name: &str) -> PathBuf {
    root().join("tests/workloads").join(name)
}

fn compare(image: &str, workload: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let api = Api::start(folder.path());
    let script = root().join("tests/ground_truth/run.sh");
    let mut run = Command::new(&script);
    run.arg(image).arg(workload).arg(&out).arg("--").arg(path("wsp-capture"));
    run.args([
        "once",
        "--container",
        "{name}",
        "--for",
        "280s",
        "--store",
        "{out}/store",
        "--runtime-socket",
        &api.url,
    ]);
    let ended = finish(&mut run);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    let trace = std::fs::read(out.join("strace.log")).unwrap();
    let truth = parse(&trace, &std::fs::canonicalize(out.join("rootfs")).unwrap());
    let snapshots = snapshots(&out.join("store"));
    let _ = finish(Command::new(&script).arg("--clean").arg(&out));
    let [snapshot] = snapshots.as_slice() else { panic!("{} snapshots, not one", snapshots.len()) };
    agree(&workload.file_name().unwrap().to_string_lossy(), &truth, snapshot);
}

/// Fails where the snapshot of a container that was recorded from its birth to its end is not what strace saw.
fn agree(name: &str, truth: &Truth, snapshot: &Verified) {
    agree_on(name, truth, snapshot, |_| true);
}

/// The same for some kinds of facts; of the others the snapshot must have none.
pub(super) fn agree_on(name: &str, truth: &Truth, snapshot: &Verified, alive: impl Fn(&str) -> bool) {
    assert_eq!(truth.unresolved, BTreeSet::new());
    assert_eq!(lost(snapshot), 0, "{:?}", snapshot.meta.lost);
    assert!(snapshot.meta.covers_start);

    let (mut was, seen) = (of_truth(truth), of_snapshot(snapshot));
    was.iter_mut().filter(|(what, _)| !alive(what)).for_each(|(_, facts)| facts.clear());
    let differences: usize = was.iter().map(|(what, was)| report(name, what, was, &seen[what])).sum();
    assert_eq!(differences, 0, "{name}: see the differences above");
    assert!(!truth.execs.is_empty() && !truth.files.is_empty());
}

/// Prints both sizes and what differs.
fn report<T: Ord + Debug>(workload: &str, what: &str, truth: &BTreeSet<T>, seen: &BTreeSet<T>) -> usize {
    let missing: Vec<_> = truth.difference(seen).collect();
    let extra: Vec<_> = seen.difference(truth).collect();
    println!(
        "{workload}: {what}: strace {}, snapshot {}, missing {}, extra {}",
        truth.len(),
        seen.len(),
        missing.len(),
        extra.len()
    );
    missing.iter().for_each(|value| println!("  missing {value:?}"));
    extra.iter().for_each(|value| println!("  extra {value:?}"));
    missing.len() + extra.len()
}
