"""The views of the SQL interface as polars queries: the same rows, names and order of columns."""

from collections.abc import Callable

import polars as pl

IMAGE = pl.concat_str(
    "image_name",
    pl.when(pl.col("image_tag").str.starts_with("@")).then(pl.lit("")).otherwise(pl.lit(":")),
    "image_tag",
).alias("image")

_SOCKET = pl.concat_str(
    "protocol",
    pl.lit(" "),
    "address",
    pl.when(pl.col("protocol") == "unix")
    .then(pl.lit(""))
    .otherwise(pl.concat_str(pl.lit(" "), pl.col("port").cast(pl.String))),
)

# What a node is, in one text.
TARGET = (
    pl.when(pl.col("kind") == "process")
    .then(
        pl.coalesce(
            pl.concat_str("argv0", pl.lit(" ("), "exe", pl.lit(")")),
            pl.concat_str("exe", pl.lit(" "), pl.when(pl.col("shebang")).then("script")),
            "exe",
        )
    )
    .when(pl.col("kind") == "file")
    .then("path")
    .when(pl.col("kind") == "dns")
    .then(pl.concat_str("dns_name", pl.lit(" "), "dns_type"))
    .when(pl.col("kind").is_in(["connect", "listen"]))
    .then(_SOCKET)
    .otherwise("name")
    .alias("target")
)


def _hex(*names: str) -> list[pl.Expr]:
    return [pl.col(name).bin.encode("hex") for name in names]


_ATTRIBUTES = """
    path access mode path_raw path_source file_origin dns_name dns_type protocol address port remote_ips
    name_source name root_kind exec_from script shebang argv0 args args_overflow comm cwd uids gids
    cred_change tty stdio ns_changed written_in_window
"""


def nodes(raw: pl.LazyFrame, *, folded: bool = False) -> pl.LazyFrame:
    """One row a node of a profile revision; what is folded stands behind its pattern, or beside it."""
    rows = raw if folded else raw.filter(pl.col("collapsed_into").is_null())
    counts = """
        commonality commonality_low commonality_high container_count eligible_containers snapshot_count
        snapshot_commonality host_count lossy_count stable rare late phase lineage_complete events first_seen
        last_seen
    """
    more = "pattern collapsed_nodes overflow image_name image_tag revision status workload_key bucket"
    return rows.select(
        IMAGE,
        "kind",
        "exe",
        TARGET,
        *counts.split(),
        *_ATTRIBUTES.split(),
        *_hex("node_id", "parent_id"),
        "members",
        "first_snapshot_id",
        *more.split(),
        *(_hex("collapsed_into") if folded else []),
    )


def profiles(raw: pl.LazyFrame) -> pl.LazyFrame:
    """One row a profile revision."""
    names = """
        image_name image_tag revision status stable_reason stable_at snapshot_count container_count
        host_count nodes commonality coverage expected_novel_nodes nodes_by_kind commonality_by_kind
        completeness overflow digests tag_reused first_window_start last_window_end path_rules content_hash
        workload_key bucket batch updated_at
    """
    return raw.select(IMAGE, *names.split())


def snapshots(raw: pl.LazyFrame) -> pl.LazyFrame:
    """One row a snapshot object that a merge decided on."""
    names = """
        snapshot_id outcome reason ordinal container_name container_id container_started host window_start
        window_end covers_start completeness rows image_digest labels object_key object_size content_hash
        path_rules image_name image_tag revision batch decided_at workload_key bucket
    """
    objects = raw.filter(~pl.col("outcome").is_in(["frozen", "opened", "after_freeze"]))
    return objects.select(IMAGE, *names.split())


def signals(raw: pl.LazyFrame) -> pl.LazyFrame:
    """One row a signal. `suppressed_by` is null while it is open."""
    names = """
        time severity rule summary profile_context novelty suppressed_by kind exe target lineage commonality
        process_commonality match revision nodes events last_seen container_name container_id host labels
        attributes source signal_id
    """
    more = """
        snapshot_id window_start window_end image_digest detected_at batch image_name image_tag workload_key
        bucket
    """
    ids = _hex("node_id", "process_id", "profile_node_id", "profile_process_id")
    return raw.select(IMAGE, *names.split(), *ids, *more.split())


def suppressions(raw: pl.LazyFrame) -> pl.LazyFrame:
    """One row a suggestion or suppression, as its last change left it."""
    newest = raw.filter(pl.col("change") == pl.col("change").max().over("suppression_id"))
    scope = pl.col("scope")
    image = pl.when(scope == "image").then("image_name").when(scope != "all").then(IMAGE).alias("image")
    names = "predicate author reason changed_at expires_at evidence change image_name image_tag workload_key"
    return newest.select("suppression_id", "state", "rule", "scope", image, *names.split())


VIEWS: dict[str, tuple[str, Callable[[pl.LazyFrame], pl.LazyFrame]]] = {
    "profiles": ("profiles", profiles),
    "nodes": ("profile_nodes", nodes),
    "snapshots": ("profile_snapshots", snapshots),
    "signals": ("signals", signals),
    "suppressions": ("suppressions", suppressions),
}
