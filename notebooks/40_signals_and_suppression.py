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
# # Signals and suppression
#
# **Which alerts deserve a look, and which can be hidden without hiding an attack?**
#
# `wsp detect` judges every snapshot by rules, and by what a stable profile does not have. Each signal carries
# what the profile says of it: `unseen`, `known`, `learning`, `no_profile`, and the commonality of its node.
# `wsp suppress suggest` proposes to hide what nearly all containers do. This notebook shows what that leaves,
# and why *known* alone would be the wrong test.
#
# The sample fleet has 16 attacks in it, some of them while the profiles learned, and lists them beside the
# store. In a store of your own, the parts that need that list say that there is none.

# %% tags=["parameters"]
store_url = "samples/fleet"  # or s3://bucket/profiles

# %%
import json
from pathlib import Path

import altair as alt
import polars as pl

import wsp_notebooks as wsp
from wsp_notebooks import plots, show

print(wsp.check_versions())
plots.setup()
store = wsp.open_store(store_url)
signals = store.signals()
suppressions = store.suppressions()
still_open = signals["suppressed_by"].null_count()
print(f"{signals.height:,} signals, {still_open:,} of them open; {suppressions.height} suppressions")

# %% [markdown]
# ## What was raised
#
# By rule and by what the profile says. Most rules speak of things that the profile *knows*; `novelty` is by
# its nature about what it does not.

# %%
contexts = ["known", "learning", "unseen", "no_profile"]
severities = ["critical", "high", "medium", "low"]
counts = (
    signals.group_by("rule", "severity", "profile_context")
    .agg(signals=pl.len())
    .with_columns(rank=pl.col("severity").replace_strict(severities, [0, 1, 2, 3], return_dtype=pl.Int32))
    .with_columns(
        label=pl.format("{} ({})", "rule", "severity").map_elements(plots.label, return_dtype=pl.String)
    )
    .sort("rank", "rule", "profile_context")
)
cell = alt.Chart(counts).encode(
    x=alt.X("profile_context:N", sort=contexts, title=None, axis=alt.Axis(orient="top", labelAngle=0)),
    y=alt.Y(
        "label:N",
        sort=counts["label"].unique(maintain_order=True).to_list(),
        title=None,
        axis=alt.Axis(labelLimit=320),
    ),
)
colour = alt.Color("signals:Q", scale=alt.Scale(type="log", range=["#eff3ff", "#4292c6"]), legend=None)
alt.layer(
    cell.mark_rect().encode(color=colour),
    cell.mark_text(fontSize=10).encode(text=alt.Text("signals:Q", format=",d")),
).properties(width=alt.Step(84), height=alt.Step(19), title="Signals by rule and what the profile says")

# %% [markdown]
# ## Why "known" is no reason to hide
#
# A profile knows all that its containers did while it learned, and an attacker was one of them. What tells
# both apart is commonality. Below: the signals about known nodes by the commonality of the node, and those of
# attacks among them. Attacks stand at the left end, with one container of thirty; what all containers do
# stands at the right.


# %%
def attacks(url: str) -> pl.DataFrame:
    """Which node of which snapshot belongs to an attack, where the store is a simulated one; else no rows."""
    rows = []
    for file in sorted(Path(url).glob("truth/*.containers.jsonl")) if "://" not in url else []:
        for container in map(json.loads, file.read_text().splitlines()):
            for attack in container["attacks"]:
                rows += [(attack["name"], attack["snapshot_id"], node) for node in attack["nodes"]]
    return pl.DataFrame(
        rows, schema=dict.fromkeys(["attack", "snapshot_id", "node_id"], pl.String), orient="row"
    )


