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
# # Hunting for rare behaviour
#
# **What did a single container do that none of its siblings did, and is it worth a look?**
#
# A profile counts. What it has in one container only is an operator at a shell, a job that seldom runs, a
# name that is new each time, or somebody who should not be there. No rule is needed to find it: containers of
# one image are each other's baseline. This notebook takes all rare nodes, puts names that change aside, and
# joins what is left to episodes: one container, one program, one time.

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
nodes = store.nodes(image).with_row_index("node")
snapshots = admitted(store, image)
rare = nodes.filter("rare")
of = f"{nodes.height} nodes were seen in one of {snapshots['number'].n_unique()} containers"
print(f"{image}: {rare.height} of {of}")

# %% [markdown]
# ## Names that change
#
# Rare nodes by process and folder. Where many containers have one name each in the same folder, the *folder*
# is common and the names are not: no reason to look. They are put aside where five or more containers have
# rare names in one folder. (Below 50 names they are not folded into a pattern; a merge with `--fold-after 20`
# does it here.)

# %%
seen = sightings(nodes, snapshots).join(rare.select("node"), on="node", how="semi")
where = seen.group_by("node").agg(pl.col("number").first(), snapshot=pl.col("ordinal").min(), times=pl.len())
folder = pl.when(pl.col("kind") == "file").then(pl.col("path").str.replace(r"/[^/]*$", "/"))
rare = rare.join(where, on="node").with_columns(folder=folder, container=pl.col("number") + 1)
folders = (
    rare.drop_nulls("folder")
    .group_by("parent_id", "exe", "folder")
    .agg(names=pl.len(), containers=pl.col("number").n_unique(), example=pl.col("path").min())
    .sort("containers", "exe", "folder", descending=[True, False, False])
)
changing = folders.filter(pl.col("containers") >= 5)
show(folders.select("exe", "folder", "names", "containers", "example"), limit=6)

# %% [markdown]
# ## Who did what nobody else did
#
# What is left, by container and kind. Most containers have nothing of their own; those that have any stand
# out.

# %%
left = rare.join(changing, on=["parent_id", "folder"], how="anti")
by_container = left.group_by("container", "kind").agg(nodes=pl.len())
every = pl.DataFrame({"container": range(1, snapshots["number"].n_unique() + 1)})
rank = pl.col("kind").replace_strict(plots.KINDS, list(range(len(plots.KINDS))), return_dtype=pl.Int32)
alt.layer(
    alt.Chart(by_container.with_columns(rank=rank).sort("container", "rank"))
    .mark_bar()
    .encode(
        x=alt.X(
            "container:O",
            scale=alt.Scale(domain=every["container"].to_list()),
            axis=alt.Axis(labelAngle=0),
            title="container, in order of arrival",
        ),
        y=alt.Y("nodes:Q", title="rare nodes"),
        color=alt.Color("kind:N", scale=plots.KIND, sort=plots.KINDS, title="kind"),
        order="rank:Q",
    ),
    alt.Chart(by_container.group_by("container").agg(pl.col("nodes").sum()))
    .mark_text(dy=-6)
    .encode(x="container:O", y="nodes:Q", text="nodes:Q"),
).properties(width=640, height=200, title="Rare nodes by container, without names that change")

# %% [markdown]
# ## Episodes
#
# A rare process takes all that hangs from it along: one episode. What a common process did once is an episode
# of that process. What each contains decides how bad it looks:
#
# - `foreign`: a program that does not come with the image (written, in memory, on a tmpfs);
# - `remotes`, `listens`: whom it talks to;
# - `writes`: files that it wrote or created.

# %%
by_id = {row["node_id"]: row for row in left.filter(pl.col("kind") == "process").iter_rows(named=True)}


def top(node: dict) -> str:
    """The highest rare process above a node; or the process that it belongs to."""
    at = node["node_id"] if node["kind"] == "process" else node["parent_id"]
    while at in by_id and by_id[at]["parent_id"] in by_id:
        at = by_id[at]["parent_id"]
    return at


