#!/bin/bash
# Makes the data directory at the first start, as the user postgres, and becomes the server.
set -e
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chown -R postgres:postgres "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  exec gosu postgres "${BASH_SOURCE[0]}" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
  printf '%s\n' "listen_addresses = '127.0.0.1'" 'shared_buffers = 16MB' 'max_connections = 20' \
    'autovacuum_naptime = 5s' 'log_destination = stderr' >>"$PGDATA/postgresql.conf"
  pg_ctl -w start -o '-c listen_addresses=' >/dev/null
  createdb shop
  pg_ctl -w stop -m fast >/dev/null
fi
exec "$@"
