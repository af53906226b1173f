//! A store that fails on request: every operation is numbered, and one of them goes wrong.
//!
//! It can also say when an object was stored: snapshots prove the time by that.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;
use wsp_schemas::store::Store;

/// How an operation goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It is not done, and fails.
    Before,
    /// It is done, and fails all the same: an answer that got lost.
    After,
    /// It is not done, and nothing after it: the process was killed.
    KilledBefore,
    /// It is done, and nothing after it.
    KilledAfter,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Before, Self::After, Self::KilledBefore, Self::KilledAfter];
}

/// What a caller asked the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// `put`, `get`, `head`, `list`, `copy`, `delete`.
    pub what: &'static str,
    /// The object, or the prefix of a listing.
    pub path: String,
}

impl Operation {
    /// It changes the store: only then [`Fault::After`] differs from [`Fault::Before`].
    pub fn changes(&self) -> bool {
        matches!(self.what, "put" | "copy" | "delete")
    }
}

/// The store. Clones share their operations and their fault.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    operations: Vec<Operation>,
    fault: Option<(usize, Fault)>,
    dead: bool,
    injected: usize,
    stored: HashMap<Path, DateTime<Utc>>,
}

/// What one operation shall do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Works,
    NotDone,
    Lost,
}

impl Faulty {
    /// A store over another one, without a fault.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// As the merge takes it: tables and snapshots go through the same fault.
    pub fn store(&self) -> Store {
        #[expect(clippy::expect_used, reason = "a constant")]
        let url = Url::parse("memory:///").expect("a URL");
        let objects: Arc<dyn ObjectStore> = Arc::new(self.clone());
        Store { objects: Arc::clone(&objects), root: objects, url }
    }

    /// From now on, operation `number` (the next is 0) goes wrong.
    pub fn arm(&self, number: usize, fault: Fault) {
        let mut state = self.state();
        state.operations.clear();
        (state.fault, state.dead, state.injected) = (Some((number, fault)), false, 0);
    }

    /// From now on everything works; gives how many operations went wrong.
    pub fn disarm(&self) -> usize {
        let mut state = self.state();
        (state.fault, state.dead) = (None, false);
        std::mem::take(&mut state.injected)
    }

    /// The operations since the last call, or since the fault was set.
    pub fn take_operations(&self) -> Vec<Operation> {
        std::mem::take(&mut self.state().operations)
    }

    /// From now on listings say that the object was stored then.
    pub fn date(&self, path: &str, stored: DateTime<Utc>) {
        self.state().stored.insert(Path::from(path), stored);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, what: &'static str, path: &Path) -> Turn {
        let mut state = self.state();
        let number = state.operations.len();
        state.operations.push(Operation { what, path: path.to_string() });
        if state.dead {
            return Turn::NotDone;
        }
        let Some((_, fault)) = state.fault.filter(|(at, _)| *at == number) else { return Turn::Works };
        state.injected += 1;
        state.dead = matches!(fault, Fault::KilledBefore | Fault::KilledAfter);
        match fault {
            Fault::Before | Fault::KilledBefore => Turn::NotDone,
            Fault::After | Fault::KilledAfter => Turn::Lost,
        }
    }

    async fn guarded<T>(
        &self,
        what: &'static str,
        path: &Path,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match self.turn(what, path) {
            Turn::Works => work.await,
            Turn::NotDone => Err(failed(what, path)),
            Turn::Lost => {
                // What the operation gave is what got lost, an error of its own too.
                let _ = work.await;
                Err(failed(what, path))
            }
        }
    }

    fn dated(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(stored) = self.state().stored.get(&meta.location) {
            meta.last_modified = *stored;
        }
        meta
    }
}

fn failed(what: &'static str, path: &Path) -> Error {
    Error::Generic { store: "faulty", source: format!("the {what} of `{path}` was made to fail").into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.guarded("put", to, self.inner.put_opts(to, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.guarded("put", to, self.inner.put_multipart_opts(to, options)).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        let what = if options.head { "head" } else { "get" };
        let mut result = self.guarded(what, from, self.inner.get_opts(from, options)).await?;
        result.meta = self.dated(result.meta);
        Ok(result)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        paths
            .then(move |path| {
                let this = this.clone();
                async move {
                    let path = path?;
                    this.guarded("delete", &path, this.inner.delete(&path)).await?;
                    Ok(path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.cloned().unwrap_or_default();
        if self.turn("list", &path) == Turn::Works {
            let this = self.clone();
            self.inner.list(prefix).map(move |meta| meta.map(|meta| this.dated(meta))).boxed()
        } else {
            async move { Err(failed("list", &path)) }.into_stream().boxed()
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let mut listed = self.guarded("list", &path, self.inner.list_with_delimiter(prefix)).await?;
        listed.objects = listed.objects.into_iter().map(|meta| self.dated(meta)).collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.guarded("copy", from, self.inner.copy_opts(from, to, options)).await
    }
}
