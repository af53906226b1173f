//! `wsp sql`: one query, a file of them, or a conversation.

mod repl;

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use datafusion::prelude::SessionContext;

use super::output::{Format, print};
use super::{Ending, Failure, StoreArgs};
use crate::engine::Engine;
use crate::views::{self, Rights};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Views: profiles (one row a profile), nodes (one row a node), snapshots (one row a snapshot), \
                        signals (one row an alert), suppressions (one row a suppression, or a suggestion of one), rules, \
                        activity (one row a node of a snapshot that `wsp compact` moved). \
                        `DESCRIBE nodes` says what its columns mean, `docs` has all of them; the tables behind the views are in \
                        the schema `raw`. Without a query, at a terminal, it asks for one after the other: \\? lists what else it \
                        knows. From a pipe it reads queries that end in `;`."
)]
pub(super) struct Args {
    /// The query; it can only read
    #[arg(conflicts_with = "file")]
    query: Option<String>,
    /// Read queries from a file, each ended by `;`
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
    #[cfg(feature = "distributed")]
    #[command(flatten)]
    cluster: super::cluster::ClusterArgs,
    /// Form of the output
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Let statements do anything that the engine can: read files of this host as tables, and write them with COPY
    #[arg(long)]
    local_files: bool,
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let text = match (args.query, args.file) {
        (Some(query), _) => Some(query),
        (None, Some(file)) => Some(std::fs::read_to_string(&file).map_err(|error| {
            Failure::new(error).hint(format!("the query is read from `{}`", file.display()))
        })?),
        (None, None) if std::io::stdin().is_terminal() => None,
        (None, None) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            Some(text)
        }
    };
    let store = args.store.open()?;
    // The files of this host are not those of executors.
    #[cfg(feature = "distributed")]
    let engine = if args.local_files { Engine::Here } else { args.cluster.engine() };
    #[cfg(not(feature = "distributed"))]
    let engine = Engine::Here;
    let mut context = views::open_for(&store, &engine).await?;
    let mut rights = Rights::Read;
    if args.local_files {
        context = context.enable_url_table();
        rights = Rights::All;
    }
    let Some(text) = text else {
        return repl::Repl::new(&store, context, engine, rights, args.format).await?.run().await;
    };
    let statements = views::statements(&text)?;
    if statements.is_empty() {
        return Err(Failure::new("no query was given"));
    }
    for statement in statements {
        let frame = views::run(&context, statement, rights).await?;
        let schema = frame.schema().as_arrow().clone();
        let rows = engine.collect(frame).await.map_err(views::QueryError::from)?;
        print(&schema, &rows, args.format)?;
    }
    Ok(Ending::Done)
}

pub(super) async fn answer(context: &SessionContext, query: &str, format: Format) -> Result<(), Failure> {
    let frame = views::query(context, query).await?;
    let schema = frame.schema().as_arrow().clone();
    print(&schema, &frame.collect().await?, format)
}
