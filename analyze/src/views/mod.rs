//! The SQL interface: views over one consistent batch of the tables. Raw tables stand in the schema `raw`, and what columns mean
//! in the view `docs`.

mod docs;
pub mod guard;
mod made;
mod one_workload;
mod rules;
mod table_functions;

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::catalog::MemorySchemaProvider;
use datafusion::catalog::{SchemaProvider as _, TableProvider};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::{SQLOptions, SessionContext};
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast;
use wsp_schemas::store::Store;
use wsp_schemas::table::Table;
use wsp_schemas::tables::{
    ACTIVITY, DETECTIONS, PROFILE_NODES, PROFILE_SNAPSHOTS, PROFILES, SIGNALS, SUPPRESSIONS,
};

use crate::engine::{Engine, EngineError};
use crate::tables::{OpenTable, ProfileTables, TableError};
use crate::{functions, session};

/// Views by name, with their definitions.
const VIEWS: [(&str, &str); 6] = [
    ("profiles", include_str!("profiles.sql")),
    ("nodes", include_str!("nodes.sql")),
    ("snapshots", include_str!("snapshots.sql")),
    ("activity", include_str!("activity.sql")),
    ("signals", include_str!("signals.sql")),
    ("suppressions", include_str!("suppressions.sql")),
];

/// Snapshots that came after a revision was stable; `$name`, `$tag`, `$revision`.
pub(crate) const AFTER_FREEZE: &str = include_str!("after_freeze.sql");

/// A query that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The engine refused or failed.
    #[error("the query failed")]
    Engine(#[from] DataFusionError),
    /// A cluster failed.
    #[cfg(feature = "distributed")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::JobError),
}

impl From<EngineError> for QueryError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Here(error) => Self::Engine(error),
            #[cfg(feature = "distributed")]
            EngineError::Cluster(error) => Self::Cluster(error),
        }
    }
}

/// A session over the store's profiles, at its newest batch. Later merges do not change what it shows.
pub async fn open(store: &Store) -> std::result::Result<SessionContext, QueryError> {
    open_for(store, &Engine::Here).await
}

/// The same, for queries that an engine runs.
pub async fn open_for(store: &Store, engine: &Engine) -> std::result::Result<SessionContext, QueryError> {
    let context = engine.session(&session::Resources::default(), engine.queries_in())?;
    if !matches!(engine, Engine::Here) {
        session::register_store(&context, store)?;
    }
    fill_for(&context, store, engine).await?;
    Ok(context)
}

/// Gives a session the views, as [`open()`] does.
pub async fn fill(context: &SessionContext, store: &Store) -> std::result::Result<(), QueryError> {
    fill_for(context, store, &Engine::Here).await
}

async fn fill_for(
    context: &SessionContext,
    store: &Store,
    engine: &Engine,
) -> std::result::Result<(), QueryError> {
    let tables = match ProfileTables::open(store).await {
        Ok(tables) => Some(tables),
        // Signals of other tools may be there before any profile.
        Err(TableError::NoProfiles { .. }) if OpenTable::open(store, &SIGNALS, None).await?.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let raw = Arc::new(MemorySchemaProvider::new());
    let tables = tables.as_ref();
    if let Some(tables) = tables {
        engine.bind(context, &tables.ledger.id()?);
    }
    for (declared, table) in [
        (&PROFILES, tables.map(|tables| &tables.profiles)),
        (&PROFILE_NODES, tables.map(|tables| &tables.nodes)),
        (&PROFILE_SNAPSHOTS, tables.map(|tables| &tables.ledger)),
    ] {
        raw.register_table(declared.name.to_owned(), provider(declared, table, engine).await?)?;
    }
    for declared in [&ACTIVITY, &SIGNALS, &DETECTIONS, &SUPPRESSIONS] {
        let table = OpenTable::open(store, declared, None).await?;
        raw.register_table(declared.name.to_owned(), provider(declared, table.as_ref(), engine).await?)?;
    }
    let catalog = context
        .catalog("datafusion")
        .ok_or_else(|| DataFusionError::Internal("a new session has no default catalog".to_owned()))?;
    catalog.register_schema("raw", raw)?;
    for (name, definition) in VIEWS {
        let view = context.sql(definition).await?.into_view();
        context.register_table(name, view)?;
    }
    table_functions::register(context, tables).await?;
    context.register_table("rules", Arc::new(made::Made(rules::RulesTable::of(store))))?;
    context.register_table("docs", docs::table(context).await?)?;
    if let Some(tables) = tables {
        context.add_analyzer_rule(Arc::new(one_workload::OneWorkload { buckets: tables.ledger.buckets()? }));
    }
    // Views are planned before: what they do is known to be bounded.
    functions::bound(context)?;
    Ok(())
}

/// A table; until the job that makes it runs, it has no rows.
async fn provider(
    declared: &'static Table,
    table: Option<&OpenTable>,
    engine: &Engine,
) -> std::result::Result<Arc<dyn TableProvider>, QueryError> {
    Ok(match table {
        Some(table) if matches!(engine, Engine::Here) => table.provider().await?,
        Some(table) => table.as_files()?,
        None => Arc::new(MemTable::try_new(Arc::new(declared.arrow_schema()), vec![Vec::new()])?),
    })
}

/// What a query may do: read. No DDL, no COPY or INSERT, no SET.
pub fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// What statements may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Read the views and tables.
    Read,
    /// Whatever the engine can.
    All,
}

/// The statements of a text, however many.
pub fn statements(sql: &str) -> Result<VecDeque<Statement>> {
    guard::check_statements(sql).map_err(|refused| DataFusionError::External(Box::new(refused)))?;
    DFParser::parse_sql(sql)
}

/// Plans a query that may only read. `DESCRIBE` says what columns mean.
pub async fn query(context: &SessionContext, sql: &str) -> Result<DataFrame> {
    let mut statements = statements(sql)?;
    match (statements.pop_front(), statements.front()) {
        (Some(statement), None) => run(context, statement, Rights::Read).await,
        _ => Err(DataFusionError::Plan("give one query at a time".to_owned())),
    }
}

/// Plans a statement.
pub async fn run(context: &SessionContext, mut statement: Statement, rights: Rights) -> Result<DataFrame> {
    if rights == Rights::Read {
        guard::check_planned(&statement).map_err(|refused| DataFusionError::External(Box::new(refused)))?;
    }
    if let Statement::Statement(one) = &statement
        && let ast::Statement::ExplainTable { table_name, .. } = one.as_ref()
    {
        return docs::describe(context, table_name).await;
    }
    if let Statement::Statement(one) = &mut statement {
        functions::without_escapes(one);
    }
    let plan = context.state().statement_to_plan(statement).await?;
    if rights == Rights::Read {
        read_only().verify_plan(&plan)?;
    }
    context.execute_logical_plan(plan).await
}
