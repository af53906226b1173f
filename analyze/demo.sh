#!/usr/bin/env bash
# The main job in one command: sets up, builds `wsp` and runs its demo on bundled recordings of real containers.
# Usage: analyze/demo.sh [--dir FOLDER | --store URL]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tests/setup.sh
source "$root/tests/setup.sh"

need_rust "$root"
step "building wsp (a first build takes 8 to 10 minutes on 2 cores, later ones seconds)"
# The sensor is left out: the demo needs neither clang nor root.
cargo build --locked --manifest-path "$root/Cargo.toml" -p wsp-analyze
exec "${CARGO_TARGET_DIR:-$root/target}/debug/wsp" demo "$@"
