"""Hostile text is shown, and obeyed by nothing."""

import html.parser
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from wsp_notebooks import open_store, printable, show
from wsp_notebooks.text import in_html, shorten


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain é €", "plain é €"),
        ("\x1b[31mred\n\u202e", r"\u{1b}[31mred\n\u{202e}"),
        ("tab\tbell\x07\r", r"tab\tbell\u{7}\r"),
        ("zero\u200bwidth\ufeff", r"zero\u{200b}width\u{feff}"),
        ("soft\u00adhyphen \u061c \U000e0041", r"soft\u{ad}hyphen \u{61c} \u{e0041}"),
        ("two\u2028lines\u2029", r"two\u{2028}lines\u{2029}"),
        (r"\xff \\", r"\xff \\"),
    ],
)
def test_printable(raw: str, shown: str) -> None:
    assert printable(raw) == shown
    assert printable(shown) == shown


class Tags(html.parser.HTMLParser):
    """Collects what a page would make of a text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_has_no_markup_and_no_formula() -> None:
    page = Tags()
    raw = "<script>alert(1)</script> $x^2$ \\(y\\) `code` & \"quoted\" 'single'"
    page.feed(in_html(raw))
    assert page.tags == {"span"}
    assert page.text == raw
    # A formula starts where two of its characters stand in one piece of text.
    assert "$x^2$" not in in_html(raw)
    assert "\\(" not in in_html(raw)
    assert in_html("\x1b[31m<b>") == "<span>\\</span>u{1b}[31m&lt;b&gt;"


def test_tables_of_hostile_names(hostile: Path) -> None:
    store = open_store(hostile)
    nodes = store.nodes().select("kind", "exe", "target", "args", "commonality")
    assert nodes["target"].str.contains("<script>").any()
    page = Tags()
    table = show(nodes, limit=1000, width=10_000)
    page.feed(table._repr_html_())
    assert page.tags <= {"div", "table", "thead", "tbody", "tr", "th", "td", "span", "p", "small"}
    assert page.attributes <= {"class", "align", "style"}
    for text in nodes["target"].drop_nulls():
        assert printable(text) in page.text
    lines = repr(table).split("\n")
    assert len(lines) == 2 + nodes.height
    assert all(printable(line) == line for line in lines)


def test_cells() -> None:
    frame = pl.DataFrame(
        {
            "share": [0.123456, None],
            "at": [datetime(2026, 11, 1, 2, 3, 4, tzinfo=UTC), None],
            "yes": [True, False],
            "many": [1234567, 0],
            "list": [["a", "b\n"], []],
            "bytes": [b"\x01\xff", b""],
        }
    )
    head, _, first, second = repr(show(frame, digits={"share": 3})).split("\n")
    assert head.split() == ["share", "at", "yes", "many", "list", "bytes"]
    assert first.split("  ")[0] == "0.123"
    for text in ("2026-11-01 02:03Z", "yes", "1,234,567", r"a, b\n", "01ff"):
        assert text in first
    assert second.split()[:5] == ["–", "–", "no", "0", "–"]
    assert repr(show(frame.head(0))).endswith("no rows")
    assert repr(show(frame, limit=1)).endswith("… and 1 more")


def test_long_texts_keep_both_ends() -> None:
    assert shorten("/usr/lib/x86_64-linux-gnu/libc.so.6", 21) == "/usr/lib/x…/libc.so.6"
    assert shorten("short", 5) == "short"
    assert len(shorten("x" * 100, 20)) == 20
