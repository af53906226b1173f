#!/usr/bin/env bash
# What wsp-capture costs: requests of an nginx and the time of a compile in containers, with and without the daemon and beside other tracers; and
# what others on the host pay while it runs. Prints medians, and ratios to the runs without anything, which alternate with the others.
#
# usage: run.sh [ROUNDS]      (default 5)
#   WSP_CAPTURE   the program (default: target/release/wsp-capture)
# needs: root, podman, runc, the images of datasets/images; installs gcc, wrk, strace, bpftrace, perf where they are missing
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
# shellcheck source=tests/setup.sh
source "$root/tests/setup.sh"
rounds=${1:-5}
capture=${WSP_CAPTURE:-$root/target/release/wsp-capture}
[[ -x $capture ]] || die "$capture is missing: cargo build --release -p wsp-capture"
need_packages gcc libc6-dev wrk strace bpftrace linux-perf podman runc python3
"$root/datasets/images/build.sh" web-1.22 >/dev/null
"$root/datasets/images/build.sh" tools-1 >/dev/null

work=$(mktemp -d)
jobs=()
cleanup() {
    if ((${#jobs[@]})); then kill "${jobs[@]}" 2>/dev/null || true; fi
    podman rm -f -t 0 wsp-bench-web wsp-bench-cc >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
gcc -O2 -o "$work/loops" "$here/loops.c"
podman system service --time=0 "unix://$work/podman.sock" 2>/dev/null &
jobs+=($!)
limits=(--pull never --runtime runc --ulimit nofile=1024:1024 --ulimit nproc=1024:1024)

# figure NAME VALUE MODE
figure() { printf '%s %s %s\n' "$1" "$2" "$3" >>"$work/figures"; }

# Starts a tracer by its name; sets `tracer`.
start_tracer() {
    local web=$2
    tracer=
    case $1 in
    none) return ;;
    wsp-*)
        local options=()
        case $1 in
        wsp-no-files) options=(--sensors "connect,listen,dns,capability") ;;
        wsp-no-capabilities) options=(--sensors "file,connect,listen,dns") ;;
        wsp-syscalls) options=(--sensors "file,connect,listen,dns,capability,syscall") ;;
        esac
        "$capture" run --store "$work/store" --spool "$work/spool" --runtime-socket "unix://$work/podman.sock" \
            --interval 10m "${options[@]}" >/dev/null 2>"$work/capture.err" &
        tracer=$!
        until grep -q 'capturing' "$work/capture.err"; do sleep 0.1; done
        ;;
    strace)
        mapfile -t pids < <(pgrep -P "$web"; echo "$web")
        strace -f -qq -o /dev/null -e trace=file,process,network "${pids[@]/#/-p}" &
        tracer=$!
        ;;
    bpftrace)
        bpftrace -e 'tracepoint:syscalls:sys_enter_openat, tracepoint:syscalls:sys_enter_execve { printf("%d %s %s\n", pid, comm, str(args->filename)); } tracepoint:syscalls:sys_enter_connect, tracepoint:syscalls:sys_enter_accept4 { printf("%d %s\n", pid, comm); }' >/dev/null 2>&1 &
        tracer=$!
        ;;
    perf-trace)
        perf trace -a -e 'openat,execve,connect,accept4' -o /dev/null >/dev/null 2>&1 &
        tracer=$!
        ;;
    esac
    sleep 2
}

stop_tracer() {
    [[ -n $tracer ]] || return 0
    kill -INT "$tracer" 2>/dev/null || true
    wait "$tracer" 2>/dev/null || true
}

measure() {
    local mode=$1 web name value ticks
    podman rm -f -t 0 wsp-bench-web >/dev/null 2>&1 || true
    podman run -d --name wsp-bench-web --network host "${limits[@]}" localhost/demo/web:1.22 >/dev/null
    web=$(podman inspect -f '{{.State.Pid}}' wsp-bench-web)
    until (: </dev/tcp/127.0.0.1/8080) 2>/dev/null; do sleep 0.1; done
    start_tracer "$mode" "$web"
    value=$(wrk -t1 -c16 -d5s http://127.0.0.1:8080/ | awk '/Requests\/sec/ {print $2}')
    figure requests_per_second "$value" "$mode"
    value=$(podman run --rm --name wsp-bench-cc --network none -v "$here/compile.sh:/compile.sh:ro" "${limits[@]}" \
        localhost/demo/tools:1 /compile.sh | awk '{print $2}')
    figure compile_ms "$value" "$mode"
    while read -r name value; do figure "untraced_${name}_ns" "$value" "$mode"; done < <("$work/loops" 1)
    if [[ $mode == wsp-* && -d /proc/$tracer ]]; then
        ticks=$(awk '{print $14 + $15}' "/proc/$tracer/stat")
        figure daemon_cpu_seconds "$(awk -v t="$ticks" -v hz="$(getconf CLK_TCK)" 'BEGIN {print t / hz}')" "$mode"
        figure daemon_rss_mib "$(awk '/VmRSS/ {print $2 / 1024}' "/proc/$tracer/status")" "$mode"
    fi
    stop_tracer
}

modes=(wsp-default wsp-no-files wsp-no-capabilities wsp-syscalls strace bpftrace perf-trace)
for ((round = 1; round <= rounds; round++)); do
    for mode in "${modes[@]}"; do
        printf 'round %s of %s: %-20s\r' "$round" "$rounds" "$mode" >&2
        measure none
        measure "$mode"
    done
done
printf '\n' >&2
python3 - "$work/figures" <<'PYTHON'
import collections, statistics, sys
found = collections.defaultdict(list)
for line in open(sys.argv[1]):
    name, value, mode = line.split()
    found[name, mode].append(float(value))
modes = list(dict.fromkeys(mode for _, mode in found))
for name in dict.fromkeys(name for name, _ in found):
    base = statistics.median(found[name, "none"]) if (name, "none") in found else None
    print(f"\n{name}")
    for mode in modes:
        if values := found.get((name, mode)):
            middle = statistics.median(values)
            ratio = f"  {middle / base:.3f} of none" if base else ""
            print(f"  {mode:<20}{middle:>12.1f}  ({min(values):.1f} to {max(values):.1f}, {len(values)} runs){ratio}")
PYTHON
