use arrow::datatypes::{Field, Schema};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use wsp_schemas::image::Workload;
use wsp_schemas::keys::show_time;
use wsp_schemas::store::Access;
use wsp_schemas::text::for_display;

use super::output::{Format, print, say};
use super::{Ending, Failure, StoreArgs, parse_time};
use crate::jobs::merge::{self, Options};
use crate::views;

#[derive(Debug, clap::Args)]
#[command(subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, env = "WSP_STORE", value_name = "URL", required = true)]
    store: Option<String>,
    #[command(flatten)]
    access: Access,
    /// Form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a new revision of a stable profile; the old one stays as it is
    Relearn(RelearnArgs),
}

#[derive(Debug, clap::Args)]
struct RelearnArgs {
    /// The image, as in nginx:1.25
    #[arg(value_name = "IMAGE:TAG")]
    image: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Learn from windows that start at this time or later, but for what `wsp compact` has moved away [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<DateTime<Utc>>,
}

const SQL: &str = include_str!("profiles.sql");

/// Columns that a terminal shows under a shorter name; programs get the view's.
const HEADINGS: [(&str, &str); 5] = [
    ("revision", "rev"),
    ("snapshot_count", "snapshots"),
    ("container_count", "containers"),
    ("host_count", "hosts"),
    ("last_window_end", "last_seen"),
];

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let Args { command, store, access, format } = args;
    if let Some(Command::Relearn(args)) = command {
        return relearn(args).await;
    }
    let store = super::open(store.as_deref().unwrap_or_default(), &access)?;
    let context = views::open(&store).await?;
    list(&context, format).await?;
    Ok(Ending::Done)
}

async fn relearn(args: RelearnArgs) -> Result<Ending, Failure> {
    let workload = Workload::parse(&args.image).map_err(Failure::new)?;
    let store = args.store.open()?;
    let now = Utc::now();
    let since = args.since.unwrap_or(now);
    if since > now {
        return Err(Failure::new(format!(
            "--since {} lies in the future: no window starts there yet",
            show_time(since)
        ))
        .hint("leave it out to learn from now on, or name an earlier time"));
    }
    let opened = merge::relearn(&store, &workload, since, &Options::default()).await?;
    say(&format!(
        "{} learns anew: revision {}, from windows that start at {} or later; the next `wsp merge` admits them,\n\
         however long ago they were uploaded, but for those that `wsp compact` has moved into `activity`",
        for_display(&workload.to_string()),
        opened.revision,
        show_time(opened.since)
    ))?;
    Ok(Ending::Done)
}

pub(super) async fn list(
    context: &datafusion::prelude::SessionContext,
    format: Format,
) -> Result<(), Failure> {
    let frame = views::query(context, SQL).await?;
    let schema = match format {
        Format::Table => with_headings(frame.schema().as_arrow()),
        Format::Json | Format::Csv | Format::Parquet => frame.schema().as_arrow().clone(),
    };
    print(&schema, &frame.collect().await?, format)
}

fn with_headings(schema: &Schema) -> Schema {
    let field = |field: &Field| match HEADINGS.iter().find(|(name, _)| name == field.name()) {
        Some((_, heading)) => field.clone().with_name(*heading),
        None => field.clone(),
    };
    Schema::new(schema.fields().iter().map(|known| field(known)).collect::<Vec<_>>())
}
