#!/usr/bin/env bash
# A day of a fleet, replayed through `wsp merge` every hour: a row for each number of hosts.
# Usage: analyze/benches/scale.sh [HOSTS…] [-- OPTIONS OF wsp-datasets fleet]      1000, 10000 and 100000, where nothing is said
# Needs jq, and time: 10,000 hosts took two minutes on 2 cores. Builds with the profile `release`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
hosts=()
while [[ $# -gt 0 && $1 != -- ]]; do
    hosts+=("$1")
    shift
done
[[ ${#hosts[@]} -gt 0 ]] || hosts=(1000 10000 100000)
cargo build --quiet --locked --release -p wsp-analyze -p wsp-datasets
bin=${CARGO_TARGET_DIR:-target}/release
columns=(hosts uploads workloads stable admitted 'keys listed' LIST 'GET of snapshots' 'other GET' PUT USD 'merges, CPU s'
    'longest merge, s' 'last merge, s' 'peak, MiB' 'tables, MiB' 'logs, MiB' 'replayed in, s')
printf '|'
printf ' %s |' "${columns[@]}"
printf '\n|'
printf -- '---|%.0s' "${columns[@]}"
printf '\n'
for count in "${hosts[@]}"; do
    began=$SECONDS
    replayed=$("$bin/wsp-datasets" fleet --hosts "$count" --json "${@:2}")
    jq -r --argjson took $((SECONDS - began)) -f analyze/benches/scale.jq <<<"$replayed"
done
