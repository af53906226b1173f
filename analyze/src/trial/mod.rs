//! Objects of a trial: kept below one fresh prefix, timed, and taken out again.

mod create;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as Folder;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, ObjectStoreExt, PutMode, PutPayload};
use serde::Serialize;
use uuid::Uuid;
use wsp_schemas::keys;
use wsp_schemas::store::Store;

pub(crate) use create::{Finding, TrialError, only_one_creates, races, second_is_refused};

/// A trial object that is still there.
#[derive(Debug, Clone, Serialize)]
pub struct LeftBehind {
    /// Its key, or the prefix where it cannot be listed.
    pub object: String,
    /// Why.
    pub reason: String,
}

/// Requests whose latency is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Request {
    Put,
    Create,
    Get,
    List,
}

impl Request {
    pub(crate) const ALL: [Self; 4] = [Self::Put, Self::Create, Self::Get, Self::List];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Create => "create",
            Self::Get => "get",
            Self::List => "list",
        }
    }
}

/// One run of trials on a store.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    store: &'a Store,
    run: Uuid,
    /// Everything that may have been written: a listing that lies must not hide it from the clean-up.
    written: Mutex<BTreeSet<Path>>,
    times: Mutex<BTreeMap<Request, Vec<Duration>>>,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self { store, run: Uuid::new_v4(), written: Mutex::default(), times: Mutex::default() }
    }

    pub(crate) fn store(&self) -> &'a Store {
        self.store
    }

    pub(crate) fn prefix(&self) -> String {
        keys::trials(self.run)
    }

    /// The key of an object that will be written.
    pub(crate) fn key(&self, name: &str) -> Path {
        let key = Path::from(keys::trial(self.run, name));
        locked(&self.written).insert(key.clone());
        key
    }

    /// Content that no other run, and no other object of this one, has.
    pub(crate) fn content(&self, name: &str) -> Bytes {
        let line = format!("{} {name}\n", self.run);
        Bytes::from(line.repeat(1024 / line.len() + 1))
    }

    pub(crate) async fn put(&self, key: &Path, content: Bytes) -> Result<(), RequestFailed> {
        let put = self.store.objects.put(key, PutPayload::from(content));
        self.timed(Request::Put, put).await.map(|_| ()).map_err(failed("a write"))
    }

    /// Puts if absent; whether it was.
    pub(crate) async fn create(&self, key: &Path, content: Bytes) -> Result<bool, RequestFailed> {
        let created = self.store.objects.put_opts(key, PutPayload::from(content), PutMode::Create.into());
        match self.timed(Request::Create, created).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(failed("a write with put-if-absent")(error)),
        }
    }

    pub(crate) async fn get(&self, key: &Path) -> Result<Bytes, RequestFailed> {
        let content = async { self.store.objects.get(key).await?.bytes().await };
        self.timed(Request::Get, content).await.map_err(failed("a read"))
    }

    /// Whether an object is absent, as a read tells.
    pub(crate) async fn is_absent(&self, key: &Path) -> Result<bool, RequestFailed> {
        match self.store.objects.get(key).await {
            Ok(_) => Ok(false),
            Err(Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(failed("a read of an object that is not there")(error)),
        }
    }

    /// Sizes of the objects below a folder of the trial.
    pub(crate) async fn list(&self, name: &str) -> Result<BTreeMap<Path, u64>, RequestFailed> {
        let prefix = Path::from(keys::trial(self.run, name));
        let listing = self.store.objects.list(Some(&prefix));
        let listed = listing.map_ok(|object| (object.location, object.size)).try_collect();
        self.timed(Request::List, listed).await.map_err(failed("a listing"))
    }

    /// Objects below a folder of the trial whose keys follow another, in order.
    pub(crate) async fn list_after(&self, name: &str, key: &Path) -> Result<BTreeSet<Path>, RequestFailed> {
        let prefix = Path::from(keys::trial(self.run, name));
        let listing = self.store.objects.list_with_offset(Some(&prefix), key);
        let listed = listing.map_ok(|object| object.location).try_collect().await;
        listed.map_err(failed("a listing from an offset"))
    }

    async fn timed<T>(
        &self,
        request: Request,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let answer = answer.await;
        if answer.is_ok() {
            locked(&self.times).entry(request).or_default().push(started.elapsed());
        }
        answer
    }

    /// Median time of the requests that were answered, and how many these were.
    pub(crate) fn median(&self, request: Request) -> Option<(Duration, usize)> {
        let mut times = locked(&self.times).get(&request).cloned()?;
        times.sort_unstable();
        Some((*times.get(times.len() / 2)?, times.len()))
    }

    /// Takes everything out again, and gives what could not be.
    pub(crate) async fn clean_up(&self) -> Vec<LeftBehind> {
        let mut keys = locked(&self.written).clone();
        let mut left = Vec::new();
        let prefix = Path::from(self.prefix());
        let listed: Result<Vec<Path>, Error> =
            self.store.objects.list(Some(&prefix)).map_ok(|object| object.location).try_collect().await;
        let unlisted = match listed {
            Ok(listed) => {
                keys.extend(listed);
                None
            }
            Err(error) => Some(error),
        };
        let removed = futures::stream::iter(keys.clone())
            .map(|key| {
                let objects = Arc::clone(&self.store.objects);
                async move {
                    let result = objects.delete(&key).await;
                    (key, result)
                }
            })
            .buffer_unordered(8);
        let mut removed = std::pin::pin!(removed);
        while let Some((key, result)) = removed.next().await {
            match result {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => {
                    left.push(LeftBehind { object: key.to_string(), reason: error.to_string() });
                }
            }
        }
        self.remove_empty_folders(&keys);
        match unlisted {
            // Nobody can tell what is there, so that a list would say nothing.
            Some(error) if !left.is_empty() => {
                vec![LeftBehind { object: self.prefix(), reason: error.to_string() }]
            }
            _ => left,
        }
    }

    /// In a local folder, deleting objects leaves the folders that they were in.
    fn remove_empty_folders(&self, keys: &BTreeSet<Path>) {
        let Ok(root) = self.store.url.to_file_path() else { return };
        if self.store.url.scheme() != "file" {
            return;
        }
        let mut folders: BTreeSet<&Folder> = BTreeSet::new();
        for key in keys {
            let ancestors = Folder::new(key.as_ref()).ancestors().skip(1);
            folders.extend(ancestors.filter(|folder| !folder.as_os_str().is_empty()));
        }
        // The deepest first; one that holds something else stays.
        for folder in folders.iter().rev() {
            let _ = std::fs::remove_dir(root.join(folder));
        }
    }
}

/// A request that was not answered as it should be.
#[derive(Debug)]
pub(crate) struct RequestFailed {
    /// As in `a write`.
    pub(crate) what: &'static str,
    pub(crate) source: Error,
}

impl From<RequestFailed> for String {
    fn from(failed: RequestFailed) -> Self {
        format!("{} failed: {}", failed.what, failed.source)
    }
}

pub(crate) fn failed(what: &'static str) -> impl FnOnce(Error) -> RequestFailed {
    move |source| RequestFailed { what, source }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
