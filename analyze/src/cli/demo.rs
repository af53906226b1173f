use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use wsp_schemas::image::Workload;
use wsp_schemas::keys::{self, SnapshotKey};
use wsp_schemas::store::{Access, Missing, Store};
use wsp_schemas::tables::PROFILE_SNAPSHOTS;
use wsp_schemas::text::for_display;

use super::output::{Format, say};
use super::progress::Bar;
use super::show::{self, Limits};
use super::{Ending, Failure, merge, profiles, sql, typed};
use crate::jobs::merge::{self as job, Options};
use crate::tables::ProfileTables;
use crate::views;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder that becomes the store
    #[arg(long, value_name = "FOLDER", default_value = "wsp-demo")]
    dir: String,
    /// The store instead of a folder: file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    // Not from the environment: what stands there is a store that is in use.
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    store: Option<String>,
    #[command(flatten)]
    access: Access,
}

const IMAGE: &str = "localhost/demo/web:1.22";
const QUERY: &str = "select kind, count(*) as nodes, avg(commonality) as commonality from nodes group by kind order by nodes desc";

/// A snapshot that is not the demo's, or a table where there is no snapshot of its.
async fn stranger(store: &Store) -> Result<Option<String>, Failure> {
    let own: HashSet<&str> = wsp_datasets::recordings::recordings().map(|(key, _)| key).collect();
    let mut is_own = false;
    let mut objects = store.objects.list(Some(&Path::from(keys::SNAPSHOTS)));
    while let Some(object) = objects.try_next().await.map_err(Failure::new)? {
        if !own.contains(object.location.as_ref()) {
            return Ok(Some(object.location.to_string()));
        }
        is_own = true;
    }
    let is_made = !is_own && ProfileTables::are_made(store).await?;
    Ok(is_made.then(|| keys::table(PROFILE_SNAPSHOTS.name)))
}

pub(super) async fn run(args: Args) -> Result<Ending, Failure> {
    let place = args.store.unwrap_or(args.dir);
    let store = args.access.open(&place, Missing::Create)?;
    let at = typed(&place, &args.access)?;
    if let Some(other) = stranger(&store).await? {
        return Err(Failure::new(format!(
            "{store} has `{}`, which is none of the demo's: its profiles would be merged, too",
            for_display(&other)
        ))
        .hint("name one that is new, or one of an earlier demo, with --dir or --store"));
    }
    let copied = wsp_datasets::recordings::copy_to(&store).await.map_err(Failure::new)?;
    say(&format!(
        "# The store {store} has {} recorded snapshots of real containers\n\n$ wsp merge {at}",
        copied.written + copied.present
    ))?;
    let bar = Bar::new();
    // The clock stands where the recordings end, so that the demo shows the same on any day.
    let keys = wsp_datasets::recordings::recordings().filter_map(|(key, _)| SnapshotKey::parse(key).ok());
    let recorded = keys.map(|key| key.window_end_ms).max().and_then(DateTime::from_timestamp_millis);
    let options = Options { as_of: recorded.unwrap_or_else(Utc::now), ..Options::default() };
    let report = job::run(&store, &options, &bar).await?;
    drop(bar);
    say(&merge::text(&report, false))?;

    let context = views::open(&store).await?;
    say(&format!("\n$ wsp profiles {at}"))?;
    profiles::list(&context, Format::Table).await?;

    say(&format!("\n$ wsp show {IMAGE} {at} --limit 8"))?;
    let workload = Workload::parse(IMAGE).map_err(Failure::new)?;
    show::profile(&context, &workload, None, &Limits { min_commonality: 0.0, facts: 8 }, Format::Table)
        .await?;

    say(&format!("\n$ wsp sql \"{QUERY}\" {at}"))?;
    sql::answer(&context, QUERY, Format::Table).await?;

    say(&format!(
        "\n# The store is {place}. Next:\n\
         #   wsp show localhost/demo/db:15 {at}\n\
         #   wsp sql \"select exe, path, commonality from nodes where kind = 'file' and rare\" {at}\n\
         #   wsp sql \"describe nodes\" {at}\n\
         # Record your own containers (as root, on Linux 6.1 or later):\n\
         #   wsp-capture doctor\n\
         #   wsp-capture run --interval 5m {at}"
    ))?;
    let whole = report.quarantined.is_empty() && report.unavailable.is_empty();
    Ok(if whole { Ending::Done } else { Ending::Partial })
}
