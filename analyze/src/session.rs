//! The one place where DataFusion sessions are made.

use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

/// A session with our functions.
pub fn new(partitions: usize) -> datafusion::error::Result<SessionContext> {
    let config = SessionConfig::new().with_target_partitions(partitions.max(1)).with_information_schema(true);
    let runtime = RuntimeEnvBuilder::new().build_arc()?;
    let mut context = SessionContext::new_with_config_rt(config, runtime);
    crate::functions::register(&mut context)?;
    Ok(context)
}
