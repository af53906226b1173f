"""Commonality computed anew: from the `members` of every node and the ledger, by polars queries.

It shares nothing with the merge's own code but the meaning of the columns. Tests compare both, node by node.
"""

from datetime import timedelta

import polars as pl

from wsp_notebooks.errors import StoreError
from wsp_notebooks.stats import fisher_exact, wilson
from wsp_notebooks.store import Store

# A node is a startup node where it is first seen so soon after its container's start.
_STARTUP = timedelta(seconds=180)
# What a value of `members` may have at most: 2^20 ordinals.
_MOST_BYTES = 1 << 17
# `stable` is null below so many containers, `late` below so many.
_STABLE_FROM, _LATE_FROM = 6, 5

_COUNTS = ["snapshot_count", "container_count", "host_count", "lossy_count"]


def commonality(store: Store, image: str, revision: int | None = None) -> pl.DataFrame:
    """Every node of a profile with its counts, commonality and flags, computed from members and ledger.

    The columns have the names of the view `nodes`, and must have its values.
    """
    profile = store.profile(image, revision)
    nodes = store.nodes(image, profile["revision"])
    computed = score(nodes, admitted(store, image, profile["revision"]))
    what = ["image", "kind", "exe", "target", "phase", "node_id", "parent_id", "members"]
    return nodes.select(what).hstack(computed)


def admitted(store: Store, image: str, revision: int | None = None) -> pl.DataFrame:
    """The snapshots of a profile, with the `number` of their container in the order of appearance."""
    return numbered(store.snapshots(image, revision).filter(pl.col("outcome") == "admitted"))


