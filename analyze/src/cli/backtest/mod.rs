//! `wsp backtest`: what would other thresholds have missed?

mod report;
mod rows;

use std::collections::BTreeSet;
use std::path::PathBuf;

use wsp_schemas::image::Workload;

use super::output::{Format, print, say};
use super::profile::{images, near};
use super::progress::Bar;
use super::{Ending, Failure, StoreArgs};
use crate::jobs::backtest::{self as job, BacktestError, History, Point, Threshold};
use crate::jobs::merge::Folding;
use crate::views;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "All snapshots of the store are merged once more, without a limit and in memory; the store is only read."
)]
pub(super) struct Args {
    /// Images, as in nginx:1.25 [default: all]
    #[arg(value_name = "IMAGE:TAG")]
    images: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Stop learning after so many snapshots
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "5,10,20,50,100,200")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    snapshots: Vec<u32>,
    /// Stop learning so many hours after the start of the first window
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,6,12,24,48")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    hours: Vec<u32>,
    /// More rare siblings than this are folded into one pattern; 0 folds nothing
    #[arg(long, value_name = "N", default_value_t = 50)]
    fold_after: usize,
    /// Draw the learning curves into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Files that are read at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Form of the output; all but the table have one row a workload and threshold
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A threshold, and what it would have made of one workload.
struct Answer {
    threshold: Threshold,
    /// Whether the history goes so far.
    reached: bool,
    point: Point,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let workloads = args.images.iter().map(|image| Workload::parse(image).map_err(Failure::new));
    let workloads: BTreeSet<Workload> = workloads.collect::<Result<_, _>>()?;
    let thresholds = thresholds(args.snapshots, args.hours);
    let store = args.store.open()?;
    let bar = Bar::new();
    let folding = Folding::after(args.fold_after);
    let done = job::run(&store, &workloads, usize::from(args.concurrency), folding, &bar).await;
    drop(bar);
    let done = match done {
        Err(error @ BacktestError::Unknown { .. }) => return Err(unknown(&store, error).await),
        done => done?,
    };
    if let Some(file) = &args.svg {
        std::fs::write(file, job::svg(&done.histories)).map_err(|error| {
            Failure::new(error).hint(format!("the learning curves are written to `{}`", file.display()))
        })?;
    }
    let answers: Vec<(&Workload, &History, Vec<Answer>)> = done
        .histories
        .iter()
        .map(|(workload, history)| (workload, history, answers(history, &thresholds)))
        .collect();
    let whole = done.report.quarantined.is_empty() && done.report.unavailable.is_empty();
    if args.format == Format::Table {
        for (workload, history, answers) in &answers {
            say(&report::text(workload, history, answers))?;
        }
        say(report::LEGEND)?;
        if !whole {
            let left_out = done.report.quarantined.len() + done.report.unavailable.len();
            say(&format!("unreadable snapshots, left out: {left_out}; `wsp merge` says why"))?;
        }
    } else {
        let batch = rows::batch(&answers)?;
        print(&batch.schema(), std::slice::from_ref(&batch), args.format)?;
    }
    Ok(if whole { Ending::Done } else { Ending::Partial })
}

/// In order, each once.
fn thresholds(snapshots: Vec<u32>, hours: Vec<u32>) -> Vec<Threshold> {
    let in_order = |numbers: Vec<u32>| numbers.into_iter().collect::<BTreeSet<_>>().into_iter();
    in_order(snapshots).map(Threshold::Snapshots).chain(in_order(hours).map(Threshold::Hours)).collect()
}

fn answers(history: &History, thresholds: &[Threshold]) -> Vec<Answer> {
    let answer = |threshold: &Threshold| {
        let (prefix, reached) = history.prefix(*threshold);
        Answer { threshold: *threshold, reached, point: history.at(prefix) }
    };
    thresholds.iter().map(answer).collect()
}

/// The error with the names that the store's profiles have, where it has any.
async fn unknown(store: &wsp_schemas::store::Store, error: BacktestError) -> Failure {
    let wanted = match &error {
        BacktestError::Unknown { missing } => missing.first().map(ToString::to_string).unwrap_or_default(),
        _ => String::new(),
    };
    let known = match views::open(store).await {
        Ok(context) => images(&context, "profiles").await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let failure = Failure::from(error);
    if known.is_empty() {
        return failure.hint("leave the images out to replay all");
    }
    failure.hint(near(known, &wanted))
}
