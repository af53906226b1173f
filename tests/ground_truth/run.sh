#!/usr/bin/env bash
# Runs a workload in a container under strace and a capture command, both attached before its first instruction.
#
# usage: run.sh IMAGE WORKLOAD OUTDIR [-- CAPTURE…]     a script to run as the container's program; a folder to make
#        run.sh --clean OUTDIR                          removes the container that a run left
#
# CAPTURE is a command line in which {name} stands for the container and {out} for OUTDIR. It has to print a line
# "capturing NAME" on standard error when it is attached, and to end after the container, or at SIGTERM. Default:
#   wsp-capture once --container {name} --for 300s --store file://{out}/store
# "none" runs strace alone.
#
# OUTDIR gets strace.log, workload.out (both streams), capture.err, and rootfs, a link to the root file system as the
# container left it: execs are looked up in it. The container stays for that, until --clean.
#
# needs: root, podman, runc, strace >= 6.0. The container has a network namespace of its own with nothing but loopback;
# WSP_GT_RUN_ARGS adds arguments for `podman create`.
set -euo pipefail
# shellcheck source=tests/ground_truth/strace.sh
source "$(dirname "${BASH_SOURCE[0]}")/strace.sh"

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
fail() { echo "run.sh: $*" >&2 && exit 1; }

# Waits until a command succeeds: wait_for SECONDS WHAT COMMAND…
wait_for() {
  local tries=$(($1 * 20)) what=$2
  shift 2
  until "$@"; do
    ((tries--)) || fail "timed out: $what"
    sleep 0.05
  done
}

all_threads_traced() {
  local status
  for status in /proc/"$1"/task/*/status; do
    if grep -q '^TracerPid:[[:space:]]*0$' "$status"; then return 1; fi
  done
}

attached_or_gone() {
  grep -q "capturing $name" "$out/capture.err" || ! kill -0 "$capturer" 2>/dev/null
}

if [[ ${1-} == --clean ]]; then
  (($# == 2)) || usage
  podman rm -f -t 0 "$(<"$2/container")" >/dev/null
  rm -f "$2/rootfs" "$2/container"
  exit
fi
(($# >= 3)) || usage
image=$1 workload=$2
mkdir -p "$3"
out=$(cd "$3" && pwd)
shift 3
capture=(wsp-capture once --container '{name}' --for 300s --store 'file://{out}/store')
if [[ ${1-} == -- ]]; then capture=("${@:2}"); fi

program=/$(basename "$workload")
name=wsp-gt-$(basename "$workload" | tr -c 'a-zA-Z0-9\n' -)-$$
capture=("${capture[@]//\{name\}/$name}")
capture=("${capture[@]//\{out\}/$out}")

jobs=()
ended=
cleanup() {
  if ((${#jobs[@]})); then kill "${jobs[@]}" 2>/dev/null || true; fi
  if [[ -z $ended ]]; then podman rm -f -t 0 "$name" >/dev/null 2>&1 || true; fi
}
trap cleanup EXIT
read -ra extra <<<"${WSP_GT_RUN_ARGS-}"
podman create --pull never --runtime runc --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none --name "$name" \
  "${extra[@]}" --entrypoint '[]' "$image" "$program" >/dev/null
echo "$name" >"$out/container"
podman cp "$workload" "$name:$program"
podman init "$name" >/dev/null
pid=$(podman inspect -f '{{.State.Pid}}' "$name")

# shellcheck disable=SC2086  # options
unshare --net strace $STRACE_OPTIONS -o "$out/strace.log" -p "$pid" 2>"$out/strace.err" &
strace=$!
jobs+=("$strace")
wait_for 20 "strace did not attach: see $out/strace.err" all_threads_traced "$pid"

if [[ ${capture[0]} != none ]]; then
  : >"$out/capture.err"
  "${capture[@]}" >"$out/capture.out" 2>"$out/capture.err" &
  capturer=$!
  jobs+=("$capturer")
  wait_for 60 "no line 'capturing $name' in $out/capture.err" attached_or_gone
  kill -0 "$capturer" 2>/dev/null || fail "the capture ended at once: $(tail -n 3 "$out/capture.err")"
fi

podman start "$name" >/dev/null
code=$(timeout 280 podman wait "$name") || fail "the workload did not end"
wait "$strace" || true
podman logs "$name" >"$out/workload.out" 2>&1

capture_code=0
if [[ ${capture[0]} != none ]]; then
  # It may see by itself that the container is gone.
  for _ in {1..60}; do kill -0 "$capturer" 2>/dev/null || break && sleep 0.05; done
  kill -TERM "$capturer" 2>/dev/null || true
  wait "$capturer" || capture_code=$?
fi
jobs=()
ended=1
ln -sfn "$(podman mount "$name")" "$out/rootfs"
echo "run.sh: $name: workload ended with $code, capture with $capture_code"
((code == 0)) || fail "the workload failed: $(tail -n 3 "$out/workload.out")"
((capture_code == 0)) || fail "the capture failed: $(tail -n 3 "$out/capture.err")"
