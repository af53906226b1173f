"""The node table in Polars, for the streaming engine."""

import polars as pl

WORKLOAD = ["image_name", "image_tag"]
NODE = [*WORKLOAD, "node_id"]


def sightings(files):
    """Rows of all snapshot files, with times as timestamps."""
    return pl.scan_parquet(files, hive_partitioning=False).with_columns(
        first_seen=pl.col("window_start") + pl.duration(milliseconds="first_seen_ms"),
        last_seen=pl.col("window_start") + pl.duration(milliseconds="last_seen_ms"),
    )


def wide(files, attributes):
    """Everything. Counting containers in a second group-by keeps sets of strings out of the first one."""
    rows = sightings(files)
    by_container = rows.group_by(*NODE, "host", "container_id").agg(
        snapshot_count=pl.len(),
        first_seen=pl.col("first_seen").min(),
        last_seen=pl.col("last_seen").max(),
        events=pl.col("events").sum(),
    )
    counts = by_container.group_by(NODE).agg(
        snapshot_count=pl.col("snapshot_count").sum(),
        container_count=pl.len(),
        host_count=pl.col("host").n_unique(),
        first_seen=pl.col("first_seen").min(),
        last_seen=pl.col("last_seen").max(),
        events=pl.col("events").sum(),
    )
    first = rows.group_by(NODE).agg(
        attributes=pl.struct(attributes).min_by(pl.struct("first_seen", "snapshot_id"))
    )
    containers = (
        by_container.select(*WORKLOAD, "host", "container_id").unique().group_by(WORKLOAD).agg(containers=pl.len())
    )
    return (
        counts.join(first, on=NODE)
        .join(containers, on=WORKLOAD)
        .with_columns(commonality=pl.col("container_count") / pl.col("containers"))
        .drop("containers")
        .unnest("attributes")
    )


def narrow(files):
    """Ids, times and counts only."""
    return (
        sightings(files)
        .group_by(NODE)
        .agg(
            snapshot_count=pl.len(),
            first_seen=pl.col("first_seen").min(),
            last_seen=pl.col("last_seen").max(),
            events=pl.col("events").sum(),
        )
    )
