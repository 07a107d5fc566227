"""One file per thing that is measured; here are their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.measurements import (
    burst,
    collector,
    crowd,
    elsewhere,
    first,
    gateway,
    gateway_first,
    idle,
    loss,
    one,
    peers,
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
    "gateway": gateway.measurement,
    "crowd": crowd.measurement,
    "one": one.measurement,
    "first": first.measurement,
    "gateway_first": gateway_first.measurement,
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
"""What is measured if nothing is named."""
OF_OTHERS: Mapping[str, Callable[[Plan], Measurement]] = {"peers": peers.measurement}
"""What needs others' software."""
EVERYTHING = {**MEASUREMENTS, **OF_OTHERS}
