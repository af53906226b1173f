use arrow::datatypes::{Field, Schema};

use super::output::{Format, print};
use super::{Ending, Failure, StoreArgs};
use crate::views;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    store: StoreArgs,
    /// Form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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
    let store = args.store.open()?;
    let context = views::open(&store).await?;
    list(&context, args.format).await?;
    Ok(Ending::Done)
}

pub(super) async fn list(
    context: &datafusion::prelude::SessionContext,
    format: Format,
) -> Result<(), Failure> {
    let frame = views::query(context, SQL).await?;
    let schema = match format {
        Format::Table => with_headings(frame.schema().as_arrow()),
        Format::Json | Format::Csv => frame.schema().as_arrow().clone(),
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
