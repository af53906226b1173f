use std::path::PathBuf;

use chrono::Utc;
use clap::{Subcommand, ValueEnum};
use wsp_schemas::text::for_display;

use super::output::{print_json, say};
use super::{Ending, Failure, StoreArgs};
use crate::jobs::import::{self, ImportError, Options, Problem, Report, alerts};
use crate::session::{self, Resources};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    source: Source,
}

#[derive(Debug, Subcommand)]
enum Source {
    /// Import ApplicationProfiles, ContainerProfiles and NetworkNeighborhoods of Kubescape
    #[command(
        after_help = "Each container becomes one snapshot; importing it again changes nothing. A NetworkNeighborhood names no image: \
                      give the ApplicationProfile of its workload in the same command."
    )]
    Kubescape(KubescapeArgs),
    /// Import alerts of Falco, as its JSON output has them, as signals
    #[command(
        after_help = "An alert is matched to its image's profile by the image, the executable with those above it (proc.exepath, \
                      proc.aexepath[…]) and the target: the more of them an output has, the more can be suggested."
    )]
    Falco(AlertArgs),
    /// Import events of Tetragon: those of policies as signals, or all of them as snapshots
    Tetragon(TetragonArgs),
    /// Import alerts of Kubescape's node agent as signals
    KubescapeAlerts(AlertArgs),
}

#[derive(Debug, clap::Args)]
struct AlertArgs {
    /// Files, or folders of *.json, *.jsonl and *.log files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct TetragonArgs {
    #[command(flatten)]
    alerts: AlertArgs,
    /// What they become
    #[arg(long = "as", value_enum, default_value_t)]
    become_: Become,
}

#[derive(Debug, Clone, Copy, ValueEnum, Default)]
enum Become {
    /// Events of policies become signals; others are left out
    #[default]
    Signals,
    /// Events become snapshots, one a container, which a merge learns from
    Snapshots,
}

#[derive(Debug, clap::Args)]
struct KubescapeArgs {
    /// Files, or folders of *.yaml, *.yml and *.json files, of objects as `kubectl get KIND NAME -o yaml` writes them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    /// Where the cluster's name comes from, which becomes the host
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t)]
    cluster_from: ClusterFrom,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum, Default)]
enum ClusterFrom {
    /// The annotation kubescape.io/wlid; without it, the file's name
    #[default]
    Annotation,
    /// The file's name: for clusters that have the same name
    FileName,
}

impl From<ClusterFrom> for import::Cluster {
    fn from(from: ClusterFrom) -> Self {
        match from {
            ClusterFrom::Annotation => Self::Annotation,
            ClusterFrom::FileName => Self::FileName,
        }
    }
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    match args.source {
        Source::Kubescape(args) => {
            let store = args.store.create()?;
            let options = Options { cluster: args.cluster_from.into(), ..Options::default() };
            snapshots(&import::kubescape::run(&store, &args.files, &options).await?, args.json)
        }
        Source::Tetragon(TetragonArgs { alerts: args, become_: Become::Snapshots }) => {
            let store = args.store.create()?;
            snapshots(&import::tetragon::run(&store, &args.files, &Options::default()).await?, args.json)
        }
        Source::Tetragon(args) => signals(alerts::Source::Tetragon, args.alerts).await,
        Source::Falco(args) => signals(alerts::Source::Falco, args).await,
        Source::KubescapeAlerts(args) => signals(alerts::Source::Kubescape, args).await,
    }
}

fn snapshots(report: &Report, json: bool) -> Result<Ending, Failure> {
    if json {
        print_json(report)?;
    } else {
        say(&text(report))?;
    }
    if report.written + report.present == 0 {
        Err(Failure::new("nothing was imported"))
    } else if report.failed.is_empty() {
        Ok(Ending::Done)
    } else {
        Ok(Ending::Partial)
    }
}

async fn signals(source: alerts::Source, args: AlertArgs) -> Result<Ending, Failure> {
    let store = args.store.create()?;
    let files = args.files;
    // Parsing blocks, and a panic in a parser must not end the program.
    let read = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        let report = alerts::read(source, &files, &alerts::Limits::default(), |alert| found.push(alert));
        (found, report)
    });
    let (found, report) = read.await.map_err(|_| {
        Failure::new("a file makes the parser fail; nothing was imported").hint("import the files one by one")
    })?;
    let context = session::new(&Resources::default())?;
    let raised = alerts::raise(&store, &context, &found, Utc::now()).await?;
    if args.json {
        print_json(&serde_json::json!({ "read": report, "raised": raised }))?;
    } else {
        say(&raised_text(&report, &raised))?;
    }
    if report.alerts == 0 {
        Err(Failure::new("there is no alert in it").hint("is it the JSON output of the tool?"))
    } else if report.failed == 0 && report.problems.is_empty() {
        Ok(Ending::Done)
    } else {
        Ok(Ending::Partial)
    }
}

fn raised_text(report: &alerts::Report, raised: &alerts::Raised) -> String {
    let mut text = format!(
        "{} records in {} files: {} alerts, {} that are none, {} that cannot be used\n{} signals written, {} there already",
        report.records,
        report.files,
        report.alerts,
        report.skipped,
        report.failed,
        raised.written,
        raised.present
    );
    let contexts: Vec<_> = raised.contexts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    if !contexts.is_empty() {
        text += &format!("\n  {}", contexts.join(", "));
    }
    if raised.suppressed > 0 {
        text += &format!("\n{} of the signals are hidden by suppressions", raised.suppressed);
    }
    for (reason, count) in &report.reasons {
        text += &format!("\n{count} {reason}");
    }
    for problem in &report.problems {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        text += &format!("\n  {}{line}\n    {}", for_display(&problem.file), for_display(&problem.reason));
    }
    text
}

fn text(report: &Report) -> String {
    let mut text = format!(
        "{} snapshots written, {} there already, from {} objects in {} files",
        report.written, report.present, report.objects, report.files
    );
    for (problems, what) in [(&report.skipped, "skipped"), (&report.failed, "failed")] {
        if !problems.is_empty() {
            text += &format!("\n{} {what}", problems.len());
        }
        for Problem { file, object, reason } in problems {
            let object = object.iter().map(|object| format!(": {object}")).collect::<String>();
            let about = format!("{file}{object}");
            text += &format!("\n  {}\n    {}", for_display(&about), for_display(reason));
        }
    }
    text
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        let store = matches!(error, ImportError::Store { .. });
        let failure = Self::new(error);
        if store {
            failure.hint("check the URL, the network and the credentials; run the same command again")
        } else {
            failure
        }
    }
}
