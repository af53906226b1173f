//! The SQL interface: views over one consistent batch of the tables. Raw tables stand in the schema `raw`.

use std::sync::Arc;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::catalog::{SchemaProvider as _, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::{SQLOptions, SessionContext};
use wsp_schemas::store::Store;
use wsp_schemas::table::Table;
use wsp_schemas::tables::{
    ACTIVITY, DETECTIONS, PROFILE_NODES, PROFILE_SNAPSHOTS, PROFILES, SIGNALS, SUPPRESSIONS,
};

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
    let tables = match ProfileTables::open(store).await {
        Ok(tables) => Some(tables),
        // Signals of other tools may be there before any profile.
        Err(TableError::NoProfiles { .. }) if OpenTable::open(store, &SIGNALS, None).await?.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let context = session::new(&session::Resources::default())?;
    let raw = Arc::new(MemorySchemaProvider::new());
    let tables = tables.as_ref();
    for (declared, table) in [
        (&PROFILES, tables.map(|tables| &tables.profiles)),
        (&PROFILE_NODES, tables.map(|tables| &tables.nodes)),
        (&PROFILE_SNAPSHOTS, tables.map(|tables| &tables.ledger)),
    ] {
        raw.register_table(declared.name.to_owned(), provider(declared, table).await?)?;
    }
    for declared in [&ACTIVITY, &SIGNALS, &DETECTIONS, &SUPPRESSIONS] {
        let table = OpenTable::open(store, declared, None).await?;
        raw.register_table(declared.name.to_owned(), provider(declared, table.as_ref()).await?)?;
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

/// A table; until the job that makes it runs, it has no rows.
async fn provider(
    declared: &'static Table,
    table: Option<&OpenTable>,
) -> std::result::Result<Arc<dyn TableProvider>, QueryError> {
    Ok(match table {
        Some(table) => table.provider().await?,
        None => Arc::new(MemTable::try_new(Arc::new(declared.arrow_schema()), vec![Vec::new()])?),
    })
}

/// What a query may do: read. No DDL, no COPY or INSERT, no SET.
pub fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// Plans a query that may only read.
pub async fn query(context: &SessionContext, sql: &str) -> Result<datafusion::dataframe::DataFrame> {
    context.sql_with_options(sql, read_only()).await
}
