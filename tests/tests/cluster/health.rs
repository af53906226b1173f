//! What nodes say of themselves, and whom they refuse.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use wsp_tests::program;

use super::{Cluster, fleet, merge, scheduler, until};

#[test]
fn a_node_says_whether_it_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    fleet(folder.path(), 1, 1, 4, "0");
    let (alone, _) = scheduler(SocketAddr::from(([127, 0, 0, 1], 0)), &[]);
    assert!(alone.get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(alone.get("/readyz").starts_with("HTTP/1.1 503"), "a scheduler without executors");
    assert!(alone.get("/").starts_with("HTTP/1.1 404"));
    let mut cluster = Cluster::start(folder.path(), 1);
    assert_eq!(cluster.executors[0].metric("wsp_executor_slots"), 1);
    cluster.scheduler.kill();
    until("an executor without a scheduler is not ready", || !cluster.executors[0].is_ready());
}

#[test]
fn nodes_that_cannot_start_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = program::wsp(["cluster", "scheduler", "--listen", &address]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains(&address) && ended.stderr.contains("hint:"), "{}", ended.stderr);
    let executor = |more: &[&str]| {
        let options = ["cluster", "executor", "--scheduler", "127.0.0.1:1", "--store", store];
        program::wsp(options.iter().chain(more))
    };
    let ended = executor(&["--work-dir", "/proc/nowhere"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("work directory"), "{}", ended.stderr);
    let missing = folder.path().join("missing");
    let ended = program::wsp([
        "cluster",
        "executor",
        "--scheduler",
        "127.0.0.1:1",
        "--store",
        missing.to_str().unwrap(),
    ]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let ended = program::wsp(["merge", "--store", store, "--cluster", "http://127.0.0.1:1"]);
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("df://HOST:PORT"), "{}", ended.stderr);
}

#[test]
fn an_executor_of_another_store_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let [mine, theirs] = ["mine", "theirs"].map(|name| folder.path().join(name));
    fleet(&mine, 1, 1, 4, "0");
    fleet(&theirs, 2, 1, 4, "0");
    let cluster = Cluster::start(&theirs, 1);
    let started = Instant::now();
    let ended = merge(&mine, &["--cluster", &cluster.url()]);
    assert_eq!(ended.code, 1, "{}", ended.stdout);
    for said in ["another store", "theirs", "--store", &cluster.url()] {
        assert!(ended.stderr.contains(said), "no `{said}` in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains('\\'), "{}", ended.stderr);
    assert!(started.elapsed() < Duration::from_secs(30), "it is not asked again");
    // Nothing was decided: on one machine all is as if it had not been tried.
    let report: serde_json::Value = serde_json::from_str(&merge(&mine, &[]).ok()).unwrap();
    assert!(report["admitted"].as_u64().unwrap() > 0 && report["unavailable"].as_array().unwrap().is_empty());
}

#[test]
fn a_job_without_a_cluster_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fleet(folder.path(), 1, 1, 4, "0");
    let ended = merge(folder.path(), &["--cluster", "df://127.0.0.1:1"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("df://127.0.0.1:1") && ended.stderr.contains("hint:"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("TransportError"), "{}", ended.stderr);
}
