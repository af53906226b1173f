"""What the package says of a store is what `wsp sql` says of it, cell by cell."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from conftest import Programs

import wsp_notebooks
from wsp_notebooks import open_store
from wsp_notebooks.stats import coverage, similarity

Same = Callable[..., None]


def test_profiles(wsp: Programs, any_store: Path, same: Same) -> None:
    rows = wsp.sql(any_store, "SELECT * FROM profiles")
    assert rows
    same(open_store(any_store).profiles(), rows, ("image", "revision"))


def test_nodes(wsp: Programs, any_store: Path, same: Same) -> None:
    rows = wsp.sql(any_store, "SELECT * FROM nodes")
    assert len(rows) > 200
    same(open_store(any_store).nodes(), rows, ("image", "revision", "node_id"))


def test_nodes_behind_patterns(wsp: Programs, fleet: Path) -> None:
    folded = open_store(fleet).nodes(folded=True)
    (row,) = wsp.sql(fleet, "SELECT count(*) AS n, count(collapsed_into) AS folded FROM raw.profile_nodes")
    assert row["folded"] > 1000
    assert (folded.height, folded["collapsed_into"].count()) == (row["n"], row["folded"])


def test_nodes_of_one_image_are_those_of_its_newest_revision(
    wsp: Programs, any_store: Path, same: Same
) -> None:
    store = open_store(any_store)
    for image, revision in store.profiles().select("image", "revision").rows():
        where = f"image = '{image}' AND revision = {revision}"
        rows = wsp.sql(any_store, f"SELECT * FROM nodes WHERE {where}")
        same(store.nodes(image), rows, ("node_id",))
        admitted = wsp.sql(any_store, f"SELECT * FROM snapshots WHERE {where}")
        same(store.snapshots(image), admitted, ("object_key",))


def test_snapshots(wsp: Programs, any_store: Path, same: Same) -> None:
    rows = wsp.sql(any_store, "SELECT * FROM snapshots")
    same(open_store(any_store).snapshots(), rows, ("object_key",))


def test_snapshots_have_what_was_refused(hostile: Path) -> None:
    outcomes = open_store(hostile).snapshots()["outcome"].unique().to_list()
    assert {"admitted", "damaged", "duplicate", "conflict", "unkeyed", "out_of_range"} <= set(outcomes)


def test_signals(wsp: Programs, fleet: Path, same: Same) -> None:
    rows = wsp.sql(fleet, "SELECT * FROM signals")
    assert len(rows) > 1000
    same(open_store(fleet).signals(), rows, ("signal_id",))


def test_suppressions(wsp: Programs, fleet: Path) -> None:
    listed = json.loads(wsp("suppress", "list", "--store", fleet, "--json"))
    found = open_store(fleet).suppressions()
    assert {"accepted", "suggested"} == set(found["state"])
    names = {"suppression_id": "id", "state": "state", "rule": "rule", "author": "author", "reason": "reason"}
    mine = found.select(*names).sort("suppression_id").rows()
    assert mine == sorted(tuple(row[name] for name in names.values()) for row in listed)

    def rounded(text: str) -> object:
        # The program reads the numbers once more, and may give them another last digit.
        return json.loads(text, parse_float=lambda number: round(float(number), 12))

    evidence = {name: rounded(text) for name, text in found.select("suppression_id", "evidence").rows()}
    assert {row["id"]: rounded(json.dumps(row["evidence"])) for row in listed} == evidence


def test_commonality_is_what_the_merge_wrote(any_store: Path) -> None:
    """All nodes of all profiles, computed from members and ledger, are what the table has."""
    store = open_store(any_store)
    for image in store.profiles()["image"]:
        computed = wsp_notebooks.commonality(store, image)
        stored = store.nodes(image)
        assert computed["node_id"].to_list() == stored["node_id"].to_list()
        for name in computed.columns:
            mine, theirs = computed[name], stored[name]
            if mine.dtype == pl.Float64:
                equal = ((mine - theirs).abs() < 1e-12) | (mine.is_null() & theirs.is_null())
            else:
                equal = mine.eq_missing(theirs)
            assert equal.all(), f"{image}: {name} differs in {(~equal).sum()} of {len(equal)} nodes"


def test_the_stores_show_what_can_go_wrong(
    recordings: Path, fleet: Path, hostile: Path, history: Path
) -> None:
    """The comparison above means something: losses, missing sensors, late containers, every flag."""
    nodes = pl.concat([open_store(store).nodes() for store in (recordings, fleet, hostile, history)])
    assert (nodes["lossy_count"] > 0).sum() > 500
    assert nodes.filter(pl.col("container_count") == 0, pl.col("lossy_count") > 0).height > 0
    assert nodes.filter(pl.col("snapshot_count") > pl.col("container_count")).height > 500
    assert nodes["pattern"].count() > 10
    for name in ("stable", "rare", "late"):
        assert set(nodes[name].drop_nulls()) == {True, False}, name
    assert nodes["stable"].null_count() > 0
    # Of one profile, by kind and phase, different numbers of containers could have shown a node.
    eligible = nodes.group_by("image").agg(pl.col("eligible_containers").n_unique())
    assert eligible["eligible_containers"].max() >= 3


@pytest.mark.parametrize("number", ["commonality", "coverage"])
def test_numbers_of_a_profile_follow_from_its_nodes(any_store: Path, number: str) -> None:
    store = open_store(any_store)
    for profile in store.profiles().iter_rows(named=True):
        nodes = store.nodes(profile["image"])
        if number == "commonality":
            assert similarity(nodes.select("container_count", "eligible_containers").rows()) == pytest.approx(
                profile["commonality"], abs=1e-12
            )
            continue
        expected = (profile["coverage"], profile["expected_novel_nodes"])
        assert coverage(nodes["container_count"], profile["container_count"]) == pytest.approx(
            expected, abs=1e-9
        )
