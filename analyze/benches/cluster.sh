#!/usr/bin/env bash
# A merge on one machine, and the same on clusters of one scheduler and 1, 2 and 3 executors of one core each: time, CPU, and whether the
# tables are equal; what executors handed over (their work directories), and how large the tables are. Before it, planning where all is new;
# after it, where nothing is; then detection and compaction on one machine.
# Usage: analyze/benches/cluster.sh [SNAPSHOTS]      200000, where nothing is said
# Needs some GB in $TMPDIR (about 20 KB a snapshot), and builds with the profile `release`.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
snapshots=${1:-200000}
cd "$root"
cargo build --quiet --locked --release -p wsp-analyze -p wsp-datasets --features wsp-analyze/distributed
bin=$(realpath "${CARGO_TARGET_DIR:-target}")/release
work=$(mktemp -d)
nodes=()
stop() {
    [[ ${#nodes[@]} -eq 0 ]] || kill "${nodes[@]}" 2>/dev/null || true
    wait "${nodes[@]}" 2>/dev/null || true
    nodes=()
}
trap 'stop; rm -rf "$work"' EXIT
store=$work/store as_of=2026-11-09T00:00:00Z cores=$(nproc)
# Half of the workloads become stable, the others go on learning.
"$bin/wsp-datasets" generate --no-truth --images $((snapshots / 400 + 1)) --versions 2 --containers 50 --snapshots 4 --store "$store" >/dev/null
found=$(find "$store/snapshots" -type f | wc -l)
echo "$found snapshots, $(du -sm "$store/snapshots" | cut -f1) MiB, $cores cores"

# cpu PID…: CPU seconds of processes so far.
cpu() {
    local pid total=0
    for pid in "$@"; do
        read -r -a stat <"/proc/$pid/stat"
        total=$((total + stat[13] + stat[14]))
    done
    awk -v ticks="$total" -v hertz="$(getconf CLK_TCK)" 'BEGIN { print ticks / hertz }'
}
# tables: what stands in the tables, in short.
tables() {
    for query in "SELECT * FROM profiles ORDER BY workload_key, revision" "SELECT * FROM nodes ORDER BY workload_key, revision, node_id" \
        "SELECT * FROM snapshots ORDER BY object_key"; do
        "$bin/wsp" sql --store "$store" --format csv "$query" | sha256sum
    done | sha256sum | cut -c1-16
}
# run NAME COMMAND…: a merge of all snapshots, from nothing.
run() {
    local name=$1 before=0 after=0
    shift
    rm -rf "$store/tables"
    [[ ${#nodes[@]} -eq 0 ]] || before=$(cpu "${nodes[@]}")
    # 3: some snapshots of the fleet are lossy.
    /usr/bin/time -o "$work/time" -f '%e %U %S %M' "$@" merge --store "$store" --as-of "$as_of" >/dev/null || [[ $? == 3 ]]
    [[ ${#nodes[@]} -eq 0 ]] || after=$(cpu "${nodes[@]}")
    handed=0
    [[ ${#nodes[@]} -eq 0 ]] || handed=$(du -cm "$work"/executor* | tail -n 1 | cut -f1)
    read -r wall user system peak <<<"$(tail -n 1 "$work/time")"
    awk -v name="$name" -v wall="$wall" -v driver="$user" -v kernel="$system" -v nodes="$after" -v before="$before" -v peak="$peak" -v handed="$handed" -v tables="$(tables)" '
        BEGIN { printf "| %s | %.1f | %.1f | %.1f | %.1f | %d | %d | %s |\n", name, wall, driver + kernel, nodes - before, driver + kernel + nodes - before, peak / 1024, handed, tables }'
}
# in_parts NAME: the tables after merges of one half at random, of the other, and of nothing.
in_parts() {
    rm -rf "$store/tables" "$work/later"
    mkdir "$work/later"
    (cd "$store" && xargs -a "$work/half" cp -l --parents -t "$work/later" && xargs -a "$work/half" rm)
    for part in half whole again; do
        [[ $part != whole ]] || cp -rl "$work/later/." "$store"
        "$bin/wsp" merge --store "$store" --as-of "$as_of" >/dev/null || [[ $? == 3 ]]
    done
    echo "$1, in parts, tables: $(tables)" >>"$work/parts"
}
(cd "$store" && find snapshots -type f | awk 'BEGIN { srand() } rand() < 0.5' >"$work/half")
mkfifo "$work/log"
began=$EPOCHREALTIME
"$bin/wsp" merge --verbose --store "$store" --as-of "$as_of" >/dev/null 2>"$work/log" &
nodes=($!)
while read -r line; do
    if [[ $line == *'reading snapshots'* ]]; then
        peak=$(awk '/^VmHWM/ { print $2 }' "/proc/${nodes[0]}/status")
        awk -v began="$began" -v now="$EPOCHREALTIME" -v peak="$peak" 'BEGIN { printf "planning, all new: %.2f s, %d KiB\n\n", now - began, peak }'
        break
    fi
done <"$work/log"
stop
echo '| | wall s | driver, CPU s | nodes, CPU s | all, CPU s | driver, peak MiB | handed over, MiB | tables |'
echo '|---|---|---|---|---|---|---|---|'
run 'one core' taskset -c 0 "$bin/wsp"
run "$cores cores" "$bin/wsp"
# What one machine does of it besides.
{
    /usr/bin/time -f "planning, nothing new: %e s, %U + %S CPU s, %M KiB" "$bin/wsp" merge --store "$store" --as-of "$as_of"
    for new in 'all' 'nothing'; do
        /usr/bin/time -f "detection, $new new: %e s, %U + %S CPU s, %M KiB" "$bin/wsp" detect --store "$store" || [[ $? == 3 ]]
    done
    du -sm "$store"/tables/* "$store"/tables/*/_delta_log
} >"$work/alone" 2>&1
in_parts 'one machine'
port=$((20000 + RANDOM % 20000))
for executors in 1 2 3; do
    "$bin/wsp" cluster scheduler --listen "127.0.0.1:$port" --metrics "127.0.0.1:$((port + 1))" >/dev/null 2>>"$work/nodes.log" &
    nodes=($!)
    for ((n = 0; n < executors; n++)); do
        taskset -c $((n % cores)) "$bin/wsp" cluster executor --scheduler "127.0.0.1:$port" --store "$store" --listen "127.0.0.$((n + 2))" --port "$((port + 2))" \
            --task-port "$((port + 3))" --metrics "127.0.0.$((n + 2)):$((port + 4))" --slots 1 --work-dir "$work/executor$n" >/dev/null 2>>"$work/nodes.log" &
        nodes+=($!)
    done
    for ((n = 0; n < executors; n++)); do
        until curl -sf "http://127.0.0.$((n + 2)):$((port + 4))/readyz" >/dev/null; do sleep 0.2; done
    done
    export WSP_CLUSTER="df://127.0.0.1:$port"
    run "a cluster of $executors" "$bin/wsp"
    [[ $executors -lt 3 ]] || in_parts "a cluster of $executors"
    unset WSP_CLUSTER
    stop
    rm -rf "$work"/executor*
    port=$((port + 10))
done
cat "$work/parts" "$work/alone"
/usr/bin/time -f "compaction of all: %e s, %U + %S CPU s, %M KiB" "$bin/wsp" compact --store "$store" --as-of 2026-12-31T00:00:00Z
"$bin/wsp" sql --store "$store" --format csv "SELECT count(*) AS profiles, sum(snapshot_count) AS snapshots, (SELECT count(*) FROM nodes) AS nodes FROM profiles"
du -sm "$store"/tables/* "$store"/tables/*/_delta_log
