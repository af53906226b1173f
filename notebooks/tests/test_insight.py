"""Learning curves and drift are what `wsp backtest` and `wsp diff` say."""

import itertools
import json
from pathlib import Path

import polars as pl
import pytest
from conftest import Programs

from wsp_notebooks import drift, learning_curve, open_store

AT = [1, 2, 3, 5, 8, 13, 20, 30, 45, 56]


def test_learning_curve_is_the_backtest(wsp: Programs, history: Path) -> None:
    """Of profiles that have all their snapshots, as those of a backtest do."""
    command = ["backtest", "--store", history, "--snapshots", ",".join(map(str, AT)), "--format", "json"]
    answers = [row for row in json.loads(wsp(*command)) if row["threshold"] == "snapshots"]
    store = open_store(history)
    images = store.profiles()["image"].to_list()
    assert len(images) == 2
    for image in images:
        curve = learning_curve(store, image, at=AT)
        theirs = [row for row in answers if row["image"] == image]
        assert curve["snapshots"].to_list() == [row["snapshots"] for row in theirs] == AT
        for mine, row in zip(curve.iter_rows(named=True), theirs, strict=True):
            for name in set(mine) - {"hours"}:
                assert mine[name] == pytest.approx(row[name], abs=1e-9), (image, name, row["at"])
        # Some knew little, and somebody came later.
        assert curve["observed_coverage"].min() < 0.95
        assert curve["later_containers"].min() == 0


def test_learning_curve_ends_where_the_profile_does(fleet: Path) -> None:
    store = open_store(fleet)
    profile = store.profile("registry.example.com/shop/web-0:1.0")
    last = learning_curve(store, "registry.example.com/shop/web-0:1.0").row(-1, named=True)
    assert last["snapshots"] == profile["snapshot_count"] == 200
    assert (last["nodes"], last["containers"], last["hosts"], last["missed_nodes"]) == (
        *(profile[name] for name in ("nodes", "container_count", "host_count")),
        0,
    )


def check_drift(wsp: Programs, folder: Path, image_a: str, image_b: str, min_change: float) -> set[str]:
    command = ["diff", image_a, image_b, "--store", folder, "--min-change", min_change, "--format", "json"]
    theirs = pl.DataFrame(json.loads(wsp(*command)), infer_schema_length=None)
    mine = drift(open_store(folder), image_a, image_b, min_change=min_change)
    assert mine.columns == theirs.columns
    assert mine.height == theirs.height
    for name in mine.columns:
        a, b = mine[name], theirs[name]
        if a.dtype == pl.Float64:
            equal = ((a - b).abs() < 1e-9) | (a.is_null() & b.is_null())
        else:
            equal = a.eq_missing(b.cast(a.dtype))
        assert equal.all(), f"{image_a} {image_b}: {name} differs in {(~equal).sum()} rows"
    return set(mine["change"])


def test_drift_is_the_diff(wsp: Programs, recordings: Path, fleet: Path) -> None:
    kinds = check_drift(wsp, recordings, "localhost/demo/web:1.22", "localhost/demo/web:1.24", 0.2)
    for name in ("shop/web-0", "billing/database-2", "media/worker-3", "search/cache-1"):
        image = f"registry.example.com/{name}"
        kinds |= check_drift(wsp, fleet, f"{image}:1.0", f"{image}:1.1", 0.05)
    assert kinds == {"gained", "lost", "changed"}


def test_drift_between_images_that_share_nothing(wsp: Programs, recordings: Path) -> None:
    for a, b in itertools.permutations(["localhost/demo/cache:7", "localhost/demo/jobs:1"], 2):
        check_drift(wsp, recordings, a, b, 0.2)
