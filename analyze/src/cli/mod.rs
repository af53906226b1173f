//! The command line. Typed arguments become options of the library here; nothing else knows clap.

mod backtest;
#[cfg(feature = "distributed")]
mod cluster;
mod compact;
mod demo;
mod detect;
mod diff;
#[cfg(feature = "explore")]
mod explore;
mod failure;
mod import;
mod merge;
mod output;
mod profile;
mod profiles;
mod progress;
#[cfg(feature = "explore")]
mod report;
mod rules;
#[cfg(feature = "serve")]
mod serve;
mod show;
mod signals;
mod sql;
mod store;
mod suppress;

use std::io::IsTerminal as _;

use clap::builder::PossibleValue;
use clap::{Parser, Subcommand, ValueEnum as _};
use wsp_schemas::store::{Access, Missing, Store};

pub use failure::Failure;
pub use output::Format;

/// Workload Security Profiles: what containers of one image normally do, learned from their snapshots.
#[derive(Debug, Parser)]
#[command(name = "wsp", version, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 done but some input was damaged or lossy, 70 a bug of ours"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more on standard error; twice for much more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it: merge bundled recordings of real containers and look at the profiles
    Demo(demo::Args),
    /// Import recordings of other tools as snapshots
    Import(import::Args),
    /// Merge new snapshots into profiles
    Merge(merge::Args),
    /// Judge new snapshots: by rules, and by what stable profiles do not have
    Detect(detect::Args),
    /// List, check and test detection rules
    Rules(rules::Args),
    /// List signals; show one with what its profile says
    Signals(signals::Args),
    /// Suggest, accept and take back suppressions of known behaviour
    Suppress(suppress::Args),
    /// List profiles; begin new revisions of them
    Profiles(profiles::Args),
    /// Show one profile: its process tree with files, DNS and network
    Show(show::Args),
    /// Write profiles and signals as pages that open from a folder, a mail or a bucket
    #[cfg(feature = "explore")]
    Report(report::Args),
    /// Look at profiles and signals in a browser, and decide on suppressions
    #[cfg(feature = "explore")]
    Explore(explore::Args),
    /// Compare two profiles node by node: what the second one gained, lost and does more or less often
    Diff(diff::Args),
    /// Replay history: what would a profile that learned from fewer snapshots or hours have missed?
    Backtest(backtest::Args),
    /// Query profiles with SQL: views `profiles`, `nodes`, `snapshots`, `signals`, …
    Sql(sql::Args),
    /// Serve the views to psql, Grafana, DBeaver and whatever speaks the PostgreSQL wire protocol; read-only
    #[cfg(feature = "serve")]
    Serve(serve::Args),
    /// Run a part of a cluster that jobs can use
    #[cfg(feature = "distributed")]
    Cluster(cluster::Args),
    /// Move old snapshots into the table `activity`, put small table files together, delete what nobody needs
    Compact(compact::Args),
    /// Check a store before it is used, and what is stored afterwards
    Store(store::Args),
}

/// Where everything lives.
#[derive(Debug, clap::Args)]
struct StoreArgs {
    /// Folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, env = "WSP_STORE", value_name = "URL")]
    store: String,
    #[command(flatten)]
    access: Access,
}

impl StoreArgs {
    /// A store to read: it must be there.
    fn open(&self) -> Result<Store, Failure> {
        open(&self.store, &self.access)
    }

    /// A store to write to: a folder is made.
    fn create(&self) -> Result<Store, Failure> {
        Ok(self.access.open(&self.store, Missing::Create)?)
    }

    /// Arguments that name the store to a command, as a person would type them.
    fn typed(&self) -> Result<String, Failure> {
        typed(&self.store, &self.access)
    }

    /// Arguments that name the store to a command, from whatever folder it is run.
    #[cfg(feature = "explore")]
    fn arguments(&self) -> Vec<String> {
        let place = std::path::absolute(&self.store).ok().filter(|_| !self.store.contains("://"));
        let place = place.map_or_else(|| self.store.clone(), |folder| folder.display().to_string());
        named(&place, &self.access)
    }
}

/// A place and how it is reached, as arguments. What is secret is none.
fn named(place: &str, access: &Access) -> Vec<String> {
    let addressing = access.addressing.and_then(|style| style.to_possible_value());
    let options = [
        ("--store", Some(place)),
        ("--store-endpoint", access.endpoint.as_deref()),
        ("--store-region", access.region.as_deref()),
        ("--store-addressing", addressing.as_ref().map(PossibleValue::get_name)),
    ];
    let given = options
        .into_iter()
        .filter_map(|(option, value)| Some((option, value.filter(|value| !value.is_empty())?)));
    let anonymous = access.anonymous.then(|| "--store-anonymous".to_owned());
    given.flat_map(|(option, value)| [option.to_owned(), value.to_owned()]).chain(anonymous).collect()
}

/// The same as a person would type it.
fn typed(place: &str, access: &Access) -> Result<String, Failure> {
    shlex::try_join(named(place, access).iter().map(String::as_str)).map_err(Failure::new)
}

/// A store to read, where a command can do without one, or names it in another way.
fn open(store: &str, access: &Access) -> Result<Store, Failure> {
    crate::tables::prepare();
    Ok(access.open(store, Missing::Refuse)?)
}

/// What reads many snapshots at once.
#[derive(Debug, clap::Args)]
struct Workers {
    /// Files that each core fetches at the same time [default: 1 or 2 from a folder, 16 from an object store]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: Option<u16>,
    /// Cores that work at the same time [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Workers {
    /// Files at the same time; 0 for what suits the store.
    fn concurrency(&self) -> usize {
        self.concurrency.map_or(0, usize::from)
    }

