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
# # One profile and its commonality
#
# **What do the containers of one image do, and how sure is that?**
#
# A profile is a tree: processes below those that forked them, and below each what it read, wrote, resolved,
# connected to. Every node has its *commonality*: the share of the containers that **could** have shown it in
# which it **was** seen. This notebook shows one profile, where its numbers come from, and what they are
# worth.
#
# The sample store holds recordings of real containers: nginx, redis, postgres and cron, each recorded for a
# minute at a time.

# %% tags=["parameters"]
store_url = "samples/recordings"  # or s3://bucket/profiles
image = "localhost/demo/web:1.22"

# %%
import altair as alt
import polars as pl

import wsp_notebooks as wsp
from wsp_notebooks import plots, show
from wsp_notebooks.counts import able, admitted, sightings

print(wsp.check_versions())
plots.setup()
store = wsp.open_store(store_url)
profile = store.profile(image)
print(
    f"{image}, revision {profile['revision']}, {profile['status']}: {profile['snapshot_count']} snapshots of "
    f"{profile['container_count']} containers on {profile['host_count']} host(s), {profile['nodes']} nodes"
)

# %% [markdown]
# ## What they do
#
# `[init]` is the container's own tree. `[exec session]` is what entered from outside: `docker exec`, `kubectl
# exec`, health probes. The numbers on the right say how much each process did, the colour how much of that
# its containers have in common.

# %%
tree = wsp.tree(store, image)
wsp.plot_tree(tree, title=image)

# %% [markdown]
# nginx is in all containers, but its 148 files are not: their cell is pale. The same tree as text, for
# processes and their network; `wsp show` prints it with the files, too.

# %%
print(wsp.tree_text(tree.filter(pl.col("kind").is_in(["process", "listen", "connect", "dns"]))))

# %% [markdown]
# ## How common things are
#
# A good profile has most of its nodes at the right end. What is in the middle is done by some: a
# configuration, a job that only ran in some windows. What is at the left end is either rare or *named anew
# each time* (temporary files, ids), which paths tell apart.

# %%
nodes = store.nodes(image)
binned = (
    nodes.drop_nulls("commonality")
    .with_columns(bin=(pl.col("commonality") * 10).ceil().clip(1, 10).cast(pl.Int32))
    .group_by("bin", "kind")
    .agg(nodes=pl.len())
    .with_columns(
        share=pl.format("{}–{}", ((pl.col("bin") - 1) / 10).round(1), (pl.col("bin") / 10).round(1)),
        order=pl.col("kind").replace_strict(
            plots.KINDS, list(range(len(plots.KINDS))), return_dtype=pl.Int32
        ),
    )
    .sort("bin", "order")
)
shares = [f"{(n - 1) / 10:.1f}–{n / 10:.1f}" for n in range(1, 11)]
totals = binned.group_by("share").agg(pl.col("nodes").sum()).sort("share")
x = alt.X(
    "share:O", sort=shares, scale=alt.Scale(domain=shares), title="commonality", axis=alt.Axis(labelAngle=0)
)
alt.layer(
    alt.Chart(binned)
    .mark_bar()
    .encode(
        x=x,
        y=alt.Y("nodes:Q", title="nodes"),
        color=alt.Color("kind:N", scale=plots.KIND, sort=plots.KINDS),
        order="order:Q",
    ),
    alt.Chart(totals).mark_text(dy=-6).encode(x=x, y="nodes:Q", text="nodes:Q"),
).properties(width=620, height=220, title="Nodes by commonality")

# %% [markdown]
# Files that not all containers have, by folder. nginx keeps the body of each request in a file that it
# numbers: one container gets to 60, another to 90. Such names tell nothing; folding turns them into one
# pattern once enough containers were seen.

# %%
partly = nodes.filter(pl.col("kind") == "file", pl.col("commonality") < 1)
show(
    partly.with_columns(folder=pl.col("path").str.replace(r"/[^/]*$", "/"))
    .group_by("exe", "folder")
    .agg(
        files=pl.len(),
        example=pl.col("path").str.replace(r"^.*/", "").min(),
        least=pl.col("commonality").min(),
        most=pl.col("commonality").max(),
    )
    .sort("files", "exe", "folder", descending=[True, False, False]),
    limit=8,
    names={"least": "commonality from", "most": "to"},
)

# %% [markdown]
# ## What a number is worth
#
# Three of five containers are 0.60, and so are 120 of 200. The first says little: its 95 % interval (Wilson)
# goes from 0.23 to 0.88. Even "in all five" may be no more than half of them. `stable` is only said of nodes
# whose interval is narrower than ± 0.1: of none in a recording of five containers.

