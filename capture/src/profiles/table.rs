//! The Delta table `profiles`, as far as it says who is stable. By Delta's kernel: which files count, and how their rows are to be
//! read, it knows.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int32Type;
use buoyant_kernel::engine::arrow_data::EngineDataArrowExt as _;
use buoyant_kernel::{Engine, Snapshot, SnapshotRef};
use buoyant_kernel_engine::DefaultEngineBuilder;
use buoyant_kernel_engine::executor::tokio::TokioMultiThreadExecutor;
use futures::StreamExt as _;
use object_store::ObjectStore as _;
use object_store::path::Path;
use tokio::runtime::Handle;
use wsp_schemas::image::WorkloadKey;
use wsp_schemas::keys;
use wsp_schemas::store::{Access, Missing, Store, StoreError};
use wsp_schemas::tables::PROFILES;

use super::Stable;

const KEY: &str = "workload_key";
const REVISION: &str = "revision";
const STATUS: &str = "status";
const DIGESTS: &str = "digests";
const COLUMNS: [&str; 4] = [KEY, REVISION, STATUS, DIGESTS];
/// The status of a revision that is frozen.
const FROZEN: &str = "stable";

/// Profiles that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProfilesError {
    /// The store.
    #[error(transparent)]
    Open(#[from] StoreError),
    /// Nothing answers there, or it refuses.
    #[error("the profiles of {store} cannot be looked for")]
    Unreachable {
        /// Its URL.
        store: String,
        /// Why.
        #[source]
        source: Box<object_store::Error>,
    },
    /// The table.
    #[error("the profiles of {store} cannot be read")]
    Delta {
        /// Its URL.
        store: String,
        /// Why.
        #[source]
        source: Box<buoyant_kernel::Error>,
    },
    /// A column is not what `schemas` declares.
    #[error("the profiles of {store} cannot be read: their column `{column}` is of another type")]
    Column {
        /// Its URL.
        store: String,
        /// Which.
        column: &'static str,
    },
    /// The thread that read them is gone.
    #[error("the profiles of {store} were not read to the end: this is a bug")]
    Thread {
        /// Its URL.
        store: String,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// The table `profiles` of a store.
pub struct Table {
    location: String,
    access: Access,
    opened: Option<Opened>,
}

struct Opened {
    store: Store,
    engine: Arc<dyn Engine>,
    /// The newest version that was read.
    last: Option<(SnapshotRef, Stable)>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Table {
    /// The table of the store at a URL. A folder need not be there yet: it is looked for at each reading.
    pub fn open(location: &str, access: Access) -> Result<Self, ProfilesError> {
        let mut table = Self { location: location.to_owned(), access, opened: None };
        match table.opened() {
            Ok(_) | Err(ProfilesError::Open(StoreError::Folder { .. })) => Ok(table),
            Err(error) => Err(error),
        }
    }

    /// Of which store.
    pub fn store(&self) -> &str {
        &self.location
    }

    fn opened(&mut self) -> Result<&mut Opened, ProfilesError> {
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => Opened::at(&self.location, &self.access)?,
        };
        Ok(self.opened.insert(opened))
    }

    /// The stable workloads of its newest version; none where no merge has made it. What has not changed since the last time is not
    /// read again: it costs one listing.
    pub async fn read(&mut self) -> Result<Option<Stable>, ProfilesError> {
        let opened = self.opened()?;
        let last = opened.last.take();
        if !opened.is_made().await? {
            return Ok(None);
        }
        let name = opened.store.to_string();
        let location = opened.store.for_tables().1.join(&format!("{}/", keys::table(PROFILES.name)));
        let (engine, store) = (Arc::clone(&opened.engine), name.clone());
        let read = move || {
            let failed = |source| ProfilesError::Delta { store: store.clone(), source: Box::new(source) };
            let newest = match &last {
                Some((before, _)) => Snapshot::builder_from(Arc::clone(before)),
                None => Snapshot::builder_for(location.map_err(|error| failed(error.into()))?),
            };
            let newest = newest.build(engine.as_ref()).map_err(failed)?;
            match last {
                Some((before, stable)) if before.version() == newest.version() => Ok((newest, stable)),
                _ => read(&newest, engine, &store).map(|stable| (newest, stable)),
            }
        };
        // The kernel waits for what it reads.
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|source| ProfilesError::Thread { store: name, source })??;
        Ok(Some(opened.last.insert(read).1.clone()))
    }
}

impl Opened {
    fn at(location: &str, access: &Access) -> Result<Self, ProfilesError> {
        let store = access.open(location, Missing::Refuse)?;
        let executor = Arc::new(TokioMultiThreadExecutor::new(Handle::current()));
        let engine = DefaultEngineBuilder::new(store.for_tables().0).with_task_executor(executor).build();
        Ok(Self { store, engine: Arc::new(engine), last: None })
    }

    async fn is_made(&self) -> Result<bool, ProfilesError> {
        let log = Path::from(format!("{}/{}", keys::table(PROFILES.name), keys::TABLE_LOG));
        let first = self.store.objects.list(Some(&log)).next().await.transpose();
        let first = first.map_err(|source| ProfilesError::Unreachable {
            store: self.store.to_string(),
            source: Box::new(source),
        })?;
        Ok(first.is_some())
    }
}

/// Blocks.
fn read(snapshot: &SnapshotRef, engine: Arc<dyn Engine>, store: &str) -> Result<Stable, ProfilesError> {
    let failed = |source| ProfilesError::Delta { store: store.to_owned(), source: Box::new(source) };
    let columns = snapshot.schema().project(&COLUMNS).map_err(failed)?;
    let scan = Arc::clone(snapshot).scan_builder().with_schema(columns).build().map_err(failed)?;
    let mut newest = HashMap::new();
    for rows in scan.execute(engine).map_err(failed)? {
        let rows = rows.and_then(|rows| rows.try_into_record_batch()).map_err(failed)?;
        take(&rows, &mut newest)
            .map_err(|column| ProfilesError::Column { store: store.to_owned(), column })?;
    }
    let mut stable = Stable::default();
    for (workload, (_, digests)) in newest {
        if let Some(digests) = digests {
            stable.insert(workload, digests.iter().map(String::as_str));
        }
    }
    Ok(stable)
}

/// Of each workload the newest revision that was met, and the digests of a stable one.
type Newest = HashMap<WorkloadKey, (i32, Option<Vec<String>>)>;

fn take(rows: &RecordBatch, newest: &mut Newest) -> Result<(), &'static str> {
    let column = |name: &'static str| rows.column_by_name(name).ok_or(name);
    let keys = column(KEY)?.as_string_opt::<i32>().ok_or(KEY)?;
    let revisions = column(REVISION)?.as_primitive_opt::<Int32Type>().ok_or(REVISION)?;
    let statuses = column(STATUS)?.as_string_opt::<i32>().ok_or(STATUS)?;
    let digests = column(DIGESTS)?.as_list_opt::<i32>().ok_or(DIGESTS)?;
    for row in 0..rows.num_rows() {
        let workload = keys.is_valid(row).then(|| WorkloadKey::parse(keys.value(row))).flatten();
        let Some(workload) = workload.filter(|_| revisions.is_valid(row)) else { continue };
        let revision = revisions.value(row);
        if newest.get(&workload).is_some_and(|(known, _)| *known > revision) {
            continue;
        }
        let digests = if statuses.is_valid(row) && statuses.value(row) == FROZEN {
            let seen = digests.is_valid(row).then(|| digests.value(row));
            let seen = seen.as_ref().map(|seen| seen.as_string_opt::<i32>().ok_or(DIGESTS)).transpose()?;
            Some(seen.into_iter().flatten().flatten().map(str::to_owned).collect())
        } else {
            None
        };
        newest.insert(workload, (revision, digests));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, ListArray, StringArray};
    use wsp_schemas::image::Workload;

    use super::*;

    #[test]
    fn what_is_read_is_declared() {
        for name in COLUMNS {
            assert!(PROFILES.columns.iter().any(|column| column.name == name), "{name}");
        }
    }

    #[test]
    fn the_newest_revision_counts() {
        let key = |image: &str| Workload::parse(image).unwrap().key();
        let rows = [
            ("web:1", 1, "stable"),
            ("web:2", 2, "learning"),
            ("web:2", 1, "stable"),
            ("web:3", 1, "stable"),
            ("web:3", 2, "stable"),
            ("web:4", 1, "learning"),
        ];
        let digests = rows.map(|(_, revision, _)| Some(vec![Some(format!("sha256:{revision}"))]));
        let mut list = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
        digests.into_iter().for_each(|row| list.append_option(row));
        let list: ListArray = list.finish();
        let batch = RecordBatch::try_from_iter([
            (
                KEY,
                Arc::new(StringArray::from_iter_values(rows.map(|(image, ..)| key(image).to_string()))) as _,
            ),
            (REVISION, Arc::new(Int32Array::from_iter_values(rows.map(|(_, revision, _)| revision))) as _),
            (STATUS, Arc::new(StringArray::from_iter_values(rows.map(|(_, _, status)| status))) as _),
            (DIGESTS, Arc::new(list) as Arc<dyn arrow::array::Array>),
        ])
        .unwrap();
        let mut newest = Newest::new();
        take(&batch, &mut newest).unwrap();
        let seen = |image: &str| newest[&key(image)].clone();
        let of = |digest: &str| Some(vec![digest.to_owned()]);
        assert_eq!(seen("web:1"), (1, of("sha256:1")));
        assert_eq!(seen("web:2"), (2, None));
        assert_eq!(seen("web:3"), (2, of("sha256:2")));
        assert_eq!(seen("web:4"), (1, None));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_without_tables_and_one_that_is_away_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().join("later").display().to_string();
        let mut table = Table::open(&location, Access::default()).unwrap();
        assert!(matches!(table.read().await, Err(ProfilesError::Open(_))));
        std::fs::create_dir(&location).unwrap();
        assert_eq!(table.read().await.unwrap(), None);
        assert!(Table::open("s3:x", Access::default()).is_err());
    }
}
