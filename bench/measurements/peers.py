"""What a token costs through other people's gateways, which `make bench-peers` installs."""

from __future__ import annotations

from bench.contestants import COMPLETIONS, RAW
from bench.measurements.crowd import STREAMS
from bench.measurements.tokens import cases
from bench.peers import LITELLM
from bench.runs import Measurement
from bench.stage import Plan


def measurement(plan: Plan) -> Measurement:
    """Each beside the product, and beside a proxy that does nothing else. What others bear on one core fills it; so
    the product is also given what fills it."""
    usual = cases((RAW, *COMPLETIONS, LITELLM), streams=plan.streams, seconds=plan.seconds)
    full = cases(COMPLETIONS[:1], streams=STREAMS, seconds=plan.seconds)
    return Measurement(
        title=f"What a token costs through gateways ({plan.streams} streams, or as many as fill a core)",
        cases=usual | {f"{name}, a full core": case for name, case in full.items()},
        ratios={"to LiteLLM": ("CPU µs/token", lambda name: LITELLM.name)},
    )
