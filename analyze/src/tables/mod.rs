//! The Delta tables of a store: made, opened at a version, read by partition, changed by one hand-built commit.
//!
//! A commit is built by hand because one must remove the learning files of a bucket, add its new ones and set the
//! bucket's application transaction in one step. Who reads through [`ProfileTables`] sees one consistent batch: the commit to `profiles`
//! names the versions of the other two tables that belong to it.

mod commit;
mod file;
mod folder;
mod object;
mod parquet;
mod schema;
mod upkeep;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::ScalarValue;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident, lit};
use deltalake_core::kernel::{Action, CommitInfo, StructField, Transaction};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore, get_actions};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::SaveMode;
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::{FutureExt as _, StreamExt};
use object_store::ObjectStore as _;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use wsp_schemas::keys;
use wsp_schemas::store::Store;
use wsp_schemas::table::Table;
use wsp_schemas::tables::{PROFILE_NODES, PROFILE_SNAPSHOTS, PROFILES};

use crate::trial::{RequestFailed, TrialError, only_one_creates};

pub use commit::Change;
pub use file::{DataFile, Selection, decode_rows};
pub use folder::{FileRef, Folder};
pub use schema::{Partition, partition_value};
pub use writer::{Encoded, PartitionWriter, Written};

/// Application transaction of `profiles`: up to which hour merges have seen all uploads, in hours since the epoch.
pub const MERGE_WATERMARK: &str = "merge/watermark";
/// Application transaction of the ledger: all hours before this one are counted, of uploads that came after the freeze.
pub const MERGE_COUNTED: &str = "merge/counted";
/// Application transaction of `detections`, or of `signals` where an earlier version set it: up to which hour all snapshots were judged,
/// in hours since the epoch.
pub const DETECT_WATERMARK: &str = "detect/watermark";

/// Name of the table property that fixes the number of buckets.
const BUCKETS: &str = "wsp.buckets";
/// Names of the commit metadata that tie the tables of one batch together.
const LEDGER_VERSION: &str = "wsp.profileSnapshotsVersion";
const NODES_VERSION: &str = "wsp.profileNodesVersion";

/// A table that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No merge has run on the store.
    #[error("the store {store} has no profiles")]
    NoProfiles {
        /// The store.
        store: String,
    },
    /// It lets two writers win, so that commits would be lost.
    #[error(
        "{store} cannot be used as a store: of two writers of one object, one must be refused, and there {found}; no table was made"
    )]
    Dishonest {
        /// The store.
        store: String,
        /// What was seen.
        found: String,
    },
    /// It could not be tried before it gets its first table.
    #[error("the store {store} cannot be tried before it gets a table: {request} failed")]
    Untried {
        /// The store.
        store: String,
        /// As in `a write`.
        request: &'static str,
        /// Why.
        #[source]
        source: Box<object_store::Error>,
    },
    /// Delta said no.
    #[error("the table `{table}` of {store} cannot be {action}")]
    Delta {
        /// The table.
        table: &'static str,
        /// The store.
        store: String,
        /// `opened`, `read`, `changed`, `made`.
        action: &'static str,
        /// Why.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// Somebody else changed the same buckets.
    #[error(
        "another merge changed the table `{table}` of {store} at the same time; nothing of this one's batch is lost or doubled"
    )]
    Conflict {
        /// The table.
        table: &'static str,
        /// The store.
        store: String,
    },
    /// A commit failed in a way that does not tell whether it was made.
    #[error("a change of the table `{table}` of {store} failed, and may have been made")]
    Uncertain {
        /// The table.
        table: &'static str,
        /// The store.
        store: String,
        /// Why.
        #[source]
        source: Box<DeltaTableError>,
    },
    /// A data file that does not hold what it must.
    #[error("the file `{path}` of the table `{table}` cannot be used: {reason}")]
    File {
        /// The table.
        table: &'static str,
        /// The file, from the table's folder.
        path: String,
        /// Why.
        reason: String,
    },
    /// A data file that the store does not take.
    #[error("the file `{path}` of the table `{table}` cannot be written")]
    Write {
        /// The table.
        table: &'static str,
        /// The file, from the table's folder.
        path: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The table says something that this version does not understand.
    #[error("the table `{table}` of {store}: {reason}")]
    Malformed {
        /// The table.
        table: &'static str,
        /// The store.
        store: String,
        /// What is wrong.
        reason: String,
    },
}

