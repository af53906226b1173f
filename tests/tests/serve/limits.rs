//! What one client asks for costs the others nothing but time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::{Server, code, demo};

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_its_time_ends_with_an_error_and_the_connection_goes_on() {
    let store = demo();
    let server = Server::of(store.path(), &["--statement-timeout", "1s"]);
    let client = server.client().await;
    for endless in [
        "SELECT count(*) FROM generate_series(1, 100000000000) a, generate_series(1, 100000000) b",
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "SELECT a.value FROM generate_series(1, 100000000000) a ORDER BY a.value % 7 LIMIT 3",
    ] {
        let began = Instant::now();
        assert_eq!(code(client.simple_query(endless).await), "57014", "{endless}");
        assert_eq!(code(client.query(endless, &[]).await), "57014", "{endless}");
        // Not a limit of ours, but of the test's patience: far above two seconds, far below what the statement would take.
        assert!(began.elapsed() < Duration::from_secs(60), "{endless}: {:?}", began.elapsed());
    }
    // A client may give itself less time, but not more.
    client.simple_query("SET statement_timeout = '10min'").await.unwrap();
    assert_eq!(
        code(client.simple_query("SELECT count(*) FROM generate_series(1, 100000000000)").await),
        "57014"
    );
    server.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_the_memory_ends_with_an_error_and_the_connection_goes_on() {
    let store = demo();
    let server = Server::of(store.path(), &["--memory", "64M", "--spill", "16M"]);
    let client = server.client().await;
    for greedy in [
        "SELECT array_agg(value) FROM generate_series(1, 1000000000)",
        "SELECT string_agg(value::text, ',') FROM generate_series(1, 1000000000)",
    ] {
        assert_eq!(code(client.simple_query(greedy).await), "53200", "{greedy}");
    }
    server.goes_on().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_clients_each_is_served_or_told_that_there_are_too_many() {
    let store = demo();
    let server = Server::of(store.path(), &["--max-connections", "50", "--metrics", "127.0.0.1:0"]);
    let all = join_all((0..200).map(|_| server.connect(None))).await;
    let (mut served, mut refused) = (Vec::new(), 0);
    for one in all {
        match one {
            Ok(client) => served.push(client),
            Err(error) => {
                assert_eq!(code::<()>(Err(error)), "53300");
                refused += 1;
            }
        }
    }
    assert_eq!((served.len(), refused), (50, 150));
    let answers = join_all(served.iter().map(|client| client.query("SELECT count(*) FROM nodes", &[]))).await;
    let answers: Vec<i64> = answers.into_iter().map(|rows| rows.unwrap()[0].get(0)).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0] && *answer > 0), "{answers:?}");
    let text = super::clients::get(server.metrics.as_ref().unwrap()).await;
    assert!(text.contains("wsp_serve_connections 50\n"), "{text}");
    assert!(text.contains("wsp_serve_refused_connections_total 150\n"), "{text}");
    drop(served);
    // Places are given back.
    for _ in 0..100 {
        if server.connect(None).await.is_ok() {
            return server.goes_on().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no place was given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_asked_for_ends_when_it_is_gone_or_takes_it_back() {
    let store = demo();
    let server = Server::of(store.path(), &["--statement-timeout", "600s", "--metrics", "127.0.0.1:0"]);
    let endless = "SELECT count(*) FROM generate_series(1, 100000000000) a, generate_series(1, 100000000) b";
    let connected = async || {
        let text = super::clients::get(server.metrics.as_ref().unwrap()).await;
        let line =
            text.lines().find_map(|line| line.strip_prefix("wsp_serve_connections ")).map(str::to_owned);
        line.unwrap().parse::<u64>().unwrap()
    };
    // All turns are taken by clients that then vanish.
    for _ in 0..16 {
        let (client, connection) = server.config().connect(tokio_postgres::NoTls).await.unwrap();
        let socket = tokio::spawn(connection);
        let asked = tokio::time::timeout(Duration::from_millis(200), client.simple_query(endless)).await;
        assert!(asked.is_err(), "it does not end by itself");
        socket.abort();
    }
    let began = Instant::now();
    while connected().await > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} of 16 are connected", connected().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.goes_on().await;

    // While it computes, and while it sends.
    for endless in [endless, "SELECT value FROM generate_series(1, 100000000000)"] {
        let client = server.client().await;
        let token = client.cancel_token();
        // What comes before the server began is in vain, as with PostgreSQL: so it asks until there is an answer.
        let answered = Cell::new(false);
        let taking_back = async {
            while !answered.get() {
                token.cancel_query(tokio_postgres::NoTls).await.unwrap();
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let rows = async {
            let mut rows = std::pin::pin!(client.simple_query_raw(endless).await?);
            while let Some(row) = futures::StreamExt::next(&mut rows).await {
                row?;
            }
            Ok(())
        };
        let rows = async {
            let asked = rows.await;
            answered.set(true);
            asked
        };
        let (asked, ()) = tokio::join!(rows, taking_back);
        assert_eq!(code(asked), "57014", "{endless}");
        client.simple_query("SELECT 1").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stops_when_it_is_told_whatever_computes() {
    let store = demo();
    let mut server = Server::of(store.path(), &["--statement-timeout", "600s"]);
    let endless = [
        "SELECT count(*) FROM generate_series(1, 100000000000) a, generate_series(1, 100000000) b",
        "SELECT a.node_id FROM nodes a, nodes b, nodes c ORDER BY b.path, c.path LIMIT 1",
    ];
    let mut asked = Vec::new();
    for sql in endless.into_iter().cycle().take(6) {
        let client = server.client().await;
        asked.push(tokio::spawn(async move { client.simple_query(sql).await.map(|_| ()) }));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = std::process::Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status();
    assert!(told.unwrap().success());
    let began = Instant::now();
    let ended = loop {
        if let Some(ended) = server.child.try_wait().unwrap() {
            break ended;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(ended.code(), Some(0));
    for one in join_all(asked).await {
        assert!(one.unwrap().is_err(), "no answer was made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_sets_and_keeps_is_its_own() {
    let store = demo();
    let server = Server::of(store.path(), &[]);
    let (one, other) = (server.client().await, server.client().await);
    for zone in ["Asia/Tokyo", "nonsense"] {
        one.simple_query(&format!("SET timezone = '{zone}'")).await.unwrap();
        let now = other.query_one("SELECT date_trunc('hour', now())::text", &[]).await.unwrap();
        assert!(!now.get::<_, &str>(0).contains("+09:00"), "{now:?}");
    }
    // What is closed counts no more.
    for _ in 0..1_500 {
        one.query("SELECT 1", &[]).await.unwrap();
    }
    assert_eq!(code(one.simple_query(&"SELECT 1;".repeat(100)).await), "54000");
    one.simple_query("BEGIN").await.unwrap();
    one.simple_query("DECLARE c CURSOR FOR SELECT node_id FROM nodes").await.unwrap();
    assert_eq!(code(one.simple_query("FETCH 10000000000000 FROM c").await), "54000");
    one.simple_query("ROLLBACK").await.unwrap();
    // More cursors than may be open, one transaction after the other.
    for _ in 0..100 {
        let all = "BEGIN; DECLARE c CURSOR FOR SELECT node_id FROM nodes; FETCH 2 FROM c; COMMIT";
        one.simple_query(all).await.unwrap();
    }
}

/// Of the processor, in ticks of a hundredth of a second.
fn used(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_ran_out_of_time_computes_no_more() {
    let store = demo();
    let server = Server::of(store.path(), &["--statement-timeout", "1s"]);
    let client = server.client().await;
    client.simple_query("BEGIN").await.unwrap();
    let endless = "generate_series(1, 100000000000) a, generate_series(1, 100000000) b";
    client.simple_query(&format!("DECLARE c CURSOR FOR SELECT count(*) FROM {endless}")).await.unwrap();
    assert_eq!(code(client.simple_query("FETCH 1 FROM c").await), "57014");
    // It may have a moment to notice.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = used(&server);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(used(&server) - before < 100, "{} hundredths of a second in two seconds", used(&server) - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_to_be_asked_for_more_rows_holds_nobody_up() {
    let store = demo();
    let server = Server::of(store.path(), &["--statement-timeout", "10s"]);
    let mut clients = join_all((0..20).map(|_| server.client())).await;
    let mut held = Vec::new();
    for client in &mut clients {
        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind("SELECT node_id FROM nodes", &[]).await.unwrap();
        assert_eq!(transaction.query_portal(&portal, 1).await.unwrap().len(), 1);
        held.push((transaction, portal));
    }
    server.goes_on().await;
}
