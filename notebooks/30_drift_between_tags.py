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
# # Drift between tags
#
# **What does the new version do that the old one did not, and how sure is that?**
#
# Node ids do not contain the image, so two tags compare node by node. A node that only one of them has may be
# new, or rare and missed by chance: `chance` is the probability that so many containers of the other tag
# would all miss it. Below 0.05 a change is called *certain*. `wsp diff` says the same in a terminal.
#
# The sample store holds recordings of two real nginx images; 1.24 was built with another configuration.

# %% tags=["parameters"]
store_url = "samples/recordings"  # or s3://bucket/profiles
image_a = "localhost/demo/web:1.22"
image_b = "localhost/demo/web:1.24"

# %%
import altair as alt
import polars as pl

import wsp_notebooks as wsp
from wsp_notebooks import plots, show
from wsp_notebooks.stats import missed_by_chance

print(wsp.check_versions())
plots.setup()
store = wsp.open_store(store_url)
for image in (image_a, image_b):
    profile = store.profile(image)
    of = f"{profile['snapshot_count']} snapshots of {profile['container_count']} containers"
    print(f"{image}: {of}, {profile['nodes']} nodes")

# %% [markdown]
# ## How much changed
#
# `changed` nodes are in both, at shares that differ by 0.2 or more. With four and five containers, none of
# those differences is certain; what nearly all containers of one tag do and none of the other is.

# %%
changes = wsp.drift(store, image_a, image_b)
show(
    changes.group_by("change")
    .agg(
        nodes=pl.len(),
        certain=pl.col("certain").sum(),
        **{kind: (pl.col("certain") & (pl.col("kind") == kind)).sum() for kind in plots.KINDS},
    )
    .sort("change"),
    names={kind: f"certain: {kind}" for kind in plots.KINDS},
)

# %% [markdown]
# ## Both versions side by side
#
# Each circle is a number of nodes with that commonality in both. On the diagonal nothing changed. The left
# edge is what 1.24 gained, the lower edge what it lost: the bigger the circle in the upper left corner, the
# more certain new behaviour there is.

# %%
what = ["node_id", "commonality"]
both = (
    store.nodes(image_a)
    .select(what)
    .join(store.nodes(image_b).select(what), on="node_id", how="full", coalesce=True, suffix="_b")
    .with_columns(
        change=pl.when(pl.col("commonality").is_null())
        .then(pl.lit("gained"))
        .when(pl.col("commonality_b").is_null())
        .then(pl.lit("lost"))
        .otherwise(pl.lit("in both"))
    )
    .with_columns(pl.col("commonality", "commonality_b").fill_null(0).round(2))
    .group_by("commonality", "commonality_b", "change")
    .agg(nodes=pl.len())
    .sort("nodes", "commonality", "commonality_b", descending=True)
)
domain = ["gained", "lost", "in both"]
colour = alt.Color(
    "change:N", scale=alt.Scale(domain=domain, range=["#56B4E9", "#E69F00", "#c4c4c4"]), title=None
)
axis = {
    "scale": alt.Scale(domain=[-0.07, 1.07], nice=False),
    "axis": alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2f"),
}
base = alt.Chart(both).encode(
    x=alt.X("commonality:Q", title=plots.label(f"commonality in {image_a}"), **axis),
    y=alt.Y("commonality_b:Q", title=plots.label(f"commonality in {image_b}"), **axis),
)
diagonal = alt.Chart(pl.DataFrame({"commonality": [0.0, 1.0], "commonality_b": [0.0, 1.0]})).mark_line(
    color="#dddddd"
)
alt.layer(
    diagonal.encode(x="commonality:Q", y="commonality_b:Q"),
    base.mark_circle(opacity=1).encode(
        color=colour, size=alt.Size("nodes:Q", scale=alt.Scale(range=[260, 1800]), legend=None)
    ),
    base.mark_text(fontSize=10).encode(text="nodes:Q"),
).properties(
    width=440, height=360, title=alt.Title("Commonality in both versions", subtitle="numbers: nodes")
)