/// One opened Delta table.
#[derive(Debug, Clone)]
pub struct OpenTable {
    declared: &'static Table,
    store: Store,
    delta: DeltaTable,
}

impl OpenTable {
    /// Opens a table at a version (the newest where none is given); none where it was never made.
    pub async fn open(
        store: &Store,
        declared: &'static Table,
        version: Option<u64>,
    ) -> Result<Option<Self>, TableError> {
        if version.is_none() && !is_made(store, declared).await? {
            return Ok(None);
        }
        let mut delta = DeltaTable::new(log_store(store, declared)?);
        let loaded = match version {
            Some(version) => delta.load_version(version).await,
            None => delta.load().await,
        };
        match loaded {
            Ok(()) => Ok(Some(Self { declared, store: store.clone(), delta })),
            Err(source) => Err(failed(store, declared, "opened", source)),
        }
    }

    /// Opens the newest version of a table, with all columns that are declared now. Where it is missing it is made, on a store
    /// that was tried before: later it would be too late, and cost each run.
    pub async fn open_or_create(
        store: &Store,
        declared: &'static Table,
        buckets: u32,
    ) -> Result<Self, TableError> {
        match Self::open(store, declared, None).await? {
            Some(table) => table.widened().await,
            None => {
                try_store(store).await?;
                Self::create(store, declared, buckets).await
            }
        }
    }

    /// Adds the columns that were declared after the table was made.
    async fn widened(self) -> Result<Self, TableError> {
        let missing = self.missing_columns()?;
        if missing.is_empty() {
            return Ok(self);
        }
        let added = self.delta.clone().add_columns().with_fields(missing).await;
        match (added, Self::open(&self.store, self.declared, None).await?) {
            // Somebody else may have added them first.
            (_, Some(table)) if table.missing_columns()?.is_empty() => Ok(table),
            (Err(source), _) => Err(self.failed("given its new columns", source)),
            (Ok(_), _) => Err(self.malformed("its new columns are not there".to_owned())),
        }
    }

    fn missing_columns(&self) -> Result<Vec<StructField>, TableError> {
        let has = self.state()?.schema();
        let columns = schema::delta_columns(self.declared);
        Ok(columns.into_iter().filter(|column| !has.contains(column.name())).collect())
    }

    async fn create(store: &Store, declared: &'static Table, buckets: u32) -> Result<Self, TableError> {
        let made = CreateBuilder::new()
            .with_log_store(log_store(store, declared)?)
            .with_table_name(declared.name)
            .with_columns(schema::delta_columns(declared))
            .with_partition_columns(declared.partitions.iter().copied())
            .with_configuration([(BUCKETS.to_owned(), Some(buckets.to_string()))])
            .with_raise_if_key_not_exists(false)
            .with_save_mode(SaveMode::Ignore)
            .await;
        match (made, Self::open(store, declared, None).await?) {
            // Somebody else made it first: theirs counts.
            (_, Some(table)) => Ok(table),
            (Err(source), None) => Err(failed(store, declared, "made", source)),
            (Ok(delta), None) => Ok(Self { declared, store: store.clone(), delta }),
        }
    }

    /// The newest version of another table of its store.
    #[cfg(feature = "distributed")]
    pub(crate) async fn of_same_store(&self, declared: &'static Table) -> Result<Option<Self>, TableError> {
        Self::open(&self.store, declared, None).await
    }

    /// The version that is open.
    pub fn version(&self) -> u64 {
        self.delta.version().unwrap_or_default()
    }

