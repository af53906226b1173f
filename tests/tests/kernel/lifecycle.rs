//! From the first exec; joined late; entered from outside.

use std::collections::BTreeSet;

use wsp_tests::podman::{Container, eventually, podman};
use wsp_tests::program::root;

use super::{Api, Capture, ids, image, lost, of_kind, snapshots};

#[test]
fn the_first_exec_of_a_container_that_starts_after_the_daemon_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let busy = image("busy-1");
    let store = folder.path().join("store");
    let url = store.display().to_string();
    let spool = folder.path().join("spool").display().to_string();
    let capture = Capture::start(
        &["run", "--store", &url, "--spool", &spool, "--interval", "10m", "--runtime-socket", &api.url],
        "capturing",
    );
    // It lives for an instant: nothing may depend on finding it alive.
    let container = Container::create("wsp-first-exec", &["--network=host", &busy, "/bin/true"]);
    container.start();
    container.wait();
    eventually("the snapshot of the ended container is there", || !snapshots(&store).is_empty());
    capture.stop();
    let all = snapshots(&store);
    let mine: Vec<_> = all
        .iter()
        .filter(|snapshot| snapshot.meta.container.name.as_deref() == Some("wsp-first-exec"))
        .collect();
    let [snapshot] = mine.as_slice() else { panic!("{} snapshots of it, not one", mine.len()) };
    let processes = of_kind(snapshot, "process", &["exe", "argv0", "root_kind"]);
    assert_eq!(
        processes,
        BTreeSet::from([vec!["/bin/busybox".to_owned(), "true".to_owned(), "init".to_owned()]])
    );
    assert!(snapshot.meta.covers_start);
    assert_eq!(lost(snapshot), 0);
    let workload = snapshot.meta.image.workload.as_ref().unwrap();
    assert_eq!(workload.to_string(), "localhost/demo/busy:1");
    assert!(snapshot.meta.image.digest.as_deref().unwrap().starts_with("sha256:"));
}

#[test]
fn nginx_from_birth_and_joined_late_have_equal_ids() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let web = image("web-1.22");
    let once = |container: &str, store: &str| {
        let arguments =
            ["once", "--container", container, "--for", "8s", "--store", store, "--runtime-socket", &api.url];
        Capture::start(&arguments, "capturing")
    };
    // A network of its own with nothing but loopback: two servers, one port.
    let (born_store, late_store) = (folder.path().join("born"), folder.path().join("late"));
    let born = Container::create("wsp-born", &["--network=none", &web]);
    born.init();
    let capture = once("wsp-born", &born_store.display().to_string());
    born.start();
    capture.wait();
    let late = Container::create("wsp-late", &["--network=none", &web]);
    late.start();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let capture = once("wsp-late", &late_store.display().to_string());
    capture.wait();

    let (born, late) = (snapshots(&born_store), snapshots(&late_store));
    let ([born], [late]) = (born.as_slice(), late.as_slice()) else { panic!("not one snapshot each") };
    assert!(born.meta.covers_start && !late.meta.covers_start);
    let (born, late) = (ids(born), ids(late));
    let what =
        |ids: &BTreeSet<(String, String)>| ids.iter().map(|(_, what)| what.clone()).collect::<BTreeSet<_>>();
    // What both show by name, both show by id.
    let shared: BTreeSet<String> = what(&born).intersection(&what(&late)).cloned().collect();
    let of_shared = |ids: &BTreeSet<(String, String)>| {
        ids.iter().filter(|(_, what)| shared.contains(what)).cloned().collect::<BTreeSet<_>>()
    };
    println!("born {} nodes, late {}, shared {}", born.len(), late.len(), shared.len());
    assert_eq!(of_shared(&born), of_shared(&late));
    for expected in ["process /usr/sbin/nginx", "/var/log/nginx/access.log", "tcp"] {
        assert!(shared.iter().any(|what| what.contains(expected)), "{expected} is not in {shared:?}");
    }
    // Whatever the late one shows, the one from birth had.
    assert_eq!(late.difference(&born).collect::<Vec<_>>(), Vec::<&(String, String)>::new());
}

#[test]
fn a_shell_by_exec_is_never_the_entrypoints() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let busy = image("busy-1");
    let store = folder.path().join("store");
    let container = Container::create(
        "wsp-session",
        &["--network=none", &busy, "/bin/sh", "-c", "cat /etc/passwd; sleep 30"],
    );
    container.init();
    let url = store.display().to_string();
    let arguments =
        ["once", "--container", "wsp-session", "--for", "8s", "--store", &url, "--runtime-socket", &api.url];
    let capture = Capture::start(&arguments, "capturing");
    container.start();
    let _ = container.exec(&["/bin/sh", "-c", "cat /etc/passwd; true"]).ok();
    capture.wait();
    let all = snapshots(&store);
    let [snapshot] = all.as_slice() else { panic!("not one snapshot") };
    let shells: BTreeSet<_> = of_kind(snapshot, "process", &["root_kind", "argv0"])
        .into_iter()
        .filter(|row| row[1] == "sh")
        .collect();
    let root = |kind: &str| vec![kind.to_owned(), "sh".to_owned()];
    assert_eq!(shells, BTreeSet::from([root("init"), root("exec_session")]));
    // The same `cat` of the same file, twice: once below each.
    let cats = ids(snapshot).into_iter().filter(|(_, what)| what == "file /bin/busybox /etc/passwd").count();
    assert_eq!(cats, 2, "{:?}", ids(snapshot));
}

#[test]
fn what_is_asked_on_sockets_that_were_connected_before_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let store = folder.path().join("store");
    let script = root().join("tests/workloads/resolver.pl").display().to_string();
    let container = Container::create("wsp-resolver", &["--network=none", &image("tools-1"), "/resolver.pl"]);
    let _ = podman(&["cp", &script, "wsp-resolver:/resolver.pl"]).ok();
    container.start();
    eventually("its sockets are connected", || podman(&["logs", "wsp-resolver"]).ok().contains("connected"));
    let url = store.display().to_string();
    let arguments =
        ["once", "--container", "wsp-resolver", "--for", "3s", "--store", &url, "--runtime-socket", &api.url];
    Capture::start(&arguments, "capturing").wait();
    let all = snapshots(&store);
    let [snapshot] = all.as_slice() else { panic!("not one snapshot") };
    let asked = of_kind(snapshot, "dns", &["dns_name", "exe"]);
    let name = |host: &str| vec![format!("{host}.before.test"), "/usr/bin/perl".to_owned()];
    assert_eq!(asked, BTreeSet::from([name("tcp4"), name("udp4"), name("udp6")]));
}
