//! The command line: what was typed ([`args`]) becomes what it means, which alone enters the library; how it ended becomes
//! an exit code and text on stderr ([`report`]).

mod args;
mod duration;
mod report;

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use self::args::{Args, Command, RecordArgs, ReplayArgs};
#[cfg(feature = "ebpf")]
use self::args::{OnceArgs, RunArgs};
use self::report::{Error, Exit};
use crate::recorder::Options;
use crate::session::{self, Outcome, Recorded, Replay};
use crate::sink::Sink;

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too; there is nobody left to tell that it cannot be printed.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
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
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).with_target(false).init();
}

fn execute(args: Args) -> Result<Exit, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| Error::Io { what: "the async runtime".to_owned(), source })?;
    match args.command {
        Command::Replay(args) => runtime.block_on(replay(args)),
        #[cfg(feature = "ebpf")]
        Command::Once(args) => runtime.block_on(once(args)),
        #[cfg(feature = "ebpf")]
        Command::Run(args) => runtime.block_on(run(args)),
        #[cfg(feature = "ebpf")]
        Command::Doctor(args) => runtime.block_on(doctor(args)),
        #[cfg(not(feature = "ebpf"))]
        Command::Once(_) | Command::Run(_) | Command::Doctor(_) => Err(Error::NotBuilt),
    }
}

fn options(args: &RecordArgs) -> Options {
    Options { args: args.args, max_nodes: args.max_nodes }
}

/// Opens the store and has it answer, before anything is recorded for it.
async fn open_store(args: &RecordArgs) -> Result<Sink, Error> {
    let unsent = args.unsent.clone().unwrap_or_else(|| std::env::temp_dir().join("wsp-unsent"));
    let sink = Sink::open(&args.store, unsent)?;
    sink.check().await?;
    Ok(sink)
}

fn host(args: &RecordArgs) -> String {
    args.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(session::host_name)
}

async fn replay(args: ReplayArgs) -> Result<Exit, Error> {
    let sink = open_store(&args.record).await?;
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
    let sink = open_store(&args.record).await?;
    let sources = Sources::open(args.runtime.runtime_socket.as_deref()).await?;
    let identity = sources.find(&args.container).await?;
    let target = Target { cgroup: identity.cgroup_path(), identity };
    let config = Once {
        options: options(&args.record),
        length: args.length,
        event_log: args.event_log,
        host: host(&args.record),
        kernel: session::kernel_release(),
    };
    // A container without a cgroup is recognised when it is initialised.
    let mut source = session::Live::load(false)?;
    let name = target.identity.display().to_string();
    let attached = || say(&format!("capturing {name}"));
    let recorded = session::once(config, &mut source, target, &sink, attached, stopped()?).await?;
    Ok(print_recorded(&recorded))
}

#[cfg(feature = "ebpf")]
async fn run(args: RunArgs) -> Result<Exit, Error> {
    use crate::identity::Sources;
    use crate::session::Run;

    crate::probe::check_capabilities().map_err(session::SourceError::from)?;
    let sink = open_store(&args.record).await?;
    let mut sources = Sources::open(args.runtime.runtime_socket.as_deref()).await?;
    sources.listen();
    let config = Run {
        options: options(&args.record),
        interval: args.interval,
        host: host(&args.record),
        kernel: session::kernel_release(),
    };
    let stop = stopped()?;
    let mut source = session::Live::load(true)?;
    let attached = |running: usize| say(&format!("capturing all containers; {running} are there"));
    let summary = session::run(config, &mut source, sources, sink, attached, stop).await?;
    say(&format!("{} snapshots stored, {} events lost", summary.snapshots, summary.lost));
    // Loss is told in the snapshots: a daemon that was stopped has done what it was asked to.
    if summary.failed > 0 { Err(Error::NotStored { snapshots: summary.failed }) } else { Ok(Exit::Done) }
}

/// Ends when the process is asked to.
#[cfg(feature = "ebpf")]
fn stopped() -> Result<impl Future<Output = ()>, Error> {
    use tokio::signal::unix::{SignalKind, signal};

    let failed = |source| Error::Io { what: "the signal handlers".to_owned(), source };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(feature = "ebpf")]
async fn doctor(args: args::DoctorArgs) -> Result<Exit, Error> {
    let mut report = crate::doctor::examine();
    report.checks.push(container_runtime(crate::identity::Sources::open(None).await));
    let text = if args.json {
        serde_json::to_string_pretty(&report)
            .map_err(|error| Error::Io { what: "the report".to_owned(), source: error.into() })?
    } else {
        report.to_string()
    };
    print_line(text.trim_end())?;
    Ok(if report.can_run() { Exit::Done } else { Exit::Failed })
}

/// Whether somebody can name the containers. `--runtime-socket` may name another place than the usual ones.
#[cfg(feature = "ebpf")]
fn container_runtime(
    opened: Result<crate::identity::Sources, crate::identity::IdentityError>,
) -> crate::doctor::Check {
    use crate::doctor::{Check, Status};

    let name = "runtime";
    match opened {
        Ok(_) => Check { name, found: "a container runtime answers".to_owned(), status: Status::Ok },
        Err(error) => Check {
            name,
            found: error.to_string(),
            status: Status::Failed {
                fix: "start its API (`podman system service --time=0 unix:///run/podman/podman.sock`), or name it with --runtime-socket"
                    .to_owned(),
            },
        },
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
