//! What a daemon must survive.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::runtime::Runtime;
use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::{Container, eventually};
use wsp_tests::program::command;
use wsp_tests::s3::S3Server;

use super::{Api, Capture, files, image, snapshots};

/// An S3 server that can go away and come back.
struct Store<'a> {
    folder: &'a Path,
    address: SocketAddr,
    environment: Vec<(&'static str, String)>,
    runtime: Option<Runtime>,
}

impl<'a> Store<'a> {
    fn start(folder: &'a Path) -> Self {
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(S3Server::start(folder)).unwrap();
        let (address, environment) = (server.address(), server.environment().into());
        Self { folder, address, environment, runtime: Some(runtime) }
    }

    fn go_away(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    fn come_back(&mut self) {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(S3Server::start_at(self.folder, self.address)).unwrap();
        self.runtime = Some(runtime);
    }
}

/// How many of them are of a container.
fn of(snapshots: &[Verified], name: &str) -> usize {
    snapshots.iter().filter(|snapshot| snapshot.meta.container.name.as_deref() == Some(name)).count()
}

/// A daemon's place: its store and its spool.
struct Place<'a> {
    api: &'a Api,
    store: Store<'a>,
    spool: PathBuf,
}

impl Place<'_> {
    fn start(&self, stop_timeout: &str) -> Capture {
        let mut run = command("wsp-capture");
        run.args(["run", "--store", "s3://bucket", "--interval", "10m", "--stop-timeout", stop_timeout]);
        run.args(["--runtime-socket", &self.api.url]).arg("--spool").arg(&self.spool);
        Capture::start_as(run.envs(self.store.environment.clone()), "capturing")
    }

    /// Runs a container, and waits until its only snapshot is in the spool.
    fn record(&self, name: &str) {
        let container = Container::create(name, &["--network=none", &image("busy-1"), "/bin/true"]);
        container.start();
        container.wait();
        eventually("its snapshot is in the spool", || self.waiting(name) == 1);
    }

    fn waiting(&self, name: &str) -> usize {
        of(&files(&self.spool.join("waiting")), name)
    }
}

#[test]
fn a_store_that_is_away_and_a_killed_daemon_lose_no_closed_window() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    let objects = folder.path().join("s3");
    std::fs::create_dir_all(objects.join("bucket")).unwrap();
    let mut place = Place { api: &api, store: Store::start(&objects), spool: folder.path().join("spool") };
    let capture = place.start("60s");
    place.store.go_away();
    place.record("wsp-away-1");
    capture.kill();
    // It starts while the store is still away.
    let capture = place.start("60s");
    place.record("wsp-away-2");
    place.store.come_back();
    let stored = || {
        let stored = snapshots(&objects.join("bucket"));
        [of(&stored, "wsp-away-1"), of(&stored, "wsp-away-2")]
    };
    eventually("both are in the store", || stored() == [1, 1]);
    capture.stop();
    assert_eq!(stored(), [1, 1]);
    assert_eq!(std::fs::read_dir(place.spool.join("waiting")).unwrap().count(), 0);
}

#[test]
fn a_daemon_that_is_stopped_while_the_store_is_away_says_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let api = Api::start(folder.path());
    std::fs::create_dir_all(folder.path().join("bucket")).unwrap();
    let mut place =
        Place { api: &api, store: Store::start(folder.path()), spool: folder.path().join("spool") };
    let capture = place.start("1s");
    place.store.go_away();
    place.record("wsp-stopped");
    // In time, and not as a failure.
    capture.terminate();
    let (status, said) = capture.end();
    assert!(
        status.success() && said.contains(&place.spool.join("waiting").display().to_string()),
        "{status}: {said}"
    );
    assert_eq!(place.waiting("wsp-stopped"), 1);
    // Who asks twice does not want to wait.
    let capture = place.start("10m");
    capture.terminate();
    std::thread::sleep(std::time::Duration::from_secs(1));
    capture.terminate();
    let (status, said) = capture.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("stopped at once by a second signal") && said.contains("wait in"), "{said}");
    assert_eq!(place.waiting("wsp-stopped"), 1);
}
