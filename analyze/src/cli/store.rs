use clap::Subcommand;
use wsp_schemas::image::Workload;
use wsp_schemas::store::{Access, Missing, Store, advice_on};
use wsp_schemas::text::for_display;

use super::output::{print_json, rows, say};
use super::progress::Bar;
use super::{Ending, Failure};
use crate::jobs::store::check::{self, Outcome};
use crate::jobs::store::verify::{self, Difference, VerifyError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prove that a store does what snapshots and profiles rely on, put-if-absent above all
    Check(CheckArgs),
    /// Recompute what the profile tables say about themselves, and name what differs
    Verify(VerifyArgs),
}

/// A store as an argument or an option.
#[derive(Debug, clap::Args)]
struct Target {
    /// Folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(value_name = "URL", required_unless_present = "store")]
    url: Option<String>,
    /// The same, as an option
    #[arg(long, env = "WSP_STORE", value_name = "URL")]
    store: Option<String>,
    #[command(flatten)]
    access: Access,
}

impl Target {
    /// The argument comes before the environment; beside the option it would be a second store.
    fn open(&self) -> Result<Store, Failure> {
        let url = match (&self.url, &self.store) {
            (Some(url), Some(store)) if url != store && std::env::var("WSP_STORE").as_ref() != Ok(store) => {
                return Err(Failure::new(format!("two stores were given: `{url}` and `{store}`"))
                    .hint("leave one of them out"));
            }
            (Some(url), _) | (None, Some(url)) => url,
            (None, None) => {
                return Err(Failure::new("no store was given").hint("name one: a folder or a URL"));
            }
        };
        Ok(self.access.open(url, Missing::Refuse)?)
    }
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Everything is written below trials/ and removed again. Run it once before a store is used, \
                  and from a host that merges."
)]
struct CheckArgs {
    #[command(flatten)]
    store: Target,
    /// Races for one key
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Writers in a race
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    writers: u16,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Compared are, for every profile revision: the content hash of its node rows, its counts,                         the ordinals in the ledger and in the nodes' members; and the size of every snapshot object \
                        that is still there, or the content hash of one that `wsp compact` moved. Nothing is changed."
)]
struct VerifyArgs {
    #[command(flatten)]
    store: Target,
    /// Only the profile of this image
    #[arg(long, value_name = "IMAGE:TAG")]
    image: Option<String>,
    /// Read the snapshot objects too, and compare their content hashes
    #[arg(long)]
    deep: bool,
    /// Objects that are looked at at the same time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    match args.command {
        Command::Check(args) => check(&args).await,
        Command::Verify(args) => verify(&args).await,
    }
}

async fn check(args: &CheckArgs) -> Result<Ending, Failure> {
    let store = args.store.open()?;
    let options = check::Options {
        rounds: usize::from(args.rounds),
        writers: usize::from(args.writers),
        ..check::Options::default()
    };
    let bar = Bar::new();
    let stop = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let report = check::run(&store, &options, &bar, stop).await;
    drop(bar);
    if args.json {
        print_json(&report)?;
    } else {
        say(&check_text(&report))?;
    }
    Ok(if report.is_ok() { Ending::Done } else { Ending::Failed })
}

fn check_text(report: &check::Report) -> String {
    let lines = report.checks.iter().map(|check| {
        let (outcome, seen) = match check.outcome {
            Outcome::Ok => ("ok", check.detail.clone()),
            Outcome::Failed => ("FAILED", String::new()),
            Outcome::NotTried => ("not tried", String::new()),
        };
        [check.property.title().to_owned(), outcome.to_owned(), seen]
    });
    let mut text = rows(["check", "result", "seen"], lines);
    if !report.latency.is_empty() {
        let medians = report.latency.iter();
        let medians: Vec<String> =
            medians.map(|latency| format!("{} {:.1} ms", latency.request, latency.median_ms)).collect();
        text += &format!("\nmedian latency: {}", medians.join(", "));
    }
    let failed = || report.checks.iter().filter(|check| check.outcome == Outcome::Failed);
    for check in failed() {
        let (title, detail) = (check.property.title(), for_display(&check.detail));
        text += &format!("\n\n{title}: {detail}\n  {}", check.meaning);
    }
    for left in &report.left_behind {
        let (object, reason) = (for_display(&left.object), for_display(&left.reason));
        text += &format!("\n\ncould not be removed: {object}: {reason}");
    }
    let name = for_display(&report.store);
    let complete = report.checks.iter().all(|check| check.outcome != Outcome::NotTried);
    text += &match (failed().next(), complete) {
        (None, true) => format!("\n{name} can be used as a store"),
        (None, false) => format!("\nthe check of {name} was stopped"),
        (Some(_), true) => format!("\n\n{name} must not be used as a store"),
        (Some(_), false) => {
            let advice = failed().find_map(|check| advice_on(&format!("{name}: {}", check.detail)));
            let advice = advice.as_deref().unwrap_or("check the URL, the network and the credentials");
            format!("\n\n{name} cannot be written to: {advice}")
        }
    };
    text
}

async fn verify(args: &VerifyArgs) -> Result<Ending, Failure> {
    let workload = args.image.as_deref().map(Workload::parse).transpose().map_err(Failure::new)?;
    let store = args.store.open()?;
    let options = verify::Options {
        workload,
        deep: args.deep,
        concurrency: usize::from(args.concurrency),
        ..verify::Options::default()
    };
    let bar = Bar::new();
    let verified = verify::run(&store, &options, &bar).await;
    let report = verified.map_err(|error| Failure::from(error).on(&store))?;
    drop(bar);
    if args.json {
        print_json(&report)?;
    } else {
        say(&verify_text(&report))?;
    }
    Ok(if report.is_ok() { Ending::Done } else { Ending::Failed })
}

fn verify_text(report: &verify::Report) -> String {
    let mut text = format!(
        "{} profile revisions with {} nodes recomputed; {} snapshot objects compared",
        report.profiles, report.nodes, report.objects
    );
    if report.objects_hashed > 0 {
        text += &format!(", {} of them hashed", report.objects_hashed);
    }
    if report.objects_compacted > 0 {
        text += &format!("; {} are in activity", report.objects_compacted);
    }
    if report.objects_gone > 0 {
        text += &format!("; {} are not in the store any more", report.objects_gone);
    }
    if report.is_ok() {
        return text + "\nnothing differs";
    }
    let lines = report.differences.iter().map(|difference| {
        let Difference { what, expected, found, .. } = difference;
        [subject(difference), what.clone(), expected.clone(), found.clone()]
    });
    text += &format!("\n{}", rows(["where", "what", "expected", "found"], lines));
    if report.further_differences > 0 {
        text += &format!("\nand {} further differences", report.further_differences);
    }
    text
}

fn subject(difference: &Difference) -> String {
    match (&difference.profile, difference.revision, &difference.object) {
        (Some(profile), Some(revision), None) => format!("{profile} revision {revision}"),
        (_, _, Some(object)) => object.clone(),
        (Some(profile), None, None) => profile.clone(),
        (None, ..) => "tables".to_owned(),
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Table(error) => error.into(),
            error @ VerifyError::NoProfile { .. } => {
                Self::new(error).hint("`wsp profiles` lists the images that have one")
            }
            error @ VerifyError::Rows(_) => Self::new(error),
        }
    }
}
