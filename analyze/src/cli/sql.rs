use std::path::PathBuf;

use super::output::{Format, print};
use super::{Ending, Failure, StoreArgs};
use crate::views;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Views: profiles (one row a profile), nodes (one row a node), snapshots (one row a snapshot), \
                        signals (one row an alert), suppressions (one row a suppression, or a suggestion of one), \
                        activity (one row a node of a snapshot that `wsp compact` moved). \
                        `DESCRIBE nodes` lists the columns; the tables behind the views are in the schema `raw`."
)]
pub(super) struct Args {
    /// The query; it can only read
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    query: Option<String>,
    /// Read the query from a file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    /// Form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let query = match (args.query, args.file) {
        (Some(query), _) => query,
        (None, Some(file)) => std::fs::read_to_string(&file).map_err(|error| {
            Failure::new(error).hint(format!("the query is read from `{}`", file.display()))
        })?,
        (None, None) => return Err(Failure::new("no query was given")),
    };
    let store = args.store.open()?;
    let context = views::open(&store).await?;
    answer(&context, &query, args.format).await?;
    Ok(Ending::Done)
}

pub(super) async fn answer(
    context: &datafusion::prelude::SessionContext,
    query: &str,
    format: Format,
) -> Result<(), Failure> {
    let frame = views::query(context, query).await?;
    let schema = frame.schema().as_arrow().clone();
    print(&schema, &frame.collect().await?, format)
}
