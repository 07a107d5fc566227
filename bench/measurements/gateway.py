"""What a token costs on its way to clients of OpenAI's protocol."""

from __future__ import annotations

from bench.contestants import COMPLETIONS, RAW
from bench.measurements.tokens import cases
from bench.runs import Measurement
from bench.stage import Plan


def measurement(plan: Plan) -> Measurement:
    """On both servers, beside a proxy that stores nothing."""
    return Measurement(
        title=f"What a token costs through OpenAI's protocol ({plan.streams} streams)",
        cases=cases((RAW, *COMPLETIONS), streams=plan.streams, seconds=plan.seconds),
        ratios={"to raw": ("CPU µs/token", lambda name: RAW.name)},
    )
