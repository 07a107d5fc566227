"""Where processes run and what they use: one core for the server, one for the load and the provider."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import quantiles

import psutil

CORES = 2
SERVER_CORE, LOAD_CORE = 0, 1


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in this block, and all its threads, runs on this core. Also this thread, while in it."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
    except OSError:
        sys.exit("The benchmarks need two cores: one for the server, one for the load.")
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_of(pid: int) -> float:
    """Seconds of CPU, user and system, that a process and its children have used."""
    process = psutil.Process(pid)
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))


def memory_of(pid: int) -> int:
    """Bytes resident, of a process and its children."""
    process = psutil.Process(pid)
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


def percentile(values: list[float], percent: int) -> float:
    """Of at least two values."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


class Neighbours:
    """What other processes use of both cores, in percent, from when this was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = self._theirs()

    def percent(self) -> float:
        """Until now. Much more than nothing means that figures cannot be believed."""
        used = self._theirs() - self._before  # the kernel counts in ticks, so nothing may look like less than nothing
        return max(0.0, used / (time.monotonic() - self._began) / CORES * 100)

    def _theirs(self) -> float:
        machine = psutil.cpu_times(percpu=True)
        busy = sum(sum(core) - core.idle - core.iowait for core in machine[:CORES])
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return float(busy) - cpu_of(os.getpid()) - ended.ru_utime - ended.ru_stime
