//! What a daemon must survive, and say: in its log and in its metrics.

use std::path::{Path, PathBuf};
use std::process::Command;

use wsp_tests::podman::eventually;
use wsp_tests::program::finish;

use super::Api;
use super::daemon::{Daemon, Place, of};

const LONG: [&str; 2] = ["--interval", "10m"];

fn place() -> (Api, Place) {
    let mut api = None;
    let place = Place::new(|folder| {
        let started = Api::start(folder);
        let url = started.url.clone();
        api = Some(started);
        url
    });
    (api.unwrap(), place)
}

fn start(place: &Place, stop_timeout: &str) -> Daemon {
    place.start(&[&LONG[..], &["--stop-timeout", stop_timeout]].concat())
}

#[test]
fn a_store_that_is_away_and_a_killed_daemon_lose_no_closed_window() {
    let (_api, mut place) = place();
    let daemon = start(&place, "60s");
    place.store.go_away();
    place.record("wsp-away-1");
    daemon.says("upload failed, trying again");
    assert!(daemon.metric("wsp_capture_uploads_total{outcome=\"failed\"}") >= 1.0);
    assert!(daemon.metric("wsp_capture_spool_files{state=\"waiting\"}") >= 1.0);
    assert_eq!(daemon.metric("wsp_capture_uploads_total{outcome=\"stored\"}"), 0.0);
    daemon.kill();
    // It starts while the store is still away.
    let daemon = start(&place, "60s");
    daemon.says("snapshots wait in the spool until it can be");
    place.record("wsp-away-2");
    place.store.come_back();
    let stored = || ["wsp-away-1", "wsp-away-2"].map(|name| place.stored(name));
    eventually("both are in the store", || stored() == [1, 1]);
    eventually("nothing waits", || daemon.metric("wsp_capture_spool_files{state=\"waiting\"}") == 0.0);
    assert!(daemon.metric("wsp_capture_uploads_total{outcome=\"stored\"}") >= 2.0);
    assert_eq!(daemon.metric("wsp_capture_snapshots_dropped_total"), 0.0);
    daemon.stop();
    assert_eq!(stored(), [1, 1]);
    assert_eq!(std::fs::read_dir(place.spool.join("waiting")).unwrap().count(), 0);
}

#[test]
fn a_daemon_that_is_stopped_while_the_store_is_away_says_what_waits() {
    let (_api, mut place) = place();
    let daemon = start(&place, "1s");
    place.store.go_away();
    place.record("wsp-stopped");
    // In time, and not as a failure.
    daemon.terminate();
    let (status, said) = daemon.end();
    assert!(
        status.success() && said.contains(&place.spool.join("waiting").display().to_string()),
        "{status}: {said}"
    );
    assert_eq!(place.waiting("wsp-stopped"), 1);
    // Who asks twice does not want to wait.
    let daemon = start(&place, "10m");
    daemon.terminate();
    std::thread::sleep(std::time::Duration::from_secs(1));
    daemon.terminate();
    let (status, said) = daemon.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("stopped at once by a second signal") && said.contains("wait in"), "{said}");
    assert_eq!(place.waiting("wsp-stopped"), 1);
}

#[test]
fn a_runtime_that_goes_away_is_told() {
    let (api, place) = place();
    let runtimes = |daemon: &Daemon, state: &str| {
        daemon.metric(&format!("wsp_capture_runtimes{{state=\"{state}\"}}")) == 1.0
    };
    // What it writes on disk would name containers meanwhile.
    let empty = place.folder.path().join("host");
    std::fs::create_dir(&empty).unwrap();
    let daemon = place.start(&[&LONG[..], &["--host-root", empty.to_str().unwrap()]].concat());
    eventually("it answers", || runtimes(&daemon, "answering"));
    drop(api);
    std::fs::remove_file(place.folder.path().join("podman.sock")).unwrap();
    place.run_one("wsp-nameless");
    daemon.says("the container runtime is away");
    eventually("it is counted as away", || runtimes(&daemon, "away") && !runtimes(&daemon, "answering"));
    let _api = Api::start(place.folder.path());
    place.run_one("wsp-named");
    daemon.says("the container runtime is back");
    eventually("it answers again", || runtimes(&daemon, "answering") && !runtimes(&daemon, "away"));
    eventually("it is named", || place.stored("wsp-named") == 1);
    // The other one is gone from the runtime's books: it has the name that was announced, or none, and is counted.
    let unnamed = || daemon.metric("wsp_capture_snapshots_unnamed_total");
    eventually("it is kept", || place.stored("wsp-nameless") == 1 || unnamed() >= 1.0);
    daemon.stop();
}

/// A small file system in memory, unmounted with its value.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=256k,mode=700", "wsp-test"];
        let _ = finish(Command::new("mount").args(mount).arg(at)).ok();
        Self(at.to_owned())
    }

    /// Takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let of = format!("of={}", ballast.display());
        // It ends as it should: without room.
        let ended = finish(Command::new("dd").args(["if=/dev/zero", &of, "bs=4096"]));
        assert!(ended.stderr.contains("No space left"), "{}", ended.stderr);
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = finish(Command::new("umount").arg("-l").arg(&self.0));
    }
}

#[test]
fn a_full_disk_loses_nothing_that_the_store_takes() {
    let (_api, mut place) = place();
    let disk = Disk::mount(&place.spool);
    let daemon = start(&place, "20s");
    place.run_one("wsp-disk-before");
    eventually("it is stored", || place.stored("wsp-disk-before") == 1);
    assert_eq!(daemon.metric("wsp_capture_spool_refused_total"), 0.0);

    let ballast = disk.fill();
    let health = daemon.get("/healthz");
    assert!(health.starts_with("HTTP/1.1 503") && health.contains("cannot be written"), "{health}");
    place.run_one("wsp-disk-full");
    eventually("it is stored past the disk", || place.stored("wsp-disk-full") == 1);
    daemon.says("the spool does not take a snapshot: uploading it at once");
    assert!(daemon.metric("wsp_capture_spool_refused_total") >= 1.0);
    assert_eq!(daemon.metric("wsp_capture_snapshots_dropped_total"), 0.0);

    // Both: now something is lost, and told.
    place.store.go_away();
    place.run_one("wsp-disk-nowhere");
    daemon.says("a snapshot is lost");
    eventually("it is counted", || daemon.metric("wsp_capture_snapshots_dropped_total") >= 1.0);

    std::fs::remove_file(ballast).unwrap();
    let refused = daemon.metric("wsp_capture_spool_refused_total");
    place.record("wsp-disk-free");
    place.store.come_back();
    eventually("it is stored", || place.stored("wsp-disk-free") == 1);
    assert_eq!(daemon.metric("wsp_capture_spool_refused_total"), refused);
    let health = daemon.get("/healthz");
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    daemon.stop();
    let all = place.store.snapshots();
    let stored = ["before", "full", "nowhere", "free"].map(|name| of(&all, &format!("wsp-disk-{name}")));
    assert_eq!(stored, [1, 1, 0, 1]);
}
