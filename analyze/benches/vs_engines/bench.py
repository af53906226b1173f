"""The command line: see README.md."""

import argparse
import os
import pathlib
import sys

import cold
import detect
import incremental
import report
from measure import Failed, floor_mib


def parse():
    parser = argparse.ArgumentParser(prog="run.sh", description="Compares wsp with other engines on one machine.")
    parser.add_argument("--files", type=int, default=5000, help="snapshots to merge, or to judge (default: 5000)")
    parser.add_argument("--runs", type=int, help="timed runs of each (default: 5, and 3 above 10000 files)")
    parser.add_argument("--narrow", action="store_true", help="run the engines over ids, times and counts alone as well")
    parser.add_argument("--incremental", action="store_true", help="measure a batch of new files instead")
    parser.add_argument("--older", type=int, default=50000, help="older files beside the batch (default: 50000)")
    parser.add_argument("--detect", action="store_true", help="measure the detection beside a scan of the same files instead")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for data (default: target/bench)")
    parser.add_argument("--out", type=pathlib.Path, help="write the table here, and JSON lines to the same name with .jsonl")
    return parser.parse_args()


def main():
    args = parse()
    machine = report.machine()
    args.work = args.work.resolve()
    if args.incremental:
        series, about = incremental.compare(args.work, args.older, args.runs or 5)
        title = f"A batch of {about['files']} new files"
        text = "Ratio of medians: what older files cost a batch of new ones. "
        text += "; ".join(f"{one.name}: {sum(one.extra['bytes_rewritten'].values())} bytes of data files written" for one in series)
        text += "."
    elif args.detect:
        series, about = detect.compare(args.work, args.files, args.runs or 5, machine["cores"])
        title = f"Detection in {about['files']} new snapshot files"
        text = (
            f"{about['rows']} rows, {about['signals']} signals; timed runs of each: {about['runs']}, threads: {machine['cores']}. "
            "Ratio of medians, to the scan of four columns."
        )
    else:
        runs = args.runs or (5 if args.files <= 10_000 else 3)
        series, about = cold.compare(args.work, args.files, runs, machine["cores"], args.narrow)
        title = f"A cold merge of {about['files']} snapshot files"
        text = (
            f"{about['nodes']} nodes, {about['columns']} columns compared row by row; timed runs of each: {about['runs']}, threads: {machine['cores']}. "
            "Ratio of medians: above 1 is slower than `wsp`. Engines' times leave out start-up and imports; CPU and peak are of "
            f"the whole process. Peaks below {floor_mib():.0f} MiB cannot be told."
        )
    table = report.markdown(title, text, machine, series)
    print(table, end="")
    lines = report.json_lines(about, machine, series)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(table)
        args.out.with_suffix(".jsonl").write_text(lines)
    else:
        print("\n" + lines, end="")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    try:
        main()
    except Failed as error:
        sys.exit(f"error: {error}")
