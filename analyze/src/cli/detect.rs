use std::path::PathBuf;
use std::time::Duration;

use wsp_schemas::text::for_display;

use super::output::{print_json, problems, say};
use super::progress::Bar;
use super::{Ending, Failure, StoreArgs, Workers, parse_duration};
use crate::jobs::detect::{self, NOVELTY, Options, Report};
use crate::rules::{self, Rules};
use crate::session::{self, Resources};

/// Where rules come from, beside the shipped ones and the store's.
#[derive(Debug, clap::Args)]
pub(super) struct RuleArgs {
    /// Rule files, or folders of them; a rule replaces one of the same id [the store's `rules/` is always read]
    #[arg(long = "rules", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Leave this rule out
    #[arg(long = "without-rule", value_name = "ID")]
    without: Vec<String>,
}

impl RuleArgs {
    pub(super) async fn load(&self, store: Option<&wsp_schemas::store::Store>) -> Result<Rules, Failure> {
        let context = session::new(&Resources::default())?;
        let mut rules = rules::load(&context, store, &self.paths).await?;
        for id in &self.without {
            if rules.remove(id).is_none() {
                return Err(super::rules::unknown(&rules, id));
            }
        }
        Ok(rules)
    }
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A snapshot is judged once, after a merge decided on it. Rules look at every snapshot; one that came after its profile's \
                  freeze is looked up in the profile, too, and what that does not have is a signal of the rule `novelty`. What is new, \
                  the worst first: foreign_program (does not come with the image), program, lineage (a known program in a new \
                  place), network, privilege, file, known_folder (one more file where the program reads others)."
)]
pub(super) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    rules: RuleArgs,
    /// Signals of one snapshot; more are only counted, the least severe ones
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_signals: u32,
    /// Look for uploads from this long before the hour up to which all were judged
    #[arg(long, value_name = "DURATION", default_value = "48h", value_parser = parse_duration)]
    look_back: Duration,
    /// Look at all uploads, whenever they came
    #[arg(long, conflicts_with = "look_back")]
    rescan: bool,
    /// Say what would be raised, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    workers: Workers,
    #[cfg(feature = "distributed")]
    #[command(flatten)]
    cluster: super::cluster::ClusterArgs,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let (rules, of) = (args.rules, store.clone());
    let rules = async move { rules.load(Some(&of)).await };
    let options = Options {
        most_signals: usize::try_from(args.max_signals).unwrap_or(usize::MAX),
        look_back: args.look_back,
        rescan: args.rescan,
        dry_run: args.dry_run,
        concurrency: args.workers.concurrency(),
        resources: Resources { partitions: args.workers.partitions(), memory: None, spill: None },
        #[cfg(feature = "distributed")]
        engine: args.cluster.engine(),
        ..Options::default()
    };
    let bar = Bar::new();
    let report = detect::run(&store, rules, &options, &bar).await;
    let report = report.map_err(|failure: Failure| failure.on(&store))?;
    drop(bar);
    if args.json {
        print_json(&report)?;
    } else {
        say(&text(&report, args.dry_run))?;
    }
    Ok(if report.is_clean() { Ending::Done } else { Ending::Partial })
}

/// The report for people.
pub(super) fn text(report: &Report, dry_run: bool) -> String {
    let mut text = if report.judged == 0 && report.damaged.is_empty() {
        "no snapshots are new to judge; rules judge what comes after them".to_owned()
    } else {
        let done = if dry_run { "would be raised; nothing was written" } else { "raised" };
        format!(
            "{} snapshots judged, {} of them looked up in stable profiles: {} signals {done}",
            report.judged,
            report.looked_up,
            report.raised()
        )
    };
    if report.raised() > 0 {
        let list = |counts: &std::collections::BTreeMap<&str, usize>| {
            let counts = counts.iter().map(|(name, count)| format!("{count} {name}"));
            counts.collect::<Vec<_>>().join(", ")
        };
        text += &format!("\n  {}\n  {}", list(&report.severities), list(&report.contexts));
        let mut rules: Vec<_> = report.signals.iter().collect();
        rules.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
        for (rule, count) in rules {
            let what = if rule == NOVELTY { " (what stable profiles do not have)" } else { "" };
            text += &format!("\n  {count:>6}  {}{what}", for_display(rule));
        }
    }
    let counts = [
        (report.suppressed, "of the signals are hidden by suppressions"),
        (
            report.dropped,
            "signals were beyond the limit of one snapshot: only counted; --max-signals raises it",
        ),
        (report.waiting, "snapshots wait for the next `wsp merge`"),
        (report.known, "snapshots were judged before"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!("\n{count} {what}");
    }
    for (rule, reason) in &report.failed_rules {
        text += &format!(
            "\nthe rule {} could not be asked about some nodes, and did not match them: {}",
            for_display(rule),
            for_display(reason)
        );
    }
    let found = [
        (&report.damaged, "cannot be read"),
        (&report.unavailable, "not readable now: the next run tries again"),
    ];
    for (found, what) in found {
        text += &problems(what, found.iter().map(|problem| (&*problem.object, &*problem.reason)));
    }
    text
}
