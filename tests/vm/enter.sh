#!/bin/sh
# A container's runtime: makes ROOT the root of this mount namespace, joins the cgroup, waits, and executes PROGRAM.
#
# usage: enter.sh ROOT PROGRAM 3>CGROUP.PROCS 4<FIFO, as the first process of new mount, process and network namespaces
set -e
root=$1 program=$2
mount --make-rprivate /
cd "$root"
mount -t proc proc proc
mount -t tmpfs tmpfs dev
mkdir dev/shm
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
ip link set lo up
mkdir -p old
pivot_root . old
umount -l /old
rmdir /old
cd /
# From here on nothing is executed: the first exec in the cgroup is the container's own.
echo 0 >&3
read -r _ <&4
exec "$program" 3>&- 4<&-
