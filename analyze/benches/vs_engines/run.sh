#!/usr/bin/env bash
# Compares `wsp merge` with DuckDB, Polars and ClickHouse over the same snapshot files, in one run on one machine; `wsp detect` with a scan.
# Usage: run.sh [--files N] [--runs N] [--narrow] [--incremental [--older N]] [--detect] [--work DIR] [--out FILE]
# WSP_BIN, WSP_DATASETS_BIN, WSP_NARROW_BIN name programs that are built already.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
python=$target/bench-venv/bin/python

# The engines are fetched once; after that no network is needed.
if ! cmp -s "$here/requirements.txt" "$target/bench-venv/requirements.txt"; then
    python3 -m venv --clear "$target/bench-venv"
    "$python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$target/bench-venv/requirements.txt"
fi

if [[ -z ${WSP_BIN:-} || -z ${WSP_DATASETS_BIN:-} || -z ${WSP_NARROW_BIN:-} ]]; then
    # One build for all three: apart, the bench's dev-dependencies could give the engine other features, and build it twice.
    built=$(cd "$root" && cargo build --release --locked -p wsp-analyze -p wsp-datasets --bins --bench narrow \
        --message-format json-render-diagnostics)
    program() {
        python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[1]:
        print(message["executable"])' "$1" <<<"$built"
    }
    WSP_BIN=${WSP_BIN:-$(program wsp)}
    WSP_DATASETS_BIN=${WSP_DATASETS_BIN:-$(program wsp-datasets)}
    WSP_NARROW_BIN=${WSP_NARROW_BIN:-$(program narrow)}
fi
export WSP_BIN WSP_DATASETS_BIN WSP_NARROW_BIN
exec "$python" "$here/bench.py" --work "$root/target/bench" "$@"
