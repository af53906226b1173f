//! Profile rows.

use polars::prelude::{DataType, IntoLazy, JoinType, LazyFrame, PolarsResult, by_name, col, len, lit};

use super::nodes::Made;
use super::read::Admitted;
use super::{REVISION, cols, join, rows, stats, with};
use crate::delta::profile_key;
use crate::value::{Row, Value, cell_of};

/// The rows of all revisions, without what the ledger says of them anyway.
pub(super) fn rows(admitted: &Admitted, made: &Made) -> PolarsResult<Vec<Row>> {
    let (n, all) = ("container_count", "eligible_containers");
    let count = |column| col(column).n_unique().cast(DataType::Int64);
    let seen = admitted.snapshots.clone().group_by(cols(&REVISION)).agg([
        len().cast(DataType::Int64).alias("snapshot_count"),
        count("container").alias("containers"),
        count("host").alias("host_count"),
        col("window_start").filter(col("ordinal").eq(lit(0))).first().alias("first_window_start"),
        col("window_end").max().alias("last_window_end"),
        col("digest").drop_nulls().unique().sort(Default::default()).alias("digests"),
    ]);
    let shown = made.shown.clone().lazy();
    let with_count = |k: i64| col(n).eq(lit(k)).cast(DataType::Int64).sum();
    let nodes = shown.clone().group_by(cols(&REVISION)).agg([
        len().cast(DataType::Int64).alias("nodes"),
        stats::jaccard(n, all).alias("commonality"),
        col(n).sum().alias("incidences"),
        with_count(1).alias("in_one"),
        with_count(2).alias("in_two"),
    ]);
    let (coverage, novel) =
        stats::coverage(col("containers"), col("incidences"), col("in_one"), col("in_two"));
    let profiles = join(admitted.revisions.clone(), &seen, &REVISION, JoinType::Left);
    let profiles = join(profiles, &nodes, &REVISION, JoinType::Left)
        .with_columns(
            ["snapshot_count", "containers", "host_count", "nodes"]
                .map(|name| col(name).fill_null(lit(0_i64))),
        )
        .with_columns([coverage.alias("coverage"), novel.alias("expected_novel_nodes")])
        .rename(["containers"], ["container_count"], true)
        .drop(by_name(["incidences", "in_one", "in_two"], true, false));

    let of_kind = with(&REVISION, &["kind"]);
    let by_kind = shown.group_by(cols(&of_kind)).agg([
        len().cast(DataType::Int64).alias("nodes_by_kind"),
        stats::jaccard(n, all).alias("commonality_by_kind"),
    ]);
    let mut profiles = rows::of(&profiles.collect()?)?;
    let completeness = completeness(admitted)?;
    for (name, kinds) in
        [("nodes_by_kind", &by_kind), ("commonality_by_kind", &by_kind), ("completeness", &completeness)]
    {
        let named = join(kinds.clone(), &admitted.revisions, &REVISION, JoinType::Inner);
        let kinds = rows::of(&named.collect()?)?;
        for profile in &mut profiles {
            let mine = kinds.iter().filter(|row| profile_key(row) == profile_key(profile));
            let cells = mine.filter(|row| *cell_of(row, name) != Value::Null).filter_map(|row| {
                Some((cell_of(row, "kind").text()?.to_owned(), cell_of(row, name).clone()))
            });
            let cells = Value::Map(cells.collect());
            profile.insert(name.to_owned(), cells);
        }
    }
    for profile in &mut profiles {
        let digests = match cell_of(profile, "digests") {
            Value::List(digests) => digests.clone(),
            _ => Vec::new(),
        };
        profile.insert("tag_reused".to_owned(), (digests.len() > 1).into());
        profile.insert("digests".to_owned(), Value::List(digests));
    }
    Ok(profiles)
}

/// By kind whose sensor was live in any snapshot: the share of the containers that have a lossless one.
fn completeness(admitted: &Admitted) -> PolarsResult<LazyFrame> {
    let all = admitted
        .snapshots
        .clone()
        .group_by(cols(&REVISION))
        .agg([col("container").n_unique().cast(DataType::Float64).alias("all")]);
    let live =
        join(admitted.sensors.clone(), &admitted.snapshots, &with(&REVISION, &["ordinal"]), JoinType::Inner)
            .group_by(cols(&with(&REVISION, &["kind"])))
            .agg([col("container")
                .filter(col("lossless"))
                .n_unique()
                .cast(DataType::Float64)
                .alias("whole")]);
    Ok(join(live, &all, &REVISION, JoinType::Inner)
        .with_column((col("whole") / col("all")).alias("completeness")))
}
