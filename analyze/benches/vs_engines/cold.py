"""A cold merge: all snapshots of a store into profiles, from nothing."""

import json
import os
import pathlib
import shutil
import sys

import data
from measure import Failed, Series, run, say

HERE = pathlib.Path(__file__).parent
ENGINES = {"clickhouse": "ClickHouse", "duckdb": "DuckDB", "polars": "Polars"}


def merge(store):
    """`wsp merge` of everything; the whole process counts."""
    shutil.rmtree(store / "tables", ignore_errors=True)
    merged = run(os.environ["WSP_BIN"], "merge", "--store", store, "--json")
    report = json.loads(merged.output)
    expected = len(data.snapshots(store))
    if report["admitted"] != expected:
        raise Failed(f"wsp admitted {report['admitted']} of {expected} snapshots")
    return merged


def engine(name, store, attributes, threads, narrow):
    result = store / "results" / f"{name}{'-narrow' if narrow else ''}.parquet"
    result.parent.mkdir(exist_ok=True)
    words = [sys.executable, HERE / "engine.py", name, "--files", f"{store}/snapshots/*/*/*.parquet"]
    words += ["--result", result, "--attributes", attributes, "--threads", threads]
    done = run(*words, *(["--narrow"] if narrow else []))
    return done, json.loads(done.output.splitlines()[-1]), result


def baseline(store, columns, threads):
    done = run(os.environ["WSP_NARROW_BIN"], "--store", store, "--columns", columns, "--threads", threads)
    return done, json.loads(done.output)


def check(store, result=None):
    found = run(sys.executable, HERE / "check.py", store, *(["--result", result] if result else ["--attributes"]))
    return json.loads(found.output) if result else found.output.strip()


def compare(work, files, runs, threads, narrow):
    """All contenders, one after the other, round by round: what else the machine does meets them alike."""
    store = data.fleet(work / f"cold-{files}", files)
    wsp = Series("wsp merge", "verified, ledger, Delta tables; whole process")
    say("first runs: not timed, results compared")
    merge(store)
    attributes = check(store)
    contenders = {}
    checked = None
    for name, title in ENGINES.items():
        _, told, result = engine(name, store, attributes, threads, False)
        checked = check(store, result)
        say(f"{title}: the same {checked['nodes']} nodes in {checked['columns']} columns")
        contenders[name, False] = Series(title, "one query, one Parquet file", f"{title} {told['version']}")
        if narrow:
            contenders[name, True] = Series(f"{title}, narrow", "counts, times and events alone")
    baselines = {}
    for columns in ("narrow", "all"):
        _, told = baseline(store, columns, threads)
        if told["events"] != checked["events"]:
            raise Failed(f"parquet-rs counts {told['events']} events, the tables {checked['events']}")
        note = f"decode only, {told['columns']} columns"
        baselines[columns] = Series(f"parquet-rs, {columns} columns", note, told["version"])

    for number in range(1, runs + 1):
        say(f"run {number} of {runs}")
        wsp.add(merge(store))
        for (name, is_narrow), series in contenders.items():
            done, told, _ = engine(name, store, attributes, threads, is_narrow)
            series.add(done, told["seconds"])
        for columns, series in baselines.items():
            done, told = baseline(store, columns, threads)
            series.add(done, told["seconds"])
    return [wsp, *contenders.values(), *baselines.values()], {**checked, "files": files, "runs": runs}
