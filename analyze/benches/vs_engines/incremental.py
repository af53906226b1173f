"""A batch of new snapshots of learning workloads, in a store that also holds many older ones and in one that does not."""

import json
import os
import shutil

import data
import delta
from measure import Failed, Series, run, say

WORKLOADS, CONTAINERS, OLD_WINDOWS, NEW_WINDOWS = 25, 10, 4, 2
NEW_FILES = WORKLOADS * CONTAINERS * NEW_WINDOWS
# The learning workloads start here, the older ones a month before; at the clock of the merges only the former still learn.
START, OLDER_START, CLOCK = "2026-11-01T00:00:00Z", "2026-10-01T00:00:00Z", "2026-11-02T12:00:00Z"
TABLES = ["profile_snapshots", "profile_nodes", "profiles"]


def history(work, windows):
    """The learning workloads, with so many windows of each container."""
    folder = work / f"learning-{windows}"
    options = [f"--images={WORKLOADS}", "--versions=1", f"--containers={CONTAINERS}", f"--snapshots={windows}"]
    options += [f"--start={START}", "--spread=24h", "--seed=2"]
    return data.made_by(folder, options, lambda: data.generate(folder, *options))


def merge(store):
    return run(os.environ["WSP_BIN"], "merge", "--store", store, "--as-of", CLOCK, "--json")


def prepare(store, parts, new):
    """A store where all but the new snapshots are merged; its tables are kept aside."""
    shutil.rmtree(store, ignore_errors=True)
    for source in parts:
        data.link(data.snapshots(source), source, store)
    say(f"merging the {len(data.snapshots(store))} snapshots that {store.name} holds already")
    merge(store)
    (store / "tables").rename(store / "tables-before")
    source, keys = new
    data.link(keys, source, store)


def batch(store):
    """Merges the new snapshots into the tables as they were before."""
    shutil.rmtree(store / "tables", ignore_errors=True)
    shutil.copytree(store / "tables-before", store / "tables")
    done = merge(store)
    report = json.loads(done.output)
    if report["admitted"] != NEW_FILES or report["frozen"]:
        raise Failed(f"admitted {report['admitted']} of {NEW_FILES} new snapshots, {report['frozen']} profiles frozen")
    added = {
        table: delta.added_bytes(store / "tables" / table, delta.version(store / "tables-before" / table))
        for table in TABLES
    }
    return done, {"listed": report["listed"], "node_rows_written": report["nodes"], "bytes_rewritten": added}


def compare(work, older, runs):
    before, everything = history(work, OLD_WINDOWS), history(work, OLD_WINDOWS + NEW_WINDOWS)
    new = data.later(before, everything)
    if len(new) != NEW_FILES:
        raise Failed(f"{len(new)} new snapshots instead of {NEW_FILES}")
    others = data.fleet(work / f"older-{older}", older, first_image=WORKLOADS, start=OLDER_START)
    stores = {"alone": [before], "beside": [before, others]}
    series = {
        "alone": Series("without older files", f"{NEW_FILES} new files, {len(data.snapshots(before))} merged before"),
        "beside": Series("with older files", f"the same, and {older} merged files of {older // data.FILES_PER_WORKLOAD} other workloads"),
    }
    for name, parts in stores.items():
        prepare(work / f"incremental-{name}", parts, (everything, new))
        batch(work / f"incremental-{name}")
    for number in range(1, runs + 1):
        say(f"run {number} of {runs}")
        for name, one in series.items():
            done, one.extra = batch(work / f"incremental-{name}")
            one.add(done)
    return list(series.values()), {"files": NEW_FILES, "older": older, "runs": runs}
