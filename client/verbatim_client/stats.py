"""What a conversation has used so far, as the server's newest snapshot says; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Self

from verbatim_client.frames import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """Model calls and their tokens; `estimated` is how many calls have no usage of the provider's.

    `cached` is part of `prompt`, `reasoning` of `completion`. `cost` is in US dollars, None where prices are not known.
    """

    calls: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0
    estimated: int = 0
    cost: Decimal | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any] | None) -> Self:
        """What the server said; what is not known is ignored."""
        said = {part.name: data[part.name] for part in fields(cls) if data and data.get(part.name) is not None}
        if "cost" in said:
            said["cost"] = Decimal(said["cost"])
        return cls(**said)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage(Totals):
    """The calls with one usage id, such as `agent` or `title`. What is not a sum is that of the last call: how much of
    the model's context it took in tokens, and how fast it was."""

    model: str = ""
    context_window: int | None = None
    context_used: int | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None
    tokens_per_second: float | None = None

    @property
    def context_share(self) -> float | None:
        """How full the context is, from 0 to 1."""
        return (
            self.context_used / self.context_window if self.context_window and self.context_used is not None else None
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """A snapshot: by usage id, of turn `turn_id`, and of the whole conversation. `estimate` is of the call that is
    going on and not yet counted."""

    usage: Mapping[str, Usage] = field(default_factory=dict)
    turn: Totals = Totals()
    turn_id: str | None = None
    conversation: Totals = Totals()
    estimate: Estimate | None = None

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """What the server said."""
        return cls(
            usage={usage_id: Usage.of(usage) for usage_id, usage in (data.get("usage") or {}).items()},
            turn=Totals.of(data.get("turn")),
            turn_id=data.get("turn_id"),
            conversation=Totals.of(data.get("conversation")),
        )

    @property
    def cost(self) -> Decimal | None:
        """What the conversation has cost, with the estimate for the call that is going on; in US dollars."""
        guess = self.estimate.cost if self.estimate is not None else None
        known = [cost for cost in (self.conversation.cost, Decimal(guess) if guess else None) if cost is not None]
        return sum(known, Decimal(0)) if known else None
