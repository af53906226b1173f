//! The capabilities that `capture/deploy/` grants are enough, and each that is missing is named.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::{Container, eventually, podman};
use wsp_tests::program::{command_by, finish, path, root};

use super::{Api, Capture, image, of_kind, snapshots};

/// As the unit grants them.
fn granted() -> Vec<String> {
    let unit = std::fs::read_to_string(root().join("capture/deploy/wsp-capture.service")).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    line.split(' ').map(str::to_owned).collect()
}

/// `wsp-capture` by root with some capabilities.
fn with(capabilities: &[String], arguments: &[&str]) -> Command {
    let names =
        capabilities.iter().map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()));
    let bound = format!("--bounding-set=-all{}", names.collect::<String>());
    let mut command = command_by("setpriv", &["--no-new-privs", &bound], "wsp-capture");
    command.args(arguments);
    command
}

/// A container of a user that is not root, which runs before anything looks at it.
fn running_before(name: &str) -> Container {
    let script = "exec 5</etc/passwd; nc -l -p 8099 & sleep 300";
    let arguments = ["--network=none", "--user=1000", &image("busy-1"), "/bin/sh", "-c", script];
    let container = Container::create(name, &arguments);
    container.start();
    eventually("it listens", || podman(&["top", name, "args"]).stdout.contains("nc -l -p 8099"));
    container
}

/// A container that does something for every sensor.
fn run_one(name: &str) {
    let script = "nc -l -p 8098 </dev/null & sleep 1; echo x | nc 127.0.0.1 8098; \
                  nslookup example.org 127.0.0.1; cat /etc/passwd";
    let container = Container::create(name, &["--network=none", &image("busy-1"), "/bin/sh", "-c", script]);
    container.start();
    container.wait();
}

fn of<'a>(snapshots: &'a [Verified], name: &str) -> &'a Verified {
    let of_it = |snapshot: &&Verified| snapshot.meta.container.name.as_deref() == Some(name);
    snapshots.iter().find(of_it).unwrap_or_else(|| panic!("no snapshot of {name}"))
}

/// All that was done was seen.
fn assert_whole(store: &Path, before: &str, after: &str) {
    let all = snapshots(store);
    let row = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    let before = of(&all, before);
    assert!(of_kind(before, "file", &["path"]).contains(&row(&["/etc/passwd"])));
    assert_eq!(of_kind(before, "listen", &["protocol", "address"]).len(), 1);
    let after = of(&all, after);
    let live: BTreeSet<&str> = after.meta.sensors.iter().map(|sensor| sensor.kind.as_str()).collect();
    for kind in ["process", "file", "connect", "listen", "dns"] {
        assert!(live.contains(kind) && !of_kind(after, kind, &["exe"]).is_empty(), "{kind}: {live:?}");
    }
    assert!(of_kind(after, "dns", &["dns_name"]).contains(&row(&["example.org"])));
}

#[test]
fn what_is_granted_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let (store, spool) = (folder.path().join("store"), folder.path().join("spool"));
    let before = running_before("wsp-few-before");
    let (store_url, spool) = (store.display().to_string(), spool.display().to_string());
    #[rustfmt::skip]
    let arguments = [
        "run", "--store", &store_url, "--spool", &spool, "--interval", "10m", "--runtime-socket", &api.url,
    ];
    let capture = Capture::start_as(&mut with(&granted(), &arguments), "capturing");
    run_one("wsp-few-after");
    capture.stop();
    before.remove();
    assert_whole(&store, "wsp-few-before", "wsp-few-after");
}

#[test]
fn what_the_daemon_set_grants_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let _api = Api::start(folder.path());
    let before = running_before("wsp-pod-before");
    let state = folder.path().display();
    let volumes = [
        "/sys/fs/cgroup:/sys/fs/cgroup:ro".to_owned(),
        "/sys/kernel/tracing:/sys/kernel/tracing:ro".to_owned(),
        format!("{state}:/state"),
        format!("{state}/podman.sock:/run/podman/podman.sock"),
        format!("{}:/wsp-capture:ro", path("wsp-capture").display()),
    ];
    let mut arguments =
        vec!["--pid=host", "--network=none", "--read-only", "--stop-signal=TERM", "--cap-drop=all"];
    arguments.extend(["--security-opt=no-new-privileges", "--security-opt=seccomp=unconfined"]);
    let granted: Vec<String> = granted().iter().map(|name| format!("--cap-add={name}")).collect();
    arguments.extend(granted.iter().map(String::as_str));
    arguments.extend(volumes.iter().flat_map(|volume| ["--volume", volume]));
    // Any that has the C library; its own program is not run.
    let image = image("web-1.22");
    arguments.extend(["--entrypoint", "/wsp-capture", &image, "run", "--store", "/state/store"]);
    arguments.extend(["--spool", "/state/spool", "--interval", "10m"]);
    let daemon = Container::create("wsp-pod", &arguments);
    daemon.start();
    eventually("it captures", || podman(&["logs", "wsp-pod"]).stderr.contains("capturing"));
    run_one("wsp-pod-after");
    let _ = podman(&["stop", "-t", "60", "wsp-pod"]).ok();
    before.remove();
    let store = folder.path().join("store");
    assert_whole(&store, "wsp-pod-before", "wsp-pod-after");
    // The daemon is a container like the others.
    let all = snapshots(&store);
    let programs = of_kind(of(&all, "wsp-pod"), "process", &["exe"]);
    assert_eq!(programs, BTreeSet::from([vec!["/wsp-capture".to_owned()]]));
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let (store, spool) = (folder.path().join("store"), folder.path().join("spool"));
    let (store, spool) = (store.display().to_string(), spool.display().to_string());
    let run = ["run", "--store", &store, "--spool", &spool, "--runtime-socket", &api.url];
    for missing in granted() {
        let others: Vec<String> = granted().into_iter().filter(|name| *name != missing).collect();
        let doctor = finish(&mut with(&others, &["doctor"]));
        assert!(doctor.stdout.contains(&format!("not {missing}")), "{missing}: {}", doctor.stdout);
        let said = folder.path().join("said");
        let log = std::fs::File::create(&said).unwrap();
        let mut daemon = with(&others, &run).stderr(log).spawn().unwrap();
        let said = || std::fs::read_to_string(&said).unwrap();
        let mut ended = false;
        eventually("it captures or refuses", || {
            ended = daemon.try_wait().unwrap().is_some();
            ended || said().contains("capturing")
        });
        if ended {
            assert_eq!(daemon.wait().unwrap().code(), Some(1));
            assert!(said().contains(&format!("error: missing {missing}")), "{}", said());
        } else {
            let _ = finish(Command::new("kill").args(["-TERM", &daemon.id().to_string()])).ok();
            assert!(daemon.wait().unwrap().success());
            assert!(said().contains(&missing), "{missing}: {}", said());
        }
        let essential = ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE"].contains(&missing.as_str());
        assert_eq!(ended, essential, "{missing}: {}", said());
    }
}
