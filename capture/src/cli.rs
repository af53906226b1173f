//! The command line: what was typed ([`args`]) becomes what it means, which alone enters the library; how it ended becomes
//! an exit code and text on stderr ([`report`]).

mod args;
mod config;
#[cfg(test)]
mod deploy;
mod duration;
mod report;

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
#[cfg(feature = "ebpf")]
use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(feature = "ebpf")]
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use self::args::{Args, Command, LogFormat, RecordArgs, ReplayArgs, UnsentArgs};
#[cfg(feature = "ebpf")]
use self::args::{OnceArgs, ProbeArgs, RunArgs};
use self::report::{Error, Exit};
#[cfg(feature = "ebpf")]
use crate::probe::{HookChoice, ProbeOptions, hooks::Sensor};
use crate::recorder::Options;
use crate::session::{self, Outcome, Recorded, Replay};
use crate::sink::{Direct, Sink};
#[cfg(feature = "ebpf")]
use crate::spool::{Counts, Spool};

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    let args = match config::parse(&typed, Path::new(config::USUAL_FILE)) {
        Ok(args) => args,
        Err(config::ParseError::Arguments(error)) => {
            // Help and version come this way too; there is nobody left to tell that it cannot be printed.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
        Err(config::ParseError::File(error)) => {
            report::print(&error.into());
            return Exit::Usage.into();
        }
    };
    start_log(&args.command);
    // A panic has printed itself by then.
    match catch_unwind(AssertUnwindSafe(|| execute(args))) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(error)) => {
            report::print(&error);
            error.exit().into()
        }
        Err(_) => Exit::Bug.into(),
    }
}

fn start_log(command: &Command) {
    let level = if matches!(command, Command::Run(_)) { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("WSP_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("wsp_capture={level},warn")));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match command {
        Command::Run(args) if args.watch.log_format == LogFormat::Json => {
            log.json().flatten_event(true).init();
        }
        _ => log.with_ansi(io::stderr().is_terminal()).init(),
    }
}

fn execute(args: Args) -> Result<Exit, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| Error::Io { what: "the async runtime".to_owned(), source })?;
    let done = match args.command {
        Command::Replay(args) => runtime.block_on(replay(args)),
        #[cfg(feature = "ebpf")]
        Command::Once(args) => runtime.block_on(once(args)),
        #[cfg(feature = "ebpf")]
        Command::Run(args) => runtime.block_on(run(args)),
        #[cfg(feature = "ebpf")]
        Command::Doctor(args) => runtime.block_on(doctor(args)),
        #[cfg(not(feature = "ebpf"))]
        Command::Once(_) | Command::Run(_) | Command::Doctor(_) => Err(Error::NotBuilt),
    };
    // Nobody waits for what still runs on threads of its own.
    runtime.shutdown_background();
    done
}

/// Nodes that one event and what it hangs from can bring, with room to spare.
#[cfg(feature = "ebpf")]
const SPARE_NODES: usize = 1024;

fn options(args: &RecordArgs) -> Options {
    Options { args: args.args, max_nodes: args.max_nodes, ..Options::default() }
}

/// How a run shares out its slots.
#[cfg(feature = "ebpf")]
fn slots(args: &RunArgs) -> Result<session::SlotOptions, Error> {
    let slots = args.max_containers;
    let kept_for_starts = args.start_slots.unwrap_or_else(|| 2.min(slots - 1));
    if kept_for_starts >= slots {
        return Err(Error::StartSlots { slots });
    }
    let recapture_wait = args.recapture_wait.unwrap_or(args.interval);
    let stable_every = args.stable_every.0;
    Ok(session::SlotOptions { slots, kept_for_starts, interval: args.interval, recapture_wait, stable_every })
}