# %% [markdown]
# ## Whose behaviour it is
#
# By process: nodes gained to the right, lost to the left; dark where certain. Whole new processes come first
# in a review, then what the main process does newly.

# %%
tree_b = wsp.tree(store, image_b)
by_process = (
    changes.filter(pl.col("change") != "changed")
    .group_by("exe", "change", "certain")
    .agg(nodes=pl.len())
    .with_columns(
        signed=pl.when(pl.col("change") == "lost")
        .then(-pl.col("nodes").cast(pl.Int64))
        .otherwise(pl.col("nodes").cast(pl.Int64)),
        what=pl.format(
            "{}, {}", "change", pl.when("certain").then(pl.lit("certain")).otherwise(pl.lit("by chance?"))
        ),
        exe=pl.col("exe").map_elements(plots.label, return_dtype=pl.String),
    )
    .sort("exe", "certain", "change", descending=[False, True, False])
)
order = by_process.group_by("exe").agg(pl.col("nodes").filter("certain").sum(), every=pl.col("nodes").sum())
order = order.sort("nodes", "every", "exe", descending=[True, True, False])["exe"].to_list()
domain = ["gained, certain", "gained, by chance?", "lost, certain", "lost, by chance?"]
colours = ["#08519c", "#9ecae1", "#b04a00", "#f5c09a"]
alt.Chart(by_process).mark_bar().encode(
    x=alt.X("signed:Q", title="← nodes lost · nodes gained →", axis=alt.Axis(labelExpr="abs(datum.value)")),
    y=alt.Y("exe:N", sort=order, title=None, axis=alt.Axis(labelLimit=300)),
    color=alt.Color("what:N", scale=alt.Scale(domain=domain, range=colours), title=None),
    order=alt.Order("certain:N", sort="descending"),
).properties(width=480, height=alt.Step(19), title="Nodes gained and lost, by process")

# %% [markdown]
# ## What is new, certainly
#
# New programs, with what each is for: the process tree of the new version, of those that it gained with
# certainty. Here it is a script that watches the configuration.

# %%
new = changes.filter(pl.col("change") == "gained", "certain")
ids = new["node_id"].implode()
print(wsp.tree_text(tree_b.filter(pl.col("node_id").is_in(ids), pl.col("kind") == "process")))

# %% [markdown]
# What known programs do newly: network and files. A new socket and a new module are worth a line in a change
# review; so is a listening port that is gone.

# %%
in_both = store.nodes(image_a).filter(pl.col("kind") == "process")["node_id"].implode()
newly = changes.filter(
    "certain", pl.col("parent_id").is_in(in_both), ~pl.col("kind").is_in(["process", "syscall"])
)
show(
    newly.select("change", "kind", "exe", "target", "commonality_a", "commonality_b", "chance").sort(
        "change", "kind", "target"
    ),
    digits={"chance": 4},
    limit=25,
)

# %% [markdown]
# ## How many containers it takes
#
# How rare may a behaviour of the new version be, so that its absence in the old one is certain? With five and
# four containers, it must be in nearly all of them. With 30 and 30, one container of eight is enough. That is
# the reason to record some containers of a new tag before it is compared, and not one.

# %%
sizes = [4, 5, 8, 12, 20, 30, 50, 100]
least = [
    {
        "containers of each tag": size,
        "least containers": (
            n := next((n for n in range(1, size + 1) if missed_by_chance(n, size, size) < 0.05), None)
        ),
        "least commonality": n and n / size,
    }
    for size in sizes
]
show(pl.DataFrame(least))

# %% [markdown]
# ## What to do with it
#
# - Review what is certain and new, processes first. What was expected of the release, accept; what was not,
#   ask its authors.
# - Suppressions are by tag: a new tag is suggested anew (`40_signals_and_suppression`), with this as the
#   evidence that it behaves alike.
# - A tag that was pushed again compares with itself: `wsp diff IMAGE:TAG --revisions 1,2` after `wsp profiles
#   relearn`.
