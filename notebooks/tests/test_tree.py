"""The tree is the one that `wsp show` prints."""

import re
from pathlib import Path

import altair as alt
import polars as pl
import pytest
from conftest import Programs

from wsp_notebooks import StoreError, open_store, plot_tree, plots, printable, tree, tree_text
from wsp_notebooks.tree import as_tree

# `1.00       4/4  │  ├─ [init] /usr/bin/dash  (at start)`
_LINE = re.compile(r"^(?P<share>\d\.\d\d|   –) +(?P<n>\d+)/(?P<total>\d+)  (?P<text>.*)$")
_MARKS = re.compile(r"  \((at start|rare|lineage guessed|seen in lossy snapshots only)(, [a-z ]+)*\)$")


@pytest.mark.parametrize("name", ["recordings", "fleet"])
def test_same_lines_as_show(wsp: Programs, name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    store = open_store(folder)
    for image in store.profiles()["image"]:
        shown = wsp("show", image, "--store", folder, "--limit", 0).splitlines()
        lines = [match for match in map(_LINE.match, shown) if match]
        theirs = [
            (line["share"], int(line["n"]), int(line["total"]), _MARKS.sub("", line["text"]).lstrip("│├└─ "))
            for line in lines
        ]
        mine = [
            ("   –" if share is None else f"{share:.2f}", n, total, label.lstrip())
            for share, n, total, label in tree(store, image)
            .select("commonality", "container_count", "eligible_containers", "label")
            .rows()
        ]
        assert mine == theirs, image


def test_every_node_once_below_its_parent(any_store: Path) -> None:
    store = open_store(any_store)
    for image in store.profiles()["image"]:
        frame = tree(store, image)
        assert sorted(frame["node_id"]) == sorted(store.nodes(image)["node_id"])
        depths = dict(frame.select("node_id", "depth").rows())
        for node_id, parent_id, depth in frame.select("node_id", "parent_id", "depth").rows():
            assert depth == (depths[parent_id] + 1 if parent_id in depths else 0), node_id
        # A node stands after its parent.
        place = {node_id: at for at, node_id in enumerate(frame["node_id"])}
        assert all(
            place[parent] < place[node]
            for node, parent in frame.select("node_id", "parent_id").rows()
            if parent in place
        )


def test_a_share_cuts_subtrees_off(recordings: Path) -> None:
    store = open_store(recordings)
    every = tree(store, "localhost/demo/web:1.22")
    common = tree(store, "localhost/demo/web:1.22", min_commonality=0.9)
    assert 0 < common.height < every.height
    assert common["commonality"].min() >= 0.9
    assert set(common["parent_id"].drop_nulls()) <= set(common["node_id"])


def test_a_circle_is_an_error(recordings: Path) -> None:
    nodes = open_store(recordings).nodes("localhost/demo/web:1.22")
    root = nodes.filter(pl.col("kind") == "process", pl.col("parent_id").is_null())["node_id"][0]
    child = nodes.filter(pl.col("parent_id") == root, pl.col("kind") == "process")["node_id"][0]
    bent = nodes.with_columns(
        parent_id=pl.when(pl.col("node_id") == root).then(pl.lit(child)).otherwise("parent_id")
    )
    with pytest.raises(StoreError, match="circle"):
        as_tree(bent)


def test_text_and_chart_of_hostile_names(hostile: Path) -> None:
    store = open_store(hostile)
    (image,) = store.profiles()["image"]
    frame = tree(store, image)
    raw = store.nodes(image)["target"].drop_nulls()
    assert any("\x1b" in text for text in raw)
    assert any("\u202e" in text for text in raw)
    text = tree_text(frame)
    assert printable(text.replace("\n", "")) == text.replace("\n", "")
    assert len(text.splitlines()) == frame.height
    plots.setup()
    chart = plot_tree(frame, title="\x1b[31m<b>image</b>")
    labels = [row["label"] for rows in chart.to_dict()["datasets"].values() for row in rows if "label" in row]
    assert labels
    assert all(printable(label) == label for label in labels)
    (picture,) = [
        bytes_ for kind, bytes_ in alt.renderers.get()(chart.to_dict())[0].items() if kind == "image/png"
    ]
    assert picture.startswith(b"\x89PNG")
