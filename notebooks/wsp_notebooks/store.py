"""Opens the store that a URL names, by the rules of the programs, and reads its tables.

Credentials, endpoints and options come from the environment, under the names that providers' own tools use
(`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ALLOW_HTTP`, `GOOGLE_SERVICE_ACCOUNT`,
`AZURE_STORAGE_ACCOUNT_NAME`, …), and from nowhere else.
"""

import difflib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from wsp_notebooks import views
from wsp_notebooks.errors import NoProfilesError, StoreError, UnknownProfileError
from wsp_notebooks.images import image_text, parse_image
from wsp_notebooks.schema import OF_A_MERGE, TABLES

_CLOUD = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
_WHAT_IS_ONE = (
    "give a folder, file:///FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
)
_ENVIRONMENT = {"s3": "AWS_…", "s3a": "AWS_…", "gs": "GOOGLE_…"}
# Names that the commits to `profiles` give the versions of the other two tables.
_PINS = {"profile_snapshots": "wsp.profileSnapshotsVersion", "profile_nodes": "wsp.profileNodesVersion"}


def open_store(url: str | Path, version: int | datetime | None = None) -> "Store":
    """Opens the store at a folder or URL: `s3://…`, `s3a://…`, `gs://…`, `az://…`, `abfss://…`, `file:///…`.

    `version` goes back in time: a version of the table `profiles` (`Store.versions()` lists them), or a time.
    Nodes and ledger are those of that version; signals and suppressions are always the newest.
    """
    return Store(str(url), version)


