"""One stream alone: a frame per token, and how late it comes."""

from __future__ import annotations

from bench.contestants import SOCKETS
from bench.measurements.tokens import cases
from bench.runs import Measurement
from bench.stage import Plan


def measurement(plan: Plan) -> Measurement:
    """On both servers. CPU per token says nothing here: what a process does anyhow is divided by few tokens."""
    return Measurement(title="One stream alone", cases=cases(SOCKETS, streams=1, seconds=plan.seconds))
