//! Table functions: queries with arguments, which stand in a FROM clause.
//!
//! - `process_tree('IMAGE:TAG')`: the newest profile of an image as a tree.
//! - `members('NODE_ID')`: the snapshots that have a node, of all images.
//! - `profile_at('IMAGE:TAG', N)`: the newest profile of an image as it was after its first N snapshots.

mod profile_at;

use std::sync::Arc;

use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::{Result, ScalarValue, plan_datafusion_err, plan_err};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{Expr, SessionContext};
use wsp_schemas::image::Workload;

use crate::tables::ProfileTables;

/// Queries with one text as their argument, and what that is.
const QUERIES: [(&str, &str, &str); 2] = [
    ("members", include_str!("members.sql"), "a node id"),
    ("process_tree", include_str!("process_tree.sql"), "name and tag of an image"),
];

/// Registers all of them. The views are there already.
pub(super) async fn register(context: &SessionContext, tables: Option<&ProfileTables>) -> Result<()> {
    for (name, sql, argument) in QUERIES {
        let plan = context.sql(sql).await?.into_unoptimized_plan();
        context.register_udtf(name, Arc::new(Query { name, argument, plan }));
    }
    let nodes = context.sql(include_str!("profile_at.sql")).await?.into_unoptimized_plan();
    let ledger = tables.map(|tables| tables.ledger.clone());
    context.register_udtf(profile_at::NAME, Arc::new(profile_at::ProfileAt::new(nodes, ledger)));
    Ok(())
}

/// A query with `$1`.
#[derive(Debug)]
struct Query {
    name: &'static str,
    argument: &'static str,
    plan: LogicalPlan,
}

impl TableFunctionImpl for Query {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let [argument] = args.exprs() else { return self.wrong() };
        let Some(text) = text(argument) else { return self.wrong() };
        let plan = if self.name == "process_tree" {
            of_image(&self.plan, text)?
        } else {
            with_text(&self.plan, text)?
        };
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

impl Query {
    fn wrong<T>(&self) -> Result<T> {
        plan_err!("`{}` takes {} as a text: {}('…')", self.name, self.argument, self.name)
    }
}

/// The text of a literal.
fn text(argument: &Expr) -> Option<&str> {
    match argument {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// A query whose `$1` is an image, however it is written.
fn of_image(plan: &LogicalPlan, image: &str) -> Result<LogicalPlan> {
    let workload = Workload::parse(image).map_err(|error| plan_datafusion_err!("{error}"))?;
    with_text(plan, &workload.to_string())
}

/// A query whose `$1` is a text.
fn with_text(plan: &LogicalPlan, text: &str) -> Result<LogicalPlan> {
    plan.clone().with_param_values(vec![ScalarValue::from(text)])
}