/// Profiles are looked at once an interval, and not less often than this.
#[cfg(all(feature = "ebpf", feature = "profiles"))]
const PROFILES_PERIOD: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// Begins to read which workloads have learned.
#[cfg(all(feature = "ebpf", feature = "profiles"))]
fn profiles(args: &RunArgs, metrics: &crate::metrics::Metrics) -> Result<crate::profiles::Profiles, Error> {
    use crate::profiles::{Profiles, Table};

    let location = args.profiles.as_deref().filter(|location| !location.is_empty());
    let Some(location) = location else { return Ok(Profiles::none()) };
    let period = args.interval.min(PROFILES_PERIOD);
    let access = args.record.access.beside(&args.record.store, location);
    Ok(Profiles::follow(Table::open(location, access)?, period, metrics.clone()))
}

#[cfg(all(feature = "ebpf", not(feature = "profiles")))]
fn profiles(args: &RunArgs, _: &crate::metrics::Metrics) -> Result<crate::profiles::Profiles, Error> {
    match args.profiles.as_deref() {
        None | Some("") => Ok(crate::profiles::Profiles::none()),
        Some(_) => Err(Error::NoProfiles),
    }
}

#[cfg(feature = "ebpf")]
fn probe(args: &ProbeArgs) -> ProbeOptions {
    let sensors = Sensor::ALL.into_iter();
    let wanted =
        |sensor: &Sensor| *sensor == Sensor::Process || args.sensors.iter().any(|name| name == sensor.name());
    ProbeOptions {
        sensors: sensors.filter(wanted).collect(),
        hooks: if args.hooks == "fallback" { HookChoice::Fallback } else { HookChoice::Best },
        max_events_per_second: args.max_events,
        ring_bytes: args.ring_buffer << 10,
        ..ProbeOptions::default()
    }
}

/// Opens the store and has it answer, before anything is recorded for it.
async fn open_store(args: &RecordArgs) -> Result<Sink, Error> {
    let sink = args.open()?;
    sink.check().await?;
    Ok(sink)
}

async fn open_direct(args: &RecordArgs, unsent: &UnsentArgs) -> Result<Direct, Error> {
    let unsent = unsent.unsent.clone().unwrap_or_else(|| std::env::temp_dir().join("wsp-unsent"));
    Ok(Direct::new(open_store(args).await?, unsent))
}

fn host(args: &RecordArgs) -> String {
    args.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(session::host_name)
}

async fn replay(args: ReplayArgs) -> Result<Exit, Error> {
    let sink = open_direct(&args.record, &args.unsent).await?;
    let failed = |source| Error::Io { what: format!("the event log {}", args.log.display()), source };
    let config = Replay {
        options: options(&args.record),
        container_id: args.container_id.clone(),
        host: host(&args.record),
    };
    let log = BufReader::new(File::open(&args.log).map_err(failed)?);
    let recorded = session::replay(&config, log, &sink)
        .await
        .map_err(|source| Error::Replay { path: args.log.clone(), source: Box::new(source) })?;
    let mut exit = Exit::Done;
    for recorded in &recorded {
        exit = exit.and(print_recorded(recorded));
    }
    Ok(exit)
}

#[cfg(feature = "ebpf")]
async fn once(args: OnceArgs) -> Result<Exit, Error> {
    use crate::identity::Sources;
    use crate::session::{Once, Target};

    // First what only another user can mend.
    crate::probe::check_capabilities().map_err(session::SourceError::from)?;
    let sink = open_direct(&args.record, &args.unsent).await?;
    let sources = Sources::open(&places(args.runtime))?;
    let running = session::running(&args.container);
    let identity = match &running {
        Some((id, cgroup)) => sources.identify(id, Some(cgroup)).await?,
        None => sources.find(&args.container).await?,
    };
    let cgroup = identity.cgroup_path().or(running.map(|(_, cgroup)| cgroup));
    let target = Target { cgroup, identity };
    let config = Once {
        options: options(&args.record),
        length: args.length,
        event_log: args.event_log,
        host: host(&args.record),
        kernel: session::kernel_release(),
    };
    // A container without a cgroup is recognised when it is initialised.
    let mut source = session::Live::load(&probe(&args.probe))?;
    let name = target.identity.display().to_string();
    let attached = || say(&format!("capturing {name}"));
    let recorded = session::once(config, &mut source, target, &sink, attached, nth(signals()?, 1)).await?;
    Ok(print_recorded(&recorded))
}