    /// Cores; 0 for all.
    fn partitions(&self) -> usize {
        self.jobs.map_or(0, usize::from)
    }
}

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Done,
    /// Done, but some input was damaged, lossy or not available.
    Partial,
    /// Done, and what was looked at is not as it must be.
    Failed,
}

/// How long what a command left behind has to end: files that it spilled are deleted then.
const GRACE: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs the program; its exit code.
pub fn main() -> u8 {
    let cli = Cli::parse();
    start_logging(cli.verbose, cli.command.is_node());
    // A panic's text may hold what a file says. Where a decoder panics, that costs one file, and is reported with it.
    std::panic::set_hook(Box::new(
        |panic| tracing::debug!(panic = %panic.to_string().escape_debug(), "panic"),
    ));
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.thread_stack_size(crate::session::STACK).enable_all();
    let ended = threads.build().map(|runtime| {
        let run = std::panic::AssertUnwindSafe(|| runtime.block_on(run(cli.command)));
        let ended = std::panic::catch_unwind(run);
        runtime.shutdown_timeout(GRACE);
        ended
    });
    let ending = match ended {
        Ok(Ok(ending)) => ending,
        Ok(Err(_)) => Err(Failure::panicked()),
        Err(error) => Err(error.into()),
    };
    match ending {
        Ok(Ending::Done) => 0,
        Ok(Ending::Partial) => 3,
        Ok(Ending::Failed) => 1,
        Err(failure) => failure.report(),
    }
}

/// What a server watches: cancelled once this process is asked to end.
#[cfg(any(feature = "distributed", feature = "explore", feature = "serve"))]
fn told_to_stop() -> std::io::Result<tokio_util::sync::CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = tokio_util::sync::CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        told.cancel();
    });
    Ok(stop)
}

async fn run(command: Command) -> Result<Ending, Failure> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Merge(args) => merge::run(args).await,
        Command::Detect(args) => detect::run(args).await,
        Command::Rules(args) => rules::run(args).await,
        Command::Signals(args) => signals::run(args).await,
        Command::Suppress(args) => suppress::run(args).await,
        Command::Profiles(args) => profiles::run(args).await,
        Command::Show(args) => show::run(args).await,
        #[cfg(feature = "explore")]
        Command::Report(args) => report::run(args).await,
        #[cfg(feature = "explore")]
        Command::Explore(args) => explore::run(args).await,
        Command::Diff(args) => diff::run(args).await,
        Command::Backtest(args) => backtest::run(args).await,
        Command::Sql(args) => sql::run(args).await,
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(args).await,
        #[cfg(feature = "distributed")]
        Command::Cluster(args) => cluster::run(args).await,
        Command::Compact(args) => compact::run(args).await,
        Command::Store(args) => store::run(args).await,
    }
}

impl Command {
    /// Whether it runs on and on for others: what goes wrong is told where it runs.
    fn is_node(&self) -> bool {
        #[cfg(feature = "distributed")]
        return matches!(self, Self::Cluster(_));
        #[cfg(not(feature = "distributed"))]
        false
    }
}

fn start_logging(verbose: u8, is_node: bool) {
    // A directive counts for all targets that begin with it: ours are `wsp_…`. How the engine and the table format work
    // inside is of no use to who runs a job; `WSP_LOG=debug` shows it.
    let filter = match verbose {
        // What went wrong is told once, by us.
        0 if !is_node => "off",
        0 => "warn",
        1 if is_node => "info",
        1 => "error,wsp=info",
        _ => "warn,wsp=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("WSP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(filter));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

/// Reads `30s`, `90m`, `48h`, `7d`.
fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let expected = || format!("`{text}` is no duration: a whole number and s, m, h or d, as in 48h");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(seconds).map(std::time::Duration::from_secs).ok_or_else(expected)
}

/// Reads `512M`, `4G`.
fn parse_size(text: &str) -> Result<usize, String> {
    let expected = || format!("`{text}` is no size: a whole number and K, M or G, as in 512M");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
    let bytes: usize = match unit {
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return Err(expected()),
    };
    let number: usize = number.parse().map_err(|_| expected())?;
    number.checked_mul(bytes).filter(|size| *size > 0).ok_or_else(expected)
}

/// Reads an RFC 3339 time or a date.
fn parse_time(text: &str) -> Result<chrono::DateTime<chrono::Utc>, String> {
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    chrono::DateTime::parse_from_rfc3339(&full)
        .map(|time| time.with_timezone(&chrono::Utc))
        .map_err(|_| format!("`{text}` is no time: 2026-11-24 or 2026-11-24T03:00:00Z"))
}

#[cfg(test)]
mod tests {
    mod deploy;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_and_times() {
        assert_eq!(parse_duration("48h"), Ok(std::time::Duration::from_secs(172_800)));
        for text in ["", "h", "-1h", "1w", "1.5h", "é", "99999999999999999999d"] {
            assert!(parse_duration(text).unwrap_err().contains("as in 48h"), "{text}");
        }
        assert_eq!(parse_time("2026-11-24").unwrap(), parse_time("2026-11-24T01:00:00+01:00").unwrap());
        assert!(parse_time("yesterday").is_err());
    }

    #[test]
    fn the_reference_of_commands_is_current() {
        let mut text = String::new();
        let mut command = Cli::command();
        command.build();
        text += &command.render_long_help().to_string();
        add_help_of_subcommands(&mut command, "wsp", &mut text);
        insta::assert_snapshot!(text);
    }

    fn add_help_of_subcommands(command: &mut clap::Command, path: &str, text: &mut String) {
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            *text += &format!("\n==== {path}\n\n{}", sub.render_long_help());
            add_help_of_subcommands(sub, &path, text);
        }
    }
}
