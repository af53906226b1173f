"""What a profile knew after each snapshot, and how that bore out: from members and ledger alone."""

from collections.abc import Sequence

import polars as pl

from wsp_notebooks.counts import admitted, sightings
from wsp_notebooks.stats import coverage
from wsp_notebooks.store import Store

_SCHEMA = {
    "snapshots": pl.Int64,
    "hours": pl.Float64,
    "containers": pl.Int64,
    "hosts": pl.Int64,
    "nodes": pl.Int64,
    "missed_nodes": pl.Int64,
    "predicted_coverage": pl.Float64,
    "later_containers": pl.Int64,
    "observed_coverage": pl.Float64,
    "novel_nodes": pl.Float64,
    "novel_containers": pl.Float64,
}


def learning_curve(
    store: Store, image: str, revision: int | None = None, at: Sequence[int] | None = None
) -> pl.DataFrame:
    """What a profile of the first so many snapshots knows, for each number in `at` (by default some 60).

    `nodes` that it knows, and `missed_nodes` that only later snapshots showed; `predicted_coverage`, from
    these snapshots alone; of the containers that came after them (`later_containers`) the mean share of nodes
    that was known (`observed_coverage`), the mean number that was not (`novel_nodes`) and the share of
    containers with any (`novel_containers`); `hours` from the first window's start to the last one's end.

    `wsp backtest` counts the same, but reads the snapshots once more and so looks beyond the freeze.
    """
    nodes = store.nodes(image, revision)
    snapshots = admitted(store, image, revision)
    pairs = sightings(nodes, snapshots).group_by("node", "number").agg(first=pl.col("ordinal").min())
    pairs = pairs.with_columns(node_first=pl.col("first").min().over("node"))
    arrivals = snapshots.group_by("number").agg(arrival=pl.col("ordinal").min())
    pairs = pairs.join(arrivals, on="number")
    every = range(1, snapshots.height + 1)
    if at is None:
        at = sorted({*every[:: max(1, snapshots.height // 60)], snapshots.height})
    rows = [_point(n, snapshots, arrivals, pairs) for n in at if n in every]
    return pl.DataFrame(rows, schema=_SCHEMA)


def _point(n: int, snapshots: pl.DataFrame, arrivals: pl.DataFrame, pairs: pl.DataFrame) -> dict[str, object]:
    past = snapshots.filter(pl.col("ordinal") < n)
    span = past["window_end"].max() - snapshots["window_start"][0]
    containers = past["number"].n_unique()
    known = pairs.filter(pl.col("first") < n).group_by("node").len()["len"].to_list()
    predicted = coverage(known, containers)
    later = arrivals.filter(pl.col("arrival") >= n).select("number")
    shown = (
        pairs.filter(pl.col("arrival") >= n)
        .group_by("number")
        .agg(every=pl.len(), novel=(pl.col("node_first") >= n).sum())
    )
    # A container that showed nothing has nothing novel.
    shown = later.join(shown, on="number", how="left").with_columns(pl.col("every", "novel").fill_null(0))
    share = pl.when(pl.col("every") > 0).then(1 - pl.col("novel") / pl.col("every")).otherwise(1.0)
    mean = shown.select(
        share.mean().alias("known"), pl.col("novel").mean(), (pl.col("novel") > 0).mean().alias("any")
    )
    return {
        "snapshots": n,
        "hours": span.total_seconds() / 3600,
        "containers": containers,
        "hosts": past["host"].n_unique(),
        "nodes": len(known),
        "missed_nodes": pairs["node"].n_unique() - len(known),
        "predicted_coverage": predicted and predicted[0],
        "later_containers": later.height,
        "observed_coverage": mean["known"][0],
        "novel_nodes": mean["novel"][0],
        "novel_containers": mean["any"][0],
    }
