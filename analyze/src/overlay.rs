//! A store that shows another one's snapshots and keeps what is written in memory: a job can run for trial, and the
//! store below does not change by a byte.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};
use url::Url;
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys::{self, SnapshotKey};
use wsp_schemas::store::Store;

/// Lays memory over a store. What is below `snapshots/` is read from it, and listed only where it belongs to `workloads`
/// (all, where none are given); everything else starts empty and lives in memory. A snapshot that is deleted or moved is
/// gone from the overlay only; writing one is an error.
pub fn over(store: &Store, workloads: Option<BTreeSet<WorkloadKey>>) -> Result<Store> {
    lay(store, workloads, false)
}

/// The store itself; for a trial, memory over it: everything is read from it, and what is written or deleted changes the overlay only.
pub fn upon(store: &Store, is_trial: bool) -> Result<Store> {
    if is_trial { lay(store, None, true) } else { Ok(store.clone()) }
}

fn lay(store: &Store, workloads: Option<BTreeSet<WorkloadKey>>, is_through: bool) -> Result<Store> {
    let prefix = Path::from_url_path(store.url.path())?;
    let overlay: Arc<dyn ObjectStore> = Arc::new(Overlay(Arc::new(Layers {
        snapshots: prefix.parts().chain(Path::from(keys::SNAPSHOTS).parts()).collect(),
        base: Arc::clone(&store.root),
        memory: InMemory::new(),
        prefix: prefix.clone(),
        workloads,
        is_through,
        gone: Mutex::default(),
    })));
    let objects = Arc::new(PrefixStore::new(Arc::clone(&overlay), prefix));
    // An engine reads `file:` URLs from the disk, whatever store a table was opened with.
    let location = store.url.as_str().split_once("://").map_or("/", |(_, location)| location);
    let url = Url::parse(&format!("memory://{location}"))
        .map_err(|source| Error::Generic { store: "overlay", source: source.into() })?;
    Ok(Store { objects, root: overlay, url })
}

/// By keys relative to the root of the bucket or file system.
#[derive(Debug, Clone)]
struct Overlay(Arc<Layers>);

#[derive(Debug)]
struct Layers {
    base: Arc<dyn ObjectStore>,
    memory: InMemory,
    /// The store's root.
    prefix: Path,
    /// The folder of snapshots in it.
    snapshots: Path,
    workloads: Option<BTreeSet<WorkloadKey>>,
    /// What is not in memory, the base has, snapshot or not.
    is_through: bool,
    /// Objects of the base that were deleted here.
    gone: Mutex<HashSet<Path>>,
}

impl fmt::Display for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Overlay({})", self.0.base)
    }
}

impl Layers {
    fn is_snapshot(&self, path: &Path) -> bool {
        path.prefix_matches(&self.snapshots)
    }

    fn is_gone(&self, path: &Path) -> bool {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    fn hide(&self, path: &Path) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
    }

    /// Whether a listing shows a snapshot.
    fn shows(&self, path: &Path) -> bool {
        let wanted = self.workloads.as_ref().is_none_or(|wanted| {
            let key = path.as_ref().strip_prefix(self.prefix.as_ref()).unwrap_or(path.as_ref());
            SnapshotKey::parse(key.trim_start_matches('/')).is_ok_and(|key| wanted.contains(&key.workload))
        });
        wanted && !self.is_gone(path)
    }

    async fn get(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if !self.is_snapshot(path) {
            match self.memory.get_opts(path, options.clone()).await {
                Err(Error::NotFound { .. }) if self.is_through => {}
                found => return found,
            }
        }
        if self.is_gone(path) {
            let source = "it was moved or deleted in the overlay".into();
            return Err(Error::NotFound { path: path.to_string(), source });
        }
        self.base.get_opts(path, options).await
    }

    async fn delete(&self, path: Path) -> Result<Path> {
        if self.is_snapshot(&path) || self.is_through {
            self.hide(&path);
        }
        if !self.is_snapshot(&path) {
            self.memory.delete(&path).await?;
        }
        Ok(path)
    }

    /// Whether the base shows an object that is no snapshot.
    async fn base_has(&self, path: &Path) -> bool {
        self.is_through && !self.is_gone(path) && self.base.head(path).await.is_ok()
    }

    /// Objects of the base that memory has nothing in place of, with those of memory, in the order of their keys.
    fn united(&self, base: Vec<ObjectMeta>, memory: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
        let written: HashSet<Path> = memory.iter().map(|object| object.location.clone()).collect();
        let stands =
            |object: &ObjectMeta| !written.contains(&object.location) && self.shows(&object.location);
        let mut all: Vec<ObjectMeta> = base.into_iter().filter(stands).collect();
        all.extend(memory);
        all.sort_by(|a, b| a.location.cmp(&b.location));
        all
    }

    fn writable(&self, path: &Path) -> Result<()> {
        if self.is_snapshot(path) {
            let source = "an overlay does not write snapshots".into();
            return Err(Error::PermissionDenied { path: path.to_string(), source });
        }
        Ok(())
    }
}

