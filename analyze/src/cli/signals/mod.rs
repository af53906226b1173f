//! `wsp signals`: alerts, together where they are about one thing; one of them with what its profile says.

mod one;

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use datafusion::common::ScalarValue;
use datafusion::prelude::SessionContext;
use wsp_schemas::image::Workload;
use wsp_schemas::store::Access;

use super::output::{Format, note, print, say};
use super::profile::{images, near};
use super::{Ending, Failure, StoreArgs, parse_time};
use crate::rules::Severity;
use crate::views;

#[derive(Debug, clap::Args)]
#[command(
    subcommand_negates_reqs = true,
    after_help = "What the profile of the image says of it (--context): unseen, the stable profile does not have it; known, it has it, in the \
                  share of its containers that the commonality tells: what one of many did is rare, and it may have been an attack that was learned; \
                  learning, it is not stable yet; no_profile. A weak match is by executable and target alone, since the lineage is not known for certain."
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, env = "WSP_STORE", value_name = "URL", required = true)]
    store: Option<String>,
    #[command(flatten)]
    access: Access,
    /// Only of this image, as in nginx:1.25
    #[arg(long, value_name = "IMAGE:TAG")]
    image: Option<String>,
    /// Only of this rule
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Only of this severity or worse
    #[arg(long, value_enum, default_value_t)]
    severity: Least,
    /// Only where the profile says this
    #[arg(long, value_enum)]
    context: Option<ContextArg>,
    /// Open ones, suppressed ones, or all
    #[arg(long, value_enum, default_value_t)]
    state: StateArg,
    /// Only of this tool: wsp, falco, tetragon, kubescape
    #[arg(long, value_name = "TOOL")]
    source: Option<String>,
    /// Only of this host
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only of this container: its name, or the beginning of its id
    #[arg(long, value_name = "NAME|ID")]
    container: Option<String>,
    /// Only what happened since then
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<DateTime<Utc>>,
    /// One row a signal, the newest first; else those that are about one thing stand together, the worst first
    #[arg(long)]
    each: bool,
    /// Rows
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show one signal, with its process tree and what the profile says of it
    Show(ShowArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The signal: its id, or the beginning of it
    #[arg(value_name = "SIGNAL")]
    id: String,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum, Default)]
enum Least {
    #[default]
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum ContextArg {
    Unseen,
    Known,
    Learning,
    NoProfile,
}

#[derive(Debug, Clone, Copy, ValueEnum, Default)]
enum StateArg {
    #[default]
    Open,
    Suppressed,
    All,
}

const GROUPED: &str = concat!(include_str!("chosen.sql"), include_str!("grouped.sql"));
const EACH: &str = concat!(include_str!("chosen.sql"), include_str!("each.sql"));

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    if let Some(Command::Show(args)) = args.command {
        let store = args.store.open()?;
        let context = views::open(&store).await?;
        say(&one::show(&context, &args.id, &args.store.typed()?).await?)?;
        return Ok(Ending::Done);
    }
    let place = args.store.as_deref().unwrap_or_default();
    let store = super::open(place, &args.access)?;
    let context = views::open(&store).await?;
    let frame = views::query(&context, if args.each { EACH } else { GROUPED }).await?;
    let frame = frame.with_param_values(parameters(&args)?)?;
    let schema = frame.schema().as_arrow().clone();
    let found = frame.collect().await?;
    if found.iter().all(|batch| batch.num_rows() == 0) {
        explain_none(&context, &super::typed(place, &args.access)?, args.image.as_deref()).await?;
    }
    print(&schema, &found, args.format)?;
    Ok(Ending::Done)
}

/// No rows are an answer, but not where nobody has looked, or where the image is misspelt.
async fn explain_none(context: &SessionContext, at: &str, image: Option<&str>) -> Result<(), Failure> {
    if let Some(image) = image {
        let wanted = Workload::parse(image).map_err(Failure::new)?.to_string();
        let mut known = images(context, "signals").await?;
        known.extend(images(context, "profiles").await?);
        known.sort();
        known.dedup();
        if !known.contains(&wanted) {
            let failure = Failure::new(format!("the store has neither signals nor a profile of {wanted}"));
            return Err(failure.hint(near(known, &wanted)));
        }
    }
    let any = views::query(context, "SELECT signal_id FROM signals LIMIT 1").await?.collect().await?;
    if any.iter().all(|batch| batch.num_rows() == 0) {
        note(&format!("the store has no signals: `wsp detect {at}` looks for them in its snapshots"))?;
    }
    Ok(())
}

fn parameters(args: &Args) -> Result<Vec<(&'static str, ScalarValue)>, Failure> {
    let text = |text: Option<String>| ScalarValue::Utf8(text);
    let image = match &args.image {
        Some(image) => Some(Workload::parse(image).map_err(Failure::new)?.to_string()),
        None => None,
    };
    let least = match args.severity {
        Least::Low => Severity::Low,
        Least::Medium => Severity::Medium,
        Least::High => Severity::High,
        Least::Critical => Severity::Critical,
    };
    let rank = Severity::ALL.iter().position(|severity| *severity == least).unwrap_or_default();
    let context = args.context.map(|context| {
        match context {
            ContextArg::Unseen => "unseen",
            ContextArg::Known => "known",
            ContextArg::Learning => "learning",
            ContextArg::NoProfile => "no_profile",
        }
        .to_owned()
    });
    let state = match args.state {
        StateArg::Open => "open",
        StateArg::Suppressed => "suppressed",
        StateArg::All => "all",
    };
    let since = args.since.map(|since| since.timestamp_micros());
    Ok(vec![
        ("image", text(image)),
        ("rule", text(args.rule.clone())),
        ("context", text(context)),
        ("source", text(args.source.clone())),
        ("host", text(args.host.clone())),
        ("container", text(args.container.clone())),
        ("since", ScalarValue::TimestampMicrosecond(since, Some("UTC".into()))),
        ("severity", ScalarValue::Int64(i64::try_from(rank).ok())),
        ("state", text(Some(state.to_owned()))),
        ("limit", ScalarValue::Int64(Some(i64::from(args.limit)))),
    ])
}