    /// The id that the table got when it was made.
    pub fn id(&self) -> Result<String, TableError> {
        Ok(self.state()?.metadata().id().to_owned())
    }

    /// How many buckets the store was made with.
    pub fn buckets(&self) -> Result<u32, TableError> {
        let text = self.state()?.metadata().configuration().get(BUCKETS).cloned();
        text.and_then(|text| text.parse().ok())
            .filter(|buckets| (1..=65_536).contains(buckets))
            .ok_or_else(|| self.malformed(format!("the table property `{BUCKETS}` is no number of buckets")))
    }

    /// The last batch of a bucket that stands in this table; 0 before the first.
    pub async fn batch(&self, bucket: i32) -> Result<i64, TableError> {
        Ok(self.application(&app_id(bucket)).await?.unwrap_or(0))
    }

    /// The version of an application transaction.
    pub async fn application(&self, id: &str) -> Result<Option<i64>, TableError> {
        let version = self.state()?.transaction_version(&*self.delta.log_store(), id).await;
        version.map_err(|source| self.failed("read", source))
    }

    /// As a DataFusion table, at the opened version; columns that were declared after it are null.
    pub async fn provider(&self) -> Result<Arc<dyn TableProvider>, TableError> {
        let snapshot = self.state()?.snapshot().clone();
        let scan = self.delta.table_provider().with_eager_snapshot(snapshot).build().await;
        let scan: Arc<dyn TableProvider> =
            Arc::new(scan.map_err(|source| self.failed("read", source.into()))?);
        let missing = self.missing_columns()?;
        if missing.is_empty() {
            return Ok(scan);
        }
        let widened = || -> datafusion::error::Result<Arc<dyn TableProvider>> {
            let mut columns: Vec<Expr> =
                scan.schema().fields().iter().map(|field| ident(field.name())).collect();
            let schema = self.declared.arrow_schema();
            for column in &missing {
                let kind = schema.field_with_name(column.name())?.data_type();
                columns.push(lit(ScalarValue::try_from(kind)?).alias(column.name()));
            }
            let plan =
                LogicalPlanBuilder::scan(self.declared.name, provider_as_source(Arc::clone(&scan)), None)?;
            Ok(Arc::new(ViewTable::new(plan.project(columns)?.build()?, None)))
        };
        widened().map_err(|source| self.failed("read", source.into()))
    }

    fn state(&self) -> Result<&deltalake_core::table::state::DeltaTableState, TableError> {
        self.delta.snapshot().map_err(|source| self.failed("read", source))
    }

    fn failed(&self, action: &'static str, source: DeltaTableError) -> TableError {
        failed(&self.store, self.declared, action, source)
    }

    fn malformed(&self, reason: String) -> TableError {
        TableError::Malformed { table: self.declared.name, store: self.store.to_string(), reason }
    }
}

/// Up to which hour all snapshots were judged; none before the first detection.
pub async fn detected_up_to(
    signals: Option<&OpenTable>,
    detections: Option<&OpenTable>,
) -> Result<Option<i64>, TableError> {
    let mut hour = None;
    for table in [signals, detections].into_iter().flatten() {
        hour = hour.max(table.application(DETECT_WATERMARK).await?);
    }
    Ok(hour)
}

/// Has what Delta makes once in a process be made beside other work: compiling its patterns takes tens of milliseconds.
pub fn prepare() {
    // Without a thread they are compiled when they are first needed.
    let _ = std::thread::Builder::new()
        .name("wsp-prepare".to_owned())
        .spawn(|| deltalake_core::logstore::extract_version_from_filename(""));
}

/// The three tables of the merge, open at versions that belong together.
#[derive(Debug, Clone)]
pub struct ProfileTables {
    /// The ledger.
    pub ledger: OpenTable,
    /// Node rows.
    pub nodes: OpenTable,
    /// Profile rows.
    pub profiles: OpenTable,
}

