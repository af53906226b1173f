//! A real S3 server for tests: signatures are checked, and conditional writes are honest.
//!
//! `s3s-fs` alone lets several writers win one `If-None-Match: *`; the gate lets one changing request in at a time.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::host::{S3Host, VirtualHost};
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

const ACCESS_KEY: &str = "wsp-test";
const SECRET_KEY: &str = "wsp-test-secret";

/// How a server keeps the promise of conditional writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// One changing request at a time: `If-None-Match: *` has one winner.
    Honest,
    /// `s3s-fs` as it is: it looks first and writes later.
    Open,
    /// The condition is not read at all, as by servers that do not know it.
    IgnoresConditions,
}

/// Buckets are hosts below this one; by any other name they stand in the path.
const DOMAIN: &str = "s3.example.com";

struct Hosts;

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> s3s::S3Result<VirtualHost<'a>> {
        let bucket = host.strip_suffix(DOMAIN).and_then(|below| below.strip_suffix('.'));
        Ok(match bucket {
            Some(bucket) => VirtualHost::new(DOMAIN).with_bucket(bucket),
            None => VirtualHost::new(host),
        })
    }
}

/// Of a hundred requests, how many are told to slow down.
#[derive(Debug, Clone, Default)]
pub struct Busy {
    share: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
}

impl Busy {
    /// Of a hundred.
    pub fn set(&self, share: u32) {
        self.share.store(share, Ordering::Relaxed);
    }

    /// The next request is one of them.
    fn refuses(&self) -> bool {
        // Spread over the hundred.
        let next = self.asked.fetch_add(1, Ordering::Relaxed).wrapping_mul(37) % 100;
        next < self.share.load(Ordering::Relaxed)
    }
}

/// What S3 answers then.
fn slow_down() -> hyper::Response<s3s::Body> {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
    let mut answer = hyper::Response::new(s3s::Body::from(bytes::Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
    answer
}

/// A running server; it ends with its runtime.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    busy: Busy,
}

impl S3Server {
    /// Starts a server over a folder, whose subfolders are its buckets.
    pub async fn start(folder: &Path) -> std::io::Result<Self> {
        Self::start_with(folder, Gate::Honest).await
    }

    /// Starts one where another one was.
    pub async fn start_at(folder: &Path, address: SocketAddr) -> std::io::Result<Self> {
        Self::listen(folder, Gate::Honest, address).await
    }

    /// Starts one that keeps its promises so.
    pub async fn start_with(folder: &Path, kind: Gate) -> std::io::Result<Self> {
        Self::listen(folder, kind, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn listen(folder: &Path, kind: Gate, address: SocketAddr) -> std::io::Result<Self> {
        let files =
            s3s_fs::FileSystem::new(folder).map_err(|error| std::io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        builder.set_host(Hosts);
        let service = builder.build();
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let gate = Arc::new(Mutex::new(()));
        let folder = folder.to_owned();
        let busy = Busy::default();
        let refusing = busy.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Or an answer's body waits until its head was acknowledged, 40 ms.
                let _ = socket.set_nodelay(true);
                let (service, gate, folder) = (service.clone(), Arc::clone(&gate), folder.clone());
                let refusing = refusing.clone();
                let gated = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let (service, gate, folder) = (service.clone(), Arc::clone(&gate), folder.clone());
                    let refuses = refusing.refuses();
                    async move {
                        let changes =
                            matches!(*request.method(), Method::PUT | Method::POST | Method::DELETE);
                        let _turn =
                            if changes && kind != Gate::Open { Some(gate.lock().await) } else { None };
                        if request.method() == Method::PUT && kind == Gate::IgnoresConditions {
                            // The header is signed: the object goes instead, so that every condition holds.
                            let key = request.uri().path().trim_start_matches('/');
                            let _ = std::fs::remove_file(folder.join(key));
                        }
                        // All of it is read before it is answered, as by S3: who is refused would else write to a closed connection.
                        let (head, body) = request.into_parts();
                        let body =
                            body.collect().await.map_err(|error| s3s::HttpError::new(Box::new(error)))?;
                        if refuses {
                            return Ok(slow_down());
                        }
                        service.call(hyper::Request::from_parts(head, s3s::Body::from(body.to_bytes()))).await
                    }
                });
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), gated)
                        .await;
                });
            }
        });
        Ok(Self { address, busy })
    }

    /// How busy it says to be.
    pub fn busy(&self) -> &Busy {
        &self.busy
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The environment by which our programs reach it.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Points a command at it.
    pub fn lead<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.environment())
    }
}
