//! The same on other kernels: the oldest that is supported and a newer one; with cgroup v1 alone; and below the floor a refusal.
//!
//! Debian's kernels, booted under software emulation, with containers that a shell script makes. Their root file system is
//! an overlay, as that of most containers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wsp_schemas::snapshot::Verified;
use wsp_tests::program::root;
use wsp_tests::strace::parse;
use wsp_tests::vm::{Cgroups, Results, boot, code};

use super::ground_truth::agree_on;
use super::snapshots;

/// Arguments for `wsp-capture run`, a pass each: every kernel runs all workloads under each of them.
const PASSES: &[&str] = &["", "--hooks fallback"];

/// A kernel, and what the doctor has to say of it.
struct Kernel {
    /// Start of its version.
    series: &'static str,
    cgroups: Cgroups,
    /// Checks that are not well.
    unwell: &'static [&'static str],
    /// Hooks that it does not have.
    absent: &'static [&'static str],
    /// Sensors that do not run for that.
    dead: &'static [&'static str],
}

fn workloads() -> Vec<PathBuf> {
    ["busybox.sh", "network.pl"].map(|name| root().join("tests/workloads").join(name)).to_vec()
}

#[test]
fn debian_6_1() {
    ground_truth(&Kernel {
        series: "6.1",
        cgroups: Cgroups::V2,
        unwell: &[],
        absent: &[
            "tp_btf/cap_capable",
            "tp_btf/io_uring_submit_req (opens)",
            "tp_btf/io_uring_submit_req (changes)",
            "tp_btf/io_uring_submit_req (connects)",
        ],
        dead: &[],
    });
}

#[test]
fn debian_6_1_with_cgroup_v1() {
    ground_truth(&Kernel {
        series: "6.1",
        cgroups: Cgroups::V1,
        unwell: &["cgroup"],
        absent: &[
            "tp_btf/cap_capable",
            "tp_btf/io_uring_submit_req (opens)",
            "tp_btf/io_uring_submit_req (changes)",
            "tp_btf/io_uring_submit_req (connects)",
            "cgroup_skb/egress",
            "cgroup_skb/ingress",
            "cgroup/connect4",
            "cgroup/connect6",
            "cgroup/connect4 (connects)",
            "cgroup/connect6 (connects)",
            "cgroup/sendmsg4",
            "cgroup/sendmsg6",
            "iter/task_file",
        ],
        dead: &["dns"],
    });
}

#[test]
fn debian_6_12() {
    ground_truth(&Kernel {
        series: "6.12",
        cgroups: Cgroups::V2,
        unwell: &[],
        absent: &[
            "tp_btf/cap_capable",
            "tp_btf/io_uring_submit_sqe (opens)",
            "tp_btf/io_uring_submit_sqe (changes)",
            "tp_btf/io_uring_submit_sqe (connects)",
        ],
        dead: &[],
    });
}

#[test]
fn debian_5_10_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let Some(results) = booted("5.10", Cgroups::V2, folder.path(), &[""]) else { return };
    let (report, code) = results.doctor();
    assert_eq!(code, 1, "{report:#}");
    let kernel = check(&report, "kernel");
    assert_eq!(
        (&kernel["status"], &kernel["fix"]),
        (&json!("failed"), &json!("run a kernel of at least 6.1")),
        "{report:#}"
    );
    let release = kernel["found"].as_str().unwrap().split(' ').next().unwrap();
    assert!(release.starts_with("5.10."), "{release}");
    assert!(values(&report, "hooks", "outcome").all(|outcome| outcome != "works"), "{report:#}");
    assert!(values(&report, "sensors", "hook").all(Value::is_null), "{report:#}");

    let daemon = results.pass(0);
    assert_eq!(daemon.code, 1, "{}", daemon.said);
    let refusal = format!("kernel {release} is older than 6.1: run a kernel of at least that version");
    assert!(daemon.said.contains(&refusal), "{}", daemon.said);
}

