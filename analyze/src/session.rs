//! The one place where DataFusion sessions are made.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode as _};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::prelude::{SessionConfig, SessionContext};
use wsp_schemas::store::Store;

/// Stack of a thread that plans or runs statements: the deepest that is let through ([`crate::views::guard`]) needs some megabytes.
pub const STACK: usize = 32 << 20;

/// What a session may use.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// Partitions that work at the same time; 0 for one a core.
    pub partitions: usize,
    /// Bytes that operators may hold before they spill to disk; none for no limit.
    pub memory: Option<usize>,
    /// Bytes that they may spill; none for as many as the engine lets them.
    pub spill: Option<u64>,
}

impl Resources {
    /// How many partitions that is.
    pub fn partitions(&self) -> usize {
        match self.partitions {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            partitions => partitions,
        }
    }
}

/// A session with our functions.
pub fn new(resources: &Resources) -> datafusion::error::Result<SessionContext> {
    within(resources, runtime(resources)?)
}

/// A session that shares its memory with others of the same runtime.
pub fn within(resources: &Resources, runtime: Arc<RuntimeEnv>) -> datafusion::error::Result<SessionContext> {
    with(config(resources), runtime)
}

/// Settings of a session.
pub(crate) fn config(resources: &Resources) -> SessionConfig {
    let mut config =
        SessionConfig::new().with_target_partitions(resources.partitions()).with_information_schema(true);
    // Where all rows of a group stand in one partition already, they stay there, however few partitions there are.
    config.options_mut().optimizer.subset_repartition_threshold = 1;
    config
}

/// A session with our functions and such settings.
pub(crate) fn with(
    config: SessionConfig,
    runtime: Arc<RuntimeEnv>,
) -> datafusion::error::Result<SessionContext> {
    let state = SessionStateBuilder::new_with_default_features()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_physical_optimizer_rule(Arc::new(JoinsYield))
        .build();
    let mut context = SessionContext::new_with_state(state);
    crate::functions::register(&mut context)?;
    Ok(context)
}

/// Has joins give way to others: of two large sides they make batch after batch without ever waiting, so that what reads them
/// could not be stopped. The engine's own rule looks at where rows come from only.
#[derive(Debug)]
struct JoinsYield;

impl PhysicalOptimizerRule for JoinsYield {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let yielding = plan.transform_up(|plan| {
            let is_join = plan.children().len() > 1 && plan.name().ends_with("JoinExec");
            Ok(match is_join {
                true => Transformed::yes(Arc::new(CooperativeExec::new(plan)) as Arc<dyn ExecutionPlan>),
                false => Transformed::no(plan),
            })
        });
        Ok(yielding?.data)
    }

    fn name(&self) -> &str {
        "joins_yield"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Memory and disk for sessions.
pub fn runtime(resources: &Resources) -> datafusion::error::Result<Arc<RuntimeEnv>> {
    let mut runtime = RuntimeEnvBuilder::new();
    if let Some(memory) = resources.memory {
        let consumers = std::num::NonZeroUsize::new(5).unwrap_or(std::num::NonZeroUsize::MIN);
        let mut disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::OsTmpDirectory);
        if let Some(spill) = resources.spill {
            disk = disk.with_max_temp_directory_size(spill);
        }
        runtime = runtime
            .with_memory_pool(Arc::new(TrackConsumersPool::new(FairSpillPool::new(memory), consumers)))
            .with_disk_manager_builder(disk);
    }
    runtime.build_arc()
}

/// Makes a store's objects known to a session, by keys relative to the store's root.
pub fn register_store(context: &SessionContext, store: &Store) -> datafusion::error::Result<()> {
    context.register_object_store(store_url()?.as_ref(), Arc::clone(&store.objects));
    Ok(())
}

/// The name under which a session knows the store.
pub fn store_url() -> datafusion::error::Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse("wsp://store")
}
