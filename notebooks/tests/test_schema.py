"""The declared columns are those of `schemas/TABLES.md`, and of the tables that the programs write."""

import re
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from wsp_notebooks.schema import TABLES

DOCUMENT = Path(__file__).resolve().parents[2] / "schemas" / "TABLES.md"
TYPES = {
    "text": pl.String(),
    "list of text": pl.List(pl.String()),
    "bytes": pl.Binary(),
    "16 bytes": pl.Binary(),
    "bool": pl.Boolean(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "list of int64": pl.List(pl.Int64()),
    "float64": pl.Float64(),
    "timestamp (µs, UTC)": pl.Datetime("us", "UTC"),
    "map text → text": pl.Map(pl.String(), pl.String()),
    "map text → int64": pl.Map(pl.String(), pl.Int64()),
    "map text → float64": pl.Map(pl.String(), pl.Float64()),
}


@pytest.mark.parametrize("name", TABLES)
def test_declared_as_documented(name: str) -> None:
    section = re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)
    (rows,) = [part for part in section if part.startswith(f"`{name}`")]
    columns = re.findall(r"^\| \d+ \| `(\w+)` \| ([^|]+?) \|", rows, flags=re.MULTILINE)
    assert len(columns) > 5
    assert TABLES[name] == {column: TYPES[kind] for column, kind in columns}


@pytest.mark.parametrize("name", [name for name in TABLES if name != "activity"])
def test_declared_as_written(name: str, fleet: Path) -> None:
    table = DeltaTable(str(fleet / "tables" / name))
    assert dict(pl.scan_delta(table).collect_schema()) == TABLES[name]
