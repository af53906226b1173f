//! What somebody does who does not want to be seen (`tests/workloads/tricks.sh`) leaves the nodes that a defender needs.

use std::collections::BTreeSet;

use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::Container;
use wsp_tests::program::root;

use super::{Api, Capture, accesses, image, lost, of_kind, snapshots};

#[test]
fn each_trick_leaves_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let store = folder.path().join("store");
    let script = root().join("tests/workloads/tricks.sh");
    let mounted = format!("{}:/tricks.sh:ro", script.display());
    let tools = image("tools-1");
    let container = Container::create(
        "wsp-tricks",
        &[
            "--network=none",
            "--security-opt=seccomp=unconfined",
            "--cap-add=SYS_ADMIN,SYS_CHROOT",
            "--volume",
            &mounted,
            &tools,
            "/tricks.sh",
        ],
    );
    container.init();
    let url = store.display().to_string();
    let capture = Capture::start(
        &[
            "once",
            "--container",
            "wsp-tricks",
            "--for",
            "120s",
            "--store",
            &url,
            "--runtime-socket",
            &api.url,
        ],
        "capturing",
    );
    container.start();
    capture.wait();
    let all = snapshots(&store);
    let [snapshot] = all.as_slice() else { panic!("{} snapshots, not one", all.len()) };
    assert_eq!(lost(snapshot), 0, "{:?}", snapshot.meta.lost);

    // sh -c nc …: what runs, and whom it called.
    has_process(snapshot, "/usr/bin/nc.openbsd", "exe", "/usr/bin/nc.openbsd");
    let called = vec!["/usr/bin/nc.openbsd".to_owned(), "127.0.0.1".to_owned()];
    assert!(of_kind(snapshot, "connect", &["exe", "address"]).contains(&called));
    // The dropped program: its way from name to name, its setuid bit, and that it runs from the writable layer.
    done(snapshot, "/tmp/den/dropped", &["create", "write"]);
    done(snapshot, "/tmp/den/dropped", &["rename_from"]);
    done(snapshot, "/tmp/.sshd", &["rename_to"]);
    done(snapshot, "/tmp/.sshd", &["chmod"]);
    done(snapshot, "/tmp/.sshd", &["link_from"]);
    done(snapshot, "/tmp/.sshd", &["unlink"]);
    done(snapshot, "/tmp/den/second-name", &["link_to"]);
    has_process(snapshot, "/tmp/.sshd", "written_in_window", "true");
    // What a link or a swapped directory leads to stands under its own name.
    done(snapshot, "/etc/shadow", &["read"]);
    done(snapshot, "/tmp/den/innocent.txt", &["symlink"]);
    done(snapshot, "/tmp/den/swapped/file", &["read"]);
    // Paths go up to the top of the mount namespace, not to a chroot.
    has_process(snapshot, "/tmp/den/jail/bin/cat", "exe", "/tmp/den/jail/bin/cat");
    done(snapshot, "/tmp/den/jail/etc/inside", &["read"]);
    // Another mount namespace is told, and what is done there.
    has_process(snapshot, "/usr/bin/dash", "ns_changed", "true");
    done(snapshot, "/mnt/hidden", &["read"]);
    // A program that is nowhere, and one whose name is gone.
    assert!(origins(snapshot, "/memfd:payload").contains("memfd"), "{:?}", snapshot.meta);
    assert!(origins(snapshot, "/tmp/den/ghost").contains("deleted"));
    // Past the system calls.
    done(snapshot, "/etc/gshadow", &["read"]);
    done(snapshot, "/tmp/den/second-name", &["unlink"]);
    let called = ["tcp", "127.0.0.9"].map(str::to_owned).to_vec();
    assert!(of_kind(snapshot, "connect", &["protocol", "address"]).contains(&called));
    // The loader that the kernel maps for every program.
    done(snapshot, "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", &["exec"]);
    done(snapshot, "/usr/lib/x86_64-linux-gnu/libc.so.6", &["exec", "read"]);
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
