//! The process that runs tasks: it reads the store that it was started with.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::JobId;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::health::ExecutorHealth;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use object_store::ObjectStore;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio_util::sync::CancellationToken;
use wsp_schemas::store::Store;

use super::build::{Build, JobSettings, ledger};
use super::codec::Codec;
use super::driver::configured;
use super::health::Health;
use super::join;
use super::own::OwnStore;
use super::{ClusterError, HEARTBEAT_SECONDS, MESSAGE_BYTES};
use crate::session::{self, Resources, store_url};
use crate::units::Counter;

/// How an executor runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Host of the scheduler.
    pub scheduler_host: String,
    /// Its port.
    pub scheduler_port: u16,
    /// Address on which others reach it.
    pub listen: IpAddr,
    /// The host by which they reach it; none for that of `listen`.
    pub advertise: Option<String>,
    /// Port where results are fetched.
    pub port: u16,
    /// Port where the scheduler hands over tasks.
    pub task_port: u16,
    /// Where it says how it is; none for nowhere.
    pub health: Option<SocketAddr>,
    /// Tasks at the same time.
    pub slots: usize,
    /// Bytes that all tasks together may hold before they spill.
    pub memory: u64,
    /// Folder for results that wait to be fetched, and for what is spilled. It is emptied of old results.
    pub work_dir: PathBuf,
    /// How long results wait there.
    pub keep: Duration,
}

/// An executor that is set up.
pub struct Ready {
    config: ExecutorProcessConfig,
    health: Option<Health>,
    read: Arc<Counter>,
    scheduler: String,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("scheduler", &self.scheduler).finish_non_exhaustive()
    }
}

/// Sets up an executor of a store.
pub async fn ready(store: &Store, options: &Options) -> Result<Ready, ClusterError> {
    let unusable = |source| ClusterError::WorkDir { folder: options.work_dir.display().to_string(), source };
    std::fs::create_dir_all(&options.work_dir).map_err(unusable)?;
    let work_dir = options.work_dir.canonicalize().map_err(unusable)?;
    let health = match options.health {
        Some(address) => Some(Health::listen(address).await?),
        None => None,
    };
    let functions = session::new(&Resources::default())?;
    crate::functions::bound(&functions)?;
    let read = Arc::<Counter>::default();
    let runtime = {
        let (objects, folder) = (Arc::clone(&store.objects), work_dir.clone());
        move |_: &SessionConfig| -> datafusion::error::Result<Arc<RuntimeEnv>> {
            runtime_of(Arc::clone(&objects), &folder)
        }
    };
    let engine = Checked {
        // A connection for each fetch: its pool of them is not public, and merges fetch nothing from other executors.
        engine: DefaultExecutionEngine::new(),
        build: Build::own()?,
        store: OwnStore::new(store.clone()),
        threads: tokio::runtime::Handle::current(),
    };
    let config = ExecutorProcessConfig {
        bind_host: options.listen.to_string(),
        external_host: Some(options.advertise.clone().unwrap_or_else(|| options.listen.to_string())),
        port: options.port,
        grpc_port: options.task_port,
        scheduler_host: options.scheduler_host.clone(),
        scheduler_port: options.scheduler_port,
        scheduler_connect_timeout_seconds: 60,
        vcores: options.slots,
        work_dir: Some(work_dir.display().to_string()),
        job_data_ttl_seconds: options.keep.as_secs(),
        job_data_clean_up_interval_seconds: (options.keep.as_secs() / 4).clamp(1, 600),
        grpc_max_decoding_message_size: MESSAGE_BYTES,
        grpc_max_encoding_message_size: MESSAGE_BYTES,
        executor_heartbeat_interval_seconds: HEARTBEAT_SECONDS,
        memory_pool_size: Some(options.memory),
        override_execution_engine: Some(Arc::new(engine)),
        override_function_registry: Some(Arc::new(BallistaFunctionRegistry::from(&functions.state()))),
        override_runtime_producer: Some(Arc::new(runtime)),
        override_config_producer: Some(Arc::new(|| {
            configured(SessionConfig::new()).with_option_extension(JobSettings::default())
        })),
        override_physical_codec: Some(Arc::new(Codec::new(Arc::clone(&read)))),
        ..ExecutorProcessConfig::default()
    };
    let scheduler = format!("{}:{}", options.scheduler_host, options.scheduler_port);
    Ok(Ready { config, health, read, scheduler })
}

