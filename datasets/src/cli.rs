//! The command line: what was typed becomes what is meant, is done, and is reported.

mod args;
mod output;

use std::error::Error;
use std::io::Write as _;

#[cfg(feature = "fleet")]
use indicatif::HumanBytes;
use indicatif::{ProgressBar, ProgressStyle};
use wsp_datasets::hostile::GalleryError;
use wsp_datasets::recordings::{CopyError, RecordingError};
use wsp_datasets::{Fleet, SpecError, WriteError, WriteOptions, hostile, recordings, write_fleet};
use wsp_schemas::store::{Missing, Store, StoreError, open};

pub(crate) use args::Args;
use args::{Command, Generate, Hostile, List};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Options that make no sense together.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The fleet cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A bundled recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// A bundled recording cannot be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The gallery cannot be made.
    #[error(transparent)]
    Gallery(#[from] GalleryError),
    /// The replay of a fleet.
    #[cfg(feature = "fleet")]
    #[error(transparent)]
    Replay(#[from] crate::scale::ReplayError),
    /// The runtime, or standard output.
    #[error("{what} failed")]
    Io {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The result cannot be shown.
    #[error("the result cannot be shown as JSON")]
    Json(#[from] serde_json::Error),
}

impl CliError {
    /// 1: failed; 2: used in a way that makes no sense.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Spec(_) => 2,
            _ => 1,
        }
    }

    /// A pipe that was closed by its reader is no failure of ours.
    fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

/// Tells what failed, with its causes, on standard error.
pub(crate) fn report(error: &CliError) {
    if error.is_broken_pipe() {
        return;
    }
    let mut text = format!("wsp-datasets: {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!("  caused by: {error}\n");
        cause = error.source();
    }
    // Where standard error is closed there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Does what was asked.
pub(crate) fn run(args: Args) -> Result<(), CliError> {
    let text = match args.command {
        Command::Generate(args) => generate(&args)?,
        Command::List(args) => list(&args)?,
        Command::Copy(args) => {
            let store = open(&args.store, Missing::Create)?;
            let copied = runtime(1)?.block_on(recordings::copy_to(&store))?;
            output::copied(copied, &store)
        }
        Command::Hostile(args) => hostile(&args)?,
        #[cfg(feature = "fleet")]
        Command::Fleet(args) => fleet(&args)?,
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|source| CliError::Io { what: "writing to standard output", source })
}

fn generate(args: &Generate) -> Result<String, CliError> {
    let fleet = Fleet::new(args.spec())?;
    let store: Store = open(&args.store, Missing::Create)?;
    let options = WriteOptions { jobs: args.jobs(), truth: args.truth() };
    let total = fleet.spec().total_snapshots() as u64;
    // Shown on a terminal only, and on standard error.
    let bar = ProgressBar::new(total).with_style(style());
    let started = std::time::Instant::now();
    let written =
        runtime(options.jobs)?.block_on(write_fleet(&fleet, &store, &options, |more| bar.inc(more as u64)));
    bar.finish_and_clear();
    Ok(output::written(written?, &store, started.elapsed()))
}

fn style() -> ProgressStyle {
    let template = "{elapsed_precise} [{bar:40}] {human_pos} of {human_len} snapshots, {per_sec}, {eta} left";
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn list(args: &List) -> Result<String, CliError> {
    let summary = recordings::summary()?;
    if args.json { output::json(&summary) } else { Ok(output::recordings(&summary)) }
}

fn hostile(args: &Hostile) -> Result<String, CliError> {
    let store = open(&args.store, Missing::Create)?;
    let labels = runtime(1)?.block_on(hostile::write_gallery(&store))?;
    Ok(output::gallery(&labels, &store))
}

#[cfg(feature = "fleet")]
fn fleet(args: &args::FleetArgs) -> Result<String, CliError> {
    let plan = args.plan();
    let bar = ProgressBar::new(u64::from(plan.hours.div_ceil(plan.every))).with_style(
        ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos} of {len} merges, {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> "),
    );
    let told = |tick: &crate::scale::Tick| {
        bar.set_message(format!("{} listed, {}", tick.merged.listed, HumanBytes(tick.peak_bytes)));
        bar.inc(1);
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let replayed = runtime(cores)?.block_on(crate::scale::replay(plan, told));
    bar.finish_and_clear();
    let replayed = replayed?;
    if args.json { output::json(&replayed) } else { Ok(output::replayed(&replayed)) }
}

fn runtime(jobs: usize) -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(jobs)
        // Encoding and local files: more threads than this only make the allocator keep more.
        .max_blocking_threads(2 * jobs + 2)
        .enable_all()
        .build()
        .map_err(|source| CliError::Io { what: "starting the async runtime", source })
}
