//! What somebody does who does not want to be seen (`tests/workloads/tricks.sh`) leaves the nodes that a defender needs.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int32Type;
use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::{Container, eventually, podman};
use wsp_tests::program::root;

use super::{Api, Capture, accesses, image, lost, of_kind, snapshots, text};

/// What is recorded of a trick, from its container's start to its end. Meanwhile `beside` is done.
fn record_beside(trick: &str, options: &[&str], beside: impl FnOnce(&Container)) -> Verified {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let store = folder.path().join("store");
    let script = root().join("tests/workloads/tricks.sh");
    let mounted = format!("--volume={}:/tricks.sh:ro", script.display());
    let name = format!("wsp-trick-{}", trick.replace('_', "-"));
    let tools = image("tools-1");
    let fixed =
        ["--network=none", "--security-opt=seccomp=unconfined", "--cap-add=SYS_ADMIN,SYS_CHROOT", &mounted];
    let container = Container::create(&name, &[&fixed[..], options, &[&tools, "/tricks.sh", trick]].concat());
    container.init();
    let url = store.display().to_string();
    let once = ["once", "--container", &name, "--for", "120s", "--store", &url, "--runtime-socket", &api.url];
    let capture = Capture::start(&once, "capturing");
    container.start();
    beside(&container);
    container.wait();
    capture.wait();
    let code = podman(&["inspect", "-f", "{{.State.ExitCode}}", &name]).ok();
    assert_eq!(code.trim(), "0", "{}", podman(&["logs", &name]).stderr);
    let mut all = snapshots(&store);
    assert_eq!(all.len(), 1);
    let snapshot = all.remove(0);
    assert_eq!(lost(&snapshot), 0, "{:?}", snapshot.meta.lost);
    snapshot
}

fn record(trick: &str) -> Verified {
    record_beside(trick, &[], |_| ())
}

#[test]
fn a_shell_that_calls_home() {
    let snapshot = record("call_home");
    let line = ["/usr/bin/bash", "/usr/bin/dash", "/usr/bin/nc.openbsd"];
    assert_eq!(lines(&snapshot, "/usr/bin/nc.openbsd"), BTreeSet::from([line.map(str::to_owned).to_vec()]));
    let called = ["/usr/bin/nc.openbsd", "tcp", "127.0.0.1"].map(str::to_owned).to_vec();
    assert!(of_kind(&snapshot, "connect", &["exe", "protocol", "address"]).contains(&called));
}

#[test]
fn a_dropped_program_that_is_renamed_run_and_removed() {
    let snapshot = record("dropped");
    done(&snapshot, "/tmp/den/dropped", &["create", "write"]);
    done(&snapshot, "/tmp/den/dropped", &["rename_from"]);
    done(&snapshot, "/tmp/.sshd", &["rename_to"]);
    done(&snapshot, "/tmp/.sshd", &["chmod"]);
    done(&snapshot, "/tmp/.sshd", &["link_from"]);
    done(&snapshot, "/tmp/.sshd", &["unlink"]);
    done(&snapshot, "/tmp/den/second-name", &["link_to"]);
    has_process(&snapshot, "/tmp/.sshd", "written_in_window", "true");
    has_process(&snapshot, "/tmp/.sshd", "file_origin", "upper");
}

#[test]
fn a_symbolic_link_that_says_something_else() {
    let snapshot = record("links");
    done(&snapshot, "/tmp/den/innocent.txt", &["symlink"]);
    // What it leads to stands under its own name.
    done(&snapshot, "/etc/shadow", &["read"]);
    has_process(&snapshot, "/usr/bin/id", "exe", "/usr/bin/id");
    assert!(lines(&snapshot, "/tmp/den/ls").is_empty());
}

#[test]
fn a_directory_that_is_swapped_and_a_file_that_is_exchanged() {
    let snapshot = record("swapped");
    done(&snapshot, "/tmp/den/real", &["rename_from"]);
    done(&snapshot, "/tmp/den/swapped", &["rename_to"]);
    done(&snapshot, "/tmp/den/swapped/file", &["read"]);
    done(&snapshot, "/tmp/den/trusted", &["rename_from"]);
    done(&snapshot, "/tmp/den/evil", &["rename_to"]);
    done(&snapshot, "/tmp/den/trusted", &["read"]);
}