#[cfg(feature = "ebpf")]
async fn run(args: RunArgs) -> Result<Exit, Error> {
    use crate::identity::Sources;
    use crate::metrics::Metrics;
    use crate::pulse::{self, Pulse};
    use crate::serve::Server;
    use crate::session::Run;

    crate::probe::check_capabilities().map_err(session::SourceError::from)?;
    let folder = args.spool.clone().unwrap_or_else(spool_folder);
    let sink = args.record.open()?;
    // A daemon that is restarted while the store is away must record all the same.
    if let Err(error) = sink.check().await {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%error, cause, "snapshots wait in the spool until it can be");
    }
    let spool = Spool::open(&folder, args.spool_limit << 20, sink)?;
    let (metrics, pulse) = (Metrics::default(), Pulse::default());
    if let Some(address) = args.watch.listen {
        let server = Server::bind(address, &metrics, pulse.clone(), spool.clone()).await?;
        tracing::info!(address = %server.address().unwrap_or(address), "metrics and health");
        tokio::spawn(server.serve());
    }
    pulse::check_watchdog();
    let slots = slots(&args)?;
    let profiles = profiles(&args, &metrics)?;
    let sources = Sources::open(&places(args.runtime))?;
    sources.listen();
    let (checked, answers) = asked(&sources).await;
    if !answers {
        tracing::warn!("no source of names answers yet; containers are named when one does: {checked}");
    }
    let config = Run {
        // A window is turned between two events, which may bring a few nodes more.
        options: Options {
            max_bytes: usize::try_from(args.max_bytes).unwrap_or(usize::MAX),
            max_nodes: args.record.max_nodes.saturating_add(SPARE_NODES),
            spare_nodes: SPARE_NODES,
            ..options(&args.record)
        },
        slots,
        profiles,
        upload_at_end: args.stop_timeout,
        host: host(&args.record),
        kernel: session::kernel_release(),
        metrics,
        pulse,
    };
    let signals = signals()?;
    let mut source =
        session::Live::load(&ProbeOptions { slots: slots.slots, claim: true, ..probe(&args.probe) })?;
    if args.watch.bpf_stats
        && let Err(error) = source.count_run_times()
    {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%error, cause, "grant CAP_SYS_ADMIN, or have them counted by `sysctl kernel.bpf_stats_enabled=1`");
    }
    let attached = |running: usize| say(&format!("capturing all containers; {running} are there"));
    let running =
        session::run(config, &mut source, sources, spool.clone(), attached, nth(signals.clone(), 1));
    let summary = tokio::select! {
        summary = running => summary?,
        () = nth(signals, 2) => return Err(Error::StoppedAtOnce { waiting: spool.counts().waiting, spool: folder }),
    };
    let Counts { uploaded, dropped, taken, waiting, .. } = summary.spool;
    let mut said = format!("{uploaded} snapshots stored, {} events lost", summary.lost);
    let folder = folder.display();
    for (count, what) in [(waiting, "waiting"), (taken, "taken")].into_iter().filter(|(count, _)| *count > 0)
    {
        said += &format!(", {count} snapshots in {folder}/{what}");
    }
    if summary.slots.missed_starts > 0 {
        said += &format!(", {} starts missed", summary.slots.missed_starts);
    }
    if summary.slots.skipped_starts > 0 {
        said += &format!(", {} starts of stable workloads skipped", summary.slots.skipped_starts);
    }
    if dropped > 0 {
        said += &format!(", {dropped} snapshots lost");
    }
    say(&said);
    // Each loss was told when it happened: a daemon that was stopped has done what it was asked to.
    Ok(Exit::Done)
}

#[cfg(feature = "ebpf")]
fn places(args: args::RuntimeArgs) -> crate::identity::Places {
    let args::RuntimeArgs { runtime_socket: socket, map, host_root } = args;
    crate::identity::Places { socket: socket.filter(|url| !url.is_empty()), map, host_root }
}

