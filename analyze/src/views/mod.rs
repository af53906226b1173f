//! The SQL interface: views over one consistent batch of the tables. Raw tables stand in the schema `raw`.

use std::sync::Arc;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::catalog::{SchemaProvider as _, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::{SQLOptions, SessionContext};
use wsp_schemas::store::Store;
use wsp_schemas::tables::{ACTIVITY, DETECTIONS, SIGNALS, SUPPRESSIONS};

use crate::session;
use crate::tables::{OpenTable, ProfileTables, TableError};

/// Views by name, with their definitions.
const VIEWS: [(&str, &str); 6] = [
    ("profiles", include_str!("profiles.sql")),
    ("nodes", include_str!("nodes.sql")),
    ("snapshots", include_str!("snapshots.sql")),
    ("activity", include_str!("activity.sql")),
    ("signals", include_str!("signals.sql")),
    ("suppressions", include_str!("suppressions.sql")),
];

/// A query that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The engine refused or failed.
    #[error("the query failed")]
    Engine(#[from] DataFusionError),
}

/// A session over the store's profiles, at its newest batch. Later merges do not change what it shows.
pub async fn open(store: &Store) -> std::result::Result<SessionContext, QueryError> {
    let tables = ProfileTables::open(store).await?;
    let context = session::new(&session::Resources::default())?;
    let raw = Arc::new(MemorySchemaProvider::new());
    for (name, table) in [
        ("profiles", &tables.profiles),
        ("profile_nodes", &tables.nodes),
        ("profile_snapshots", &tables.ledger),
    ] {
        raw.register_table(name.to_owned(), table.provider().await?)?;
    }
    for declared in [&ACTIVITY, &SIGNALS, &DETECTIONS, &SUPPRESSIONS] {
        let table: Arc<dyn TableProvider> = match OpenTable::open(store, declared, None).await? {
            Some(table) => table.provider().await?,
            // Until the job that makes it runs, it has no rows.
            None => Arc::new(MemTable::try_new(Arc::new(declared.arrow_schema()), vec![Vec::new()])?),
        };
        raw.register_table(declared.name.to_owned(), table)?;
    }
    let catalog = context
        .catalog("datafusion")
        .ok_or_else(|| DataFusionError::Internal("a new session has no default catalog".to_owned()))?;
    catalog.register_schema("raw", raw)?;
    for (name, definition) in VIEWS {
        let view = context.sql(definition).await?.into_view();
        context.register_table(name, view)?;
    }
    Ok(context)
}

/// What a query may do: read. No DDL, no COPY or INSERT, no SET.
pub fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// Plans a query that may only read.
pub async fn query(context: &SessionContext, sql: &str) -> Result<datafusion::dataframe::DataFrame> {
    context.sql_with_options(sql, read_only()).await
}
