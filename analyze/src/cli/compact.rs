use std::time::Duration;

use chrono::{DateTime, Utc};

use super::output::{print_json, problems, say};
use super::progress::Bar;
use super::{Ending, Failure, StoreArgs, parse_duration, parse_size, parse_time};
use crate::jobs::compact::{self, CompactError, Left, Options, Report};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Moved are snapshots that a merge has decided on, of profiles that are stable; those of a profile that \
                  still learns stay. Back to --keep-raw, and no further, `wsp profiles relearn --since` and `wsp backtest` \
                  find snapshots. Run it when no merge runs: the two do each other no harm, but the slower one begins anew."
)]
pub(super) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// The clock that the age of snapshots is measured by [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    as_of: Option<DateTime<Utc>>,
    /// Snapshots stay below snapshots/ for this long after the hour of their upload
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = parse_duration)]
    keep_raw: Duration,
    /// Move snapshots that no detection has looked at: for stores on which nobody detects
    #[arg(long)]
    without_detect: bool,
    /// Versions of the tables stay readable for this long after they were replaced; at least 1h
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = parse_duration)]
    keep_versions: Duration,
    /// Allow --keep-versions below 1h: nobody reads the store, and no merge runs
    #[arg(long)]
    nobody_reads: bool,
    /// Size that a table file is to have
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = parse_size)]
    file_size: usize,
    /// Snapshots that are fetched and decoded at the same time; memory grows with it and with --file-size
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[cfg(feature = "distributed")]
    #[command(flatten)]
    cluster: super::cluster::ClusterArgs,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let options = args.options();
    let bar = Bar::new();
    let compacted = compact::run(&store, &options, &bar).await;
    let report = compacted.map_err(|error| Failure::from(error).on(&store))?;
    drop(bar);
    if args.json {
        print_json(&report)?;
    } else {
        say(&text(&report, args.dry_run))?;
    }
    Ok(if report.is_clean() { Ending::Done } else { Ending::Partial })
}

impl Args {
    fn options(&self) -> Options {
        Options {
            as_of: self.as_of.unwrap_or_else(Utc::now),
            keep_raw: self.keep_raw,
            without_detect: self.without_detect,
            keep_versions: self.keep_versions,
            nobody_reads: self.nobody_reads,
            file_bytes: self.file_size as u64,
            concurrency: usize::from(self.concurrency),
            dry_run: self.dry_run,
            #[cfg(feature = "distributed")]
            engine: self.cluster.engine(),
            ..Options::default()
        }
    }
}

/// The report for people.
fn text(report: &Report, dry_run: bool) -> String {
    let raw = &report.raw;
    let mut text = if dry_run {
        format!("nothing was changed; {} snapshots ({} bytes) would be moved", raw.moved, raw.moved_bytes)
    } else {
        format!(
            "{} snapshots ({} bytes) moved into activity ({} rows, {} bytes), {} files deleted",
            raw.moved, raw.moved_bytes, raw.rows, raw.written_bytes, raw.deleted
        )
    };
    if raw.known > 0 {
        text += &format!("\n{} were in activity already", raw.known);
    }
    for (reason, count) in &raw.left {
        text += &format!("\n{count} left: {}", why(*reason));
    }
    for (table, packed) in &report.packed {
        text += &if dry_run {
            format!(
                "\n{table}: {} small files ({} bytes) would be put together",
                packed.files_in, packed.bytes_in
            )
        } else {
            format!(
                "\n{table}: {} small files ({} bytes) became {} ({} bytes)",
                packed.files_in, packed.bytes_in, packed.files_out, packed.bytes_out
            )
        };
    }
    if report.unfinished_merge {
        text += "\nthe profile tables were left as they are: a merge is under way, or was not finished (`wsp merge` does)";
    }
    let done = if dry_run { "would be deleted" } else { "deleted" };
    for (table, deleted) in &report.deleted {
        text += &format!(
            "\n{table}: {} data files and {} log files {done}",
            deleted.data_files, deleted.log_files
        );
    }
    let found = [
        (&raw.damaged, "cannot be moved, and stay where they are"),
        (&raw.unavailable, "not readable or not deleted now: the next run tries again"),
    ];
    for (found, what) in found {
        text += &problems(what, found.iter().map(|problem| (&*problem.object, &*problem.reason)));
    }
    text
}

fn why(reason: Left) -> &'static str {
    match reason {
        Left::Learning => "their profile still learns",
        Left::NotMerged => "no merge has decided on them",
        Left::NotCounted => "they came after the freeze, and the merge's look-back has not left their hour",
        Left::UnfinishedMerge => {
            "a merge of their bucket is under way, or was not finished (`wsp merge` does)"
        }
        Left::Refused => "a merge refused them, and moves them to quarantine/",
        Left::NotDetected => "no detection has looked at them; where nobody detects: --without-detect",
        Left::Foreign => "their keys are none of ours; the next merge moves them to quarantine/",
    }
}

impl From<CompactError> for Failure {
    fn from(error: CompactError) -> Self {
        match error {
            CompactError::Table(error) => error.into(),
            error @ CompactError::List { .. } => {
                Self::new(error).hint("check the URL, the network and the credentials")
            }
            error @ CompactError::KeepTooShort { .. } => {
                Self::new(error).hint("give --keep-versions 1h or more, or say --nobody-reads")
            }
            CompactError::Engine(error) => error.into(),
            #[cfg(feature = "distributed")]
            CompactError::Cluster(error) => error.into(),
            CompactError::Rows(error) => error.into(),
        }
    }
}
