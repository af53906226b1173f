//! A store of such a fleet, as an S3 server on loopback: `snapshots/` is listed from the model and read from it, everything
//! else is files. Requests are counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use serde::Serialize;
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::{SNAPSHOTS, SnapshotFolder, SnapshotKey};

use super::model::{Model, Mold, Upload};

/// The bucket.
pub(crate) const BUCKET: &str = "fleet";
const ACCESS_KEY: &str = "fleet";
/// Nobody but this process's children is to know it, and there is nothing to protect.
const SECRET_KEY: &str = "fleet-secret";
/// Keys of a listing's answer, as S3's.
const PAGE: usize = 1000;
/// Hours that are kept sorted: more than a merge looks back to, so that none is made twice for one listing.
const HOURS_KEPT: usize = 64;

/// Requests so far, or between two times.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Requests {
    /// Answers to listings, 1000 keys each at most.
    pub(crate) lists: u64,
    /// Snapshots that were read.
    pub(crate) snapshot_gets: u64,
    /// Other objects that were read or looked at.
    pub(crate) gets: u64,
    /// Objects, and parts of them, that were written.
    pub(crate) puts: u64,
    /// Deletions and the like, which cost nothing.
    pub(crate) others: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
}

/// Requests to S3 in US dollars, us-east-1 (<https://aws.amazon.com/s3/pricing/>): listings and writes, and reads.
const PRICES: (f64, f64) = (5.0e-6, 0.4e-6);

impl Requests {
    /// What they cost, in US dollars.
    #[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
    pub(crate) fn usd(self) -> f64 {
        (self.lists + self.puts) as f64 * PRICES.0 + (self.snapshot_gets + self.gets) as f64 * PRICES.1
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            lists: self.lists - before.lists,
            snapshot_gets: self.snapshot_gets - before.snapshot_gets,
            gets: self.gets - before.gets,
            puts: self.puts - before.puts,
            others: self.others - before.others,
            bytes_read: self.bytes_read - before.bytes_read,
            bytes_written: self.bytes_written - before.bytes_written,
        }
    }
}

/// What is in the store by now.
#[derive(Debug)]
struct Contents {
    model: Model,
    /// Hours that are over, from the fleet's first one on.
    hours: std::ops::Range<i64>,
    kept: BTreeMap<i64, Arc<Vec<Upload>>>,
    molds: HashMap<WorkloadKey, Arc<Mold>>,
}

/// A running server; it ends with its runtime.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    address: SocketAddr,
    contents: Arc<Mutex<Contents>>,
    requests: Arc<Mutex<Requests>>,
}

