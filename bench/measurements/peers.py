"""What a token costs through other people's gateways, which `make bench-peers` installs."""

from __future__ import annotations

from bench.contestants import COMPLETIONS, RAW
from bench.measurements.tokens import cases
from bench.peers import LITELLM
from bench.runs import Measurement
from bench.stage import Plan


def measurement(plan: Plan) -> Measurement:
    """Each beside the product, and beside a proxy that does nothing else."""
    return Measurement(
        title=f"What a token costs through gateways ({plan.streams} streams, or as many as can be borne)",
        cases=cases((RAW, *COMPLETIONS, LITELLM), streams=plan.streams, seconds=plan.seconds),
        ratios={"to LiteLLM": ("CPU µs/token", lambda name: LITELLM.name)},
    )
