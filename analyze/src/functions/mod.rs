//! Our own SQL functions, one folder or file each.

mod arg_min;
mod members;

pub use arg_min::arg_min;
pub use members::{MAX_ORDINAL, MemberSet, MemberSetError, members_union};

use arrow::array::{Array as _, BooleanArray};
use datafusion::execution::FunctionRegistry;

/// Registers all of them with a session.
pub fn register(registry: &mut dyn FunctionRegistry) -> datafusion::error::Result<()> {
    registry.register_udaf(members_union())?;
    registry.register_udaf(arg_min())?;
    Ok(())
}

/// Whether an aggregate's filter lets a row in; null does not.
fn lets_in(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}