labels = dict(wsp.tree(store, image).filter(pl.col("kind") == "process").select("node_id", "label").rows())
wrote = pl.col("access").list.set_intersection(["write", "create", "append"]).list.len() > 0
foreign = pl.col("file_origin").is_in(["upper", "copied_up", "tmpfs", "memfd", "deleted"])
episodes = (
    left.with_columns(top=pl.Series([top(row) for row in left.iter_rows(named=True)], dtype=pl.String))
    .group_by("container", "top")
    .agg(
        snapshot=pl.col("snapshot").min(),
        nodes=pl.len(),
        foreign=((pl.col("kind") == "process") & foreign).sum(),
        remotes=pl.col("target").filter(pl.col("kind") == "connect").unique().sort(),
        listens=(pl.col("kind") == "listen").sum(),
        writes=pl.col("path").filter((pl.col("kind") == "file") & wrote).unique().sort(),
        capabilities=pl.col("name").filter(pl.col("kind") == "capability").unique().sort(),
        node_ids=pl.col("node_id"),
    )
    .with_columns(process=pl.col("top").replace_strict(labels, default=None))
    .sort(
        "foreign",
        pl.col("capabilities").list.len(),
        "nodes",
        "container",
        "process",
        descending=[True, True, True, False, False],
    )
)
when = snapshots.select(
    pl.col("ordinal").cast(pl.UInt32).alias("snapshot"), pl.col("window_start").alias("window")
)
table = episodes.join(when, on="snapshot", how="left", maintain_order="left")
show(
    table.select(
        "container", "window", "process", "nodes", "foreign", "remotes", "listens", "writes", "capabilities"
    ),
    limit=15,
    width=52,
)

# %% [markdown]
# The most suspicious one as a tree, with what its container did besides. The numbers are what the profile
# knows: a node at 1.00 is what all do, and is left out unless something rare hangs from it.

# %%
first = table.row(0, named=True)
ids = set(table.filter(pl.col("container") == first["container"])["node_ids"].explode())
parents = dict(nodes.select("node_id", "parent_id").rows())
for node_id in list(ids):
    while (node_id := parents.get(node_id)) is not None:
        ids.add(node_id)
print(f"container {first['container']}\n")
print(wsp.tree_text(wsp.tree(store, image).filter(pl.col("node_id").is_in(list(ids)))))

# %% [markdown]
# ## What rules said of it
#
# A hunt is for what no rule knows. Which rules raised signals about the nodes of each episode: where there is
# none and the episode does not look harmless, a rule is missing.

# %%
signals = store.signals().filter(pl.col("image") == wsp.image_of(image))
about = (
    table.with_row_index("episode")
    .explode("node_ids")
    .rename({"node_ids": "node_id"})
    .join(signals.select("node_id", "rule", "severity"), on="node_id", how="left")
    .group_by("episode", maintain_order=True)
    .agg(
        *[pl.col(name).first() for name in ("container", "process", "nodes")],
        rules=pl.col("rule").drop_nulls().unique().sort(),
    )
    .sort("episode")
)
show(about.drop("episode"), limit=15, width=70)

# %% [markdown]
# ## The whole fleet: programs that one container ran
#
# The same over all profiles: programs by the number of images and containers that ran them, the rarest first.
# What is at the top is in one container of the whole fleet. Numbers in names are written `#`.

# %%
programs = (
    store.nodes()
    .filter(pl.col("kind") == "process")
    .with_columns(program=pl.col("exe").str.replace_all(r"[0-9]+", "#"))
    .group_by("program")
    .agg(
        images=pl.col("image").n_unique(),
        containers=pl.col("container_count").sum(),
        origins=pl.col("file_origin").drop_nulls().unique().sort(),
        example=pl.col("image").min(),
    )
    .filter(pl.col("containers") <= 2)
    .sort("containers", "images", "program")
)
show(programs, limit=20)

# %% [markdown]
# ## What to do with it
#
# - An episode with a foreign program, a capability of its own or a remote that nobody else has: look at the
#   snapshot (`wsp sql` over `activity`, or the container itself), and ask who did it.
# - An operator's session: harmless, and never common. Leave it rare; do not hide it.
# - A program that one image needs seldom: more learning makes it less rare. `20_learning_curve_and_coverage`
#   says whether that is near.
# - An episode that no rule told: write a rule (`analyze/rules/README.md`), and test it on these nodes.