/// None, loudly, where the kernel cannot be fetched.
fn booted(series: &str, cgroups: Cgroups, folder: &Path, passes: &[&str]) -> Option<Results> {
    match boot(series, cgroups, folder, &workloads(), passes) {
        Ok(results) => {
            println!("{}", results.console);
            Some(results)
        }
        Err(why) => {
            println!("SKIPPED: nothing was tested on kernel {series}: {why}");
            None
        }
    }
}

fn ground_truth(kernel: &Kernel) {
    let series = kernel.series;
    let folder = tempfile::tempdir().unwrap();
    let workloads = workloads();
    let Some(results) = booted(series, kernel.cgroups, folder.path(), PASSES) else { return };
    let (report, exit) = results.doctor();
    diagnosed(kernel, &report, exit);
    for (number, arguments) in PASSES.iter().enumerate() {
        let pass = results.pass(number);
        assert_eq!(pass.code, 0, "{}", pass.said);
        let snapshots = snapshots(&pass.folder.join("store"));
        assert_eq!(snapshots.len(), workloads.len(), "{}", pass.said);
        for workload in &workloads {
            let name = workload.file_name().unwrap().to_str().unwrap();
            let of = pass.folder.join(name);
            let said = std::fs::read_to_string(of.join("workload.out")).unwrap();
            assert_eq!(code(&of.join("code")), 0, "{name}: {said}");
            let named = |snapshot: &&Verified| snapshot.meta.container.name.as_deref() == Some(name);
            let snapshot = snapshots.iter().find(named).unwrap();
            assert!(snapshot.meta.kernel.starts_with(&format!("{series}.")), "{}", snapshot.meta.kernel);
            let trace = std::fs::read(of.join("strace.log")).unwrap();
            // What the workloads leave in it is nothing that they run.
            let truth = parse(&trace, &folder.path().join("image"));
            let alive = |what: &str| !kernel.dead.contains(&what);
            agree_on(&format!("{series} `{arguments}` {name}"), &truth, snapshot, alive);
            for dead in kernel.dead {
                assert!(!snapshot.meta.completeness.contains_key(*dead), "{:?}", snapshot.meta.completeness);
                assert!(snapshot.meta.sensors.iter().all(|sensor| sensor.kind != *dead));
            }
        }
    }
}

/// All checks are well, and what does not work is what this kernel does not have.
fn diagnosed(kernel: &Kernel, report: &Value, code: i32) {
    assert_eq!(code, 0, "{report:#}");
    let unwell = names(report, "checks", "name", |check| check["status"] != "ok");
    // The guest's disk is its memory: smaller than what the spool may take.
    let expected = |check: &String| check == "spool" || kernel.unwell.contains(&check.as_str());
    assert!(unwell.iter().all(expected), "{report:#}");
    assert!(kernel.unwell.iter().all(|check| unwell.contains(*check)), "{report:#}");
    let release = check(report, "kernel")["found"].as_str().unwrap();
    assert!(release.starts_with(&format!("{}.", kernel.series)), "{release}");
    let works = |hook: &Value| hook["outcome"] == "works" || hook["outcome"] == "not_in_this_version";
    assert_eq!(names(report, "hooks", "hook", |hook| !works(hook)), of(kernel.absent), "{report:#}");
    assert_eq!(
        names(report, "sensors", "sensor", |sensor| sensor["hook"].is_null()),
        of(kernel.dead),
        "{report:#}"
    );
}

fn of(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Names of those entries of a list that are meant.
fn names(report: &Value, list: &str, name: &str, meant: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let entries = report[list].as_array().unwrap();
    entries
        .iter()
        .filter(|entry| meant(entry))
        .map(|entry| entry[name].as_str().unwrap().to_owned())
        .collect()
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

/// One field of every entry of a list, of which there are some.
fn values<'a>(report: &'a Value, list: &str, field: &'a str) -> impl Iterator<Item = &'a Value> {
    let entries = report[list].as_array().unwrap();
    assert!(!entries.is_empty(), "{report:#}");
    entries.iter().map(move |entry| &entry[field])
}