#[test]
fn another_root_directory() {
    // Paths go up to the top of the mount namespace, not to a chroot.
    let snapshot = record("other_root");
    has_process(&snapshot, "/tmp/den/jail/bin/cat", "exec_from", "/usr/sbin/chroot");
    done(&snapshot, "/tmp/den/jail/etc/inside", &["read"]);
}

#[test]
fn a_session_that_only_changes_its_root() {
    let snapshot = record_beside("open_jail", &[], |container| {
        eventually("the jail is there", || container.exec(&["test", "-e", "/tmp/den/ready"]).code == 0);
        let said = container.exec(&["chroot", "/tmp/den/jail", "/bin/cat", "/etc/inside"]).ok();
        assert_eq!(said, "jailed\n");
        let _ = container.exec(&["touch", "/tmp/den/left"]).ok();
    });
    let cats = of_kind(&snapshot, "process", &["exe", "root_kind", "exec_from"]);
    let cat = ["/tmp/den/jail/bin/cat", "exec_session", "/usr/sbin/chroot"].map(str::to_owned).to_vec();
    assert!(cats.contains(&cat), "{cats:?}");
    done(&snapshot, "/tmp/den/jail/etc/inside", &["read"]);
}

#[test]
fn a_mount_namespace_of_its_own() {
    let snapshot = record("namespace");
    has_process(&snapshot, "/usr/bin/dash", "ns_changed", "true");
    has_process(&snapshot, "/usr/bin/cat", "ns_changed", "true");
    done(&snapshot, "/mnt/hidden", &["create", "write"]);
    done(&snapshot, "/mnt/hidden", &["read"]);
}

#[test]
fn somebody_elses_mount_namespace_and_the_hosts() {
    let victim =
        Container::create("wsp-trick-victim", &["--network=none", &image("tools-1"), "sleep", "300"]);
    victim.start();
    let of_victim = podman(&["inspect", "-f", "{{.State.Pid}}", &victim.name]).ok();
    let of_host = std::process::id().to_string();
    for (whose, pid) in [("another container's", of_victim.trim()), ("the host's", &of_host)] {
        let target = format!("--env=TARGET={pid}");
        let snapshot = record_beside("enter", &["--pid=host", "--privileged", &target], |_| ());
        println!("{whose}: {} nodes", snapshot.rows.num_rows());
        // Once in the tree it stays, and says that it is elsewhere.
        has_process(&snapshot, "/usr/bin/cat", "ns_changed", "true");
        let line = ["/usr/bin/bash", "/usr/bin/cat"].map(str::to_owned).to_vec();
        assert_eq!(lines(&snapshot, "/usr/bin/cat"), BTreeSet::from([line]), "{whose}");
        has_process(&snapshot, "/usr/bin/cat", "exec_from", "/usr/bin/nsenter");
        let read = of_kind(&snapshot, "file", &["exe", "path"]);
        let name = ["/usr/bin/cat", "/etc/hostname"].map(str::to_owned).to_vec();
        assert!(read.contains(&name), "{whose}: {read:?}");
    }
}

#[test]
fn a_program_in_memory() {
    let snapshot = record("memory");
    assert_eq!(origins(&snapshot, "/memfd:payload"), BTreeSet::from(["memfd".to_owned()]));
    assert!(
        lines(&snapshot, "/memfd:payload").iter().all(|line| line.contains(&"/tmp/den/tricks".to_owned()))
    );
}

#[test]
fn a_program_by_its_descriptor_whose_name_is_gone() {
    let snapshot = record("descriptor");
    assert_eq!(origins(&snapshot, "/tmp/den/ghost"), BTreeSet::from(["deleted".to_owned()]));
    done(&snapshot, "/tmp/den/ghost", &["create", "write"]);
    done(&snapshot, "/tmp/den/ghost", &["unlink"]);
}