def numbered(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of the ledger by ordinal, with the `number` of their container."""
    # Container ids are unique on a host.
    container = pl.struct("host", "container_id").rank("dense")
    started = pl.col("container_started")
    reaches_start = (pl.col("covers_start") | (pl.col("window_start") < started + _STARTUP)).fill_null(False)
    rows = rows.with_columns(container=container, reaches_start=reaches_start)
    first = rows.group_by("container").agg(pl.col("ordinal").min()).sort("ordinal").with_row_index("number")
    return rows.join(first.select("container", "number"), on="container").drop("container").sort("ordinal")


def ordinals(members: pl.Series) -> pl.Series:
    """The snapshot ordinals in each value of a `members` column, ascending: bit n % 8 of byte n / 8."""
    if max(members.bin.size().to_list(), default=0) > _MOST_BYTES or members.bin.ends_with(b"\0").any():
        raise StoreError(
            "a value of `members` is no set of ordinals", hint="`wsp store verify` finds what is damaged"
        )
    frame = members.cast(pl.List(pl.UInt8)).alias("byte").to_frame().with_row_index("row")
    bits = (
        frame.lazy()
        .with_columns(at=pl.int_ranges(0, pl.col("byte").list.len() * 8, dtype=pl.UInt32))
        .explode("at")
        .drop_nulls("at")
        .filter(pl.col("byte").list.get(pl.col("at") // 8) // 2 ** (pl.col("at") % 8) % 2 == 1)
        .group_by("row")
        .agg(pl.col("at").sort().alias("ordinals"))
        .collect()
    )
    found = frame.select("row").join(bits, on="row", how="left", maintain_order="left")["ordinals"]
    return found.fill_null([]).alias(members.name)


def sightings(nodes: pl.DataFrame, snapshots: pl.DataFrame) -> pl.DataFrame:
    """One row a node (its row number) and snapshot that showed it, with the number of the container."""
    seen = pl.DataFrame({"node": pl.int_range(nodes.height, dtype=pl.UInt32, eager=True)})
    seen = seen.with_columns(ordinals(nodes["members"]).alias("ordinal")).explode("ordinal").drop_nulls()
    ledger = snapshots.select(pl.col("ordinal").cast(pl.UInt32), "number", "host")
    found = seen.join(ledger, on="ordinal", how="left", maintain_order="left")
    if found["number"].has_nulls():
        raise StoreError(
            "a node has members that the ledger does not have",
            hint="`wsp store verify` finds what is damaged",
        )
    return found


def score(nodes: pl.DataFrame, snapshots: pl.DataFrame) -> pl.DataFrame:
    """Counts, commonality and flags, a row for each row of `nodes` (`kind`, `phase`, `members`)."""
    containers = snapshots["number"].n_unique()
    seen = sightings(nodes, snapshots)
    what = nodes.select("kind", (pl.col("phase") == "startup").alias("startup")).with_row_index("node")
    could = able(snapshots)

    shown = seen.join(what, on="node").join(could, on=["kind", "startup", "ordinal"], how="left")
    # `whole` is null where the sensor was not live.
    lost = ~pl.col("whole").fill_null(False)
    counted = pl.col("able").fill_null(False)
    half = (containers + 1) // 2
    by_node = shown.group_by("node").agg(
        snapshot_count=counted.sum(),
        container_count=pl.col("number").filter(counted).n_unique(),
        host_count=pl.col("host").filter(counted).n_unique(),
        first_half=pl.col("number").filter(counted & (pl.col("number") < half)).n_unique(),
        lossy_count=lost.sum(),
        anywhere=pl.col("number").n_unique(),
        earliest=pl.col("number").min(),
    )
    eligible_by = (
        could.filter("able")
        .group_by("kind", "startup")
        .agg(
            eligible_containers=pl.col("number").n_unique(),
            eligible_first_half=pl.col("number").filter(pl.col("number") < half).n_unique(),
            eligible_snapshots=pl.len(),
        )
    )
    rows = (
        what.join(by_node, on="node", how="left")
        .join(eligible_by, on=["kind", "startup"], how="left")
        .sort("node")
        .with_columns(pl.selectors.unsigned_integer().fill_null(0).cast(pl.Int32))
    )
    n, total = pl.col("container_count"), pl.col("eligible_containers")
    intervals = [wilson(*pair) or (None, None) for pair in rows.select(n, total).rows()]
    low, high = (pl.Series([pair[at] for pair in intervals], dtype=pl.Float64) for at in (0, 1))
    differs = [
        fisher_exact(first, of_first, n - first, total - of_first) < 0.01
        for n, total, first, of_first in rows.select(n, total, "first_half", "eligible_first_half").rows()
    ]
    rows = rows.with_columns(
        commonality_low=low, commonality_high=high, differs=pl.Series(differs, dtype=pl.Boolean)
    )
    narrow = (pl.col("commonality_high") - pl.col("commonality_low")) / 2 <= 0.1
    return rows.select(
        *_COUNTS,
        "eligible_containers",
        pl.when(total > 0).then(n / total).alias("commonality"),
        "commonality_low",
        "commonality_high",
        pl.when(pl.col("eligible_snapshots") > 0)
        .then(pl.col("snapshot_count") / pl.col("eligible_snapshots"))
        .alias("snapshot_commonality"),
        pl.when(total >= _STABLE_FROM).then(narrow & ~pl.col("differs")).alias("stable"),
        ((pl.col("anywhere") == 1) & (containers > 1)).alias("rare"),
        pl.when(containers >= _LATE_FROM).then(4 * pl.col("earliest") >= 3 * containers).alias("late"),
    )


def eligible(snapshots: pl.DataFrame) -> pl.DataFrame:
    """By kind and phase (`startup` or not), how many containers could have shown a node."""
    could = able(snapshots).filter("able")
    return could.group_by("kind", "startup").agg(containers=pl.col("number").n_unique())


def able(snapshots: pl.DataFrame) -> pl.DataFrame:
    """By kind, phase and snapshot: was nothing lost (`whole`), and could it have shown such a node (`able`)?

    A container can show a steady node with a lossless snapshot of the kind, a startup node with one that
    covers its start. A snapshot can, where it is a lossless one of such a container; for a startup node it
    must reach into the startup, too.
    """
    kinds = (
        snapshots.select(
            "ordinal", "number", "covers_start", "reaches_start", pl.col("completeness").map.entries()
        )
        .explode("completeness")
        .unnest("completeness")
        .drop_nulls("key")
        .with_columns(pl.col("ordinal").cast(pl.UInt32), whole=pl.col("value") != "lossy")
        .rename({"key": "kind"})
        .join(pl.DataFrame({"startup": [False, True]}), how="cross")
    )
    whole, steady = pl.col("whole"), ~pl.col("startup")
    container_can = (whole & (steady | pl.col("covers_start"))).any().over("kind", "startup", "number")
    return kinds.select(
        *["kind", "startup", "ordinal", "number", "whole"],
        able=whole & container_can & (steady | pl.col("reaches_start")),
    )
