//! Statements of somebody who wants to write, to read what is not the store's, or to keep the machine from its work.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use wsp_tests::program;

use super::{Server, code, demo};

/// How long an answer is waited for: far above the time that the server gives a statement.
const PATIENCE: Duration = Duration::from_secs(40);

/// What must become of a statement.
#[derive(Debug, Clone, Copy)]
enum Must {
    /// It is refused with this code.
    Fail(&'static str),
    /// It is refused, with whatever code.
    FailSomehow,
    /// It may be answered, and changes nothing.
    Harmless,
}

use Must::{Fail, FailSomehow, Harmless};

/// Writes, and settings of others.
const WRITES: [(&str, Must); 34] = [
    ("DROP TABLE nodes", Fail("42501")),
    ("DROP VIEW nodes", Fail("42501")),
    ("DROP SCHEMA raw CASCADE", Fail("42501")),
    ("TRUNCATE nodes", Fail("42501")),
    ("ALTER TABLE nodes ADD COLUMN x INT", Fail("42501")),
    ("CREATE TABLE stolen AS SELECT * FROM nodes", Fail("42501")),
    ("CREATE TABLE t (x INT)", Fail("42501")),
    ("CREATE VIEW nodes2 AS SELECT 1", Fail("42501")),
    ("CREATE OR REPLACE VIEW nodes AS SELECT 1", Fail("42501")),
    ("CREATE SCHEMA x", Fail("42501")),
    ("CREATE DATABASE x", Fail("42501")),
    ("CREATE FUNCTION f(INT) RETURNS INT RETURN $1 + 1", Fail("42501")),
    ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", Fail("42601")),
    ("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://other/bucket/'", Fail("42501")),
    ("INSERT INTO nodes VALUES (1)", Fail("42501")),
    ("INSERT INTO raw.profiles SELECT * FROM raw.profiles", Fail("42501")),
    ("UPDATE raw.profiles SET status = 'learning'", Fail("42501")),
    ("DELETE FROM raw.signals", Fail("42501")),
    ("MERGE INTO raw.signals USING raw.signals s ON true WHEN MATCHED THEN DELETE", Fail("42501")),
    ("SELECT * INTO stolen FROM nodes", Fail("42501")),
    ("WITH gone AS (DELETE FROM raw.signals RETURNING *) SELECT * FROM gone", Fail("42501")),
    ("WITH new AS (INSERT INTO raw.signals SELECT * FROM raw.signals RETURNING *) SELECT 1", Fail("42501")),
    ("EXPLAIN ANALYZE INSERT INTO raw.signals SELECT * FROM raw.signals", Fail("42501")),
    ("EXPLAIN DELETE FROM raw.signals", Fail("42501")),
    ("COPY nodes TO '{folder}/out.csv'", Fail("42501")),
    ("COPY (SELECT 1) TO '{folder}/out.parquet' STORED AS PARQUET", Fail("42601")),
    ("COPY nodes FROM '/etc/passwd'", Fail("42501")),
    ("COPY nodes TO PROGRAM 'touch {folder}/out'", Fail("42501")),
    ("PREPARE p AS DELETE FROM raw.signals", Fail("42501")),
    ("DECLARE c CURSOR FOR SELECT * INTO stolen FROM nodes", Fail("42501")),
    ("SET datafusion.execution.batch_size = 1", Fail("42704")),
    ("SET datafusion.execution.target_partitions = 100000", Fail("42704")),
    ("GRANT ALL ON nodes TO PUBLIC", Fail("42501")),
    ("VACUUM", Fail("42501")),
];

/// Files and addresses outside the store.
const READS: [(&str, Must); 16] = [
    ("SELECT * FROM '/etc/passwd'", Fail("42P01")),
    ("SELECT * FROM 'file:///etc/passwd'", Fail("42P01")),
    ("SELECT * FROM '{folder}/secret.parquet'", Fail("42P01")),
    ("SELECT * FROM \"/etc/passwd\"", Fail("42P01")),
    ("SELECT * FROM 's3://other/secret.parquet'", Fail("42P01")),
    ("SELECT * FROM 'http://127.0.0.1/secret.csv'", Fail("42P01")),
    ("SELECT * FROM read_csv('/etc/passwd')", Fail("42601")),
    ("SELECT * FROM read_parquet('{folder}/secret.parquet')", Fail("42601")),
    ("SELECT * FROM parquet_metadata('{folder}/secret.parquet')", Fail("42601")),
    ("SELECT pg_read_file('/etc/passwd')", Fail("42883")),
    ("SELECT pg_ls_dir('/')", Fail("42883")),
    ("SELECT lo_import('/etc/passwd')", Fail("42883")),
    ("SELECT getenv('HOME')", Fail("42883")),
    ("LOAD '/tmp/x.so'", Fail("42501")),
    ("SELECT * FROM pg_catalog.pg_authid", Harmless),
    ("SELECT current_setting('data_directory')", Harmless),
];

/// What would take all memory, or the planner's time.
fn greedy() -> Vec<(String, Must)> {
    let mut tables = "WITH a0 AS (SELECT 1 AS x)".to_owned();
    let mut texts = "WITH a0 AS (SELECT node_id AS x FROM nodes)".to_owned();
    let mut lists = "WITH a0 AS (SELECT make_array(node_id) AS x FROM nodes)".to_owned();
    let mut nested = "WITH a0 AS (SELECT make_array(node_id) AS x FROM nodes)".to_owned();
    for n in 1..40 {
        let before = n - 1;
        tables += &format!(", a{n} AS (SELECT p.x FROM a{before} AS p CROSS JOIN a{before} AS q)");
        texts += &format!(", a{n} AS (SELECT x || x AS x FROM a{before})");
        lists += &format!(", a{n} AS (SELECT array_concat(x, x) AS x FROM a{before})");
        nested += &format!(", a{n} AS (SELECT make_array(x, x) AS x FROM a{before})");
    }
    let encoded = (0..40).fold("node_id".to_owned(), |inner, _| format!("encode({inner}::bytea, 'hex')"));
    let called = (0..40).fold("node_id".to_owned(), |inner, _| format!("upper({inner})"));
    let chained =
        |link: &str, links: usize| (format!("SELECT 1{} FROM nodes", link.repeat(links)), Fail("54001"));
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let long = format!("SELECT '{}'", "x".repeat(1 << 19));
    [
        (format!("{tables} SELECT count(*) FROM a39"), Fail("54001")),
        (format!("{texts} SELECT max(length(x)) FROM a39"), Fail("22000")),
        (format!("{lists} SELECT max(array_length(x)) FROM a39"), Fail("54001")),
        (format!("{nested} SELECT x FROM a39 LIMIT 1"), Fail("54001")),
        (format!("SELECT max(length({encoded})) FROM nodes"), Fail("54001")),
        (format!("SELECT {called} FROM nodes"), Fail("54001")),
        chained(" + 1", 15_000),
        chained(" + port", 300),
        chained(" || path", 250),
        chained("::int", 10_000),
        chained(" OR true", 7_000),
        chained(" UNION ALL SELECT 1", 3_000),
        chained(" FROM nodes JOIN nodes ON true", 2_000),
        chained(" IS NULL", 7_000),
        ("SELECT 1 FROM nodes WHERE ".to_owned() + &"NOT ".repeat(15_000) + "true", Fail("42601")),
        ("SELECT ".to_owned() + &"- ".repeat(30_000) + "1", Fail("54001")),
        ("SELECT ".to_owned() + &"CASE WHEN true THEN ".repeat(2_000) + "1" + &" END".repeat(2_000), Fail("54001")),
        ("SELECT * FROM ".to_owned() + &"(".repeat(20_000) + "nodes" + &")".repeat(20_000), Fail("54001")),
        (format!("SELECT port {} FROM nodes LIMIT 1", " + port".repeat(250)), Harmless),
        (format!("SELECT count(*) FROM nodes WHERE {}", vec!["image = 'a'"; 128].join(" OR ")), Harmless),
        (format!("SELECT path {} FROM nodes LIMIT 1", " || path".repeat(64)), Harmless),
        (format!("SELECT 1 {}", " UNION ALL SELECT 1".repeat(250)), Harmless),
        (deep, Fail("54001")),
        (long, Fail("54001")),
        ("SELECT repeat('x', 2000000000)".to_owned(), Fail("22000")),
        ("SELECT repeat(repeat('x', 60000000), 60)".to_owned(), Fail("22000")),
        ("SELECT length(lpad('x', 2000000000))".to_owned(), Fail("22000")),
        ("SELECT length(rpad(node_id, 1000000000, 'ab')) FROM nodes".to_owned(), Fail("22000")),
        ("SELECT replace(repeat('x', 1000000), 'x', repeat('y', 1000000))".to_owned(), Fail("22000")),
        ("SELECT regexp_replace(repeat('x', 1000000), 'x', repeat('y', 1000000), 'g')".to_owned(), Fail("22000")),
        ("SELECT array_repeat('x', 2000000000)".to_owned(), Fail("42883")),
        ("SELECT range(0, 100000000000)".to_owned(), Fail("42883")),
        ("SELECT array_to_string(make_array('a', 'b', 'c'), repeat('x', 50000000))".to_owned(), Fail("22000")),
        (
            "SELECT count(*) FROM nodes a, nodes b, nodes c, nodes d, nodes e, nodes f, nodes g".to_owned(),
            Fail("57014"),
        ),
        (
            "SELECT a.node_id FROM nodes a, nodes b, nodes c, nodes d, nodes e ORDER BY b.path, c.path LIMIT 1"
                .to_owned(),
            FailSomehow,
        ),
    ]
    .into()
}

/// Objects of a folder, with their sizes and times.
fn objects(folder: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            if about.is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path().display().to_string(), (about.len(), about.modified().unwrap()));
            }
        }
    }
    found
}

fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_writes_reads_elsewhere_or_takes_the_machine() {
    let store = demo();
    std::fs::write(store.path().join("secret.parquet"), b"PAR1").unwrap();
    let before = objects(store.path());
    let server =
        Server::of(store.path(), &["--statement-timeout", "5s", "--memory", "128M", "--spill", "64M"]);
    let folder = store.path().display().to_string();
    let fixed = WRITES.into_iter().chain(READS);
    let fixed = fixed.map(|(sql, must)| (sql.replace("{folder}", &folder), must));
    let all: Vec<(String, Must)> = fixed.chain(greedy()).collect();
    assert!(all.len() >= 40);
    for (sql, must) in all {
        let shown: String = sql.chars().take(120).collect();
        let client = server.client().await;
        let began = Instant::now();
        let simple = timeout(PATIENCE, client.simple_query(&sql)).await;
        let extended = timeout(PATIENCE, client.query(&sql, &[])).await;
        for (way, got) in [("simple", simple.map(code)), ("extended", extended.map(code))] {
            let got = got.unwrap_or_else(|_| panic!("{way}: no answer: {shown}"));
            match must {
                Fail(wanted) => assert_eq!(got, wanted, "{way}: {shown}"),
                FailSomehow => {
                    assert_ne!(got, "none", "{way}: {shown}");
                    // An answer of the server, and not a connection that broke.
                    assert_eq!(got.len(), 5, "{way}: {shown}: {got}");
                    assert_ne!(got, "XX000", "{way}: {shown}");
                }
                Harmless => {
                    assert!(got == "none" || got.len() == 5, "{way}: {shown}: {got}");
                    assert_ne!(got, "XX000", "{way}: {shown}");
                }
            }
        }
        println!("{shown}: {:?}", began.elapsed());
        assert!(memory(&server) < 1 << 30, "{shown}: {} bytes", memory(&server));
    }
    server.goes_on().await;
    assert_eq!(objects(store.path()), before, "the store is as it was");
    let client = server.client().await;
    let leaked = client.query(
        "SELECT table_name FROM information_schema.tables WHERE table_name ~ 'stolen|^t$|nodes2'",
        &[],
    );
    assert_eq!(leaked.await.unwrap().len(), 0);
}

/// `wsp sql` reads by the same rules.
#[test]
fn the_command_line_only_reads_too() {
    let store = demo();
    let before = objects(store.path());
    let folder = store.path().display().to_string();
    for (sql, must) in WRITES.into_iter().chain(READS) {
        if matches!(must, Harmless) {
            continue;
        }
        let sql = sql.replace("{folder}", &folder);
        let ended = program::run("wsp", ["sql", &sql, "--store", &folder]);
        assert_eq!(ended.code, 1, "{sql}: {} {}", ended.stdout, ended.stderr);
    }
    assert_eq!(objects(store.path()), before, "the store is as it was");
}
