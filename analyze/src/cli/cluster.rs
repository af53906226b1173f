use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::output::say;
use super::{Ending, Failure, StoreArgs, parse_duration, parse_size};
use crate::cluster::{ClusterError, JobError, SCHEDULER_PORT, executor, scheduler};
use crate::engine::Engine;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Start one scheduler, then executors with the store of the jobs, then jobs with --cluster:\n\n\
                  wsp cluster scheduler --listen 10.0.0.1:50050\n\
                  wsp cluster executor --scheduler 10.0.0.1:50050 --listen 10.0.0.2 --store s3://BUCKET\n\
                  wsp merge --store s3://BUCKET --cluster df://10.0.0.1:50050\n\n\
                  The ports of nodes ask nobody for a password, and who reaches them can have plans run: keep them on a network of their own."
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Cut the plans of jobs into tasks, and hand them to executors
    Scheduler(SchedulerArgs),
    /// Run tasks: read the store, and group, judge or rewrite what is there
    Executor(ExecutorArgs),
}

#[derive(Debug, clap::Args)]
struct SchedulerArgs {
    /// Address and port for executors and jobs; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT", default_value_t = SocketAddr::from(([127, 0, 0, 1], SCHEDULER_PORT)))]
    listen: SocketAddr,
    /// Host by which executors reach it [default: the address that it listens on]
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Give metrics for Prometheus here, at /metrics, and /healthz and /readyz
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// Give up an executor that was silent for this long; without any executor for this long, fail jobs
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    executor_timeout: Duration,
    /// Have jobs fetch results through the scheduler: for jobs that cannot reach executors
    #[arg(long)]
    proxy: bool,
}

#[derive(Debug, clap::Args)]
struct ExecutorArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The scheduler
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_scheduler)]
    scheduler: (String, u16),
    /// Address for the scheduler, jobs and other executors
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Host by which they reach it [default: the address that it listens on]
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Port where results are fetched
    #[arg(long, value_name = "PORT", default_value_t = 50_051)]
    port: u16,
    /// Port where the scheduler hands over tasks
    #[arg(long, value_name = "PORT", default_value_t = 50_052)]
    task_port: u16,
    /// Give metrics for Prometheus here, at /metrics, and /healthz and /readyz
    #[arg(long, value_name = "IP:PORT")]
    metrics: Option<SocketAddr>,
    /// Tasks at the same time [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    slots: Option<u16>,
    /// Memory that all tasks together may take before they spill to disk, as in 512M or 4G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    memory: usize,
    /// Folder for results that wait to be fetched; what is older than --keep is deleted there
    #[arg(long, value_name = "DIR", default_value = "/var/tmp/wsp-executor")]
    work_dir: PathBuf,
    /// How long results wait
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    keep: Duration,
}

/// Where a job's heavy part runs.
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    /// Have a cluster's executors do the heavy part: the address of its scheduler
    #[arg(long, env = "WSP_CLUSTER", value_name = "df://HOST:PORT")]
    cluster: Option<crate::cluster::Cluster>,
}

impl ClusterArgs {
    pub(super) fn engine(&self) -> Engine {
        self.cluster.clone().map_or(Engine::Here, Engine::Cluster)
    }
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    match args.command {
        Command::Scheduler(args) => schedule(args).await,
        Command::Executor(args) => execute(args).await,
    }
}

async fn schedule(args: SchedulerArgs) -> Result<Ending, Failure> {
    let options = scheduler::Options {
        listen: args.listen,
        advertise: args.advertise,
        health: args.metrics,
        executor_timeout: args.executor_timeout,
        proxy: args.proxy,
    };
    let listening = scheduler::listen(&options).await?;
    say(&format!("listening on {}", listening.address))?;
    if let Some(address) = listening.health() {
        say(&format!("metrics at http://{address}/metrics"))?;
    }
    listening.serve(super::told_to_stop()?).await?;
    Ok(Ending::Done)
}

async fn execute(args: ExecutorArgs) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let (scheduler_host, scheduler_port) = args.scheduler;
    let options = executor::Options {
        scheduler_host,
        scheduler_port,
        listen: args.listen,
        advertise: args.advertise,
        port: args.port,
        task_port: args.task_port,
        health: args.metrics,
        slots: args
            .slots
            .map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from),
        memory: args.memory as u64,
        work_dir: args.work_dir,
        keep: args.keep,
    };
    let ready = executor::ready(&store, &options).await?;
    say(&format!("an executor of {store}, at {}:{}", options.listen, options.port))?;
    if let Some(address) = ready.health() {
        say(&format!("metrics at http://{address}/metrics"))?;
    }
    ready.serve(&super::told_to_stop()?).await?;
    Ok(Ending::Done)
}

/// Reads `HOST:PORT`, where the port may be left out.
fn parse_scheduler(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("`{text}` is no scheduler: HOST:PORT, as in 10.0.0.1:{SCHEDULER_PORT}");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
        None => (text, SCHEDULER_PORT),
    };
    if host.is_empty() || host.contains('/') { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

impl From<ClusterError> for Failure {
    fn from(error: ClusterError) -> Self {
        let hint = match &error {
            ClusterError::Listen { .. } => Some("give another address, or stop what listens there"),
            ClusterError::NoScheduler { .. } => Some("start it first: wsp cluster scheduler"),
            ClusterError::Refused { .. } => Some("start all nodes with the same program"),
            ClusterError::WorkDir { .. } => Some("give another folder with --work-dir"),
            ClusterError::GivenUp { .. } => Some(
                "it did not answer for --executor-timeout; start it again, or have something start it again",
            ),
            ClusterError::Stopped(_) | ClusterError::Session(_) => None,
        };
        match hint {
            Some(hint) => Self::new(error).hint(hint),
            None => Self::new(error),
        }
    }
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        let hint = match error {
            JobError::Refused { .. } => "start all nodes with the program and the --store of the job",
            JobError::Failed { .. } => {
                "see whether its scheduler and executors are up, by their logs and /readyz; nothing was changed, so the \
                 same command again does the work"
            }
        };
        Self::new(error).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedulers() {
        assert_eq!(parse_scheduler("s.wsp:1"), Ok(("s.wsp".to_owned(), 1)));
        assert_eq!(parse_scheduler("s.wsp"), Ok(("s.wsp".to_owned(), SCHEDULER_PORT)));
        for wrong in ["", ":1", "x:y", "df://x:1"] {
            assert!(parse_scheduler(wrong).unwrap_err().contains("HOST:PORT"), "{wrong}");
        }
    }
}
