//! Hours of snapshots whose time is over, the oldest first.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use wsp_schemas::keys::{self, SnapshotFolder};
use wsp_schemas::store::Store;

use super::CompactError;

/// Hours with objects of which all were uploaded before a time. What lies in folders that are not named as ours is left to
/// the merge, which moves it to quarantine.
pub(super) async fn hours(store: &Store, before: DateTime<Utc>) -> Result<Vec<DateTime<Utc>>, CompactError> {
    let mut hours = Vec::new();
    for day in folders(store, &Path::from(keys::SNAPSHOTS)).await? {
        let Some(SnapshotFolder::Day(date)) = SnapshotFolder::parse(day.as_ref()) else { continue };
        if date > before.date_naive() {
            continue;
        }
        for folder in folders(store, &day).await? {
            if let Some(SnapshotFolder::Hour(hour)) = SnapshotFolder::parse(folder.as_ref()) {
                hours.push(hour);
            }
        }
    }
    let an_hour = chrono::TimeDelta::hours(1);
    hours.retain(|hour| hour.checked_add_signed(an_hour).is_some_and(|end| end <= before));
    hours.sort();
    Ok(hours)
}

async fn folders(store: &Store, folder: &Path) -> Result<Vec<Path>, CompactError> {
    let listed = store.objects.list_with_delimiter(Some(folder)).await;
    listed.map(|listed| listed.common_prefixes).map_err(|source| failed(store, source))
}

/// The objects of an hour, in the order of their keys.
pub(super) async fn objects(store: &Store, hour: DateTime<Utc>) -> Result<Vec<ObjectMeta>, CompactError> {
    let folder = Path::from(SnapshotFolder::Hour(hour).path());
    let listed = store.objects.list(Some(&folder)).try_collect::<Vec<_>>().await;
    let mut listed = listed.map_err(|source| failed(store, source))?;
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(listed)
}

fn failed(store: &Store, source: object_store::Error) -> CompactError {
    CompactError::List { store: store.to_string(), source }
}
