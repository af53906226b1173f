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
    let schema = frame.schema().as_arrow().clone();
    print(&schema, &frame.collect().await?, format)
}
