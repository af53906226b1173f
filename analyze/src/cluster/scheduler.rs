//! The process that cuts plans into tasks and hands them to executors.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ballista_core::JobId;
use ballista_core::serde::{BallistaCodec, BallistaLogicalExtensionCodec};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::metrics::SchedulerMetricsCollector;
use ballista_scheduler::scheduler_process::start_grpc_service_with_listener;
use ballista_scheduler::scheduler_server::SchedulerServer;
use datafusion::prelude::SessionConfig;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use object_store::memory::InMemory;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::build::{Build, JobSettings};
use super::codec::Codec;
use super::driver::configured;
use super::health::Health;
use super::{ClusterError, HEARTBEAT_SECONDS, MESSAGE_BYTES};
use crate::session::{self, Resources, store_url};

type Server = SchedulerServer<LogicalPlanNode, PhysicalPlanNode>;

/// How a scheduler runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where nodes and drivers reach it; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The host by which executors reach it; none for that of `listen`.
    pub advertise: Option<String>,
    /// Where it says how it is; none for nowhere.
    pub health: Option<SocketAddr>,
    /// An executor that was silent for this long is lost: its tasks go to others. Without any executor for this long, jobs fail.
    pub executor_timeout: Duration,
    /// Have drivers fetch results through the scheduler, where they cannot reach executors.
    pub proxy: bool,
}

/// A scheduler that listens.
pub struct Listening {
    listener: TcpListener,
    server: Server,
    health: Option<Health>,
    /// Where nodes and drivers reach it.
    pub address: SocketAddr,
    counts: Arc<Counts>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Starts to listen.
pub async fn listen(options: &Options) -> Result<Listening, ClusterError> {
    let failed = |source| ClusterError::Listen { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let health = match options.health {
        Some(address) => Some(Health::listen(address).await?),
        None => None,
    };
    let (build, runtime) = (Build::own()?, session::runtime(&Resources::default())?);
    // It reads nothing. But plans name the store, and are read with it.
    runtime.register_object_store(store_url()?.as_ref(), Arc::new(InMemory::new()));
    let seconds = options.executor_timeout.as_secs().max(2 * HEARTBEAT_SECONDS);
    let config = Arc::new(SchedulerConfig {
        external_host: options.advertise.clone().unwrap_or_else(|| address.ip().to_string()),
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        grpc_server_max_decoding_message_size: MESSAGE_BYTES,
        grpc_server_max_encoding_message_size: MESSAGE_BYTES,
        grpc_client_max_message_size: MESSAGE_BYTES,
        executor_timeout_seconds: seconds,
        expire_dead_executor_interval_seconds: HEARTBEAT_SECONDS,
        no_executors_grace_period_seconds: seconds,
        // A driver has fetched its results by then, or never will.
        finished_job_data_clean_up_interval_seconds: 300,
        finished_job_state_clean_up_interval_seconds: 600,
        enable_embedded_flight_proxy: options.proxy,
        override_config_producer: Some(Arc::new(|| {
            configured(SessionConfig::new()).with_option_extension(JobSettings::default())
        })),
        override_session_builder: Some(Arc::new(move |config: SessionConfig| {
            build.check(&config)?;
            Ok(session::with(config, Arc::clone(&runtime))?.state())
        })),
        ..SchedulerConfig::default()
    });
    let stopped = |error| ClusterError::Stopped(Box::new(error));
    config.validate().map_err(stopped)?;
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(stopped)?;
    let codec = BallistaCodec::new(
        Arc::new(BallistaLogicalExtensionCodec::default()),
        Arc::new(Codec::new(Arc::default())),
    );
    let counts = Arc::new(Counts::default());
    let endpoint = config.scheduler_endpoint();
    let mut server = Server::new(endpoint, cluster, codec, config, Arc::clone(&counts) as _);
    server.init().await.map_err(stopped)?;
    Ok(Listening { listener, server, health, address, counts })
}

impl Listening {
    /// Where it says how it is.
    pub fn health(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(Health::address)
    }

    /// Schedules until it is told to stop. Jobs that run then fail.
    pub async fn serve(self, stop: CancellationToken) -> Result<(), ClusterError> {
        if let Some(health) = self.health {
            let (server, counted) = (self.server.clone(), self.server.clone());
            let counts = self.counts;
            let metrics = move || counts.registry(counted.running_job_number());
            health.start(move || server.is_ready(), metrics, stop.clone());
        }
        tokio::select! {
            ended = start_grpc_service_with_listener(self.listener, self.server) => {
                ended.map_err(|error| ClusterError::Stopped(Box::new(error)))
            }
            () = stop.cancelled() => Ok(()),
        }
    }
}

/// What it counts.
#[derive(Debug, Default)]
struct Counts {
    submitted: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    pending: AtomicU64,
}

impl Counts {
    fn registry(&self, running: usize) -> Registry {
        let mut registry = Registry::with_prefix("wsp_scheduler");
        let jobs = [
            ("submitted_jobs", "Plans that were taken", &self.submitted),
            ("completed_jobs", "Plans that were run", &self.completed),
            ("failed_jobs", "Plans that failed", &self.failed),
            ("cancelled_jobs", "Plans that were given up", &self.cancelled),
        ];
        for (name, help, count) in jobs {
            registry.register(name, help, ConstCounter::new(count.load(Ordering::Relaxed)));
        }
        let pending = i64::try_from(self.pending.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        registry.register("pending_tasks", "Tasks that wait for an executor", ConstGauge::new(pending));
        let running = i64::try_from(running).unwrap_or(i64::MAX);
        registry.register("running_jobs", "Plans that run", ConstGauge::new(running));
        registry
    }
}

impl SchedulerMetricsCollector for Counts {
    fn record_submitted(&self, _: &JobId, _: u64, _: u64) {
        self.submitted.fetch_add(1, Ordering::Relaxed);
    }

    fn record_completed(&self, _: &JobId, _: u64, _: u64) {
        self.completed.fetch_add(1, Ordering::Relaxed);
    }

    fn record_failed(&self, _: &JobId, _: u64, _: u64) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    fn record_cancelled(&self, _: &JobId) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    fn set_pending_tasks_queue_size(&self, tasks: u64) {
        self.pending.store(tasks, Ordering::Relaxed);
    }

    fn gather_metrics(&self) -> ballista_core::error::Result<Option<(Vec<u8>, String)>> {
        // They are at an address of their own.
        Ok(None)
    }
}