impl Overlay {
    /// Objects of both layers below a prefix: `list` lists one layer.
    fn listed(
        &self,
        prefix: Option<&Path>,
        list: impl Fn(&dyn ObjectStore, Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let layers = Arc::clone(&self.0);
        if layers.is_through {
            let (base, memory) = (list(&*layers.base, prefix), list(&layers.memory, prefix));
            let united = async move {
                let (base, memory) = (base.try_collect().await?, memory.try_collect().await?);
                Ok::<_, Error>(stream::iter(layers.united(base, memory)).map(Ok))
            };
            return stream::once(united).try_flatten().boxed();
        }
        let snapshots = |prefix: &Path| {
            let layers = Arc::clone(&layers);
            let shown = move |object: &ObjectMeta| {
                let shown = layers.shows(&object.location);
                async move { shown }
            };
            list(&*self.0.base, Some(prefix)).try_filter(move |object| shown(object)).boxed()
        };
        match prefix {
            Some(prefix) if layers.is_snapshot(prefix) => snapshots(prefix),
            Some(prefix) if !layers.snapshots.prefix_matches(prefix) => list(&layers.memory, Some(prefix)),
            above => snapshots(&layers.snapshots).chain(list(&layers.memory, above)).boxed(),
        }
    }
}

#[async_trait]
impl ObjectStore for Overlay {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.0.writable(path)?;
        if matches!(options.mode, PutMode::Create) && self.0.base_has(path).await {
            let source = "the store below the overlay has it".into();
            return Err(Error::AlreadyExists { path: path.to_string(), source });
        }
        self.0.memory.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.writable(path)?;
        self.0.memory.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let layers = Arc::clone(&self.0);
        let delete = move |path: Result<Path>| {
            let layers = Arc::clone(&layers);
            async move { layers.delete(path?).await }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, |layer, prefix| layer.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listed(prefix, |layer, prefix| layer.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        if self.0.is_through {
            let memory = self.0.memory.list_with_delimiter(prefix).await?;
            let mut found = self.0.base.list_with_delimiter(prefix).await?;
            found.objects = self.0.united(found.objects, memory.objects);
            let more = memory.common_prefixes.into_iter();
            let more: Vec<Path> = more.filter(|prefix| !found.common_prefixes.contains(prefix)).collect();
            found.common_prefixes.extend(more);
            return Ok(found);
        }
        if !prefix.is_some_and(|prefix| self.0.is_snapshot(prefix)) {
            let mut found = self.0.memory.list_with_delimiter(prefix).await?;
            let root = Path::default();
            // The folder that holds the snapshots has them, whatever stands in memory.
            if let Some(rest) = self.0.snapshots.prefix_match(prefix.unwrap_or(&root)) {
                let first: Path = prefix.unwrap_or(&root).parts().chain(rest.take(1)).collect();
                if !found.common_prefixes.contains(&first) {
                    found.common_prefixes.push(first);
                }
            }
            return Ok(found);
        }
        let mut found = self.0.base.list_with_delimiter(prefix).await?;
        found.objects.retain(|object| self.0.shows(&object.location));
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.writable(to)?;
        if !self.0.is_snapshot(from) && !self.0.is_through {
            return self.0.memory.copy_opts(from, to, options).await;
        }
        let bytes = self.0.get(from, GetOptions::default()).await?.bytes().await?;
        let mode = match options.mode {
            CopyMode::Overwrite => PutMode::Overwrite,
            CopyMode::Create => PutMode::Create,
        };
        self.0.memory.put_opts(to, bytes.into(), mode.into()).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wsp_schemas::image::Workload;
    use wsp_schemas::store::{Missing, open};

    use super::*;

    fn key(image: &str, end: i64) -> (WorkloadKey, Path) {
        let workload = Workload::parse(image).unwrap().key();
        let key = SnapshotKey {
            uploaded: chrono::DateTime::from_timestamp(1_795_000_000 / 3600 * 3600, 0).unwrap(),
            workload,
            window_end_ms: end,
            id: keys::SnapshotId::new(uuid::Uuid::from_u128(u128::from(end.unsigned_abs()))),
        };
        (workload, Path::from(key.path()))
    }

    async fn names(store: &dyn ObjectStore, prefix: Option<&str>) -> Vec<String> {
        let prefix = prefix.map(Path::from);
        let mut names: Vec<String> = store
            .list(prefix.as_ref())
            .map_ok(|object| object.location.to_string())
            .try_collect()
            .await
            .unwrap();
        names.sort();
        names
    }

    /// A folder whose name needs escaping in a URL, with two snapshots and a table file.
    async fn base() -> (tempfile::TempDir, Store, Path, Path) {
        let folder = tempfile::Builder::new().prefix("wsp ü %20").tempdir().unwrap();
        let store = open(folder.path().to_str().unwrap(), Missing::Create).unwrap();
        let (a, b) = (key("a:1", 1).1, key("b:1", 2).1);
        for path in [&a, &b, &Path::from(format!("{}/old", keys::TABLES))] {
            store.objects.put(path, PutPayload::from_static(b"base")).await.unwrap();
        }
        (folder, store, a, b)
    }

    #[tokio::test]
    async fn snapshots_are_the_base_and_everything_else_is_memory() {
        let (_folder, base, a, _) = base().await;
        let before = names(&*base.objects, None).await;
        let store = over(&base, None).unwrap();
        assert_eq!(names(&*store.objects, None).await, before[..2]);
        let table = Path::from(format!("{}/new", keys::TABLES));
        store.objects.put(&table, PutPayload::from_static(b"new")).await.unwrap();
        assert_eq!(names(&*store.objects, Some(keys::TABLES)).await, [table.to_string()]);
        // The same objects by their full keys: what Delta reads.
        let full: Path = Path::from_url_path(base.url.path()).unwrap().parts().chain(table.parts()).collect();
        assert_eq!(store.root.get(&full).await.unwrap().bytes().await.unwrap(), "new");
        assert_eq!(store.objects.get(&a).await.unwrap().bytes().await.unwrap(), "base");
        assert!(
            store
                .objects
                .list_with_delimiter(None)
                .await
                .unwrap()
                .common_prefixes
                .contains(&Path::from(keys::SNAPSHOTS))
        );
        assert_eq!(names(&*base.objects, None).await, before);
    }

    #[tokio::test]
    async fn what_is_moved_is_gone_from_the_overlay_only() {
        let (_folder, base, a, b) = base().await;
        let before = names(&*base.objects, None).await;
        let store = over(&base, None).unwrap();
        let aside = Path::parse(keys::quarantined(a.as_ref())).unwrap();
        store.objects.rename(&a, &aside).await.unwrap();
        store.objects.delete(&b).await.unwrap();
        assert_eq!(names(&*store.objects, Some(keys::SNAPSHOTS)).await, [""; 0]);
        assert!(matches!(store.objects.get(&a).await, Err(Error::NotFound { .. })));
        assert_eq!(store.objects.get(&aside).await.unwrap().bytes().await.unwrap(), "base");
        let put = store.objects.put(&b, PutPayload::from_static(b"x")).await;
        assert!(matches!(put, Err(Error::PermissionDenied { .. })), "{put:?}");
        assert!(store.objects.copy(&aside, &b).await.is_err());
        assert_eq!(names(&*base.objects, None).await, before);
        assert_eq!(base.objects.get(&b).await.unwrap().bytes().await.unwrap(), "base");
    }

    #[tokio::test]
    async fn a_trial_reads_everything_and_changes_nothing() {
        let (_folder, base, a, b) = base().await;
        let before = names(&*base.objects, None).await;
        let store = upon(&base, true).unwrap();
        assert_eq!(names(&*store.objects, None).await, before);
        let (old, new) =
            (Path::from(format!("{}/old", keys::TABLES)), Path::from(format!("{}/new", keys::TABLES)));
        assert_eq!(store.objects.get(&old).await.unwrap().bytes().await.unwrap(), "base");
        let create = |path: &Path| {
            let (store, path) = (store.clone(), path.clone());
            async move { store.objects.put_opts(&path, "trial".into(), PutMode::Create.into()).await }
        };
        assert!(matches!(create(&old).await, Err(Error::AlreadyExists { .. })));
        create(&new).await.unwrap();
        assert_eq!(names(&*store.objects, Some(keys::TABLES)).await, [new.to_string(), old.to_string()]);
        store.objects.delete(&old).await.unwrap();
        store.objects.delete(&a).await.unwrap();
        assert_eq!(names(&*store.objects, None).await, [b.to_string(), new.to_string()]);
        create(&old).await.unwrap();
        assert_eq!(store.objects.get(&old).await.unwrap().bytes().await.unwrap(), "trial");
        let tables = store.objects.list_with_delimiter(Some(&Path::from(keys::TABLES))).await.unwrap();
        assert_eq!(tables.objects.len(), 2);
        assert_eq!(names(&*base.objects, None).await, before);
        assert_eq!(base.objects.get(&old).await.unwrap().bytes().await.unwrap(), "base");
    }

    #[tokio::test]
    async fn only_the_wanted_workloads_are_listed() {
        let (_folder, base, _, b) = base().await;
        base.objects.put(&Path::from(format!("{}/stray", keys::SNAPSHOTS)), "x".into()).await.unwrap();
        let store = over(&base, Some([key("b:1", 2).0].into())).unwrap();
        assert_eq!(names(&*store.objects, Some(keys::SNAPSHOTS)).await, [b.to_string()]);
        let after = Path::from(format!("{}/zzz", keys::SNAPSHOTS));
        let listed = store.objects.list_with_offset(Some(&Path::from(keys::SNAPSHOTS)), &after);
        assert_eq!(listed.count().await, 0);
    }
}
