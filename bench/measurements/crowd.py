"""Three hundred streams on one core."""

from __future__ import annotations

from bench.contestants import SOCKETS
from bench.measurements.tokens import cases
from bench.runs import Measurement
from bench.stage import Plan

STREAMS = 300


def measurement(plan: Plan) -> Measurement:
    """On both servers."""
    return Measurement(
        title=f"{STREAMS} streams on one core", cases=cases(SOCKETS, streams=STREAMS, seconds=plan.seconds)
    )
