#!/usr/bin/env bash
# What wsp-capture costs: requests of an nginx and the time of a compile, in containers, with and without the daemon and beside other tracers; what the
# daemon itself takes while five containers are recorded; and what others on the host pay meanwhile. Each figure is measured without anything right
# before or after, by turns; ratios are of such pairs, and their medians are printed.
#
# usage: run.sh [ROUNDS [MODE…]]      (default 5, and all modes)
#   modes: wsp-default wsp-no-files wsp-no-dns wsp-no-capabilities wsp-processes wsp-syscalls empty strace bpftrace perf-trace
#          (empty: programs that do nothing, at the exits of the system calls that nginx makes and wsp-capture looks at: what the kernel takes for that)
#   WSP_CAPTURE   the program (default: target/release/wsp-capture)
# needs: root, podman, runc, the images of datasets/images; installs gcc, wrk, strace, bpftrace, perf where they are missing; an idle machine
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
# shellcheck source=tests/setup.sh
source "$root/tests/setup.sh"
rounds=${1:-5}
modes=("${@:2}")
((${#modes[@]})) || modes=(wsp-default wsp-no-files wsp-no-dns wsp-no-capabilities wsp-processes wsp-syscalls empty strace bpftrace perf-trace)
capture=${WSP_CAPTURE:-$root/target/release/wsp-capture}
[[ -x $capture ]] || die "$capture is missing: cargo build --release -p wsp-capture"
need_packages gcc libc6-dev wrk strace bpftrace linux-perf podman runc python3
for image in web-1.22 cache-7 tools-1 busy-1; do "$root/datasets/images/build.sh" "$image" >/dev/null; done

work=$(mktemp -d)
jobs=()
idle=(wsp-bench-cache wsp-bench-busy-1 wsp-bench-busy-2)
cleanup() {
    if ((${#jobs[@]})); then kill "${jobs[@]}" 2>/dev/null || true; fi
    podman rm -f -i -t 0 wsp-bench-web wsp-bench-cc "${idle[@]}" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
gcc -O2 -o "$work/loops" "$here/loops.c"
podman system service --time=0 "unix://$work/podman.sock" 2>/dev/null &
jobs+=($!)
limits=(--pull never --runtime runc --ulimit nofile=1024:1024 --ulimit nproc=1024:1024)

# With the compiler's, five containers.
podman rm -f -i -t 0 wsp-bench-web "${idle[@]}" >/dev/null 2>&1 || true
podman run -d --name wsp-bench-web --network host "${limits[@]}" localhost/demo/web:1.22 >/dev/null
podman run -d --name wsp-bench-cache --network none "${limits[@]}" localhost/demo/cache:7 >/dev/null
for name in wsp-bench-busy-1 wsp-bench-busy-2; do
    podman run -d --name "$name" --network none "${limits[@]}" localhost/demo/busy:1 sh -c 'while :; do cat /etc/passwd >/dev/null; sleep 1; done' >/dev/null
done
web=$(podman inspect -f '{{.State.Pid}}' wsp-bench-web)
until (: </dev/tcp/127.0.0.1/8080) 2>/dev/null; do sleep 0.1; done

# Starts a tracer by its name; sets `tracer`.
start_tracer() {
    tracer=
    case $1 in
    none) return ;;
    wsp-*)
        local options=()
        case $1 in
        wsp-no-files) options=(--sensors "connect,listen,dns,capability") ;;
        wsp-no-dns) options=(--sensors "file,connect,listen,capability") ;;
        wsp-no-capabilities) options=(--sensors "file,connect,listen,dns") ;;
        wsp-processes) options=(--sensors "process") ;;
        wsp-syscalls) options=(--sensors "file,connect,listen,dns,capability,syscall") ;;
        esac
        "$capture" run --store "$work/store" --spool "$work/spool" --runtime-socket "unix://$work/podman.sock" \
            --interval 10m --max-containers 6 "${options[@]}" >/dev/null 2>"$work/capture.err" &
        tracer=$!
        until grep -q 'capturing' "$work/capture.err"; do
            kill -0 "$tracer" 2>/dev/null || die "$1: $(tail -n 5 "$work/capture.err")"
            sleep 0.1
        done
        ;;
    empty)
        bpftrace -e 'tracepoint:syscalls:sys_exit_openat, tracepoint:syscalls:sys_exit_connect, tracepoint:syscalls:sys_exit_accept4 { }' >/dev/null 2>&1 &
        tracer=$!
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
    *) die "$1 is no mode" ;;
    esac
    sleep 2
}

stop_tracer() {
    [[ -n $tracer ]] || return 0
    kill -INT "$tracer" 2>/dev/null || true
    wait "$tracer" 2>/dev/null || true
}

ticks_of() { awk '{print $14 + $15}' "/proc/$1/stat"; }
# Nanoseconds that nginx was running.
web_ns() {
    local pids pid
    mapfile -t pids < <(pgrep -P "$web"; echo "$web")
    for pid in "${pids[@]}"; do cat "/proc/$pid/schedstat"; done | awk '{sum += $1} END {printf "%.0f", sum}'
}

# measure MODE PAIR: all figures once.
measure() {
    local mode=$1 pair=$2 name value before started ran
    figure() { printf '%s %s %s %s\n' "$1" "$2" "$mode" "$pair" >>"$work/figures"; }
    start_tracer "$mode"
    if [[ $mode == wsp-* ]]; then
        before=$(ticks_of "$tracer") started=$EPOCHREALTIME
    fi
    ran=$(web_ns)
    wrk -t1 -c16 -d4s http://127.0.0.1:8080/ >"$work/wrk"
    ran=$(($(web_ns) - ran))
    figure requests_per_second "$(awk '/Requests\/sec/ {print $2}' "$work/wrk")"
    figure nginx_ns_a_request "$(awk -v ran="$ran" '/ requests in / {print ran / $1}' "$work/wrk")"
    for _ in 1 2 3; do
        podman run --rm --name wsp-bench-cc --network none -v "$here/compile.sh:/compile.sh:ro" "${limits[@]}" localhost/demo/tools:1 /compile.sh
    done | sort -k2n | awk 'NR == 2 {print $2}' >"$work/compiled"
    figure compile_ms "$(<"$work/compiled")"
    if [[ $mode == wsp-* ]]; then
        figure daemon_percent_of_a_core "$(awk -v t="$(($(ticks_of "$tracer") - before))" -v hz="$(getconf CLK_TCK)" -v s="$started" -v e="$EPOCHREALTIME" 'BEGIN {print 100 * t / hz / (e - s)}')"
        figure daemon_rss_mib "$(awk '/VmRSS/ {print $2 / 1024}' "/proc/$tracer/status")"
    fi
    while read -r name value; do figure "untraced_${name}_ns" "$value"; done < <("$work/loops" 1)
    stop_tracer
}

for ((round = 1; round <= rounds; round++)); do
    for mode in "${modes[@]}"; do
        printf 'round %s of %s: %-20s\r' "$round" "$rounds" "$mode" >&2
        if ((round % 2)); then order=(none "$mode"); else order=("$mode" none); fi
        for one in "${order[@]}"; do measure "$one" "$mode/$round"; done
    done
done
printf '\n' >&2
python3 "$here/report.py" "$work/figures"
