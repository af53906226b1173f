#!/bin/sh
# What the emulated machine does: has the doctor look at it, then, once a pass, runs every workload in a container under
# the daemon and strace. What came out goes over the second serial line.
#
# In /vm: passes (a line each: arguments for `wsp-capture run`), workloads (a name each) and cgroups (v1 or v2). In /image: the containers' root
# file system, with the workloads in its top folder.
set -e

out=/out map=/tmp/map
finish() {
  code=$?
  echo "$code" >"$out/code"
  echo "guest: ended with $code, $(uptime_s) s"
  stty -F /dev/ttyS1 raw -echo
  tar -cz -C "$out" . >/dev/ttyS1
  reboot -f
}

uptime_s() { cut -d. -f1 /proc/uptime; }

# wait_for WHAT COMMAND…: waits until it succeeds.
wait_for() {
  what=$1 tries=2400
  shift
  until "$@"; do
    tries=$((tries - 1))
    if [ "$tries" = 0 ]; then
      echo "guest: timed out: $what"
      exit 1
    fi
    sleep 0.1
  done
}

# Mounts the machine's cgroups: the folders of all hierarchies, and the one that tells containers.
mount_cgroups() {
  case $(cat /vm/cgroups) in
    v2)
      mount -t cgroup2 cgroup2 /sys/fs/cgroup
      cgroups=/sys/fs/cgroup hierarchies=/sys/fs/cgroup
      ;;
    v1)
      mount -t tmpfs tmpfs /sys/fs/cgroup
      hierarchies=''
      for controller in pids cpu,cpuacct memory; do
        mkdir "/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
        hierarchies="$hierarchies /sys/fs/cgroup/$controller"
      done
      cgroups=/sys/fs/cgroup/memory
      ;;
  esac
  for hierarchy in $hierarchies; do
    mkdir "$hierarchy/machine"
  done
}

# id_of PASS WORKLOAD: the id of the container.
id_of() { printf %s "$1/$2" | sha256sum | cut -c1-64; }

# Names all containers of all passes.
write_map() {
  pass=0
  while read -r _; do
    while read -r name; do
      printf '{"container":"%s","image":"localhost/vm:%s","name":"%s"}\n' "$(id_of "$pass" "$name")" "$pass" "$name"
    done </vm/workloads
    pass=$((pass + 1))
  done </vm/passes >"$map"
}

started_or_gone() { grep -q 'capturing all containers' "$out/$pass/capture.err" || ! kill -0 "$daemon" 2>/dev/null; }

# count_loops FILE: what the loops cost outside containers.
count_loops() { [ ! -e /vm/counts ] || /image/loops >"$1"; }

# run_in_container WORKLOAD: from its birth to its end.
run_in_container() {
  here=$out/$pass/$1
  id=$(id_of "$pass" "$1")
  cgroup=$cgroups/machine/libpod-$id.scope
  layers=/tmp/$id root=/tmp/$id/root
  mkdir -p "$here" "$layers/upper" "$layers/work" "$root"
  mount -t overlay overlay -o "lowerdir=/image,upperdir=$layers/upper,workdir=$layers/work" "$root"
  mkfifo "$layers/start"
  # As runtimes do: one of the same name in every hierarchy.
  for hierarchy in $hierarchies; do
    mkdir "$hierarchy/machine/libpod-$id.scope"
  done
  wait_for "the daemon saw no container $id" grep -q "recording.*$(echo "$id" | cut -c1-12)" "$out/$pass/capture.err"

  unshare -m -p -n -u -i -f sh /vm/enter.sh "$root" "/$1" 3>"$cgroup/cgroup.procs" 4<>"$layers/start" >"$here/workload.out" 2>&1 &
  container=$!
  wait_for "the container was not set up: see $1/workload.out" grep -q . "$cgroup/cgroup.procs"
  pid=$(cat "$cgroup/cgroup.procs")
  strace=
  if [ ! -e /vm/counts ]; then
    # shellcheck disable=SC2086  # options
    unshare -n strace $STRACE_OPTIONS -o "$here/strace.log" -p "$pid" 2>"$here/strace.err" &
    strace=$!
    wait_for "strace did not attach: see $1/strace.err" grep -q '^TracerPid:.*[1-9]' "/proc/$pid/status"
  fi

  echo go >"$layers/start"
  code=0
  wait "$container" || code=$?
  echo "$code" >"$here/code"
  [ -z "$strace" ] || wait "$strace" || true
  for hierarchy in $hierarchies; do
    rmdir "$hierarchy/machine/libpod-$id.scope"
  done
  umount "$root"
  rm -rf "$layers"
  echo "guest: pass $pass: $1 ended with $code, $(uptime_s) s"
}

# run_pass ARGUMENTS: a daemon, and all workloads one after the other.
run_pass() {
  mkdir -p "$out/$pass"
  # shellcheck disable=SC2086  # arguments
  wsp-capture run --store "$out/$pass/store" --spool "/tmp/spool.$pass" --map "$map" $1 2>"$out/$pass/capture.err" &
  daemon=$!
  wait_for "wsp-capture neither started nor ended" started_or_gone
  echo "guest: pass $pass: $(tail -n 1 "$out/$pass/capture.err"), $(uptime_s) s"
  if kill -0 "$daemon" 2>/dev/null; then
    count_loops "$out/$pass/outside"
    while read -r workload; do
      run_in_container "$workload"
    done </vm/workloads
    kill -TERM "$daemon"
  fi
  code=0
  wait "$daemon" || code=$?
  echo "$code" >"$out/$pass/capture.code"
}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mkdir -p "$out"
exec >/dev/console 2>&1 </dev/null
trap finish EXIT
mount_cgroups
ip link set lo up
# shellcheck source=tests/ground_truth/strace.sh
. /vm/strace.sh

write_map
count_loops "$out/outside"
code=0
wsp-capture doctor --json --map "$map" >"$out/doctor.json" 2>"$out/doctor.err" || code=$?
echo "$code" >"$out/doctor.code"
echo "guest: doctor ended with $code, $(uptime_s) s"
pass=0
while read -r arguments; do
  run_pass "$arguments"
  pass=$((pass + 1))
done </vm/passes
