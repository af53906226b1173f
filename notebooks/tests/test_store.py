"""Stores are opened by the same rules as by the programs, and what is wrong says so."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from bucket import bucket
from conftest import Programs
from deltalake import write_deltalake

import wsp_notebooks
from wsp_notebooks import NoProfilesError, StoreError, UnknownProfileError, open_store, plot_tree, tree
from wsp_notebooks.schema import TABLES

WEB = "localhost/demo/web:1.22"
S3 = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "us-east-1"}


# URLs


@pytest.mark.parametrize(
    "url", ["", "s3:bucket", "http://x/y", "s3://", "s3:///x", "file:x", "ftp://a", "file://x"]
)
def test_what_is_no_store_says_what_is_one(url: str, wsp: Programs) -> None:
    with pytest.raises(StoreError, match="is not a store") as error:
        open_store(url)
    assert "s3://BUCKET/PREFIX" in str(error.value)
    if url:
        wsp("profiles", "--store", url, allowed=(1,))


def test_a_mistyped_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match="no-such-folder` cannot be used as a store\ncaused by: No such file"
    ):
        open_store(tmp_path / "no-such-folder")
    assert not (tmp_path / "no-such-folder").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="caused by: Not a directory"):
        open_store(tmp_path / "file")


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:hunter2@bucket/x",
        "gs://hunter2@bucket/x",
        "az://c/x?sv=1&sig=hunter2",
        "s3://bucket/x#hunter2",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError, match="credentials do not belong into the URL") as error:
        open_store(url)
    assert "hunter2" not in str(error.value)
    assert "environment" in str(error.value)


@pytest.mark.parametrize("scheme", ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss"])
def test_schemes_of_the_cloud(scheme: str) -> None:
    container = "box@account.dfs.core.windows.net" if scheme.startswith("abfs") else "box"
    store = open_store(f"{scheme}://{container}/pre/fix/")
    assert store.root == f"{scheme}://{container}/pre/fix"
    assert repr(store) == f"Store('{scheme}://{container}/pre/fix')"


def test_local_urls_and_odd_names(recordings: Path, tmp_path: Path) -> None:
    expected = open_store(recordings).profile(WEB)["nodes"]
    for name in (
        "with space",
        "ümlaut",
        "hash#tag",
        "date=2026-11-01",
        "glob[a]*{b}",
        "what?",
        "^~!$&'()+,;",
    ):
        folder = tmp_path / name
        shutil.copytree(recordings / "tables", folder / "tables")
        for url in (folder, folder.as_uri()):
            store = open_store(url)
            assert store.profile(WEB)["nodes"] == store.nodes(WEB).height == expected, url
    for name in ("per%20cent", "%5B"):
        (tmp_path / name).mkdir()
        with pytest.raises(StoreError, match=r"cannot be used as a store\nhint: give it another name"):
            open_store(tmp_path / name)


# Object stores


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    def configure(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return configure


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_a_bucket_by_the_variables_of_the_programs(
    scheme: str, recordings: Path, tmp_path: Path, wsp: Programs, cloud: Callable[[dict[str, str]], None]
) -> None:
    # A prefix may look like a partition.
    shutil.copytree(recordings / "tables", tmp_path / "cluster=eu" / "profiles" / "tables")
    with bucket("box", tmp_path) as (endpoint, signers):
        cloud(S3 | {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"})
        url = f"{scheme}://box/cluster=eu/profiles"
        store = open_store(url)
        local = open_store(recordings)
        assert store.profiles().equals(local.profiles(), null_equal=True)
        assert store.nodes(WEB).equals(local.nodes(WEB), null_equal=True)
        assert wsp_notebooks.commonality(store, WEB).equals(
            wsp_notebooks.commonality(local, WEB), null_equal=True
        )
        assert store.signals().height == 0
        # They are the programs' variables, and everything was signed with them.
        (row,) = json.loads(
            wsp("sql", "--store", url, "--format", "json", "SELECT count(*) AS n FROM profiles")
        )
        assert row["n"] == store.profiles().height
        assert set(signers()) == {"somebody"}


def test_a_bucket_without_a_prefix(fleet: Path, cloud: Callable[[dict[str, str]], None]) -> None:
    with bucket("box", fleet) as (endpoint, _):
        cloud(S3 | {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"})
        local = open_store(fleet)
        for url in ("s3://box", "s3://box/"):
            store = open_store(url)
            assert store.suppressions().equals(local.suppressions(), null_equal=True)
            assert store.versions().equals(local.versions())


def test_a_bucket_that_is_not_there(recordings: Path, cloud: Callable[[dict[str, str]], None]) -> None:
    with bucket("box", recordings.parent) as (endpoint, _):
        cloud(S3 | {"AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"})
        with pytest.raises(
            StoreError, match="the table `profiles` of s3://other/x cannot be opened"
        ) as error:
            open_store("s3://other/x").profiles()
        assert "NoSuchBucket" in str(error.value)
        assert "check the URL, the network and the credentials in the environment (AWS_…)" in str(error.value)
        assert "hunter2" not in str(error.value)
        assert "\x1b" not in str(error.value)
        with pytest.raises(NoProfilesError, match="the store s3://box/empty has no profiles"):
            open_store("s3://box/empty").profiles()


def test_an_endpoint_without_tls_says_which_variable(cloud: Callable[[dict[str, str]], None]) -> None:
    cloud(S3 | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    with pytest.raises(StoreError, match="AWS_ALLOW_HTTP=true"):
        open_store("s3://box/x").profiles()


# What is there


def test_an_empty_store_has_no_profiles(tmp_path: Path, wsp: Programs) -> None:
    store = open_store(tmp_path)
    for ask in (store.profiles, store.nodes, store.snapshots, store.versions, lambda: store.profile(WEB)):
        with pytest.raises(NoProfilesError, match="has no profiles") as error:
            ask()
        assert f"`wsp merge --store {tmp_path}` makes them" in str(error.value)
    with pytest.raises(NoProfilesError):
        tree(store, WEB)
    wsp("profiles", "--store", tmp_path, allowed=(1,))
    # What jobs beside the merge make has no rows yet.
    assert (
        store.signals().height,
        store.suppressions().height,
        store.table("activity").collect().height,
    ) == (0, 0, 0)


def test_a_store_without_signals(recordings: Path, fleet: Path) -> None:
    store, full = open_store(recordings), open_store(fleet)
    assert not (recordings / "tables" / "signals").exists()
    for empty, rows in ((store.signals(), full.signals()), (store.suppressions(), full.suppressions())):
        assert empty.height == 0
        assert rows.height > 0
        assert empty.schema == rows.schema


def test_a_store_that_has_only_signals(tmp_path: Path, wsp: Programs, fleet: Path) -> None:
    alert = {
        "rule": "Terminal shell in container",
        "priority": "Notice",
        "time": "2026-11-01T00:00:00Z",
        "output": "x",
        "output_fields": {
            "container.id": "abc",
            "container.image.repository": "nginx",
            "container.image.tag": "1",
        },
    }
    (tmp_path / "falco.json").write_text(json.dumps(alert))
    wsp("import", "falco", tmp_path / "falco.json", "--store", tmp_path / "store")
    store = open_store(tmp_path / "store")
    assert store.signals()["image"].to_list() == ["docker.io/library/nginx:1"]
    full = open_store(fleet)
    for empty, rows in ((store.profiles(), full.profiles()), (store.nodes(), full.nodes())):
        assert empty.height == 0
        assert empty.schema == rows.schema
    with pytest.raises(
        UnknownProfileError, match=r"no profile of docker.io/library/nginx:1\nhint: it has no profiles"
    ):
        store.nodes("nginx:1")


def test_unknown_names(recordings: Path) -> None:
    store = open_store(recordings)
    with pytest.raises(
        UnknownProfileError,
        match=r"has no profile of localhost/demo/wbe:1.22\nhint: it has localhost/demo/web",
    ):
        store.nodes("localhost/demo/wbe:1.22")
    with pytest.raises(UnknownProfileError, match=f"the profile {WEB} of .* has no revision 7"):
        store.nodes(WEB, 7)
    with pytest.raises(StoreError, match="a revision is one of an image"):
        store.nodes(revision=1)
    with pytest.raises(StoreError, match="there is no table `profile_node`\nhint: there are profile_nodes"):
        store.table("profile_node")
    with pytest.raises(StoreError, match="there is no view `node`"):
        store.scan("node")


def test_columns_that_were_declared_later_are_null(tmp_path: Path) -> None:
    row = {
        "bucket": 0,
        "image_name": "docker.io/library/nginx",
        "image_tag": "1",
        "signal_id": "a",
        "rule": "r",
    }
    old = pl.DataFrame(
        [row | {"time": datetime(2026, 1, 1, tzinfo=UTC)}], schema_overrides={"bucket": pl.Int32}
    )
    write_deltalake(str(tmp_path / "tables" / "signals"), old)
    raw = open_store(tmp_path).table("signals").collect()
    assert set(raw.columns) == set(TABLES["signals"])
    assert raw["told"].dtype == TABLES["signals"]["told"]
    (signal,) = open_store(tmp_path).signals().rows(named=True)
    assert (signal["image"], signal["rule"], signal["node_id"]) == ("docker.io/library/nginx:1", "r", None)
    # Once the table has the column, its old files still do not.
    new = old.with_columns(signal_id=pl.lit("b"), severity=pl.lit("high"))
    write_deltalake(str(tmp_path / "tables" / "signals"), new, mode="append", schema_mode="merge")
    assert open_store(tmp_path).signals().select("signal_id", "severity").rows() == [
        ("a", None),
        ("b", "high"),
    ]


def test_a_data_file_that_is_gone_names_its_table(recordings: Path, tmp_path: Path) -> None:
    shutil.copytree(recordings / "tables", tmp_path / "tables")
    for file in (tmp_path / "tables" / "profile_nodes").rglob("*.parquet"):
        file.unlink()
    store = open_store(tmp_path)
    assert store.profiles().height > 0
    with pytest.raises(StoreError, match=f"the table `profile_nodes` of {tmp_path} cannot be read"):
        store.nodes(WEB)


# Time travel and revisions


@pytest.fixture(scope="module")
def grown(wsp: Programs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[dict]], str]:
    """A store after two merges and a relearn; what SQL said of its nodes after each merge; the image."""
    folder = tmp_path_factory.mktemp("grown")
    said = []
    for image in (0, 1):
        wsp.datasets(
            *[
                "generate",
                "--store",
                folder,
                "--images",
                1,
                "--first-image",
                image,
                "--versions",
                1,
                "--no-truth",
            ],
            *["--containers", 3, "--snapshots", 2, "--nodes", 80, "--hosts", 3],
        )
        wsp.merge(folder, "--max-snapshots", 6)
        said.append(wsp.sql(folder, "SELECT * FROM nodes"))
    (image, *_) = sorted(row["image"] for row in said[0])
    wsp("profiles", "relearn", image, "--store", folder)
    return folder, said, image


def test_time_travel(grown: tuple[Path, list[list[dict]], str], same: Callable[..., None]) -> None:
    folder, (first, second), _ = grown
    assert len(first) < len(second)
    versions = open_store(folder).versions()
    assert versions["version"].is_sorted(descending=True)
    _, second_merge, first_merge = versions.rows()
    key = ("image", "revision", "node_id")
    same(open_store(folder, first_merge[0]).nodes(), [dict(row) for row in first], key)
    same(open_store(folder, second_merge[0]).nodes(), [dict(row) for row in second], key)
    # Files are as old as the copy that they are in; commits are as old as they say.
    for log in (folder / "tables" / "profiles" / "_delta_log").iterdir():
        os.utime(log)
    same(open_store(folder, first_merge[1]).nodes(), [dict(row) for row in first], key)
    just_before = second_merge[1] - timedelta(milliseconds=1)
    same(open_store(folder, just_before).nodes(), [dict(row) for row in first], key)
    same(open_store(folder, second_merge[1]).nodes(), [dict(row) for row in second], key)
    with pytest.raises(StoreError, match=r"no merge into .* had ended at") as error:
        open_store(folder, first_merge[1] - timedelta(milliseconds=1)).profiles()
    assert "Store.versions() lists what there is" in str(error.value)
    assert open_store(folder, first_merge[0]).profiles().height == 1
    assert open_store(folder).profiles().height == 3
    # One table at a version of its own.
    assert open_store(folder).table("profiles", first_merge[0]).collect().height == 1
    with pytest.raises(StoreError, match="cannot be opened at 99") as error:
        open_store(folder, 99).profiles()
    assert "Store.versions() lists what there is" in str(error.value)
    with pytest.raises(StoreError, match="has no time zone"):
        open_store(folder, datetime(2026, 1, 1)).profiles()


def test_an_open_store_does_not_change(
    grown: tuple[Path, list[list[dict]], str], tmp_path: Path, wsp: Programs
) -> None:
    folder = tmp_path / "store"
    shutil.copytree(grown[0], folder)
    store = open_store(folder)
    before = store.profiles()
    (stable,) = before.filter(pl.col("status") == "stable", pl.col("image") != grown[2])["image"]
    wsp("profiles", "relearn", stable, "--store", folder)
    assert store.profiles().equals(before, null_equal=True)
    assert open_store(folder).profiles().height == before.height + 1


def test_a_revision_that_has_nothing_yet(grown: tuple[Path, list[list[dict]], str]) -> None:
    folder, (first, _), image = grown
    store = open_store(folder)
    assert store.profile(image)["revision"] == 2
    assert store.nodes(image).height == 0
    assert store.nodes(image, 1).height == len(first)
    assert wsp_notebooks.commonality(store, image).height == 0
    assert wsp_notebooks.commonality(store, image, 1).height == len(first)
    assert wsp_notebooks.learning_curve(store, image).height == 0
    assert set(wsp_notebooks.drift(store, image, image, revisions=(1, 2))["change"]) == {"lost"}
    assert tree(store, image).height == 0
    assert plot_tree(tree(store, image)).to_dict()
