//! Node rows, and the patterns that they are folded into.

use polars::prelude::{
    DataFrame, DataType, IntoLazy, JoinType, LazyFrame, NULL, PolarsResult, SortMultipleOptions,
    UniqueKeepStrategy, by_name, col, len, lit, when,
};

use super::read::{Admitted, attributes};
use super::{REVISION, cols, computed, join, stacked, stats, with};

/// What names a node.
const NODE: [&str; 3] = ["workload_key", "revision", "node_id"];
/// What decides who could have shown a node.
const SORT: [&str; 4] = ["workload_key", "revision", "kind", "startup"];

/// Node rows.
pub(super) struct Made {
    /// Of ordinary nodes, with attributes.
    pub(super) nodes: DataFrame,
    /// Of patterns: what their members say.
    pub(super) patterns: DataFrame,
    /// Kind, containers and eligible containers of every node that is not folded into another.
    pub(super) shown: DataFrame,
}

/// Makes the rows of all revisions. `folds` says which node is folded into which pattern.
pub(super) fn make(admitted: &Admitted, folds: &LazyFrame) -> PolarsResult<Made> {
    let observers = Observers::of(admitted)?;
    let seen = admitted.sightings.clone();
    let merged = seen.clone().group_by(cols(&NODE)).agg([
        col("startup").all(true),
        col("lineage_complete").any(true),
        col("events").sum(),
        col("last_seen").max(),
    ]);
    let first = seen
        .clone()
        .sort(["first_seen", "snapshot_id"], SortMultipleOptions::default())
        .unique_stable(Some(by_name(NODE, true, false)), UniqueKeepStrategy::First)
        .select(cols(&with(&with(&NODE, &attributes()), &["first_seen", "snapshot_id"])))
        .rename(["snapshot_id"], ["first_snapshot_id"], true);
    let short = seen.select(cols(&with(&NODE, &["kind", "startup", "ordinal"])));
    let named = |rows: LazyFrame| join(rows, &admitted.revisions, &REVISION, JoinType::Inner);

    let scored = observers.score(short.clone())?.drop(by_name(["startup", "kind"], true, false));
    let nodes = join(join(merged, &first, &NODE, JoinType::Inner), &scored, &NODE, JoinType::Inner);
    let nodes = named(nodes)
        .with_column(when(col("startup")).then(lit("startup")).otherwise(lit("steady")).alias("phase"))
        .drop(by_name(["startup"], true, false))
        .collect()?;

    let into = join(short, folds, &NODE, JoinType::Inner).drop(by_name(["node_id"], true, false)).rename(
        ["collapsed_into"],
        ["node_id"],
        true,
    );
    let patterns = named(observers.score(into)?)
        .with_column(when(col("startup")).then(lit("startup")).otherwise(lit("steady")).alias("phase"))
        .drop(by_name(["startup"], true, false))
        .collect()?;

    let counts = with(&REVISION, &["kind", "container_count", "eligible_containers"]);
    let shown = join(nodes.clone().lazy(), folds, &NODE, JoinType::Anti).select(cols(&counts));
    let shown = stacked(vec![shown, patterns.clone().lazy().select(cols(&counts))])?.collect()?;
    Ok(Made { nodes, patterns, shown })
}

/// Who could have shown what.
struct Observers {
    snapshots: LazyFrame,
    sensors: LazyFrame,
    /// Containers with their place in the order of first snapshots, how many there are, and whether they are in the first half.
    containers: LazyFrame,
    /// Containers that could have shown a node, by [`SORT`].
    eligible: LazyFrame,
    /// Snapshots that could have, by [`SORT`].
    able: LazyFrame,
}

impl Observers {
    fn of(admitted: &Admitted) -> PolarsResult<Self> {
        let whose = with(&REVISION, &["container"]);
        let containers = admitted
            .snapshots
            .clone()
            .group_by(cols(&whose))
            .agg([col("ordinal").min().alias("first")])
            .sort(with(&REVISION, &["first"]), SortMultipleOptions::default())
            .with_columns([
                (col("first").cum_count(false).over(cols(&REVISION))?.cast(DataType::Int64) - lit(1))
                    .alias("place"),
                col("first").count().over(cols(&REVISION))?.cast(DataType::Int64).alias("all"),
            ])
            // The middle one of an odd number is in the first half.
            .with_column((col("place") * lit(2)).lt(col("all")).alias("first_half"));
        let on = with(&REVISION, &["ordinal"]);
        let whole =
            join(admitted.sensors.clone().filter(col("lossless")), &admitted.snapshots, &on, JoinType::Inner);
        let kept =
            with(&REVISION, &["kind", "ordinal", "container", "host", "covers_start", "reaches_start"]);
        let whole = whole.select(cols(&kept));
        let of_kind = with(&REVISION, &["kind", "container"]);
        let started = whole.clone().filter(col("covers_start")).select(cols(&of_kind));
        let at_start = join(whole.clone().filter(col("reaches_start")), &started, &of_kind, JoinType::Semi);
        let split = |steady: LazyFrame, startup: LazyFrame| {
            stacked(vec![
                steady.with_column(lit(false).alias("startup")),
                startup.with_column(lit(true).alias("startup")),
            ])
        };
        let eligible =
            split(whole.clone().select(cols(&of_kind)), started)?.unique(None, UniqueKeepStrategy::Any);
        let able = split(whole, at_start)?.select(cols(&with(&SORT, &["ordinal", "container", "host"])));
        Ok(Self {
            snapshots: admitted.snapshots.clone(),
            sensors: admitted.sensors.clone(),
            containers: computed(containers)?,
            eligible: computed(eligible)?,
            able: computed(able)?,
        })
    }

