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
# # Choosing thresholds
#
# **For how long should a profile learn, and what would it have missed?**
#
# A profile that stops early is there soon, and then calls much of what its containers do *novel*; one that
# learns for long is late, and what happens meanwhile becomes part of it. `wsp backtest` replays the history
# of a store and says, for each threshold, what a profile that had stopped there would not have known of the
# containers that came after. This notebook reads what it wrote:
#
# ```
# wsp backtest --store STORE --snapshots 5,10,20,50,100,200 --hours 1,6,12,24,48 \
#     --format parquet > backtest.parquet
# ```
#
# It reaches as far back as the snapshots do (`wsp compact --keep-raw`).

# %% tags=["parameters"]
backtest = "samples/backtest.parquet"
backtest_folded = "samples/backtest-fold-after-20.parquet"  # with --fold-after 20; or None
target = 0.97  # share of a new container's nodes that should be known
budget = 5.0  # novel nodes a new container that somebody is willing to look at

# %%
import altair as alt
import polars as pl
from IPython.display import display

import wsp_notebooks as wsp
from wsp_notebooks import plots, show

print(wsp.check_versions())
plots.setup()
history = pl.read_parquet(backtest).sort("image", "threshold", "snapshots", "at")
# What the history does not reach says nothing; nor do one or two later containers.
usable = history.filter(pl.col("reached"), pl.col("later_containers") >= 3)
if usable.is_empty():
    raise ValueError("the history is too short: after no threshold came three more containers")
print(f"{history['image'].n_unique()} images, {usable.height} of {history.height} thresholds can be judged")

# %% [markdown]
# ## Learned from so many snapshots
#
# Each line is an image, the dark one their median: how many nodes of a container that comes later are not
# known. The more novel nodes, the more novelty signals a day. The curve is steep up to some 50 snapshots;
# behind that, twice the snapshots save a few nodes only.


# %%
def curves(unit: str, column: str, title: str, lines: list[float]) -> alt.LayerChart:
    """Novel nodes over a threshold: images as thin lines, their median as a thick one with numbers."""
    some = usable.filter(pl.col("threshold") == unit)
    middle = (
        some.group_by("at")
        .agg(pl.col(column).median(), images=pl.len())
        .filter(pl.col("images") >= 3)
        .sort("at")
    )
    x = alt.X(
        "at:Q",
        title=title,
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(values=middle["at"].to_list(), format="d"),
    )
    y = alt.Y(
        f"{column}:Q",
        title="novel nodes of a later container",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(values=[1, 2, 5, 10, 20, 50]),
    )
    thin = alt.Chart(some).mark_line(color="#c4c4c4", point=alt.OverlayMarkDef(size=12, color="#c4c4c4"))
    thick = alt.Chart(middle).encode(x=x, y=y)
    rule = alt.Chart(pl.DataFrame({column: lines})).mark_rule(strokeDash=[4, 3]).encode(y=y)
    return alt.layer(
        thin.encode(x=x, y=y, detail="image:N"),
        rule,
        thick.mark_line(color=plots.COLOURS[0], strokeWidth=3),
        thick.mark_text(dy=-10, dx=14, fontSize=11, fontWeight="bold").encode(
            text=alt.Text(f"{column}:Q", format=".1f")
        ),
    ).properties(width=560, height=240)


curves("snapshots", "novel_nodes", "learned from so many snapshots", [budget]).properties(
    title=alt.Title("What more snapshots save", subtitle="dark: median of the images · dashed: the budget")
)

# %% [markdown]
# ## Learned for so many hours
#
# The same by time. It says how long one has to wait for a new version to be judged, and it depends on how
# many containers are recorded at once: here, each tag gets some 20 snapshots an hour.

# %%
curves("hours", "novel_nodes", "learned for so many hours", [budget]).properties(
    title=alt.Title("What more time saves", subtitle="dark: median of the images · dashed: the budget")
)

# %% [markdown]
# ## What it takes
#
# The first threshold at which each image reaches the target share of known nodes, and keeps within the budget
# of novel ones. The *largest* number of a column is the threshold for all images. An image without one has
# not been seen long enough to say.


# %%
def least(good: pl.Expr, name: str) -> pl.DataFrame:
    """The least threshold of each image and unit from which on it is good."""
    worst_bad = pl.col("at").filter(~good).max().fill_null(0)
    first = usable.group_by("image", "threshold").agg(at=pl.col("at").filter(pl.col("at") > worst_bad).min())
    return first.pivot("threshold", index="image", values="at").select(
        "image", pl.col("snapshots", "hours").name.suffix(f" ({name})")
    )


