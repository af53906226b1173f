# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Learning curve and coverage
#
# **Has the profile seen enough?**
#
# A profile becomes stable after 200 snapshots or 48 hours, whether it has seen everything or not. From the
# members of each node, what it knew after every snapshot follows exactly; and so does what the containers
# that came later did that it did not know. This notebook draws that curve for one image, and says for all of
# them how much is still unknown.

# %% tags=["parameters"]
store_url = "samples/fleet"  # or s3://bucket/profiles
image = "registry.example.com/shop/web-0:1.0"

# %%
import altair as alt
import polars as pl

import wsp_notebooks as wsp
from wsp_notebooks import plots, show
from wsp_notebooks.counts import admitted, sightings

print(wsp.check_versions())
plots.setup()
store = wsp.open_store(store_url)
profile = store.profile(image)
print(
    f"{image}, {profile['status']} by {profile['stable_reason']}: {profile['snapshot_count']} snapshots of "
    f"{profile['container_count']} containers, {profile['nodes']} nodes, coverage {profile['coverage']:.3f}"
)

# %% [markdown]
# ## What it knew, snapshot by snapshot
#
# The line is the number of nodes known so far, each tick below a container that showed up for the first time.
# It rises while new containers come one after the other; the later windows of a container tell little that
# its first ones did not. A step without a tick below it is a container that, after hours, did something that
# none had done.

# %%
curve = wsp.learning_curve(store, image)
snapshots = admitted(store, image)
arrivals = snapshots.group_by("number").agg(snapshot=pl.col("ordinal").min() + 1).sort("snapshot")
scale = alt.Scale(domain=[0, snapshots.height], nice=False)
title = "snapshots learned from"
known = alt.Chart(curve).mark_line(strokeWidth=2.5, color=plots.COLOURS[0])
ticks = alt.Chart(arrivals).mark_tick(thickness=1.5, height=14, color="#555555")
alt.layer(
    known.encode(x=alt.X("snapshots:Q", title=title, scale=scale), y=alt.Y("nodes:Q", title="nodes known")),
    ticks.encode(x=alt.X("snapshot:Q", title=title, scale=scale), y=alt.value(251)),
).properties(
    width=640, height=260, title=alt.Title("Nodes known", subtitle="ticks: a container's first snapshot")
)

# %% [markdown]
# ## What each container brought
#
# New nodes of each container, in order of arrival. The first ones bring what all do, and from the twelfth on
# most bring one: a file that is named by the container itself. A late one that brings ten ran a program that
# no other had run: a job, an operator at a shell, or an attacker. The table names them.

# %%
nodes = store.nodes(image)
seen = sightings(nodes, snapshots)
first = seen.sort("ordinal").unique("node", keep="first", maintain_order=True)
brought = snapshots.select(pl.col("number").unique()).join(
    first.group_by("number").agg(new=pl.len()), on="number", how="left"
)
brought = brought.with_columns(pl.col("new").fill_null(0), container=pl.col("number") + 1).sort("container")
late = pl.col("container") > 15
base = alt.Chart(brought.with_columns(surprising=late & (pl.col("new") >= 5)))
x = alt.X("container:O", title="container, in order of arrival", axis=alt.Axis(labelAngle=0))
y = alt.Y(
    "new:Q",
    title="nodes that it showed first",
    scale=alt.Scale(type="symlog", constant=3),
    axis=alt.Axis(values=[1, 5, 20, 50, 200]),
)
colour = (
    alt.when(alt.datum.surprising).then(alt.value(plots.COLOURS[4])).otherwise(alt.value(plots.COLOURS[0]))
)
alt.layer(
    base.mark_bar().encode(x=x, y=y, color=colour),
    base.mark_text(dy=-6, fontSize=10).encode(x=x, y=y, text="new:Q"),
).properties(
    width=640,
    height=200,
    title=alt.Title(
        "New nodes by container", subtitle="scale: logarithmic; the other colour: 5 or more, late"
    ),
)

