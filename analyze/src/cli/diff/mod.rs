//! `wsp diff`: two profiles, node by node.

mod report;
mod rows;

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use wsp_schemas::image::Workload;

use super::output::{Format, print, say};
use super::profile::find;
use super::show::parse_share;
use super::{Ending, Failure, StoreArgs};
use crate::compare::{self, MIN_CHANGE, compare};
use crate::rows::Reader;
use crate::views;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The first profile, as in nginx:1.25
    #[arg(value_name = "IMAGE:TAG-A")]
    first: String,
    /// The second one [default: the first, with --revisions]
    #[arg(value_name = "IMAGE:TAG-B", required_unless_present = "revisions")]
    second: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Compare these revisions [default: the newest of each]
    #[arg(long, value_name = "A,B", value_parser = parse_revisions)]
    revisions: Option<(i32, i32)>,
    /// Show commonalities that differ by at least this share, or with p below 0.01
    #[arg(long, value_name = "SHARE", default_value_t = MIN_CHANGE, value_parser = parse_share)]
    min_change: f64,
    /// Nodes shown under one process, in a table; 0 for all
    #[arg(long, value_name = "N", default_value_t = 25)]
    limit: usize,
    /// Form of the output; all but the table have one row a node that differs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One of the two profiles.
struct Side {
    /// Its row of the view `profiles`.
    head: RecordBatch,
    profile: compare::Side,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let first = Workload::parse(&args.first).map_err(Failure::new)?;
    let second = args.second.as_deref().map_or_else(|| Ok(first.clone()), Workload::parse);
    let second = second.map_err(Failure::new)?;
    let (revision_a, revision_b) = args.revisions.unzip();
    let store = args.store.open()?;
    let context = views::open(&store).await?;
    let a = Side::open(&context, first, revision_a).await?;
    let b = Side::open(&context, second, revision_b).await?;
    if a.profile.workload == b.profile.workload && a.profile.revision == b.profile.revision {
        return Err(Failure::new(format!(
            "both are revision {} of the profile {}: there is nothing to compare",
            a.profile.revision, a.profile.workload
        ))
        .hint("name another image, or two of its revisions, as in --revisions 1,2"));
    }
    let nodes = compare(&context, &a.profile, &b.profile, args.min_change).await?;
    if args.format == Format::Table {
        say(&report::text(&a, &b, &nodes, args.limit))?;
    } else {
        let batch = rows::batch(&nodes)?;
        print(&batch.schema(), std::slice::from_ref(&batch), args.format)?;
    }
    Ok(Ending::Done)
}

fn parse_revisions(text: &str) -> Result<(i32, i32), String> {
    let number = |text: &str| text.trim().parse().ok().filter(|number: &i32| *number > 0);
    text.split_once(',')
        .and_then(|(a, b)| Some((number(a)?, number(b)?)))
        .ok_or_else(|| "two revisions are numbers with a comma between them, as in 1,2".to_owned())
}

impl Side {
    async fn open(
        context: &SessionContext,
        workload: Workload,
        revision: Option<i32>,
    ) -> Result<Self, Failure> {
        let head = find(context, &workload, revision).await?;
        let revision = Reader::new(&head).int32("revision", 0).unwrap_or_default();
        Ok(Self { head, profile: compare::Side::open(context, workload, revision).await? })
    }

    fn count(&self, name: &str) -> i32 {
        Reader::new(&self.head).int32(name, 0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_two_numbers() {
        assert_eq!(parse_revisions("1,2"), Ok((1, 2)));
        for text in ["", "1", "1,", "0,1", "1,2,3", "a,b", "-1,2"] {
            assert!(parse_revisions(text).unwrap_err().contains("as in 1,2"), "{text}");
        }
    }
}
