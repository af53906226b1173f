"""Counts of hand-made ledgers, for what the sample stores do not have."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from wsp_notebooks import StoreError
from wsp_notebooks.counts import numbered, ordinals, score
from wsp_notebooks.schema import PROFILE_NODES
from wsp_notebooks.views import TARGET

START = datetime(2026, 11, 1, tzinfo=UTC)


def ledger(*rows: dict) -> pl.DataFrame:
    """Admitted snapshots, one a row; what is not said is a whole snapshot of a container of its own."""
    made = [
        {
            "ordinal": at,
            "host": "h",
            "container_id": f"c{at}",
            "container_started": START,
            "window_start": START,
            "covers_start": True,
            "completeness": {"file": "complete"},
        }
        | row
        for at, row in enumerate(rows)
    ]
    types = {"ordinal": pl.Int32, "completeness": pl.Map(pl.String(), pl.String())}
    return numbered(pl.DataFrame(made, schema_overrides=types))


def node(*members: int, kind: str = "file", phase: str = "steady") -> pl.DataFrame:
    bits = sum(1 << ordinal for ordinal in members)
    return pl.DataFrame(
        {"kind": kind, "phase": phase, "members": bits.to_bytes((bits.bit_length() + 7) // 8, "little")}
    )


def scored(nodes: pl.DataFrame, snapshots: pl.DataFrame) -> dict:
    return score(nodes, snapshots).row(0, named=True)


def test_a_container_is_known_by_its_host_too() -> None:
    same_id = ledger(
        {"container_id": "c", "host": "a"}, {"container_id": "c", "host": "b"}, {"container_id": "d"}
    )
    assert same_id["number"].to_list() == [0, 1, 2]
    row = scored(node(0, 1), same_id)
    assert (row["container_count"], row["eligible_containers"], row["host_count"]) == (2, 3, 2)


def test_a_container_that_comes_back_keeps_its_number() -> None:
    back = ledger({"container_id": "x"}, {"container_id": "y"}, {"container_id": "x"})
    assert back["number"].to_list() == [0, 1, 0]
    row = scored(node(0, 2), back)
    assert (row["snapshot_count"], row["container_count"], row["eligible_containers"]) == (2, 1, 2)
    assert row["commonality"] == 0.5
    assert row["snapshot_commonality"] == pytest.approx(2 / 3)


def test_the_middle_container_belongs_to_the_first_half() -> None:
    # 39 of 45, all of the six that lack it at the end: p is 0.009 with 23 in the first half, 0.022 with 22.
    row = scored(node(*range(39)), ledger(*[{}] * 45))
    assert (row["commonality_high"] - row["commonality_low"]) / 2 < 0.1
    assert row["stable"] is False
    spread = scored(node(*(n for n in range(45) if n % 8)), ledger(*[{}] * 45))
    assert spread["stable"] is True


def test_losses_add_a_node_and_do_not_count() -> None:
    lost = {"completeness": {"file": "lossy"}}
    blind = {"completeness": {"process": "complete"}}
    late = {
        "completeness": {"file": "joined_late"},
        "covers_start": False,
        "window_start": START + timedelta(hours=1),
    }
    snapshots = ledger({}, lost, blind, late)
    row = scored(node(0, 1, 2, 3), snapshots)
    assert (
        row["snapshot_count"],
        row["container_count"],
        row["eligible_containers"],
        row["lossy_count"],
    ) == (2, 2, 2, 2)
    # Who joined late could not have shown a start.
    row = scored(node(0, phase="startup"), snapshots)
    assert (row["container_count"], row["eligible_containers"], row["commonality"]) == (1, 1, 1.0)
    # Nobody had the sensor.
    row = scored(node(0, kind="dns"), snapshots)
    assert (row["eligible_containers"], row["commonality"], row["commonality_low"], row["lossy_count"]) == (
        0,
        None,
        None,
        1,
    )


def test_flags_need_containers() -> None:
    few = scored(node(0), ledger({}, {}, {}, {}))
    assert (few["stable"], few["rare"], few["late"]) == (None, True, None)
    five = scored(node(4), ledger(*[{}] * 5))
    assert (five["stable"], five["rare"], five["late"]) == (None, True, True)
    one = scored(node(0), ledger({}))
    assert (one["rare"], one["commonality"]) == (False, 1.0)


def test_members_beyond_the_ledger_are_damage() -> None:
    with pytest.raises(StoreError, match="members that the ledger does not have"):
        score(node(2), ledger({}, {}))


@pytest.mark.parametrize("value", [b"\x01\x00", b"\x01" * 200_000])
def test_what_is_no_set_of_members(value: bytes) -> None:
    with pytest.raises(StoreError, match="no set of ordinals"):
        ordinals(pl.Series([value]))


def test_members_by_hand() -> None:
    read = ordinals(pl.Series("members", [b"\x01\x82", b"", b"\x80", b"\x00\x00\x01"]))
    assert read.to_list() == [[0, 9, 15], [], [7], [16]]


@pytest.mark.parametrize(
    ("row", "target"),
    [
        ({"kind": "process", "exe": "/bin/busybox", "argv0": "sh"}, "sh (/bin/busybox)"),
        ({"kind": "process", "exe": "/bin/sh", "script": "/run.sh", "shebang": True}, "/bin/sh /run.sh"),
        ({"kind": "process", "exe": "/bin/python3", "script": "app.py", "shebang": False}, "/bin/python3"),
        ({"kind": "file", "path": "/etc/passwd"}, "/etc/passwd"),
        ({"kind": "dns", "dns_name": "a.example", "dns_type": "A"}, "a.example A"),
        ({"kind": "connect", "protocol": "tcp", "address": "::1", "port": 80}, "tcp ::1 80"),
        ({"kind": "listen", "protocol": "unix", "address": "@x", "port": 0}, "unix @x"),
        ({"kind": "syscall", "name": "mmap"}, "mmap"),
        ({"kind": "capability", "name": "CAP_CHOWN"}, "CAP_CHOWN"),
    ],
)
def test_target(row: dict, target: str) -> None:
    frame = pl.DataFrame([row], schema=PROFILE_NODES)
    assert frame.select(TARGET)["target"].to_list() == [target]