/// What all sources of names say of themselves, and whether one of them answers.
#[cfg(feature = "ebpf")]
async fn asked(sources: &crate::identity::Sources) -> (String, bool) {
    let checked = sources.check().await;
    let answers = checked.iter().any(|source| source.answers);
    // Where one answers, those that are not there are of no interest.
    let told = checked.into_iter().filter(|source| source.answers == answers).map(|source| source.text);
    (told.collect::<Vec<_>>().join(", "), answers)
}

/// Where the spool is, if nobody says.
#[cfg(feature = "ebpf")]
fn spool_folder() -> PathBuf {
    // Of several, systemd gives the first one first.
    let given = std::env::var("STATE_DIRECTORY").ok().filter(|folders| !folders.is_empty());
    let first = given.and_then(|folders| folders.split(':').next().map(PathBuf::from));
    first.unwrap_or_else(|| PathBuf::from("/var/lib/wsp-capture"))
}

/// Counts the signals that ask the process to stop.
#[cfg(feature = "ebpf")]
fn signals() -> Result<watch::Receiver<u32>, Error> {
    use tokio::signal::unix::{SignalKind, signal};

    let failed = |source| Error::Io { what: "the signal handlers".to_owned(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (count, signals) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            count.send_modify(|count| *count += 1);
        }
    });
    Ok(signals)
}

/// Ends with the signal of that number.
#[cfg(feature = "ebpf")]
async fn nth(mut signals: watch::Receiver<u32>, number: u32) {
    if signals.wait_for(|count| *count >= number).await.is_err() {
        // Nobody counts any more, so none will come.
        std::future::pending::<()>().await;
    }
}

#[cfg(feature = "ebpf")]
async fn doctor(args: args::DoctorArgs) -> Result<Exit, Error> {
    use crate::doctor;

    let mut report = doctor::examine();
    report.checks.push(doctor::clock());
    report.checks.push(doctor::spool(&args.spool.unwrap_or_else(spool_folder)));
    if let Some(url) = &args.store {
        report.checks.push(doctor::store(url, &args.access).await);
    }
    report.checks.push(names(args.runtime).await);
    let text = if args.json {
        report.to_json().map_err(|error| Error::Io { what: "the report".to_owned(), source: error.into() })?
    } else {
        report.to_string()
    };
    print_line(text.trim_end())?;
    Ok(if report.can_run() { Exit::Done } else { Exit::Failed })
}

/// Whether somebody can name the containers.
#[cfg(feature = "ebpf")]
async fn names(args: args::RuntimeArgs) -> crate::doctor::Check {
    use crate::doctor::{Check, Status};

    let name = "runtime";
    let (found, answers) = match crate::identity::Sources::open(&places(args)) {
        Ok(sources) => asked(&sources).await,
        Err(error) => (error.to_string(), false),
    };
    if answers {
        return Check { name, found, status: Status::Ok };
    }
    let fix = "start its API (`podman system service --time=0 unix:///run/podman/podman.sock`), name its socket with --runtime-socket, or containers with --map";
    Check {
        name,
        found: format!("nobody names containers: {found}"),
        status: Status::Failed { fix: fix.to_owned() },
    }
}

fn print_recorded(recorded: &Recorded) -> Exit {
    let Recorded { stored, lost, .. } = recorded;
    // A closed pipe is no reason to call the capture failed: the snapshot is in the store.
    let _ = print_line(&format!("{} nodes={} lost={lost}", stored.key, stored.nodes));
    match recorded.outcome() {
        Outcome::Complete => Exit::Done,
        Outcome::Lossy => Exit::Lossy,
    }
}

fn print_line(text: &str) -> Result<(), Error> {
    match writeln!(io::stdout(), "{text}") {
        // Who reads the first lines only has read what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|source| Error::Io { what: "stdout".to_owned(), source }),
    }
}

/// Tells people how far it is.
#[cfg_attr(not(feature = "ebpf"), allow(dead_code, reason = "only live sessions have something to tell"))]
fn say(text: &str) {
    // Nobody may be listening.
    let _ = writeln!(io::stderr(), "{text}");
}
