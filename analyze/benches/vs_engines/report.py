"""Results as Markdown for people and as lines of JSON for programs."""

import datetime
import json
import os
import pathlib
import platform
import subprocess


def machine():
    """What the figures were measured on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit():
    here = pathlib.Path(__file__).parent
    words = ["git", "-c", "safe.directory=*", "-C", here, "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


def short(seconds):
    """Three digits that count."""
    return f"{seconds:.1f}" if seconds >= 100 else f"{seconds:#.3g}"


def markdown(title, about, machine, series):
    """A table; ratios are of medians, to the first line."""
    base = series[0].median()
    lines = [f"# {title}", "", about, ""]
    lines += ["| | median s | min | max | CPU s | peak MiB | ratio | |", "|---|---|---|---|---|---|---|---|"]
    for one in series:
        cpu = sorted(one.cpu_seconds)[len(one.cpu_seconds) // 2]
        lines.append(
            f"| {one.name} | {short(one.median())} | {short(min(one.seconds))} | {short(max(one.seconds))} | {short(cpu)} "
            f"| {max(one.peak_mib):.0f} | {short(one.median() / base)} | {one.note} |"
        )
    versions = ", ".join(dict.fromkeys(one.version for one in series if one.version))
    lines += [
        "",
        f"{machine['date']}, {machine['cores']} cores ({machine['cpu']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"commit {machine['commit']}, load before {machine['load_before']}.",
        *([f"{versions}."] if versions else []),
    ]
    return "\n".join(lines) + "\n"


def json_lines(about, machine, series):
    """The machine and the sizes, then a line a contender with every run."""
    lines = [{"machine": machine, **about}, *(one.record() for one in series)]
    return "".join(json.dumps(line) + "\n" for line in lines)
