//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Parser, Subcommand};
use wsp_schemas::store::{Access, Missing};

use super::duration::{self, Every};
use crate::recorder::ArgsMode;
use crate::sink::{Sink, SinkError};

/// Records what containers do, as snapshot files in object storage.
#[derive(Debug, Parser)]
#[command(
    name = "wsp-capture",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 done but events were lost, 70 a bug of this program.\nCredentials of object stores come from the environment, as their own tools read them.\nWSP_LOG=debug shows more."
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
#[cfg_attr(
    not(feature = "ebpf"),
    allow(dead_code, reason = "parsed in every build, so that the error can say what is missing")
)]
pub(super) enum Command {
    /// Record one container for a while
    Once(OnceArgs),
    /// Record all containers until stopped
    Run(RunArgs),
    /// Make snapshots from an event log, without root or eBPF
    Replay(ReplayArgs),
    /// Say what this host allows, and which sensors will run
    Doctor(DoctorArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct RecordArgs {
    /// Where snapshots go: a folder, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "URL", env = "WSP_STORE")]
    pub(super) store: String,
    #[command(flatten)]
    pub(super) access: Access,
    /// Name of this host in the snapshots [default: its own]
    #[arg(long, value_name = "NAME", env = "WSP_HOST")]
    pub(super) host: Option<String>,
    /// What is kept of command lines: scrubbed, hashed or off
    #[arg(long, value_name = "MODE", env = "WSP_ARGS", default_value = "scrubbed")]
    pub(super) args: ArgsMode,
    /// Most nodes of one snapshot: `run` goes on in another one, elsewhere what would be more is counted as lost
    #[arg(long, value_name = "N", env = "WSP_MAX_NODES", default_value_t = 100_000)]
    pub(super) max_nodes: usize,
}

impl RecordArgs {
    /// The store to write to: a folder is made.
    pub(super) fn open(&self) -> Result<Sink, SinkError> {
        Ok(self.access.open(&self.store, Missing::Create)?.into())
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct UnsentArgs {
    /// Folder for snapshots that cannot be uploaded [default: wsp-unsent in the temporary folder]
    #[arg(long, value_name = "FOLDER", env = "WSP_UNSENT")]
    pub(super) unsent: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "see Command"))]
pub(super) struct RuntimeArgs {
    /// The container runtime's socket, Docker-compatible or CRI [default: DOCKER_HOST, and the usual ones of podman, Docker,
    /// containerd, CRI-O and k3s]
    #[arg(long, value_name = "URL", env = "WSP_RUNTIME_SOCKET")]
    pub(super) runtime_socket: Option<String>,
    /// File that names containers, for those that no runtime knows: one JSON object a line,
    /// {"container": "ID", "image": "nginx:1.25"} or {"cgroup": "/PATH", "image": …}, with name, digest and labels where wanted
    #[arg(long, value_name = "FILE", env = "WSP_MAP")]
    pub(super) map: Option<PathBuf>,
    /// Where the root of the host's file system is, for the usual sockets and for what runtimes write on disk
    #[arg(long, value_name = "FOLDER", env = "WSP_HOST_ROOT", default_value = "/")]
    pub(super) host_root: PathBuf,
}

#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "see Command"))]
pub(super) struct ProbeArgs {
    /// What is recorded, beside processes; `syscall` slows down all system calls of the host
    #[arg(
        long, value_name = "SENSOR", env = "WSP_SENSORS", value_delimiter = ',',
        default_values = ["file", "connect", "listen", "dns", "capability"],
        value_parser = ["process", "file", "connect", "listen", "dns", "capability", "syscall"]
    )]
    pub(super) sensors: Vec<String>,
    /// Which hooks are used: the best that the kernel takes, or only those that every kernel takes
    #[arg(long, value_name = "CHOICE", env = "WSP_HOOKS", default_value = "best", value_parser = ["best", "fallback"])]
    pub(super) hooks: String,
    /// Events a second that one container may go on telling, 0 for any number; what is more is shed, the least grave first, and counted.
    /// What was told already in a window does not count
    #[arg(long, value_name = "N", env = "WSP_MAX_EVENTS", default_value_t = 50_000)]
    pub(super) max_events: u32,
    /// KiB of the buffer that events come through, a power of two; what finds it full is lost, and counted
    #[arg(long, value_name = "KIB", env = "WSP_RING_BUFFER", default_value = "8192", value_parser = ring_buffer)]
    pub(super) ring_buffer: u32,
}

/// KiB of a ring buffer.
fn ring_buffer(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(kib) if kib.is_power_of_two() && (4..=1 << 20).contains(&kib) => Ok(kib),
        _ => Err("it must be a power of two, from 4 to 1048576".to_owned()),
    }
}

#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "see Command"))]
pub(super) struct OnceArgs {
    /// The container, by id, start of its id, or name
    #[arg(long, value_name = "ID|NAME", env = "WSP_CONTAINER")]
    pub(super) container: String,
    /// For how long; it ends earlier when the container does
    #[arg(long = "for", value_name = "TIME", env = "WSP_FOR", default_value = "30s", value_parser = duration::window)]
    pub(super) length: Duration,
    /// Write all events to this file too, for `replay`; command lines stand in it as they are
    #[arg(long, value_name = "FILE", env = "WSP_EVENT_LOG")]
    pub(super) event_log: Option<PathBuf>,
    #[command(flatten)]
    pub(super) record: RecordArgs,
    #[command(flatten)]
    pub(super) unsent: UnsentArgs,
    #[command(flatten)]
    pub(super) probe: ProbeArgs,
    #[command(flatten)]
    pub(super) runtime: RuntimeArgs,
}

