//! `wsp serve`: the views over the PostgreSQL wire protocol, for psql, Grafana, DBeaver and whatever speaks it. It only reads.
//!
//! A connection is one task: [`connection`] admits it and runs its statements in a session ([`sessions`]), of which all that run
//! at the same time see one state of the tables. [`guard`] says which statements there are, [`limits`] ends those that take
//! too long, [`messages`] refuses what is too long to be kept, [`workers`] are the threads that compute, [`error`] gives errors the codes that clients know.

mod catalogue;
mod connection;
mod error;
mod guard;
mod limits;
mod messages;
mod metrics;
mod sessions;
mod tls;
mod workers;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion_postgres::pgwire;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wsp_schemas::store::Store;

use crate::views::QueryError;
use connection::Connection;
use metrics::Metrics;
use sessions::Sessions;

pub use connection::Login;
pub use tls::TlsError;

/// Connections beyond those that are let in: each is told that there are too many.
const TURNED_AWAY: usize = 512;
/// How long connections have to end when the server stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address and port; port 0 for any that is free.
    pub listen: SocketAddr,
    /// User and password; none lets everybody in who can connect.
    pub login: Option<Login>,
    /// Certificate chain and key, PEM files; none for no encryption.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Time that a statement has, with the reading of its rows.
    pub statement_timeout: Duration,
    /// Bytes that the statements of all connections may hold together before they spill to disk.
    pub memory: usize,
    /// Bytes that they may spill.
    pub spill: u64,
    /// Connections at the same time.
    pub max_connections: usize,
    /// Age from which on the tables are looked at again before a statement.
    pub refresh: Duration,
    /// Where Prometheus asks for metrics; none for nowhere.
    pub metrics: Option<SocketAddr>,
}

/// A server that cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The tables.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The address.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Certificate or key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A password that cannot be used.
    #[error("the password cannot be used: {reason}")]
    Password {
        /// Why.
        reason: &'static str,
    },
}

/// What connections share.
#[derive(Debug)]
struct Server {
    options: Options,
    sessions: Sessions,
    login: Option<Arc<connection::Verifier>>,
    /// One for each connection.
    places: Arc<Semaphore>,
    /// Statements that run at the same time; others wait for their turn.
    turns: Arc<Semaphore>,
    running: connection::Running,
    metrics: Arc<Metrics>,
}

/// A server that listens.
pub struct Listening {
    server: Arc<Server>,
    listener: TcpListener,
    tls: Option<pgwire::tokio::TlsAcceptor>,
    metrics: Option<(TcpListener, SocketAddr)>,
    /// Where; with the port that was free.
    pub address: SocketAddr,
}

/// Opens the tables and listens; nothing is answered before [`Listening::serve`].
pub async fn listen(store: &Store, options: Options) -> Result<Listening, ServeError> {
    let tls = options.tls.as_ref().map(|(certificate, key)| tls::acceptor(certificate, key)).transpose()?;
    let login = options.login.as_ref().map(connection::Verifier::of).transpose()?.map(Arc::new);
    let sessions = Sessions::open(store, &options).await?;
    let bind = async |address: SocketAddr| {
        let failed = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok::<_, ServeError>((listener, address))
    };
    let (listener, address) = bind(options.listen).await?;
    let metrics = match options.metrics {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let server = Arc::new(Server {
        sessions,
        login,
        places: Arc::new(Semaphore::new(options.max_connections)),
        turns: Arc::new(Semaphore::new(2 * cores)),
        running: connection::Running::default(),
        metrics: Arc::default(),
        options,
    });
    Ok(Listening { server, listener, tls, metrics, address })
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Listening {
    /// Where metrics are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|(_, address)| *address)
    }

    /// Serves until it is told to stop.
    pub async fn serve(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        if let Some((listener, _)) = self.metrics {
            let server = Arc::clone(&self.server);
            let page = move |path: &str| metrics::page(&server, path);
            tasks.spawn(crate::metrics::serve(listener, page, stop.clone()));
        }
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) if tasks.len() < self.server.options.max_connections + TURNED_AWAY => {
                    // Or what is small waits until what was sent before is acknowledged.
                    let _ = socket.set_nodelay(true);
                    let connection = Connection::new(Arc::clone(&self.server), stop.child_token());
                    tasks.spawn(talk(socket, peer, self.tls.clone(), connection));
                }
                Ok((_, peer)) => tracing::warn!(%peer, "too many connections: closed without an answer"),
                Err(error) => {
                    // Out of descriptors: others may close theirs meanwhile.
                    tracing::warn!("no connection could be accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        tasks.close();
        if tokio::time::timeout(FAREWELL, tasks.wait()).await.is_err() {
            tracing::warn!("{} connections did not end in time", tasks.len());
        }
    }
}

/// One connection, until one side ends it.
async fn talk(
    socket: TcpStream,
    peer: SocketAddr,
    tls: Option<pgwire::tokio::TlsAcceptor>,
    connection: Arc<Connection>,
) {
    let hung_up = hung_up(&socket);
    let told = messages::talk(socket, tls, Arc::clone(&connection));
    tokio::select! {
        told = told => if let Err(error) = told { tracing::debug!(%peer, "connection ended: {error}") },
        // What it asked for ends with it.
        () = hung_up => tracing::debug!(%peer, "connection dropped"),
        () = connection.closed() => tracing::debug!(%peer, "connection closed"),
    }
}

/// Waits until the other side closes its end: while a statement runs, nobody reads from the socket, and would see it.
fn hung_up(socket: &TcpStream) -> impl Future<Output = ()> + use<> {
    let watched =
        socket.as_fd().try_clone_to_owned().map(std::net::TcpStream::from).and_then(TcpStream::from_std);
    async move {
        let Ok(watched) = watched else { return std::future::pending().await };
        loop {
            match watched.ready(Interest::READABLE).await {
                Ok(ready) if ready.is_read_closed() => return,
                // Somebody else reads what came: waits for what comes next.
                Ok(_) => {
                    drop(watched.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into())));
                }
                Err(_) => return,
            }
        }
    }
}
