#!/usr/bin/env bash
# Makes sample stores, executes all notebooks on them, and tests the package `wsp_notebooks`.
# Usage: notebooks/run.sh [--update | --samples] [FOLDER]
#   --update   write the committed notebooks anew, with their outputs
#   --samples  only make the sample stores, in notebooks/samples, and the Python environment: to work with the notebooks
#   FOLDER     keep the sample stores and the executed notebooks there
# WSP_BIN and WSP_DATASETS_BIN are the programs, by default those of a debug build.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
# shellcheck source=tests/setup.sh
source "$root/tests/setup.sh"

mode=check
folder=
for argument in "$@"; do
    case $argument in
        --update) mode=update ;;
        --samples) mode=samples ;;
        -h | --help)
            sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit 0
            ;;
        -*) die "there is no option $argument; see notebooks/run.sh --help" ;;
        *) folder=$argument ;;
    esac
done

target=${CARGO_TARGET_DIR:-$root/target}
built=$target/debug
# The tests have the programs and the stores by these names.
WSP_BIN=$(realpath -m "${WSP_BIN:-$built/wsp}")
WSP_DATASETS_BIN=$(realpath -m "${WSP_DATASETS_BIN:-$built/wsp-datasets}")
export WSP_BIN WSP_DATASETS_BIN
for program in "$WSP_BIN" "$WSP_DATASETS_BIN"; do
    [[ -x $program ]] || die "there is no program $program: cargo build -p wsp-analyze -p wsp-datasets, or set WSP_BIN and WSP_DATASETS_BIN"
done

# What is in the environment must not decide what notebooks show.
unset WSP_STORE "${!AWS_@}" "${!GOOGLE_@}" "${!AZURE_@}"
export TZ=UTC LC_ALL=C.UTF-8 PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

started=$SECONDS
took() { printf '    (%s s)\n' "$((SECONDS - $1))" >&2; }

# make_environment: Python with what requirements.txt names, and the package as it stands here.
make_environment() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3 python3-venv
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or later is needed"
    cmp --quiet "$here/requirements.txt" "$venv/requirements.txt" && return 0
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
    "$venv/bin/pip" install --quiet --no-deps --no-build-isolation --editable "$here"
    cp "$here/requirements.txt" "$venv/requirements.txt"
}

# wsp …: exit code 3 is no failure: some of the simulated snapshots lost events, as they do in a fleet.
wsp() { "$WSP_BIN" "$@" || (($? == 3)); }

# make_samples FOLDER: bundled recordings of real containers, and a simulated fleet with attacks, both merged. Times are given,
# so that what is learned does not depend on the day.
make_samples() {
    local recordings=$1/recordings fleet=$1/fleet accepted
    mkdir -p "$1"
    "$WSP_DATASETS_BIN" copy --store "$recordings"
    wsp merge --store "$recordings" --as-of 2026-11-28T22:00:00Z

    local simulated=(--store "$fleet" --seed 11 --hosts 16 --nodes 180)
    "$WSP_DATASETS_BIN" generate "${simulated[@]}" --images 4 --versions 2 --containers 40 --snapshots 8 --spread 12h \
        --attack-share 0.06 --attack-from 3 --drift-share 0.1 --drift-from 3 --tag-reuse
    # Images that are new, and still learn.
    "$WSP_DATASETS_BIN" generate "${simulated[@]}" --no-truth --first-image 4 --images 3 --versions 1 --containers 5 \
        --snapshots 6 --spread 6h
    wsp merge --store "$fleet" --as-of 2026-11-02T00:00:00Z
    wsp detect --store "$fleet"
    wsp suppress suggest --store "$fleet" >/dev/null
    # Somebody has decided on some of the suggestions.
    accepted=$(wsp suppress list --store "$fleet" --json |
        "$venv/bin/python" -c 'import json, sys; print(*(s["id"] for s in json.load(sys.stdin) if s["rule"] == "exec_session"))')
    for id in $accepted; do
        wsp suppress accept "$id" --store "$fleet" --author operations --reason "health probes" >/dev/null
    done
    # What other thresholds would have missed; once more with names folded sooner.
    local thresholds=(--snapshots "5,10,20,30,50,75,100,150,200,250" --hours "1,2,3,4,6,8,10,12,24")
    wsp backtest --store "$fleet" "${thresholds[@]}" --format parquet >"$1/backtest.parquet"
    wsp backtest --store "$fleet" "${thresholds[@]}" --fold-after 20 --format parquet >"$1/backtest-fold-after-20.parquet"
}

venv=$target/notebooks-venv
at=$SECONDS
step "Python environment in $venv"
make_environment
took "$at"

if [[ $mode == samples ]]; then
    rm -rf "$here/samples"
    make_samples "$here/samples" >/dev/null
    "$venv/bin/pip" install --quiet --constraint "$here/requirements.txt" jupyterlab
    printf '\nnext: cd notebooks && %s/bin/jupyter lab\n' "$venv" >&2
    exit 0
fi

if [[ -z $folder ]]; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi
folder=$(realpath -m "$folder")
[[ ! -e $folder/samples ]] || die "$folder/samples is there already"
mkdir -p "$folder"
export WSP_SAMPLES=$folder/samples

at=$SECONDS
step "sample stores"
make_samples "$WSP_SAMPLES" >/dev/null
took "$at"

at=$SECONDS
step "format and lints"
"$venv/bin/ruff" check --quiet --no-cache "$here"
"$venv/bin/ruff" format --quiet --no-cache --check "$here"
took "$at"

at=$SECONDS
step "notebooks"
"$venv/bin/python" "$here/tools/notebooks.py" "$mode" --folder "$folder"
took "$at"

at=$SECONDS
step "tests"
"$venv/bin/python" -m pytest -p no:cacheprovider --basetemp "$folder/pytest" --rootdir "$here" "$here/tests"
took "$at"
printf 'all of it took %s s\n' "$((SECONDS - started))" >&2
