"""What litellm's list of models says of one: its prices and its context window. Read as data; litellm is not imported.

The list ships with the package, so it is as old as the pinned version, and knows neither discounts nor tiers.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

from llm.shapes import ready

FILE = "model_prices_and_context_window_backup.json"
_MILLION = 1_000_000


class Listed(msgspec.Struct, frozen=True):
    """An entry of the list. Costs are in US dollars per token, and can be missing."""

    litellm_provider: str = ""
    input_cost_per_token: Decimal | None = None
    output_cost_per_token: Decimal | None = None
    cache_read_input_token_cost: Decimal | None = None
    max_input_tokens: int | None = None

    @property
    def prices(self) -> dict[str, Decimal] | None:
        """As `Prices` has them, per million tokens; None if there are none."""
        costs = {
            "input": self.input_cost_per_token,
            "output": self.output_cost_per_token,
            "cached": self.cache_read_input_token_cost,
        }
        known = {name: cost * _MILLION for name, cost in costs.items() if cost is not None and cost >= 0}
        return known if {"input", "output"} <= known.keys() else None


ready(Listed)


@cache
def listed(model: str) -> Listed | None:
    """What the list says of `model`, which may be `provider/model` where the list has the model's own name. The first
    time it is asked for a model, it takes about ten milliseconds."""
    entries = _entries()
    if model in entries:
        return _entry(entries[model])
    provider, _, name = model.partition("/")
    found = _entry(entries[name]) if name in entries else None
    return found if found is not None and found.litellm_provider.startswith(provider) else None


def _entries() -> dict[str, msgspec.Raw]:
    # Of a top-level package this finds the files without running any.
    spec = find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    text = (Path(spec.submodule_search_locations[0]) / FILE).read_bytes()
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


def _entry(raw: msgspec.Raw) -> Listed | None:
    try:
        return msgspec.json.decode(raw, type=Listed)
    except msgspec.ValidationError:
        return None
