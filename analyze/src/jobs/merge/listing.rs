//! Lists the snapshots of a store, from an hour on; folder by folder, some at the same time.

use std::io::ErrorKind;
use std::sync::Arc;

use chrono::{DateTime, NaiveDateTime, Utc};
use datafusion::common::runtime::SpawnedTask;
use futures::future::ready;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use tokio::sync::mpsc;
use wsp_schemas::keys::{self, SnapshotFolder, SnapshotKey};
use wsp_schemas::store::Store;

use super::MergeError;

/// Folders that are listed at the same time.
const FOLDERS_AT_A_TIME: usize = 16;
/// Names in an answer of a store, as S3's, and how many of these wait in each folder.
const ANSWER_NAMES: usize = 1000;
const ANSWERS_AHEAD: usize = 2;

/// All objects below `snapshots/` but for those of hours before `from`, in no order. None is kept here: of a large fleet there
/// are millions in an hour.
pub(in crate::jobs) async fn objects(
    store: &Store,
    from: Option<DateTime<Utc>>,
) -> Result<impl Stream<Item = Result<ObjectMeta, MergeError>> + '_, MergeError> {
    let failed = |source| MergeError::List { store: store.to_string(), source };
    // Stray objects in the upper folders are found on the way.
    let mut found = Vec::new();
    let mut hours = Vec::new();
    let days = folder(store, Path::from(keys::SNAPSHOTS)).await.map_err(failed)?;
    found.extend(days.objects);
    let days = days.common_prefixes.into_iter().filter(|day| is_wanted(day, "24", from));
    let days = stream::iter(days).map(|day| folder(store, day)).buffer_unordered(FOLDERS_AT_A_TIME);
    for day in days.try_collect::<Vec<_>>().await.map_err(failed)? {
        found.extend(day.objects);
        hours.extend(day.common_prefixes.into_iter().filter(|hour| is_wanted(hour, "", from)));
    }
    let hours = stream::iter(hours).map(|hour| hour_of(store, hour)).flatten_unordered(FOLDERS_AT_A_TIME);
    Ok(stream::iter(found.into_iter().map(Ok)).chain(hours).map_err(failed))
}

/// A snapshot that is there, by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jobs) struct Listed {
    pub(in crate::jobs) object_key: String,
    pub(in crate::jobs) key: SnapshotKey,
    /// None where the store does not say it with the name: each would cost a look.
    pub(in crate::jobs) size: Option<u64>,
}

/// The snapshots from an hour on that are wanted, in the order of their keys; whatever else is there is not kept.
pub(in crate::jobs) async fn snapshots(
    store: &Store,
    from: Option<DateTime<Utc>>,
    mut is_wanted: impl FnMut(&SnapshotKey) -> bool,
) -> Result<Vec<Listed>, MergeError> {
    let mut of = |object_key: String, size| {
        let key = SnapshotKey::parse(&object_key).ok().filter(&mut is_wanted)?;
        Some(Listed { key, object_key, size })
    };
    let mut listed: Vec<_> = if let Some(folder) = store.folder() {
        let names = tokio::task::spawn_blocking(move || names_below(&folder, from)).await;
        let names = names.map_err(std::io::Error::other).and_then(std::convert::identity);
        let names = names.map_err(|source| MergeError::List {
            store: store.to_string(),
            source: object_store::Error::Generic { store: "LocalFileSystem", source: source.into() },
        })?;
        names.into_iter().filter_map(|name| of(name, None)).collect()
    } else {
        let objects = objects(store, from).await?;
        let listed =
            objects.try_filter_map(|object| ready(Ok(of(object.location.into(), Some(object.size)))));
        listed.try_collect().await?
    };
    // A store may list in any order; what is decided must not depend on it.
    listed.sort_by(|a, b| a.object_key.cmp(&b.object_key));
    Ok(listed)
}

/// The files in the folders of hours of a local store. None is looked at by itself.
fn names_below(root: &std::path::Path, from: Option<DateTime<Utc>>) -> std::io::Result<Vec<String>> {
    let mut names = vec![keys::SNAPSHOTS.to_owned()];
    // Days, hours, and what stands in them.
    for default_hour in [Some("24"), Some(""), None] {
        let mut below = Vec::new();
        for folder in names {
            let entries = match std::fs::read_dir(root.join(&folder)) {
                Ok(entries) => entries,
                // A store without snapshots, or a file where a folder would be.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let kind = entry.file_type()?;
                // A pipe would wait for a writer.
                let is_file = kind.is_file() || (kind.is_symlink() && entry.path().is_file());
                // Our names are text.
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = format!("{folder}/{name}");
                let is_wanted = match default_hour {
                    Some(default_hour) => is_wanted(&Path::from(name.as_str()), default_hour, from),
                    None => is_file,
                };
                if is_wanted {
                    below.push(name);
                }
            }
        }
        names = below;
    }
    Ok(names)
}

