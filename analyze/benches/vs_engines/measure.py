"""Runs programs, each in a process of its own, and measures them. Standard library only: a child's peak memory counts
what this process held when it forked."""

import dataclasses
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time


class Failed(Exception):
    """Something that makes the figures meaningless."""


@dataclasses.dataclass
class Run:
    """One run of one program."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    output: str


def run(*argv, environment=None, accept=(0,)):
    """Runs to the end; the time is that of the whole process."""
    argv = [str(word) for word in argv]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env={**os.environ, **(environment or {})}
        )
        # `wait4` and not `Popen.wait`: usage of this child alone.
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode not in accept:
            raise Failed(f"{' '.join(argv)} ended with {child.returncode}:\n{err.read()[-4000:]}{out.read()[-1000:]}")
        return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out.read())


@dataclasses.dataclass
class Series:
    """All runs of one contender."""

    name: str
    note: str = ""
    version: str = ""
    seconds: list = dataclasses.field(default_factory=list)
    cpu_seconds: list = dataclasses.field(default_factory=list)
    peak_mib: list = dataclasses.field(default_factory=list)
    extra: dict = dataclasses.field(default_factory=dict)

    def add(self, run, seconds=None):
        """Takes a run; `seconds` where the program measured itself."""
        self.seconds.append(run.seconds if seconds is None else seconds)
        self.cpu_seconds.append(run.cpu_seconds)
        self.peak_mib.append(run.peak_mib)

    def median(self):
        return statistics.median(self.seconds)

    def record(self):
        """As JSON."""
        return {**dataclasses.asdict(self), "median": self.median()}


def floor_mib():
    """Least peak that can be measured: what this process holds itself."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(text):
    """Tells how far it is."""
    print(text, file=sys.stderr, flush=True)
