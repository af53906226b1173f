//! The pages from a server, and decisions on suppressions.
//!
//! It answers this host alone unless told otherwise. A request must name it as the browser was told to, so that a page of another
//! site cannot ask under a name that it made point here (DNS rebinding); a decision needs the token, and must not come from another
//! origin.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, Path, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use chrono::Utc;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
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
/// How long a client may take to say what it wants; an idle connection ends then.
const HEADERS: Duration = Duration::from_secs(10);
/// Clients that are connected at the same time.
const MOST_CONNECTIONS: usize = 128;
/// How long a decision may go on once the server is to stop.
const GRACE: Duration = Duration::from_secs(30);

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
    read: Mutex<Option<(Instant, Arc<Gatherer>)>>,
    pages: Semaphore,
    /// Held by whoever decides.
    deciding: Mutex<()>,
}

/// Listens, once the store was read.
pub async fn listen(source: Source, options: Options) -> Result<Listening, ExplorerError> {
    let failed = |source| ExplorerError::Listen { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let state = Arc::new(Shared {
        source,
        token: options.token.map(|token| blake3::hash(token.as_bytes())),
        read: Mutex::new(None),
        pages: Semaphore::new(PAGES_AT_A_TIME),
        deciding: Mutex::new(()),
    });
    state.refreshed().await?;
    Ok(Listening { listener, address, state })
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
            .method_not_allowed_fallback(|| async {
                refuse(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "pages are read, and suppressions are decided on by POST",
                    None,
                )
            })
            .layer(DefaultBodyLimit::max(MOST_BODY))
            .layer(middleware::from_fn_with_state(Arc::clone(&state), guard))
            .with_state(Arc::clone(&state));
        let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let (socket, place) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept(&listener, &places) => accepted,
            };
            let talk = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(socket), TowerToHyperService::new(app.clone()));
            tokio::spawn(async move {
                if let Err(error) = talk.await {
                    tracing::debug!("a client was not answered: {error}");
                }
                drop(place);
            });
        }
        // What was begun is whole: a suppression without its marks would hide nothing.
        let _ = tokio::time::timeout(GRACE, state.deciding.lock()).await;
    }
}

/// The next client, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // Or what is small waits until what was sent before is acknowledged.
                let _ = socket.set_nodelay(true);
                return (socket, place);
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

impl Shared {
    /// What the store has, at most [`REFRESH`] old. Reading goes on where nobody waits for it any more: the next will.
    async fn gatherer(self: &Arc<Self>) -> Result<Arc<Gatherer>, Arc<ExplorerError>> {
        let state = Arc::clone(self);
        let read = tokio::spawn(async move { state.refreshed().await.map_err(Arc::new) });
        read.await.unwrap_or_else(|_| Err(Arc::new(ExplorerError::Stopped)))
    }

    async fn refreshed(&self) -> Result<Arc<Gatherer>, ExplorerError> {
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

/// Lets through what names this host and comes from no other origin, and says with every answer what a browser may do with it.
async fn guard(State(state): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut response = match foreign(request.headers()) {
        Some(why) => refuse(StatusCode::FORBIDDEN, why, None),
        None => next.run(request).await,
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

/// Why a request is not for this host, or not from its own pages. Ports are not compared: a tunnel may have another one.
fn foreign(headers: &HeaderMap) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    if !host.parse().is_ok_and(|host: Authority| is_this_host(host.host())) {
        return Some("the request is for another host");
    }
    // Browsers say so where a page of another site asks, an image for one.
    let is_followed = text(HeaderName::from_static("sec-fetch-mode")) == Some("navigate");
    match text(HeaderName::from_static("sec-fetch-site")) {
        Some("cross-site" | "same-site") if !is_followed => return Some("the request is from another site"),
        _ => {}
    }
    match text(header::ORIGIN) {
        Some(origin) if origin.strip_prefix("http://") != Some(host) => {
            Some("the request is from another origin")
        }
        _ => None,
    }
}

/// A name that nobody else can make point here.
fn is_this_host(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
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
    state: &Arc<Shared>,
    name: &str,
    root: &str,
    make: impl AsyncFnOnce(&Gatherer, &str) -> Result<Option<Page>, ExplorerError>,
) -> Response {
    let (page, is_json) = match name.strip_suffix(".json") {
        Some(stem) => (format!("{stem}.html"), true),
        None => (name.to_owned(), false),
    };
    let made = async {
        let gatherer = state.gatherer().await?;
        // The list costs nothing: it does not wait for what does.
        let _turn = if page == report::PROFILES { None } else { state.pages.acquire().await.ok() };
        let Some(page) = make(&gatherer, &page).await? else { return Ok(None) };
        let document = report::document(&state.source, gatherer.only(), root, state.mode(), Utc::now(), page);
        let made = tokio::task::spawn_blocking(move || respond(&document, is_json)).await;
        Ok::<_, Arc<ExplorerError>>(Some(made.map_err(|_| ExplorerError::Stopped)??))
    };
    match tokio::time::timeout(PATIENCE, made).await {
        Ok(Ok(Some(response))) => response,
        Ok(Ok(None)) => refuse(StatusCode::NOT_FOUND, "there is no such page", None),
        Ok(Err(error)) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &one_line(&*error), None),
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the page took too long", None),
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
    // Goes on to its end, though the client leave.
    let decided = tokio::spawn(async move {
        let _turn = state.deciding.lock().await;
        let decided = decide(&state.source, &id, request, Utc::now()).await;
        // What is shown from now on has the decision.
        *state.read.lock().await = None;
        decided
    });
    let Ok(decided) = decided.await else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the decision ended unexpectedly", None);
    };
    match decided {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => {
            let status = match &error {
                Undecided::Wider { .. } | Undecided::Suppress(SuppressError::NotSuppressible { .. }) => {
                    StatusCode::FORBIDDEN
                }
                Undecided::Suppress(SuppressError::Unknown { .. }) => StatusCode::NOT_FOUND,
                Undecided::Changed { .. }
                | Undecided::OtherPredicate { .. }
                | Undecided::Suppress(SuppressError::State { .. }) => StatusCode::CONFLICT,
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

fn refuse(status: StatusCode, error: &str, hint: Option<&str>) -> Response {
    let refusal = Refusal { error: error.to_owned(), hint: hint.map(str::to_owned) };
    (status, Json(refusal)).into_response()
}
