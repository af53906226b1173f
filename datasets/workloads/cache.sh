#!/usr/bin/env bash
# Drives a redis container: reads and writes, snapshots, an append-only file, rewritten configuration, health probes.
# shellcheck source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh" "$@"

redis() { client redis-cli "$@" >/dev/null; }

round() {
  redis SET "key-$1" "value of $container"
  redis GET "key-$1"
  redis LPUSH events "$1"
  redis EXPIRE "key-$1" 10
  if one_in 2 && (($1 % 4 == 1)); then redis BGSAVE; fi
  if one_in 3 1 && (($1 == 3)); then redis CONFIG SET maxmemory 8mb; redis CONFIG REWRITE; fi
  if one_in 4 2 && (($1 == 2)); then redis CONFIG SET appendonly yes; fi
  if one_in 4 2 && (($1 == 6)); then redis BGREWRITEAOF; fi
  if one_in 2 1; then redis -s /data/redis.sock INFO; fi
  if one_in 4 3 && (($1 == 4)); then redis EVAL 'return redis.call("GET", KEYS[1])' 1 key-1; fi
  if one_in 2 && (($1 % 3 == 0)); then session redis-cli ping >/dev/null; fi
}

sleep 1
rounds 2 round
