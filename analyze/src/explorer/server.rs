//! The pages from a server, and decisions on suppressions.
//!
//! It answers this host alone unless told otherwise. A request must name it as the browser was told to, so that a page of another
//! site cannot ask under a name that it made point here (DNS rebinding); a decision needs the token, and must not come from another
//! origin.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use chrono::Utc;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use super::contract::{DecisionRequest, Document, Mode, Page, Refusal};
use super::decide::{Undecided, decide};
use super::gather::Gatherer;
use super::report::{self, page_name};
use super::{ExplorerError, Source, page};
use crate::jobs::suppress::SuppressError;
use crate::one_line::one_line;

/// Pages that are made at the same time.
const PAGES_AT_A_TIME: usize = 4;
/// How long what was read of the store is shown.
const REFRESH: Duration = Duration::from_secs(5);
/// Bytes of a request's body.
const MOST_BODY: usize = 64 << 10;
/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long requests may go on once the server is to stop.
const GRACE: Duration = Duration::from_secs(5);

/// What a server is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 for any that is free.
    pub listen: SocketAddr,
    /// Who knows it may decide; none: nobody may.
    pub token: Option<String>,
}

/// A server that listens.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    /// Where.
    pub address: SocketAddr,
    state: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    token: Option<blake3::Hash>,
    /// Names that requests may have for it.
    hosts: Vec<String>,
    read: Mutex<Option<(Instant, Arc<Gatherer>)>>,
    pages: Semaphore,
}

/// Listens, once the store was read.
pub async fn listen(source: Source, options: Options) -> Result<Listening, ExplorerError> {
    let failed = |source| ExplorerError::Listen { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let state = Arc::new(Shared {
        source,
        token: options.token.map(|token| blake3::hash(token.as_bytes())),
        hosts: hosts(address),
        read: Mutex::new(None),
        pages: Semaphore::new(PAGES_AT_A_TIME),
    });
    state.gatherer().await?;
    Ok(Listening { listener, address, state })
}

/// What a browser may call an address.
fn hosts(address: SocketAddr) -> Vec<String> {
    let mut hosts = vec![address.to_string()];
    if address.ip().is_loopback() {
        hosts.push(format!("localhost:{}", address.port()));
    }
    hosts
}

impl Listening {
    /// Answers until it is told to stop.
    pub async fn serve(self, stop: CancellationToken) {
        let Self { listener, state, .. } = self;
        let app = Router::new()
            .route("/", get(|| async { Redirect::temporary("/index.html") }))
            .route("/{page}", get(top))
            .route("/profiles/{page}", get(profile))
            .route("/api/suppressions/{id}", post(suppression))
            .fallback(|| async { refuse(StatusCode::NOT_FOUND, "there is no such page", None) })
            .layer(DefaultBodyLimit::max(MOST_BODY))
            .layer(middleware::from_fn_with_state(Arc::clone(&state), guard))
            .with_state(state);
        let told = stop.clone();
        let serving =
            axum::serve(listener, app).with_graceful_shutdown(async move { told.cancelled().await });
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            ended = serving => if let Err(error) = ended {
                tracing::error!(error = &error as &dyn std::error::Error, "the server ended");
            },
            () = over => {}
        }
    }
}

impl Shared {
    /// What the store has, at most [`REFRESH`] old.
    async fn gatherer(&self) -> Result<Arc<Gatherer>, ExplorerError> {
        let mut read = self.read.lock().await;
        if let Some((at, gatherer)) = &*read
            && at.elapsed() < REFRESH
        {
            return Ok(Arc::clone(gatherer));
        }
        let gatherer = Arc::new(Gatherer::open(&self.source).await?);
        *read = Some((Instant::now(), Arc::clone(&gatherer)));
        Ok(gatherer)
    }

    fn mode(&self) -> Mode {
        Mode::Live { may_write: self.token.is_some() }
    }
}

