//! The proof of the merge: against a naive one and against dataframe queries, with every operation of the store failing once, with others running, and
//! while readers look.

mod compare;
mod concurrent;
mod coverage;
mod crash;
pub(crate) mod fleets;
mod frames;
mod oracle;
mod readers;
mod resources;
mod rules;
mod sequences;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use wsp_analyze::jobs::merge::{MergeError, Options, Report, Silent, run};
use wsp_schemas::store::Store;
use wsp_tests::faulty::Faulty;
use wsp_tests::oracle::{Object, Settings};

/// A store in memory whose operations can be made to fail.
pub(crate) fn faulty() -> Faulty {
    Faulty::new(Arc::new(InMemory::new()))
}

/// What a merge is told.
pub(crate) fn options(settings: &Settings, as_of: DateTime<Utc>) -> Options {
    Options {
        as_of,
        max_snapshots: settings.max_snapshots.try_into().unwrap(),
        learning_time: settings.learning_time.to_std().unwrap(),
        min_snapshots: settings.min_snapshots.try_into().unwrap(),
        min_containers: settings.min_containers.try_into().unwrap(),
        min_age: settings.min_age.to_std().unwrap(),
        buckets: settings.buckets,
        ..Options::default()
    }
}

pub(crate) async fn merge(store: &Store, options: &Options) -> Result<Report, MergeError> {
    run(store, options, &Silent).await
}

pub(crate) async fn upload(store: &Store, object: &Object) {
    store.objects.put(&Path::from(object.key.as_str()), object.bytes.clone().into()).await.unwrap();
}

/// Uploads to a store that can say when its objects were stored.
async fn upload_dated(faulty: &Faulty, store: &Store, object: &Object) {
    faulty.date(&object.key, object.stored);
    upload(store, object).await;
}

/// Runs on a runtime of its own: for tests that are loops over cases.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}
