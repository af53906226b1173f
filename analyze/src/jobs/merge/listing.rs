//! Lists the snapshots of a store, from an hour on; folder by folder, some at the same time.

use chrono::{DateTime, NaiveDateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use wsp_schemas::keys;
use wsp_schemas::store::Store;

use super::MergeError;

/// Folders that are listed at the same time.
const FOLDERS_AT_A_TIME: usize = 16;

/// All objects below `snapshots/` but for those of hours before `from`; in the order of their keys.
pub(in crate::jobs) async fn objects(
    store: &Store,
    from: Option<DateTime<Utc>>,
) -> Result<Vec<ObjectMeta>, MergeError> {
    let failed = |source| MergeError::List { store: store.to_string(), source };
    // Stray objects in the upper folders are found on the way.
    let mut found = Vec::new();
    let mut hours = Vec::new();
    let days = folder(store, Path::from(keys::SNAPSHOTS)).await.map_err(failed)?;
    found.extend(days.objects);
    let days = days.common_prefixes.into_iter().filter(|day| is_wanted(day, "24", from));
    let days = futures::stream::iter(days).map(|day| folder(store, day)).buffer_unordered(FOLDERS_AT_A_TIME);
    for day in days.try_collect::<Vec<_>>().await.map_err(failed)? {
        found.extend(day.objects);
        hours.extend(day.common_prefixes.into_iter().filter(|hour| is_wanted(hour, "", from)));
    }
    let hours =
        futures::stream::iter(hours).map(|hour| hour_of(store, hour)).buffer_unordered(FOLDERS_AT_A_TIME);
    found.extend(hours.try_collect::<Vec<_>>().await.map_err(failed)?.into_iter().flatten());
    // A store may list in any order; what is decided must not depend on it.
    found.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(found)
}

/// Whether there is any object below `snapshots/`.
pub(in crate::jobs) async fn any(store: &Store) -> object_store::Result<bool> {
    Ok(store.objects.list(Some(&Path::from(keys::SNAPSHOTS))).next().await.transpose()?.is_some())
}

/// All objects below the folder of an hour. One answer costs a local store half of what a stream of files does; where there are
/// folders in it, which are none of ours, one stream costs less than an answer for each.
async fn hour_of(store: &Store, hour: Path) -> object_store::Result<Vec<ObjectMeta>> {
    let listed = folder(store, hour.clone()).await?;
    if listed.common_prefixes.is_empty() {
        return Ok(listed.objects);
    }
    store.objects.list(Some(&hour)).try_collect().await
}

async fn folder(store: &Store, folder: Path) -> object_store::Result<object_store::ListResult> {
    store.objects.list_with_delimiter(Some(&folder)).await
}

/// Whether a folder may hold objects from that hour on. One that is not named as ours are may hold anything.
fn is_wanted(folder: &Path, default_hour: &str, from: Option<DateTime<Utc>>) -> bool {
    let Some(from) = from else { return true };
    let mut parts = folder.parts().skip(1);
    let day = parts.next();
    let hour = parts.next();
    let day = day.as_ref().and_then(|part| part.as_ref().strip_prefix("date="));
    let hour = hour.as_ref().map_or(Some(default_hour), |part| part.as_ref().strip_prefix("hour="));
    let (Some(day), Some(hour)) = (day, hour) else { return true };
    // The whole day counts by its last hour.
    let hour = if hour == "24" { "23" } else { hour };
    match NaiveDateTime::parse_from_str(&format!("{day}T{hour}:00:00"), "%Y-%m-%dT%H:%M:%S") {
        Ok(time) => time.and_utc() >= from,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_from_an_hour_on() {
        let from = DateTime::parse_from_rfc3339("2026-11-24T05:00:00Z").unwrap().with_timezone(&Utc);
        for (folder, default, wanted) in [
            ("date=2026-11-23", "24", false),
            ("date=2026-11-24", "24", true),
            ("date=2026-11-25", "24", true),
            ("date=2026-11-24/hour=04", "", false),
            ("date=2026-11-24/hour=05", "", true),
            ("date=2026-11-24/hour=xx", "", true),
            ("other", "24", true),
        ] {
            let path = Path::from(format!("{}/{folder}", keys::SNAPSHOTS));
            assert_eq!(is_wanted(&path, default, Some(from)), wanted, "{folder}");
            assert!(is_wanted(&path, default, None));
        }
    }
}
