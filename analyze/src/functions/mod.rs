//! Our own SQL functions, one folder or file each.

mod addresses;
mod arg_min;
mod bounded;
mod json;
mod like;
mod lists;
mod members;
mod nodes;
mod tree_place;

pub use addresses::{in_network, is_public};
pub use arg_min::arg_min;
pub use bounded::bound;
pub use json::to_json;
pub(crate) use like::without_escapes;
pub(crate) use lists::any_of;
pub use lists::{any_like, any_match};
pub use members::{MAX_ORDINAL, MemberSet, MemberSetError, members_union};

use arrow::array::{Array as _, BooleanArray};
use datafusion::execution::FunctionRegistry;
use datafusion::sql::sqlparser::ast;

/// Registers all of them with a session.
pub fn register(registry: &mut dyn FunctionRegistry) -> datafusion::error::Result<()> {
    registry.register_udaf(members_union())?;
    registry.register_udaf(arg_min())?;
    registry.register_udwf(tree_place::tree_place())?;
    let functions = [any_like(), any_match(), is_public(), in_network(), to_json(), like::like_escape()];
    for function in functions.into_iter().chain(nodes::about_nodes()) {
        registry.register_udf(function)?;
    }
    Ok(())
}

/// A call of a function, as a statement has it.
pub(crate) fn call(name: &str, args: impl IntoIterator<Item = ast::Expr>) -> ast::Expr {
    let args =
        args.into_iter().map(|arg| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(arg))).collect();
    ast::Expr::Function(ast::Function {
        name: ast::ObjectName::from(vec![ast::Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args,
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// Whether an aggregate's filter lets a row in; null does not.
fn lets_in(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}
