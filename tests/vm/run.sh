#!/usr/bin/env bash
# Boots a kernel under software emulation, and runs workloads there in containers, under the daemon and strace.
#
# usage: [WSP_VM_CGROUPS=v1] run.sh SERIES OUTDIR CAPTURE WORKLOAD… [-- ARGUMENTS…]
#
# SERIES is a kernel for kernel.sh, CAPTURE a built wsp-capture, WORKLOAD a script. All of them run once for each of
# ARGUMENTS, which `wsp-capture run` gets too; without any, once. The machine has cgroup v2, or controllers of v1 alone.
#
# OUTDIR gets: image, the containers' root file system; console, what the machine printed; results: doctor.json, .err and
# .code, and of each pass (0, 1, …) capture.err and .code, the store, and of each workload strace.log, workload.out and code.
#
# With WSP_VM_COUNT=1 the machine's clock counts instructions, one a nanosecond, and nothing is traced beside the daemon; what WORKLOAD is
# called `loops` (a program that is statically linked) is run outside containers too, without the daemon (results: outside) and beside it (in
# each pass: outside).
#
# It ends with 77 where it cannot get what Debian has.
#
# needs: root, and qemu-system-x86, cpio, strace, binutils, apt; no KVM.
set -euo pipefail

fail() { echo "run.sh: $*" >&2 && exit 1; }
(($# >= 4)) || { sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
series=$1 capture=$3 workloads=()
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift 3
while (($#)) && [[ $1 != -- ]]; do
  workloads+=("$1")
  shift
done
shift || set -- ''
limit=${WSP_VM_SECONDS:-540}

not_fetched() {
  echo "run.sh: $*: run tests/vm/kernel.sh $series where a Debian mirror answers (WSP_DEBIAN_SECURITY names another one), and copy" \
    "${XDG_CACHE_HOME:-$HOME/.cache}/wsp/kernels from there" >&2
  exit 77
}
kernel=$("$here/kernel.sh" "$series") || not_fetched "the kernel $series cannot be fetched"
busybox=${XDG_CACHE_HOME:-$HOME/.cache}/wsp/kernels/busybox
if [[ ! -e $busybox ]]; then
  work=$(mktemp -d)
  # An index that was never fetched has no package; one that is old may name a version that is gone.
  fetch=(apt-get download -qq -o APT::Sandbox::User=root busybox-static)
  (cd "$work" && { "${fetch[@]}" || { apt-get update -qq && "${fetch[@]}"; }; }) >&2 || not_fetched "busybox-static cannot be downloaded"
  dpkg-deb -x "$work"/busybox-static_*.deb "$work/package"
  mv "$work/package/bin/busybox" "$busybox"
  rm -rf "$work"
fi

# copy_libraries ROOT PROGRAM: what the loader will look for.
copy_libraries() {
  ldd "$2" | grep -o '/[^ )]*' | while read -r library; do cp --parents -Lu "$library" "$1"; done
}

rm -rf "$out/results" "$out/image" "$out/initrd"
mkdir -p "$out"/{results,image,initrd}

# The containers' image: the workloads, busybox, and perl with what Debian calls essential of it.
image=$out/image
mkdir -p "$image"/{bin,usr/bin,etc,tmp,root,dev,proc,sys,var}
cp "$busybox" "$image/bin/busybox"
chroot "$image" /bin/busybox --install -s /bin
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$image/etc/passwd"
printf '127.0.0.1 localhost\n' >"$image/etc/hosts"
chmod 1777 "$image/tmp"
install -m 755 "${workloads[@]}" "$image"
dpkg -L perl-base | grep -E '^/usr/(bin/perl$|lib/.*/perl-base/)' | while read -r file; do
  [[ -d $file ]] || cp --parents "$file" "$image"
done
copy_libraries "$image" /usr/bin/perl
ldconfig -r "$image" 2>/dev/null

# The machine: what it starts from, and below system what it moves to.
system=$out/initrd/system
mkdir -p "$out/initrd/bin" "$system"/{bin,vm}
cp "$busybox" "$out/initrd/bin/busybox"
ln -s busybox "$out/initrd/bin/sh"
cp "$here/init.sh" "$out/initrd/init"
cp "$kernel/overlay.ko" "$out/initrd/overlay.ko"
cp -a "$image" "$system/image"
cp "$busybox" "$system/bin/busybox"
chroot "$system" /bin/busybox --install -s /bin
strip -o "$system/bin/wsp-capture" "$capture"
cp "$(command -v strace)" "$system/bin/strace"
copy_libraries "$system" "$capture"
copy_libraries "$system" "$(command -v strace)"
cp "$here"/{guest,enter}.sh "$here/../ground_truth/strace.sh" "$system/vm"
emulated=(-smp 2)
if [[ -n ${WSP_VM_COUNT:-} ]]; then
  touch "$system/vm/counts"
  emulated=(-smp 1 -icount "shift=0,sleep=off")
fi
for workload in "${workloads[@]}"; do basename "$workload"; done >"$system/vm/workloads"
chmod 755 "$out/initrd/init" "$system"/vm/*.sh
printf '%s\n' "$@" >"$system/vm/passes"
echo "${WSP_VM_CGROUPS:-v2}" >"$system/vm/cgroups"
(cd "$out/initrd" && find . | cpio -o -H newc --quiet) >"$out/initrd.cpio"
rm -rf "$out/initrd"

: >"$out/results.tar.gz"
timeout --foreground "$limit" qemu-system-x86_64 -machine accel=tcg -cpu max -m 1024 "${emulated[@]}" -display none -no-reboot -nodefaults \
  -serial "file:$out/console" -serial "file:$out/results.tar.gz" -kernel "$kernel/vmlinuz" -initrd "$out/initrd.cpio" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check" </dev/null || echo "run.sh: the emulator ended with $?" >>"$out/console"
rm -f "$out/initrd.cpio"
tar -xzf "$out/results.tar.gz" -C "$out/results" 2>/dev/null || true
rm "$out/results.tar.gz"
[[ $(cat "$out/results/code" 2>/dev/null) == 0 ]] ||
  fail "$(<"$kernel/package") did not get through within $limit s; the end of $out/console: $(tail -n 20 "$out/console")"
