//! Who gets in, and what can be read on the way.

use std::process::Command;

use wsp_tests::program;

use tempfile::TempDir;

use super::{Server, code, demo};

/// A server that lets in who knows the password.
fn guarded(store: &TempDir, password: &str, options: &[&str]) -> Server {
    let file = store.path().join("password");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    Server::of(store.path(), &[&["--password-file", file.to_str().unwrap()], options].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_password_lets_in() {
    let store = demo();
    let server = guarded(&store, "correct horse", &[]);
    for wrong in ["", "wrong", "correct horse ", "correct"] {
        let refused = server.connect(Some(wrong)).await;
        assert_eq!(code(refused), "28P01", "{wrong:?}");
    }
    assert!(server.connect(None).await.is_err(), "without a password");
    let client = server.connect(Some("correct horse")).await.unwrap();
    assert!(client.query_one("SELECT count(*) FROM nodes", &[]).await.unwrap().get::<_, i64>(0) > 0);
}

/// Messages of a client that does not keep to the protocol: none gets an answer to its query.
#[tokio::test(flavor = "multi_thread")]
async fn no_query_is_answered_before_the_login() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let store = demo();
    let server = guarded(&store, "secret", &[]);
    let message = |kind: Option<u8>, body: &[u8]| {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        kind.into_iter().chain(length).chain(body.iter().copied()).collect::<Vec<u8>>()
    };
    let startup = message(None, b"\x00\x03\x00\x00user\0wsp\0database\0wsp\0\0");
    let query = message(Some(b'Q'), b"SELECT 'let in'\0");
    let parse = message(Some(b'P'), b"\0SELECT 'let in'\0\0\0");
    let bind = message(Some(b'B'), b"\0\0\0\0\0\0\0\0");
    let execute = message(Some(b'E'), b"\0\0\0\0\0");
    let sync = message(Some(b'S'), b"");
    let no_sasl = message(Some(b'p'), b"secret\0");
    let other_sasl = message(Some(b'p'), b"PLAIN\0\0\0\0\x06secret");
    let bad_scram = message(Some(b'p'), b"SCRAM-SHA-256\0\0\0\0\x04n,,x");
    let extended: Vec<&[u8]> = vec![&parse, &bind, &execute, &sync];
    let tries: Vec<Vec<&[u8]>> = vec![
        vec![&query],
        vec![&startup, &query],
        vec![&startup, &no_sasl, &query],
        vec![&startup, &other_sasl, &query],
        vec![&startup, &bad_scram, &query],
        vec![&startup, &startup, &query],
        [vec![startup.as_slice()], extended.clone()].concat(),
        [vec![startup.as_slice(), &other_sasl], extended.clone()].concat(),
        extended,
    ];
    for (number, sent) in tries.into_iter().enumerate() {
        let mut socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
        for message in sent {
            // It may have closed its end already.
            let _ = socket.write_all(message).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("let in"), "try {number}: {text:?}");
    }
    assert!(server.connect(Some("secret")).await.is_ok());
}

/// Nobody fills the memory with a message, before the login or after it.
#[tokio::test(flavor = "multi_thread")]
async fn long_messages_are_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let store = demo();
    let server = guarded(&store, "secret", &[]);
    let mut socket = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let startup = b"\x00\x03\x00\x00user\0wsp\0database\0wsp\0\0";
    let length = u32::try_from(startup.len() + 4).unwrap().to_be_bytes();
    socket.write_all(&[length.as_slice(), startup].concat()).await.unwrap();
    socket.write_all(b"Q\x3f\xff\xff\x00").await.unwrap();
    let block = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while sent < 200 && socket.write_all(&block).await.is_ok() {
        sent += 1;
    }
    assert!(sent < 64, "{sent} MiB were taken");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;

    let client = server.connect(Some("secret")).await.unwrap();
    let long = format!("SELECT '{}'", "x".repeat(2 << 20));
    let refused = code(client.simple_query(&long).await);
    assert!(refused == "08P01" || refused.len() > 5, "{refused}: the connection ends");
    assert!(server.connect(Some("secret")).await.is_ok());
}

#[test]
fn what_others_could_read_or_ask_is_not_served() {
    let store = demo();
    let serve = |options: &[&str]| {
        let mut command = program::command("wsp");
        command.args(["serve", "--store"]).arg(store.path()).args(options);
        program::Ended::from(command.output().unwrap())
    };
    let open = serve(&["--listen", "0.0.0.0:0"]);
    assert_eq!(open.code, 1);
    assert!(open.stderr.contains("without a password"), "{}", open.stderr);
    let file = store.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let clear = serve(&["--listen", "0.0.0.0:0", "--password-file", file.to_str().unwrap()]);
    assert_eq!(clear.code, 1);
    assert!(clear.stderr.contains("--tls-cert"), "{}", clear.stderr);
    // A certificate that is none never means no encryption.
    let bad = file.to_str().unwrap();
    let broken = serve(&["--listen", "127.0.0.1:0", "--tls-cert", bad, "--tls-key", bad]);
    assert_eq!(broken.code, 1);
    assert!(broken.stderr.contains("holds no certificate"), "{}", broken.stderr);
    std::fs::write(&file, "\n").unwrap();
    let empty = serve(&["--listen", "127.0.0.1:0", "--password-file", bad]);
    assert_eq!(empty.code, 1);
    assert!(empty.stderr.contains("it is empty"), "{}", empty.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_get_in_without_encryption_where_somebody_said_so() {
    let store = demo();
    let server = guarded(&store, "secret", &["--listen", "0.0.0.0:0", "--user", "reader", "--without-tls"]);
    assert_eq!(code(server.connect(Some("secret")).await), "28P01", "it is another user's");
    let mut config = server.config();
    config.user("reader").password("secret");
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    assert!(client.query_one("SELECT count(*) FROM nodes", &[]).await.unwrap().get::<_, i64>(0) > 0);
}

#[test]
fn psql_verifies_the_certificate() {
    let store = demo();
    let (certificate, key) = (store.path().join("cert.pem"), store.path().join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed by tests/run.sh");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tls = ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = guarded(&store, "secret", &tls);
    let psql = |mode: &str| {
        let output = Command::new("psql")
            .args(["-X", "-At", "-c", "SELECT count(*) > 0 FROM nodes"])
            .arg(format!(
                "host=127.0.0.1 port={} user=wsp dbname=wsp sslmode={mode} sslrootcert={}",
                server.address.port(),
                certificate.display()
            ))
            .env("PGPASSWORD", "secret")
            .output()
            .expect("psql is installed by tests/run.sh");
        program::Ended::from(output)
    };
    assert_eq!(psql("verify-full").ok(), "t\n");
    assert_eq!(psql("disable").ok(), "t\n", "on this host both are allowed");
}
