//! Which statements a client may send, and how they are planned: a hook before those of `datafusion-postgres`, which would run
//! anything, and would set options of the session that all share.

use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as Planned;
use datafusion::sql::sqlparser::ast::{Set, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::arrow_pg::datatypes::df;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{Response, Tag};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::types::format::FormatOptions;

use super::error;
use crate::views::{self, Rights, guard};

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
        Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Fetch { .. }
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

fn setting(set: &Set) -> PgWireResult<Fate> {
    let name = match set {
        Set::SingleAssignment { variable, .. } => variable.to_string().to_lowercase(),
        Set::SetTimeZone { .. } => return Ok(Fate::Hook),
        Set::SetNames { .. }
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
        "client_encoding" | "client_min_messages" | "names" | "standard_conforming_strings" => {
            Fate::Nothing("SET")
        }
        _ => Fate::Hook,
    })
}

async fn plan(statement: &Statement, context: &SessionContext) -> PgWireResult<LogicalPlan> {
    let statement = Planned::Statement(Box::new(statement.clone()));
    let frame = views::run(context, statement, Rights::Read).await;
    Ok(frame.map_err(|error| PgWireError::ApiError(Box::new(error)))?.into_unoptimized_plan())
}

fn nothing() -> LogicalPlan {
    LogicalPlan::EmptyRelation(datafusion::logical_expr::EmptyRelation {
        produce_one_row: false,
        schema: std::sync::Arc::new(datafusion::common::DFSchema::empty()),
    })
}

#[async_trait]
impl QueryHook for Guard {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _context: &SessionContext,
        _client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        match fate(statement) {
            Ok(Fate::Query | Fate::Hook) => None,
            Ok(Fate::Nothing(tag)) => Some(Ok(Response::Execution(Tag::new(tag)))),
            Err(error) => Some(Err(error)),
        }
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        context: &SessionContext,
        _client: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        match fate(statement) {
            Ok(Fate::Query) => Some(plan(statement, context).await),
            Ok(Fate::Hook) => None,
            Ok(Fate::Nothing(_)) => Some(Ok(nothing())),
            Err(error) => Some(Err(error)),
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
