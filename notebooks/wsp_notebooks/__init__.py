"""Reads the profile tables of Workload Security Profiles with polars, without `wsp`.

import wsp_notebooks as wsp

store = wsp.open_store("s3://bucket/profiles")
store.profiles()
wsp.commonality(store, "nginx:1.25")
wsp.plot_tree(wsp.tree(store, "nginx:1.25"))
"""

from typing import TYPE_CHECKING, Any

from wsp_notebooks.counts import commonality
from wsp_notebooks.drift import drift
from wsp_notebooks.errors import NoProfilesError, StoreError, UnknownProfileError
from wsp_notebooks.images import image_of
from wsp_notebooks.learning import learning_curve
from wsp_notebooks.store import Store, open_store
from wsp_notebooks.text import Table, printable, show
from wsp_notebooks.tree import tree, tree_text
from wsp_notebooks.versions import check_versions

if TYPE_CHECKING:
    import altair as alt

__all__ = [
    "NoProfilesError",
    "Store",
    "StoreError",
    "Table",
    "UnknownProfileError",
    "check_versions",
    "commonality",
    "drift",
    "image_of",
    "learning_curve",
    "open_store",
    "plot_tree",
    "printable",
    "show",
    "tree",
    "tree_text",
]


def plot_tree(tree: Any, **options: Any) -> "alt.LayerChart | alt.HConcatChart":  # noqa: ANN401
    """See `wsp_notebooks.plots.plot_tree`; altair is loaded when it is called."""
    from wsp_notebooks import plots  # noqa: PLC0415  (the extra `plots` need not be there)

    return plots.plot_tree(tree, **options)
