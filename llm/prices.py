"""What a call costs, from what its tokens cost."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from llm.types import Usage

_PER = Decimal(1_000_000)
_SMALLEST = Decimal("0.00000001")


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars per million tokens. `cached` is for prompt tokens read from the provider's cache; None: as `input`."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None

    def __post_init__(self) -> None:
        for price in (self.input, self.output, self.cached):
            if price is not None and not (price.is_finite() and price >= 0):
                raise ValueError("a price must be a number of dollars, not below zero")


def cost(usage: Usage, *, prices: Prices | None) -> Decimal | None:
    """US dollars to eight places; None where prices are not known. Reasoning is in `completion` already."""
    if prices is None:
        return None
    cached = min(usage.cached, usage.prompt)
    cached_price = prices.input if prices.cached is None else prices.cached
    fresh = (usage.prompt - cached) * prices.input
    total = fresh + cached * cached_price + usage.completion * prices.output
    return (total / _PER).quantize(_SMALLEST)
