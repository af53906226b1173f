use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use wsp_schemas::store::{self, Missing};
use wsp_schemas::text::for_display;

use super::output::{print_json, say};
use super::{Ending, Failure, StoreArgs};
use crate::jobs::import::{self, ImportError, Options, Problem, Report};

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
    let Source::Kubescape(args) = args.source;
    let store = store::open(&args.store.store, Missing::Create)?;
    let options = Options { cluster: args.cluster_from.into(), ..Options::default() };
    let report = import::kubescape::run(&store, &args.files, &options).await?;
    if args.json {
        print_json(&report)?;
    } else {
        say(&text(&report))?;
    }
    if report.written + report.present == 0 {
        Err(Failure::new("nothing was imported"))
    } else if report.failed.is_empty() {
        Ok(Ending::Done)
    } else {
        Ok(Ending::Partial)
    }
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
