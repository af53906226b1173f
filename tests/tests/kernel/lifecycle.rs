//! From the first exec; joined late; entered from outside.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wsp_tests::podman::{Container, eventually, podman};
use wsp_tests::program::{finish, root};

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
    std::thread::sleep(Duration::from_secs(3));
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

/// A cgroup as a runtime makes it for a container, removed with the value.
struct Cgroup(PathBuf);

impl Cgroup {
    fn make(id: &str) -> Self {
        let hybrid = Path::new("/sys/fs/cgroup/unified");
        let mount = if hybrid.exists() { hybrid } else { Path::new("/sys/fs/cgroup") };
        let path = mount.join("wsp-test").join(id);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A program of the container, in a mount namespace of its own.
    fn run(&self) -> Child {
        let script =
            r#"echo $$ >"$0"/cgroup.procs; exec sh -c 'while true; do cat /etc/passwd; sleep 0.1; done'"#;
        let mut program = Command::new("unshare");
        program.args(["--mount", "sh", "-c", script]).arg(&self.0).stdout(Stdio::null()).spawn().unwrap()
    }

    /// Ends all that runs in it.
    fn end(&self, mut program: Child) {
        let processes = || std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap();
        eventually("nothing runs any more", || {
            let _ = program.kill();
            let _ = program.try_wait();
            let processes = processes();
            for pid in processes.lines() {
                let _ = finish(Command::new("kill").args(["-9", pid]));
            }
            processes.is_empty()
        });
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
        let _ = self.0.parent().map(std::fs::remove_dir);
    }
}

#[test]
fn what_a_runtime_leaves_behind_takes_no_slot() {
    let folder = tempfile::tempdir().unwrap();
    let [left, used] = ["1ef7", "05ed"].map(|digits| digits.repeat(16));
    let map = folder.path().join("map");
    let line = |id: &str| format!("{{\"container\": \"{id}\", \"image\": \"left:1\", \"name\": \"{id}\"}}\n");
    std::fs::write(&map, [&left, &used].map(|id| line(id)).concat()).unwrap();
    let (cgroup_left, cgroup_used) = (Cgroup::make(&left), Cgroup::make(&used));
    let store = folder.path().join("store");
    let (url, spool) = (store.display().to_string(), folder.path().join("spool").display().to_string());
    // One slot is all that there is: what is empty may not have it.
    #[rustfmt::skip]
    let arguments = [
        "run", "--store", &url, "--spool", &spool, "--interval", "10m", "--max-containers", "1", "--start-slots", "0",
        "--map", map.to_str().unwrap(),
    ];
    let capture = Capture::start(&arguments, "capturing");
    let of_used =
        || snapshots(&store).into_iter().filter(|snapshot| snapshot.meta.container.id == used).count();
    // Twice: what ended is over although its cgroup stays, and of what starts in it again the first program is seen.
    for times in 1..=2 {
        let program = cgroup_used.run();
        std::thread::sleep(Duration::from_secs(1));
        cgroup_used.end(program);
        eventually("a container that left its cgroup behind is over", || of_used() == times);
    }
    capture.stop();
    drop((cgroup_left, cgroup_used));
    for snapshot in snapshots(&store) {
        assert_eq!((snapshot.meta.container.id.as_str(), snapshot.meta.covers_start), (used.as_str(), true));
        let programs = of_kind(&snapshot, "process", &["exe"]);
        assert!(programs.iter().flatten().any(|exe| exe.ends_with("/cat")), "{programs:?}");
    }
}