impl Server {
    /// Starts one whose tables are files below a folder. `first`: the fleet's first hour, since the epoch.
    pub(crate) async fn start(model: Model, first: i64, folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder.join(BUCKET))?;
        let files =
            s3s_fs::FileSystem::new(folder).map_err(|error| std::io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let contents = Contents { model, hours: first..first, kept: BTreeMap::new(), molds: HashMap::new() };
        let server = Self {
            address: listener.local_addr()?,
            contents: Arc::new(Mutex::new(contents)),
            requests: Arc::default(),
        };
        let (running, turns) = (server.clone(), Arc::new(tokio::sync::Mutex::new(())));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Or an answer's body waits until its head was acknowledged, 40 ms.
                let _ = socket.set_nodelay(true);
                let (server, service, turns) = (running.clone(), service.clone(), Arc::clone(&turns));
                let answer = service_fn(move |request| {
                    let (server, service, turns) = (server.clone(), service.clone(), Arc::clone(&turns));
                    async move { server.answer(request, &service, &turns).await }
                });
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), answer)
                        .await;
                });
            }
        });
        Ok(server)
    }

    /// The environment by which programs reach it.
    pub(crate) fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Everything before that hour is uploaded now.
    pub(crate) fn uploaded_before(&self, hour: i64) {
        self.contents().hours.end = hour;
    }

    pub(crate) fn with_model<T>(&self, with: impl FnOnce(&mut Model) -> T) -> T {
        with(&mut self.contents().model)
    }

    /// Snapshots of an hour.
    pub(crate) fn count(&self, hour: i64) -> usize {
        self.contents().hour(hour).len()
    }

    pub(crate) fn requests(&self) -> Requests {
        *self.counted()
    }

    fn counted(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a key. It is made while others may ask for theirs.
    fn file(&self, key: &str) -> Option<Vec<u8>> {
        let key = SnapshotKey::parse(key).ok()?;
        let (snapshot, size, mold) = {
            let contents = self.contents();
            let hour = key.uploaded.timestamp().div_euclid(3600);
            if !contents.hours.contains(&hour) {
                return None;
            }
            let mold = contents.molds.get(&key.workload).cloned();
            (contents.model.snapshot(&key)?, contents.model.size(), mold)
        };
        let mold = match mold {
            Some(mold) => mold,
            None => {
                let mold = Arc::new(Mold::new(&snapshot, size).ok()?);
                self.contents().molds.entry(key.workload).or_insert(mold).clone()
            }
        };
        mold.cast(&snapshot)
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        service: &S3Service,
        turns: &tokio::sync::Mutex<()>,
    ) -> Result<Response<s3s::Body>, s3s::HttpError> {
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
                .into_owned()
                .collect();
        let key = object_store::path::Path::from_url_path(request.uri().path()).unwrap_or_default();
        let key = key.as_ref().strip_prefix(BUCKET).unwrap_or_default().trim_start_matches('/').to_owned();
        let is_of_fleet = |key: &str| key.split('/').next() == Some(SNAPSHOTS);
        let is_list = *request.method() == Method::GET && query.contains_key("list-type");
        {
            let mut counted = self.counted();
            *match *request.method() {
                _ if is_list => &mut counted.lists,
                Method::GET | Method::HEAD if is_of_fleet(&key) => &mut counted.snapshot_gets,
                Method::GET | Method::HEAD => &mut counted.gets,
                Method::PUT | Method::POST => &mut counted.puts,
                _ => &mut counted.others,
            } += 1;
        }
        if is_list && query.get("prefix").is_some_and(|prefix| is_of_fleet(prefix)) {
            let server = self.clone();
            let page = tokio::task::spawn_blocking(move || server.contents().list(&query)).await;
            let page = page.map_err(|error| s3s::HttpError::new(Box::new(error)))?;
            return Ok(response(StatusCode::OK, Bytes::from(page)));
        }
        if is_of_fleet(&key) {
            let server = self.clone();
            let file = tokio::task::spawn_blocking(move || server.file(&key)).await;
            let file = file.map_err(|error| s3s::HttpError::new(Box::new(error)))?;
            let missing = "<Error><Code>NoSuchKey</Code><Message>nobody uploaded it</Message></Error>";
            return Ok(match (request.method(), file) {
                (&Method::GET | &Method::HEAD, Some(file)) => {
                    self.counted().bytes_read += file.len() as u64;
                    response(StatusCode::OK, file.into())
                }
                (&Method::GET | &Method::HEAD, None) => response(StatusCode::NOT_FOUND, missing.into()),
                _ => response(StatusCode::METHOD_NOT_ALLOWED, Bytes::new()),
            });
        }
        // One change at a time: of several who make an object if it is not there, one does.
        let changes = matches!(*request.method(), Method::PUT | Method::POST | Method::DELETE);
        let _turn = if changes { Some(turns.lock().await) } else { None };
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|error| s3s::HttpError::new(Box::new(error)))?.to_bytes();
        self.counted().bytes_written += body.len() as u64;
        let answer = service.call(Request::from_parts(head, s3s::Body::from(body))).await?;
        let length = answer.headers().get(hyper::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        self.counted().bytes_read += length.unwrap_or(0);
        Ok(answer)
    }
}

fn response(status: StatusCode, body: Bytes) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(hyper::header::LAST_MODIFIED, hyper::header::HeaderValue::from_static(MODIFIED_HTTP));
    headers.insert(hyper::header::ETAG, hyper::header::HeaderValue::from_static("\"0\""));
    response
}

/// When any object was written, for clients that ask.
const MODIFIED_HTTP: &str = "Sun, 01 Nov 2026 00:00:00 GMT";

