"""Two profiles, node by node: what the second one gained, lost, and does more or less often."""

from typing import Any

import polars as pl

from wsp_notebooks.counts import admitted, eligible
from wsp_notebooks.stats import fisher_exact, missed_by_chance
from wsp_notebooks.store import Store

# A change is certain where chance alone would bring it less often than this …
_CERTAIN = 0.05
# … and a change in commonality is shown, however small, where its p is below this.
_SHOWN_P = 0.01
# Shares that are equal on paper may differ in their last bits.
_EQUAL = 1e-9

_SCHEMA = {
    "change": pl.String,
    "certain": pl.Boolean,
    "chance": pl.Float64,
    "p_value": pl.Float64,
    "kind": pl.String,
    "target": pl.String,
    "exe": pl.String,
    "commonality_a": pl.Float64,
    "commonality_b": pl.Float64,
    "containers_a": pl.Int64,
    "containers_b": pl.Int64,
    "eligible_a": pl.Int64,
    "eligible_b": pl.Int64,
    "node_id": pl.String,
    "parent_id": pl.String,
}


def drift(
    store: Store,
    image_a: str,
    image_b: str,
    *,
    revisions: tuple[int | None, int | None] = (None, None),
    min_change: float = 0.2,
) -> pl.DataFrame:
    """One row a node that differs, as `wsp diff` has it: `change` is `gained`, `lost` or `changed`.

    `chance`: how probable it is that nothing changed, that is, that so many containers miss the node by
    chance; `certain` where it is below 0.05. `p_value`: Fisher's exact test of n / N in both.
    """
    both = _both(store, image_a, image_b, revisions)
    rows = [_change(row, min_change) for row in both.iter_rows(named=True)]
    changed = pl.DataFrame([row for row in rows if row], schema=_SCHEMA)
    return changed.sort("kind", "target", "node_id", nulls_last=True)


def _both(store: Store, image_a: str, image_b: str, revisions: tuple[int | None, int | None]) -> pl.DataFrame:
    """Every node of either profile, with n and N in both; of a missing one, N is who could have shown it."""
    sides, able = [], []
    for image, revision in zip((image_a, image_b), revisions, strict=True):
        number = store.profile(image, revision)["revision"]
        what = ["node_id", "parent_id", "kind", "target", "exe"]
        n, total = pl.col("container_count").alias("n"), pl.col("eligible_containers").alias("total")
        sides.append(
            store.nodes(image, number).select(
                *what, (pl.col("phase") == "startup").alias("startup"), n, total
            )
        )
        able.append(eligible(admitted(store, image, number)))
    both = sides[1].join(sides[0], on="node_id", how="full", coalesce=True, suffix="_a")
    both = both.rename({"n": "n_b", "total": "total_b"}).with_columns(
        *[pl.coalesce(name, f"{name}_a") for name in ("kind", "target", "exe", "startup")],
        # A root has no parent: that is no gap to fill.
        parent_id=pl.when(pl.col("n_b").is_null()).then("parent_id_a").otherwise("parent_id"),
        in_a=pl.col("n_a").is_not_null(),
        in_b=pl.col("n_b").is_not_null(),
    )
    for side, who in zip(("a", "b"), able, strict=True):
        both = both.join(who, on=["kind", "startup"], how="left")
        # A full join keeps a null apart from what is not there.
        both = both.with_columns(
            pl.coalesce(f"total_{side}", "containers").fill_null(0).alias(f"total_{side}")
        )
        both = both.with_columns(pl.col(f"n_{side}").fill_null(0)).drop("containers")
    return both


def _change(row: dict[str, Any], min_change: float) -> dict[str, Any] | None:
    n_a, total_a, n_b, total_b = row["n_a"], row["total_a"], row["n_b"], row["total_b"]
    share_a, share_b = (n / total if total else None for n, total in ((n_a, total_a), (n_b, total_b)))
    p_value = fisher_exact(n_a, total_a, n_b, total_b)
    if not row["in_a"]:
        change, chance = "gained", missed_by_chance(n_b, total_b, total_a)
    elif not row["in_b"]:
        change, chance = "lost", missed_by_chance(n_a, total_a, total_b)
    elif share_a is None or share_b is None:
        return None
    else:
        moved = abs(share_a - share_b)
        if moved <= _EQUAL or (moved < min_change - _EQUAL and p_value >= _SHOWN_P):
            return None
        change, chance = "changed", p_value
    computed = {
        "change": change,
        "certain": chance < _CERTAIN,
        "chance": chance,
        "p_value": p_value,
        "commonality_a": share_a,
        "commonality_b": share_b,
        "containers_a": n_a,
        "containers_b": n_b,
        "eligible_a": total_a,
        "eligible_b": total_b,
    }
    return {**{name: row[name] for name in _SCHEMA if name in row}, **computed}
