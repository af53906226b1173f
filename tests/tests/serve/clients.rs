//! The clients that people use.

use std::process::Command;

use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use wsp_tests::program;

use super::{Server, code, demo};

/// What a URL on this host gives.
pub(super) async fn get(url: &str) -> String {
    let uri: hyper::Uri = url.parse().unwrap();
    let socket = tokio::net::TcpStream::connect(uri.authority().unwrap().as_str()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get(uri.path()).header("host", "localhost");
    let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn psql(server: &Server, arguments: &[&str]) -> program::Ended {
    let output = Command::new("psql")
        .args([
            "-X",
            "-P",
            "pager=off",
            "-h",
            "127.0.0.1",
            "-p",
            &server.address.port().to_string(),
            "-U",
            "wsp",
        ])
        .args(["-d", "wsp"])
        .args(arguments)
        .output()
        .expect("psql is installed by tests/run.sh");
    program::Ended::from(output)
}

fn counted(store: &tempfile::TempDir) -> i64 {
    let folder = store.path().to_str().unwrap();
    let csv =
        program::run("wsp", ["sql", "SELECT count(*) FROM nodes", "--store", folder, "--format", "csv"]).ok();
    csv.lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn psql_describes_and_answers() {
    let store = demo();
    let server = Server::of(store.path(), &[]);
    let views = psql(&server, &["-At", "-c", "\\d"]).ok();
    for view in ["activity", "docs", "nodes", "profiles", "rules", "signals", "snapshots", "suppressions"] {
        assert!(views.lines().any(|line| line.contains(&format!("public|{view}|"))), "{view}: {views}");
    }
    let columns = psql(&server, &["-At", "-c", "\\d nodes"]).ok();
    for column in ["image|text", "commonality|double precision", "container_count|integer", "args|text[]"] {
        assert!(columns.lines().any(|line| line.starts_with(column)), "{column}: {columns}");
    }
    assert!(psql(&server, &["-At", "-c", "\\dn"]).ok().contains("raw"));
    let count = psql(&server, &["-At", "-c", "SELECT count(*) FROM nodes"]).ok();
    assert_eq!(count.trim().parse::<i64>().unwrap(), counted(&store));
    // A row of each kind of value, as `wsp sql` has it.
    let query =
        "SELECT image, status, snapshot_count, commonality, tag_reused FROM profiles ORDER BY image LIMIT 3";
    let csv = psql(&server, &["--csv", "-c", query]).ok();
    let ours =
        program::run("wsp", ["sql", query, "--store", store.path().to_str().unwrap(), "--format", "csv"])
            .ok();
    let booleans = |text: &str| text.replace(",true", ",t").replace(",false", ",f");
    assert_eq!(booleans(&csv), booleans(&ours));
    // What is wrong is said with a code, and the next statement runs.
    let wrong =
        psql(&server, &["-v", "VERBOSITY=verbose", "-c", "SELECT nothing FROM nodes", "-c", "SELECT 1"]);
    assert!(wrong.stderr.contains("ERROR:  42703"), "{}", wrong.stderr);
    assert!(wrong.stdout.contains("(1 row)"), "{}", wrong.stdout);
    // More than one statement in one text.
    assert_eq!(psql(&server, &["-At", "-c", "SELECT 1; SELECT 2"]).ok(), "1\n2\n");
    let columns = psql(&server, &["-At", "-c", "DESCRIBE profiles"]).ok();
    assert!(columns.contains("commonality|"), "{columns}");
}

/// A Python with the clients in it, made once.
fn python() -> std::path::PathBuf {
    let folder = program::root().join("target/clients-venv");
    let python = folder.join("bin/python");
    assert!(python.is_file(), "{} is missing: tests/run.sh makes it", python.display());
    python
}

fn by_python(case: &str) {
    let store = demo();
    let count = counted(&store);
    let server = Server::of(store.path(), &[]);
    let output = Command::new(python())
        .arg(program::root().join("tests/clients/clients.py"))
        .args([case, &server.address.port().to_string(), &count.to_string()])
        .output()
        .unwrap();
    assert_eq!(program::Ended::from(output).ok(), "ok\n");
}

#[test]
fn psycopg_queries() {
    by_python("psycopg_queries");
}

#[test]
fn psycopg_cursors() {
    by_python("psycopg_cursors");
}

#[test]
fn psycopg_errors() {
    by_python("psycopg_errors");
}

#[test]
fn psycopg_transactions() {
    by_python("psycopg_transactions");
}

#[test]
fn sqlalchemy_reflects() {
    by_python("sqlalchemy_reflects");
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_and_dbeaver_start() {
    let store = demo();
    let server = Server::of(store.path(), &[]);
    for name in ["grafana", "dbeaver"] {
        let path = program::root().join(format!("tests/data/clients/{name}.sql"));
        let text = std::fs::read_to_string(path).unwrap();
        let client = server.client().await;
        for query in text.split("-- next\n").skip(1) {
            assert_eq!(code(client.simple_query(query).await), "none", "{name}: {query}");
        }
    }
    // What they draw: a series over time, and columns to choose from.
    let client = server.client().await;
    let tables =
        client.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'", &[]);
    assert!(tables.await.unwrap().len() >= 8);
    let series = "SELECT date_trunc('hour', window_end) AS time, count(*) AS snapshots FROM snapshots
        WHERE window_end BETWEEN '2000-01-01T00:00:00Z' AND '2100-01-01T00:00:00Z' GROUP BY 1 ORDER BY 1";
    assert!(!client.query(series, &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_tables_are_seen_but_not_within_a_transaction() {
    let store = demo();
    let folder = store.path().to_str().unwrap();
    let server = Server::of(store.path(), &["--refresh", "1s"]);
    let (mut within, outside, pooled) = (server.client().await, server.client().await, server.client().await);
    let count = "SELECT count(*) FROM profiles WHERE status = 'stable'";
    let transaction = within.transaction().await.unwrap();
    let before: i64 = transaction.query_one(count, &[]).await.unwrap().get(0);
    let prepared = pooled.prepare(&format!("{count} AND snapshot_count > $1")).await.unwrap();
    let counted = async || pooled.query_one(&prepared, &[&0_i32]).await.unwrap().get::<_, i64>(0);
    assert_eq!(counted().await, before);
    // The recordings are older than a profile learns for.
    let merged = program::run("wsp", ["merge", "--as-of", "2100-01-01", "--store", folder]);
    assert_eq!(merged.code, 0, "{}", merged.stderr);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let after: i64 = outside.query_one(count, &[]).await.unwrap().get(0);
    assert!(after > before, "{before} stable profiles before the merge, {after} after it");
    assert_eq!(counted().await, after, "a statement that was prepared before");
    assert_eq!(transaction.query_one(count, &[]).await.unwrap().get::<_, i64>(0), before);
    transaction.commit().await.unwrap();
    assert_eq!(within.query_one(count, &[]).await.unwrap().get::<_, i64>(0), after);
}
