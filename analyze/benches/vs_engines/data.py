"""Stores of simulated snapshots, made once and used again."""

import filecmp
import hashlib
import json
import os
import shutil

from measure import Failed, run, say

# Nothing is lost or unseen, so that what an engine counts without knowing completeness is what `wsp` counts.
WHOLE = ["--lossy-share=0", "--late-share=0", "--blind-share=0", "--attack-share=0", "--no-truth"]
CONTAINERS, WINDOWS = 25, 4
FILES_PER_WORKLOAD = CONTAINERS * WINDOWS


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def made_by(folder, recipe, make):
    """Calls `make` unless the folder was made by the same recipe and the same generator."""
    recipe = [*(str(word) for word in recipe), digest(os.environ["WSP_DATASETS_BIN"])]
    marker = folder / "recipe.json"
    if marker.exists() and json.loads(marker.read_text()) == recipe:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make()
    marker.write_text(json.dumps(recipe))
    return folder


def generate(folder, *options):
    """What the options do not say is as in `WHOLE`."""
    said = {option.split("=")[0] for option in options}
    whole = [option for option in WHOLE if option.split("=")[0] not in said]
    run(os.environ["WSP_DATASETS_BIN"], "generate", "--store", folder, *whole, *options)


def fleet(folder, files, first_image=0, start="2026-11-01T00:00:00Z"):
    """A store of `files` snapshots, a hundred a workload."""
    if files % FILES_PER_WORKLOAD:
        raise Failed(f"{files} files: the number is a multiple of {FILES_PER_WORKLOAD}")
    options = [
        f"--images={files // FILES_PER_WORKLOAD}",
        f"--first-image={first_image}",
        "--versions=1",
        f"--containers={CONTAINERS}",
        f"--snapshots={WINDOWS}",
        f"--start={start}",
    ]

    def make():
        say(f"making {files} snapshots")
        generate(folder, *options)

    return made_by(folder, options, make)


def snapshots(store):
    """Keys of all snapshot files."""
    return sorted(path.relative_to(store) for path in (store / "snapshots").glob("*/*/*.parquet"))


def link(keys, source, target):
    """Puts objects of one store into another one, as hard links."""
    for key in keys:
        (target / key).parent.mkdir(parents=True, exist_ok=True)
        os.link(source / key, target / key)


def later(earlier, all_of_them):
    """Keys that only the longer history has; it must repeat the shorter one."""
    old, new = snapshots(earlier), snapshots(all_of_them)
    different = [key for key in old if not filecmp.cmp(earlier / key, all_of_them / key, shallow=False)]
    if different:
        raise Failed(f"a longer history does not repeat the shorter one: {different[0]}")
    return sorted(set(new) - set(old))
