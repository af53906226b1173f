"""The programs and stores that tests compare with; `notebooks/run.sh` says where they are."""

import json
import os
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

Rows = list[dict[str, Any]]


def pytest_configure() -> None:
    """Without what they compare with, tests would say nothing: that is an error, not a skip."""
    missing = [name for name in ("WSP_BIN", "WSP_DATASETS_BIN", "WSP_SAMPLES") if not os.environ.get(name)]
    if missing:
        pytest.exit(f"{', '.join(missing)} not set: run notebooks/run.sh, which runs these tests", 2)


class Programs:
    """`wsp` and `wsp-datasets`."""

    def __call__(self, *arguments: object, allowed: tuple[int, ...] = (0,), program: str = "WSP_BIN") -> str:
        """What a command prints; it must end with one of the allowed exit codes."""
        command = [os.environ[program], *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in allowed, f"{command}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def datasets(self, *arguments: object) -> str:
        """What a command of `wsp-datasets` prints."""
        return self(*arguments, program="WSP_DATASETS_BIN")

    def merge(self, store: Path, *options: object) -> None:
        """Merges, at a time after the simulated windows. Exit code 3: some input was lossy or damaged."""
        self("merge", "--store", store, "--as-of", "2026-11-02T00:00:00Z", *options, allowed=(0, 3))

    def sql(self, store: Path, query: str) -> Rows:
        """The rows of a query."""
        return json.loads(self("sql", "--store", store, "--format", "json", query))


@pytest.fixture(scope="session")
def wsp() -> Programs:
    return Programs()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Recordings of real containers, all of them learning."""
    return Path(os.environ["WSP_SAMPLES"], "recordings")


@pytest.fixture(scope="session")
def fleet() -> Path:
    """A simulated fleet with losses, late containers, attacks, signals and suppressions."""
    return Path(os.environ["WSP_SAMPLES"], "fleet")


@pytest.fixture(scope="session")
def hostile(wsp: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every way in which a snapshot can be wrong, and names with everything that a page or terminal obeys."""
    store = tmp_path_factory.mktemp("hostile")
    wsp.datasets("hostile", "--store", store)
    wsp.merge(store)
    return store


@pytest.fixture(scope="session")
def history(wsp: Programs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Profiles that never became stable: all their snapshots are in them, as in a backtest."""
    store = tmp_path_factory.mktemp("history")
    wsp.datasets(
        *["generate", "--store", store, "--images", 2, "--versions", 1, "--containers", 14, "--snapshots", 4],
        *["--hosts", 6, "--nodes", 150, "--spread", "10h", "--lossy-share", 0.2, "--late-share", 0.3],
    )
    wsp.merge(store, "--max-snapshots", 100_000, "--learning-time", "9000h")
    return store


@pytest.fixture(params=["recordings", "fleet", "hostile", "history"])
def any_store(request: pytest.FixtureRequest) -> Path:
    """Each of the stores."""
    return request.getfixturevalue(request.param)


def plain(frame: pl.DataFrame) -> Rows:
    """Rows as `wsp sql --format json` has them, but for times."""

    def cell(value: object) -> object:
        return value.hex() if isinstance(value, bytes) else value

    return [{name: cell(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]


@pytest.fixture(scope="session")
def same() -> Callable[..., None]:
    """Asserts that a frame and the rows of a query are equal in every cell, whatever their order."""

    def check(frame: pl.DataFrame, rows: Rows, key: tuple[str, ...]) -> None:
        times = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
        for row in rows:
            assert list(row) == frame.columns
            row.update({name: datetime.fromisoformat(row[name]) for name in times if row[name] is not None})
        keyed = {tuple(map(str, (row[name] for name in key))): row for row in rows}
        assert len(keyed) == len(rows), f"{key} names no row"
        found = {tuple(map(str, (row[name] for name in key))): row for row in plain(frame)}
        assert found.keys() == keyed.keys()
        differ = [
            (name, of, row[name], keyed[of][name])
            for of, row in found.items()
            for name in frame.columns
            if row[name] != keyed[of][name]
        ]
        assert not differ, f"{len(differ)} cells differ, as in {differ[:3]}"

    return check