#[test]
fn files_and_connections_past_the_system_calls() {
    let snapshot = record("uring");
    done(&snapshot, "/etc/gshadow", &["read"]);
    done(&snapshot, "/tmp/den/second-name", &["unlink"]);
    let called = ["tcp", "127.0.0.9"].map(str::to_owned).to_vec();
    assert!(of_kind(&snapshot, "connect", &["protocol", "address"]).contains(&called));
    // The loader that the kernel maps for every program.
    done(&snapshot, "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", &["exec"]);
    done(&snapshot, "/usr/lib/x86_64-linux-gnu/libc.so.6", &["exec", "read"]);
}

#[test]
fn an_address_that_is_replaced_while_the_connect_waits() {
    let snapshot = record("hidden_address");
    let rows = &snapshot.rows;
    let ports = rows["port"].as_primitive::<Int32Type>();
    let called: BTreeSet<_> = (0..rows.num_rows())
        .filter(|row| text(rows, "kind", *row).as_deref() == Some("connect"))
        .map(|row| (text(rows, "address", row).unwrap(), ports.value(row)))
        .collect();
    // ::1 is who fills the queue.
    let hidden = ["127.0.0.4", "127.0.0.6", "::1"].map(|address| (address.to_owned(), 7001));
    assert_eq!(called, BTreeSet::from(hidden));
}

#[test]
fn a_chain_hangs_together_when_its_links_are_gone() {
    let snapshot = record("chain");
    let line = ["/usr/bin/bash", "/usr/bin/python3.11", "/usr/bin/dash", "/tmp/den/.cache"];
    assert_eq!(lines(&snapshot, "/tmp/den/.cache"), BTreeSet::from([line.map(str::to_owned).to_vec()]));
    has_process(&snapshot, "/tmp/den/.cache", "written_in_window", "true");
    has_process(&snapshot, "/tmp/den/.cache", "lineage_complete", "true");
    let called = ["/tmp/den/.cache", "127.0.0.1"].map(str::to_owned).to_vec();
    assert!(of_kind(&snapshot, "connect", &["exe", "address"]).contains(&called));
    done(&snapshot, "/etc/crontab", &["create", "write"]);
    done(&snapshot, "/tmp/den/.cache", &["chmod"]);
    done(&snapshot, "/etc/shadow", &["read"]);
}

/// Some node of the path had all of this done to it.
#[track_caller]
fn done(snapshot: &Verified, path: &str, words: &[&str]) {
    let of_path: Vec<BTreeSet<String>> =
        accesses(snapshot).into_iter().filter(|(of, _)| of == path).map(|(_, words)| words).collect();
    let all = |done: &BTreeSet<String>| words.iter().all(|word| done.contains(*word));
    assert!(of_path.iter().any(all), "{path}: {of_path:?} has no {words:?}");
}

#[track_caller]
fn has_process(snapshot: &Verified, exe: &str, column: &str, value: &str) {
    let rows = of_kind(snapshot, "process", &["exe", column]);
    assert!(rows.contains(&vec![exe.to_owned(), value.to_owned()]), "{exe} {column} {value}: {rows:?}");
}

/// Where the executables of an exe are from.
fn origins(snapshot: &Verified, exe: &str) -> BTreeSet<String> {
    let rows = of_kind(snapshot, "process", &["exe", "file_origin"]);
    rows.into_iter().filter(|row| row[0].starts_with(exe)).map(|row| row[1].clone()).collect()
}

/// From the root to a process of this exe: each way that leads there, as executables.
fn lines(snapshot: &Verified, exe: &str) -> BTreeSet<Vec<String>> {
    let rows = &snapshot.rows;
    let (ids, parents) = (rows["node_id"].as_fixed_size_binary(), rows["parent_id"].as_fixed_size_binary());
    let processes: BTreeMap<&[u8], usize> = (0..rows.num_rows())
        .filter(|row| text(rows, "kind", *row).as_deref() == Some("process"))
        .map(|row| (ids.value(row), row))
        .collect();
    let name = |row: usize| text(rows, "exe", row).unwrap_or_default();
    let line = |row: usize| {
        let up = |row: &usize| parents.is_valid(*row).then(|| processes[parents.value(*row)]);
        let mut line: Vec<String> = std::iter::successors(Some(row), up).map(name).collect();
        line.reverse();
        line
    };
    processes.values().filter(|row| name(**row).starts_with(exe)).map(|row| line(*row)).collect()
}
