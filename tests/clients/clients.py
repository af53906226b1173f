"""psycopg and SQLAlchemy against `wsp serve`: each case is a function, named on the command line.

Usage: clients.py CASE PORT COUNT        COUNT: nodes that `wsp sql` counts
"""

import sys

import psycopg
import sqlalchemy
from psycopg.rows import dict_row

CASE, PORT, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
DSN = f"host=127.0.0.1 port={PORT} user=wsp dbname=wsp"


def same(got, wanted):
    if got != wanted:
        raise SystemExit(f"{CASE}: got {got!r}, not {wanted!r}")


def refused(code, run):
    try:
        run()
    except psycopg.Error as error:
        same(error.sqlstate, code)
    else:
        raise SystemExit(f"{CASE}: {code} was expected, and nothing happened")


def psycopg_queries():
    with psycopg.connect(DSN) as connection:
        same(connection.execute("SELECT count(*) FROM nodes").fetchone(), (COUNT,))
        for binary in (False, True):
            cursor = connection.cursor(binary=binary, row_factory=dict_row)
            row = cursor.execute(
                "SELECT image, kind, commonality, container_count, stable, first_seen, args, members, parent_id"
                " FROM nodes WHERE kind = %s AND commonality >= %s ORDER BY node_id LIMIT 1",
                ("process", 0.5),
            ).fetchone()
            types = {name: type(value).__name__ for name, value in row.items()}
            same(
                types,
                {
                    "image": "str",
                    "kind": "str",
                    "commonality": "float",
                    "container_count": "int",
                    "stable": types["stable"],
                    "first_seen": "datetime",
                    "args": "list",
                    "members": "bytes",
                    "parent_id": types["parent_id"],
                },
            )
            same(row["first_seen"].tzinfo is not None, True)
        completeness = connection.execute("SELECT completeness FROM profiles LIMIT 1").fetchone()[0]
        same(completeness.startswith("{"), True)
        # One after the other in one connection, prepared after a while.
        for limit in range(12):
            rows = connection.execute("SELECT node_id FROM nodes LIMIT %s", (limit,)).fetchall()
            same(len(rows), min(limit, COUNT))


def psycopg_cursors():
    with psycopg.connect(DSN) as connection:
        with connection.cursor(name="all_nodes") as cursor:
            cursor.itersize = 7
            cursor.execute("SELECT node_id FROM nodes")
            same(sum(1 for _ in cursor), COUNT)


def psycopg_errors():
    with psycopg.connect(DSN, autocommit=True) as connection:
        for code, sql in [
            ("42601", "SELEC 1"),
            ("42P01", "SELECT * FROM nothing"),
            ("42703", "SELECT nothing FROM nodes"),
            ("42501", "DELETE FROM nodes"),
            ("22012", "SELECT container_count / 0 FROM nodes"),
            ("22P02", "SELECT CAST(image AS INT) FROM nodes"),
        ]:
            refused(code, lambda sql=sql: connection.execute(sql).fetchall())
            same(connection.execute("SELECT 1").fetchone(), (1,))


def psycopg_transactions():
    with psycopg.connect(DSN) as connection:
        same(connection.execute("SELECT count(*) FROM nodes").fetchone(), (COUNT,))
        refused("42P01", lambda: connection.execute("SELECT * FROM nothing"))
        refused("25P01", lambda: connection.execute("SELECT 1"))
        connection.rollback()
        same(connection.execute("SELECT count(*) FROM nodes").fetchone(), (COUNT,))
        connection.commit()


def sqlalchemy_reflects():
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://wsp@127.0.0.1:{PORT}/wsp")
    inspector = sqlalchemy.inspect(engine)
    views = set(inspector.get_view_names()) | set(inspector.get_table_names())
    wanted = {"activity", "docs", "nodes", "profiles", "rules", "signals", "snapshots", "suppressions"}
    same(wanted - views, set())
    same({"raw"} <= set(inspector.get_schema_names()), True)
    columns = {column["name"]: str(column["type"]) for column in inspector.get_columns("nodes")}
    for name, kind in [
        ("image", "TEXT"),
        ("commonality", "DOUBLE PRECISION"),
        ("container_count", "INTEGER"),
        ("members", "BYTEA"),
    ]:
        same((name, columns.get(name)), (name, kind))
    # Views have no keys, and everything that a tool asks about them is answered.
    same(inspector.get_pk_constraint("nodes")["constrained_columns"], [])
    for none in ("foreign_keys", "indexes", "unique_constraints", "check_constraints"):
        same((none, getattr(inspector, f"get_{none}")("nodes")), (none, []))
    same(inspector.get_enums(), [])
    everything = sqlalchemy.MetaData()
    everything.reflect(engine, views=True)
    same(wanted - set(everything.tables), set())
    nodes = everything.tables["nodes"]
    with engine.connect() as connection:
        count = connection.execute(sqlalchemy.select(sqlalchemy.func.count()).select_from(nodes)).scalar()
        same(count, COUNT)
        # LIKE with an escape character of its own.
        query = sqlalchemy.select(sqlalchemy.func.count()).where(nodes.c.image.startswith("localhost/", autoescape=True))
        same(connection.execute(query).scalar(), COUNT)
        query = sqlalchemy.select(nodes.c.kind, sqlalchemy.func.count()).group_by(nodes.c.kind)
        same(sum(count for _, count in connection.execute(query)), COUNT)


CASES = {
    case.__name__: case
    for case in (psycopg_queries, psycopg_cursors, psycopg_errors, psycopg_transactions, sqlalchemy_reflects)
}
CASES[CASE]()
print("ok")
