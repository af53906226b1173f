//! What comes after a profile is stable: counted, and learned anew on purpose only.

use std::time::Duration;

use arrow::array::AsArray;
use chrono::TimeDelta;
use datafusion::prelude::SessionContext;
use wsp_schemas::image::Workload;
use wsp_schemas::store::Store;

use super::super::fixture::{epoch, shot, store};
use super::super::{Options, relearn};
use super::{merge, options, rows};
use crate::tables::ProfileTables;

#[tokio::test]
async fn a_profile_is_learned_anew_on_purpose_only() {
    let store = store();
    let workload = Workload::parse("app:1").unwrap();
    let two = Options { max_snapshots: 2, ..options() };
    for at in 0..2 {
        shot("app:1", at, i64::from(at), &["/a"]).put(&store).await;
    }
    let since = epoch() + TimeDelta::hours(1);
    merge(&store, &Options { max_snapshots: 3, ..options() }).await;
    let error = relearn(&store, &workload, since, &two).await.unwrap_err();
    assert!(error.to_string().contains("revision 1 is still learning"), "{error}");
    merge(&store, &two).await;
    let old = rows(&store, "select content_hash from profiles").await;
    let opened = relearn(&store, &workload, since, &two).await.unwrap();
    assert_eq!((opened.revision, opened.since), (2, since));
    let listed = "select revision, status, snapshot_count from profiles order by 1";
    assert_eq!(rows(&store, listed).await, ["1|stable|2", "2|learning|0"]);
    // From before it was opened, and from after.
    for (container, start) in [(7, 30), (8, 90), (9, 95)] {
        shot("app:1", container, start, &["/b"]).put(&store).await;
    }
    let report = merge(&store, &two).await;
    assert_eq!((report.admitted, report.frozen, report.after_freeze), (2, 1, 1));
    assert_eq!(rows(&store, listed).await, ["1|stable|2", "2|stable|2"]);
    assert_eq!(rows(&store, "select content_hash from profiles where revision = 1").await, old);
    let nodes = "select revision, target, container_count from nodes where kind = 'file' order by 1, 2";
    assert_eq!(rows(&store, nodes).await, ["1|/a|2", "2|/b|2"]);
    let error = relearn(&store, &Workload::parse("other:1").unwrap(), since, &two).await.unwrap_err();
    assert!(error.to_string().contains("other:1"), "{error}");
}

/// What the ledger counted after the freeze, by revision.
async fn counted(store: &Store) -> Vec<String> {
    let tables = ProfileTables::open(store).await.unwrap();
    let context = SessionContext::new();
    context.register_table("ledger", tables.ledger.provider().await.unwrap()).unwrap();
    let counts = "select concat(revision, '|', sum(snapshots)) as count from ledger where outcome = 'after_freeze' group by revision order by 1";
    let counts = context.sql(counts).await.unwrap().collect().await.unwrap();
    counts
        .iter()
        .flat_map(|batch| batch["count"].as_string::<i32>().iter().flatten().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn hours_after_the_freeze_are_counted_whatever_the_next_look_back_is() {
    let store = store();
    let long = Options { max_snapshots: 1, look_back: Duration::from_secs(20 * 3600), ..options() };
    let short = Options { look_back: Duration::from_secs(3600), ..long.clone() };
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    shot("other:1", 1, 0, &["/a"]).put(&store).await;
    merge(&store, &long).await;
    shot("app:1", 2, 120, &["/a"]).put(&store).await;
    shot("app:1", 3, 600, &["/a"]).put(&store).await;
    merge(&store, &long).await;
    assert!(counted(&store).await.is_empty(), "both hours are in the look-back");
    shot("other:1", 2, 3600, &["/a"]).put(&store).await;
    merge(&store, &short).await;
    assert_eq!(counted(&store).await, ["1|2"]);
}

#[tokio::test]
async fn what_came_before_a_new_revision_is_counted_at_the_one_before() {
    let store = store();
    let workload = Workload::parse("app:1").unwrap();
    let one = Options { max_snapshots: 1, look_back: Duration::from_secs(3600), ..options() };
    shot("app:1", 1, 0, &["/a"]).put(&store).await;
    shot("app:1", 2, 30, &["/a"]).put(&store).await;
    merge(&store, &one).await;
    relearn(&store, &workload, epoch() + TimeDelta::hours(2), &one).await.unwrap();
    shot("other:1", 1, 600, &["/a"]).put(&store).await;
    merge(&store, &one).await;
    assert_eq!(counted(&store).await, ["1|1"]);
}
