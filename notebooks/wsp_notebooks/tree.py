"""A profile as a tree: processes below those that forked them, with what each did."""

from typing import Any

import polars as pl

from wsp_notebooks.errors import StoreError
from wsp_notebooks.store import Store
from wsp_notebooks.text import printable, shorten

# Kinds in the order in which they stand under a process.
FACTS = ("listen", "connect", "dns", "file", "syscall", "capability")
_ROOTS = {"init": "[init] ", "exec_session": "[exec session] "}
_LETTERS = {"read": "r", "write": "w", "create": "c", "lookup": "l"}

_SCHEMA: dict[str, Any] = {
    "depth": pl.Int64,
    "kind": pl.String,
    "label": pl.String,
    "commonality": pl.Float64,
    "container_count": pl.Int32,
    "eligible_containers": pl.Int32,
    "at_start": pl.Boolean,
    "rare": pl.Boolean,
    "lossy_only": pl.Boolean,
    "lineage_complete": pl.Boolean,
    "args": pl.List(pl.String),
    "target": pl.String,
    "process_id": pl.String,
    "node_id": pl.String,
    "parent_id": pl.String,
}


def tree(
    store: Store, image: str, revision: int | None = None, *, min_commonality: float = 0.0
) -> pl.DataFrame:
    """The nodes of a profile from the roots down, in the order of `wsp show`; every node once.

    `depth` is the number of processes above; `label` is escaped, for people; `process_id` is the process that
    a node belongs to (itself, for a process). A node below `min_commonality` is left out, with its subtree.
    """
    return as_tree(store.nodes(image, revision), min_commonality=min_commonality)


def as_tree(nodes: pl.DataFrame, *, min_commonality: float = 0.0) -> pl.DataFrame:
    """The same for node rows that are there already."""
    order = ["kind", "commonality", "target", "node_id"]
    rows = nodes.sort(order, descending=[False, True, False, False], nulls_last=True).rows(named=True)
    ids = {row["node_id"] for row in rows}
    below: dict[str | None, list[dict]] = {}
    for row in rows:
        # A parent outside the profile would hide its subtree.
        parent = row["parent_id"] if row["parent_id"] in ids else None
        below.setdefault(parent, []).append(row)

    out: list[dict] = []
    shown = 0

    def kept(row: dict) -> bool:
        return min_commonality <= 0 or (
            row["commonality"] is not None and row["commonality"] >= min_commonality
        )

    # Without recursion: a profile may be as deep as it likes. Facts of a process stand before its children.
    waiting: list[tuple[dict | None, int]] = [(None, -1)]
    while waiting:
        process, depth = waiting.pop()
        owner = process["node_id"] if process else None
        if process:
            out.append(_row(process, depth, owner))
        mine = below.get(owner, [])
        shown += len(mine)
        for kind in FACTS:
            out += [_row(row, depth + 1, owner) for row in mine if row["kind"] == kind and kept(row)]
        children = [row for row in mine if row["kind"] == "process"]
        # The entrypoint first, then what was executed from outside.
        children.sort(key=lambda row: row["root_kind"] == "exec_session")
        waiting += [(row, depth + 1) for row in reversed(children) if kept(row)]
    if min_commonality <= 0 and shown < len(rows):
        raise StoreError(
            f"{len(rows) - shown} nodes of a profile hang from each other in a circle",
            hint="`wsp store verify` finds what is damaged",
        )
    return pl.DataFrame(out, schema=_SCHEMA)


def _row(node: dict, depth: int, process: str | None) -> dict[str, object]:
    row = {name: node[name] for name in _SCHEMA if name in node}
    return row | {
        "depth": depth,
        "label": _label(node),
        "at_start": node["phase"] == "startup",
        "lossy_only": node["snapshot_count"] == 0 and node["lossy_count"] > 0,
        "args": [printable(line) for line in node["args"] or []],
        "process_id": process,
    }


def _label(node: dict) -> str:
    target = printable(node["target"] or "")
    match node["kind"]:
        case "process":
            return _ROOTS.get(node["root_kind"], "") + target
        case "file":
            access = node["access"] or []
            letters = "".join(letter for word, letter in _LETTERS.items() if word in access)
            return f"{letters:<3} {target}"
        case kind:
            return f"{kind} {target}"


def tree_text(frame: pl.DataFrame, *, width: int = 110) -> str:
    """A tree as indented text: commonality, containers that have a node / could have shown it, what it is."""
    lines = []
    for row in frame.iter_rows(named=True):
        share = "   –" if row["commonality"] is None else f"{row['commonality']:.2f}"
        marks = [mark for name, mark in (("at_start", "at start"), ("rare", "rare")) if row[name]]
        marks += [] if row["lineage_complete"] else ["lineage guessed"]
        counts = f"{row['container_count']}/{row['eligible_containers']}"
        text = shorten(row["label"], width) + (f"  ({', '.join(marks)})" if marks else "")
        lines.append(f"{share} {counts:>7}  {'  ' * row['depth']}{text}".rstrip())
    return "\n".join(lines)
