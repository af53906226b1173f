use std::collections::BTreeMap;
use std::error::Error as _;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys;
use wsp_schemas::snapshot::{DecodeError, Limits, Verified, decode};
use wsp_schemas::store::Store;

use super::ledger::{LedgerRow, Outcome};
use super::plan::Planned;
use super::{MergeError, Options, Progress};

/// What reading one object gave.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) object: Planned,
    pub(super) result: Result<Box<Verified>, Unusable>,
}

/// Why an object gave no snapshot.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Its content cannot be used, now or later.
    Damaged { reason: String, content_hash: Option<String> },
    /// The store did not give it.
    Unavailable(String),
}

/// Snapshots by object key.
pub(super) type Snapshots = BTreeMap<String, Verified>;

/// Reads and verifies all objects, some at a time; the order is that of the objects.
pub(super) async fn all(
    store: &Store,
    objects: &[Planned],
    options: &Options,
    progress: &dyn Progress,
) -> Vec<Finding> {
    futures::stream::iter(objects.to_vec())
        .map(|object| async move {
            let result = one(store, &object.path, object.size, options.limits).await;
            progress.file();
            let result = result.and_then(|snapshot| agrees(&object, snapshot));
            Finding { object, result }
        })
        .buffered(options.concurrency.max(1))
        .collect()
        .await
}

/// Reads and verifies one object.
pub(super) async fn one(
    store: &Store,
    path: &Path,
    size: u64,
    limits: Limits,
) -> Result<Box<Verified>, Unusable> {
    if usize::try_from(size).is_ok_and(|size| size > limits.file_bytes) || usize::try_from(size).is_err() {
        let reason = format!("{size} bytes are more than the limit of {}", limits.file_bytes);
        return Err(Unusable::Damaged { reason, content_hash: None });
    }
    let unavailable = |error: object_store::Error| Unusable::Unavailable(error.to_string());
    let object = store.objects.get(path).await.map_err(unavailable)?;
    // It may not be the object that was listed.
    if object.meta.size != size {
        return Err(Unusable::Unavailable(format!("it has {} bytes now, and had {size}", object.meta.size)));
    }
    let bytes = object.bytes().await.map_err(unavailable)?;
    let content_hash = blake3_hex(&bytes);
    let damaged = |reason| Unusable::Damaged { reason, content_hash: Some(content_hash) };
    // Decoding is work, and a panic in a decoder must cost one file only.
    match tokio::task::spawn_blocking(move || decode(bytes, &limits)).await {
        Ok(Ok(snapshot)) => Ok(Box::new(snapshot)),
        Ok(Err(error)) => Err(damaged(describe(&error))),
        Err(_) => Err(damaged("the file makes the Parquet decoder fail".to_owned())),
    }
}

fn blake3_hex(bytes: &[u8]) -> String {
    wsp_schemas::content_hash(bytes)
}

/// A decode error with its sources, in one line.
pub(crate) fn describe(error: &DecodeError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}

/// The file is authoritative: a key that says something else is quarantined.
fn agrees(object: &Planned, snapshot: Box<Verified>) -> Result<Box<Verified>, Unusable> {
    let meta = &snapshot.meta;
    let workload = meta.image.workload.as_ref().map_or(WorkloadKey::UNKEYED, |workload| workload.key());
    let reason = match &object.key {
        None => {
            "its key is not `snapshots/date=…/hour=…/<workload_key>-<window_end_ms>-<snapshot_id>.parquet`"
                .to_owned()
        }
        Some(key) if key.workload != workload => {
            format!("its key names the workload {}, its content {workload}", key.workload)
        }
        Some(key) if key.id != meta.id => {
            format!("its key names the snapshot {}, its content {}", key.id, meta.id)
        }
        Some(key) if key.window_end_ms != meta.window_end.timestamp_millis() => {
            let end = meta.window_end.timestamp_millis();
            format!("its key names the window end {}, its content {end}", key.window_end_ms)
        }
        Some(_) => return Ok(snapshot),
    };
    Err(Unusable::Damaged { reason, content_hash: Some(snapshot.content_hash.to_hex().to_string()) })
}

/// Moves what was refused out of the way: a copy and its reason first, then the original goes.
pub(super) async fn quarantine(store: &Store, rows: &[LedgerRow]) -> Result<(), MergeError> {
    for row in rows.iter().filter(|row| matches!(row.outcome, Outcome::Damaged | Outcome::Conflict)) {
        let Some(key) = &row.object_key else { continue };
        let failed = |source| MergeError::Quarantine { object: key.clone(), source };
        // Keys come from a listing: `parse` keeps what is percent-encoded in them, `from` would encode it again.
        let path = |key: &str| Path::parse(key).map_err(|error| failed(error.into()));
        let (from, to, note) =
            (path(key)?, path(&keys::quarantined(key))?, path(&keys::quarantine_reason(key))?);
        let reason = format!("{}\n", row.reason.as_deref().unwrap_or_default());
        store.objects.put(&note, PutPayload::from(reason.into_bytes())).await.map_err(failed)?;
        match store.objects.rename(&from, &to).await {
            // A run that stopped here had moved it already.
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(failed(source)),
        }
    }
    Ok(())
}