class Store:
    """An opened store. What it shows of profiles is one consistent batch: later merges do not change it."""

    def __init__(self, url: str, version: int | datetime | None = None) -> None:
        self.root, self.scheme = _root(url)
        #: As it was given.
        self.url = url.rstrip("/") or url
        self._at = version
        self._opened: dict[tuple[str, int | None], DeltaTable | None] = {}
        self._pinned: dict[str, int] | None = None

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    # Tables

    def table(self, name: str, version: int | None = None) -> pl.LazyFrame:
        """A table as it is stored, at the store's version or its own; one that is not made yet has no rows.

        Columns that were declared after the table was made are null.
        """
        if name not in TABLES:
            near = difflib.get_close_matches(name, TABLES, n=1)
            raise StoreError(f"there is no table `{name}`", hint=f"there are {', '.join(near or TABLES)}")
        opened = self._open(name, version) if version is not None else self._current(name)
        return self._scan(name, opened, {})

    def scan(self, view: str) -> pl.LazyFrame:
        """A view as a query, for stores that do not fit into memory: `profiles`, `nodes`, `snapshots`, …"""
        if view not in views.VIEWS:
            raise StoreError(f"there is no view `{view}`", hint=f"there are {', '.join(views.VIEWS)}")
        table, make = views.VIEWS[view]
        return make(self.table(table))

    def profiles(self) -> pl.DataFrame:
        """One row a profile revision, by image and revision."""
        return self._collect("profiles", self.scan("profiles").sort("image", "revision"))

    def nodes(
        self, image: str | None = None, revision: int | None = None, *, folded: bool = False
    ) -> pl.DataFrame:
        """Nodes of one image's newest revision, or of the named one; without an image, of all.

        `folded` adds the nodes that stand behind a pattern (`collapsed_into`).
        """
        if image is not None:
            profile = self.profile(image, revision)
            partition = {name: profile[name] for name in ("bucket", "status")}
            rows = self._scan("profile_nodes", self._current("profile_nodes"), partition)
            rows = rows.filter(*[pl.col(name) == profile[name] for name in ("workload_key", "revision")])
        elif revision is None:
            rows = self.table("profile_nodes")
        else:
            raise StoreError("a revision is one of an image", hint="name the image, too")
        order = ["image", "revision", "kind", "target", "node_id"]
        return self._collect("profile_nodes", views.nodes(rows, folded=folded).sort(order, nulls_last=True))

    def snapshots(self, image: str | None = None, revision: int | None = None) -> pl.DataFrame:
        """Snapshot objects that merges decided on; of one image, those of its newest or a named revision."""
        rows = self.scan("snapshots")
        if image is not None:
            profile = self.profile(image, revision)
            rows = rows.filter(*[pl.col(name) == profile[name] for name in ("workload_key", "revision")])
        elif revision is not None:
            raise StoreError("a revision is one of an image", hint="name the image, too")
        order = ["image", "revision", "ordinal", "window_end", "object_key"]
        return self._collect("profile_snapshots", rows.sort(order, nulls_last=True))

    def signals(self) -> pl.DataFrame:
        """One row a signal, in order of time; no rows before the first `wsp detect` or import."""
        return self._collect("signals", self.scan("signals").sort("time", "signal_id"))

    def suppressions(self) -> pl.DataFrame:
        """One row a suggestion or suppression, as its last change left it."""
        order = ["rule", "image", "suppression_id"]
        return self._collect("suppressions", self.scan("suppressions").sort(order, nulls_last=True))

    def versions(self) -> pl.DataFrame:
        """Versions of the table `profiles` to go back to, the newest first, with their times."""
        opened = self._open("profiles", None)
        if opened is None:
            raise self._no_profiles()
        try:
            commits = opened.history()
        except Exception as error:
            raise self._failed("profiles", "read", error) from error
        rows = [
            {"version": commit["version"], "time": datetime.fromtimestamp(commit["timestamp"] / 1000, UTC)}
            for commit in commits
            if all(key in commit for key in _PINS.values())
        ]
        return pl.DataFrame(rows, schema={"version": pl.Int64, "time": pl.Datetime("us", "UTC")})

    # Profiles

    def profile(self, image: str, revision: int | None = None) -> dict[str, Any]:
        """The row of one image's newest revision, or of the one that is named."""
        name, tag = parse_image(image)
        every = self._collect("profiles", self.table("profiles").sort("image_name", "image_tag", "revision"))
        found = every.filter(pl.col("image_name") == name, pl.col("image_tag") == tag)
        if found.is_empty():
            images = list(dict.fromkeys(map(image_text, every["image_name"], every["image_tag"])))
            near = difflib.get_close_matches(image_text(name, tag), images, n=5, cutoff=0.0)
            hint = f"it has {', '.join(near)}" if near else "it has no profiles at all: merge snapshots first"
            raise UnknownProfileError(
                f"the store {self.url} has no profile of {image_text(name, tag)}", hint=hint
            )
        if revision is not None:
            found = found.filter(pl.col("revision") == revision)
        if found.is_empty():
            message = f"the profile {image_text(name, tag)} of {self.url} has no revision {revision}"
            raise UnknownProfileError(message, hint="leave the revision out for the newest")
        return found.row(-1, named=True)

    # Reading

    def _scan(self, name: str, table: DeltaTable | None, partition: dict[str, Any]) -> pl.LazyFrame:
        """The rows of a table, of one partition where it is given, with all columns that are declared."""
        declared = TABLES[name]
        if table is None:
            return pl.LazyFrame(schema=declared)
        try:
            if table.protocol().min_reader_version > 1:
                raise StoreError(
                    "it needs a newer reader", hint="a later version of this package may have one"
                )
            schema = pl.Schema(table.schema())
            keys = table.metadata().partition_columns
            files = pl.DataFrame(table.get_add_actions(flatten=True))
        except Exception as error:
            raise self._failed(name, "read", error) from error
        # Not by `scan_delta`: it takes `a=b` anywhere in a path for a partition, and a URI for a path.
        files = files.select("path", **{key: pl.col(f"partition.{key}") for key in keys})
        files = files.filter(*[pl.col(key) == value for key, value in partition.items()])
        in_files = pl.Schema({column: dtype for column, dtype in schema.items() if column not in keys})
        parts = [pl.LazyFrame(schema=schema)]
        for values, of in files.group_by(keys, maintain_order=True) if keys else [((), files)]:
            paths = [f"{self._location(name)}/{unquote(path).lstrip('/')}" for path in of["path"]]
            constants = [
                pl.lit(value, schema[key]).alias(key) for key, value in zip(keys, values, strict=True)
            ]
            part = pl.scan_parquet(
                paths,
                schema=in_files,
                glob=False,
                hive_partitioning=False,
                missing_columns="insert",
                extra_columns="ignore",
            )
            parts += [part.with_columns(constants).select(schema.names())] if paths else []
        missing = [
            pl.lit(None, dtype).alias(column) for column, dtype in declared.items() if column not in schema
        ]
        return pl.concat(parts).with_columns(missing)

    # Opening

    def _current(self, name: str) -> DeltaTable | None:
        """The table at the store's version; none where it was never made."""
        if name not in OF_A_MERGE:
            return self._open(name, None)
        pins = self._pins()
        # Signals of other tools may be there before any profile.
        return self._open(name, pins[name]) if pins else None

    def _pins(self) -> dict[str, int]:
        """Versions of the merge's tables that belong together; none in a store that has only signals."""
        if self._pinned is None:
            profiles = self._open("profiles", None)
            if profiles is None and self._open("signals", None) is None:
                raise self._no_profiles()
            self._pinned = {} if profiles is None else self._pins_of(self._travelled(profiles))
        return self._pinned

    def _travelled(self, newest: DeltaTable) -> int:
        """The version of `profiles` to begin at."""
        if self._at is None:
            return newest.version()
        hint = "Store.versions() lists what there is; `wsp compact` deletes old versions"
        if isinstance(self._at, datetime):
            return self._merged_by(self._at, hint)
        try:
            table = DeltaTable(self._location("profiles"))
            table.load_as_version(self._at)
        except Exception as error:
            raise self._failed("profiles", f"opened at {self._at}", error, hint) from error
        return table.version()

    def _merged_by(self, time: datetime, hint: str) -> int:
        # By what commits say, not by when their files were written: a store may have been copied since.
        if time.tzinfo is None:
            raise StoreError(f"the time {time} has no time zone", hint="add one: tzinfo=datetime.UTC")
        merged = self.versions().filter(pl.col("time") <= time)
        if merged.is_empty():
            raise StoreError(f"no merge into {self.url} had ended at {time}", hint=hint)
        return int(merged["version"][0])

    def _pins_of(self, version: int) -> dict[str, int]:
        # Not through the table's history, whose numbers are those of the newest version. Nearly always the
        # last commit is a merge's, and the log before it need not be read.
        for at in range(version, -1, -1):
            commit = self._commit("profiles", at)
            if commit is None:
                break
            pins = {table: pin for table, key in _PINS.items() if isinstance(pin := commit.get(key), int)}
            if len(pins) == len(_PINS):
                return {"profiles": at, **pins}
        raise self._no_profiles()

    def _commit(self, name: str, version: int) -> dict[str, Any] | None:
        """What a commit says of itself; none where the log does not reach back so far."""
        entry = f"{self._location(name)}/_delta_log/{version:020}.json"
        try:
            if self.scheme == "file":
                lines = [json.loads(line) for line in Path(entry).read_text().splitlines() if line.strip()]
                return next((line["commitInfo"] for line in lines if "commitInfo" in line), {})
            info = pl.Struct(dict.fromkeys(_PINS.values(), pl.Int64))
            read = pl.scan_ndjson(entry, schema={"commitInfo": info}).drop_nulls().collect()
            return read["commitInfo"][0] if read.height else {}
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._failed(name, "read", error) from error

    def _open(self, name: str, version: int | None) -> DeltaTable | None:
        """A table at a version, the newest where none is given; none where it was never made."""
        key = (name, version)
        if key not in self._opened:
            try:
                self._opened[key] = DeltaTable(self._location(name), version=version)
            except TableNotFoundError:
                self._opened[key] = None
            except Exception as error:
                raise self._failed(name, "opened", error) from error
        return self._opened[key]

    def _location(self, name: str) -> str:
        return f"{self.root}/tables/{name}"

    def _collect(self, name: str, frame: pl.LazyFrame) -> pl.DataFrame:
        try:
            return frame.collect()
        except Exception as error:
            raise self._failed(name, "read", error) from error

    def _failed(self, name: str, action: str, error: Exception, hint: str | None = None) -> StoreError:
        if hint is None and self.scheme != "file":
            variables = _ENVIRONMENT.get(self.scheme, "AZURE_…")
            hint = f"check the URL, the network and the credentials in the environment ({variables})"
            if "scheme is not allowed" in str(error):
                hint = "AWS_ALLOW_HTTP=true allows an endpoint without TLS"
        return StoreError(f"the table `{name}` of {self.url} cannot be {action}", cause=error, hint=hint)

    def _no_profiles(self) -> NoProfilesError:
        hint = f"`wsp merge --store {self.url}` makes them, if it is the store that wsp-capture writes to"
        return NoProfilesError(f"the store {self.url} has no profiles", hint=hint)


