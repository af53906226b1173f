//! Which statements a client may send, and how they are planned: a hook before those of `datafusion-postgres`, which would run
//! anything, and would set options of the session that all share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::{Column, DFSchema, ParamValues, Result};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::{Expr, SessionContext};
use datafusion::sql::sqlparser::ast::{CloseCursor, Declare, FetchDirection, Set, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, df};
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::api::stmt::StoredStatement;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::types::format::FormatOptions;

use futures::TryFutureExt as _;

use super::error;
use crate::functions::to_json;
use crate::views::{self, guard};

/// Settings that a client may have an opinion on; each is its own connection's.
const SETTINGS: [&str; 12] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "names",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
];

/// Lets what reads through, and nothing else.
#[derive(Debug)]
pub(super) struct Guard;

/// What becomes of a statement.
enum Fate {
    /// Planned and run here.
    Query,
    /// Another hook answers it.
    Hook,
    /// Answered with its tag, and no more.
    Nothing(&'static str),
}

fn fate(statement: &Statement) -> PgWireResult<Fate> {
    match statement {
        Statement::Fetch { direction, .. } => fetch(direction),
        Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Close { .. }
        | Statement::ShowVariable { .. }
        | Statement::ShowStatus { .. } => Ok(Fate::Hook),
        Statement::Declare { stmts } => {
            for query in stmts.iter().filter_map(|declare| declare.for_query.as_ref()) {
                guard::check(&Statement::Query(query.clone())).map_err(|refused| error::refused(&refused))?;
            }
            Ok(Fate::Hook)
        }
        Statement::Set(set) => setting(set),
        Statement::Discard { .. } => Ok(Fate::Nothing("DISCARD ALL")),
        Statement::Deallocate { .. } => Ok(Fate::Nothing("DEALLOCATE")),
        Statement::Savepoint { .. } => Ok(Fate::Nothing("SAVEPOINT")),
        Statement::ReleaseSavepoint { .. } => Ok(Fate::Nothing("RELEASE")),
        statement => {
            guard::check(statement).map_err(|refused| error::refused(&refused))?;
            Ok(Fate::Query)
        }
    }
}

/// Rows that are fetched at once: they are collected before they are sent.
const MOST_FETCHED: u64 = 100_000;

fn fetch(direction: &FetchDirection) -> PgWireResult<Fate> {
    let rows = match direction {
        FetchDirection::Forward { limit: Some(rows) } | FetchDirection::Count { limit: rows } => {
            rows.to_string().parse().ok()
        }
        FetchDirection::All | FetchDirection::ForwardAll => None,
        _ => Some(1),
    };
    match rows {
        Some(0..=MOST_FETCHED) => Ok(Fate::Hook),
        _ => Err(error::error(
            "54000",
            format!("at most {MOST_FETCHED} rows are fetched at once: FETCH 1000 FROM …"),
        )),
    }
}

fn setting(set: &Set) -> PgWireResult<Fate> {
    let name = match set {
        Set::SingleAssignment { variable, .. } => variable.to_string().to_lowercase(),
        // Times are given in UTC, with their offset, whatever a client asks for: the session is everybody's.
        Set::SetTimeZone { .. }
        | Set::SetNames { .. }
        | Set::SetNamesDefault {}
        | Set::SetTransaction { .. }
        | Set::SetSessionAuthorization { .. } => return Ok(Fate::Nothing("SET")),
        set => set.to_string().to_lowercase(),
    };
    let name = name.trim_matches('"');
    if !SETTINGS.contains(&name) {
        let shown: String = name.chars().take(64).collect();
        return Err(error::error("42704", format!("unrecognized configuration parameter \"{shown}\"")));
    }
    Ok(match name {
        // What the hook keeps with the client; of anything else it would make an option of the session.
        "statement_timeout" | "application_name" | "bytea_output" | "datestyle" | "extra_float_digits"
        | "intervalstyle" => Fate::Hook,
        _ => Fate::Nothing("SET"),
    })
}

/// Plans what reads. The compatibility layer changes statements in ways that count only once they are parsed again; what comes of
/// that is looked at again, too.
async fn plan(statement: &Statement, context: &SessionContext) -> PgWireResult<LogicalPlan> {
    let engine = |error| PgWireError::ApiError(Box::new(error));
    let frame = views::query(context, &statement.to_string()).await.map_err(engine)?;
    maps_as_json(frame.into_unoptimized_plan()).map_err(engine)
}

/// PostgreSQL has no maps: they are given as JSON.
fn maps_as_json(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_map = |kind: &DataType| matches!(kind, DataType::Map(..));
    if !plan.schema().fields().iter().any(|field| is_map(field.data_type())) {
        return Ok(plan);
    }
    let columns: Vec<Expr> = plan
        .schema()
        .iter()
        .map(|(table, field)| {
            let column = Expr::Column(Column::new(table.cloned(), field.name()));
            match is_map(field.data_type()) {
                true => to_json().call(vec![column]).alias_qualified(table.cloned(), field.name()),
                false => column,
            }
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// The rows of a plan, which begins when the first is asked for.
fn later(context: &SessionContext, plan: LogicalPlan, options: FormatOptions) -> PgWireResult<QueryResponse> {
    let fields = arrow_schema_to_pg_fields(plan.schema().as_arrow(), &Format::UnifiedText, None)?;
    let context = context.clone();
    let rows = async move {
        let engine = |error| PgWireError::ApiError(Box::new(error));
        let frame = context.execute_logical_plan(plan).await.map_err(engine)?;
        let rows = df::encode_dataframe(frame, &Format::UnifiedText, Some(options.into())).await?;
        Ok::<_, PgWireError>(rows.data_rows)
    };
    Ok(QueryResponse::new(Arc::new(fields), Box::pin(rows.try_flatten_stream())))
}

/// Cursors that a client may have.
const MOST_CURSORS: usize = 64;

/// What the cursors of a connection give.
#[derive(Debug, Default)]
struct Cursors(Mutex<HashMap<String, LogicalPlan>>);

impl Cursors {
    fn of(client: &(impl ClientInfo + ?Sized)) -> Arc<Self> {
        client.session_extensions().get_or_insert_with(Self::default)
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, LogicalPlan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of what is closed.
    fn close(&self, cursor: &CloseCursor) {
        match cursor {
            CloseCursor::All => self.map().clear(),
            CloseCursor::Specific { name } => drop(self.map().remove(&name.value)),
        }
    }

    /// Opens what is declared. As `datafusion-postgres` does, but what a client asks of a cursor before it fetches is known: its
    /// columns.
    async fn declare(
        &self,
        declared: &[Declare],
        context: &SessionContext,
        client: &mut dyn HookClient,
    ) -> PgWireResult<Response> {
        for cursor in declared {
            let (Some(name), Some(query)) = (cursor.names.first(), &cursor.for_query) else {
                return Err(error::error("42601", "a cursor has a name and a query"));
            };
            let name = name.value.clone();
            let is_full = self.map().len() >= MOST_CURSORS && !self.map().contains_key(&name);
            if is_full {
                return Err(error::error("53400", format!("at most {MOST_CURSORS} cursors can be open")));
            }
            let statement = Statement::Query(query.clone());
            let plan = plan(&statement, context).await?;
            let options = FormatOptions::from_client_metadata(client.metadata());
            let rows = later(context, plan.clone(), options)?;
            let stored = (query.to_string(), Some((statement, plan.clone())));
            let portal = Portal::new_cursor(
                name.clone(),
                Arc::new(StoredStatement::new(name.clone(), stored, Vec::new())),
            );
            portal.start(rows).await;
            client.portal_store().put_portal(Arc::new(portal));
            self.map().insert(name, plan);
        }
        Ok(Response::Execution(Tag::new("DECLARE CURSOR")))
    }

    /// A plan with the columns of a cursor, and no rows.
    fn columns(&self, name: &str) -> Option<LogicalPlan> {
        let schema = Arc::clone(self.map().get(name)?.schema());
        Some(LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema }))
    }
}

/// Closes the cursors of a client: they end with their transaction, and with what fails in it, and whatever computes for them.
pub(super) fn close_cursors<C: ClientInfo + ClientPortalStore>(client: &C)
where
    C::PortalStore: PortalStore,
{
    close(&Cursors::of(client), client.portal_store());
}

fn close(cursors: &Cursors, portals: &impl PortalStore) {
    for name in std::mem::take(&mut *cursors.map()).into_keys() {
        portals.rm_portal(&name);
    }
}

fn nothing() -> LogicalPlan {
    LogicalPlan::EmptyRelation(EmptyRelation { produce_one_row: false, schema: Arc::new(DFSchema::empty()) })
}

#[async_trait]
impl QueryHook for Guard {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        context: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        match fate(statement) {
            Ok(Fate::Query) => None,
            Ok(Fate::Hook) => match statement {
                Statement::Declare { stmts } => {
                    let cursors = Cursors::of(client);
                    Some(cursors.declare(stmts, context, client).await)
                }
                Statement::Close { cursor } => {
                    Cursors::of(client).close(cursor);
                    None
                }
                Statement::Commit { .. } | Statement::Rollback { .. } => {
                    close(&Cursors::of(client), client.portal_store());
                    None
                }
                _ => None,
            },
            Ok(Fate::Nothing(tag)) => Some(Ok(Response::Execution(Tag::new(tag)))),
            Err(error) => Some(Err(error)),
        }
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        context: &SessionContext,
        client: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        match (fate(statement), statement) {
            (Ok(Fate::Query), _) => Some(plan(statement, context).await),
            // Clients ask what columns there are before they fetch.
            (Ok(Fate::Hook), Statement::Fetch { name, .. }) => {
                Cursors::of(client).columns(&name.value).map(Ok)
            }
            (Ok(Fate::Hook), _) => None,
            (Ok(Fate::Nothing(_)), _) => Some(Ok(nothing())),
            (Err(error), _) => Some(Err(error)),
        }
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _plan: &LogicalPlan,
        _parameters: &ParamValues,
        context: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        self.handle_simple_query(statement, context, client).await
    }
}

/// Runs what [`Guard`] let through, after the hooks that know of transactions; for the simple protocol, whose own way would
/// print the statement and parse it once more.
#[derive(Debug)]
pub(super) struct Reader;

#[async_trait]
impl QueryHook for Reader {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        context: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        let run = async {
            let plan = plan(statement, context).await?;
            let engine = |error| PgWireError::ApiError(Box::new(error));
            let frame = context.execute_logical_plan(plan).await.map_err(engine)?;
            let options = FormatOptions::from_client_metadata(client.metadata());
            df::encode_dataframe(frame, &Format::UnifiedText, Some(options.into())).await
        };
        Some(run.await.map(Response::Query))
    }

    async fn handle_extended_parse_query(
        &self,
        _statement: &Statement,
        _context: &SessionContext,
        _client: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        Some(Err(error::error("0A000", "this statement is not known")))
    }

    async fn handle_extended_query(
        &self,
        _statement: &Statement,
        _plan: &LogicalPlan,
        _parameters: &ParamValues,
        _context: &SessionContext,
        _client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        // `datafusion-postgres` runs the plan that was verified, in the format that the client asked for.
        None
    }
}