truth = attacks(store_url)
print(
    f"{truth['snapshot_id'].n_unique()} attacks are known beside the store"
    if truth.height
    else "no truth: nothing is marked"
)
judged = signals.join(truth, on=["snapshot_id", "node_id"], how="left", maintain_order="left")
judged = judged.with_columns(is_attack=pl.col("attack").is_not_null())
known = (
    judged.filter(pl.col("profile_context") == "known")
    .with_columns(bin=((pl.col("commonality") * 20).floor().clip(0, 19) / 20))
    .group_by("bin", "is_attack")
    .agg(signals=pl.len())
    .with_columns(
        end=pl.col("bin") + 0.05,
        of=pl.when("is_attack").then(pl.lit("attacks")).otherwise(pl.lit("everything else")),
    )
    .sort("bin", "of")
)
x = alt.X("bin:Q", scale=alt.Scale(domain=[0, 1], nice=False), title="commonality of the node")


def histogram(of: str, colour: str) -> alt.LayerChart:
    """Signals by commonality, with the threshold of a suggestion."""
    some = known.filter(pl.col("of") == of)
    most = alt.Scale(domain=[0, (some["signals"].max() or 1) * 1.15], nice=False)
    y = alt.Y("signals:Q", title="signals", scale=most, axis=alt.Axis(tickCount=3))
    base = alt.Chart(some).encode(x=x, y=y)
    threshold = alt.Chart(pl.DataFrame({"at": [0.8]})).mark_rule(strokeDash=[4, 3]).encode(x="at:Q")
    return alt.layer(
        base.mark_bar(stroke="white", color=colour).encode(x2="end:Q", y2=alt.datum(0)),
        base.mark_text(dy=-6, dx=15, fontSize=10).encode(text=alt.Text("signals:Q", format=",d")),
        threshold,
    ).properties(width=620, height=110, title=alt.Title(of, fontSize=12, fontWeight="normal", frame="group"))


alt.vconcat(histogram("everything else", "#56B4E9"), histogram("attacks", plots.COLOURS[4])).properties(
    title=alt.Title("Signals about known nodes, by commonality", subtitle="dashed: what a suggestion needs")
)

# %% [markdown]
# What four tests would hide. Only the last two are what `wsp suppress suggest` asks for: the process **and**
# the node common, and a profile that was learned from enough. The others hide attacks.


# %%
def evidence(path: str) -> pl.Expr:
    """A value of the evidence of a suggestion; null where there is none."""
    return pl.col("evidence").str.json_path_match(f"$.{path}")


suggested = suppressions.select(
    *["suppression_id", "state", "rule", "image"],
    profile_node_id=evidence("node.id"),
    profile_process_id=evidence("process.id"),
)
by = ["rule", "image", "profile_node_id", "profile_process_id"]
judged = judged.join(suggested, on=by, how="left", maintain_order="left").with_columns(
    # What was found by its name alone is never hidden.
    state=pl.when(pl.col("match") != "target").then("state")
)
both_common = (pl.col("commonality") >= 0.8) & (pl.col("process_commonality") >= 0.8)
tests = {
    "the profile knows it": pl.col("profile_context") == "known",
    "the process is common (0.8)": pl.col("process_commonality") >= 0.8,
    "process and node are common (0.8)": both_common,
    "it is suggested or accepted": pl.col("state").is_in(["suggested", "accepted"]),
}
rows = [
    judged.select(
        test=pl.lit(name),
        hides=test.fill_null(False).sum(),
        share=test.fill_null(False).mean(),
        of_attacks=(test.fill_null(False) & pl.col("is_attack")).sum(),
        attack_signals=pl.col("is_attack").sum(),
    )
    for name, test in tests.items()
]
show(
    pl.concat(rows),
    names={
        "test": "hide where …",
        "share": "of all",
        "of_attacks": "attack signals hidden",
        "attack_signals": "of",
    },
)

# %% [markdown]
# ## What is suggested
#
# Each suggestion with its evidence: the commonality of `process` and `node`, the least that the node's may be
# (95 %), on how many hosts it was, and how many signals it would hide. `accepted` ones hide already; somebody
# has signed them.


