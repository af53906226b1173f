//! A daemon with what is around it: its store, its spool, its log and its metrics.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::runtime::Runtime;
use wsp_schemas::keys::SnapshotKey;
use wsp_schemas::snapshot::Verified;
use wsp_tests::podman::{Container, eventually};
use wsp_tests::program::{command, finish};
use wsp_tests::s3::S3Server;

use super::{files, image, snapshots};

/// An S3 server that can go away and come back.
pub(super) struct Store {
    folder: PathBuf,
    address: SocketAddr,
    pub(super) environment: Vec<(&'static str, String)>,
    runtime: Option<Runtime>,
}

impl Store {
    /// Over a folder that is made here; its only bucket is `bucket`.
    pub(super) fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("bucket")).unwrap();
        let runtime = Runtime::new().unwrap();
        let server = runtime.block_on(S3Server::start(folder)).unwrap();
        let (address, environment) = (server.address(), server.environment().into());
        Self { folder: folder.to_owned(), address, environment, runtime: Some(runtime) }
    }

    pub(super) fn go_away(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    pub(super) fn come_back(&mut self) {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(S3Server::start_at(&self.folder, self.address)).unwrap();
        self.runtime = Some(runtime);
    }

    /// All snapshots in it, verified.
    pub(super) fn snapshots(&self) -> Vec<Verified> {
        snapshots(&self.folder.join("bucket"))
    }

    /// Contents by object key.
    pub(super) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        fn walk(top: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(top, &path, found);
                } else {
                    let key = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
                    found.insert(key, std::fs::read(&path).unwrap());
                }
            }
        }
        let (mut found, top) = (BTreeMap::new(), self.folder.join("bucket"));
        walk(&top, &top.join("snapshots"), &mut found);
        found
    }
}

/// What a spool holds, by object key.
pub(super) fn waiting(spool: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(spool.join("waiting")).into_iter().flatten();
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let key = entry.file_name().to_str().unwrap().replace('~', "/");
        assert!(SnapshotKey::parse(&key).is_ok(), "{key}");
        (key, std::fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

/// How many of them are of a container.
pub(super) fn of(snapshots: &[Verified], name: &str) -> usize {
    snapshots.iter().filter(|snapshot| snapshot.meta.container.name.as_deref() == Some(name)).count()
}

/// Where a daemon works: over a store in S3, named by a runtime's socket.
pub(super) struct Place {
    pub(super) folder: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) spool: PathBuf,
    pub(super) socket: String,
    starts: std::cell::Cell<usize>,
}

impl Place {
    pub(super) fn new(socket: impl FnOnce(&Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::start(&folder.path().join("s3"));
        let (spool, socket) = (folder.path().join("spool"), socket(folder.path()));
        Self { folder, store, spool, socket, starts: std::cell::Cell::default() }
    }

    /// Starts a daemon with these options beside the usual ones; it may not record yet.
    pub(super) fn spawn(&self, options: &[&str]) -> Daemon {
        self.spawn_as(&mut command("wsp-capture"), options)
    }

    /// The same, of a program that may have arguments and an environment of its own.
    pub(super) fn spawn_as(&self, run: &mut Command, options: &[&str]) -> Daemon {
        run.args(["run", "--store", "s3://bucket", "--listen", "127.0.0.1:0"]);
        run.args(["--runtime-socket", &self.socket]).arg("--spool").arg(&self.spool).args(options);
        self.starts.set(self.starts.get() + 1);
        let log = self.folder.path().join(format!("log-{}", self.starts.get()));
        run.envs(self.store.environment.clone()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        Daemon { child: run.spawn().unwrap(), log }
    }

    /// Starts one, and waits until it records.
    pub(super) fn start(&self, options: &[&str]) -> Daemon {
        let mut daemon = self.spawn(options);
        daemon.ready();
        daemon
    }

    /// Runs a container that lives for an instant.
    pub(super) fn run_one(&self, name: &str) {
        let container = Container::create(name, &["--network=none", &image("busy-1"), "/bin/true"]);
        container.start();
        container.wait();
    }

    /// Runs a container, and waits until its only snapshot is in the spool.
    pub(super) fn record(&self, name: &str) {
        self.run_one(name);
        eventually("its snapshot is in the spool", || self.waiting(name) == 1);
    }

    /// Snapshots of a container in the spool.
    pub(super) fn waiting(&self, name: &str) -> usize {
        of(&files(&self.spool.join("waiting")), name)
    }

    /// Snapshots of a container in the store.
    pub(super) fn stored(&self, name: &str) -> usize {
        of(&self.store.snapshots(), name)
    }
}

/// A daemon that runs. It dies with its value.
pub(super) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Waits until it records.
    pub(super) fn ready(&mut self) {
        eventually("it captures", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "wsp-capture ended early: {}", self.log());
            self.log().contains("capturing all containers")
        });
    }

    /// What it has said.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it says something.
    pub(super) fn says(&self, what: &str) {
        eventually(&format!("it says `{what}`"), || self.log().contains(what));
    }

    /// The answer of a path, from its first line on.
    pub(super) fn get(&self, path: &str) -> String {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("metrics and health")).unwrap();
        let address = line.rsplit_once("address=").unwrap().1.trim();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The value of a series of its metrics.
    pub(super) fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series} in {text}")).parse().unwrap()
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        let pid = self.child.id().to_string();
        let _ = finish(Command::new("kill").args(["-TERM", &pid])).ok();
    }

    /// Ends it as a crash does; what it said.
    pub(super) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log()
    }

    /// How it ends, and what it said.
    pub(super) fn end(mut self) -> (ExitStatus, String) {
        (self.child.wait().unwrap(), self.log())
    }

    /// Asks it to end, and waits; what it said.
    pub(super) fn stop(self) -> String {
        self.terminate();
        let (status, said) = self.end();
        assert!(status.success(), "{status}: {said}");
        said
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended where the test went well.
        if std::thread::panicking() {
            println!("{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
