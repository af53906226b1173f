"""Draws the README's picture of a profile, from the bundled recordings: `images/profile.svg`.

    python notebooks/tools/readme_picture.py STORE   # a store that `wsp demo` made

What stands in the picture is what the tables say; which facts it shows is chosen here.
The same tables give the same bytes.
"""

import sys
from html import escape
from pathlib import Path

import polars as pl

import wsp_notebooks as wsp
from wsp_notebooks.text import printable, shorten

IMAGE = "localhost/demo/web:1.22"
TO = Path(__file__).resolve().parent.parent / "images" / "profile.svg"

#: Files of each process that are worth their line; of the others only the number is told.
FILES = ("/etc/nginx/nginx.conf", "/var/log/nginx/access.log", "/srv/www/index.html")
#: What a reader should notice, beside the row of a process.
NOTES = {
    ("exec_session", "/usr/bin/dash"): "a health probe",
    ("exec_session", "/usr/bin/bash"): "somebody's shell, in one container",
}
KINDS = {"listen": "listens", "connect": "connects", "dns": "resolves", "capability": "uses", "file": "file"}

WIDTH, LINE, LEFT, STEP = 800, 21, 150, 22
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
SANS = "-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif"
INK, GREY, RULE, COMMON, RARE = "#1f2328", "#59636e", "#d1d9e0", "#0072B2", "#D55E00"


def lines(tree: pl.DataFrame, roots: dict[str, str | None]) -> list[dict]:
    """What the picture shows, from top to bottom."""
    out: list[dict] = []
    for process in tree.filter(pl.col("kind") == "process").iter_rows(named=True):
        out.append(process | {"note": NOTES.get((roots[process["node_id"]], process["target"]), "")})
        mine = tree.filter((pl.col("process_id") == process["node_id"]) & (pl.col("kind") != "process"))
        listed = mine.filter(
            pl.col("kind").is_in(["listen", "connect", "dns"])
            | ((pl.col("kind") == "file") & pl.col("target").is_in(FILES))
        )
        out += [row | {"note": ""} for row in listed.iter_rows(named=True)]
    return out


def draw(rows: list[dict], heading: str, below: str) -> str:
    """The picture: a white card, so that it reads the same on light and dark pages."""
    height = 84 + LINE * len(rows) + 62
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(heading)}: {escape(below)}">',
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" '
        f'fill="#ffffff" stroke="{RULE}"/>',
        _text(24, 34, heading, size=17, weight=600),
        _text(24, 56, below, size=13, fill=GREY),
    ]
    open_at: list[int] = []
    for number, row in enumerate(rows):
        y = 84 + LINE * number
        share, depth = row["commonality"], row["depth"]
        is_process = row["kind"] == "process"
        colour = RARE if row["rare"] else COMMON
        counts = f"{row['container_count']} of {row['eligible_containers']}"
        out.append(f'<rect x="24" y="{y + 3}" width="56" height="12" rx="2" fill="#eef1f4"/>')
        if share:
            out.append(
                f'<rect x="24" y="{y + 3}" width="{56 * share:.1f}" height="12" rx="2" fill="{colour}"/>'
            )
        out.append(_text(88, y + 14, counts, size=12, fill=RARE if row["rare"] else GREY))
        del open_at[depth:]
        x = LEFT + STEP * depth
        if is_process:
            if depth:
                top = open_at[depth - 1] + 18
                at = x - STEP + 6
                out.append(
                    f'<path d="M{at} {top}V{y + 10}H{x - 3}" fill="none" stroke="{RULE}" stroke-width="1.5"/>'
                )
            open_at.append(y)
            out.append(_text(x, y + 14, shorten(row["label"], 70), family=MONO, size=13, weight=600))
        else:
            out.append(_text(x, y + 14, KINDS[row["kind"]], size=12, fill=GREY))
            out.append(_text(x + 64, y + 14, shorten(printable(row["target"]), 60), family=MONO, size=12.5))
        if row["note"] or (is_process and row["rare"] and not depth):
            note = row["note"] or "in one container"
            out.append(_text(WIDTH - 24, y + 14, note, size=12.5, fill=colour, anchor="end"))
    legend = (
        "bar: commonality, the share of the containers that could have shown it in which it was seen"
        " · orange: in one container",
        "init: the container's own program · exec session: what entered from outside, as kubectl exec"
        " and health probes do",
    )
    out += [_text(24, height - 36 + 18 * line, text, fill=GREY) for line, text in enumerate(legend)]
    out.append("</svg>\n")
    return "\n".join(out)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float = 12,
    fill: str = INK,
    weight: int = 400,
    family: str = SANS,
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-family="{family}" font-size="{size}" font-weight="{weight}" '
        f'fill="{fill}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def picture(store_url: str) -> str:
    """The picture of a store's profile."""
    store = wsp.open_store(store_url)
    profile = store.profiles().filter(pl.col("image") == IMAGE).row(0, named=True)
    nodes = store.nodes(IMAGE)
    roots = dict(nodes.select("node_id", "root_kind").rows())
    below = (
        f"{profile['status']} · {profile['snapshot_count']} snapshots of {profile['container_count']} "
        f"containers · {profile['nodes']} nodes, some of which are shown · coverage {profile['coverage']:.2f}"
    )
    return draw(lines(wsp.tree(store, IMAGE), roots), f"What {IMAGE} does", below)


if __name__ == "__main__":
    TO.write_text(picture(sys.argv[1]))
