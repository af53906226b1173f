//! Jobs on a cluster of real processes: a scheduler and executors, each at an address of its own.

mod equal;
mod faults;
mod health;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wsp_tests::program;

/// How long a node has to do what it does in a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node's process; it ends with the value.
struct Node {
    child: Child,
    metrics: SocketAddr,
}

impl Node {
    /// Starts it, and waits until it says where its metrics are; gives its first line, too.
    fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || said.next().expect("a node says where it is").unwrap();
        let (first, second) = (next(), next());
        let metrics =
            second.strip_prefix("metrics at http://").and_then(|rest| rest.strip_suffix("/metrics"));
        let metrics = metrics.expect(&second).parse().unwrap();
        (Self { child, metrics }, first)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the kernel does.
    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The answer to a request, with its head.
    fn get(&self, path: &str) -> String {
        let mut answer = String::new();
        let asked = TcpStream::connect(self.metrics).and_then(|mut socket| {
            write!(socket, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            socket.read_to_string(&mut answer)
        });
        asked.map(|_| answer).unwrap_or_default()
    }

    fn is_ready(&self) -> bool {
        self.get("/readyz").starts_with("HTTP/1.1 200")
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One scheduler, and executors of a store.
struct Cluster {
    scheduler: Node,
    address: SocketAddr,
    executors: Vec<Node>,
    /// Addresses and ports of the executors, for those that are started anew.
    places: Vec<(String, u16, u16)>,
    store: PathBuf,
    /// By which executors find the store.
    environment: Vec<(&'static str, String)>,
    work: TempDir,
}

impl Cluster {
    fn start(store: &Path, executors: usize) -> Self {
        Self::start_with(store, executors, &[], &[])
    }

    /// With more options for the scheduler and for executors.
    fn start_with(store: &Path, executors: usize, scheduler_more: &[&str], more: &[&str]) -> Self {
        let mut cluster = Self::empty(store, executors, scheduler_more);
        for number in 0..executors {
            let executor = cluster.executor_with(number, &cluster.work.path().join(number.to_string()), more);
            cluster.executors.push(executor);
        }
        cluster.settle();
        cluster
    }

    /// A scheduler, and places for so many executors.
    fn empty(store: &Path, executors: usize, scheduler_more: &[&str]) -> Self {
        let (scheduler, address) = scheduler(SocketAddr::from(([127, 0, 0, 1], 0)), scheduler_more);
        Self {
            scheduler,
            address,
            executors: Vec::new(),
            places: Self::places(executors),
            store: store.to_owned(),
            environment: Vec::new(),
            work: tempfile::tempdir().unwrap(),
        }
    }

    /// Executors of a store that is found by environment variables.
    fn start_of(store: &str, executors: usize, environment: Vec<(&'static str, String)>) -> Self {
        let mut cluster = Self { environment, ..Self::empty(Path::new(store), executors, &[]) };
        cluster.executors = (0..executors).map(|number| cluster.executor(number)).collect();
        cluster.settle();
        cluster
    }

    /// Addresses of so many executors, with free ports.
    fn places(executors: usize) -> Vec<(String, u16, u16)> {
        let place = |number: usize| {
            let host = format!("127.0.0.{}", number + 2);
            // Both are held until both are known.
            let free = || TcpListener::bind((host.as_str(), 0)).unwrap();
            let (results, tasks) = (free(), free());
            let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
            (host.clone(), port(&results), port(&tasks))
        };
        (0..executors).map(place).collect()
    }

    /// Starts one executor.
    fn executor(&self, number: usize) -> Node {
        self.executor_with(number, &self.work.path().join(number.to_string()), &[])
    }

    fn executor_with(&self, number: usize, work: &Path, more: &[&str]) -> Node {
        let (host, port, task_port) = &self.places[number];
        let mut command = program::command("wsp");
        command.args(["cluster", "executor", "--slots", "1", "--metrics", "127.0.0.1:0", "--listen", host]);
        command.args(["--port", &port.to_string(), "--task-port", &task_port.to_string()]);
        command.args(["--scheduler", &self.address.to_string()]);
        command.arg("--store").arg(&self.store).arg("--work-dir").arg(work).args(more);
        command.envs(self.environment.iter().cloned());
        Node::start(&mut command).0
    }

    /// Waits until all executors are known. Those that ended are started anew, as whatever watches them would.
    fn settle(&mut self) {
        for number in 0..self.executors.len() {
            until("an executor is known to the scheduler", || {
                if self.executors[number].child.try_wait().unwrap().is_some() {
                    self.executors[number] = self.executor(number);
                }
                self.executors[number].is_ready()
            });
        }
        if !self.executors.is_empty() {
            until("the scheduler has executors", || self.scheduler.is_ready());
        }
    }

    fn url(&self) -> String {
        format!("df://{}", self.address)
    }

    /// Snapshots that all executors together looked at.
    fn read(&self) -> u64 {
        self.executors.iter().map(|executor| executor.metric("wsp_executor_snapshots_read_total")).sum()
    }
}

/// Starts a scheduler there.
fn scheduler(listen: SocketAddr, more: &[&str]) -> (Node, SocketAddr) {
    let mut command = program::command("wsp");
    command.args([
        "cluster",
        "scheduler",
        "--metrics",
        "127.0.0.1:0",
        "--executor-timeout",
        "4s",
        "--listen",
    ]);
    let (node, said) = Node::start(command.arg(listen.to_string()).args(more));
    let address = said.strip_prefix("listening on ").expect(&said).parse().unwrap();
    (node, address)
}

/// A fleet's snapshots in a store: images of two versions, six containers of each, so many snapshots of each container.
fn fleet(store: &Path, seed: u32, images: u32, snapshots: u32, lossy: &str) {
    let store = store.to_str().unwrap();
    let [seed, images, snapshots] = [seed, images, snapshots].map(|number| number.to_string());
    #[rustfmt::skip]
    let _ = program::run("wsp-datasets", [
        "generate", "--store", store, "--images", &images, "--versions", "2", "--containers", "6", "--snapshots", &snapshots,
        "--nodes", "120", "--no-truth", "--seed", &seed, "--lossy-share", lossy, "--late-share", lossy,
    ]).ok();
}

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Copies a file of one store into another.
fn copy(from: &Path, file: &Path, to: &Path) {
    let to = to.join(file.strip_prefix(from).unwrap());
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(file, to).unwrap();
}

/// A merge, with a clock long after all uploads.
fn merge(store: &Path, more: &[&str]) -> program::Ended {
    let store = store.to_str().unwrap();
    program::wsp(["merge", "--store", store, "--json", "--max-snapshots", "20"].iter().chain(more))
}
