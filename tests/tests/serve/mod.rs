//! `wsp serve`, asked by real clients: psql, psycopg, SQLAlchemy, and by what Grafana and DBeaver send when they start.

mod clients;
mod hostile;
mod limits;
mod security;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};
use wsp_tests::program;

/// A store as `wsp demo` makes it.
fn demo() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = program::run("wsp", ["demo", "--dir", folder.path().to_str().unwrap()]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    folder
}

/// A server that runs; it ends with the value.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    metrics: Option<String>,
}

impl Server {
    pub(crate) fn of(store: &Path, options: &[&str]) -> Self {
        let mut command = program::command("wsp");
        command.args(["serve", "--store"]).arg(store).args(options);
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = |before: &str| {
            let line = said.next().expect("the server says where it listens").unwrap();
            line.strip_prefix(before).expect(&line).to_owned()
        };
        let address = next("listening on ").parse().unwrap();
        let metrics = options.contains(&"--metrics").then(|| next("metrics at "));
        Self { child, address, metrics }
    }

    pub(crate) async fn client(&self) -> Client {
        self.connect(None).await.unwrap()
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        config.host(self.address.ip().to_string()).port(self.address.port()).user("wsp").dbname("wsp");
        config
    }

    async fn connect(&self, password: Option<&str>) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.config();
        if let Some(password) = password {
            config.password(password);
        }
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Whether it still answers.
    async fn goes_on(&self) {
        let client = self.client().await;
        let rows = client.query("SELECT count(*) FROM profiles", &[]).await.unwrap();
        assert!(rows[0].get::<_, i64>(0) > 0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The code of an error that the server gave.
fn code<T>(result: Result<T, tokio_postgres::Error>) -> String {
    match result {
        Ok(_) => "none".to_owned(),
        Err(error) => {
            println!("{error:?}");
            error.code().map_or_else(|| format!("{error:?}"), |code| code.code().to_owned())
        }
    }
}
