//! Our own SQL functions, one folder or file each.

mod members;

pub use members::{MemberSet, MemberSetError, members_union};

use datafusion::execution::FunctionRegistry;

/// Registers all of them with a session.
pub fn register(registry: &mut dyn FunctionRegistry) -> datafusion::error::Result<()> {
    registry.register_udaf(members_union())?;
    Ok(())
}
