#!/usr/bin/env bash
# What a system call costs on Debian's kernels, with the best hooks that they take and with the fallback: instructions of getppid, and of open and
# close of a file, by a process that nobody records and by one that is recorded. Under software emulation time says nothing, so instructions
# are counted (`-icount` of QEMU).
#
# usage: emulated.sh [SERIES…]      (default 6.1 and 6.12)
#   WSP_CAPTURE   the program (default: target/release/wsp-capture)
# needs: root, gcc, and what tests/vm/run.sh needs
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
# shellcheck source=tests/setup.sh
source "$root/tests/setup.sh"
capture=${WSP_CAPTURE:-$root/target/release/wsp-capture}
[[ -x $capture ]] || die "$capture is missing: cargo build --release -p wsp-capture"
need_packages gcc libc6-dev qemu-system-x86 cpio strace binutils
series=("$@")
((${#series[@]})) || series=(6.1 6.12)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -O2 -static -o "$work/loops" "$here/loops.c"
passes=("" "--hooks fallback" "--sensors process")
for kernel in "${series[@]}"; do
    WSP_VM_COUNT=1 "$root/tests/vm/run.sh" "$kernel" "$work/$kernel" "$capture" "$work/loops" -- "${passes[@]}"
    results=$work/$kernel/results
    row() { awk -v kernel="$kernel" -v what="$1" '{found[$1] = $2} END {printf "%-6s %-24s getppid %6.0f   open+close %7.0f\n", kernel, what, found["getppid"], found["open_close"]}' "$2"; }
    row "no daemon" "$results/outside"
    row "best hooks, others pay" "$results/0/outside"
    row "fallback, others pay" "$results/1/outside"
    # Their files are on an overlay, so that a container's figures compare with a container's.
    row "processes only" "$results/2/loops/workload.out"
    row "best hooks, recorded" "$results/0/loops/workload.out"
    row "fallback, recorded" "$results/1/loops/workload.out"
done
