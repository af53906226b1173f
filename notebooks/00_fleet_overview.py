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
# # Fleet overview
#
# **Which profiles are there, and which of them can be trusted already?**
#
# A profile says what is normal for one image and tag. It is worth as much as what it was learned from: how
# many containers, on how many hosts, for how long, and how much of it was lost. This notebook shows that for
# all profiles of a store.
#
# The sample store is a simulated fleet: four images with two tags each, and three new ones. `notebooks/run.sh
# --samples` makes it.

# %% tags=["parameters"]
store_url = "samples/fleet"  # or s3://bucket/profiles

# %%
import altair as alt
import polars as pl

import wsp_notebooks as wsp
from wsp_notebooks import plots, show

print(wsp.check_versions())
plots.setup()
store = wsp.open_store(store_url)
profiles = (
    store.profiles()
    .sort("revision")
    .unique("image", keep="last")
    .sort("status", "image", descending=[True, False])
)
print(f"{store}: {profiles.height} profiles, {profiles['snapshot_count'].sum():,} snapshots")

# %% [markdown]
# ## The profiles
#
# - `status`: a *stable* profile never changes again, and later snapshots are judged against it; a *learning*
#   one still grows.
# - `coverage`: the share of what a **next** container does that the profile knows already, estimated from
#   what it saw once or twice.
# - `commonality`: how alike its containers are, from 0 to 1.
# - `tag reused`: more than one image digest was seen under the tag. Such a profile mixes two programs; pin
#   digests, or relearn.

# %%
columns = [
    "image",
    "status",
    "snapshot_count",
    "container_count",
    "host_count",
    "nodes",
    "commonality",
    "coverage",
    "tag_reused",
]
show(
    profiles.select(columns),
    names={"snapshot_count": "snapshots", "container_count": "containers", "host_count": "hosts"},
)

# %% [markdown]
# ## Which can be trusted
#
# `wsp suppress suggest` proposes nothing for a profile below 5 containers, 2 hosts or a coverage of 0.9: the
# dashed lines. What is short of one of them needs more snapshots, not more analysis.

# %%
images = profiles["image"].to_list()
row = alt.Y("image:N", sort=images, title=None, axis=alt.Axis(labelLimit=320))
short = alt.Color("status:N", scale=alt.Scale(domain=["stable", "learning"], range=plots.COLOURS[:2]))


def bars(
    column: str, title: str, form: str, most: float, *, needed: float | None = None, first: bool = False
) -> alt.LayerChart:
    """One column of numbers as bars, with what is needed as a line."""
    x = alt.X(
        f"{column}:Q",
        title=None,
        scale=alt.Scale(domain=[0, most * 1.2]),
        axis=alt.Axis(values=[], grid=False),
    )
    base = alt.Chart(profiles).encode(y=row if first else row.axis(None))
    line = alt.Chart(pl.DataFrame({"needed": [needed]}, schema={"needed": pl.Float64}).drop_nulls())
    return alt.layer(
        base.mark_bar(height=13).encode(x=x, color=short),
        base.mark_text(align="left", dx=3).encode(x=x, text=alt.Text(f"{column}:Q", format=form)),
        line.mark_rule(strokeDash=[4, 3]).encode(x="needed:Q"),
    ).properties(
        width=130,
        height=alt.Step(20),
        title=alt.Title(title, fontSize=12, fontWeight="normal", frame="group"),
    )


alt.hconcat(
    bars("container_count", "containers", "d", profiles["container_count"].max(), needed=5, first=True),
    bars("host_count", "hosts", "d", profiles["host_count"].max(), needed=2),
    bars("coverage", "coverage", ".2f", 1, needed=0.9),
    bars("commonality", "commonality", ".2f", 1),
    spacing=8,
).properties(
    title=alt.Title("What each profile was learned from", subtitle="dashed: what a suggestion needs")
)

