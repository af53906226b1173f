//! `/metrics`, `/healthz` and `/livez` over HTTP, for Prometheus and for probes. Nothing can be changed through it.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::metrics::{self, Metrics};
use crate::pulse::Pulse;
use crate::spool::Spool;

/// Requests at once; more wait.
const REQUESTS: usize = 16;
/// How long one may take, reading it and writing the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// An address that cannot be listened at.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}")]
pub struct ListenError {
    /// It.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// What is served.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    told: Arc<Told>,
}

#[derive(Debug)]
struct Told {
    registry: Registry,
    pulse: Pulse,
    spool: Spool,
}

impl Server {
    /// Begins to listen.
    pub async fn bind(
        address: SocketAddr,
        metrics: &Metrics,
        pulse: Pulse,
        spool: Spool,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self { listener, told: Arc::new(Told { registry: metrics.registry(&spool), pulse, spool }) })
    }

    /// Where it listens, its port as the kernel chose it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for ever.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(REQUESTS));
        loop {
            // It is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection to the metrics is refused");
                    sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let told = Arc::clone(&self.told);
            tokio::spawn(async move {
                // Who asks too slowly, or leaves, has no answer.
                let _ = timeout(PATIENCE, talk(stream, told)).await;
                drop(place);
            });
        }
    }
}

async fn talk(stream: TcpStream, told: Arc<Told>) -> Result<(), hyper::Error> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let told = Arc::clone(&told);
        async move { Ok::<_, Infallible>(told.answer(&request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
    http.serve_connection(TokioIo::new(stream), answer).await
}

impl Told {
    async fn answer(self: Arc<Self>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        let path = request.uri().path().to_owned();
        // The spool and /proc are files.
        let answered = tokio::task::spawn_blocking(move || self.at(&path)).await;
        answered.unwrap_or_else(|error| plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
    }

    fn at(&self, path: &str) -> Response<Full<Bytes>> {
        match path {
            "/metrics" => {
                let mut response = plain(StatusCode::OK, metrics::text(&self.registry));
                let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            "/healthz" => state(&self.pulse.health(&self.spool)),
            "/livez" => state(self.pulse.liveness().as_slice()),
            _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /livez\n".to_owned()),
        }
    }
}

fn state(wrong: &[String]) -> Response<Full<Bytes>> {
    if wrong.is_empty() {
        return plain(StatusCode::OK, "ok\n".to_owned());
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, wrong.join("\n") + "\n")
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::sink::Sink;

    async fn ask(at: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn each_path_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::open(folder.path().join("store").to_str().unwrap()).unwrap();
        let spool = Spool::open(&folder.path().join("spool"), 1 << 20, sink).unwrap();
        let (metrics, pulse) = (Metrics::default(), Pulse::default());
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(any, &metrics, pulse.clone(), spool).await.unwrap();
        let at = server.address().unwrap();
        tokio::spawn(server.serve());

        let answer = ask(at, "GET /healthz").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("starting"), "{answer}");
        assert!(ask(at, "GET /livez").await.starts_with("HTTP/1.1 200 "));
        pulse.ready("");
        let answer = ask(at, "GET /healthz").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
        metrics.start_missed();
        let answer = ask(at, "GET /metrics").await;
        assert!(answer.contains(metrics::CONTENT_TYPE) && answer.ends_with("# EOF\n"), "{answer}");
        assert!(answer.contains("\nwsp_capture_starts_missed_total 1\n"), "{answer}");
        std::fs::remove_dir_all(folder.path().join("spool/partial")).unwrap();
        let answer = ask(at, "GET /healthz").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("cannot be written"), "{answer}");

        assert!(ask(at, "HEAD /metrics").await.ends_with("\r\n\r\n"));
        assert!(ask(at, "GET /").await.contains("/healthz"));
        assert!(ask(at, "POST /metrics").await.starts_with("HTTP/1.1 405 "));
        assert!(ask(at, "nonsense").await.starts_with("HTTP/1.1 400 "));
        let taken = Server::bind(at, &metrics, pulse, {
            let sink = Sink::open(folder.path().join("store").to_str().unwrap()).unwrap();
            Spool::open(&folder.path().join("other"), 1 << 20, sink).unwrap()
        });
        assert_eq!(taken.await.unwrap_err().to_string(), format!("cannot listen at {at}"));
    }
}
