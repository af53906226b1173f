use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use wsp_schemas::text::for_display;

use super::output::{print_json, problems, say};
use super::progress::Bar;
use super::{Ending, Failure, StoreArgs, Workers, parse_duration, parse_size, parse_time};
use crate::jobs::merge::{self, DEFAULT_BUCKETS, Folding, Options, Report};
use crate::session::Resources;

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
    /// A profile is not stable before it has this many snapshots
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_snapshots: u32,
    /// A profile is not stable before it has seen this many containers
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_containers: u32,
    /// A profile is not stable before its windows span this long
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    min_age: Duration,
    /// More rare siblings than this are folded into one pattern; 0 folds nothing
    #[arg(long, value_name = "N", default_value_t = 50)]
    fold_after: usize,
    /// Siblings that a profile keeps: files of one process in one directory, remotes at one port, …; others are counted
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    max_siblings: u32,
    /// Look for uploads from this long before the hour up to which an earlier merge had seen them all
    #[arg(long, value_name = "DURATION", default_value = "48h", value_parser = parse_duration)]
    look_back: Duration,
    /// Look at all uploads, whenever they came
    #[arg(long, conflicts_with = "look_back")]
    rescan: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    workers: Workers,
    #[cfg(feature = "distributed")]
    #[command(flatten)]
    cluster: super::cluster::ClusterArgs,
    /// Memory that reading and grouping may take before they spill to disk, as in 512M or 4G
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    memory: usize,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let options = args.options();
    let bar = Bar::new();
    let merged = merge::run(&store, &options, &bar).await;
    let report = merged.map_err(|error| Failure::from(error).on(&store))?;
    drop(bar);
    if args.json {
        print_json(&report)?;
    } else {
        say(&text(&report, args.dry_run))?;
        if report.frozen > 0 && options.as_of > Utc::now() {
            let as_of = options.as_of.to_rfc3339_opts(SecondsFormat::Secs, true);
            say(&format!("--as-of {as_of} is in the future: profiles may be stable before their time"))?;
        }
    }
    if !report.lost.is_empty() {
        return Err(lost(&report));
    }
    Ok(if report.is_clean() { Ending::Done } else { Ending::Partial })
}

impl Args {
    fn options(&self) -> Options {
        Options {
            as_of: self.as_of.unwrap_or_else(Utc::now),
            max_snapshots: self.max_snapshots,
            learning_time: self.learning_time,
            min_snapshots: self.min_snapshots,
            min_containers: self.min_containers,
            min_age: self.min_age,
            folding: Folding {
                kept: usize::try_from(self.max_siblings).unwrap_or(usize::MAX),
                ..Folding::after(self.fold_after)
            },
            buckets: self.buckets,
            concurrency: self.workers.concurrency(),
            look_back: self.look_back,
            rescan: self.rescan,
            dry_run: self.dry_run,
            resources: Resources {
                partitions: self.workers.partitions(),
                memory: Some(self.memory),
                spill: None,
            },
            #[cfg(feature = "distributed")]
            engine: self.cluster.engine(),
            ..Options::default()
        }
    }
}

/// The report for people.
pub(super) fn text(report: &Report, dry_run: bool) -> String {
    if report.is_no_store {
        return "there are no snapshots below snapshots/: is this the store that wsp-capture writes to?"
            .to_owned();
    }
    let mut text = if report.listed == 0 && report.profiles == 0 {
        "no snapshots came since the last merge".to_owned()
    } else if dry_run {
        let Report { listed, admitted, frozen, .. } = report;
        format!(
            "nothing was changed; of {listed} snapshots listed, {admitted} would be admitted, and {frozen} profiles become stable"
        )
    } else {
        format!(
            "{} snapshots admitted into {} profiles ({} became stable), {} node rows written",
            report.admitted, report.profiles, report.frozen, report.nodes
        )
    };
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
    let found = [
        (
            &report.quarantined,
            if dry_run {
                "would move to quarantine/"
            } else {
                "moved to quarantine/, each with its reason beside it"
            },
        ),
        (&report.out_of_range, "out of range: kept, not merged"),
        (&report.unavailable, "not readable now: the next merge tries again"),
    ];
    for (found, what) in found {
        text += &problems(what, found.iter().map(|problem| (&*problem.object, &*problem.reason)));
    }
    text
}

/// Admitted snapshots that are gone stop their buckets; everything else was done.
fn lost(report: &Report) -> Failure {
    let objects: Vec<String> = report
        .lost
        .iter()
        .map(|problem| format!("`{}` ({})", for_display(&problem.object), for_display(&problem.reason)))
        .collect();
    Failure::new(format!("the ledger has snapshots that cannot be read again: {}", objects.join(", ")))
        .hint("put the objects back and merge again; their profiles' buckets stand still until then, all others were merged")
}
