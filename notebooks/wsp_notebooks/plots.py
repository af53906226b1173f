"""Charts in one style: readable with any colour vision, numbers beside colours.

Needs the extra `plots` (altair, and vl-convert, which draws without a browser or a network).
"""

from typing import Any

import altair as alt
import polars as pl

from wsp_notebooks.text import printable, shorten
from wsp_notebooks.tree import FACTS

#: Commonality from 0 to 1: a scale that reads the same with any colour vision and in grey.
COMMONALITY = alt.Scale(scheme="yellowgreenblue", domain=[0, 1])
#: Colours of Okabe and Ito (2008), told apart with any colour vision.
COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A8A8A", "#000000"]
KINDS = ["process", "file", "dns", "connect", "listen", "syscall", "capability"]
#: The same colour for a kind in all notebooks.
KIND = alt.Scale(domain=KINDS, range=COLOURS[: len(KINDS)])

# vl-convert brings it along: pictures are the same on every machine.
_FONT = "Liberation Sans"


@alt.theme.register("wsp", enable=False)
def _theme() -> alt.theme.ThemeConfig:
    return {
        "config": {
            "font": _FONT,
            "background": "white",
            "axis": {
                "labelFontSize": 11,
                "titleFontSize": 12,
                "titleFontWeight": "normal",
                "gridColor": "#e6e6e6",
            },
            "legend": {"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"},
            "header": {"labelFontSize": 12, "titleFontSize": 12, "labelFontWeight": "bold"},
            "title": {
                "fontSize": 14,
                "anchor": "start",
                "subtitleFontSize": 12,
                "subtitleColor": "#555555",
            },
            "range": {"category": COLOURS},
            "view": {"stroke": None},
        }
    }


def setup() -> None:
    """Charts as pictures, drawn here: the notebook needs no script from elsewhere, and shows on any page."""
    alt.theme.enable("wsp")
    alt.renderers.enable("png", scale_factor=1.5)
    alt.data_transformers.disable_max_rows()


def commonality_colour(field: str = "commonality", title: str = "commonality") -> alt.Color:
    """A colour for a share from 0 to 1."""
    return alt.Color(
        f"{field}:Q", scale=COMMONALITY, title=title, legend=alt.Legend(format=".1f", gradientLength=120)
    )


def number_colour(field: str = "commonality") -> Any:  # noqa: ANN401  (altair's own name for it is long)
    """The colour of a number that stands on that colour."""
    return alt.when(alt.datum[field] > 0.55).then(alt.value("white")).otherwise(alt.value("black"))


def plot_tree(
    tree: pl.DataFrame, *, title: str | None = None, rows: int = 60, label_width: int = 60
) -> alt.LayerChart | alt.HConcatChart:
    """The processes of a tree, each with its commonality, and beside it what it did.

    That is, by kind, the number of nodes, and their mean commonality as colour.

    `rows`: processes that are drawn; `label_width`: characters of a label.
    """
    processes = tree.filter(pl.col("kind") == "process").with_row_index("row")
    left_out = max(0, processes.height - rows)
    processes = processes.head(rows).with_columns(
        pl.col("label").map_elements(lambda text: shorten(text, label_width), return_dtype=pl.String),
        number=_number("commonality"),
    )
    below = processes.select(pl.col("node_id").alias("parent_id"), pl.col("row").alias("parent_row"))
    processes = processes.join(below, on="parent_id", how="left", maintain_order="left")
    depths = max(processes["depth"].to_list(), default=0) + 1
    longest = max(
        (len(label) + 3 * depth for label, depth in processes.select("label", "depth").rows()), default=20
    )

    y = alt.Y("row:O", axis=None, scale=alt.Scale(paddingInner=0.08))
    size = {"height": alt.Step(21)}
    base = alt.Chart(processes)
    colour = commonality_colour()
    share = alt.layer(
        base.mark_rect().encode(y=y, color=colour),
        base.mark_text(fontSize=11, font=_FONT).encode(y=y, text="number:N", color=number_colour()),
    ).properties(width=38, title=alt.Title("share", fontSize=11, fontWeight="normal"), **size)

    pixels = max(220, 7 * longest)
    step = 20 / pixels * depths
    x = alt.Scale(domain=[0, depths], nice=False, zero=False)
    # A label stands one step to the right of its parent's, not one share of the width.
    processes = processes.with_columns(
        x=pl.col("depth") * step + 0.3 * step, elbow=(pl.col("depth") - 1) * step + 0.6 * step
    )
    children = processes.filter(pl.col("parent_row").is_not_null())
    trunks = children.group_by("parent_row", "elbow").agg(pl.col("row").max())
    grey = alt.value("#9a9a9a")
    at_elbow = alt.X("elbow:Q", scale=x, axis=None)
    names = alt.layer(
        alt.Chart(trunks)
        .mark_rule(yOffset=8)
        .encode(y=alt.Y("parent_row:O", axis=None), y2="row:O", x=at_elbow, color=grey),
        alt.Chart(children).mark_rule().encode(y=y, x=at_elbow, x2="x:Q", color=grey),
        alt.Chart(processes)
        .mark_text(align="left", fontSize=11, font=_FONT, dx=2)
        .encode(y=y, x=alt.X("x:Q", scale=x, axis=None), text="label:N"),
    ).properties(width=pixels, title=alt.Title("process", fontSize=11, fontWeight="normal"), **size)
    charts = [share, names]

    facts = (
        tree.filter(pl.col("kind") != "process")
        .group_by("process_id", "kind")
        .agg(pl.len().alias("nodes"), pl.col("commonality").mean())
        .join(processes.select("row", pl.col("node_id").alias("process_id")), on="process_id")
    )
    if facts.height:
        kinds = [kind for kind in FACTS if kind in set(facts["kind"])]
        where = alt.X(
            "kind:N",
            sort=kinds,
            scale=alt.Scale(domain=kinds),
            axis=alt.Axis(orient="top", title=None, labelAngle=-45),
        )
        every = alt.Y(
            "row:O", axis=None, scale=alt.Scale(domain=processes["row"].to_list(), paddingInner=0.08)
        )
        cells = alt.Chart(facts)
        charts.append(
            alt.layer(
                cells.mark_rect().encode(x=where, y=every, color=colour),
                cells.mark_text(fontSize=10, font=_FONT).encode(
                    x=where, y=every, text="nodes:Q", color=number_colour()
                ),
            ).properties(width=alt.Step(44), **size)
        )
    subtitle = "colour: commonality, of nodes their mean · on the right: number of nodes by kind"
    if left_out:
        subtitle += f" · {left_out} more processes are not drawn"
    heading = alt.Title(printable(title or "Process tree"), subtitle=subtitle)
    return alt.hconcat(*charts, spacing=6).resolve_scale(color="shared", y="shared").properties(title=heading)


def _number(column: str) -> pl.Expr:
    return pl.col(column).map_elements(lambda share: f"{share:.2f}", return_dtype=pl.String).fill_null("–")


def label(text: str, most: int = 60) -> str:
    """A text from a container as the label of a mark."""
    return shorten(printable(text), most)
