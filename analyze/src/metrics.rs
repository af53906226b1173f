//! Small pages for machines over HTTP: metrics in Prometheus' text format, and whether a process is well.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whoever asks has this long.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said at a path.
#[derive(Debug)]
pub(crate) enum Page {
    /// Metrics.
    Metrics(Registry),
    /// A line, and whether all is well.
    #[cfg(feature = "distributed")]
    Health(bool, &'static str),
    /// Nothing; what there is instead.
    Missing(&'static str),
}

/// Answers until it is told to stop. `page` says what is at a path.
pub(crate) async fn serve(
    listener: TcpListener,
    page: impl Fn(&str) -> Page + Send + Sync + 'static,
    stop: CancellationToken,
) {
    let page = Arc::new(page);
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
        let page = Arc::clone(&page);
        let answer = hyper::service::service_fn(move |request: Request<Incoming>| {
            let page = page(request.uri().path());
            async move { Ok::<_, Infallible>(answer(page)) }
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

fn answer(page: Page) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let (status, kind, body) = match page {
        Page::Metrics(registry) => {
            let mut body = String::new();
            match text::encode(&mut body, &registry) {
                Ok(()) => (StatusCode::OK, METRICS, body),
                Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, METRICS, String::new()),
            }
        }
        #[cfg(feature = "distributed")]
        Page::Health(true, line) => (StatusCode::OK, TEXT, format!("{line}\n")),
        #[cfg(feature = "distributed")]
        Page::Health(false, line) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{line}\n")),
        Page::Missing(line) => (StatusCode::NOT_FOUND, TEXT, format!("{line}\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}
