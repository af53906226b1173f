#!/usr/bin/env bash
# Runs fuzz targets, each first over its corpus and then for some time; ends at the first finding.
# Usage: capture/fuzz/run.sh [SECONDS] [TARGET…]      60 seconds and all targets by default
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=tests/setup.sh
source "$root/tests/setup.sh"

seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ ]] || die "the first argument is a number of seconds: $seconds is none"
targets=("${@:2}")
((${#targets[@]})) || mapfile -t targets < <(sed -n 's/^name = "\([a-z_]*\)"$/\1/p' "$here/Cargo.toml")

need_packages clang g++ libbpf-dev
need_rust "$root"
need_rust_tool cargo-fuzz

# A stable compiler will do: nothing here is unsafe enough to need a sanitizer, and bounds and overflows are checked.
options=(--sanitizer none --codegen-units 16 --fuzz-dir "$here")
cd "$here/.."
step "building"
cargo fuzz build "${options[@]}"
for target in "${targets[@]}"; do
    step "$target, $seconds s"
    # What is new goes to a folder that git does not know; `cargo fuzz cmin` would pick what is worth keeping.
    mkdir -p "$here/found/$target"
    dictionary=()
    [[ ! -f $here/$target.dict ]] || dictionary=(-dict="$here/$target.dict")
    cargo fuzz run "${options[@]}" "$target" "$here/found/$target" "$here/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 "${dictionary[@]}"
done