# %%
surprising = brought.filter(late, pl.col("new") >= 5)["number"]
news = (
    first.filter(pl.col("number").is_in(surprising.implode()))
    .join(nodes.drop("members").with_row_index("node"), on="node")
    .group_by("number", "exe")
    .agg(nodes=pl.len(), kinds=pl.col("kind").unique().sort(), example=pl.col("target").min())
    .sort("number", "nodes", "exe", descending=[False, True, False])
)
show(
    news.with_columns(container=pl.col("number") + 1).select("container", "exe", "nodes", "kinds", "example")
)

# %% [markdown]
# ## Predicted and observed coverage
#
# *Predicted* is what the profile itself says after so many snapshots: Good–Turing, from the nodes that it saw
# in one and in two containers. *Observed* is what came: the mean share of nodes known, over the containers
# that arrived later. After a few containers the prediction is too good, by up to 7 points here, since it
# knows of unknown things only by those that it saw once. From some fifteen containers on, both agree to a
# point.

# %%
both = curve.filter(pl.col("later_containers") >= 3).unpivot(
    on=["predicted_coverage", "observed_coverage"],
    index=["snapshots", "containers"],
    variable_name="which",
    value_name="coverage",
)
both = both.with_columns(pl.col("which").str.replace("_coverage", "")).drop_nulls("coverage")
base = alt.Chart(both).encode(
    x=alt.X("snapshots:Q", title="snapshots learned from"),
    y=alt.Y(
        "coverage:Q",
        scale=alt.Scale(domain=[0.6, 1]),
        title="share that is known",
        axis=alt.Axis(format=".2f"),
    ),
    color=alt.Color(
        "which:N",
        scale=alt.Scale(domain=["predicted", "observed"], range=[plots.COLOURS[1], plots.COLOURS[0]]),
        title=None,
    ),
    strokeDash=alt.StrokeDash(
        "which:N", scale=alt.Scale(domain=["predicted", "observed"], range=[[6, 3], [1, 0]]), title=None
    ),
)
base.mark_line(strokeWidth=2.5).properties(width=640, height=220, title="Predicted and observed coverage")

# %%
columns = [
    "snapshots",
    "hours",
    "containers",
    "hosts",
    "nodes",
    "predicted_coverage",
    "observed_coverage",
    "novel_nodes",
]
show(
    wsp.learning_curve(store, image, at=[5, 10, 20, 50, 100, 150, 200]).select(*columns, "later_containers"),
    digits={"hours": 1, "novel_nodes": 1, "predicted_coverage": 3, "observed_coverage": 3},
    names={"novel_nodes": "novel nodes a later container"},
)

# %% [markdown]
# ## All profiles
#
# `coverage` and what is left: how many unknown nodes a next container is expected to show. `seen once` are
# nodes of a single container; where most of them are file names that change (ids, temporary files), the
# profile knows more than its coverage says.

# %%
every = store.profiles().sort("revision").unique("image", keep="last")
once = (
    store.nodes()
    .filter("rare")
    .group_by("image", "revision")
    .agg(seen_once=pl.len(), files_of_these=(pl.col("kind") == "file").mean())
)
show(
    every.join(once, on=["image", "revision"], how="left")
    .select(
        "image",
        "status",
        "container_count",
        "nodes",
        "seen_once",
        "files_of_these",
        "coverage",
        "expected_novel_nodes",
    )
    .sort("coverage", "image"),
    names={
        "container_count": "containers",
        "files_of_these": "share of files",
        "expected_novel_nodes": "expected novel nodes",
    },
    digits={"coverage": 3, "expected_novel_nodes": 1},
)

# %% [markdown]
# ## What to do with it
#
# - The curve still rises at its end, or coverage is below 0.9: relearn with more containers (`wsp merge
#   --min-containers`), not with more snapshots of the same ones.
# - A late container that brought many nodes: look at it in `50_rare_behaviour` before the profile is used to
#   hide signals.
# - This looks at what the profile has, up to its freeze. `60_choosing_thresholds` replays what came after it,
#   too.
