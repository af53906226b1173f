//! Stores that break one promise each.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use url::Url;
use wsp_schemas::store::Store;

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// `If-None-Match` is ignored.
    CreateOverwrites,
    /// Whether the key is absent is looked up first, and the write comes later.
    CheckThenWrite,
    /// The second writer is refused, and its content kept.
    RefusedButWritten,
    /// A listing shows what the one before it should have shown.
    StaleListing,
    /// A listing tells wrong sizes.
    WrongSizes,
    /// A deleted object is still listed and read.
    KeepsDeleted,
    /// Ranges are ignored: the whole object comes.
    IgnoresRanges,
    /// A rename is a copy.
    RenameCopies,
    /// An hour ahead of us.
    ClockAhead,
}

/// A store in memory that breaks a promise.
pub(super) fn store(lie: Lie) -> Store {
    let objects: Arc<dyn ObjectStore> =
        Arc::new(Dishonest { inner: Arc::new(InMemory::new()), lie, listed: Mutex::default() });
    Store { objects: Arc::clone(&objects), root: objects, url: Url::parse("memory:///dishonest/").unwrap() }
}

#[derive(Debug)]
struct Dishonest {
    inner: Arc<InMemory>,
    lie: Lie,
    /// Objects as of the last listing of a prefix.
    listed: Mutex<BTreeMap<Path, Vec<ObjectMeta>>>,
}

impl fmt::Display for Dishonest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.lie)
    }
}

impl Dishonest {
    fn dishonest(&self, mut object: ObjectMeta) -> ObjectMeta {
        match self.lie {
            Lie::WrongSizes => object.size += 1,
            Lie::ClockAhead => object.last_modified += TimeDelta::hours(1),
            _ => {}
        }
        object
    }
}

#[async_trait]
impl ObjectStore for Dishonest {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if options.mode != PutMode::Create {
            return self.inner.put_opts(key, payload, options).await;
        }
        match self.lie {
            Lie::CreateOverwrites => self.inner.put_opts(key, payload, PutMode::Overwrite.into()).await,
            Lie::CheckThenWrite => {
                let absent = self.inner.get_opts(key, GetOptions::default()).await.is_err();
                tokio::time::sleep(Duration::from_millis(5)).await;
                let mode = if absent { PutMode::Overwrite } else { PutMode::Create };
                self.inner.put_opts(key, payload, mode.into()).await
            }
            Lie::RefusedButWritten => {
                let refused = self.inner.put_opts(key, payload.clone(), options).await;
                self.inner.put_opts(key, payload, PutMode::Overwrite.into()).await?;
                refused
            }
            _ => self.inner.put_opts(key, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        key: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, mut options: GetOptions) -> Result<GetResult> {
        if self.lie == Lie::IgnoresRanges {
            options.range = None;
        }
        let mut got = self.inner.get_opts(key, options).await?;
        got.meta = self.dishonest(got.meta);
        Ok(got)
    }

    async fn get_ranges(&self, key: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(key, ranges).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.lie == Lie::KeepsDeleted {
            return keys;
        }
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        let now = self.inner.list(Some(&prefix)).try_collect::<Vec<_>>();
        let now = futures::executor::block_on(now).unwrap_or_default();
        let before = self.listed.lock().unwrap().insert(prefix, now.clone()).unwrap_or_default();
        let shown = if self.lie == Lie::StaleListing { before } else { now };
        let shown: Vec<_> = shown.into_iter().map(|object| Ok(self.dishonest(object))).collect();
        futures::stream::iter(shown).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        if self.lie == Lie::RenameCopies {
            return self.inner.copy_opts(from, to, CopyOptions::default()).await;
        }
        self.inner.rename_opts(from, to, options).await
    }
}
