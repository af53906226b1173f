#!/usr/bin/env bash
# Passes all tests, and sets up what they need on a fresh Debian machine (as root: eBPF and containers are real).
# Usage: tests/run.sh [FILTER]      FILTER: a nextest filter, to run some tests only
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=tests/setup.sh
source tests/setup.sh

started=$SECONDS
took() { printf '    (%s s)\n' "$((SECONDS - $1))" >&2; }

((EUID == 0)) || die "these tests load eBPF programs and start containers: run them as root"
need_packages clang llvm libbpf-dev podman catatonit runc containerd mmdebstrap strace shellcheck jq git python3 python3-pip python3-venv \
    qemu-system-x86 cpio xz-utils binutils faketime postgresql-client openssl chromium
need_rust "$root"
need_lints
need_rust_tool cargo-nextest
need_rust_tool cargo-deny

export CARGO_TERM_COLOR=never RUST_BACKTRACE=0 CARGO_INCREMENTAL=0
# Cargo compares Clippy's arguments with those of the last build, so that it must know them, too.
export RUSTC_WORKSPACE_WRAPPER="$root/tests/rustc.sh" CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__
at=$SECONDS
step "formatting, scripts, licences"
cargo fmt --all --check
git -c safe.directory="$root" ls-files '*.sh' .ci/run datasets/images | xargs grep -lE '^#!.*(bash|sh)$|shellcheck shell' | xargs shellcheck -x -P SCRIPTDIR -P .
cargo deny --log-level error check bans licenses sources
took "$at"

at=$SECONDS
step "building container images in the background"
image_log=$(mktemp)
datasets/images/build.sh all >"$image_log" 2>&1 &
images=$!
trap 'kill "$images" 2>/dev/null || true; rm -f "$image_log"' EXIT

step "building everything, with lints; docs"
cargo build --quiet --locked --workspace --all-targets
took "$at"

at=$SECONDS
step "identity vectors, by an independent implementation"
python3 -m venv --clear target/vectors-venv
target/vectors-venv/bin/pip install --quiet blake3
target/vectors-venv/bin/python schemas/vectors/check.py
took "$at"

at=$SECONDS
step "notebooks, and the package that they use"
notebooks/run.sh
took "$at"

at=$SECONDS
step "clients of the server"
python3 -m venv --clear target/clients-venv
target/clients-venv/bin/pip install --quiet --requirement tests/clients/requirements.txt
took "$at"

at=$SECONDS
step "the explorer's front end: types, tests, and that the committed bundle is what the sources build to"
need_node
npm ci --prefix analyze/explorer --no-audit --no-fund --loglevel error
# Elsewhere than the committed one, which the compiler would take for changed.
npm run --prefix analyze/explorer --silent build -- --outdir="$root/target/explorer"
diff -r analyze/explorer/dist target/explorer || die "analyze/explorer/dist is not what its sources build to: run npm run build there, and commit what it wrote"
npm test --prefix analyze/explorer --silent
npm ci --prefix tests/explorer --ignore-scripts --no-audit --no-fund --loglevel error
took "$at"

at=$SECONDS
step "Azurite, for stores on Azure"
mkdir -p target/azurite
cp tests/azurite/package.json tests/azurite/package-lock.json target/azurite/
npm ci --prefix target/azurite --ignore-scripts --no-audit --no-fund --loglevel error
took "$at"

wait "$images" || { tail -n 40 "$image_log" >&2; die "the container images could not be built"; }
at=$SECONDS
step "tests"
cargo nextest run --locked --workspace ${1:+-E "$1"}
took "$at"
printf 'all of it took %s s\n' "$((SECONDS - started))" >&2
