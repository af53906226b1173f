#!/usr/bin/env bash
# Records real containers with wsp-capture: datasets/recordings/, which the demo merges, is what this left.
#
# usage: record.sh [--store DIR] [--window SECONDS] [--windows N] [--containers N] [--capture PROGRAM] [--dry-run]
#
#   --store DIR       folder to record into (default: recordings/ beside this script; its snapshots/ is emptied)
#   --window SECONDS  length of a window (default 60)
#   --windows N       windows of each container (default 4)
#   --containers N    containers of each image (default 4)
#   --capture PROGRAM wsp-capture (default: from PATH)
#   --dry-run         run the containers and their drivers, and record nothing
#
# Images: web:1.22, web:1.24, cache:7, db:15, jobs:1 (see images/); what happens to their containers: workloads/.
# One more web container runs before the recording starts and is joined late. All sensors are on, and every container has a
# slot, so that there is something of each kind in the files.
#
# needs: root, a kernel with BTF, python3, what images/build.sh needs. Traffic stays on the loopback interface of each
# container's own network namespace.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
store=$here/recordings window=60 windows=4 containers=4 capture=wsp-capture dry_run=
usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
while (($#)); do
  case $1 in
    --store) store=${2:?} && shift ;;
    --window) window=${2%s} && shift ;;
    --windows) windows=${2:?} && shift ;;
    --containers) containers=${2:?} && shift ;;
    --capture) capture=${2:?} && shift ;;
    --dry-run) dry_run=1 ;;
    *) usage ;;
  esac
  shift
done
images=(web-1.22 web-1.24 cache-7 db-15 jobs-1)
prefix=wsp-rec
work=$(mktemp -d)
socket=$work/podman.sock
jobs=()
names=()

cleanup() {
  local code=$?
  if ((${#jobs[@]})); then kill "${jobs[@]}" 2>/dev/null || true; fi
  if ((${#names[@]})); then podman rm -f -t 1 "${names[@]}" >/dev/null 2>&1 || true; fi
  if ((code)); then echo "record.sh: failed; logs are in $work" >&2; else rm -rf "$work"; fi
}
trap cleanup EXIT

# Starts a container and its driver: IMAGE NUMBER SECONDS
start() {
  local name=$prefix-${1//./-}-$2 image=localhost/demo/${1%%-*}:${1#*-}
  podman run -d --pull never --runtime runc --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none --name "$name" \
    "$image" >/dev/null
  names+=("$name")
  "$here/workloads/${1%%-*}.sh" "$name" "$2" "$3" >>"$work/$name.log" 2>&1 &
  drivers+=("$!")
  jobs+=("$!")
}

"$here/images/build.sh" "${images[@]}"
command -v python3 >/dev/null || apt-get install -y -qq --no-install-recommends python3 >/dev/null
leftover=$(podman ps -aq --filter "name=^$prefix-")
# shellcheck disable=SC2086  # one word an id
[[ -z $leftover ]] || podman rm -f -t 0 $leftover >/dev/null

others=$(podman ps --format '{{.Names}}')
# The recorder takes in every container of the machine.
if [[ -z $dry_run && -n $others ]]; then echo "record.sh: other containers run here: ${others//$'\n'/ }" >&2 && exit 1; fi

lifetime=$((window * windows + window / 2))
drivers=()
start web-1.22 0 $((lifetime + 15))

if [[ -z $dry_run ]]; then
  mkdir -p "$store"
  rm -rf "$store/snapshots"
  podman system service --time=0 "unix://$socket" 2>"$work/podman.log" &
  jobs+=("$!")
  for _ in {1..200}; do [[ -S $socket ]] && break; sleep 0.1; done
  : >"$work/capture.err"
  "$capture" run --store "file://$(realpath "$store")" --interval "${window}s" --runtime-socket "unix://$socket" \
    --spool "$work/spool" --max-containers 64 --sensors file,connect,listen,dns,capability,syscall \
    >"$work/capture.out" 2>"$work/capture.err" &
  recorder=$!
  jobs+=("$recorder")
  # It says so when its sensors are attached.
  for _ in {1..200}; do
    ! grep -q "^capturing" "$work/capture.err" || break
    kill -0 "$recorder" 2>/dev/null || { cat "$work/capture.err" >&2 && exit 1; }
    sleep 0.1
  done
fi

# Not all at once: two processors, and windows that begin at different times.
for ((number = 1; number <= containers; number++)); do
  for image in "${images[@]}"; do
    start "$image" "$number" "$lifetime"
    sleep 0.7
  done
done
failed=0
for driver in "${drivers[@]}"; do wait "$driver" || failed=$((failed + 1)); done
troubles=$(cat "$work"/*.log | grep -c failed || true)
echo "record.sh: ${#names[@]} containers ran for ${lifetime} s; drivers that failed: $failed, rounds that failed: $troubles"
if [[ -n $dry_run ]] || ((troubles)); then
  for log in "$work"/*.log; do [[ ! -s $log ]] || { echo "== ${log##*/}" && tail -n 5 "$log"; }; done
fi

# Half of them end before the recorder does: their last window closes with them.
podman stop -t 5 "${names[@]:0:${#names[@]}/2}" >/dev/null
if [[ -z $dry_run ]]; then
  kill -TERM "$recorder"
  wait "$recorder" || { tail -n 20 "$work/capture.err" >&2 && exit 1; }
  find "$store/snapshots" -name '*.parquet' -printf '%s\n' |
    awk '{ n++; s += $1; if ($1 > m) m = $1 } END { printf "record.sh: %d snapshots, %d KiB, largest %d KiB\n", n, s / 1024, m / 1024 }'
fi
((failed == 0))