# %%
table = suppressions.select(
    *["state", "rule", pl.col("image").str.replace("^.*/", "")],
    target=evidence("target"),
    process=evidence("process.commonality").cast(pl.Float64),
    node=evidence("node.commonality").cast(pl.Float64),
    at_least=evidence("node.interval[0]").cast(pl.Float64),
    hosts=evidence("node.hosts").cast(pl.Int64),
    signals=evidence("signals").cast(pl.Int64),
    reason="reason",
)
show(table.sort("state", "rule", "image"), width=44)

# %% [markdown]
# ## What is left
#
# From all signals to those that a person reads. Signals that are about one node of one image are one thing to
# decide on, however often it happened.

# %%
left = judged.filter(pl.col("state").is_null())
things = ["rule", "image", "profile_process_id", "profile_node_id"]
steps = [
    ("all signals", judged.height),
    ("without accepted ones", judged.filter(pl.col("state").fill_null("") != "accepted").height),
    ("without suggested ones, too", left.height),
    (
        "the same node of one image once",
        left.with_columns(pl.col("profile_node_id").fill_null(pl.col("signal_id"))).unique(things).height,
    ),
]
bars = alt.Chart(pl.DataFrame(steps, schema=["step", "signals"], orient="row")).encode(
    y=alt.Y("step:N", sort=None, title=None, axis=alt.Axis(labelLimit=300)),
    x=alt.X("signals:Q", title=None, axis=alt.Axis(values=[], grid=False)),
)
alt.layer(
    bars.mark_bar(height=18, color=plots.COLOURS[0]),
    bars.mark_text(align="left", dx=4).encode(text=alt.Text("signals:Q", format=",d")),
).properties(width=480, height=alt.Step(26), title="Signals left")

# %% [markdown]
# The worst of them: by severity, unseen before known, rare before common. Numbers in names are written `#`,
# so that programs that a build names anew each time are one line. `attack` is what the sample's truth says of
# it.

# %%
order = pl.col("severity").replace_strict(severities, [0, 1, 2, 3], return_dtype=pl.Int32)
worst = (
    left.with_columns(
        what=pl.col("target").str.replace_all(r"[0-9]+", "#"),
        rank=order,
        seen=pl.col("profile_context") != "unseen",
    )
    .sort("rank", "seen", pl.col("commonality").fill_null(0), "rule", "time", "signal_id")
    .group_by("image", "what", maintain_order=True)
    .agg(
        *[pl.col(name).first() for name in ("severity", "profile_context", "commonality")],
        rules=pl.col("rule").unique(maintain_order=True),
        containers=pl.col("container_id").n_unique(),
        signals=pl.len(),
        attack=pl.col("attack").drop_nulls().first(),
    )
    .with_columns(pl.col("image").str.replace("^.*/", ""))
)
show(
    worst.select(
        "severity",
        "profile_context",
        "commonality",
        "image",
        "what",
        "rules",
        "containers",
        "signals",
        "attack",
    ),
    limit=32,
    width=56,
    names={"profile_context": "profile"},
)

# %%
if truth.height:
    told_of = judged.filter("is_attack")["attack"].unique()
    missed = sorted(set(truth["attack"]) - set(told_of))
    hidden = judged.filter("is_attack", pl.col("state").is_not_null()).height
    print(f"kinds of attack with a signal about their own nodes: {len(told_of)}; without: {missed or 'none'}")
    print(f"attack signals that a suggestion or suppression hides: {hidden}")

# %% [markdown]
# ## What to do with it
#
# - Read what is left from the top: `wsp signals show ID` has the process tree and what the profile says.
# - Accept suggestions whose evidence you believe: `wsp suppress accept ID --author NAME --reason TEXT
#   --expires 2027-06-01`. The signals stay in the table, marked; `wsp suppress remove ID` takes it back.
# - Do not write a suppression by hand because a signal is annoying: raise the rule's threshold, or fix what
#   the container does.
# - What nearly all containers did while the profile learned is known behaviour, even where an attacker did
#   it.
