//! Our own SQL functions, one folder or file each.

mod arg_min;
mod members;

pub use arg_min::arg_min;
pub use members::{MemberSet, members_union};

use datafusion::execution::FunctionRegistry;

/// Registers all of them with a session.
pub fn register(registry: &mut dyn FunctionRegistry) -> datafusion::error::Result<()> {
    registry.register_udaf(members_union())?;
    registry.register_udaf(arg_min())?;
    Ok(())
}