impl Contents {
    fn hour(&mut self, hour: i64) -> Arc<Vec<Upload>> {
        if let Some(uploads) = self.kept.get(&hour) {
            return Arc::clone(uploads);
        }
        let uploads = Arc::new(self.model.uploads(hour));
        self.kept.insert(hour, Arc::clone(&uploads));
        // The oldest is the one that the next listing is least likely to want.
        while self.kept.len() > HOURS_KEPT {
            self.kept.pop_first();
        }
        uploads
    }

    /// The answer to a listing below `snapshots/`.
    fn list(&mut self, query: &BTreeMap<String, String>) -> String {
        let prefix = query.get("prefix").map_or("", String::as_str).trim_end_matches('/');
        let by_folder = query.contains_key("delimiter");
        let hours: Vec<i64> = self.hours.clone().collect();
        let time = |hour: i64| DateTime::from_timestamp(hour * 3600, 0).unwrap_or_default();
        let mut page = Page::default();
        match (SnapshotFolder::parse(prefix), by_folder) {
            (None, true) if prefix == SNAPSHOTS => {
                page.folders(hours.into_iter().map(|hour| SnapshotFolder::Day(time(hour).date_naive())));
            }
            (Some(SnapshotFolder::Day(day)), true) => {
                let hours = hours.into_iter().map(time).filter(|hour| hour.date_naive() == day);
                page.folders(hours.map(SnapshotFolder::Hour));
            }
            (folder, _) => {
                let is_wanted = |hour: &i64| match folder {
                    None => prefix == SNAPSHOTS,
                    Some(SnapshotFolder::Day(day)) => time(*hour).date_naive() == day,
                    Some(SnapshotFolder::Hour(of)) => time(*hour) == of,
                };
                // Where the page before ended: the hour, and the position in it.
                let token = query.get("continuation-token").and_then(|token| {
                    let (hour, at) = token.split_once('-')?;
                    Some((hour.parse::<i64>().ok()?, at.parse::<usize>().ok()?))
                });
                let (first, mut at) = token.unwrap_or((i64::MIN, 0));
                for hour in hours.into_iter().filter(|hour| *hour >= first).filter(is_wanted) {
                    let uploads = self.hour(hour);
                    for upload in uploads.iter().skip(at) {
                        if page.keys == PAGE {
                            page.next = Some(format!("{hour}-{at}"));
                            return page.finish(prefix);
                        }
                        page.object(&self.model, upload);
                        at += 1;
                    }
                    at = 0;
                }
            }
        }
        page.finish(prefix)
    }
}

/// An answer to a listing, as it grows. Keys of ours need no escapes.
#[derive(Debug, Default)]
struct Page {
    text: String,
    keys: usize,
    next: Option<String>,
}

impl Page {
    fn folders(&mut self, folders: impl Iterator<Item = SnapshotFolder>) {
        let folders: std::collections::BTreeSet<_> = folders.collect();
        for folder in folders {
            // Writing to a String cannot fail.
            let _ = write!(self.text, "<CommonPrefixes><Prefix>{}/</Prefix></CommonPrefixes>", folder.path());
            self.keys += 1;
        }
    }

    fn object(&mut self, model: &Model, upload: &Upload) {
        let key = model.key(upload);
        let written: DateTime<Utc> = DateTime::from_timestamp_millis(key.window_end_ms).unwrap_or_default();
        let _ = write!(
            self.text,
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;0&quot;</ETag><Size>{}</Size></Contents>",
            key.path(),
            written.to_rfc3339_opts(SecondsFormat::Millis, true),
            model.size(),
        );
        self.keys += 1;
    }

    fn finish(self, prefix: &str) -> String {
        let Self { text, keys, next } = self;
        let next = next.map(|next| format!("<NextContinuationToken>{next}</NextContinuationToken>"));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>{BUCKET}</Name><Prefix>{prefix}/</Prefix>\
             <KeyCount>{keys}</KeyCount><MaxKeys>{PAGE}</MaxKeys><IsTruncated>{}</IsTruncated>{}{text}</ListBucketResult>",
            next.is_some(),
            next.unwrap_or_default(),
        )
    }
}
