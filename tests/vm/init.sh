#!/bin/sh
# The first program of the emulated machine: moves from the initial root file system, under which no `pivot_root` is
# possible, to one in memory.
set -e
/bin/busybox mkdir -p /proc /sys /dev /new
/bin/busybox --install -s /bin
insmod /overlay.ko
mount -t tmpfs -o size=90% tmpfs /new
cp -a /system/. /new
rm -rf /system
mkdir -p /new/proc /new/sys /new/dev /new/tmp
exec switch_root /new /vm/guest.sh