# %%
intervals = (
    nodes.drop("members")
    .filter(pl.col("kind").is_in(["process", "connect", "listen", "capability"]))
    .with_columns(count=pl.format("{}/{}", "container_count", "eligible_containers"))
    .sort("commonality", "eligible_containers", "kind", "target", descending=[True, True, False, False])
    .group_by("count", maintain_order=True)
    .head(3)
    .with_columns(
        owner=pl.when(pl.col("kind") != "process")
        .then(pl.col("exe").str.replace("^.*/", " of "))
        .fill_null("")
    )
    .with_columns(
        label=pl.format("{} {}{}", "kind", "target", "owner").map_elements(
            plots.label, return_dtype=pl.String
        )
    )
)
y = alt.Y("node_id:N", sort=intervals["node_id"].to_list(), title=None, axis=None)
domain = alt.Scale(domain=[0, 1])
base = alt.Chart(intervals).encode(y=y)
names = base.mark_text(align="right", x=-8).encode(text="label:N")
alt.layer(
    names,
    base.mark_rule(strokeWidth=4, color="#9ecae1").encode(
        x=alt.X("commonality_low:Q", scale=domain, title="commonality"), x2="commonality_high:Q"
    ),
    base.mark_point(filled=True, size=70, color="#08519c", opacity=1).encode(x="commonality:Q"),
    base.mark_text(align="right", dx=-7, dy=-8, fontSize=10).encode(x="commonality:Q", text="count:N"),
).properties(
    width=430,
    height=alt.Step(23),
    title=alt.Title(
        "Commonality with its 95 % interval",
        subtitle="numbers: containers that have it / could have shown it",
    ),
)

# %% [markdown]
# ## Where a number comes from
#
# Each node has `members`: one bit for each snapshot of the profile, in order. With the ledger, which says
# whose snapshot that was and what was lost in it, every count follows. Below are three nodes: a filled square
# is a snapshot that showed it, a cross one that **could not** have.
#
# Container 2 was joined when it ran already. It could not show how it started, so the entrypoint is judged
# among the other four: 4/4, not 4/5. nginx and its connection can be shown by any window.

# %%
snapshots = admitted(store, image)
three = nodes.filter(
    ((pl.col("kind") == "connect") & (pl.col("exe") == "/usr/sbin/nginx"))
    | ((pl.col("kind") == "process") & (pl.col("root_kind") == "init"))
).sort("kind", "commonality", "target", descending=[True, False, False])
heads = three.select(
    node=pl.int_range(pl.len(), dtype=pl.UInt32),
    kind="kind",
    startup=pl.col("phase") == "startup",
    label=pl.format("{} {}: {}/{}", "kind", "target", "container_count", "eligible_containers").map_elements(
        plots.label, return_dtype=pl.String
    ),
)
grid = (
    heads.join(able(snapshots), on=["kind", "startup"])
    .join(
        sightings(three, snapshots).select("node", "ordinal", seen=True), on=["node", "ordinal"], how="left"
    )
    .with_columns(
        state=pl.when("seen")
        .then(pl.lit("seen"))
        .when("able")
        .then(pl.lit("not seen"))
        .otherwise(pl.lit("could not be seen")),
        container=pl.format("container {}", pl.col("number") + 1),
    )
)
states = ["seen", "not seen", "could not be seen"]
alt.Chart(grid).mark_point(filled=True, size=110, opacity=1).encode(
    x=alt.X("ordinal:O", title="snapshot, in order", axis=alt.Axis(labelAngle=0)),
    y=alt.Y("container:N", title=None),
    color=alt.Color(
        "state:N", scale=alt.Scale(domain=states, range=["#08519c", "#c6c6c6", "#e0a080"]), title=None
    ),
    shape=alt.Shape(
        "state:N", scale=alt.Scale(domain=states, range=["square", "square", "cross"]), title=None
    ),
    row=alt.Row(
        "label:N",
        sort=heads["label"].to_list(),
        title=None,
        header=alt.Header(labelAngle=0, labelAnchor="start", labelOrient="top", labelPadding=4),
    ),
).properties(width=620, height=100, title="Members: who showed it when")

# %% [markdown]
# The package `wsp_notebooks` computes all counts once more from members and ledger, on its own. What the
# merge wrote must be that.

# %%
computed = wsp.commonality(store, image)
both = computed.join(nodes, on="node_id", suffix="_stored", validate="1:1")
names = [
    "snapshot_count",
    "container_count",
    "host_count",
    "eligible_containers",
    "lossy_count",
    "commonality",
    "rare",
    "late",
]
show(
    pl.DataFrame(
        {
            "column": names,
            "nodes": both.height,
            "differ": [(~both[name].eq_missing(both[f"{name}_stored"])).sum() for name in names],
        }
    )
)

# %% [markdown]
# ## What to do with it
#
# - Take commonality together with its interval: with five containers, only 1.00 and the rare end mean
#   something.
# - Judge what came from outside (`[exec session]`) apart: a person's `kubectl exec` is rare and harmless, or
#   rare and not.
# - Whether the profile has seen enough is the question of `20_learning_curve_and_coverage`.