def _root(location: str) -> tuple[str, str]:
    """Where tables stand, and by which scheme."""
    bad = StoreError(f"`{_without_secrets(location)}` is not a store", hint=_WHAT_IS_ONE)
    if "://" not in location:
        # `s3:bucket` and the like are mistyped URLs, not folders.
        if not location or location.startswith(("s3:", "gs:", "az:", "file:", "memory:")):
            raise bad
        return _folder(location), "file"
    url = urlsplit(location)
    if url.scheme == "file":
        if url.netloc not in ("", "localhost") or not url.path.startswith("/"):
            raise bad
        return _folder(unquote(url.path)), "file"
    # The container of `abfss://CONTAINER@ACCOUNT…` is no credential; what else stands before an @, or after a
    # question mark, is one.
    has_secret = url.query or url.fragment or ("@" in url.netloc and not url.scheme.startswith("abfs"))
    if url.scheme in _CLOUD and has_secret:
        message = f"`{_without_secrets(location)}`: credentials do not belong into the URL"
        raise StoreError(message, hint="set the provider's environment variables instead")
    if url.scheme not in _CLOUD or not url.hostname:
        raise bad
    return location.rstrip("/"), url.scheme


def _without_secrets(location: str) -> str:
    head, at, tail = re.split("[?#]", location, maxsplit=1)[0].partition("://")
    return f"{head}{at}{tail.rpartition('@')[2] if not head.startswith('abfs') else tail}"


def _folder(path: str) -> str:
    try:
        folder = Path(path).resolve(strict=True)
    except OSError as error:
        raise StoreError(f"the folder `{path}` cannot be used as a store", cause=error.strerror) from error
    if re.search("%[0-9A-Fa-f]{2}", str(folder)):
        hint = "give it another name: Delta would take `%20` for a blank"
        raise StoreError(f"the folder `{path}` cannot be used as a store", hint=hint)
    if not folder.is_dir():
        raise StoreError(f"the folder `{path}` cannot be used as a store", cause="Not a directory")
    return str(folder)