impl ProfileTables {
    /// Opens the newest consistent batch: what readers want.
    pub async fn open(store: &Store) -> Result<Self, TableError> {
        let missing = || TableError::NoProfiles { store: store.to_string() };
        let profiles = OpenTable::open(store, &PROFILES, None).await?.ok_or_else(missing)?;
        let pins = profiles.pinned().await?.ok_or_else(missing)?;
        let ledger =
            OpenTable::open(store, &PROFILE_SNAPSHOTS, Some(pins.ledger)).await?.ok_or_else(missing)?;
        let nodes = OpenTable::open(store, &PROFILE_NODES, Some(pins.nodes)).await?.ok_or_else(missing)?;
        Ok(Self { ledger, nodes, profiles })
    }

    /// Opens the newest version of each, as a job that changes them wants; none where one was never made.
    pub async fn newest(store: &Store) -> Result<Option<Self>, TableError> {
        // What a merge commits last is opened last: a batch that is under way is seen as one that is not finished.
        let ledger = OpenTable::open(store, &PROFILE_SNAPSHOTS, None).await?;
        let nodes = OpenTable::open(store, &PROFILE_NODES, None).await?;
        let profiles = OpenTable::open(store, &PROFILES, None).await?;
        Ok(match (ledger, nodes, profiles) {
            (Some(ledger), Some(nodes), Some(profiles)) => Some(Self { ledger, nodes, profiles }),
            _ => None,
        })
    }

    /// Whether a merge has made them.
    pub async fn are_made(store: &Store) -> Result<bool, TableError> {
        is_made(store, &PROFILE_SNAPSHOTS).await
    }

    /// Whether the newest commit to the profiles names the newest versions of the others. Buckets whose merge stopped half way
    /// may stand at different batches in them all the same.
    pub async fn is_settled(&self) -> Result<bool, TableError> {
        let pinned = self.profiles.pinned().await?;
        Ok(pinned
            .is_some_and(|pins| (pins.ledger, pins.nodes) == (self.ledger.version(), self.nodes.version())))
    }

    /// Buckets that stand at the same batch in all three tables: what the ledger has of them is in nodes and profiles, and
    /// no merge will need their snapshots again to finish.
    pub async fn level_buckets(&self) -> Result<BTreeSet<i32>, TableError> {
        let all = 0..i32::try_from(self.ledger.buckets()?).unwrap_or(i32::MAX);
        let mut level = BTreeSet::new();
        for bucket in all {
            let batch = self.ledger.batch(bucket).await?;
            if batch == self.nodes.batch(bucket).await? && batch == self.profiles.batch(bucket).await? {
                level.insert(bucket);
            }
        }
        Ok(level)
    }

    /// Opens the newest version of each, making what is missing: what the merge wants.
    pub async fn open_or_create(store: &Store, buckets: u32) -> Result<Self, TableError> {
        // The ledger comes first: its number of buckets holds for the others.
        let ledger = OpenTable::open_or_create(store, &PROFILE_SNAPSHOTS, buckets).await?;
        let buckets = ledger.buckets()?;
        let mut others = Vec::with_capacity(2);
        for declared in [&PROFILE_NODES, &PROFILES] {
            let table = match OpenTable::open(store, declared, None).await? {
                Some(table) => table.widened().await?,
                // The store was tried for the ledger.
                None => OpenTable::create(store, declared, buckets).await?,
            };
            if table.buckets()? != buckets {
                return Err(
                    table.malformed(format!("has {} buckets, the ledger {buckets}", table.buckets()?))
                );
            }
            others.push(table);
        }
        match <[OpenTable; 2]>::try_from(others) {
            Ok([nodes, profiles]) => {
                // The profiles may know of a freeze of which this ledger does not have the snapshots.
                let newer = |pins: &Pins| pins.ledger > ledger.version() || pins.nodes > nodes.version();
                if profiles.pinned().await?.as_ref().is_some_and(newer) {
                    return Err(TableError::Conflict {
                        table: ledger.declared.name,
                        store: store.to_string(),
                    });
                }
                Ok(Self { ledger, nodes, profiles })
            }
            Err(_) => Err(TableError::NoProfiles { store: store.to_string() }),
        }
    }
}