/// The newest hour that has a folder of snapshots, and is not later than a time.
pub(in crate::jobs) async fn newest_hour(
    store: &Store,
    until: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, MergeError> {
    let failed = |source| MergeError::List { store: store.to_string(), source };
    let days = folder(store, Path::from(keys::SNAPSHOTS)).await.map_err(failed)?.common_prefixes;
    let is_past = |day: &Path| match SnapshotFolder::parse(day.as_ref()) {
        Some(SnapshotFolder::Day(day)) => day <= until.date_naive(),
        _ => false,
    };
    let mut days: Vec<Path> = days.into_iter().filter(is_past).collect();
    days.sort();
    for day in days.into_iter().rev() {
        let hours = folder(store, day).await.map_err(failed)?.common_prefixes;
        let hours = hours.iter().filter_map(|hour| match SnapshotFolder::parse(hour.as_ref()) {
            Some(SnapshotFolder::Hour(hour)) if hour <= until => Some(hour),
            _ => None,
        });
        if let Some(newest) = hours.max() {
            return Ok(Some(newest));
        }
    }
    Ok(None)
}

/// Whether there is any object below `snapshots/`.
pub(in crate::jobs) async fn any(store: &Store) -> object_store::Result<bool> {
    Ok(store.objects.list(Some(&Path::from(keys::SNAPSHOTS))).next().await.transpose()?.is_some())
}

/// All objects below the folder of an hour.
fn hour_of(store: &Store, hour: Path) -> BoxStream<'_, object_store::Result<ObjectMeta>> {
    if store.folder().is_none() {
        return beside(Arc::clone(&store.objects), hour);
    }
    // One answer costs a local store half of what a stream of files does; where there are folders in it, which are none of ours,
    // one stream costs less than an answer for each.
    let listed = async move {
        let listed = folder(store, hour.clone()).await?;
        Ok::<_, object_store::Error>(match listed.common_prefixes.is_empty() {
            true => stream::iter(listed.objects.into_iter().map(Ok)).boxed(),
            false => store.objects.list(Some(&hour)),
        })
    };
    stream::once(listed).try_flatten().boxed()
}

/// All objects below a folder, listed by a task of its own: of a large fleet the names are most of the work, and cores share it.
fn beside(
    objects: Arc<dyn ObjectStore>,
    folder: Path,
) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
    let (sender, mut receiver) = mpsc::channel(ANSWERS_AHEAD);
    let task = SpawnedTask::spawn(async move {
        let mut answers = objects.list(Some(&folder)).ready_chunks(ANSWER_NAMES);
        while let Some(answer) = answers.next().await {
            if sender.send(answer).await.is_err() {
                break;
            }
        }
    });
    let answers = stream::poll_fn(move |context| receiver.poll_recv(context)).flat_map(stream::iter);
    // A listing that ended early is not one that is whole.
    let end = stream::once(task.join()).filter_map(async |ended| {
        let source = ended.err()?.into();
        Some(Err(object_store::Error::Generic { store: "listing", source }))
    });
    answers.chain(end).boxed()
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
    use object_store::ObjectStoreExt as _;
    use wsp_schemas::image::WorkloadKey;
    use wsp_schemas::keys::SnapshotId;

    use super::*;

    /// Names in a folder, objects in it, and objects of other stores are read by three ways: all find the same.
    #[tokio::test]
    async fn snapshots_of_a_folder_are_those_of_its_objects() {
        let folder = tempfile::tempdir().unwrap();
        let uploaded = DateTime::parse_from_rfc3339("2026-11-24T00:00:00Z").unwrap().with_timezone(&Utc);
        let name = |hour: i64, n: u128| {
            let uploaded = uploaded + chrono::TimeDelta::hours(hour);
            let id = SnapshotId::new(uuid::Uuid::from_u128(n));
            SnapshotKey { uploaded, workload: WorkloadKey::UNKEYED, window_end_ms: 1, id }.path()
        };
        let mut names: Vec<String> =
            (0..3).flat_map(|hour| (0..4).map(move |n| (hour, n))).map(|(hour, n)| name(hour, n)).collect();
        let key = name(1, 9);
        let mut above = std::path::Path::new(&key).ancestors().skip(1).map(|folder| folder.display());
        let (hour, day) = (above.next().unwrap(), above.next().unwrap());
        names.extend([
            format!("{}/stray.parquet", keys::SNAPSHOTS),
            format!("{day}/stray.parquet"),
            format!("{hour}/stray.parquet"),
            format!("{hour}/deeper/0.parquet"),
            // A file that is being written.
            format!("{key}#1"),
        ]);
        let open = |url: &str| wsp_schemas::store::open(url, wsp_schemas::store::Missing::Create).unwrap();
        let memory = open("memory:///");
        for name in &names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
            let path = Path::parse(name).unwrap();
            memory.objects.put(&path, "x".into()).await.unwrap();
        }
        let store = open(folder.path().to_str().unwrap());
        for from in [None, Some("2026-11-24T01:00:00Z"), Some("2026-11-25T00:00:00Z")] {
            let from = from.map(|from| DateTime::parse_from_rfc3339(from).unwrap().with_timezone(&Utc));
            let by_names: Vec<String> = snapshots(&store, from, |_| true)
                .await
                .unwrap()
                .into_iter()
                .map(|listed| listed.object_key)
                .collect();
            for store in [&store, &memory] {
                let objects: Vec<ObjectMeta> =
                    objects(store, from).await.unwrap().try_collect().await.unwrap();
                let keys = objects.into_iter().map(|object| object.location.to_string());
                let mut by_objects: Vec<String> =
                    keys.filter(|key| SnapshotKey::parse(key).is_ok()).collect();
                by_objects.sort();
                assert_eq!(by_names, by_objects, "{from:?}");
            }
            assert_eq!(by_names.is_empty(), from.is_some_and(|from| from.to_rfc3339().contains("-25T")));
        }
    }

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