/// What tasks run in: it knows the store, and no files of this host.
fn runtime_of(objects: Arc<dyn ObjectStore>, work_dir: &Path) -> datafusion::error::Result<Arc<RuntimeEnv>> {
    let runtime = RuntimeEnvBuilder::new().with_temp_file_path(work_dir).build_arc()?;
    runtime.register_object_store(store_url()?.as_ref(), objects);
    runtime.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    Ok(runtime)
}

impl Ready {
    /// Where it says how it is.
    pub fn health(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(Health::address)
    }

    /// Runs tasks until this process is asked to end (`asked` is cancelled then, too); those that run then are finished first.
    pub async fn serve(self, asked: &CancellationToken) -> Result<(), ClusterError> {
        join::ask(&self.scheduler, Build::own()?).await?;
        let stop = CancellationToken::new();
        let _ended = stop.clone().drop_guard();
        if let Some(health) = self.health {
            let (beats, shown) = (self.config.health.clone(), self.config.health.clone());
            let (read, slots) = (Arc::clone(&self.read), self.config.vcores);
            let memory = self.config.memory_pool_size.unwrap_or_default();
            let metrics = move || registry(&shown, &read, slots, memory);
            health.start(move || beats.is_ready(), metrics, stop);
        }
        let ended = tokio::select! {
            ended = start_executor_process(Arc::new(self.config)) => ended,
            () = stood_still() => return Err(ClusterError::GivenUp { address: self.scheduler }),
        };
        ended.map_err(|error| ClusterError::Stopped(Box::new(error)))?;
        if asked.is_cancelled() { Ok(()) } else { Err(ClusterError::GivenUp { address: self.scheduler }) }
    }
}

/// Ends once this process did not run for so long that it was taken for lost: what it goes on with then somebody else does, too, and
/// the scheduler would take both results.
async fn stood_still() {
    let (stood, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut last = Instant::now();
        while last.elapsed() < Duration::from_secs(HEARTBEAT_SECONDS) {
            if stood.is_closed() {
                return;
            }
            last = Instant::now();
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = stood.send(());
    });
    let _ = told.await;
}

/// Runs the tasks of jobs that this node may run.
struct Checked {
    engine: DefaultExecutionEngine,
    build: Build,
    store: OwnStore,
    threads: tokio::runtime::Handle,
}

impl ExecutionEngine for Checked {
    fn create_query_stage_exec(
        &self,
        job: JobId,
        stage: usize,
        task: usize,
        partitions: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> datafusion::error::Result<Arc<dyn QueryStageExecutor>> {
        self.build.check(config)?;
        // The store is asked for the first task of another ledger only.
        tokio::task::block_in_place(|| self.threads.block_on(self.store.expect(ledger(config))))?;
        self.engine.create_query_stage_exec(job, stage, task, partitions, plan, work_dir, config)
    }
}

fn registry(health: &ExecutorHealth, read: &Counter, slots: usize, memory: u64) -> Registry {
    let mut registry = Registry::with_prefix("wsp_executor");
    let gauge = |number: u64| ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX));
    registry.register("ready", "Whether the scheduler knows of it", gauge(health.is_ready().into()));
    registry.register("slots", "Tasks that it runs at the same time", gauge(slots as u64));
    registry.register_with_unit("memory", "What tasks may hold together", Unit::Bytes, gauge(memory));
    registry.register(
        "snapshots_read",
        "Snapshots that its tasks looked at",
        ConstCounter::new(read.get() as u64),
    );
    registry
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::{ParquetReadOptions, SessionContext};
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn tasks_read_no_files_of_this_host() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime_of(Arc::new(InMemory::new()), folder.path()).unwrap();
        assert!(runtime.object_store(store_url().unwrap()).is_ok());
        let context = SessionContext::new_with_config_rt(SessionConfig::new(), runtime);
        let path = folder.path().join("x.parquet").display().to_string();
        let read = context.read_parquet(&path, ParquetReadOptions::default()).await;
        assert!(read.unwrap_err().to_string().contains("No suitable object store"), "{path}");
    }
}
