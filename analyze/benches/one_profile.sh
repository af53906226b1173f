#!/usr/bin/env bash
# How long a query for one profile takes in a store of many: through `wsp serve`, warm, and by `wsp sql`, from nothing.
# Usage: analyze/benches/one_profile.sh [PROFILES [NODES]]      5000 profiles of 1000 nodes, where nothing is said
# Needs psql, and some GB in $TMPDIR; builds with the profile `release`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
profiles=${1:-5000} nodes=${2:-1000} times=20
cd "$root"
cargo build --quiet --locked --release -p wsp-analyze -p wsp-datasets
bin=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
store=$work/store
"$bin/wsp-datasets" generate --no-truth --images $((profiles / 2)) --versions 2 --containers 2 --snapshots 1 --nodes "$nodes" --store "$store" >/dev/null
# 3: some snapshots of the fleet are lossy.
/usr/bin/time -f 'merge: %e s, %M KiB' "$bin/wsp" merge --store "$store" --jobs 2 >/dev/null || [[ $? == 3 ]]
port=$((20000 + RANDOM % 20000))
"$bin/wsp" serve --store "$store" --listen "127.0.0.1:$port" --refresh 1h >/dev/null &
server=$!
psql=(psql -X -At -h 127.0.0.1 -p "$port" -U wsp -d wsp)
until "${psql[@]}" -c 'SELECT 1' >/dev/null 2>&1; do sleep 0.2; done
"${psql[@]}" -c "SELECT 'profiles ' || count(*) || ', nodes of each ' || min(nodes) || ' to ' || max(nodes) FROM profiles"
image=$("${psql[@]}" -c "SELECT image FROM profiles ORDER BY workload_key LIMIT 1 OFFSET $((profiles / 2))")
# median QUERY: milliseconds of a query that was asked before.
median() {
    { printf '%s\n' '\timing'; for ((n = 0; n <= times; n++)); do echo "$1;"; done; } | "${psql[@]}" -o /dev/null |
        awk '/^Time:/ && n++ { print $2 }' | sort -n | awk '{ all[NR] = $1 } END { printf "median %.1f ms, %.1f to %.1f", all[int((NR + 1) / 2)], all[1], all[NR] }'
}
for query in \
    "SELECT * FROM profiles WHERE image = '$image'" \
    "SELECT kind, target, commonality FROM nodes WHERE image = '$image' ORDER BY commonality DESC LIMIT 20" \
    "SELECT * FROM nodes WHERE image = '$image'" \
    "SELECT tree FROM process_tree('$image')"; do
    printf '%-110s %s\n' "${query//$image/…}" "$(median "$query")"
done
/usr/bin/time -f 'wsp sql, from nothing: %e s' "$bin/wsp" sql --store "$store" "SELECT count(*) FROM nodes WHERE image = '$image'" >/dev/null
