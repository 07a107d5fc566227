"""One file per thing that is measured; here are their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.measurements import (
    burst,
    collector,
    crowd,
    elsewhere,
    first,
    idle,
    loss,
    one,
    processes,
    ready,
    resume,
    starts,
    tokens,
    viewers,
)
from bench.runs import Measurement
from bench.stage import Plan

MEASUREMENTS: Mapping[str, Callable[[Plan], Measurement]] = {
    "tokens": tokens.measurement,
    "crowd": crowd.measurement,
    "one": one.measurement,
    "first": first.measurement,
    "burst": burst.measurement,
    "starts": starts.measurement,
    "viewers": viewers.measurement,
    "elsewhere": elsewhere.measurement,
    "processes": processes.measurement,
    "idle": idle.measurement,
    "resume": resume.measurement,
    "ready": ready.measurement,
    "loss": loss.measurement,
    "collector": collector.measurement,
}
