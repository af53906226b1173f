"""`wsp detect` of new snapshots of stable workloads, beside a plain scan of the same files."""

import json
import os
import shutil

import cold
import data
from measure import Failed, Series, run, say

CONTAINERS, LEARNED_WINDOWS, NEW_WINDOWS = 25, 8, 4
NEW_FILES_PER_WORKLOAD = CONTAINERS * NEW_WINDOWS
# What the new windows show that the learned ones did not.
NEWS = ["--attack-share=0.02", f"--attack-from={LEARNED_WINDOWS}", "--drift-share=0.05", f"--drift-from={LEARNED_WINDOWS}"]


def history(work, workloads, windows, news):
    """So many windows of each container; the learned ones are the same in all."""
    folder = work / f"detect-{workloads}-{windows}"
    options = [f"--images={workloads}", "--versions=1", f"--containers={CONTAINERS}", f"--snapshots={windows}"]
    options += ["--spread=24h", "--seed=3", *news]
    return data.made_by(folder, options, lambda: data.generate(folder, *options))


def wsp(*words):
    return json.loads(run(os.environ["WSP_BIN"], *words, "--json").output)


def prepare(work, workloads):
    """A store with stable profiles and new snapshots, and a folder with the new ones alone."""
    learned = history(work, workloads, LEARNED_WINDOWS, [])
    everything = history(work, workloads, LEARNED_WINDOWS + NEW_WINDOWS, NEWS)
    new = data.later(learned, everything)
    store, alone = work / "detect-store", work / "detect-new"
    for folder in (store, alone):
        shutil.rmtree(folder, ignore_errors=True)
    data.link(data.snapshots(learned), learned, store)
    say(f"learning from {workloads * CONTAINERS * LEARNED_WINDOWS} snapshots")
    merged = wsp("merge", "--store", store)
    if merged["frozen"] != workloads:
        raise Failed(f"{merged['frozen']} of {workloads} profiles became stable")
    wsp("detect", "--store", store)
    data.link(new, everything, store)
    data.link(new, everything, alone)
    wsp("merge", "--store", store)
    (store / "tables").rename(store / "tables-before")
    return store, alone, len(new)


def judge(store, new):
    """Judges the new snapshots, with the tables as they were before; the whole process counts."""
    shutil.rmtree(store / "tables", ignore_errors=True)
    shutil.copytree(store / "tables-before", store / "tables")
    done = run(os.environ["WSP_BIN"], "detect", "--store", store, "--json")
    report = json.loads(done.output)
    if (report["judged"], report["looked_up"]) != (new, new):
        raise Failed(f"{report['judged']} of {new} snapshots judged, {report['looked_up']} looked up")
    return done, report


def compare(work, files, runs, threads):
    if files % NEW_FILES_PER_WORKLOAD:
        raise Failed(f"{files} files: the number is a multiple of {NEW_FILES_PER_WORKLOAD}")
    store, alone, new = prepare(work, files // NEW_FILES_PER_WORKLOAD)
    say("first runs: not timed")
    _, report = judge(store, new)
    scans = {}
    for columns in ("narrow", "all"):
        _, told = cold.baseline(alone, columns, threads)
        note = f"decode only, {told['columns']} columns"
        scans[columns] = Series(f"parquet-rs, {columns} columns", note, told["version"])
    rules = len(wsp("rules", "list"))
    detect = Series("wsp detect", f"verified, {rules} rules, looked up in {files // NEW_FILES_PER_WORKLOAD} profiles, Delta tables; whole process")
    for number in range(1, runs + 1):
        say(f"run {number} of {runs}")
        detect.add(judge(store, new)[0])
        for columns, series in scans.items():
            done, told = cold.baseline(alone, columns, threads)
            series.add(done, told["seconds"])
    signals = sum(report["signals"].values())
    return [scans["narrow"], detect, scans["all"]], {"files": new, "rows": told["rows"], "signals": signals, "runs": runs}
