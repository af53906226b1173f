#!/usr/bin/env bash
# Drives a postgres container: a schema, queries, vacuum, exports, an extension, health probes, a backup.
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"

sql() { client psql -q -h 127.0.0.1 -U postgres -d shop -v ON_ERROR_STOP=1 -c "$1" >/dev/null; }

round() {
  sql "insert into orders (item, amount) select 'item ' || i, i from generate_series(1, 200) i"
  sql "select item, sum(amount) from orders group by item order by 2 desc limit 5"
  if (($1 == 1)); then sql "create index on orders (item)"; fi
  if one_in 2 && (($1 % 4 == 2)); then sql "vacuum analyze orders"; fi
  if one_in 3 && (($1 % 3 == 1)); then sql "copy (select * from orders limit 50) to '/tmp/export-$1.csv'"; fi
  if one_in 4 1 && (($1 == 3)); then sql "copy orders to program 'gzip >/tmp/orders.gz'"; fi
  if one_in 3 1 && (($1 == 2)); then sql "create extension if not exists pgcrypto; select crypt('x', gen_salt('md5'))"; fi
  if one_in 4 2 && (($1 == 4)); then sql "set work_mem = '64kB'; select count(*) from orders a join orders b using (item)"; fi
  if one_in 4 3 && (($1 == 5)); then sql "alter system set log_min_duration_statement = 1000"; sql "select pg_reload_conf()"; fi
  if one_in 2 1 && (($1 % 2 == 0)); then session pg_isready -q; fi
  if one_in 5 2 && (($1 == 6)); then session gosu postgres pg_dump -f /tmp/shop.sql shop; fi
}

until sql "create table if not exists orders (id serial primary key, item text, amount int)" 2>/dev/null; do
  ((SECONDS < deadline)) || exit 1
  sleep 1
done
rounds 3 round