/// What a commit to `profiles` says belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pins {
    /// The version of `profiles` whose commit says so.
    pub at: u64,
    /// Version of the ledger.
    pub ledger: u64,
    /// Version of the nodes.
    pub nodes: u64,
}

impl OpenTable {
    /// Versions of ledger and nodes that belong to the opened version of `profiles`; none where no batch was committed.
    pub async fn pinned(&self) -> Result<Option<Pins>, TableError> {
        let log = self.delta.log_store();
        let failed = |source| self.failed("read", source);
        // Not through the table's history: it lists what was committed after this version was opened, too. Nearly always
        // the last commit is a merge's, and the log before it need not be read.
        for version in (0..=self.version()).rev() {
            let Some(commit) = log.read_commit_entry(version).await.map_err(failed)? else { break };
            for action in get_actions(version, &commit).map_err(failed)? {
                let Action::CommitInfo(CommitInfo { info, .. }) = action else { continue };
                let number = |name: &str| info.get(name).and_then(serde_json::Value::as_u64);
                if let (Some(ledger), Some(nodes)) = (number(LEDGER_VERSION), number(NODES_VERSION)) {
                    return Ok(Some(Pins { at: version, ledger, nodes }));
                }
            }
        }
        Ok(None)
    }
}

/// The metadata of a commit to `profiles`: the versions that belong to it.
pub fn pins(ledger: u64, nodes: u64) -> Vec<(String, serde_json::Value)> {
    vec![(LEDGER_VERSION.to_owned(), ledger.into()), (NODES_VERSION.to_owned(), nodes.into())]
}

/// The application transaction that says which batch of a bucket a table stands at.
pub fn transaction(bucket: i32, batch: i64) -> Transaction {
    Transaction::new(app_id(bucket), batch)
}

/// Another application transaction.
pub fn application(id: &str, version: i64) -> Transaction {
    Transaction::new(id.to_owned(), version)
}

fn app_id(bucket: i32) -> String {
    format!("merge/{bucket}")
}

fn failed(store: &Store, declared: &Table, action: &'static str, source: DeltaTableError) -> TableError {
    TableError::Delta { table: declared.name, store: store.to_string(), action, source: Box::new(source) }
}

/// Whether a table has a log. Delta's own answer differs from store to store.
async fn is_made(store: &Store, declared: &Table) -> Result<bool, TableError> {
    let log = Path::from(format!("{}/_delta_log", keys::table(declared.name)));
    let first = store.objects.list(Some(&log)).next().await.transpose();
    Ok(first
        .map_err(|source| failed(store, declared, "opened", DeltaTableError::ObjectStore { source }))?
        .is_some())
}

/// Tries whether a store keeps the promise that commits rest on.
async fn try_store(store: &Store) -> Result<(), TableError> {
    only_one_creates(store).boxed().await.map_err(|error| match error {
        TrialError::Broken(found) => TableError::Dishonest { store: store.to_string(), found },
        TrialError::Failed(RequestFailed { what, source }) => {
            TableError::Untried { store: store.to_string(), request: what, source: Box::new(source) }
        }
    })
}

/// The log store of a table, on our own object store: one way to open stores serves capture, merge and tables.
fn log_store(store: &Store, declared: &Table) -> Result<LogStoreRef, TableError> {
    let folder = keys::table(declared.name);
    let invalid = |error: url::ParseError| {
        failed(store, declared, "opened", DeltaTableError::InvalidTableLocation(error.to_string()))
    };
    let (root, url) = store.for_tables();
    let location = url.join(&format!("{folder}/")).map_err(invalid)?;
    let prefixed = PrefixStore::new(Arc::clone(&store.objects), folder);
    Ok(default_logstore(Arc::new(prefixed), root, &location, &StorageConfig::default()))
}
