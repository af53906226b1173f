#!/usr/bin/env bash
# Compiles one crate of this workspace with Clippy's and rustdoc's lints: what cargo calls in place of rustc where RUSTC_WORKSPACE_WRAPPER says so.
# `cargo clippy` and `cargo doc` would check all dependencies a second time; they find the same. CLIPPY_ARGS is what `cargo clippy -- ARGS` sets.
set -euo pipefail
clippy-driver "$@"

# Docs are for what others read: no questions of cargo, no build scripts, no tests.
case " $* " in
    *" --test "* | *" build_script_build "*) exit ;;
    *" --crate-name "*" --emit="*link*) ;;
    *) exit ;;
esac
# The first is rustc itself; the rest is also rustdoc's, but for what says how the code is written.
shift
arguments=()
while (($#)); do
    case $1 in
        --out-dir) arguments+=(--out-dir "$2/../doc") && shift ;;
        -C) [[ $2 == incremental=* ]] || arguments+=(-C "$2") && shift ;;
        --emit=* | --warn=clippy::* | --allow=clippy::* | --deny=clippy::*) ;;
        *) arguments+=("$1") ;;
    esac
    shift
done
exec rustdoc "${arguments[@]}" --document-private-items -D warnings