#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "see Command"))]
pub(super) struct RunArgs {
    /// Length of a snapshot's window
    #[arg(long, value_name = "TIME", env = "WSP_INTERVAL", default_value = "30m", value_parser = duration::window)]
    pub(super) interval: Duration,
    /// How many containers are recorded at once; the others take turns
    #[arg(long, value_name = "N", env = "WSP_MAX_CONTAINERS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) max_containers: u32,
    /// How many of them are kept for containers that start: less than all [default: 2, where there are more]
    #[arg(long, value_name = "N", env = "WSP_START_SLOTS")]
    pub(super) start_slots: Option<u32>,
    /// How long a container that was recorded gives way to others that wait [default: as long as a window]
    #[arg(long, value_name = "TIME", env = "WSP_RECAPTURE_WAIT", value_parser = duration::parse)]
    pub(super) recapture_wait: Option<Duration>,
    /// Store whose profiles say which workloads have learned enough, usually the same as --store: their containers come behind all
    /// others. Read in the background, at least every 30 minutes; while that fails, what is known holds. The options of object stores
    /// hold for it, too, where it is of the same kind [default: none]
    #[arg(long, value_name = "URL", env = "WSP_PROFILES")]
    pub(super) profiles: Option<String>,
    /// After how long without being recorded a container of a stable workload waits like those that learn; until then it has only
    /// the slots that nobody else wants. `never`: it is not recorded at all
    #[arg(long, value_name = "TIME|never", env = "WSP_STABLE_EVERY", default_value = "24h", value_parser = duration::or_never)]
    pub(super) stable_every: Every,
    /// Most bytes of text of one snapshot in memory, about: it goes on in another one
    #[arg(long, value_name = "BYTES", env = "WSP_MAX_BYTES", default_value_t = 16 << 20, value_parser = clap::value_parser!(u64).range(1 << 16..))]
    pub(super) max_bytes: u64,
    /// Folder where snapshots wait for the store, this daemon's alone; what waits there is uploaded at the next start
    /// [default: STATE_DIRECTORY, which systemd sets, or /var/lib/wsp-capture]
    #[arg(long, value_name = "FOLDER", env = "WSP_SPOOL")]
    pub(super) spool: Option<PathBuf>,
    /// Mebibytes that may wait there; where it would be more, the oldest snapshots are dropped
    #[arg(long, value_name = "MIB", env = "WSP_SPOOL_LIMIT", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(super) spool_limit: u64,
    /// How long uploads may take after a signal to stop
    #[arg(long, value_name = "TIME", env = "WSP_STOP_TIMEOUT", default_value = "20s", value_parser = duration::parse)]
    pub(super) stop_timeout: Duration,
    #[command(flatten)]
    pub(super) watch: WatchArgs,
    #[command(flatten)]
    pub(super) record: RecordArgs,
    #[command(flatten)]
    pub(super) probe: ProbeArgs,
    #[command(flatten)]
    pub(super) runtime: RuntimeArgs,
}

/// How a daemon is configured and watched.
#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "see Command"))]
pub(super) struct WatchArgs {
    /// TOML file with options by their long names, `interval = "30m"`; options and environment variables go before it
    /// [default: /etc/wsp-capture/config.toml, where it exists]
    #[arg(long, value_name = "FILE", env = "WSP_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Answer /metrics, /healthz and /livez there, without encryption or passwords, for example 127.0.0.1:9464
    /// [default: nowhere]
    #[arg(long, value_name = "IP:PORT", env = "WSP_LISTEN")]
    pub(super) listen: Option<SocketAddr>,
    /// Count runs and CPU time of the eBPF programs in /metrics; slows all eBPF programs of the host a little
    #[arg(long, env = "WSP_BPF_STATS", value_parser = BoolishValueParser::new())]
    pub(super) bpf_stats: bool,
    /// Form of the log lines
    #[arg(long, value_name = "FORM", env = "WSP_LOG_FORMAT", value_enum, default_value_t)]
    pub(super) log_format: LogFormat,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// The event log, as `once --event-log` writes it
    #[arg(value_name = "LOG")]
    pub(super) log: PathBuf,
    /// Id of the container, where the log does not tell
    #[arg(long, value_name = "ID")]
    pub(super) container_id: Option<String>,
    #[command(flatten)]
    pub(super) record: RecordArgs,
    #[command(flatten)]
    pub(super) unsent: UnsentArgs,
}

#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "see Command"))]
pub(super) struct DoctorArgs {
    /// For programs
    #[arg(long)]
    pub(super) json: bool,
    /// Also try this store
    #[arg(long, value_name = "URL", env = "WSP_STORE")]
    pub(super) store: Option<String>,
    #[command(flatten)]
    pub(super) access: Access,
    /// The spool to try [default: as `run` has it]
    #[arg(long, value_name = "FOLDER", env = "WSP_SPOOL")]
    pub(super) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(super) runtime: RuntimeArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }
}
