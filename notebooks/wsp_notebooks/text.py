"""Text that came from a container is hostile: here it becomes something to look at, and nothing more."""

import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

# Control, format (bidirectional overrides, zero-width characters), line and paragraph separators, surrogates.
_UNPRINTABLE = {"Cc", "Cf", "Zl", "Zp", "Cs"}
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
# What Jupyter's typesetting would take for the start or end of a formula.
_MATH = re.compile(r"[$\\`]")


def printable(text: str) -> str:
    r"""The text with what a terminal or a page would obey as visible escapes: `\n`, `\u{1b}`, `\u{202e}`."""
    if text.isprintable():
        return text
    return "".join(_escaped(c) for c in text)


def _escaped(c: str) -> str:
    if unicodedata.category(c) not in _UNPRINTABLE:
        return c
    return _NAMED.get(c) or f"\\u{{{ord(c):x}}}"


def shorten(text: str, most: int) -> str:
    """Cuts the middle out of a long text: both ends of a path tell more than its middle."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def in_html(text: str) -> str:
    """Text as HTML that shows it: no markup, and no formula."""
    return _MATH.sub(lambda match: f"<span>{match.group()}</span>", html.escape(printable(text)))


class Table:
    """Rows as a table: HTML in a notebook, aligned text elsewhere. Every cell is escaped."""

    def __init__(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], note: str
    ) -> None:
        self.heads, self.rows, self.right, self.note = heads, rows, right, note

    def __repr__(self) -> str:
        widths = [max(len(cell) for cell in column) for column in zip(self.heads, *self.rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            padded = (
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(cells, widths, self.right, strict=True)
            )
            return "  ".join(padded).rstrip()

        lines = [line(self.heads), "  ".join("─" * width for width in widths), *map(line, self.rows)]
        return "\n".join([*lines, self.note] if self.note else lines)

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Sequence[str]) -> str:
            aligned = (
                f'<{tag} align="{"right" if right else "left"}" '
                f'style="text-align:{"right" if right else "left"}">{in_html(cell)}</{tag}>'
                for cell, right in zip(cells, self.right, strict=True)
            )
            return f"<tr>{''.join(aligned)}</tr>"

        note = f"<p><small>{in_html(self.note)}</small></p>" if self.note else ""
        body = "\n".join(row("td", cells) for cells in self.rows)
        # The classes keep Jupyter's typesetting away.
        return (
            '<div class="tex2jax_ignore mathjax_ignore"><table>\n'
            f"<thead>{row('th', self.heads)}</thead>\n<tbody>\n{body}\n</tbody></table>{note}</div>"
        )


def show(
    frame: pl.DataFrame | pl.LazyFrame,
    *,
    limit: int = 20,
    width: int = 80,
    names: Mapping[str, str] | None = None,
    digits: Mapping[str, int] | None = None,
) -> Table:
    """The first rows of a frame as a table to look at.

    `width`: characters that a cell shows; `names`: other headings; `digits`: decimals of a column, else 2.
    """
    if isinstance(frame, pl.LazyFrame):
        frame = frame.collect()
    names, digits = names or {}, digits or {}
    heads = [printable(names.get(name, name.replace("_", " "))) for name in frame.columns]
    rows = [
        [shorten(printable(_cell(value, digits.get(name, 2))), width) for name, value in row.items()]
        for row in frame.head(limit).iter_rows(named=True)
    ]
    more = frame.height - len(rows)
    note = f"… and {more:,} more" if more > 0 else ""
    return Table(
        heads, rows, [dtype.is_numeric() for dtype in frame.dtypes], note or ("" if rows else "no rows")
    )


def _cell(value: object, digits: int) -> str:  # noqa: PLR0911  (one line a type)
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.{digits}f}"
        case int():
            return f"{value:,}"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")
        case timedelta():
            return f"{value.total_seconds() / 3600:,.1f} h"
        case bytes():
            return value.hex()
        case Mapping():
            return ", ".join(f"{key}: {_cell(of, digits)}" for key, of in sorted(value.items())) or "–"
        case list() | pl.Series():
            return ", ".join(_cell(of, digits) for of in value) or "–"
    return str(value)
