//! What the server counts, in Prometheus' text format.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Server;

/// Whoever asks has this long.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label's values")]
enum Outcome {
    ok,
    error,
}

/// Counters.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) connections: Gauge,
    pub(super) refused: Counter,
    pub(super) failed_logins: Counter,
    statements: Family<Ended, Counter>,
    seconds: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            refused: Counter::default(),
            failed_logins: Counter::default(),
            statements: Family::default(),
            // 1 ms to half a minute.
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
        }
    }
}

impl Metrics {
    pub(super) fn statement(&self, succeeded: bool, took: Duration) {
        let result = if succeeded { Outcome::ok } else { Outcome::error };
        self.statements.get_or_create(&Ended { result }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    fn text(&self, memory: usize) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("wsp_serve");
        registry.register("connections", "Clients that are connected", self.connections.clone());
        registry.register(
            "refused_connections",
            "Clients that were refused since there were too many",
            self.refused.clone(),
        );
        registry.register("failed_logins", "Logins that failed", self.failed_logins.clone());
        registry.register("statements", "Statements that ended", self.statements.clone());
        registry.register_with_unit(
            "statement_duration",
            "Time from a statement to its last row",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register_with_unit(
            "memory",
            "What statements hold of --memory",
            Unit::Bytes,
            ConstGauge::new(i64::try_from(memory).unwrap_or(i64::MAX)),
        );
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

/// Answers Prometheus at `/metrics`.
pub(super) async fn serve(listener: TcpListener, server: Arc<Server>, stop: CancellationToken) {
    loop {
        let socket = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let server = Arc::clone(&server);
        let answer = hyper::service::service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(answer(&server, &request)) }
        });
        tokio::spawn(async move {
            let talk = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(socket), answer);
            if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, talk).await {
                tracing::debug!("metrics could not be given: {error}");
            }
        });
    }
}

fn answer(server: &Server, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/metrics" => match server.metrics.text(server.sessions.memory()) {
            Ok(text) => (StatusCode::OK, text),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        },
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
    );
    response
}
