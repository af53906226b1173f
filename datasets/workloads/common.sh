# Sourced by the drivers. A driver plays the world around one running container until its time is up.
#
# usage of every driver: DRIVER.sh CONTAINER NUMBER SECONDS
#
# NUMBER makes containers of one image differ, always in the same way: what a driver does only where `one_in N` holds is
# in about one of N containers. Requests come from outside of the container but over its own loopback interface, so that
# the container shows what it does, not what its clients do.
# shellcheck shell=bash
set -euo pipefail

(($# == 3)) || { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
container=$1 number=$2
deadline=$((SECONDS + $3))
pid=$(podman inspect -f '{{.State.Pid}}' "$container")

# True for one of N containers; REST shifts which ones.
one_in() { ((number % $1 == ${2:-0} % $1)); }

# Runs a command of this machine in the container's network.
nearby() { nsenter --target "$pid" --net "$@"; }

# Runs a program of the image in the container's network, without being of the container.
client() { nearby chroot "/proc/$pid/root" "$@"; }

# Enters the container, as probes and people do.
session() { podman exec "$container" "$@"; }

# Calls a function every so many seconds until the time is up, with the round's number.
rounds() {
  local round=0 status
  while ((SECONDS < deadline)); do
    # In a condition, a failure inside of the round would not end it.
    set +e
    (set -e && "$2" "$round")
    status=$?
    set -e
    if ((status)); then echo "$container: round $round failed" >&2; fi
    round=$((round + 1))
    sleep "$1"
  done
}
