use std::time::Duration;

use chrono::{DateTime, Utc};
use wsp_schemas::text::for_display;

use super::output::{print_json, say};
use super::progress::Bar;
use super::{Ending, Failure, StoreArgs, parse_duration, parse_time};
use crate::jobs::merge::{self, DEFAULT_BUCKETS, Options, Report};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// The clock: profiles whose learning time has passed by then become stable [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    as_of: Option<DateTime<Utc>>,
    /// Snapshots after which a profile is stable
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_snapshots: u32,
    /// Time from the start of its first window after which a profile is stable
    #[arg(long, value_name = "DURATION", default_value = "48h", value_parser = parse_duration)]
    learning_time: Duration,
    /// Partitions of the profile tables; counts when the store's tables are made, and is fixed then
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BUCKETS, value_parser = clap::value_parser!(u32).range(1..=4096))]
    buckets: u32,
    /// Files that are read at the same time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let options = Options {
        as_of: args.as_of.unwrap_or_else(Utc::now),
        max_snapshots: args.max_snapshots,
        learning_time: args.learning_time,
        buckets: args.buckets,
        concurrency: usize::from(args.concurrency),
        ..Options::default()
    };
    let bar = Bar::new();
    let merged = merge::run(&store, &options, &bar).await;
    let report = merged.map_err(|error| Failure::from(error).on(&store))?;
    drop(bar);
    if args.json {
        print_json(&report)?;
    } else {
        say(&text(&report))?;
    }
    Ok(if report.is_clean() { Ending::Done } else { Ending::Partial })
}

/// The report for people.
pub(super) fn text(report: &Report) -> String {
    if report.listed == 0 {
        return "there are no snapshots below snapshots/: is this the store that wsp-capture writes to?"
            .to_owned();
    }
    let mut text = format!(
        "{} snapshots admitted into {} profiles ({} became stable), {} node rows written",
        report.admitted, report.profiles, report.frozen, report.nodes
    );
    let counts = [
        (report.known, "known already"),
        (report.after_freeze, "after their profile became stable: left out"),
        (report.duplicates, "there twice: counted once"),
        (report.unkeyed, "of images with neither tag nor digest: kept, not merged"),
        (report.lossy, "lossy: they add nodes, and do not count in commonality"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!("\n{count} {what}");
    }
    let problems = [
        (&report.quarantined, "moved to quarantine/, each with its reason beside it"),
        (&report.unavailable, "not readable now: the next merge tries again"),
    ];
    for (problems, what) in problems.into_iter().filter(|(problems, _)| !problems.is_empty()) {
        text += &format!("\n{} {what}", problems.len());
        for problem in problems {
            text += &format!("\n  {}\n    {}", for_display(&problem.object), for_display(&problem.reason));
        }
    }
    text
}