/// Lets through what names this server and comes from no other origin, and says with every answer what a browser may do with it.
async fn guard(State(state): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match foreign(&state, request.headers()) {
        Some(why) => refuse(StatusCode::FORBIDDEN, why, None),
        None => match tokio::time::timeout(PATIENCE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the page took too long", None),
        },
    };
    let headers = response.headers_mut();
    let policy = format!("{}; frame-ancestors 'none'", page::policy(&state.mode()));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// Why a request is not for this server, or not from its own pages.
fn foreign(state: &Shared, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    if !state.hosts.iter().any(|own| own == host) {
        return Some("the request is for another host");
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.strip_prefix("http://") != Some(host) => {
            Some("the request is from another origin")
        }
        _ => None,
    }
}

/// A page as HTML, or its document as JSON, by the ending of its name.
async fn top(State(state): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    answer(&state, &name, "", async |gatherer: &Gatherer, page: &str| {
        Ok(match page {
            report::PROFILES => Some(Page::Profiles(gatherer.profiles_page())),
            report::SIGNALS => Some(Page::Signals(gatherer.signals_page().await?)),
            _ => None,
        })
    })
    .await
}

async fn profile(State(state): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    answer(&state, &name, "../", async |gatherer: &Gatherer, page: &str| {
        let Some((key, revision)) = page_name(page) else { return Ok(None) };
        let page = gatherer.profile_page(&key.to_string(), revision).await?;
        Ok(page.map(|page| Page::Profile(Box::new(page))))
    })
    .await
}

async fn answer(
    state: &Shared,
    name: &str,
    root: &str,
    make: impl AsyncFnOnce(&Gatherer, &str) -> Result<Option<Page>, ExplorerError>,
) -> Response {
    let Ok(_turn) = state.pages.acquire().await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the server ends", None);
    };
    let (page, is_json) = match name.strip_suffix(".json") {
        Some(stem) => (format!("{stem}.html"), true),
        None => (name.to_owned(), false),
    };
    let made = async {
        let gatherer = state.gatherer().await?;
        let Some(page) = make(&gatherer, &page).await? else { return Ok(None) };
        let document = report::document(&state.source, gatherer.only(), root, state.mode(), Utc::now(), page);
        respond(&document, is_json).map(Some)
    };
    match made.await {
        Ok(Some(response)) => response,
        Ok(None) => refuse(StatusCode::NOT_FOUND, "there is no such page", None),
        Err(error) => failed(&error),
    }
}

fn respond(document: &Document, is_json: bool) -> Result<Response, ExplorerError> {
    let (kind, text) = if is_json {
        ("application/json", serde_json::to_string(document)?)
    } else {
        ("text/html; charset=utf-8", page::html(document)?)
    };
    Ok(([(header::CONTENT_TYPE, kind)], Body::from(text)).into_response())
}

async fn suppression(
    State(state): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Result<Json<DecisionRequest>, JsonRejection>,
) -> Response {
    let Some(token) = &state.token else {
        let hint = "start `wsp explore` with --allow-write";
        return refuse(StatusCode::FORBIDDEN, "this server only reads", Some(hint));
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    // Hashes are compared in constant time.
    if given.is_none_or(|given| blake3::hash(given.as_bytes()) != *token) {
        let hint = "open the address that `wsp explore` printed: the token is in it";
        return refuse(StatusCode::UNAUTHORIZED, "a decision needs the server's token", Some(hint));
    }
    let request = match request {
        Ok(Json(request)) => request,
        Err(error) => return refuse(error.status(), &error.body_text(), None),
    };
    match decide(&state.source.store, &id, request, Utc::now()).await {
        Ok(answer) => {
            // What is shown from now on has the decision.
            *state.read.lock().await = None;
            Json(answer).into_response()
        }
        Err(error) => {
            let status = match &error {
                Undecided::Wider { .. } | Undecided::Suppress(SuppressError::NotSuppressible { .. }) => {
                    StatusCode::FORBIDDEN
                }
                Undecided::Suppress(SuppressError::Unknown { .. }) => StatusCode::NOT_FOUND,
                Undecided::Changed { .. } | Undecided::Suppress(SuppressError::State { .. }) => {
                    StatusCode::CONFLICT
                }
                Undecided::Request(_)
                | Undecided::Suppress(SuppressError::Predicate(_) | SuppressError::UnknownRule { .. }) => {
                    StatusCode::UNPROCESSABLE_ENTITY
                }
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refuse(status, &one_line(&error), None)
        }
    }
}

fn failed(error: &ExplorerError) -> Response {
    refuse(StatusCode::INTERNAL_SERVER_ERROR, &one_line(error), None)
}

fn refuse(status: StatusCode, error: &str, hint: Option<&str>) -> Response {
    let refusal = Refusal { error: error.to_owned(), hint: hint.map(str::to_owned) };
    (status, Json(refusal)).into_response()
}
