"""One run of one engine: groups the snapshot files of a store, writes a Parquet file, prints a line of JSON.

The clock runs from the first word of the query to the written file: starting Python, importing the engine and opening
a session are left out.
"""

import argparse
import json
import os
import pathlib
import sys
import time

QUERIES = pathlib.Path(__file__).parent / "queries"


def sql(name, **values):
    return (QUERIES / f"{name}.sql").read_text().format(**values)


def duckdb(args, attributes):
    import duckdb

    connection = duckdb.connect(config={"threads": args.threads, "preserve_insertion_order": False})
    struct = ", ".join(f"'{name}': {name}" for name in attributes)
    query = sql("duckdb_narrow" if args.narrow else "duckdb", files=args.files, result=args.result, struct=struct)
    return duckdb.__version__, lambda: connection.execute(query)


def clickhouse(args, attributes):
    import chdb
    from chdb import session

    connection = session.Session()
    version = connection.query("SELECT version()", "TabSeparated").bytes().decode().strip()
    query = sql(
        "clickhouse_narrow" if args.narrow else "clickhouse",
        files=args.files,
        result=args.result,
        columns=", ".join(attributes),
        elements=",\n    ".join(f"attributes.{at} AS {name}" for at, name in enumerate(attributes, 1)),
        threads=args.threads,
    )
    return f"{version} (chDB {chdb.__version__})", lambda: connection.query(query)


def polars(args, attributes):
    os.environ["POLARS_MAX_THREADS"] = str(args.threads)
    import polars as pl

    sys.path.insert(0, str(QUERIES))
    import polars_query

    def run():
        query = polars_query.narrow(args.files) if args.narrow else polars_query.wide(args.files, attributes)
        query.sink_parquet(args.result, engine="streaming")

    return pl.__version__, run


ENGINES = {"duckdb": duckdb, "clickhouse": clickhouse, "polars": polars}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--files", required=True, help="glob")
    parser.add_argument("--result", required=True)
    parser.add_argument("--attributes", required=True, help="columns that a node takes from its first sighting")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--narrow", action="store_true")
    args = parser.parse_args()
    version, run = ENGINES[args.engine](args, args.attributes.split(","))
    start = time.perf_counter()
    run()
    print(json.dumps({"seconds": time.perf_counter() - start, "version": version}))


if __name__ == "__main__":
    main()