    /// Counts and flags of nodes, from their sightings: node, kind, startup, ordinal.
    fn score(&self, sightings: LazyFrame) -> PolarsResult<LazyFrame> {
        let on_container = with(&REVISION, &["container"]);
        let on_snapshot = with(&REVISION, &["ordinal"]);
        let nodes = sightings.clone().group_by(cols(&NODE)).agg([
            col("kind").first(),
            col("startup").all(true),
            col("ordinal").unique().sort(Default::default()).alias("members"),
        ]);
        let of =
            sightings.select(cols(&with(&NODE, &["kind", "ordinal"]))).unique(None, UniqueKeepStrategy::Any);

        let anywhere = join(of.clone(), &self.snapshots, &on_snapshot, JoinType::Inner);
        let anywhere =
            join(anywhere, &self.containers, &on_container, JoinType::Inner).group_by(cols(&NODE)).agg([
                col("container").n_unique().cast(DataType::Int64).alias("anywhere"),
                col("place").min().alias("earliest"),
                col("all").first(),
            ]);
        let on_sensor = with(&REVISION, &["ordinal", "kind"]);
        let lossy =
            join(of.clone(), &self.sensors, &on_sensor, JoinType::Left).group_by(cols(&NODE)).agg([col(
                "lossless",
            )
            .fill_null(lit(false))
            .not()
            .cast(DataType::Int64)
            .sum()
            .alias("lossy_count")]);

        let which = join(of.drop(by_name(["kind"], true, false)), &nodes, &NODE, JoinType::Inner);
        let shown = join(which, &self.able, &with(&SORT, &["ordinal"]), JoinType::Inner);
        let having = col("container").filter(col("first_half"));
        let shown =
            join(shown, &self.containers, &on_container, JoinType::Inner).group_by(cols(&NODE)).agg([
                len().cast(DataType::Int64).alias("snapshot_count"),
                col("container").n_unique().cast(DataType::Int64).alias("container_count"),
                col("host").n_unique().cast(DataType::Int64).alias("host_count"),
                having.n_unique().cast(DataType::Int64).alias("having_first_half"),
            ]);
        let eligible = join(self.eligible.clone(), &self.containers, &on_container, JoinType::Inner)
            .group_by(cols(&SORT))
            .agg([
                len().cast(DataType::Int64).alias("eligible_containers"),
                col("first_half").cast(DataType::Int64).sum().alias("eligible_first_half"),
            ]);
        let able = self.able.clone().group_by(cols(&SORT)).agg([len().cast(DataType::Int64).alias("able")]);

        let mut all = join(nodes, &anywhere, &NODE, JoinType::Left);
        all = join(all, &lossy, &NODE, JoinType::Left);
        all = join(all, &shown, &NODE, JoinType::Left);
        all = join(all, &eligible, &SORT, JoinType::Left);
        all = join(all, &able, &SORT, JoinType::Left);
        const COUNTS: [&str; 7] = [
            "snapshot_count",
            "container_count",
            "host_count",
            "having_first_half",
            "eligible_containers",
            "eligible_first_half",
            "able",
        ];
        let counts: Vec<_> = COUNTS.iter().map(|name| col(*name).fill_null(lit(0_i64))).collect();
        let all = all.with_columns(counts);
        let (low, high) = stats::wilson("container_count", "eligible_containers");
        let all = all.with_columns([
            stats::share("container_count", "eligible_containers").alias("commonality"),
            low.alias("commonality_low"),
            high.alias("commonality_high"),
            stats::share("snapshot_count", "able").alias("snapshot_commonality"),
            col("anywhere").eq(lit(1)).and(col("all").gt(lit(1))).alias("rare"),
            when(col("all").gt_eq(lit(5)))
                .then((col("earliest") * lit(4)).gt_eq(col("all") * lit(3)))
                .otherwise(lit(NULL))
                .alias("late"),
        ]);
        let all = computed(all)?;
        let halves = stats::fisher(&all)?;
        let narrow = ((col("commonality_high") - col("commonality_low")) / lit(2.0)).lt_eq(lit(0.1));
        let all = join(all, &halves, &stats::HALVES, JoinType::Left).with_column(
            when(col("eligible_containers").gt_eq(lit(6)))
                .then(narrow.and(col("likelihood").gt_eq(lit(0.01))))
                .otherwise(lit(NULL))
                .alias("stable"),
        );
        let helpers =
            ["anywhere", "earliest", "all", "having_first_half", "eligible_first_half", "able", "likelihood"];
        Ok(all.drop(by_name(helpers, true, false)))
    }
}