# %% [markdown]
# ## What is common, by kind of activity
#
# The same number for each kind of node. What containers listen on and read is nearly the same everywhere;
# where they connect to, and what they resolve, is not: each has only some of the peers. A column that is low
# in one image alone is worth a look. Here, a `capability` of 0.00 is one that a single container used and
# nobody else; `50_rare_behaviour` finds out which.

# %%
by_kind = (
    profiles.select("image", pl.col("commonality_by_kind").map.entries())
    .explode("commonality_by_kind")
    .unnest("commonality_by_kind")
    .rename({"key": "kind", "value": "commonality"})
)
cell = alt.Chart(by_kind).encode(
    x=alt.X("kind:N", sort=plots.KINDS, title=None, axis=alt.Axis(orient="top", labelAngle=0)),
    y=row,
)
alt.layer(
    cell.mark_rect().encode(color=plots.commonality_colour()),
    cell.mark_text().encode(text=alt.Text("commonality:Q", format=".2f"), color=plots.number_colour()),
).properties(width=alt.Step(74), height=alt.Step(22), title="Commonality by kind")

# %% [markdown]
# ## For how long they were watched
#
# Snapshots by hour since the first one. A profile can be stable after ten busy hours and never have seen the
# job that runs at night. Where that matters, merge with `--min-age 24h`: then no profile becomes stable
# before its windows span a day.

# %%
admitted = (
    store.snapshots()
    .filter(pl.col("outcome") == "admitted")
    .join(profiles, on=["image", "revision"], how="semi")
)
admitted = admitted.with_columns(
    hour=(pl.col("window_start") - pl.col("window_start").min().over("image")).dt.total_hours().cast(pl.Int32)
)
hours = admitted.group_by("image", "hour").agg(snapshots=pl.len()).sort("image", "hour")
cell = alt.Chart(hours).encode(
    x=alt.X("hour:O", title="hours since the first window", axis=alt.Axis(labelAngle=0)), y=row
)
alt.layer(
    cell.mark_rect().encode(
        color=alt.Color("snapshots:Q", scale=alt.Scale(range=["#f2f2f2", "#9a9a9a"]), legend=None)
    ),
    cell.mark_text(fontSize=10).encode(text="snapshots:Q"),
).properties(width=alt.Step(30), height=alt.Step(20), title="Snapshots by hour")

# %% [markdown]
# ## What was lost
#
# A snapshot that lost events still adds nodes, but does not count in commonality. Two things matter: the
# share of lossy snapshots, and kinds that some hosts cannot see at all (no DNS sensor, say): `least complete`
# is the share of containers with a lossless snapshot of that kind. Below 0.95 nothing of the kind is
# suggested for suppression.

# %%
lossy = (
    pl.col("completeness").map.entries().list.eval(pl.element().struct.field("value") == "lossy").list.any()
)
losses = admitted.group_by("image").agg(
    snapshots=pl.len(),
    lossy=lossy.sum(),
    hosts=pl.col("host").n_unique(),
    joined_late=(~pl.col("covers_start")).sum(),
)
least = (
    profiles.select("image", pl.col("completeness").map.entries())
    .explode("completeness")
    .unnest("completeness")
    .sort("value", "key")
    .group_by("image", maintain_order=True)
    .first()
    .select(
        "image",
        least_complete=pl.col("key") + pl.col("value").map_elements(" {:.2f}".format, return_dtype=pl.String),
    )
)
show(
    losses.join(least, on="image")
    .with_columns(share_lossy=pl.col("lossy") / pl.col("snapshots"))
    .select("image", "snapshots", "lossy", "share_lossy", "joined_late", "least_complete")
    .sort("share_lossy", "image", descending=[True, False]),
)

# %% [markdown]
# ## What to do with it
#
# - A learning profile with few containers: wait, or give the image more capture slots.
# - A stable profile with a coverage below 0.9: `wsp profiles relearn` with a longer `--learning-time`;
#   `60_choosing_thresholds` says how long.
# - Much loss of one kind: look at the hosts with `wsp-capture doctor` before believing a low commonality.
# - For one of the profiles, go on with `10_profile_and_commonality`.
