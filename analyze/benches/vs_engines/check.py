"""Holds the results of the engines against the tables of `wsp`, row by row and column by column."""

import argparse
import json
import pathlib
import sys

import duckdb

import delta

# Of a node: what identifies it and what is counted. Every other column that snapshots have too is an attribute.
IDENTITY = ["image_name", "image_tag", "node_id"]
COUNTED = ["snapshot_count", "container_count", "host_count", "first_seen", "last_seen", "events", "commonality"]
NOT_ATTRIBUTES = {*IDENTITY, *COUNTED, "phase", "lineage_complete"}


def columns(files):
    rows = duckdb.execute("DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning = false)", [files]).fetchall()
    return {row[0]: row[1] for row in rows}


def value(name, kind):
    """A column as the tables have it; ClickHouse has no null lists, so those are compared as empty ones."""
    cast = f'"{name}"::{kind}'
    if kind.startswith("TIMESTAMP"):
        # Python would want a time-zone package to show it.
        return f"epoch_us({cast})"
    return f"coalesce({cast}, [])" if kind.endswith("[]") else cast


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=pathlib.Path)
    parser.add_argument("--attributes", action="store_true", help="print the columns that a first sighting gives")
    parser.add_argument("--result", help="hold this file against the tables")
    args = parser.parse_args()

    nodes = [str(path) for path in delta.files(args.store / "tables/profile_nodes")]
    kinds = columns(nodes)
    one = str(next((args.store / "snapshots").glob("*/*/*.parquet")))
    attributes = [name for name in columns([one]) if name in kinds and name not in NOT_ATTRIBUTES]
    if args.attributes:
        print(",".join(attributes))
        return
    compared = [*IDENTITY, *COUNTED, *attributes]
    values = ", ".join(value(name, kinds[name]) for name in compared)
    engine = f"SELECT {values} FROM read_parquet(?, hive_partitioning = false)"
    # Patterns stand for crowds of rows, which stand beside them: the engines know none.
    wsp = f"{engine} WHERE pattern IS NULL"

    missing = duckdb.execute(f"{wsp} EXCEPT ALL {engine}", [nodes, [args.result]]).fetchall()
    additional = duckdb.execute(f"{engine} EXCEPT ALL {wsp}", [[args.result], nodes]).fetchall()
    if missing or additional:
        for title, found in (("only in wsp", missing), ("only in the engine", additional)):
            print(f"{len(found)} rows {title}", file=sys.stderr)
            for row in sorted(found, key=repr)[:2]:
                print(dict(zip(compared, row)), file=sys.stderr)
        sys.exit("the results differ")
    count, events = duckdb.execute(
        "SELECT count(*), sum(events)::BIGINT FROM read_parquet(?, hive_partitioning = false) WHERE pattern IS NULL",
        [nodes],
    ).fetchone()
    print(json.dumps({"nodes": count, "events": events, "columns": len(compared)}))


if __name__ == "__main__":
    main()
