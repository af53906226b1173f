//! Our own SQL functions, one folder or file each.

mod addresses;
mod arg_min;
mod bounded;
mod json;
mod lists;
mod members;
mod nodes;

pub use addresses::{in_network, is_public};
pub use arg_min::arg_min;
pub use bounded::bound;
pub use json::to_json;
pub(crate) use lists::any_of;
pub use lists::{any_like, any_match};
pub use members::{MAX_ORDINAL, MemberSet, MemberSetError, members_union};

use arrow::array::{Array as _, BooleanArray};
use datafusion::execution::FunctionRegistry;

/// Registers all of them with a session.
pub fn register(registry: &mut dyn FunctionRegistry) -> datafusion::error::Result<()> {
    registry.register_udaf(members_union())?;
    registry.register_udaf(arg_min())?;
    let functions = [any_like(), any_match(), is_public(), in_network(), to_json()];
    for function in functions.into_iter().chain(nodes::about_nodes()) {
        registry.register_udf(function)?;
    }
    Ok(())
}

/// Whether an aggregate's filter lets a row in; null does not.
fn lets_in(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}