known = least(pl.col("observed_coverage") >= target, f"{target:.0%} known")
within = least(pl.col("novel_nodes") <= budget, f"≤ {budget:g} novel")
containers = usable.group_by("image").agg(later_containers=pl.col("later_containers").max())
show(known.join(within, on="image").join(containers, on="image").sort("image"), width=50)

# %% [markdown]
# ## Can the profile's own estimate be trusted?
#
# Every point is an image at a threshold: what it predicted of the next container (`coverage`), and what came.
# Below the line the prediction was too good. With few containers it is, by many points; so a threshold on
# snapshots alone is not enough: 20 snapshots of two containers are worth two containers. `wsp merge
# --min-containers` sets a floor.

# %%
groups = ["3 to 5", "6 to 10", "more than 10"]
points = usable.drop_nulls(["predicted_coverage", "observed_coverage"]).with_columns(
    group=pl.when(pl.col("containers") <= 5)
    .then(pl.lit(groups[0]))
    .when(pl.col("containers") <= 10)
    .then(pl.lit(groups[1]))
    .otherwise(pl.lit(groups[2]))
)
scale = alt.Scale(domain=[0.75, 1], nice=False, clamp=True)
line = alt.Chart(
    pl.DataFrame({"predicted_coverage": [0.75, 1.0], "observed_coverage": [0.75, 1.0]})
).mark_line(color="#999999")
x, y = (
    alt.X("predicted_coverage:Q", scale=scale, title="predicted"),
    alt.Y("observed_coverage:Q", scale=scale, title="observed"),
)
by_group = alt.Scale(domain=groups, range=[plots.COLOURS[4], plots.COLOURS[1], plots.COLOURS[0]])
shapes = alt.Scale(domain=groups, range=["triangle-up", "square", "circle"])
alt.layer(
    line.encode(x=x, y=y),
    alt.Chart(points)
    .mark_point(filled=True, size=48, opacity=0.8)
    .encode(
        x=x,
        y=y,
        color=alt.Color("group:N", scale=by_group, title="containers"),
        shape=alt.Shape("group:N", scale=shapes, title="containers"),
    ),
).properties(width=360, height=300, title="Predicted and observed coverage")

# %%
error = pl.col("predicted_coverage") - pl.col("observed_coverage")
show(
    points.group_by("group")
    .agg(
        points=pl.len(),
        too_good_by=error.mean(),
        at_worst=error.max(),
        least_observed=pl.col("observed_coverage").min(),
    )
    .sort("group"),
    names={"group": "containers learned from"},
    digits={"too_good_by": 3, "at_worst": 3, "least_observed": 3},
)

# %% [markdown]
# ## Names that are never the same
#
# Some novelty does not go away with learning: a file that each container names for itself is new in each new
# container. Folding turns such names into a pattern, by default from 50 of them on. With `--fold-after 20`
# that happens earlier: the same history, replayed with it.

# %%
if backtest_folded:
    folded = pl.read_parquet(backtest_folded)
    columns = ["observed_coverage", "novel_nodes", "novel_containers"]
    sets = [("50", usable), ("20", folded.filter(pl.col("reached"), pl.col("later_containers") >= 3))]
    compared = pl.concat(
        frame.filter(pl.col("threshold") == "snapshots")
        .group_by("at")
        .agg(images=pl.len(), **{column: pl.col(column).median() for column in columns})
        .with_columns(fold_after=pl.lit(name))
        for name, frame in sets
    )
    table = (
        compared.filter(pl.col("images") >= 3)
        .pivot("fold_after", index="at", values=columns, sort_columns=True)
        .sort("at")
    )
    names = {
        f"{column}_{after}": f"{what}, fold after {after}"
        for column, what in zip(columns, ["known", "novel nodes", "containers with any"], strict=True)
        for after in ("50", "20")
    }
    print("medians of the images, by snapshots learned from")
    display(show(table, names={"at": "snapshots", **names}))

# %% [markdown]
# ## What to do with it
#
# - Take the largest threshold of the table above that you can wait for: `wsp merge --max-snapshots N
#   --learning-time DURATION`, with a floor: `--min-containers 10`.
# - Where the curve is flat and novelty remains, the rest is names: fold earlier, or accept it.
# - What a fleet of your own needs, only its own history says: run the backtest again once there are some
#   weeks of it.
