//! What strace saw is what the snapshot has, and nothing else is in it.
//!
//! `WSP_GT='IMAGE=FILE …'` runs other workloads, on images that exist.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int32Type;
use wsp_schemas::paths::normalise;
use wsp_schemas::snapshot::Verified;
use wsp_schemas::text::{RawText, escape};
use wsp_tests::program::{finish, path, root};
use wsp_tests::strace::{Address, Endpoint, parse};

use super::{Api, access, image, lost, of_kind, snapshots, text};

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
    assert_eq!(truth.unresolved, BTreeSet::new());
    assert_eq!(lost(snapshot), 0, "{:?}", snapshot.meta.lost);
    assert!(snapshot.meta.covers_start);

    let rules = |path: &RawText| escape(&normalise(path.as_bytes())).into_owned();
    let name = workload.file_name().unwrap().to_string_lossy().into_owned();
    let mut differences = 0;
    let mut same = |what: &str, truth: BTreeSet<Vec<String>>, seen: BTreeSet<Vec<String>>| {
        differences += report(&name, what, &truth, &seen);
    };
    let one = |text: String| vec![text];
    same("files", truth.files.iter().map(rules).map(one).collect(), opened_files(snapshot));
    same("execs", truth.execs.iter().map(rules).map(one).collect(), of_kind(snapshot, "process", &["exe"]));
    same(
        "connects",
        truth.connects.iter().map(|end| endpoint(end, false)).collect(),
        sockets(snapshot, "connect"),
    );
    same(
        "listens",
        truth.listens.iter().map(|end| endpoint(end, true)).collect(),
        sockets(snapshot, "listen"),
    );
    same(
        "dns",
        truth.dns.iter().map(|(name, rtype)| vec![name.to_escaped(), rtype.clone()]).collect(),
        of_kind(snapshot, "dns", &["dns_name", "dns_type"]),
    );
    assert_eq!(differences, 0, "{name}: see the differences above");
    assert!(!truth.execs.is_empty() && !truth.files.is_empty());
}

/// What an open leaves in the column `access`.
const OPENED: [&str; 5] = ["append", "create", "lookup", "read", "write"];

/// Rules: memory files have no name in a file system; the truth leaves them out, the snapshot marks them. Names that were changed and
/// code that was mapped are no opens.
fn opened_files(snapshot: &Verified) -> BTreeSet<Vec<String>> {
    let rows = &snapshot.rows;
    (0..rows.num_rows())
        .filter(|row| access(rows, *row).iter().any(|word| OPENED.contains(&word.as_str())))
        .filter(|row| text(rows, "file_origin", *row).as_deref() != Some("memfd"))
        .filter_map(|row| Some(vec![text(rows, "path", row)?]))
        .collect()
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

fn endpoint(end: &Endpoint, own: bool) -> Vec<String> {
    let address = match &end.address {
        // Rule: a listening socket on an own address is `self`.
        Address::Ip(ip) if own && !is_everywhere(*ip) => "self".to_owned(),
        Address::Path(path) => escape(&normalise(&clean(path.as_bytes()))).into_owned(),
        other => other.to_text(),
    };
    vec![end.protocol.clone(), address, end.port.to_string()]
}

/// Rule: a unix socket's path stands as it was named, without `.` and doubled slashes, a relative one with `./` in front.
fn clean(path: &[u8]) -> Vec<u8> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let lead: &[u8] = if path.starts_with(b"/") { b"" } else { b"." };
    parts.fold(lead.to_vec(), |mut out, part| {
        out.push(b'/');
        out.extend_from_slice(part);
        out
    })
}

fn is_everywhere(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_loopback()
}

fn sockets(snapshot: &Verified, kind: &str) -> BTreeSet<Vec<String>> {
    let rows = &snapshot.rows;
    let ports = rows["port"].as_primitive::<Int32Type>();
    (0..rows.num_rows())
        .filter(|row| text(rows, "kind", *row).as_deref() == Some(kind) && ports.is_valid(*row))
        .map(|row| {
            let column = |name| text(rows, name, row).unwrap_or_default();
            vec![column("protocol"), column("address"), ports.value(row).to_string()]
        })
        .collect()
}
