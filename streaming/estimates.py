"""What a call in progress has used so far, about: looked at once a second for all viewers of a draft together."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from history.calls import tokens
from history.draft import Draft

EVERY = 1.0
"""Seconds between two looks."""


class Estimated(NamedTuple):
    """What is estimated of the call whose draft this is, when so much of it had come. Only `completion` is known where
    the turn runs elsewhere."""

    draft: Draft
    said: int
    completion: int
    usage_id: str | None = None
    prompt: int | None = None
    cost: Decimal | None = None
    elapsed_ms: int | None = None
    tokens_per_second: float | None = None


def from_afar(draft: Draft) -> Estimated:
    """By what is known of a draft alone."""
    return Estimated(draft, draft.said, tokens(draft.said))
